"""``mlops.yaml`` as frozen records. Built by :mod:`tidegate.load`, the only place a dict exists.

Text fields may still hold ``${VAR}``; the command that uses such a value resolves it then
(:func:`tidegate.load.expand`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tidegate.core.catalog import Entry
from tidegate.core.clouds import Where

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate.core.clouds import (
        Metering,
        SageMaker,
        TrainOnSageMaker,
        TrainOnVertex,
        Vertex,
    )
    from tidegate.core.model import Direction, Margin, Task


class Format(StrEnum):
    """What loading a model may run, beyond the library that loads it. Ordered from harmless to not."""

    SAFE = "safe"  # numbers and structure
    PICKLE = "pickle"  # a pickle, which may call anything, or a list of types that it may call
    CODE = "code"  # Python files of its own, a loader of its own, or nobody knows


class Environment(StrEnum):
    """Where a model runs while it is judged, and behind the local endpoint."""

    AUTO = "auto"  # in the recorded one; where that cannot be had in the engine's, and it is said
    RECORDED = "recorded"  # in the recorded one, or not at all
    ENGINE = "engine"  # in the engine's


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """Which model this file is about."""

    name: str
    task: Task
    formats: tuple[Format, ...] = tuple(Format)  # a candidate of another format is rejected
    classes: tuple[str, ...] = ()  # multiclass; empty: the holdout's, in sorted order


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """Where the rows are and what their columns mean. Paths are relative to ``mlops.yaml``."""

    train: str
    holdout: str
    target: str | None  # None only for task generic
    id: str
    time: str | None = None
    group: str | None = None  # rows with the same value are one cluster, or one query
    weight: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Train:
    """The user's training command; ``timeout`` in seconds.

    ``paths`` are globs, from the repository's top, of files outside the folder of ``mlops.yaml`` that
    the model is made of, too.
    """

    run: str
    timeout: float = 7200.0
    paths: tuple[str, ...] = ()
    compute: Where = Where.RUNNER
    sagemaker: TrainOnSageMaker | None = None
    vertex: TrainOnVertex | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A command of the user's that must succeed before training."""

    run: str
    timeout: float = 1800.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Predict:
    """How predictions are made when the default (load the MLflow model) does not fit."""

    run: str | None = None  # batch: TIDEGATE_MODEL_DIR, TIDEGATE_INPUT -> TIDEGATE_OUTPUT
    serve: str | None = None  # a server on 127.0.0.1:$TIDEGATE_PORT answering POST /invocations
    timeout: float = 3600.0
    environment: Environment = Environment.AUTO


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnMetric:
    """A metric that is a function of the user's: ``run`` is ``file.py:function``, beside ``mlops.yaml``."""

    name: str
    run: str
    direction: Direction
    low: float | None = None  # smallest possible value
    high: float | None = None  # largest possible value

    def entry(self, task: Task) -> Entry:
        """Return its public face, like that of any metric."""
        return Entry(
            name=self.name,
            direction=self.direction,
            tasks=frozenset({task}),
            low=self.low,
            high=self.high,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A headline rule: at least one limit is set, and not both ``margin`` and ``improves_by``."""

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    margin: Margin | None = None
    improves_by: Margin | None = None  # better than the champion by more than this
    on: str = "bound"  # "bound" | "point": what at_least / at_most are compared with
    negligible: float | None = None  # system metrics: a difference below it breaks no margin

    @property
    def compares(self) -> bool:
        """Whether the rule compares the candidate with the champion."""
        return self.margin is not None or self.improves_by is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceRule:
    """The same metric within every group of rows that share the values of the ``by`` columns."""

    by: tuple[str, ...]
    metric: str
    margin: Margin
    min_rows: int = 200
    critical: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class GapRule:
    """How far apart two groups may be: ``at_most``, and how much further than under the champion."""

    by: tuple[str, ...]
    metric: str
    at_most: float | None = None
    margin: float | None = None  # in the metric's units
    min_rows: int = 200


class Adaptivity(StrEnum):
    """What may depend on earlier decisions of the same holdout."""

    NONE = "none"  # nothing: the candidates are fixed before the first decision
    FULL = "full"  # each candidate may depend on every earlier outcome
    FIRST_CHANGE = "first_change"  # the same, and the first pass retires the holdout


@dataclass(frozen=True, kw_only=True, slots=True)
class Exact:
    """The distribution-free promise, over all of ``decisions``; ``disagreement`` as a fraction."""

    decisions: int
    disagreement: float = 0.1
    adaptivity: Adaptivity = Adaptivity.FULL


@dataclass(frozen=True, kw_only=True, slots=True)
class Checks:
    """What the data checks decide; without a word or a limit they do as docs/data-checks.md says."""

    contract: str | None = None  # "error" | "told"
    overlap: str = "error"  # "error" | "told" | "off"
    label_shift: float | None = None  # a limit of the total variation distance
    drift: float | None = None  # a limit of each column's population stability index


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """The rules a candidate must be shown to keep."""

    rules: tuple[Rule, ...]
    slices: tuple[SliceRule, ...] = ()
    gaps: tuple[GapRule, ...] = ()
    confidence: float = 0.95
    budget: int | None = None  # decisions a holdout may serve, over all of which the confidence is
    exact: Exact | None = None  # guarantee: exact
    own: tuple[OwnMetric, ...] = ()  # the user's own metrics, whether or not a rule names them
    checks: Checks = field(default_factory=Checks)

    @property
    def groupings(self) -> tuple[tuple[str, ...], ...]:
        """Every ``by`` of slices and gaps, once."""
        sliced, apart = [rule.by for rule in self.slices], [rule.by for rule in self.gaps]
        return tuple(dict.fromkeys([*sliced, *apart]))

    @property
    def metrics(self) -> frozenset[str]:
        """The metrics of all rules."""
        sliced = {rule.metric for rule in self.slices} | {rule.metric for rule in self.gaps}
        return frozenset({rule.metric for rule in self.rules} | sliced)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that rows are grouped by, once each."""
        return tuple(dict.fromkeys(name for by in self.groupings for name in by))


@dataclass(frozen=True, kw_only=True, slots=True)
class Registry:
    """Where versions and their bytes live; without ``uri`` and ``store`` in an embedded SQLite file."""

    uri: str | None = None  # an MLflow tracking URI
    store: str | None = None  # "github-releases", or a bucket's folder: s3://..., gs://...
    public_key: str | None = None  # base64: only what this key signed may serve


class GuardMetric(StrEnum):
    """What a canary guard counts."""

    ERROR_RATE = "error_rate"  # answers with a 5xx status, or none at all
    SLOW_REQUESTS = "slow_requests"  # answers slower than ``slower_than``
    LABEL_ERROR = "label_error"  # labelled mistakes
    LABEL_LOSS = "label_loss"  # mean per-row loss of labelled answers


@dataclass(frozen=True, kw_only=True, slots=True)
class Guard:
    """One live comparison. ``margin`` is a factor (1.25 = 25 % more): of odds, or of mean loss."""

    metric: GuardMetric
    margin: float
    negligible: float = 0.0  # a rate below which nobody cares; 0 for label guards
    slower_than: float | None = None  # seconds; slow_requests only
    clip: float | None = None  # label_loss of a regression: losses are cut here (bound B)

    @property
    def needs_labels(self) -> bool:
        """Whether the guard can only be judged once the truth is known."""
        return self.metric in (GuardMetric.LABEL_ERROR, GuardMetric.LABEL_LOSS)


DEFAULT_GUARDS = (Guard(metric=GuardMetric.ERROR_RATE, margin=1.25, negligible=0.005),)


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """How the truth arrives: JSON Lines ``{"id": ..., "label": ...}`` appended to ``source``."""

    source: str | None = None  # None: labels.jsonl beside the embedded endpoint's state
    within: float = 7200.0  # seconds after the prediction by which most labels are there
    every: float = 600.0  # seconds: width of a label-arrival bucket
    required: bool = False  # promotion waits for the label guards


@dataclass(frozen=True, kw_only=True, slots=True)
class Probation:
    """After promotion the old version keeps ``holdback`` of the traffic for ``duration`` seconds."""

    duration: float = 172_800.0
    holdback: float = 0.05


class OnExpire(StrEnum):
    """What a rollout without a decision at its deadline does."""

    WITHDRAW = "withdraw"
    HOLD = "hold"
    PROMOTE = "promote"


class OnNewer(StrEnum):
    """What a newer accepted candidate does to a live canary."""

    SUPERSEDE = "supersede"
    QUEUE = "queue"


@dataclass(frozen=True, kw_only=True, slots=True)
class Canary:
    """The rollout's policy. Durations in seconds, shares as fractions."""

    guards: tuple[Guard, ...] = DEFAULT_GUARDS
    steps: tuple[float, ...] = (0.05, 0.25, 0.5)
    interval: float = 60.0  # length of one closed "minute" of evidence
    warmup: float = 180.0
    bake: float = 1800.0
    deadline: float = 86_400.0
    min_requests: int = 100  # candidate requests that each step must have seen
    on_expire: OnExpire = OnExpire.WITHDRAW
    on_newer: OnNewer = OnNewer.SUPERSEDE
    false_revert_rate: float = 0.01
    false_promote_rate: float = 0.05
    labels: Labels = field(default_factory=Labels)
    probation: Probation = field(default_factory=Probation)

    @property
    def alpha_per_guard(self) -> float:
        """The false-revert rate that each guard may spend: equal shares that sum to the whole."""
        return self.false_revert_rate / len(self.guards)


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalEndpoint:
    """The embedded endpoint: Envoy on ``port``; answers later than ``timeout`` seconds are errors."""

    port: int = 8900
    timeout: float = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """Where an accepted model goes, and how carefully."""

    canary: Canary
    endpoint: str
    target: str = "local"
    policy: Mapping[str, Any] = field(default_factory=dict)  # ``canary`` as written, for the ledger
    local: LocalEndpoint = field(default_factory=LocalEndpoint)
    sagemaker: SageMaker | None = None  # set when target is sagemaker
    vertex: Vertex | None = None  # set when target is vertex
    metrics: Metering | None = None  # None: the local endpoint's own counts


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """All of ``mlops.yaml``. ``digest`` is of the canonical content, comments left out."""

    model: Model
    data: Data
    train: Train
    gate: Gate
    release: Release
    registry: Registry
    digest: str
    rules_digest: str
    checks: tuple[Check, ...] = ()
    predict: Predict = field(default_factory=Predict)
