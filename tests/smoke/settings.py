"""Whose account: from a TOML file and the environment, everything that is missing told at once."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PREFIX = "TIDEGATE_SMOKE_"


@dataclass(frozen=True)
class Field:
    """One setting; ``more``: other variables it is taken from."""

    name: str
    what: str
    example: str = ""
    required: bool = True
    more: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()


_REGION = ("TIDEGATE_AWS_REGION", "AWS_REGION", "AWS_DEFAULT_REGION")
_PROJECT = ("GOOGLE_CLOUD_PROJECT",)
FIELDS: Mapping[str, tuple[Field, ...]] = {
    "sagemaker": (
        Field("execution_role", "role that the containers run as", "tidegate-serving"),
        Field("scheduler_role", "role of the dead-man's switch", "tidegate-switch"),
        Field("bucket", "a bucket, or a folder of one", "s3://my-bucket/smoke"),
        Field("region", "region of the account", "eu-west-1", more=_REGION),
        Field("instance_type", "machine of the endpoint", "ml.m5.large", required=False),
        Field("image", "inference image of your own", required=False),
        Field("price", "US dollars an hour of that machine", "0.115", required=False),
        Field("train_role", "role of the training job", "tidegate-training", required=False),
        Field("train_image", "image of the training job, with Python and scikit-learn", required=False),
        Field("train_price", "US dollars an hour of an ml.m5.large", required=False),
    ),
    "vertex": (
        Field("project", "the project's id", "my-project", more=_PROJECT),
        Field("region", "region of the endpoint", "europe-west1"),
        Field("bucket", "a bucket, or a folder of one", "gs://my-bucket/smoke"),
        Field("scheduler_account", "service account of the dead-man's switch",
              "switch@my-project.iam.gserviceaccount.com"),
        Field("service_account", "service account that the containers run as", required=False),
        Field("machine_type", "machine of the endpoint", "n1-standard-2", required=False),
        Field("image", "serving image of your own", required=False),
        Field("price", "US dollars an hour of that machine", "0.1095", required=False),
        Field("train_image", "image of the training job, with Python and scikit-learn", required=False),
        Field("train_price", "US dollars an hour of an n1-standard-4", required=False),
    ),
}  # fmt: skip


def read(
    cloud: str, path: Path | None, environment: Mapping[str, str] = os.environ, *, train: bool
) -> dict[str, str]:
    """Return the settings that are given; the environment wins over the file.

    Raises:
        ConfigError: the file is no TOML or has keys that mean nothing, or something is missing.
    """
    table = _table(cloud, path)
    needed = ("train_image", "train_role") if train else ()
    found, missing = {}, []
    for field in FIELDS[cloud]:
        names = (field.variable, *field.more)
        value = next((environment[name] for name in names if environment.get(name)), None)
        value = value or table.get(field.name)
        if value:
            found[field.name] = value
        elif field.required or field.name in needed:
            missing.append(field)
    if missing:
        raise ConfigError(
            f"{len(missing)} setting(s) are missing:\n" + "\n".join(map(_line, missing)),
            remedy=f"Set these variables, or write them into a file, below [{cloud}], and name it "
            "with --settings. docs/ has a page for each cloud that says how to make them.",
        )
    return found


def _line(field: Field) -> str:
    example = f', for example "{field.example}"' if field.example else ""
    return f"  {field.variable} (in a file: {field.name}): {field.what}{example}"


def _table(cloud: str, path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None
    table = data.get(cloud, {})
    known = {field.name for field in FIELDS[cloud]}
    if not isinstance(table, dict) or (unknown := sorted(set(table) - known)):
        raise ConfigError(
            f"{path}: [{cloud}] has {', '.join(unknown) if isinstance(table, dict) else table!r}",
            remedy=f"It may have {', '.join(sorted(known))}.",
        )
    return {key: str(value) for key, value in table.items()}
