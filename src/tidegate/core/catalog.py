"""The metrics' names, directions and ranges: what ``validate`` must know without loading numpy.

The formulas stand in :mod:`tidegate.core.metrics`; a test holds the two together. One name may stand
for a metric of several tasks, with a range and a formula for each. Some metrics need a parameter,
which is written after an @: ``fbeta@2``, ``recall_at_top@5%``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from tidegate.core.model import Direction, Task

AT_LEAST, AT_MOST, MARGIN, IMPROVES_BY = "at_least", "at_most", "margin", "improves_by"
# Shares of right rows: what guarantee: exact is about.
PROPORTIONS = frozenset({"accuracy", "mean", "micro_f1", "pass_rate"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """What stands after the @. ``pattern`` is of the text, ``low`` and ``high`` of its value."""

    word: str
    expected: str
    example: str
    pattern: str
    low: float  # the value is above it,
    high: float  # and below it

    def read(self, text: str) -> float | None:
        """Return the value (a percentage as a fraction); None for any other text.

        >>> PERCENT.read("5%"), PERCENT.read("5"), COUNT.read("0")
        (0.05, None, None)
        """
        if not re.fullmatch(self.pattern, text, re.ASCII):
            return None
        value = float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
        return value if self.low < value < self.high else None


_DECIMAL = r"\d{1,6}(\.\d{1,9})?"
BETA = Parameter(
    word="BETA", expected="a number above 0", example="2", pattern=_DECIMAL, low=0, high=1e6
)
PRECISION = Parameter(
    word="PRECISION", expected="a precision between 0 and 1", example="0.9",
    pattern=_DECIMAL, low=0, high=1,
)  # fmt: skip
QUANTILE = Parameter(
    word="QUANTILE", expected="a quantile between 0 and 1", example="0.9",
    pattern=_DECIMAL, low=0, high=1,
)  # fmt: skip
PERCENT = Parameter(
    word="PERCENT", expected="a percentage between 0% and 100%", example="5%",
    pattern=_DECIMAL + "%", low=0, high=1,
)  # fmt: skip
COUNT = Parameter(
    word="K", expected="a whole number from 1 on", example="10", pattern=r"\d{1,6}", low=0, high=1e6
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A metric's public face. ``tasks`` is empty for system metrics, which need no predictions.

    Attributes:
        name: as it is written, with its parameter once there is one: ``fbeta@2``.
        target: the best value lies inside the range, so that both limits make sense and neither
            more nor less is better: a margin says nothing.
        ceiling_only: the difference between two models has no regular distribution where one of
            them is good, so that no margin could keep its promise; ``at_most`` keeps it.
        grouped: a mean over groups of rows (queries, items with repeats), so that it needs
            ``data.group``.
        value: the parameter's; None when it has none.
    """

    name: str
    direction: Direction
    tasks: frozenset[Task]
    low: float | None = None  # smallest possible value
    high: float | None = None  # largest possible value
    parameter: Parameter | None = None
    target: bool = False
    ceiling_only: bool = False
    grouped: bool = False
    value: float | None = None

    @property
    def system(self) -> bool:
        """Whether the metric measures the model as a program: latency, size."""
        return not self.tasks

    @property
    def base(self) -> str:
        """The name without its parameter."""
        return self.name.partition("@")[0]

    @property
    def shown(self) -> str:
        """The name as a list of metrics shows it: ``fbeta@BETA``."""
        return f"{self.base}@{self.parameter.word}" if self.parameter else self.name

    @property
    def example(self) -> str:
        """The name as it may be written: ``fbeta@2``."""
        return f"{self.base}@{self.parameter.example}" if self.parameter else self.name

    @property
    def limits(self) -> frozenset[str]:
        """The keys by which a rule may limit this metric."""
        if self.target:
            return frozenset({AT_LEAST, AT_MOST})
        limit = AT_LEAST if self.direction is Direction.HIGHER else AT_MOST
        if self.ceiling_only:
            return frozenset({limit})
        return frozenset({limit, MARGIN} if self.system else {limit, MARGIN, IMPROVES_BY})


