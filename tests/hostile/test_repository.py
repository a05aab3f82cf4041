"""A repository, a model and answers made to hurt the jobs that hold something: nothing runs, nothing
is told, nothing hangs."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.hostile.job import ENGINE, Job, Play
from tests.hostile.secrets import leaks, lures
from tests.real_repo import Repo
from tests.runner_protocol import read_log
from tidegate.errors import ConfigError
from tidegate.git import text
from tidegate.load import expand
from tidegate.process import run_command

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("hostile")]
JUDGE = ".github/workflows/judge-model.yml"
INPUTS = {
    "model": "coin", "config": "mlops.yaml", "runner": "x", "train-runner": "x", "score-runner": "x"
}  # fmt: skip
COMMAND = "\n::set-output name=release::true\n##[set-output name=version;]99\r::add-mask::pass\n"
HELD = {"TIDEGATE_GITHUB_TOKEN": "ghs_LureLureLureLure01", **lures()}
VARIABLES = {"AWS_SECRET_ACCESS_KEY": lures()["cloud"], "EVIL_CONTENT": "quoted-from-environ"}


def play_of(root: Path, repo: Repo) -> Play:
    text(repo.path, "push", "--quiet", "--force", "origin", "HEAD:refs/heads/main")
    event = {"repository": {"id": 1001, "default_branch": "main"}}
    return Play(
        root / "run", repo.path.parent / "origin.git", repo.head, event,
        token=HELD["TIDEGATE_GITHUB_TOKEN"], variables=VARIABLES,
    )  # fmt: skip


def harmless(job: Job, log: str) -> None:
    """Nothing was obeyed but our own, and nothing of the environment was told."""
    assert {c.name for c in read_log(log)} <= {"add-mask", "error", "warning", "notice"}
    shown = "\n".join(line for line in log.splitlines() if not line.startswith("::add-mask::"))
    assert leaks(shown.encode(), HELD) == []
    assert "quoted-from-environ" not in log
    assert not [
        word for word in ("root:x:0", "nologin", ":x:", ":/bin/") if word in log
    ]  # /etc/passwd
    assert job.outputs == {}


# --- what is committed ------------------------------------------------------------------------


def link(name: str, to: str) -> Callable[[Repo], None]:
    def change(repo: Repo) -> None:
        (repo.path / name).unlink(missing_ok=True)
        (repo.path / name).symlink_to(to)

    return change


def data(key: str, value: str) -> Callable[[Repo], None]:
    return lambda repo: repo.configure(**{f"data__{key}": value})


def linked_data(to: str) -> Callable[[Repo], None]:
    def change(repo: Repo) -> None:
        data("holdout", "rows.csv")(repo)
        link("rows.csv", to)(repo)

    return change


TREES: dict[str, Callable[[Repo], None]] = {
    "configuration is the environment": link("mlops.yaml", "/proc/self/environ"),
    "configuration is the password file": link("mlops.yaml", "/etc/passwd"),
    "configuration never ends": link("mlops.yaml", "/dev/zero"),
    "configuration is itself": link("mlops.yaml", "mlops.yaml"),
    "holdout is the environment": linked_data("/proc/self/environ"),
    "holdout is the password file": linked_data("/etc/passwd"),
    "holdout never ends": link("holdout.parquet", "/dev/zero"),
    "holdout never begins": link("holdout.parquet", "/dev/tty"),
    "holdout is the terminal": linked_data("/dev/stdin"),
    "holdout is a folder": data("holdout", "../../../../../../etc"),
    "holdout above": data("holdout", "../../../../../../../../proc/self/environ"),
    "holdout absolute": data("holdout", "/proc/self/environ"),
    "holdout is memory": data("holdout", "/proc/self/mem"),
    "holdout is the token": data("holdout", "${TIDEGATE_GITHUB_TOKEN}"),
    "holdout is git's header": data("holdout", "${GIT_CONFIG_VALUE_0}"),
    "holdout is the password": data("holdout", "${MLFLOW_TRACKING_PASSWORD}"),
    "holdout is the cloud's key": data("holdout", "${AWS_SECRET_ACCESS_KEY}"),
    "holdout speaks": data("holdout", f"no{COMMAND}such"),
    "target speaks": data("target", f"no{COMMAND}such"),
    "id speaks": data("id", "##[set-output name=release;]true"),
}


@pytest.mark.parametrize("trap", TREES)
def test_a_tree_with_a_trap(trap: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    repo = Repo.make(tmp_path)
    TREES[trap](repo)
    repo.commit()
    play = play_of(tmp_path, repo)
    job = play.checked_out("prepare")
    password = {"MLFLOW_TRACKING_PASSWORD": lures()["password"]}
    given = {"command": "prepare", "into": str(job.temp / "prepared"), "github-token": play.token}
    done = play.inside(job, given, password, capfd)
    assert done.code in (2, 3, 6), done.log
    assert "this is a bug" not in done.log
    assert done.outputs["work"] == ""
    harmless(job, done.log)
    assert not (job.temp / "prepared" / "case" / "case.json").exists()


def test_names_of_folders_that_speak(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    repo = Repo.make(tmp_path)
    config = json.loads(repo.config.read_text())
    for number, folder in enumerate(
        ("-rf", "--upload-pack=x", "a\n::set-output name=count::0", "$(x)", "é")
    ):
        (repo.path / folder).mkdir()
        (repo.path / folder / "mlops.yaml").write_text(
            json.dumps(config | {"model": {"name": f"m{number}", "task": "binary"}})
        )
    before = repo.head
    repo.commit()
    play = play_of(tmp_path, repo)
    job = play.checked_out("find")
    done = play.inside(job, {"command": "find", "base": before}, {}, capfd)
    assert done.code == 0, done.log
    assert done.outputs["count"] == "5"  # the one at the top is untouched
    assert len(json.loads(done.outputs["models"])) == 5
    harmless(job, done.log)


# --- what training leaves ---------------------------------------------------------------------


MODELS = {
    "a link": 'ln -s /etc/passwd "$TIDEGATE_MODEL_DIR/a"',
    "a linked folder": 'ln -s /etc "$TIDEGATE_MODEL_DIR/a"',
    "a link to nothing": 'ln -s nowhere "$TIDEGATE_MODEL_DIR/a"',
    "a link to the truth": 'ln -s ../holdout "$TIDEGATE_MODEL_DIR/a"',
    "a pipe": 'mkfifo "$TIDEGATE_MODEL_DIR/a"',
    "the folder is a link": 'rmdir "$TIDEGATE_MODEL_DIR"; ln -s /etc "$TIDEGATE_MODEL_DIR"',
    "no model": "true",
    "a model elsewhere": f"{sys.executable} -P store.py elsewhere",
    "a model that climbs": f"{sys.executable} -P store.py climbs",
    "two models": f"{sys.executable} -P store.py two; cp train.sh $TIDEGATE_MODEL_DIR/slope.txt",
    "a damaged store": 'echo no > "${MLFLOW_TRACKING_URI#sqlite:///}"; cp train.sh $TIDEGATE_MODEL_DIR/s',
    "a holdout that is gone": 'rm -r "$TIDEGATE_MODEL_DIR/../holdout"; cp train.sh $TIDEGATE_MODEL_DIR/s',
    "another holdout": 'cp train.sh "$TIDEGATE_MODEL_DIR/../holdout"; cp train.sh $TIDEGATE_MODEL_DIR/s',
    "an endless holdout": 'ln -sf /dev/zero "$TIDEGATE_MODEL_DIR/../holdout"; cp train.sh $TIDEGATE_MODEL_DIR/s',
}  # fmt: skip

# Writes into MLflow's own store what the client would not.
STORE = """
import os, sqlite3, sys, pathlib
db = sqlite3.connect(os.environ["MLFLOW_TRACKING_URI"].removeprefix("sqlite:///"))
folder = pathlib.Path(os.environ["TIDEGATE_MODEL_DIR"]).parent
run = os.environ["MLFLOW_RUN_ID"]
(experiment,) = db.execute("select experiment_id from runs where run_uuid = ?", (run,)).fetchone()
(store,) = folder.glob("tracking-*")
names = {"elsewhere": ["m-" + "a" * 32], "climbs": ["../../../../../../../../../../etc", ".."],
         "two": ["m-" + "a" * 32, "m-" + "b" * 32]}[sys.argv[1]]
