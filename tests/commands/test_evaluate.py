"""tidegate evaluate: everybody answers the same rows, without the truth, exactly once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.endpoint.serving import wait_for
from tests.real_repo import PREDICT, ROWS, Repo, end, rows, training, two_releases
from tidegate.bundles import ANSWER

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A candidate that is trained, and no champion."""
    repo = Repo.make(tmp_path_factory.mktemp("evaluate"))
    assert repo.tidegate("train") == 0
    return repo


@pytest.fixture
def repo(trained: Repo, tmp_path: Path) -> Repo:
    return trained.copy(tmp_path / "copy")


def predictions(repo: Repo) -> pa.Table:
    return pq.read_table(repo.bundle / "predictions.parquet")


def test_without_a_champion_the_candidate_answers_every_row_once_and_in_order(repo: Repo) -> None:
    shuffled = PREDICT.replace(
        "pq.write_table(table,", "import random\norder = list(range(table.num_rows))\n"
        "random.Random(1).shuffle(order)\npq.write_table(table.take(order),",
    )  # fmt: skip
    repo.write("predict.py", shuffled)
    assert repo.tidegate("evaluate") == 0
    table = predictions(repo)
    assert table.column_names == ["id", "y_true", "candidate"]
    assert table["id"].to_pylist() == rows()["id"].to_pylist()
    assert table["y_true"].to_pylist() == rows()["y"].to_pylist()
    x = rows()["x"].to_numpy()
    assert np.allclose(table["candidate"].to_numpy(), 0.5 + 0.8 * (x - 0.5), rtol=0, atol=1e-12)


def test_the_model_never_sees_the_truth(repo: Repo) -> None:
    repo.write("predict.py", PREDICT + "open('seen', 'w').write(' '.join(rows.column_names))\n")
    assert repo.tidegate("evaluate") == 0
    assert (repo.path / "seen").read_text() == "id x group"


def test_without_names_from_the_model_the_parity_sample_holds_what_it_was_given(
    repo: Repo,
) -> None:
    assert repo.tidegate("evaluate") == 0
    sample = pq.read_table(repo.bundle / "parity.parquet")
    assert sample.column_names == ["id", "x", "group", ANSWER]
    assert sample.num_rows == 300


def test_an_mlflow_model_answers_and_its_parity_sample_holds_its_own_columns_alone(
    repo: Repo,
) -> None:
    from tests.endpoint.serving import trained as pipeline
    from tidegate import run_record
    from tidegate.digests import folder_digest

    rng = np.random.default_rng(2)
    n = 500
    table = pa.table(
        {
            "key": np.arange(n), "region": rng.choice(["north", "south"], n),
            "not_asked_for": rng.normal(size=n), "amount": rng.normal(size=n),
            "age": rng.integers(18, 90, n).astype(float), "rate": rng.normal(size=n).astype("float32"),
            "truth": rng.integers(0, 2, n),
        }
    )  # fmt: skip
    pq.write_table(table, repo.path / "holdout.parquet")
    repo.configure(predict=None, data__target="truth", data__id="key")
    # As if training had left the pipeline: the record says so, and everything else is real.
    model = repo.bundle / "model"
    shutil.rmtree(model)
    shutil.copytree(pipeline(), model)
    record = json.loads((repo.bundle / "run.json").read_text())
    record["model_digest"] = folder_digest(model)
    (repo.bundle / "run.json").write_text(json.dumps(record))
    assert run_record.read(repo.bundle).model_digest == folder_digest(model)

    assert repo.tidegate("evaluate") == 0
    answers = predictions(repo)["candidate"].to_numpy()
    assert ((answers > 0) & (answers < 1)).all()
    sample = pq.read_table(repo.bundle / "parity.parquet")
    assert set(sample.column_names) == {"amount", "age", "region", "rate", ANSWER}
    reads = json.loads((repo.bundle / "measurements.json").read_text())["reads"]
    assert set(reads) == {"amount", "age", "region", "rate"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("table = table.slice(1)", "answered 3999 rows for 4000 ids, 1 of them missing"),
        ("table = pa.concat_tables([table, table.slice(0, 1)])", "answered 4001 rows"),
        (
            "table = pa.concat_tables([table.slice(1), table.slice(1, 1)])",
            "answered 4000 rows for 4000 ids, 1 of them missing",
        ),
        (
            "table = pa.table({'id': ['x'] + table['id'].to_pylist()[1:], 'prediction': answers})",
            "1 of them missing",
        ),
        (
            "table = pa.table({'id': table['id'], 'prediction': ['high'] * len(answers)})",
            "not numbers",
        ),
        (
            "table = pa.table({'id': table['id'], 'prediction': [[a] for a in answers]})",
            "not numbers",
        ),
        (
            "table = pa.table({'id': [[i] for i in range(4000)], 'prediction': answers})",
            "ids not like those it was given",
        ),
        ("table = table.rename_columns(['id', 'score'])", "no column 'prediction'"),
        ("raise SystemExit(0)", "the candidate wrote no predictions"),
        ("raise SystemExit(9)", "predicting with the candidate failed with exit code 9"),
        ("os.kill(os.getpid(), 6)", "signal 6"),
        (
            "open(os.environ['TIDEGATE_OUTPUT'], 'w').write('id,prediction'); raise SystemExit(0)",
            "not a readable Parquet",
        ),
    ],
    ids=[
        "missing id", "extra row", "duplicate id", "unknown id", "text", "lists", "ids of a kind",
        "no prediction column", "no file", "exit code", "signal", "not Parquet",
    ],
)  # fmt: skip
def test_answers_that_break_the_contract_are_not_judged(
    repo: Repo, capfd: pytest.CaptureFixture[str], change: str, says: str
) -> None:
    repo.write("predict.py", PREDICT.replace("pq.write_table", f"{change}\npq.write_table"))
    assert repo.tidegate("evaluate", "--json") == 6
    captured = capfd.readouterr()
    assert says in captured.err
    assert captured.out == ""
    assert not (repo.bundle / "measurements.json").exists()


