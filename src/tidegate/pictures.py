"""``pictures.json``: what a report draws, as it stands beside ``verdict.json``. Read strictly."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tidegate.core.model import Task
from tidegate.core.pictures import Bin, Drawn, Pictures, Spread, WorstRow
from tidegate.errors import NotJudgedError
from tidegate.home import PICTURES
from tidegate.load import violations
from tidegate.strict import strict_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FORMAT = 1
_MOST_BYTES = 1024 * 1024
_REMEDY = "Run `tidegate gate` again, or remove it: the report does without."


def document(pictures: Pictures) -> dict[str, Any]:
    """Return ``pictures.json``: see schemas/pictures.schema.json."""
    return {"format": _FORMAT, **asdict(pictures), "task": str(pictures.task)}


def save(folder: Path, pictures: Pictures | None) -> None:
    """Write the pictures beside the verdict; None removes those of an earlier verdict."""
    path = folder / PICTURES
    if pictures is None:
        path.unlink(missing_ok=True)
    else:
        path.write_text(json.dumps(document(pictures), allow_nan=False) + "\n", encoding="utf-8")


def read(folder: Path) -> Pictures | None:
    """Return the pictures beside a verdict; None where there are none, as in older bundles.

    Raises:
        NotJudgedError: the file is not what ``schemas/pictures.schema.json`` demands.
    """
    path = folder / PICTURES
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise NotJudgedError(f"{path}: larger than {_MOST_BYTES:,} bytes", remedy=_REMEDY)
        data = strict_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NotJudgedError(f"{path}: {error.strerror}", remedy=_REMEDY) from None
    except (ValueError, RecursionError) as error:
        raise NotJudgedError(f"{path}: not JSON: {error}", remedy=_REMEDY) from None
    if found := violations(data, "pictures.schema.json"):
        raise NotJudgedError(f"{path}: {found[0]}", remedy=_REMEDY)
    try:
        return _pictures(data)
    except ValueError as error:
        raise NotJudgedError(f"{path}: {error}", remedy=_REMEDY) from None


def _pictures(data: Mapping[str, Any]) -> Pictures:
    models = tuple(_model(item) for item in data["models"])
    size = len(data["classes"])
    for model in models:
        if model.confusion and {size} != {len(model.confusion), *map(len, model.confusion)}:
            raise ValueError(f"the {model.role}'s confusion matrix is not {size} by {size}")
        if len(model.scores) != max(len(data["edges"]) - 1, 0):
            raise ValueError(f"the {model.role}'s scores do not fit the edges")
    return Pictures(
        task=Task(data["task"]),
        n=int(data["n"]),
        models=models,
        counts=tuple(map(int, data["counts"])),
        groups=None if data["groups"] is None else int(data["groups"]),
        weighted=data["weighted"],
        classes=tuple(data["classes"]),
        edges=tuple(map(float, data["edges"])),
        worst=tuple(
            WorstRow(**{**row, "slices": tuple((n, v) for n, v in row["slices"])})
            for row in data["worst"]
        ),
        candidate=data["candidate"],
        holdout=data["holdout"],
    )


def _model(data: Mapping[str, Any]) -> Drawn:
    return Drawn(
        role=data["role"],
        roc=tuple((float(x), float(y)) for x, y in data["roc"]),
        calibration=tuple(Bin(**item) for item in data["calibration"]),
        confusion=tuple(tuple(map(int, row)) for row in data["confusion"]),
        residuals=tuple(
            Spread(**{**item, "quantiles": tuple(item["quantiles"])}) for item in data["residuals"]
        ),
        scores=tuple(map(int, data["scores"])),
    )