for name in names:
    if sys.argv[1] == "two":
        made = store / "artifacts" / "models" / name / "artifacts"
        made.mkdir(parents=True)
        (made / "slope.txt").write_text("1")
    columns = {r[1]: (0 if "INT" in r[2].upper() else "x") for r in db.execute("pragma table_info(logged_models)") if r[3]}
    columns |= {"model_id": name, "experiment_id": experiment, "name": "m", "artifact_location": "/etc",
                "creation_timestamp_ms": 1, "last_updated_timestamp_ms": 1, "status": 2,
                "lifecycle_stage": "active", "source_run_id": run}
    marks = ",".join("?" * len(columns))
    db.execute(f"insert into logged_models ({','.join(columns)}) values ({marks})", tuple(columns.values()))
db.commit()
"""


@pytest.mark.parametrize("trick", MODELS)
def test_a_model_that_is_more_than_files(
    trick: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    repo = Repo.make(tmp_path)
    repo.write("store.py", STORE)
    repo.commit(f"{MODELS[trick]}\n")
    play = play_of(tmp_path, repo)
    job = play.checked_out("train")
    done = play.inside(job, {"command": "train", "hide-holdout": "true"}, {}, capfd)
    assert done.code in (3, 6), done.log
    assert "this is a bug" not in done.log
    assert done.outputs["bundle"] == ""
    harmless(job, done.log)


# --- what a model answers ---------------------------------------------------------------------

ANSWERS = {
    "too few": "rows.slice(1)[name], answers[1:]",
    "none": "rows.slice(0, 0)[name], answers[:0]",
    "twice": "pa.concat_arrays([*rows[name].chunks, *rows.slice(0, 1)[name].chunks]), answers + answers[:1]",
    "others": "pa.array(['x'] * len(answers)), answers",
    "words": "rows[name], ['pass'] * len(answers)",
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Play, Repo]:
    """A good model through the real jobs as processes, its pickle and its files full of traps."""
    root = tmp_path_factory.mktemp("base")
    canary = root / "canary"
    canary.mkdir()
    train = f"{sys.executable} -P train.py"
    repo = Repo.make(root, train__run=train, predict__run=f"{sys.executable} -P predict.py")
    repo.write("train.py", PICKLES)
    predict = repo.path / "predict.py"
    predict.write_text(predict.read_text() + f"\nprint({COMMAND!r})\n")
    repo.commit()
    play = replace(play_of(root, repo), variables={**VARIABLES, "CANARY": str(canary)})
    home = root / "home" / "registry"
    home.mkdir(parents=True)
    shutil.copyfile(repo.home.registry / "mlflow.db", home / "mlflow.db")
    play.api, play.token = "http://127.0.0.1:9", ""
    play.run(JUDGE, INPUTS | {"home": str(root / "home")})
    return play, repo


PICKLES = """
import os, pathlib, pickle
class Evil:
    def __reduce__(self):
        return os.system, (f"touch {os.environ['CANARY']}/loaded-$$",)
