"""Reading ``verdict.json`` back: the strict inverse of :func:`tidegate.render.verdict.document`."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from tidegate.core.model import (
    Cause,
    Digests,
    Direction,
    Finding,
    Kind,
    Level,
    Margin,
    Outcome,
    Verdict,
    worst,
)
from tidegate.errors import NotJudgedError
from tidegate.load import violations

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_REMEDY = "Run `tidegate evaluate` and `tidegate gate` again, or name another file with --verdict."
_LARGEST = 2**63  # of a whole number; what is larger is no count


def read(path: Path) -> tuple[Verdict, tuple[str, ...]]:
    """Return the verdict that was written down, and the notes beside it.

    Raises:
        NotJudgedError: no such file; not what ``schemas/verdict.schema.json`` demands; or an
            outcome that its own findings do not come to.
    """
    try:
        data = json.loads(
            path.read_text(encoding="utf-8"),
            parse_constant=_refuse,
            parse_float=_finite,
            parse_int=_whole,
        )
    except FileNotFoundError:
        raise NotJudgedError(
            f"{path}: there is no verdict yet",
            remedy="Run `tidegate run` for this commit first, or name a file with --verdict.",
        ) from None
    except OSError as error:
        raise NotJudgedError(f"{path}: {error.strerror}", remedy=_REMEDY) from None
    except (ValueError, RecursionError) as error:
        raise NotJudgedError(f"{path}: not JSON: {error}", remedy=_REMEDY) from None
    if found := violations(data, "verdict.schema.json"):
        raise NotJudgedError(f"{path}: {found[0]}", remedy=_REMEDY)
    try:
        return _verdict(data), tuple(data["notes"])
    except ValueError as error:
        raise NotJudgedError(f"{path}: {error}", remedy=_REMEDY) from None


def _verdict(data: Mapping[str, Any]) -> Verdict:
    findings = tuple(_finding(item) for item in data["findings"])
    outcome = Outcome(data["outcome"])
    # A file whose headline says something else than its findings was edited; nothing may pass on it.
    if outcome is not (folded := worst(f.outcome for f in findings if f.decides)):
        raise ValueError(f"outcome says {outcome}, but the findings come to {folded}")
    return Verdict(
        outcome=outcome,
        findings=findings,
        confidence=data["confidence"],
        n=int(data["n"]),
        digests=Digests(**data["digests"]),
        first_release=data["first_release"],
        holdout_uses=_count(data["holdout_uses"]),
        holdout_budget=_count(data.get("holdout_budget")),
        adaptivity=data.get("adaptivity"),
        rounded=data.get("rounded", False),
    )


def _finding(data: Mapping[str, Any]) -> Finding:
    margin = data["margin"]
    return Finding(
        metric=data["metric"],
        kind=Kind(data["kind"]),
        level=Level(data["level"]),
        outcome=Outcome(data["outcome"]),
        cause=Cause(data["cause"]),
        n=int(data["n"]),
        slice=data["slice"],
        direction=Direction(data["direction"]) if data["direction"] else None,
        candidate=data["candidate"],
        champion=data["champion"],
        difference=data["difference"],
        lower=data["lower"],
        upper=data["upper"],
        limit=data["limit"],
        margin=None if margin is None else Margin(value=margin, relative=data["margin_relative"]),
        p_harm=data["p_harm"],
        rows_needed=_count(data["rows_needed"]),
        minimum=_count(data["minimum"]),
        column=data["column"],
        decides=data["decides"],
    )


def _count(value: float | None) -> int | None:
    return None if value is None else int(value)


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def _whole(text: str) -> int:
    value = int(text)
    return value if abs(value) < _LARGEST else int(_refuse(text[:24]))
