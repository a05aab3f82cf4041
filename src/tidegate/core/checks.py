"""Data checks: what must hold of a predictions table before its numbers mean anything.

Only failures become findings. A check that holds decides nothing, so that data checks alone never
make a pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from tidegate.core.metrics.table import find, is_system
from tidegate.core.model import Cause, Finding, Kind, Level, Outcome, Task
from tidegate.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from tidegate.core.config import Gate
    from tidegate.core.metrics.estimate import Floats
    from tidegate.core.model import Digests
    from tidegate.core.table import Predictions

ROUNDING = 1e-6  # probabilities of all classes sum to 1 within this
_BLOCK = 1 << 16
_Number = TypeVar("_Number", bound="np.generic")
DATA = "data"  # what a data check's finding carries in place of a metric


def check(
    cause: Cause,
    n: int,
    *,
    column: str | None = None,
    outcome: Outcome = Outcome.ERROR,
    decides: bool = True,
) -> Finding:
    """Return a data check's finding; ``n`` is how many rows it is about."""
    return Finding(
        metric=DATA,
        kind=Kind.CHECK,
        level=Level.DATA,
        outcome=outcome,
        cause=cause,
        n=n,
        column=column,
        decides=decides,
    )


def unusable(table: Predictions, task: Task) -> list[Finding]:
    """Return why no metric can be computed from this table at all; empty when they can.

    Raises:
        ConfigError: the task needs a truth and the table has none.
    """
    if task is not Task.GENERIC and table.y_true is None:
        raise ConfigError(
            f"task {task} needs the truth, and the table has no y_true",
            remedy="Add the column y_true, or use task: generic for per-row scores.",
        )
    if table.n == 0:
        return [check(Cause.TOO_FEW_ROWS, 0)]
    findings = []
    for name, values in table.columns():
        if (name == "y_true" and task is Task.GENERIC) or _sound(task, name, values):
            continue
        if bad := _count(_any(~np.isfinite(values))):
            findings.append(check(Cause.NOT_A_NUMBER, bad, column=name))
        elif bad := _outside(task, name, values):
            findings.append(check(Cause.OUT_OF_RANGE, bad, column=name))
        elif task is Task.RANKING and name == "y_true" and (bad := _count(values < 0.0)):
            findings.append(check(Cause.NEGATIVE, bad, column=name))
        elif task is Task.MULTICLASS and name != "y_true" and (bad := _unnormalised(values)):
            findings.append(check(Cause.NOT_NORMALISED, bad, column=name))
    return findings


def _sound(task: Task, name: str, values: Floats) -> bool:
    """Whether nothing is wrong with a column, from one pass; what is wrong takes more to count."""
    model = name != "y_true"
    if task is Task.BINARY or (task is Task.MULTICLASS and model):
        least, most = 0.0, 1.0
    else:
        most = float(np.finfo(np.float64).max)
        least = 0.0 if task is Task.RANKING and not model else -most
    for block in _blocks(values):
        if not (block.min() >= least and block.max() <= most):  # nor does NaN
            return False
        if task is Task.BINARY and not model and not _marks(block):
            return False
        if task is Task.MULTICLASS and model and _unnormalised(block):
            return False
    return True


def _outside(task: Task, name: str, values: Floats) -> int:
    """Return how many rows hold what the task does not know: a probability of 1.2, a label of 2."""
    if task is Task.BINARY and name == "y_true":
        return _count((values != 0.0) & (values != 1.0))
    if task is Task.BINARY or (task is Task.MULTICLASS and name != "y_true"):
        return _count(_any((values < 0.0) | (values > 1.0)))
    return 0


def _unnormalised(probabilities: Floats) -> int:
    """Return in how many rows the probabilities of the classes, shape (n, K), do not sum to 1."""
    return _count(np.abs(probabilities.sum(axis=1) - 1.0) > ROUNDING)


