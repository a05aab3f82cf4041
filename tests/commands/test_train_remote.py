"""tidegate train where a service trains: the same bundle, one job, nothing of the holdout sent."""

from __future__ import annotations

import io
import json
import os
import signal
import tarfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.adapters.training import quick
from tests.real_repo import Repo, end
from tidegate import run_record
from tidegate.commands.training import Facts
from tidegate.commands.training_elsewhere import job_name
from tidegate.digests import folder_digest
from tidegate.git import text
from tidegate.load import violations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.real

PLAIN = 'printf 0.8 > "$TIDEGATE_MODEL_DIR/slope.txt"\n'
WITH_A_RUN = """\
import os, pathlib, mlflow
with mlflow.start_run():
    mlflow.log_param("depth", 3)
    mlflow.log_metric("auc", 0.5)
made = mlflow.initialize_logged_model("model")
folder = made.artifact_location.removeprefix("file://")
os.makedirs(folder); open(folder + "/MLmodel", "w").write("logged")
mlflow.finalize_logged_model(made.model_id, "READY")
"""
MORE = WITH_A_RUN + 'pathlib.Path(os.environ["TIDEGATE_MODEL_DIR"], "x").write_text("saved")\n'
SETTINGS = {
    "sagemaker": {
        "image": "${TRAIN_IMAGE}", "role": "trainer", "bucket": "s3://acme-models/tidegate",
        "region": "eu-west-1",
    },
    "vertex": {
        "image": "${TRAIN_IMAGE}", "project": "acme-ml", "region": "europe-west1",
        "bucket": "gs://acme-models/tidegate",
    },
}  # fmt: skip


@dataclass
class Service:
    """A cloud that trains, as the tests need it."""

    name: str
    env: dict[str, str]
    jobs: Callable[[], list[tuple[str, str]]]  # (name, state) in order
    stored: Callable[[str], bytes]  # the object whose name ends so
    violations: list[str]


@contextmanager
def sagemaker() -> Iterator[Service]:
    from tests.aws import serve
    from tests.aws.kit import Kit

    with serve(speed=0.02) as cloud:
        s3 = Kit(cloud).client("s3")
        s3.create_bucket(
            Bucket="acme-models", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )

        def stored(ending: str) -> bytes:
            found = s3.list_objects_v2(Bucket="acme-models")["Contents"]
            (key,) = [one["Key"] for one in found if one["Key"].endswith(ending)]
            return bytes(s3.get_object(Bucket="acme-models", Key=key)["Body"].read())

        def jobs() -> list[tuple[str, str]]:
            return [(job.name, job.status) for job in list(cloud.jobs.values())]

        yield Service("sagemaker", cloud.env, jobs, stored, cloud.violations)


@contextmanager
def vertex() -> Iterator[Service]:
    from tests.gcp.server import serve
    from tidegate.adapters.cloud.google import connect
    from tidegate.adapters.stores import open_store

    with serve(speed=0.02) as cloud:

        def stored(ending: str) -> bytes:
            with pytest.MonkeyPatch.context() as patch:
                for name, value in cloud.env.items():
                    patch.setenv(name, value)
                store = open_store("gs://acme-models/tidegate", google=connect("acme-ml"))
                (key,) = [key for key in store.list("") if key.endswith(ending)]
                path = cloud.folder / "read"
                store.get(key, path, 1 << 30)
            return path.read_bytes()

        def jobs() -> list[tuple[str, str]]:
            return [(row["displayName"], row["state"]) for row in list(cloud.state.jobs.values())]

        yield Service("vertex", cloud.env, jobs, stored, cloud.violations)


@pytest.fixture(params=[sagemaker, vertex])
def service(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    with request.param() as found:
        found.env["TRAIN_IMAGE"] = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/train:1"
        for name, value in found.env.items():
            monkeypatch.setenv(name, value)
        yield found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    return Repo.make(tmp_path_factory.mktemp("train"))


@pytest.fixture
def repo(made: Repo, service: Service, tmp_path: Path) -> Repo:
    repo = made.copy(tmp_path / "copy")
    configure(repo, service)
    return repo


def configure(repo: Repo, service: Service, **changes: Any) -> None:
    block = {f"train__{service.name}": SETTINGS[service.name], "train__compute": service.name}
    repo.configure(**block, **changes)


def soon(happens: Callable[[], bool]) -> None:
    """Wait for what takes a process of ours, a job and MLflow's store."""
    end = time.monotonic() + 120
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.05)


def nothing_is_left(repo: Repo) -> bool:
    bundles = repo.home.root / "bundles"
    return not bundles.exists() or not list(bundles.iterdir())


