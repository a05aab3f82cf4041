"""Join labels to answers by id, whichever comes first, and judge each pair once."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.core.losses import judge
from tidegate.endpoint.measuring import label_key

if TYPE_CHECKING:
    import sqlite3

    from tidegate.core.losses import Prediction
    from tidegate.endpoint.store import Store
    from tidegate.ports import Measure


@dataclass(frozen=True, slots=True)
class Answer:
    """One answered row; ``arrived`` is when its request did (epoch seconds)."""

    id: str
    arrived: float
    variant: str
    prediction: Prediction


@dataclass(frozen=True, slots=True)
class Label:
    """The truth about one id. ``at`` is what the sender says, ``seen`` when we read it."""

    id: str
    value: float | str
    at: float | None
    seen: float

    def arrival(self, answered: float) -> float:
        """Return when the label came: what the sender says unless that cannot be."""
        if self.at is not None and answered <= self.at <= self.seen:
            return self.at
        return max(self.seen, answered)


class Joiner:
    """Joins within one transaction of the store.

    ``open_from`` (epoch seconds) is up to where readers may have seen strata as closed: whatever
    is joined now lands in a bucket that ends after it, so a closed stratum never changes.
    """

    def __init__(
        self, store: Store, db: sqlite3.Connection, measure: Measure | None, open_from: float
    ) -> None:
        self._store = store
        self._db = db
        self._measure = measure
        self._open_from = open_from

    def answers(self, answers: list[Answer]) -> None:
        """Store answers, and join those whose label was there before them."""
        before = self._db.total_changes
        self._db.executemany(
            "INSERT OR IGNORE INTO answers (id, t, variant, prediction) VALUES (?, ?, ?, ?)",
            [(one.id, one.arrived, one.variant, _stored(one.prediction)) for one in answers],
        )
        if twice := len(answers) - (self._db.total_changes - before):
            self._store.note("answers with an id that was there", twice)
        if self._db.execute("SELECT 1 FROM pending LIMIT 1").fetchone() is None:
            return
        for one in answers:
            row = self._db.execute(
                "DELETE FROM pending WHERE id = ? RETURNING label, at, seen", (one.id,)
            ).fetchone()
            if row is not None:
                self.label(Label(one.id, _read(row[0]), *row[1:]))

    def label(self, label: Label) -> None:
        """Join one label, or keep it until its answer comes. The first label of an id counts."""
        row = self._db.execute(
            "SELECT t, variant, prediction, labelled FROM answers WHERE id = ?", (label.id,)
        ).fetchone()
        if row is None:
            done = self._db.execute(
                "INSERT OR IGNORE INTO pending VALUES (?, ?, ?, ?)",
                (label.id, _kept(label.value), label.at, label.seen),
            )
            if done.rowcount == 0:
                self._store.note("duplicate labels")
        elif row[3]:
            self._store.note("duplicate labels")
        elif self._measure is not None:
            self._count(self._measure, label, Answer(label.id, row[0], row[1], _restored(row[2])))

    def _count(self, measure: Measure, label: Label, answer: Answer) -> None:
        try:
            judged = judge(
                measure.task, answer.prediction, label.value,
                clip=measure.clip, classes=measure.classes,
            )  # fmt: skip
        except ValueError:
            self._store.note("labels that do not fit the task")
            return
        moment = max(label.arrival(answer.arrived), self._open_from)
        loss = judged.loss or 0.0
        self._db.execute(
            "INSERT INTO strata VALUES (?, ?, ?, ?, 1, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "labelled = labelled + 1, mistakes = mistakes + excluded.mistakes, "
            "loss_sum = loss_sum + excluded.loss_sum, "
            "loss_sum_sq = loss_sum_sq + excluded.loss_sum_sq",
            (
                label_key(measure),
                math.floor(answer.arrived / measure.interval),
                math.floor(moment / measure.label_every),
                answer.variant,
                int(judged.mistake or False),
                loss,
                loss * loss,
            ),
        )
        self._db.execute("UPDATE answers SET labelled = 1 WHERE id = ?", (label.id,))


def _stored(prediction: Prediction) -> float | str:
    """Return a prediction as one value of the store: a list of probabilities as its JSON text."""
    return prediction if isinstance(prediction, float) else json.dumps(prediction)


def _kept(label: float | str) -> float | str:
    """Return a label as one value of the store, whose column would take the text 007 for a 7."""
    return f"={label}" if isinstance(label, str) else label


def _read(kept: float | str) -> float | str:
    return kept[1:] if isinstance(kept, str) else kept


def _restored(stored: float | str) -> Prediction:
    return tuple(json.loads(stored)) if isinstance(stored, str) else stored
