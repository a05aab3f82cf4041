"""Data checks that need more than the predictions: training rows, the holdout, the champion's profile.

Made where the verdict is made, from files that are read there: nothing here was said by a job that ran the
user's code, but for which columns the models read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tidegate import profiles
from tidegate.core.checks import check
from tidegate.core.contract import bounded, broken
from tidegate.core.model import Cause, Outcome, Task
from tidegate.core.overlap import Overlap, overlapping
from tidegate.core.profile import MOST_COLUMNS, TableSketch
from tidegate.core.rowhash import UnhashableError, hashes
from tidegate.core.rowhash import rows as row_hashes
from tidegate.core.shift import drifted, shifted
from tidegate.digests import file_digest
from tidegate.home import PROFILE, REFERENCE
from tidegate.parts import Parts
from tidegate.tables import read_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tidegate.commands.context import Context
    from tidegate.commands.evaluate import Evaluation
    from tidegate.core.model import Finding
    from tidegate.core.profile import Profile
    from tidegate.core.rowhash import Hashes
    from tidegate.core.state import State

_CLASSES = (Task.BINARY, Task.MULTICLASS)
_OFF = "off"
_TRAINING = (
    " (training rows)"  # what a finding adds to a column's name when it is not the holdout's
)


def unanswered(evaluation: Evaluation, n: int) -> Iterator[Finding]:
    """Yield who did not answer today's rows; nothing passes then.

    A column that it reads is gone or another one, or what it runs in broke: either way there is no comparison.
    A person may override the first, and move the anchor.
    """
    causes = {"champion": Cause.CHAMPION_INCOMPATIBLE, "anchor": Cause.ANCHOR_INCOMPATIBLE}
    for role, cause in causes.items():
        if role in evaluation.silent:
            yield check(cause, n, column=role)


def data_findings(
    context: Context, state: State, reads: Sequence[str] | None
) -> tuple[Finding, ...]:
    """Look through training rows and holdout, leave the candidate's profile, and return what is wrong.

    Args:
        context: of the candidate's commit; its bundle gets ``profile.json``.
        state: names champion and its profile's digest.
        reads: the columns that the candidate said it reads; None: it did not say.

    Raises:
        ConfigError: the training rows cannot be read.
    """
    known, cause = _champion(state, context.bundle / REFERENCE)
    tables = _look(context, known)
    said = None if reads is None else tuple(c for c in tables.training.columns if c in reads)
    profiles.save(context.bundle / PROFILE, replace(tables.training, reads=said))
    findings = [*tables.shared]
    if cause is Cause.PROFILE_CHANGED:
        findings.append(check(cause, tables.today.rows))
    elif cause is not None:
        findings.append(_told(cause, tables.today.rows))
    if known is not None:
        findings += _contract(context, known, tables)
    return (*findings, *_moved(context, known, tables))


def _champion(state: State, path: Path) -> tuple[Profile | None, Cause | None]:
    """Return the champion's profile, or why there is none; neither where nothing serves."""
    if state.champion is None:
        return None, None
    wanted = state.profiles.get(state.champion.digest)
    if wanted is None or not path.is_file():
        return None, Cause.NO_PROFILE
    if file_digest(path) != wanted:
        return None, Cause.PROFILE_CHANGED
    return profiles.read(path), None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tables:
    """What was seen of both files."""

    training: Profile
    training_sketch: TableSketch
    sketch: TableSketch  # of the holdout
    today: Profile  # of the holdout
    shared: tuple[Finding, ...]


def _look(context: Context, known: Profile | None) -> _Tables:
    data, task = context.config.data, context.config.model.task
    holdout = read_table(context.path(data.holdout, "data.holdout"))
    parts = Parts.of(context.path(data.train, "data.train"))
    keys = {data.id, data.time}
    both = [c for c in holdout.column_names if c in parts.names and c not in keys]
    profiled = both[:MOST_COLUMNS]
    if data.target in both and data.target not in profiled:
        profiled.append(data.target)
    edges = profiles.edges(parts, profiled, known)

    def sketch(columns: list[str]) -> TableSketch:
        return TableSketch(
            columns, edges=edges, target=data.target, discrete=task in _CLASSES, known=known
        )

    old = list(known.columns) if known else []
    training, today = (
        sketch(profiled),
        sketch([c for c in holdout.column_names if c in {*profiled, *old}]),
    )
    today.update(holdout)
    look = _Look.of(context, holdout, both, parts)
    for part in parts.each([*both, *([data.id] if data.id in parts.names else [])]):
        training.update(part)
        look.update(part)
    return _Tables(
        training=training.finish(),
        training_sketch=training,
        sketch=today,
        today=today.finish(),
        shared=look.findings(context),
    )


