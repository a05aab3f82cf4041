"""The text of a model version's release: a table for people, a block for the machine. Pure.

People may write around the block. A block that is there and cannot be read is an error, not a
release without one: a version must not be registered twice because somebody mistyped.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Mapping

BODY_LIMIT = 120_000  # characters; GitHub takes 125,000

_MARK = "<!-- tidegate:version:1 -->"
_BLOCK = re.compile(re.escape(_MARK) + r"\s*```json\n(.*?)\n```", re.DOTALL)
_SHOWN = {  # tag -> what people call it
    "tidegate.commit": "commit",
    "tidegate.by": "registered by",
    "tidegate.train_data": "training data",
    "tidegate.holdout": "holdout",
    "tidegate.outcome": "outcome of its rollout",
    "tidegate.signature": "signature",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """What the ledger last said of the model's aliases. The highest ``serial`` counts."""

    serial: int
    head: str  # hash of the ledger's newest event then
    aliases: Mapping[str, str] | None  # None: a newer note stands on another release


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What a release says of its version."""

    model: str
    digest: str  # of the model folder
    file: str  # SHA-256 of the asset
    size: int  # bytes of the asset
    nonce: str  # of the registration that made the release
    tags: Mapping[str, str]
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float | str] = field(default_factory=dict)
    note: Note | None = None


def write(facts: Facts) -> str:
    """Return the release's text. Parameters, then metrics are left out where it gets too long."""
    for shorter in (
        facts, replace(facts, params={}), replace(facts, params={}, metrics={}),
    ):  # fmt: skip
        if len(text := _text(shorter)) <= BODY_LIMIT:
            return text
    raise OutsideError(
        f"the lineage of a version of {facts.model} is too long for a release's text",
        remedy="Use an MLflow server instead: registry.uri in mlops.yaml.",
    )


def _text(facts: Facts) -> str:
    rows = [("model", facts.model), ("digest", facts.digest)]
    rows += [(label, facts.tags[tag]) for tag, label in _SHOWN.items() if facts.tags.get(tag)]
    table = "\n".join(f"| {label} | `{_cell(value)}` |" for label, value in rows)
    return (
        "A model version. Whether it serves is decided by the ledger of this repository.\n\n"
        f"| | |\n|---|---|\n{table}\n\n"
        f"Read by Tidegate; please leave it as it is:\n\n{_MARK}\n```json\n{_json(facts)}\n```\n"
    )


def _cell(value: str) -> str:
    """Return a value that can leave neither its code span nor its table cell."""
    return re.sub(r"[\s|`<>\\]+", " ", value).strip()[:200] or "-"


def _json(facts: Facts) -> str:
    data: dict[str, Any] = {
        "model": facts.model,
        "digest": facts.digest,
        "file": facts.file,
        "size": facts.size,
        "nonce": facts.nonce,
        "tags": dict(facts.tags),
        "params": dict(facts.params),
        "metrics": {
            key: value if isinstance(value, str) or math.isfinite(value) else str(value)
            for key, value in facts.metrics.items()
        },
    }
    if facts.note is not None:
        note = facts.note
        data["ledger"] = {"serial": note.serial, "head": note.head}
        if note.aliases is not None:
            data["ledger"]["aliases"] = dict(note.aliases)
    text = json.dumps(data, indent=1, sort_keys=True, allow_nan=False)
    # Nothing inside can end the block, start a comment or call a person.
    for character in "`<>@":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def read(body: str | None, where: str) -> Facts | None:
    """Return what a release's text says; None where it is not one of ours.

    Raises:
        OutsideError: the block is there, more than once, or damaged.
    """
    text = (body or "").replace("\r\n", "\n")
    if _MARK not in text:
        return None
    try:
        (block,) = _BLOCK.findall(text)
        (_, _) = text.split(_MARK)
        return _facts(json.loads(block))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise OutsideError(
            f"the release {where} is not as Tidegate wrote it: {type(error).__name__}",
            remedy="Somebody edited its text. Restore the block below 'Read by Tidegate' from "
            "the release's history or the ledger, or delete the release.",
        ) from None


def _facts(data: Mapping[str, Any]) -> Facts:
    note = data.get("ledger")
    return Facts(
        model=_str(data["model"]),
        digest=_hex(data["digest"]),
        file=_hex(data["file"]),
        size=_int(data["size"]),
        nonce=_str(data["nonce"]),
        tags={_str(key): _str(value) for key, value in data["tags"].items()},
        params={_str(key): _str(value) for key, value in data["params"].items()},
        metrics={_str(key): value for key, value in data["metrics"].items()},
        note=None if note is None else _note(note),
    )


def _note(data: Mapping[str, Any]) -> Note:
    given = data.get("aliases")
    aliases = None if given is None else {_str(k): _version(v) for k, v in given.items()}
    return Note(serial=_int(data["serial"]), head=_str(data["head"]), aliases=aliases)


def _str(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("expected text")
    return value


def _int(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError("expected a number")
    return value


def _hex(value: object) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", _str(value)):
        raise ValueError("expected a SHA-256")
    return _str(value)


def _version(value: object) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", _str(value)):
        raise ValueError("expected a version")
    return _str(value)
