"""What we call things on SageMaker, and what their tags say. Names are the idempotency keys.

Names: at most 63 letters, digits and hyphens. Tag values: at most 256 characters, of which the
letters, digits, spaces and `_ . : / = + - @` are allowed everywhere
(https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_Tag.html).
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OWNER = "tidegate:endpoint"  # whose it is: the endpoint's name
GENERATION = "tidegate:generation"  # the newest one that was accepted: the fence
VERSION = "tidegate:version"
OPEN = "tidegate:open"  # the last route: its generation and split; missing before the first one
WANTED = "tidegate:wanted"  # the last configuration that was asked for (Wanted)
ASKED = "tidegate-ask"  # the InferenceId of our own questions, in what is captured
DIGEST = "TIDEGATE_DIGEST"  # the containers' environment

LONGEST = 63
_STEM = 36  # what is left for the endpoint's name in names that are made of it
_HASH = 6
_VERSION = re.compile(r"[A-Za-z0-9](?:-*[A-Za-z0-9]){0,13}", re.ASCII)
_ENDPOINT = re.compile(r"[A-Za-z0-9](?:-*[A-Za-z0-9]){0,62}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The configuration that was asked for last, and when.

    ``modified`` is the endpoint's LastModifiedTime before that: only what changed it since can have
    come of the request. Epoch seconds; ``asked`` by our clock.
    """

    config: str
    modified: float
    asked: float

    def __str__(self) -> str:
        return f"{self.config} {self.modified:.3f} {self.asked:.3f}"

    @classmethod
    def of(cls, text: str) -> Wanted | None:
        """Return what a tag says; None where it says nothing that we would write."""
        try:
            config, modified, asked = text.split(" ")
            return cls(config, float(modified), float(asked))
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one endpoint's things."""

    endpoint: str

    def __post_init__(self) -> None:
        if not _ENDPOINT.fullmatch(self.endpoint):
            raise OutsideError(
                f"SageMaker knows no endpoint names like {self.endpoint!r}.",
                remedy="Use up to 63 letters, digits and hyphens (release.endpoint).",
            )

    @property
    def stem(self) -> str:
        """The endpoint's name, or its beginning and a hash of it."""
        if len(self.endpoint) <= _STEM:
            return self.endpoint
        short = hashlib.sha256(self.endpoint.encode()).hexdigest()[:_HASH]
        return f"{self.endpoint[: _STEM - _HASH - 1].rstrip('-')}-{short}"

    @property
    def schedule(self) -> str:
        """The dead-man's switch."""
        return f"{self.stem}-dead-man"

    def model(self, version: str, digest: str) -> str:
        """One version's model."""
        return f"{self.stem}-{variant(version)}-{short(digest)}"

    def config(self, generation: int, content: Mapping[str, Any]) -> str:
        """One endpoint configuration, by its content."""
        text = json.dumps(content, sort_keys=True, default=str)
        return f"{self.stem}-g{generation}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def generation_of(self, config: str) -> int | None:
        """Return the generation in a name of ours; None where it is none."""
        found = re.fullmatch(rf"{re.escape(self.stem)}-g(\d+)-[0-9a-f]{{8}}", config)
        return int(found[1]) if found else None

    def is_model(self, name: str) -> bool:
        """Whether a model's name is one that we would give."""
        return bool(re.fullmatch(rf"{re.escape(self.stem)}-v[A-Za-z0-9-]+-\w{{1,10}}", name))


def variant(version: str) -> str:
    """Return a version's variant.

    Raises:
        OutsideError: SageMaker's names cannot hold it.
    """
    if not _VERSION.fullmatch(version):
        raise OutsideError(
            f"SageMaker cannot name a variant after version {version!r}.",
            remedy="Versions there have up to 14 letters, digits and hyphens.",
        )
    return f"v{version}"


def short(digest: str) -> str:
    """Return the part of a digest that stands in names."""
    return re.sub(r"[^A-Za-z0-9]", "", digest.rpartition(":")[2])[:10]


def role_arn(role: str, *, partition: str, account: str) -> str:
    """Return the ARN of a role that is given by name or ARN.

    >>> role_arn("ops/scheduler", partition="aws", account="123456789012")
    'arn:aws:iam::123456789012:role/ops/scheduler'
    """
    return role if role.startswith("arn:") else f"arn:{partition}:iam::{account}:role/{role}"


def split_text(generation: int, traffic: Mapping[str, float]) -> str:
    """Return a route as the tag :data:`OPEN` holds it.

    >>> split_text(4, {"2": 0.05, "1": 0.95, "3": 0.0})
    '4 1=0.95 2=0.05'
    """
    parts = [f"{version}={share!r}" for version, share in sorted(traffic.items()) if share > 0]
    return " ".join([str(generation), *parts])


def split_of(text: str) -> tuple[int, dict[str, float]]:
    """Return the generation and split of a tag; (-1, {}) where it is none of ours.

    >>> split_of("4 1=0.95 2=0.05")
    (4, {'1': 0.95, '2': 0.05})
    """
    first, *parts = text.split(" ")
    try:
        pairs = [part.rsplit("=", 1) for part in parts]
        return int(first), {version: float(share) for version, share in pairs}
    except ValueError:
        return -1, {}


def tags(values: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags as AWS's requests hold them."""
    return [{"Key": key, "Value": value} for key, value in values.items()]


def untag(rows: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return tags as AWS's answers hold them."""
    return {row["Key"]: row["Value"] for row in rows}