def test_the_bundle_is_the_one_that_the_runner_would_make(
    repo: Repo, service: Service, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    quick(monkeypatch)
    repo.commit('echo "::set-output name=x::1"\n' + PLAIN)
    assert repo.tidegate("train", "--json") == 0
    captured = capfd.readouterr()
    told = json.loads(captured.out)
    there = run_record.read(repo.bundle)
    data = json.loads((repo.bundle / "run.json").read_text())
    assert violations(data, "run.schema.json") == []
    assert there.compute in {"sagemaker ml.m5.large", "vertex n1-standard-4"}
    assert there.job == told["job"] == job_name("coin", Facts.of(repo.context()))
    assert there.cost_usd == told["cost_usd"]
    assert there.cost_usd is not None
    assert 0 < there.cost_usd < 0.01
    assert there.dirty is False
    assert "::set-output" in captured.err  # not on a runner: nothing obeys it
    # The same commit, trained here.
    repo.configure()
    assert repo.tidegate("train") == 0
    here = run_record.read(repo.bundle)
    assert (here.compute, here.job, here.cost_usd) == (None, None, None)
    assert here.model_digest == there.model_digest == folder_digest(repo.bundle / "model")
    assert "compute" not in json.loads((repo.bundle / "run.json").read_text())


def test_mlflow_s_lines_work_there_as_here(repo: Repo, service: Service) -> None:
    repo.write("train.py", WITH_A_RUN)
    configure(repo, service, train__run="python3 train.py", train__timeout="2m")
    repo.commit()
    assert repo.tidegate("train") == 0
    record = run_record.read(repo.bundle)
    assert record.params == {"depth": "3"}
    assert record.metrics == {"auc": 0.5}
    assert (repo.bundle / "model/MLmodel").read_text() == "logged"


@pytest.mark.parametrize("service", [vertex], indirect=True)  # told by the same lines for both
def test_two_models_are_one_too_many(
    repo: Repo, service: Service, capfd: pytest.CaptureFixture[str]
) -> None:
    repo.write("train.py", MORE)
    configure(repo, service, train__run="python3 train.py", train__timeout="2m")
    repo.commit()
    assert repo.tidegate("train") == 6
    assert "left 2 models, and only one can be judged" in capfd.readouterr().err
    assert nothing_is_left(repo)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo the last words; exit 3\n", "training failed with exit code 3: sh train.sh\nthe last words"),
        ("true\n", "left no model"),
        ('ln -s /etc/passwd "$TIDEGATE_MODEL_DIR/x"\n', "regular files only"),
    ],
    ids=["exit code", "no model", "link"],
)  # fmt: skip
def test_training_that_goes_wrong_is_told_and_leaves_nothing(
    repo: Repo, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
    script: str, says: str,
) -> None:  # fmt: skip
    quick(monkeypatch)
    repo.commit(script)
    assert repo.tidegate("train", "--json") == 6
    captured = capfd.readouterr()
    assert says in captured.err
    assert captured.out == ""
    assert nothing_is_left(repo)


def test_neither_the_holdout_nor_what_git_does_not_track_is_sent(
    repo: Repo, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch)
    copy = (repo.path / "holdout.parquet").read_bytes()
    (repo.path / "data").mkdir()
    (repo.path / "data/looks like training.parquet").write_bytes(copy)
    (repo.path / "link.parquet").symlink_to("holdout.parquet")
    repo.commit(
        'test ! -e holdout.parquet && test ! -e ".git" && test ! -e secret.txt || exit 9\n' + PLAIN
    )
    repo.write("secret.txt", "not committed")
    assert repo.tidegate("train") == 0
    packed = service.stored("code.tar")
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        names = set(archive.getnames())
    assert {"train.sh", "mlops.yaml", "predict.py", "train.parquet"} <= names
    strays = {"holdout.parquet", "secret.txt", "data/looks like training.parquet", ".git"}
    assert not names & strays
    assert copy[:2000] not in packed


def test_a_file_that_git_keeps_out_of_archives_is_an_error(
    repo: Repo, service: Service, capfd: pytest.CaptureFixture[str]
) -> None:
    repo.write(".gitattributes", "predict.py export-ignore\n")
    repo.commit(PLAIN)
    assert repo.tidegate("train") == 2
    assert "predict.py is committed, and git leaves it out" in capfd.readouterr().err
    assert service.jobs() == []


@pytest.mark.parametrize(
    "service", [sagemaker], indirect=True
)  # who joins is told by the same lines
def test_a_runner_that_was_killed_leaves_one_job_which_the_next_run_joins(
    repo: Repo, service: Service, tmp_path: Path
) -> None:
    gate, begun = tmp_path / "gate", tmp_path / "begun"
    waits = f"echo . >> {begun}; while [ ! -e {gate} ]; do sleep 0.05; done\n"
    repo.commit(waits + PLAIN)
    first = repo.process("train")
    try:
        soon(begun.exists)
        os.kill(first.pid, signal.SIGKILL)
    finally:
        end(first)
    assert len(service.jobs()) == 1
    second = repo.process("train", "--json")
    try:
        assert second.stderr is not None
        assert any("runs already; joining it" in line for line in iter(second.stderr.readline, ""))
        gate.touch()
        out, err = second.communicate(timeout=120)
    finally:
        end(second)
    assert second.returncode == 0, err
    assert len(service.jobs()) == 1
    assert begun.read_text().count(".") == 1
    assert json.loads(out)["job"] == service.jobs()[0][0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_stops_the_job(
    repo: Repo, service: Service, tmp_path: Path, number: signal.Signals
) -> None:
    begun = tmp_path / "begun"
    configure(repo, service, checks=[{"run": f"echo . >> {begun}; sleep 20"}])
    repo.commit(PLAIN)
    child = repo.process("train")
    try:
        soon(begun.exists)
        os.kill(child.pid, number)
        _, err = child.communicate(timeout=60)
    finally:
        end(child)
    assert child.returncode == 130, err
    assert "stopping the job" in err
    soon(lambda: service.jobs()[0][1] in {"Stopped", "JOB_STATE_CANCELLED"})
    assert nothing_is_left(repo)


def test_a_job_s_name_fits_and_changes_with_what_is_trained(made: Repo, tmp_path: Path) -> None:
    repo = made.copy(tmp_path / "named")
    facts = Facts.of(repo.context())
    name = job_name("a-model-with-a-name-of-fifty-characters-or-so-1234", facts)
    assert len(f"{name}-5") <= 63
    assert "--" not in name
    assert job_name("coin", facts) == job_name("coin", Facts.of(repo.context()))
    repo.commit("true\n")
    assert job_name("coin", Facts.of(repo.context())) != job_name("coin", facts)
    assert text(repo.path, "rev-parse", "HEAD")[:8] in job_name("coin", Facts.of(repo.context()))