@dataclass(kw_only=True, slots=True)
class _Look:
    """The search for holdout rows among the training rows."""

    overlap: Overlap | None
    columns: list[str]  # of whole rows; empty: they are not compared
    id: str | None
    unchecked: tuple[Finding, ...] = ()

    @classmethod
    def of(cls, context: Context, holdout: pa.Table, both: list[str], parts: Parts) -> _Look:
        data = context.config.data
        if context.config.gate.checks.overlap == _OFF:
            return cls(overlap=None, columns=[], id=None)
        columns = both if set(both) - {data.target} else []
        rows: Hashes | None = None
        unchecked: tuple[Finding, ...] = ()
        try:
            rows = row_hashes({name: holdout[name] for name in columns}) if columns else None
            for name in columns:  # a training column's type may be another one
                row_hashes({name: pa.nulls(1, parts.schema.field(name).type)})
        except UnhashableError as error:
            rows, columns = None, []
            unchecked = (_told(Cause.OVERLAP_UNCHECKED, holdout.num_rows, error.column),)
        ids = _ids(holdout[data.id]) if data.id in parts.names else None
        return cls(
            overlap=Overlap(ids, rows, holdout.num_rows),
            columns=columns,
            id=data.id if ids is not None else None,
            unchecked=unchecked,
        )

    def update(self, part: pa.Table) -> None:
        if self.overlap is None:
            return
        rows = row_hashes({name: part[name] for name in self.columns}) if self.columns else None
        self.overlap.update(_ids(part[self.id]) if self.id else None, rows)

    def findings(self, context: Context) -> tuple[Finding, ...]:
        if self.overlap is None:
            return ()
        data = context.config.data
        found = overlapping(
            self.overlap.finish(),
            decides=context.config.gate.checks.overlap != "told",
            later=data.time is not None,
            id_column=data.id,
        )
        return (*found, *self.unchecked)


def _ids(column: pa.ChunkedArray) -> Hashes:
    """Return the ids' hashes, as texts: 7 in one file is the "7" of the other."""
    try:
        return hashes(pc.cast(column.drop_null(), "string"))
    except (NotImplementedError, ValueError):
        return hashes(column.drop_null())


def _contract(context: Context, known: Profile, tables: _Tables) -> list[Finding]:
    severity = context.config.gate.checks.contract
    today = broken(known, tables.sketch, severity=severity)
    told = {(finding.cause, finding.column) for finding in today}
    training = [
        replace(finding, column=f"{finding.column}{_TRAINING}")
        for finding in broken(known, tables.training_sketch, severity=severity)
        if (finding.cause, finding.column) not in told and finding.cause is not Cause.COLUMN_GONE
    ]
    return bounded([*today, *training])


def _moved(context: Context, known: Profile | None, tables: _Tables) -> list[Finding]:
    """Return how the target's and the features' distributions differ from what they were."""
    config, target = context.config, context.config.data.target
    confidence, checks = config.gate.confidence, config.gate.checks
    found: list[Finding] = []
    if target is not None and target in tables.today.columns:
        now = tables.today.columns[target]
        before = known.columns.get(target) if known is not None else None
        if before is not None:
            found += shifted(target, before, now, confidence, checks.label_shift)
        trained = tables.training.columns.get(target)
        if trained is not None and trained != before:  # the champion's rows once more
            found += shifted(target + _TRAINING, trained, now, confidence, checks.label_shift)
    if known is not None:
        skip = [target] if target else []
        found += bounded(drifted(known, tables.today, confidence, checks.drift, skip))
    return found


def _told(cause: Cause, n: int, column: str | None = None) -> Finding:
    return check(cause, n, column=column, outcome=Outcome.INCONCLUSIVE, decides=False)