@dataclass(frozen=True, kw_only=True, slots=True)
class Misnamed:
    """A name that is no metric of the task: what was got, what was expected.

    ``known`` are the names it may have been meant to be, empty when it is known what is wrong.
    """

    got: str
    expected: str
    known: tuple[str, ...] = ()


_BINARY = frozenset({Task.BINARY})
_MULTICLASS = frozenset({Task.MULTICLASS})
_CLASSES = _BINARY | _MULTICLASS
_REGRESSION = frozenset({Task.REGRESSION})
_RANKING = frozenset({Task.RANKING})
_GENERIC = frozenset({Task.GENERIC})
_UP, _DOWN = Direction.HIGHER, Direction.LOWER

CATALOG: tuple[Entry, ...] = (
    Entry(name="roc_auc", direction=_UP, tasks=_BINARY, low=0, high=1),
    Entry(name="average_precision", direction=_UP, tasks=_BINARY, low=0, high=1),
    Entry(name="ks", direction=_UP, tasks=_BINARY, low=0, high=1),
    Entry(
        name="recall_at_precision", direction=_UP, tasks=_BINARY, low=0, high=1, parameter=PRECISION
    ),
    Entry(name="recall_at_top", direction=_UP, tasks=_BINARY, low=0, high=1, parameter=PERCENT),
    Entry(name="log_loss", direction=_DOWN, tasks=_CLASSES, low=0),
    Entry(name="brier", direction=_DOWN, tasks=_BINARY, low=0, high=1),
    Entry(name="brier", direction=_DOWN, tasks=_MULTICLASS, low=0, high=2),
    Entry(name="ece", direction=_DOWN, tasks=_BINARY, low=0, high=1, ceiling_only=True),
    Entry(name="brier_reliability", direction=_DOWN, tasks=_BINARY, low=0, high=1),
    Entry(name="accuracy", direction=_UP, tasks=_CLASSES, low=0, high=1),
    Entry(name="balanced_accuracy", direction=_UP, tasks=_CLASSES, low=0, high=1),
    Entry(name="precision", direction=_UP, tasks=_BINARY, low=0, high=1),
    Entry(name="recall", direction=_UP, tasks=_BINARY, low=0, high=1),
    Entry(name="specificity", direction=_UP, tasks=_BINARY, low=0, high=1),
    Entry(name="f1", direction=_UP, tasks=_BINARY, low=0, high=1),
    Entry(name="fbeta", direction=_UP, tasks=_BINARY, low=0, high=1, parameter=BETA),
    Entry(name="macro_f1", direction=_UP, tasks=_MULTICLASS, low=0, high=1),
    Entry(name="weighted_f1", direction=_UP, tasks=_MULTICLASS, low=0, high=1),
    Entry(name="micro_f1", direction=_UP, tasks=_MULTICLASS, low=0, high=1),
    Entry(name="mcc", direction=_UP, tasks=_CLASSES, low=-1, high=1),
    Entry(name="top_k_accuracy", direction=_UP, tasks=_MULTICLASS, low=0, high=1, parameter=COUNT),
    Entry(name="roc_auc_ovr", direction=_UP, tasks=_MULTICLASS, low=0, high=1),
    Entry(name="mae", direction=_DOWN, tasks=_REGRESSION, low=0),
    Entry(name="mse", direction=_DOWN, tasks=_REGRESSION, low=0),
    Entry(name="rmse", direction=_DOWN, tasks=_REGRESSION, low=0),
    Entry(name="medae", direction=_DOWN, tasks=_REGRESSION, low=0),
    Entry(name="mape", direction=_DOWN, tasks=_REGRESSION, low=0),
    Entry(name="smape", direction=_DOWN, tasks=_REGRESSION, low=0, high=2),
    Entry(name="wape", direction=_DOWN, tasks=_REGRESSION, low=0),
    Entry(name="r2", direction=_UP, tasks=_REGRESSION, high=1),
    Entry(name="pinball", direction=_DOWN, tasks=_REGRESSION, low=0, parameter=QUANTILE),
    Entry(name="abs_bias", direction=_DOWN, tasks=_REGRESSION, low=0, ceiling_only=True),
    Entry(name="coverage", direction=_UP, tasks=_REGRESSION, low=0, high=1, target=True),
    Entry(name="ndcg", direction=_UP, tasks=_RANKING, low=0, high=1, parameter=COUNT, grouped=True),
    Entry(name="map", direction=_UP, tasks=_RANKING, low=0, high=1, parameter=COUNT, grouped=True),
    Entry(name="mrr", direction=_UP, tasks=_RANKING, low=0, high=1, grouped=True),
    Entry(
        name="recall", direction=_UP, tasks=_RANKING, low=0, high=1, parameter=COUNT, grouped=True
    ),
    Entry(name="mean", direction=_UP, tasks=_GENERIC),
    Entry(name="pass_rate", direction=_UP, tasks=_GENERIC, low=0, high=1),
    Entry(
        name="pass_at", direction=_UP, tasks=_GENERIC, low=0, high=1, parameter=COUNT, grouped=True
    ),
    Entry(
        name="pass_all", direction=_UP, tasks=_GENERIC, low=0, high=1, parameter=COUNT, grouped=True
    ),
    Entry(name="latency_p50_ms", direction=_DOWN, tasks=frozenset(), low=0),
    Entry(name="latency_p95_ms", direction=_DOWN, tasks=frozenset(), low=0),
    Entry(name="latency_p99_ms", direction=_DOWN, tasks=frozenset(), low=0),
    Entry(name="model_size_mb", direction=_DOWN, tasks=frozenset(), low=0),
    Entry(name="peak_memory_mb", direction=_DOWN, tasks=frozenset(), low=0),
    # Nobody keeps what the champion's training took: its price then, not today's.
    Entry(name="training_minutes", direction=_DOWN, tasks=frozenset(), low=0, ceiling_only=True),
    Entry(name="training_cost_usd", direction=_DOWN, tasks=frozenset(), low=0, ceiling_only=True),
)


