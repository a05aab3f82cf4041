"""Data checks on a real repository: what training rows, holdout and the champion's profile say together."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.jobs import Jobs, hand_over
from tests.real_repo import PREDICT, Stage, rows, training, two_releases
from tidegate.commands.checking import data_findings
from tidegate.core.events import Registered
from tidegate.digests import file_digest
from tidegate.git import text

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real

# A model may name its column: the champion's cannot.
NAMED = PREDICT.replace('rows["x"]', "rows[column]").replace(
    "rows = pq",
    'named = pathlib.Path(os.environ["TIDEGATE_MODEL_DIR"]) / "column.txt"\n'
    'column = named.read_text() if named.exists() else "x"\nrows = pq',
)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return two_releases(tmp_path / "stage", monkeypatch)


def judged(stage: Stage, **changes: Any) -> tuple[int, dict[str, Any]]:
    """Commit what was changed with a model that is as good; return exit code and verdict."""
    stage.repo.configure(**changes)
    stage.push(0.91)
    assert stage.tidegate("train") == 0
    assert stage.tidegate("evaluate") == 0
    return again(stage)


def again(stage: Stage, **changes: Any) -> tuple[int, dict[str, Any]]:
    """Judge the same model by other rules."""
    if changes:
        stage.repo.configure(**changes)
    code = stage.tidegate("gate")
    return code, json.loads((stage.repo.bundle / "verdict.json").read_text())


def data(verdict: dict[str, Any]) -> list[tuple[str, bool]]:
    found = (f for f in verdict["findings"] if f["level"] == "data")
    return [(f["reason"], f["decides"]) for f in found if f["cause"] != "format"]


def hold(stage: Stage, table: pa.Table) -> None:
    pq.write_table(table, stage.repo.path / "holdout.parquet")


def train_on(stage: Stage, table: pa.Table) -> None:
    pq.write_table(table, stage.repo.path / "train.parquet")


def test_a_version_is_registered_with_the_profile_that_the_ledger_names(stage: Stage) -> None:
    registered = [e.payload for e in stage.repo.book.chain if isinstance(e.payload, Registered)]
    champion = stage.state.champion
    assert champion is not None
    assert len(registered) == 2
    assert stage.state.profiles[champion.digest] == registered[-1].profile
    code, verdict = judged(stage)
    assert (code, data(verdict)) == (0, [])  # rows like the champion's give no finding
    fetched = stage.repo.home.fetched(champion.digest) / "profile.json"
    assert file_digest(fetched) == registered[-1].profile
    profile = json.loads(fetched.read_text())
    assert (profile["rows"], profile["target"], profile["reads"]) == (400, "y", None)
    assert [column["name"] for column in profile["columns"]] == ["x", "group", "y"]


def test_a_broken_contract_is_told_and_decides_where_the_rules_say_so(stage: Stage) -> None:
    table = rows()
    group = np.array(["c"] * 5 + table["group"].to_pylist()[5:])
    hold(stage, table.set_column(2, "group", pa.array(group)))
    says = "column group: 5 rows have a value that the champion's rows did not have"
    code, verdict = judged(stage)
    assert (code, data(verdict)) == (0, [(says, False)])
    code, verdict = again(stage, gate__checks={"contract": "error"})
    assert (code, data(verdict)) == (6, [(says, True)])


def test_training_rows_keep_the_contract_too(stage: Stage) -> None:
    table = rows(400, 4)
    train_on(stage, table.set_column(1, "x", pa.array([None, *table["x"].to_pylist()[1:]])))
    code, verdict = judged(stage)
    says = "column x (training rows): 1 values are missing, 0.25% of the rows and 0% under the champion"
    assert (code, data(verdict)) == (0, [(says, False)])


def test_an_id_of_the_training_rows_in_the_holdout_is_an_error(stage: Stage) -> None:
    train_on(stage, pa.concat_tables([rows(400, 4), rows().slice(10, 3)]))
    says = "column id: 3 holdout rows have an id of the training rows; take those out of one of the two"
    code, verdict = judged(stage)
    assert code == 6
    assert (says, True) in data(verdict)
    code, verdict = again(stage, gate__checks={"overlap": "told"})
    assert (code, (says, False) in data(verdict)) == (0, True)
    code, verdict = again(stage, gate__checks={"overlap": "off"})
    assert (code, data(verdict)) == (0, [])


def test_whole_rows_under_new_ids_are_found(stage: Stage) -> None:
    leaked = rows().slice(0, 100)
    renamed = leaked.set_column(0, "id", pa.array([f"new-{i}" for i in range(100)]))
    train_on(stage, pa.concat_tables([rows(400, 4), renamed]))
    code, verdict = judged(stage)
    says = (
        "100 holdout rows equal a training row in every column, and chance explains 0, at most 43.54; "
        "take those out of one of the two"
    )
    assert (code, data(verdict)) == (6, [(says, True)])


@pytest.mark.parametrize("where", ["training rows", "both"])
def test_a_column_that_cannot_be_compared_is_told_and_ids_are_compared_all_the_same(
    stage: Stage, where: str
) -> None:
    tags = pa.map_(pa.string(), pa.int64())
    table, kind = rows(400, 4), tags if where == "both" else pa.int64()
    train_on(stage, table.append_column("tags", pa.nulls(400, tags)))
    hold(stage, rows().append_column("tags", pa.nulls(4000, kind)))
    code, verdict = judged(stage)
    says = "column tags: its values cannot be compared, so nobody looked for training rows in the holdout"
    assert (code, data(verdict)) == (0, [(says, False)])


def test_a_shifted_truth_is_told_and_decides_beyond_a_limit(stage: Stage) -> None:
    table = rows()
    ones = pa.array(np.asarray(table["y"].to_pylist()) == 1)
    skewed = pa.concat_tables(
        [table.filter(ones), table.filter(pa.compute.invert(ones)).slice(0, 500)]
    )
    hold(stage, skewed)
    code, verdict = judged(stage, gate__rules=[{"metric": "brier", "margin": 0.02}])
    shifts = [f for f in verdict["findings"] if f["cause"] == "label_shift"]
    assert [(f["column"], f["decides"]) for f in shifts] == [("y", False)]
    assert code == 0
    code, verdict = again(stage, gate__checks={"label_shift": 0.1})
    assert code == 6
    shifts = [f for f in verdict["findings"] if f["cause"] == "label_shift"]
    assert [(f["outcome"], f["decides"]) for f in shifts] == [("error", True)]


def test_training_rows_of_another_truth_are_told_beside_the_champions(stage: Stage) -> None:
    table = rows()
    ones = pa.array(np.asarray(table["y"].to_pylist()) == 1)
    train_on(stage, pa.concat_tables([table.filter(ones), table.slice(0, 100)]))
    code, verdict = judged(
        stage, gate__rules=[{"metric": "brier", "margin": 0.02}], gate__checks={"overlap": "off"}
    )
    shifts = [f for f in verdict["findings"] if f["cause"] == "label_shift"]
    assert [(f["column"], f["decides"]) for f in shifts] == [("y (training rows)", False)]
    assert code == 0


def test_drift_is_told_and_decides_beyond_a_limit(stage: Stage) -> None:
    table = rows()
    hold(stage, table.filter(pa.compute.greater(table["x"], 0.4)))
    code, verdict = judged(stage, gate__rules=[{"metric": "brier", "margin": 0.02}])
    (drift,) = [f for f in verdict["findings"] if f["cause"] == "drift"]
    assert (code, drift["column"], drift["decides"]) == (0, "x", False)
    assert drift["lower"] > 0.25
    code, verdict = again(stage, gate__checks={"drift": 0.25})
    (drift,) = [f for f in verdict["findings"] if f["cause"] == "drift"]
    assert (code, drift["outcome"], drift["limit"]) == (6, "error", 0.25)


@pytest.mark.parametrize(
    ("change", "says", "code"),
    [
        (
            "unlink",
            "no profile of the champion's columns yet: contract and drift are not checked",
            0,
        ),
        ("edit", "the champion's profile is not the one that the ledger names", 6),
    ],
)
def test_without_the_champions_own_profile_nothing_is_compared_with_it(
    stage: Stage, change: str, says: str, code: int
) -> None:
    champion = stage.state.champion
    assert champion is not None
    stage.push(0.91)
    assert stage.tidegate("train") == 0
    assert stage.tidegate("evaluate") == 0
    path = stage.repo.bundle / "reference.json"
    if change == "unlink":
        path.unlink()
    else:
        path.write_text(path.read_text().replace('"rows":400', '"rows":401'))
    found, verdict = again(stage)
    assert (found, data(verdict)) == (code, [(says, code != 0)])


SAYS = (
    "the champion did not answer today's rows, so only absolute rules were judged; its log says why, and a "
    "person may let the candidate through (tidegate override)"
)


def rename_x(stage: Stage) -> None:
    """Let today's rows call it z, and the next model read that."""
    for name, table in (("train", rows(400, 4)), ("holdout", rows())):
        pq.write_table(
            table.rename_columns(["id", "z", "group", "y"]), stage.repo.path / f"{name}.parquet"
        )
    stage.repo.write("predict.py", NAMED)
    stage.repo.commit(training(0.91) + 'printf z > "$TIDEGATE_MODEL_DIR/column.txt"\n')