def _blocks(values: npt.NDArray[_Number]) -> Iterator[npt.NDArray[_Number]]:
    """Yield a column's rows in pieces that stay in a processor's cache."""
    for start in range(0, len(values), _BLOCK):
        yield values[start : start + _BLOCK]


def _marks(values: Floats) -> bool:
    """Whether every value is 0 or 1."""
    return bool(((values == 0.0) | (values == 1.0)).all())


def _constant(values: Floats) -> bool:
    """Whether all rows hold the same; the first blocks nearly always tell."""
    return all((block == values[0]).all() for block in _blocks(values))


def _any(
    claims: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:
    """Return in which rows a claim holds anywhere, shape (n,)."""
    return np.asarray(claims.reshape(len(claims), -1).any(axis=1))


def _count(claims: npt.NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(claims))


def meaningless(
    table: Predictions, gate: Gate, task: Task, digests: Digests, *, first_release: bool
) -> Iterator[Finding]:
    """Yield why this comparison must not pass although its numbers can be computed."""
    n = table.n
    classes = task in (Task.BINARY, Task.MULTICLASS)
    if classes and table.y_true is not None and _constant(table.y_true):
        yield check(Cause.ONE_CLASS, n, column="y_true")
    if _ranked(gate, task) and _constant(table.candidate):
        yield check(Cause.CONSTANT, n, column="candidate")
    if table.champion is None and not first_release:
        yield check(Cause.NO_CHAMPION, n, column="champion")
    if _same_model(table, digests):
        yield check(Cause.SAME_MODEL, n, column="champion")
    champion_is_anchor = digests.anchor is not None and digests.anchor == digests.champion
    if table.anchor is None and not first_release and not champion_is_anchor:
        yield check(
            Cause.NO_ANCHOR, n, column="anchor", outcome=Outcome.INCONCLUSIVE, decides=False
        )
    if table.champion is not None and not any(rule.compares for rule in gate.rules):
        yield check(Cause.NO_MARGIN, n, outcome=Outcome.INCONCLUSIVE, decides=False)
    for name in gate.columns:
        yield from _slice_column(table, name)


def champion_out_of_reach(n: int) -> Finding:
    """Return the finding that keeps a verdict without its champion from passing."""
    return check(
        Cause.CHAMPION_OUT_OF_REACH,
        n,
        column="champion",
        outcome=Outcome.INCONCLUSIVE,
        decides=True,
    )


def _slice_column(table: Predictions, name: str) -> Iterator[Finding]:
    if name not in table.slices:
        yield check(Cause.MISSING_COLUMN, table.n, column=name)
        return
    categories, codes = table.slices[name]
    present = np.zeros(len(categories), dtype=np.bool_)
    for block in _blocks(codes):
        if present.all():
            break
        present |= np.bincount(block.astype(np.intp) + 1, minlength=len(present) + 1)[1:] > 0
    if len(present) == 0:
        yield check(Cause.EMPTY_SLICE, 0, column=name)
    for category in np.flatnonzero(~present).tolist():
        yield check(Cause.EMPTY_SLICE, 0, column=f"{name}={categories[category]}")


def _ranked(gate: Gate, task: Task) -> bool:
    return any(find(name, task, gate.own).ranking for name in gate.metrics if not is_system(name))


def _same_model(table: Predictions, digests: Digests) -> bool:
    """Whether champion and candidate are one model, as far as anybody can tell.

    One array for both is a mistake whatever else is known. Then by digest; without, equal continuous predictions on every row mean
    one model under two names; equal 0/1 marks may well come from two.
    """
    if table.champion is None:
        return False
    if table.champion is table.candidate:
        return True
    if digests.candidate is not None and digests.champion is not None:
        return digests.candidate == digests.champion
    pairs = zip(_blocks(table.candidate), _blocks(table.champion), strict=True)
    equal = all(np.array_equal(mine, other) for mine, other in pairs)
    return equal and not all(_marks(block) for block in _blocks(table.candidate))
