"""What a holdout can show, and which rows to label, as text and JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tidegate.render.verdict import number, signed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tidegate.core.labelling import Difference, ToLabel
    from tidegate.core.power_of_holdout import Supported


def lines(found: Sequence[Supported]) -> Iterator[str]:
    """Yield what each margin needs, line by line; nothing without a holdout."""
    if not found:
        return
    yield "What the holdout can show of a candidate that is just as good (power 80 %, and 90 %):"
    for one in found:
        yield f"  {_line(one)}"
    if any(one.spread and not one.spread.seen for one in found):
        yield (
            "  Assumed: 10 % of the answers differ from the champion's (--disagreement); for roc_auc two "
            "areas of 0.8, correlated 0.9. The first verdict (--verdict) replaces what is assumed."
        )


def _line(one: Supported) -> str:
    where = f" in {one.slice}" if one.slice else ""
    n = f"{one.counts.rows:,}"
    if one.spread is None or one.smallest is None:
        return f"{one.metric}{where}: {n} rows; its spread is known after the first verdict"
    can = f"{n} rows can show {number(one.smallest)} or more"
    if one.margin is None or one.needed is None:
        return f"{one.metric}{where}: {can}; the margin is relative, or 0"
    need = " / ".join(f"{rows:,}" for rows in one.needed)
    verdict = "enough" if one.enough else "TOO FEW"
    rows = "rows of the holdout" if one.slice else "rows"
    return f"{one.metric}{where}: {verdict} for {number(one.margin)} (needs {need} {rows}); {can}"


def document(found: Sequence[Supported]) -> list[dict[str, Any]]:
    """Return the same as JSON values."""
    return [{**asdict(one), "enough": one.enough} for one in found]


def label_lines(
    chosen: ToLabel, margin: float | None, confidence: float, found: Difference | None
) -> Iterator[str]:
    """Yield what the labels can show, and what those that are there have shown."""
    yield (
        f"{chosen.differ:,} of {chosen.n:,} rows get different answers; the others say nothing about the "
        f"difference of accuracies. {len(chosen.rows):,} to label, drawn at random from them."
    )
    if chosen.smallest is not None:
        yield f"Their labels can show a margin of {number(chosen.smallest)} or more (power 80 %)."
    if margin is not None and chosen.needed:
        need = " / ".join(f"{labels:,}" for labels in chosen.needed)
        yield f"A margin of {number(margin)} needs {need} labels (power 80 % / 90 %)."
        if chosen.needed[0] > chosen.differ:
            yield f"Too few rows differ: about {chosen.rows_needed[0]:,} unlabelled rows are needed."
    if found is not None:
        yield (
            f"By {found.labels:,} labels the candidate's accuracy differs by {signed(found.value)}, bounds "
            f"{signed(found.lower(confidence))} to {signed(found.upper(confidence))}."
        )


def label_document(
    chosen: ToLabel, names: Sequence[Any], confidence: float, found: Difference | None
) -> dict[str, Any]:
    """Return the same as JSON values."""
    return {
        "label": [name if isinstance(name, (int, str)) else str(name) for name in names],
        "rows": chosen.n,
        "differ": chosen.differ,
        "smallest_margin": chosen.smallest,
        "labels_needed": list(chosen.needed),
        "rows_needed": list(chosen.rows_needed),
        "difference": None
        if found is None
        else {
            "value": found.value,
            "lower": found.lower(confidence),
            "upper": found.upper(confidence),
            "labels": found.labels,
        },
    }