def test_a_model_that_hangs_is_ended_in_whatever_language(
    repo: Repo, capfd: pytest.CaptureFixture[str]
) -> None:
    repo.configure(predict__run="sleep 60", predict__timeout="1s")
    assert repo.tidegate("evaluate") == 6
    assert "predicting with the candidate took longer than 1 s" in capfd.readouterr().err


def test_ids_may_come_back_in_a_wider_type(repo: Repo) -> None:
    table = rows().set_column(0, "id", pa.array(range(ROWS), pa.int32()))
    pq.write_table(table, repo.path / "holdout.parquet")
    repo.write("predict.py", PREDICT.replace("rows[name]", "rows[name].cast('int64')"))
    assert repo.tidegate("evaluate") == 0


def test_a_null_or_nan_answer_is_an_error_not_a_pass(
    repo: Repo, capfd: pytest.CaptureFixture[str]
) -> None:
    repo.write("predict.py", PREDICT.replace("name =", "answers[7] = None\nname ="))
    assert repo.tidegate("evaluate") == 0
    assert np.isnan(predictions(repo)["candidate"].to_numpy()[7])
    assert repo.tidegate("gate", "--predictions", str(repo.bundle / "predictions.parquet")) == 6
    assert "ERROR: column candidate: 1 rows are missing" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        (["a", "b", "a"], "not unique"),
        (["a", None, "b"], "or some are missing"),
        ([None, None, None], "or some are missing"),
        ([], "no rows"),
    ],
)
def test_a_holdout_whose_ids_do_not_name_rows_is_refused(
    repo: Repo, capfd: pytest.CaptureFixture[str], ids: list[str | None], says: str
) -> None:
    n = len(ids)
    table = pa.table({"id": pa.array(ids, pa.string()), "x": [0.5] * n, "y": [1] * n})
    pq.write_table(table, repo.path / "holdout.parquet")
    assert repo.tidegate("evaluate") == 6
    assert says in capfd.readouterr().err


@pytest.mark.parametrize(
    ("train", "holdout", "code", "says"),
    [
        ([1, 2, 3], [3, 4], 0, ""),
        ([1, 2, 3], [2, 9], 6, "begins at 2 and the training rows end at 3"),
        ([1, 2, None], [None, 3], 0, ""),
        ([None, None], [3, 4], 6, "training rows end at None"),
        (["2013-01-01"], ["2013-02-01"], 0, ""),
        ([1, 2], ["3", "4"], 6, "t is int64 in the training rows and string in the holdout"),
    ],
    ids=["later", "older", "nulls", "no times", "text dates", "mixed types"],
)
def test_no_holdout_row_may_be_older_than_a_training_row(
    repo: Repo, capfd: pytest.CaptureFixture[str], train: list[object], holdout: list[object],
    code: int, says: str,
) -> None:  # fmt: skip
    kind = pa.int64() if not any(train) else None
    pq.write_table(pa.table({"t": pa.array(train, kind)}), repo.path / "train.parquet")
    n = len(holdout)
    table = pa.table({"id": list(range(n)), "x": [0.5] * n, "y": [1] * n, "t": holdout})
    pq.write_table(table, repo.path / "holdout.parquet")
    repo.configure(data__time="t")
    assert repo.tidegate("evaluate") == code
    assert says in capfd.readouterr().err


@pytest.mark.parametrize(("key", "column"), [("target", "z"), ("id", "z"), ("time", "z")])
def test_a_column_that_the_holdout_lacks_is_named(
    repo: Repo, capfd: pytest.CaptureFixture[str], key: str, column: str
) -> None:
    repo.configure(**{f"data__{key}": column})
    assert repo.tidegate("evaluate") == 2
    assert f"no column 'z' (data.{key} in mlops.yaml)" in capfd.readouterr().err