folder = pathlib.Path(os.environ["TIDEGATE_MODEL_DIR"])
(folder / "slope.txt").write_text("0.9")
for name in ("model.pkl", "model.joblib", "python_model.pkl", "data/model.pkl"):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(pickle.dumps(Evil()))
(folder / "MLmodel").write_text(
    "flavors:\\n  python_function:\\n    loader_module: mlflow.sklearn\\n    model_path: model.pkl\\n"
    "    code: code\\n    env: conda.yaml\\n")
(folder / "code").mkdir()
(folder / "code" / "sitecustomize.py").write_text(f"open('{os.environ['CANARY']}/loaded-code', 'w')")
(folder / ".env").write_text("MLFLOW_TRACKING_URI=http://127.0.0.1:9")
(folder / "conda.yaml").write_text("name: x\\ndependencies: [pip: ['--index-url=http://127.0.0.1:9']]")
"""


def test_the_jobs_that_hold_something_load_no_model(base: tuple[Play, Repo]) -> None:
    """From training to the registry, and back from it in the next run's first job."""
    play, _ = base
    decide = play.jobs["decide"]
    assert decide.outputs == {"outcome": "pass", "version": "1", "release": "true"}, decide.log
    job = play.checked_out("release")
    given = {"command": "release", "version": "1", "home": str(play.root.parent / "home")}
    assert play.engine(job, given, {}).code in (0, 5)
    assert list(Path(play.variables["CANARY"]).iterdir()) == []


def test_what_a_prediction_prints_is_not_obeyed(base: tuple[Play, Repo]) -> None:
    step = base[0].jobs["candidate/score"].engine
    assert "::set-output name=release::true" in step.log
    assert step.obeyed == []