def entries_for(task: Task) -> tuple[Entry, ...]:
    """Return the metrics a rule of this task may name, system metrics last."""
    return tuple(e for e in CATALOG if e.system or task in e.tasks)


def names_for(task: Task) -> tuple[str, ...]:
    """Return their names, a parameter as its word: ``fbeta@BETA``."""
    return tuple(entry.shown for entry in entries_for(task))


def read(name: str, task: Task) -> Entry | Misnamed:
    """Return the metric that ``name`` is for this task, with its parameter's value.

    >>> entry = read("fbeta@2", Task.BINARY)
    >>> (entry.name, entry.value) if isinstance(entry, Entry) else entry.expected
    ('fbeta@2', 2.0)
    >>> read("f1@2", Task.BINARY)
    Misnamed(got="'f1@2'", expected='f1, which takes no parameter', known=())
    """
    base, at, text = name.partition("@")
    entry = next((e for e in entries_for(task) if e.base == base), None)
    if entry is None:
        return _of_no_such_task(name, base, task)
    if entry.parameter is None:
        if at:
            return Misnamed(got=ascii(name), expected=f"{base}, which takes no parameter")
        return entry
    value = entry.parameter.read(text)
    if value is None:
        after = f" after the @ of {base}" if at else f" for {base}"
        expected = f"{entry.parameter.expected}{after}, for example {entry.example}"
        return Misnamed(got=ascii(name) if at else name, expected=expected)
    return replace(entry, name=name, value=value)


def _of_no_such_task(name: str, base: str, task: Task) -> Misnamed:
    known = names_for(task)
    tasks = sorted({str(t) for e in CATALOG if e.base == base for t in e.tasks})
    if tasks:
        got = f"{base}, which is for task {' or '.join(tasks)}"
        return Misnamed(got=got, expected=f"one of {', '.join(known)}")
    return Misnamed(got=ascii(name), expected=f"one of {', '.join(known)}", known=known)


def is_system(name: str) -> bool:
    """Whether a metric measures the model as a program; an unknown one does not."""
    return any(entry.system and entry.name == name for entry in CATALOG)
