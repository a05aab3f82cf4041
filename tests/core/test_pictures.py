"""What a report draws: equal to scikit-learn's numbers, bounded, and nothing of the features."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from tidegate import pictures as files
from tidegate.core import curves
from tidegate.core.model import Task
from tidegate.core.pictures import OTHER, Pictures, picture
from tidegate.core.table import Predictions
from tidegate.errors import NotJudgedError
from tidegate.home import PICTURES

if TYPE_CHECKING:
    from pathlib import Path


def _table(n: int = 3000, seed: int = 0, **more: Any) -> Predictions:
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < 0.1).astype(np.float64)
    candidate, champion = (
        1 / (1 + np.exp(-(2 * truth - 3 + noise * rng.normal(size=n)))) for noise in (1.2, 0.8)
    )
    slices = {"region": (("north", "south"), rng.integers(0, 2, n))}
    return Predictions(
        y_true=truth,
        ids=np.arange(n),
        slices=slices,
        candidate=candidate,
        champion=champion,
        **more,
    )


def _made(table: Predictions, task: Task = Task.BINARY, **more: Any) -> Pictures:
    found = picture(table, task, **more)
    assert found is not None
    return found


def test_the_curve_lies_on_scikit_learns_and_keeps_its_area() -> None:
    table = _table()
    assert table.y_true is not None
    points = np.array(_made(table).models[0].roc)
    fpr, tpr, _ = roc_curve(table.y_true, table.candidate, drop_intermediate=False)
    known = {(round(x, 12), round(y, 12)) for x, y in zip(fpr, tpr, strict=True)}
    assert {(round(x, 12), round(y, 12)) for x, y in points} <= known
    assert (points[0].tolist(), points[-1].tolist()) == ([0, 0], [1, 1])
    assert len(points) <= 200
    area = np.trapezoid(points[:, 1], points[:, 0])
    assert area == pytest.approx(roc_auc_score(table.y_true, table.candidate), abs=2e-3)
    assert np.diff(points, axis=0).max() < 0.03


def test_ties_and_weights_draw_the_weighted_curve() -> None:
    truth = np.array([0.0, 0.0, 1.0, 1.0])
    score = np.array([0.2, 0.5, 0.5, 0.9])
    assert curves.roc(truth, score) == ((0.0, 0.0), (0.0, 0.5), (0.5, 1.0), (1.0, 1.0))
    weighted = curves.roc(truth, score, np.array([3.0, 1.0, 1.0, 3.0]))
    assert weighted == ((0.0, 0.0), (0.0, 0.75), (0.25, 1.0), (1.0, 1.0))
    assert curves.roc(np.ones(4), score) == ()


def test_the_bins_hold_every_row_once_and_widen_with_groups() -> None:
    alone = _made(_table()).models[0].calibration
    assert [b.n for b in alone] == [300] * 10
    predicted = [b.predicted for b in alone]
    assert predicted == sorted(predicted)
    assert all(b.lower <= b.observed <= b.upper for b in alone)
    pairs = _made(_table(group=np.arange(3000) // 30)).models[0].calibration
    for grouped, single in zip(pairs, alone, strict=True):
        assert grouped.upper - grouped.lower > single.upper - single.lower
    # Wilson's interval of 5 of 10, to the digits of any table of it.
    (half,) = curves.calibration(np.arange(10.0) % 2, np.full(10, 0.5))
    assert (round(half["lower"], 4), round(half["upper"], 4)) == (0.2366, 0.7634)


def test_the_worst_rows_are_those_of_a_full_sort_and_name_no_feature() -> None:
    table = _table()
    found = _made(table).worst
    assert table.y_true is not None
    assert table.champion is not None
    lost = (table.candidate - table.y_true) ** 2 - (table.champion - table.y_true) ** 2
    assert [row.id for row in found] == [str(i) for i in np.argsort(-lost)[:20]]
    first = int(found[0].id)
    categories, codes = table.slices["region"]
    assert found[0].slices == (("region", categories[codes[first]]),)
    assert (found[0].truth, found[0].candidate) == (table.y_true[first], table.candidate[first])
    assert _made(table, with_rows=False).worst == ()
    better = Predictions(
        y_true=np.ones(3), candidate=np.ones(3), champion=np.zeros(3), ids=np.arange(3)
    )
    assert _made(better).worst == ()


def test_a_regression_has_bands_of_residuals_and_rows_by_absolute_error() -> None:
    truth = np.arange(1000.0)
    table = Predictions(
        y_true=truth, candidate=np.column_stack([truth - 2, truth - 9, truth + 9]),
        champion=truth + 1, ids=np.arange(1000),
    )  # fmt: skip
    found = _made(table, Task.REGRESSION)
    mine, theirs = (model.residuals for model in found.models)
    assert [s.n for s in mine] == [100] * 10
    assert {s.quantiles for s in mine} == {(2.0,) * 5}
    assert {s.quantiles for s in theirs} == {(-1.0,) * 5}
    assert [(r.id, r.lost, r.truth) for r in found.worst[:2]] == [("0", 1, 0), ("1", 1, 1)]


def test_a_matrix_of_many_classes_shows_the_frequent_ones_and_the_rest_as_one() -> None:
    rng = np.random.default_rng(1)
    truth = np.minimum(rng.geometric(0.2, 2000) - 1, 19).astype(np.float64)
    probabilities = rng.dirichlet(np.ones(20), 2000)
    table = Predictions(
        y_true=truth, candidate=probabilities, champion=probabilities[::-1], ids=np.arange(2000)
    )
    found = _made(table, Task.MULTICLASS, names=[f"c{i}" for i in range(20)])
    assert found.classes == (*(f"c{i}" for i in range(11)), OTHER)
    matrix = np.array(found.models[0].confusion)
    assert matrix.sum() == 2000
    said = probabilities.argmax(axis=1)
    assert matrix[3, 4] == ((truth == 3) & (said == 4)).sum()
    assert matrix[3, 11] == ((truth == 3) & (said >= 11)).sum()
    assert sum(found.counts) == 2000
    row = found.worst[0]
    assert row.truth is not None
    assert row.label == f"c{int(row.truth)}"
    assert row.candidate == probabilities[int(row.id), int(row.truth)]


def test_scores_share_their_edges_and_hold_every_row() -> None:
    rng = np.random.default_rng(2)
    table = Predictions(candidate=rng.normal(size=500), champion=rng.normal(size=500) + 1)
    found = _made(table, Task.GENERIC)
    assert len(found.edges) == 31
    assert [sum(model.scores) for model in found.models] == [500, 500]
    assert len(_made(Predictions(candidate=np.ones(60)), Task.GENERIC).edges) == 31


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("column", ["y_true", "candidate", "champion"])
def test_what_is_no_number_is_not_drawn(column: str, bad: float) -> None:
    table = _table()
    getattr(table, column)[7] = bad
    assert picture(table, Task.BINARY) is None


# --- the file -------------------------------------------------------------------------------


@pytest.mark.parametrize("task", [Task.BINARY, Task.REGRESSION, Task.GENERIC, Task.RANKING])
def test_what_is_written_is_read_back(tmp_path: Path, task: Task) -> None:
    found = _made(_table(group=np.arange(3000) // 3), task, candidate="c0" * 32)
    files.save(tmp_path, found)
    assert files.read(tmp_path) == found
    files.save(tmp_path, None)
    assert files.read(tmp_path) is None


def test_the_largest_file_there_can_be_is_small_and_readable(tmp_path: Path) -> None:
    n, name = 5000, "\U0001f600" * 5000
    slices = {f"{name}{i}": ((name,), np.zeros(n, dtype=np.intp)) for i in range(10)}
    ids = np.array([f"{i}{name[:300]}" for i in range(n)], dtype=object)
    rng = np.random.default_rng(3)
    table = Predictions(y_true=np.round(rng.random(n)), candidate=rng.random(n),
                        champion=rng.random(n), ids=ids, slices=slices)  # fmt: skip
    found = _made(table)
    files.save(tmp_path, found)
    assert (tmp_path / PICTURES).stat().st_size < 800_000
    assert files.read(tmp_path) == found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n": -1}, "n: got -1"),
        ({"extra": 1}, "extra"),
        ({"task": "poetry"}, "task: got 'poetry'"),
        ({"edges": [0.0, 1.0]}, "scores do not fit the edges"),
        ({"classes": ["a"]}, None),
        ({"worst": [{"id": "1"}]}, "worst"),
        ({"candidate": "not a digest"}, "candidate"),
    ],
)
def test_a_file_that_was_changed_is_refused(
    tmp_path: Path, change: dict[str, Any], words: str | None
) -> None:
    data = {**files.document(_made(_table())), **change}
    (tmp_path / PICTURES).write_text(json.dumps(data))
    if words is None:
        assert files.read(tmp_path) is not None
        return
    with pytest.raises(NotJudgedError, match=words):
        files.read(tmp_path)


@pytest.mark.parametrize("text", ["", "{", '{"n": NaN}', "[" * 100_000, "x" * 2_000_000])
def test_what_is_no_document_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / PICTURES).write_text(text)
    with pytest.raises(NotJudgedError):
        files.read(tmp_path)