@pytest.mark.parametrize("how", ANSWERS)
def test_answers_that_are_not_one_number_for_each_row(
    base: tuple[Play, Repo], how: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    play = replace(base[0], root=tmp_path / "run")
    job = play.checked_out("score")
    predict = job.work / "predict.py"
    predict.write_text(
        predict.read_text()
        .replace('"id": rows[name], "prediction": answers', '"id": ids, "prediction": said')
        .replace("table = ", f"ids, said = {ANSWERS[how]}\ntable = ")
    )
    step = base[0].jobs["candidate/score"].engine
    given = step.given | {"into": str(job.temp / "scored")}
    done = play.inside(job, given, {}, capfd)
    assert done.code == 6, done.log
    assert done.outputs["scores"] == ""


# --- what the job that decides is handed --------------------------------------------------------


def change_record(folder: Path, **changes: Any) -> None:
    path = folder / "candidate" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


LIES: dict[str, Callable[[Path], object]] = {
    "another commit": lambda f: change_record(f, commit="f" * 40),
    "another recipe": lambda f: change_record(f, recipe="f" * 64),
    "another holdout": lambda f: change_record(f, holdout_digest="f" * 64),
    "other training rows": lambda f: change_record(f, train_digest="f" * 64),
    "another configuration": lambda f: change_record(f, config_digest="f" * 64),
    "a megabyte": lambda f: change_record(f, params={"a": "x" * 1_000_000}),
    "many metrics": lambda f: change_record(f, metrics={f"m{n}": 1.0 for n in range(5000)}),
    "no number": lambda f: change_record(f, duration=float("nan")),
    "an endless time": lambda f: (f / "candidate/run.json").write_text(
        (f / "candidate/run.json").read_text().replace('"duration": ', '"duration": 1e999, "x": ')
    ),
    "deep": lambda f: (f / "candidate/run.json").write_text("[" * 100_000),
    "a key that speaks": lambda f: change_record(f, **{COMMAND: 1}),
    "a commit that speaks": lambda f: change_record(f, commit=COMMAND),
    "a parameter that speaks": lambda f: change_record(f, params={COMMAND: 5}),
    "no record": lambda f: (f / "candidate/run.json").unlink(),
    "a record that never ends": lambda f: link_at(f / "candidate/run.json", "/dev/zero"),
    "a linked model": lambda f: link_at(f / "candidate/model/slope.txt", "/etc/passwd"),
    "another model": lambda f: (f / "candidate/model/slope.txt").write_text("1.0"),
    "one file more": lambda f: (f / "candidate/model/x\n::error::y").write_text("1.0"),
    "other answers": lambda f: (f / "scores/candidate/answers.f64").write_bytes(b"\0" * 32_000),
    "a case that speaks": lambda f: (f / "case/case.json").write_text(json.dumps({COMMAND: 1})),
    "an empty case": lambda f: (f / "case/case.json").write_text(""),
}


def link_at(path: Path, to: str) -> None:
    path.unlink()
    path.symlink_to(to)


@pytest.mark.parametrize("lie", LIES)
def test_what_decides_believes_nothing(
    base: tuple[Play, Repo], lie: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    past = base[0].jobs["decide"]
    shutil.copytree(base[0].origin, tmp_path / "origin.git")
    play = replace(base[0], root=tmp_path / "run", origin=tmp_path / "origin.git")
    job = play.checked_out("decide")
    shutil.copytree(past.temp / "given", job.temp / "given")
    LIES[lie](job.temp / "given")
    given = {k: v.replace(str(past.root), str(job.root)) for k, v in past.engine.given.items()}
    before = text(play.origin, "for-each-ref")
    done = play.inside(job, given | {"home": str(tmp_path / "home")}, {}, capfd)
    assert done.code == 6, done.log
    assert (done.outputs["verdict"], done.outputs["release"]) == ("error", "false")
    assert done.outputs["version"] == ""
    assert text(play.origin, "for-each-ref") == before  # nothing in the ledger
    harmless(job, done.log)


def test_what_lies_beside_a_bundle_is_left_behind(
    base: tuple[Play, Repo], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A verdict, a table of predictions and another role's answers, made by training."""
    past = base[0].jobs["decide"]
    shutil.copytree(base[0].origin, tmp_path / "origin.git")
    play = replace(base[0], root=tmp_path / "run", origin=tmp_path / "origin.git")
    job = play.checked_out("decide")
    shutil.copytree(past.temp / "given", job.temp / "given")
    for name in (
        "verdict.json",
        "predictions.parquet",
        "measurements.json",
        "parity.parquet",
        "x/champion",
    ):
        path = job.temp / "given" / "candidate" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("not ours")
    given = {k: v.replace(str(past.root), str(job.root)) for k, v in past.engine.given.items()}
    done = play.inside(job, given | {"home": str(tmp_path / "home")}, {}, capfd)
    assert done.outputs["verdict"] == "pass", done.log
    for path in (tmp_path / "home").rglob("*"):
        assert not (path.is_file() and path.read_bytes() == b"not ours"), path


# --- the engine's own machine -------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["TIDEGATE_GITHUB_TOKEN", "GITHUB_TOKEN", "GIT_CONFIG_VALUE_0", "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
     "MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY", "TIDEGATE_SIGNING_KEY", "DB_PASSWORD"],
)  # fmt: skip
def test_no_secret_is_a_value_of_the_configuration(name: str) -> None:
    with pytest.raises(ConfigError, match="it may hold a secret"):
        expand(f"https://evil.example/${{{name}}}", {name: "x" * 20}, key="registry.uri")


def test_no_hook_and_no_monitor_of_a_work_tree_runs_in_ours(tmp_path: Path) -> None:
    """On a machine that keeps its work tree, training may have been there before us."""
    repo = Repo.make(tmp_path)
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\necho ran >> {tmp_path}/ran\n")
    trap.chmod(0o755)
    text(repo.path, "config", "core.fsmonitor", str(trap))
    for hook in ("reference-transaction", "pre-push", "post-checkout", "post-index-change"):
        (repo.path / ".git" / "hooks").mkdir(exist_ok=True)
        shutil.copy(trap, repo.path / ".git" / "hooks" / hook)
    calls = (
        ["status", "--porcelain"], ["update-ref", "refs/heads/x", "HEAD"], ["checkout", "--quiet", "x"],
        ["push", "--quiet", "origin", "HEAD:refs/heads/y"],
    )  # fmt: skip
    for call in calls:
        text(repo.path, *call)
    assert not (tmp_path / "ran").exists()
    subprocess.run(["git", "status"], cwd=repo.path, check=True, capture_output=True)
    assert (tmp_path / "ran").exists()  # they would


def test_the_users_code_is_given_no_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (
        "TIDEGATE_GITHUB_TOKEN", "TIDEGATE_SIGNING_KEY", "GIT_CONFIG_VALUE_0", "ACTIONS_RUNTIME_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "GITHUB_OUTPUT", "GITHUB_ENV", "MLFLOW_TRACKING_PASSWORD",
    )  # fmt: skip
    for name in names:
        monkeypatch.setenv(name, "lure")
    run_command(
        f"{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))' > seen",
        what="training", folder=tmp_path, env={}, timeout=20,
    )  # fmt: skip
    assert not set(names) & set(json.loads((tmp_path / "seen").read_text()))


def test_the_engine_is_installed_away_from_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither pip nor uv looks into the user's folder: a pip.py or a uv.toml there is not ours."""
    spec = importlib.util.spec_from_file_location("install", ENGINE / "install.py")
    assert spec is not None
    assert spec.loader is not None
    install = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(install)
    checkout, told = tmp_path / "checkout", tmp_path / "told"
    checkout.mkdir()

    def make(folder: Path, **_: object) -> None:
        for name in ("python", "uv"):
            (folder / "bin").mkdir(parents=True, exist_ok=True)
            (folder / "bin" / name).write_text(f'#!/bin/sh\necho "$(pwd) {name} $*" >> {told}\n')
            (folder / "bin" / name).chmod(0o755)
        (folder / "lib" / "python3" / "site-packages").mkdir(parents=True)

    monkeypatch.setattr(install.venv, "create", make)
    monkeypatch.chdir(checkout)
    monkeypatch.setenv("RUNNER_TEMP", str(tmp_path))
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("TIDEGATE_REQUIREMENTS", "")
    for name in [name for name in os.environ if name.startswith("TIDEGATE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GITHUB_REPOSITORY", "acme/churn")
    monkeypatch.setenv("HOME", str(tmp_path))
    install.main()
    lines = told.read_text().splitlines()
    assert len(lines) == 2
    assert all(not line.startswith(str(checkout)) and "--require-hashes" in line for line in lines)
    assert " python -I " in lines[0]
