"""tidegate train: one model in a bundle, or a clear error and nothing."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.endpoint.serving import wait_for
from tests.real_repo import Repo, end
from tidegate import run_record
from tidegate.digests import file_digest, folder_digest
from tidegate.load import violations

pytestmark = pytest.mark.real

TWO_LINES = """\
from sklearn.dummy import DummyClassifier
model = DummyClassifier(strategy="prior").fit([[0.0], [1.0]], [0, 1])
import mlflow
mlflow.sklearn.log_model(model, name="model")
"""
WITH_A_RUN = """\
import os, pathlib, mlflow
with mlflow.start_run():
    mlflow.log_param("depth", 3)
    mlflow.log_metric("auc", 0.5)
    mlflow.log_metric("worst", float("nan"))
pathlib.Path(os.environ["TIDEGATE_MODEL_DIR"], "model.bin").write_bytes(b"1")
"""
PLAIN = 'printf 0.8 > "$TIDEGATE_MODEL_DIR/slope.txt"\n'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    return Repo.make(tmp_path_factory.mktemp("train"))


@pytest.fixture
def repo(made: Repo, tmp_path: Path) -> Repo:
    return made.copy(tmp_path / "copy")


def nothing_is_left(repo: Repo) -> bool:
    bundles = repo.home.root / "bundles"
    return not bundles.exists() or not list(bundles.iterdir())


def test_the_two_mlflow_lines_make_a_bundle(repo: Repo, capfd: pytest.CaptureFixture[str]) -> None:
    repo.write("train.py", TWO_LINES)
    repo.configure(train__run=f"{sys.executable} train.py", train__timeout="2m")
    repo.commit()
    assert repo.tidegate("train", "--json") == 0
    out = json.loads(capfd.readouterr().out)
    assert (repo.bundle / "model" / "MLmodel").is_file()
    record = run_record.read(repo.bundle)
    assert out["model"] == record.model_digest == folder_digest(repo.bundle / "model")
    assert "scikit-learn" in record.environment["requirements"]


def test_parameters_and_metrics_of_the_run_are_recorded_and_a_nan_does_no_harm(
    repo: Repo, capfd: pytest.CaptureFixture[str]
) -> None:
    repo.write("train.py", WITH_A_RUN)
    repo.configure(train__run=f"{sys.executable} train.py", train__timeout="2m")
    repo.commit()
    assert repo.tidegate("train", "--json") == 0
    assert json.loads(capfd.readouterr().out)["metrics"] == {"auc": 0.5}
    assert run_record.read(repo.bundle).params == {"depth": "3"}
    assert "NaN" not in (repo.bundle / "run.json").read_text()


def test_a_plain_folder_is_a_model_and_its_record_obeys_the_schema(repo: Repo) -> None:
    repo.commit("sleep 0.3\n" + PLAIN)
    assert repo.tidegate("train") == 0
    data = json.loads((repo.bundle / "run.json").read_text())
    assert violations(data, "run.schema.json") == []
    assert data["commit"] == repo.head
    assert data["dirty"] is False
    assert data["train_digest"] == file_digest(repo.path / "train.parquet")
    assert data["holdout_digest"] == file_digest(repo.path / "holdout.parquet")
    assert data["model_digest"] == folder_digest(repo.bundle / "model")
    assert data["duration"] >= 0.3
    assert [p.name for p in (repo.bundle / "model").iterdir()] == ["slope.txt"]
    assert not list((repo.home.root / "bundles").glob("*.part"))


def test_training_output_and_checks_stream_to_standard_error(
    repo: Repo, capfd: pytest.CaptureFixture[str]
) -> None:
    repo.configure(checks=[{"run": "echo the check speaks"}])
    repo.commit("echo on stdout; echo on stderr >&2\n" + PLAIN)
    assert repo.tidegate("train", "--json") == 0
    captured = capfd.readouterr()
    json.loads(captured.out)
    for word in ("the check speaks", "on stdout", "on stderr"):
        assert word in captured.err


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (PLAIN + "exit 3\n", "training failed with exit code 3"),
        (PLAIN + "kill -11 $$\n", "signal 11"),
        ("sleep 30\n", "training took longer than 1 s"),
        ("echo nothing\n", "left no model"),
        ("mkdir -p $TIDEGATE_MODEL_DIR/empty\n", "no files"),
        (PLAIN + "ln -s slope.txt $TIDEGATE_MODEL_DIR/link\n", "regular files only"),
        (PLAIN + "ln -s nowhere $TIDEGATE_MODEL_DIR/dangling\n", "regular files only"),
        (PLAIN + "ln -s . $TIDEGATE_MODEL_DIR/circle\n", "regular files only"),
        (PLAIN + "ln -s /etc $TIDEGATE_MODEL_DIR/etc\n", "regular files only"),
        (PLAIN + "mkfifo $TIDEGATE_MODEL_DIR/pipe\n", "regular files only"),
        ('rm -r "$TIDEGATE_MODEL_DIR"\n', "left no model"),
        (PLAIN + "cp train.parquet holdout.parquet\n", "training changed the holdout rows"),
    ],
    ids=[
        "exit code", "signal", "hangs", "no model", "only an empty folder", "link inside",
        "dangling link", "circle of links", "link to a folder outside", "pipe", "folder removed", "holdout changed",
    ],
)  # fmt: skip
def test_training_that_goes_wrong_is_told_and_leaves_nothing(
    repo: Repo, capfd: pytest.CaptureFixture[str], script: str, says: str
) -> None:
    repo.configure(train__timeout="1s")
    repo.commit(script)
    assert repo.tidegate("train", "--json") == 6
    captured = capfd.readouterr()
    assert says in captured.err
    assert captured.out == ""
    assert nothing_is_left(repo)


def test_two_models_are_one_too_many(repo: Repo, capfd: pytest.CaptureFixture[str]) -> None:
    # What two calls of log_model leave, written without the seconds they take.
    repo.write(
        "train.py",
        "import os, mlflow\n"
        "for name in ('first', 'second'):\n"
        "    made = mlflow.initialize_logged_model(name)\n"
        "    folder = made.artifact_location.removeprefix('file://')\n"
        "    os.makedirs(folder); open(folder + '/MLmodel', 'w').write(name)\n"
        "    mlflow.finalize_logged_model(made.model_id, 'READY')\n",
    )
    repo.configure(train__run=f"{sys.executable} train.py", train__timeout="2m")
    repo.commit()
    assert repo.tidegate("train") == 6
    assert "left 2 models, and only one can be judged" in capfd.readouterr().err
    assert nothing_is_left(repo)


def test_a_failing_check_stops_before_training(
    repo: Repo, capfd: pytest.CaptureFixture[str]
) -> None:
    repo.configure(checks=[{"run": "true"}, {"run": "test -e not-there"}])
    repo.commit("touch trained\n" + PLAIN)
    assert repo.tidegate("train") == 6
    assert "a check failed with exit code 1: test -e not-there" in capfd.readouterr().err
    assert not (repo.path / "trained").exists()
    assert nothing_is_left(repo)


def test_a_failed_training_leaves_the_earlier_bundle_of_the_commit_as_it_was(repo: Repo) -> None:
    repo.commit("test -e fail && exit 1\n" + PLAIN)
    assert repo.tidegate("train") == 0
    before = (repo.bundle / "run.json").read_bytes()
    repo.write("fail", "")
    assert repo.tidegate("train") == 6
    assert (repo.bundle / "run.json").read_bytes() == before


def test_a_changed_file_is_recorded_as_dirty_and_refused_by_run(
    repo: Repo, capfd: pytest.CaptureFixture[str]
) -> None:
    repo.commit(PLAIN)
    repo.write("train.sh", PLAIN + "# tried by hand\n")
    assert repo.tidegate("train") == 0
    assert run_record.read(repo.bundle).dirty is True
    assert repo.tidegate("run") == 2
    assert "files differ from the commit: train.sh" in capfd.readouterr().err


def test_training_data_that_is_missing_is_an_outside_problem(
    repo: Repo, capfd: pytest.CaptureFixture[str]
) -> None:
    (repo.path / "train.parquet").unlink()
    assert repo.tidegate("train") == 3
    assert "train.parquet: No such file" in capfd.readouterr().err
    assert nothing_is_left(repo)


def test_odd_names_and_bytes_in_a_model_folder_are_kept_and_digested(repo: Repo) -> None:
    repo.commit(
        PLAIN
        + 'cd "$TIDEGATE_MODEL_DIR"\n'
        + "printf x > 'a b\tc'; printf y > \"$(printf 'latin-\\351')\"; printf '\\377' > requirements.txt\n"
    )
    assert repo.tidegate("train") == 0
    record = run_record.read(repo.bundle)
    assert record.model_digest == folder_digest(repo.bundle / "model")


def test_a_model_digest_depends_on_names_and_content_alone(repo: Repo, tmp_path: Path) -> None:
    for folder, names in (("one", ("a", "b")), ("two", ("b", "a")), ("other", ("a", "c"))):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).write_text("same")
    digests = {name: folder_digest(tmp_path / name) for name in ("one", "two", "other")}
    assert digests["one"] == digests["two"] != digests["other"]


def test_interrupted_training_leaves_no_process_and_nothing_half_made(repo: Repo) -> None:
    repo.commit("sleep 600 & echo $! > ../child\nwait\n")
    child = repo.process("train")
    try:
        started = repo.path.parent / "child"
        wait_for(lambda: started.exists() and started.read_text().strip())
        pid = int(started.read_text())
        os.kill(child.pid, signal.SIGINT)
        out, err = child.communicate(timeout=20)
    finally:
        end(child)
    assert child.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    assert out == ""
    wait_for(lambda: not Path(f"/proc/{pid}").exists())
    assert nothing_is_left(repo)