def test_a_champion_that_cannot_answer_is_an_outcome_that_a_person_may_override(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    rename_x(stage)
    assert stage.tidegate("run", "--no-wait") == 6
    verdict = json.loads((stage.repo.bundle / "verdict.json").read_text())
    assert verdict["outcome"] == "error"
    assert verdict["reason"].startswith(SAYS)
    causes = {f["cause"]: f["decides"] for f in verdict["findings"] if f["level"] == "data"}
    assert causes["champion_incompatible"] is True
    assert causes["column_gone"] is False  # the champion did not say what it reads
    floor, margin = (f for f in verdict["findings"] if f["metric"] == "brier")
    assert (floor["outcome"], floor["candidate"] < 0.24) == ("pass", True)
    assert (margin["cause"], margin["champion"]) == ("no_champion", None)

    assert stage.tidegate("register") == 1
    assert "the gate's verdict on model" in capfd.readouterr().err
    assert stage.tidegate("override", "--reason=x is z now", "--by=Ada") == 0
    assert stage.tidegate("run", "--no-wait") == 0
    rollout = stage.state.rollout
    assert rollout is not None
    assert (rollout.model.version, str(rollout.mode)) == ("3", "canary")
    assert rollout.request.loss_center is None


def test_a_champion_that_failed_once_is_asked_again(stage: Stage) -> None:
    stage.push(0.91)
    stage.repo.write("predict.py", "import sys\nsys.exit(9)\n")
    stage.repo.commit()
    assert stage.tidegate("run", "--no-wait") == 6  # the candidate failed: nothing was judged
    assert not stage.state.verdicts.get(stage.repo.head)
    broken = PREDICT.replace("rows =", 'assert slope != 0.9, "out of memory"\nrows =')
    stage.repo.write("predict.py", broken)
    stage.repo.commit()
    assert stage.tidegate("run", "--no-wait") == 6
    judged_before = len(stage.repo.book.chain)
    assert stage.tidegate("run", "--no-wait") == 6
    assert len(stage.repo.book.chain) == judged_before  # the same decision counts once


def test_the_job_that_decides_judges_without_a_champion_that_failed(
    stage: Stage, tmp_path: Path
) -> None:
    commit = stage.push(0.95)
    text(stage.repo.path, "push", "--quiet", "--force", "origin", "HEAD:refs/heads/main")
    jobs = Jobs(tmp_path / "run", stage.repo, commit)
    given = hand_over(jobs)
    assert file_digest(given.case / "reference.json") in stage.state.profiles.values()
    shutil.rmtree(given.scores / "champion")
    given.digests.pop("champion")
    job = jobs.job()
    arguments = given.arguments(job.temp / "decided")
    assert job.tidegate("decide", *arguments, "--failed=champion") == 6
    verdict = json.loads((job.temp / "decided" / "page" / "verdict.json").read_text())
    assert verdict["reason"].startswith(SAYS)
    assert job.outputs["outcome"] == "error"
    assert job.outputs["release"] == "false"
    assert stage.tidegate("override", "--reason=measured by hand", "--by=Ada") == 0
    job = jobs.job()
    arguments = given.arguments(job.temp / "decided")
    assert job.tidegate("decide", *arguments, "--failed=champion") == 0
    assert (job.outputs["outcome"], job.outputs["version"]) == ("error", "3")


def test_what_failed_before_the_candidate_answered_is_still_no_verdict(
    stage: Stage, tmp_path: Path
) -> None:
    commit = stage.push(0.95)
    text(stage.repo.path, "push", "--quiet", "--force", "origin", "HEAD:refs/heads/main")
    jobs = Jobs(tmp_path / "run", stage.repo, commit)
    given = hand_over(jobs)
    for failed, gone in (("train", "champion"), ("champion", "candidate")):
        copied = given.copy(tmp_path / failed)
        shutil.rmtree(copied.scores / gone)
        job = jobs.job()
        assert (
            job.tidegate("decide", *copied.arguments(job.temp / "out"), f"--failed={failed}") == 6
        )
        assert not (job.temp / "out" / "page" / "verdict.json").exists()


def test_a_column_that_the_champion_said_it_reads_decides_when_it_is_another_kind(
    stage: Stage,
) -> None:
    champion = stage.state.champion
    assert champion is not None
    stage.push(0.91)
    assert stage.tidegate("train") == 0
    table = rows()
    hold(stage, table.set_column(2, "group", pa.array(np.arange(4000))))
    assert stage.tidegate("evaluate") == 0
    path = stage.repo.bundle / "reference.json"
    path.write_text(path.read_text().replace('"reads":null', '"reads":["x","group"]'))
    context, state = stage.repo.context(), stage.state
    found = data_findings(
        context,
        replace(state, profiles={champion.digest: file_digest(path)}),
        ["x", "elsewhere"],
    )
    assert [(f.column, f.decides) for f in found] == [("group (was text, is number)", True)]
    written = json.loads((stage.repo.bundle / "profile.json").read_text())
    assert written["reads"] == ["x"]