def test_a_slice_column_that_the_holdout_lacks_is_told(
    repo: Repo, capfd: pytest.CaptureFixture[str]
) -> None:
    repo.configure(gate__slices=[{"by": ["country"], "metric": "brier", "margin": 0.1}])
    assert repo.tidegate("evaluate") == 2
    assert "the holdout has no column 'country'" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["candidate", "champion", "id", "y_true"])
def test_a_slice_column_cannot_take_the_place_of_predictions(
    repo: Repo, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    table = rows().rename_columns(["key", "x", name, "y"])
    pq.write_table(table, repo.path / "holdout.parquet")
    repo.configure(data__id="key", gate__slices=[{"by": [name], "metric": "brier", "margin": 0.1}])
    assert repo.tidegate("evaluate") == 2
    assert f"{name!r} is also a column of the predictions table" in capfd.readouterr().err


def test_a_generic_task_needs_no_target(repo: Repo) -> None:
    pq.write_table(rows().drop_columns(["y"]), repo.path / "holdout.parquet")
    repo.configure(
        model__task="generic", data__target=None, gate__rules=[{"metric": "mean", "margin": "1%"}]
    )
    assert repo.tidegate("evaluate") == 0
    assert predictions(repo).column_names == ["id", "candidate"]


def test_without_training_there_is_nothing_to_evaluate(
    repo: Repo, capfd: pytest.CaptureFixture[str]
) -> None:
    repo.commit()
    assert repo.tidegate("evaluate") == 6
    assert "Run `tidegate train` for this commit first" in capfd.readouterr().err


def test_an_edited_record_is_refused(repo: Repo, capfd: pytest.CaptureFixture[str]) -> None:
    path = repo.bundle / "run.json"
    path.write_text(path.read_text().replace('"dirty": false', '"dirty": 0'))
    assert repo.tidegate("evaluate") == 6
    assert "dirty: got 0, expected true or false" in capfd.readouterr().err


def test_candidate_champion_and_anchor_each_answer_in_a_process_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    repo = two_releases(tmp_path, monkeypatch).repo
    assert repo.tidegate("anchor", "1", "--reason", "the first") == 0
    repo.commit(training(0.95))
    assert repo.tidegate("train") == 0
    repo.write(
        "predict.py",
        PREDICT + "open(f'by-{os.getpid()}', 'w').write(os.environ['TIDEGATE_MODEL_DIR'])\n",
    )
    capfd.readouterr()
    assert repo.tidegate("evaluate", "--json") == 0
    folders = [Path(p.read_text()) for p in repo.path.glob("by-*")]
    slopes = {f: (f / "slope.txt").read_text() for f in folders}
    assert sorted(slopes.values()) == ["0.8", "0.9", "0.95"]
    assert len(set(slopes)) == 3
    table = predictions(repo)
    x = rows()["x"].to_numpy()
    for role, slope in (("candidate", 0.95), ("champion", 0.9), ("anchor", 0.8)):
        assert np.allclose(table[role].to_numpy(), 0.5 + slope * (x - 0.5), rtol=0, atol=1e-12)
    done = json.loads(capfd.readouterr().out)
    assert len({done["candidate"], done["champion"], done["anchor"]}) == 3


def test_swapped_bytes_in_a_fetched_champion_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    repo = two_releases(tmp_path, monkeypatch).repo
    champion = repo.state.champion
    assert champion is not None
    assert repo.tidegate("train") == 0
    fetched = repo.home.fetched(champion.digest) / "model" / "slope.txt"
    fetched.write_text("0.0")  # a champion that is easily beaten
    assert repo.tidegate("evaluate") == 3
    assert "version 2 of coin is not what was judged" in capfd.readouterr().err


def test_predictions_against_an_older_champion_or_anchor_are_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    repo = two_releases(tmp_path, monkeypatch).repo
    repo.commit(training(0.95))
    assert repo.tidegate("train") == 0
    assert repo.tidegate("evaluate") == 0
    capfd.readouterr()
    champion = repo.state.champion
    old = "2" if repo.state.anchor != champion else "1"
    assert repo.tidegate("anchor", old, "--reason", "moved") == 0
    assert repo.tidegate("gate") == 6
    assert "of other models than candidate, champion and anchor" in capfd.readouterr().err


def test_an_interrupted_evaluation_ends_its_models_at_once(repo: Repo) -> None:
    repo.write("hang.sh", "echo $$ > ../hanging\nsleep 600\n")
    repo.configure(predict__run="sh hang.sh", predict__timeout="5m")
    child = repo.process("evaluate")
    try:
        started = repo.path.parent / "hanging"
        wait_for(lambda: started.exists() and started.read_text().strip())
        pid = int(started.read_text())
        began = time.monotonic()
        os.kill(child.pid, signal.SIGTERM)
        _, err = child.communicate(timeout=90)
    finally:
        end(child)
    assert time.monotonic() - began < 60
    assert child.returncode == 130
    assert "Traceback" not in err
    assert not Path(f"/proc/{pid}").exists()
