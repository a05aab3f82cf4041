"""Each model in the environment it recorded: found, built once, kept, and never silently another one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.models import numpy_here, probe, skinny
from tidegate import environments_build as build
from tidegate.cases import INPUT, Case, read_scored
from tidegate.core.config import Environment
from tidegate.core.model import Task
from tidegate.digests import file_digest, folder_digest
from tidegate.endpoint.remote import RemoteScorer
from tidegate.environments import interpreter
from tidegate.environments_recorded import differences, here, recorded
from tidegate.errors import NotJudgedError
from tidegate.packing import MODULES

NUMPY = version("numpy")
OTHER = "numpy==0.0.1"
AUTO, OWN, ENGINE = Environment.AUTO, Environment.RECORDED, Environment.ENGINE

# What it was given goes to $SAID; it makes an "environment" of this Python, or fails with $FAIL.
UV = f"""#!{sys.executable} -S
import json, os, pathlib, sys, time
said = pathlib.Path(os.environ["SAID"])
with said.open("a") as file:
    file.write(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]) + "\\n")
if sys.argv[1] == "venv":
    place = pathlib.Path(sys.argv[-1]) / "bin"
    place.mkdir(parents=True)
    (place / "python").symlink_to({sys.executable!r})
elif os.environ.get("FAIL") and not ("--offline" in sys.argv and os.environ["FAIL"] == "network"):
    print("  × No solution found when resolving dependencies:\\n  ╰─▶ Because there is no\\n      such version")
    sys.exit(1)
else:
    time.sleep(0.2)
"""


class FakeUv:
    """A uv that notes what it was asked for."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said = folder / "said"
        script = folder / "uv"
        script.write_text(UV)
        script.chmod(0o755)
        monkeypatch.setenv("SAID", str(self.said))
        monkeypatch.setattr(build, "_uv", lambda: [str(script)])

    @property
    def calls(self) -> list[str]:
        """The verbs, and whether without a network."""
        if not self.said.exists():
            return []
        lines = [line.split("]", 1)[0] for line in self.said.read_text().splitlines()]
        return [
            "venv" if '"venv"' in x else "offline" if "--offline" in x else "install" for x in lines
        ]


@pytest.fixture
def uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeUv:
    return FakeUv(tmp_path, monkeypatch)


def different(folder: Path, *lines: str, python: str = "") -> tuple[str, ...]:
    found = recorded(probe(folder, *lines, python=python))
    assert found is not None
    return differences(found)


DIFFERENT: dict[str, tuple[str, tuple[str, ...]]] = {
    "the same": (f"numpy=={NUMPY}", ()),
    "named alone": ("numpy", ()),
    "a range": ("numpy>=1.0,<99", ()),
    "a comment": ("# numpy==0.0.1", ()),
    "a comment behind": (f"numpy=={NUMPY}  # as trained", ()),
    "for another machine": ('numpy==0.0.1; sys_platform == "win32"', ()),
    "another version": (OTHER, (f"numpy==0.0.1, here {NUMPY}",)),
    "another spelling": ("scikit_learn==0.1", (f"scikit_learn==0.1, here {version('scikit-learn')}",)),
    "not here": ("tidegate-no-such-thing==1", ("tidegate-no-such-thing==1, here none",)),
    "extras": ("numpy[x]", ("numpy[x]: extras are not compared",)),
    "a file": ("./wheels/mine-1.0-py3-none-any.whl", ("./wheels/mine-1.0-py3-none-any.whl: not a package's name and version",)),
    "an address": ("numpy @ https://example.org/numpy.whl", ("numpy: not a package's name and version",)),
    "an option": ("--extra-index-url https://example.org", ("--extra-index-url: not a package's name and version",)),
}  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_differs_is_named_with_what_was_wanted_and_what_is_here(
    tmp_path: Path, name: str
) -> None:
    line, wanted = DIFFERENT[name]
    assert different(tmp_path / "m", line) == wanted


def test_another_minor_python_differs_and_another_patch_does_not(tmp_path: Path) -> None:
    assert different(tmp_path / "a", "numpy", python="3.9.1") == (f"python 3.9, here {here()}",)
    assert different(tmp_path / "b", "numpy", python=f"{here()}.99") == ()


def test_the_key_is_what_the_environment_is_made_of(tmp_path: Path) -> None:
    def key(name: str, *lines: str, python: str = "", loader: str = "") -> str:
        found = recorded(probe(tmp_path / name, *lines, python=python, loader=loader))
        assert found is not None
        return found.key

    assert key("a", "numpy==1") == key("b", "numpy==1", loader="pass")
    assert (
        len({key("c", "numpy==1"), key("d", "numpy==2"), key("e", "numpy==1", python="3.13.1")})
        == 3
    )
    # A line that points into the model's folder means what lies there.
    assert key("f", "./w.whl") != key("g", "./w.whl", loader="pass")


@pytest.mark.parametrize("missing", ["MLmodel", "requirements.txt", "python_env.yaml"])
def test_what_records_no_environment_runs_in_the_engines_and_says_so(
    tmp_path: Path, missing: str
) -> None:
    model = probe(tmp_path / "m", "numpy")
    (model / missing).unlink()
    assert recorded(model) is None
    found = interpreter(model, AUTO, tmp_path / "cache")
    assert (found.environment, found.note) == ("engine", "the model records no environment")
    with pytest.raises(NotJudgedError, match="records no environment"):
        interpreter(model, OWN, tmp_path / "cache")


def test_the_engines_own_environment_is_used_where_it_is_the_recorded_one(
    tmp_path: Path, uv: FakeUv
) -> None:
    model = probe(tmp_path / "m", f"numpy=={NUMPY}", f"pyarrow=={version('pyarrow')}")
    for wanted in Environment:
        found = interpreter(model, wanted, tmp_path / "cache")
        assert (found.python, found.environment, found.note, found.own) == (
            sys.executable, "recorded", "", False,
        )  # fmt: skip
    assert uv.calls == []
    assert not (tmp_path / "cache").exists()


def test_an_environment_is_built_once_and_then_needs_nothing(
    tmp_path: Path, uv: FakeUv, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = probe(tmp_path / "m", OTHER)
    said: list[str] = []
    first = interpreter(model, AUTO, tmp_path / "cache", say=said.append)
    assert (first.environment, first.note, first.own) == ("recorded", "", True)
    assert first.python.startswith(str(tmp_path / "cache"))
    assert said == [f"build the model's environment: numpy==0.0.1, here {NUMPY}"]
    monkeypatch.setattr(build, "_uv", lambda: pytest.fail("asked for again"))
    assert interpreter(probe(tmp_path / "same", OTHER), OWN, tmp_path / "cache") == first
    assert uv.calls == ["venv", "install"]
    assert {p.name for p in (tmp_path / "cache").iterdir() if p.name.startswith(".")} == set()


def test_an_environment_whose_python_is_gone_is_built_again(tmp_path: Path, uv: FakeUv) -> None:
    model = probe(tmp_path / "m", OTHER)
    python = Path(interpreter(model, AUTO, tmp_path / "cache").python)
    python.unlink()
    python.symlink_to(tmp_path / "gone")
    assert interpreter(model, AUTO, tmp_path / "cache").own
    assert uv.calls == ["venv", "install"] * 2


def test_two_processes_build_it_once(tmp_path: Path, uv: FakeUv) -> None:
    model = probe(tmp_path / "m", OTHER)
    script = (
        "import sys; from pathlib import Path\nfrom tidegate import environments_build as b\n"
        "from tidegate.environments_recorded import recorded\n"
        f"b._uv = lambda: [{str(tmp_path / 'uv')!r}]\nm = Path({str(model)!r})\n"
        f"print(b.built(Path({str(tmp_path / 'cache')!r}), recorded(m), m))\n"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = {run.communicate()[0] for run in runs}
    assert [run.returncode for run in runs] == [0, 0]
    assert len(said) == 1
    assert uv.calls == ["venv", "install"]


def test_a_build_sees_no_credentials_and_no_project_of_the_users(
    tmp_path: Path, uv: FakeUv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEGATE_GITHUB_TOKEN", "s3cret-one")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret-two")
    interpreter(probe(tmp_path / "m", OTHER), AUTO, tmp_path / "cache")
    assert "s3cret" not in uv.said.read_text()
    assert all(line.endswith(', "/"]') for line in uv.said.read_text().splitlines())
    model = probe(tmp_path / "n", "./wheels/mine.whl")
    interpreter(model, AUTO, tmp_path / "cache")
    assert uv.said.read_text().splitlines()[-1].endswith(f', "{model}"]')


def test_no_build_runs_beside_a_role(
    tmp_path: Path, uv: FakeUv, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tidegate.errors import ConfigError

    monkeypatch.setenv("TIDEGATE_JOB", "decide")
    with pytest.raises(ConfigError, match="may take a cloud role"):
        interpreter(probe(tmp_path / "m", OTHER), AUTO, tmp_path / "cache")
    assert uv.calls == []


def test_what_cannot_be_built_runs_in_the_engines_with_a_note_or_not_at_all(
    tmp_path: Path, uv: FakeUv, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, cache = probe(tmp_path / "m", OTHER), tmp_path / "cache"
    monkeypatch.setenv("FAIL", "always")
    found = interpreter(model, AUTO, cache)
    assert (found.python, found.environment) == (sys.executable, "engine")
    assert found.note == (
        f"numpy==0.0.1, here {NUMPY}; its own environment cannot be built: No solution found when "
        "resolving dependencies: Because there is no such version"
    )
    assert uv.calls == ["venv", "install", "offline"]
    with pytest.raises(NotJudgedError, match="cannot be had: No solution found") as caught:
        interpreter(model, OWN, cache)
    assert "predict.environment" in caught.value.remedy
    before = len(uv.calls)
    assert (
        interpreter(model, ENGINE, cache).note
        == f"predict.environment is engine: numpy==0.0.1, here {NUMPY}"
    )
    # A server that starts again and again does not ask the network each time.
    assert "No solution found" in interpreter(model, AUTO, cache, patience=60).note
    assert len(uv.calls) == before
    monkeypatch.delenv("FAIL")
    assert interpreter(model, AUTO, cache).own
    assert not list(cache.glob("*.failed"))


def test_without_a_network_uvs_own_cache_may_do(
    tmp_path: Path, uv: FakeUv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL", "network")
    assert interpreter(probe(tmp_path / "m", OTHER), OWN, tmp_path / "cache").own
    assert uv.calls == ["venv", "install", "offline"]


def test_a_python_older_than_the_scoring_code_is_not_tried(tmp_path: Path, uv: FakeUv) -> None:
    found = interpreter(probe(tmp_path / "m", "numpy", python="3.10.4"), AUTO, tmp_path / "cache")
    assert "the scoring code needs Python 3.11, the model has 3.10" in found.note
    assert uv.calls == []


def test_without_uv_the_note_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    found = interpreter(probe(tmp_path / "m", OTHER), AUTO, tmp_path / "cache")
    assert "uv, which builds environments, is not installed (pip install uv)" in found.note


def test_many_differences_are_told_in_short(tmp_path: Path, uv: FakeUv) -> None:
    lines = [f"tidegate-missing-{i}==1" for i in range(30)]
    assert interpreter(probe(tmp_path / "m", *lines), ENGINE, tmp_path / "c").note.endswith(
        "; and 24 more"
    )


def test_the_code_beside_an_environment_is_all_that_it_imports(tmp_path: Path) -> None:
    folder = build.code(tmp_path / "cache")
    assert build.code(tmp_path / "cache") == folder
    assert set(MODULES) < set(build.MODULES)
    script = (
        f"import sys; sys.path.insert(0, {str(folder)!r})\nimport tidegate.score, tidegate.endpoint.worker\n"
        "print(*(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'tidegate'))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert all(path.startswith(str(folder)) for path in done.stdout.split())


def test_a_worker_answers_as_the_model_does_and_its_end_is_noticed(tmp_path: Path) -> None:
    model = probe(tmp_path / "m", "numpy")
    command = [sys.executable, "-m", "tidegate.endpoint.worker", str(model), "regression", "[]"]
    remote = RemoteScorer(command, os.environ)
    base = 100 * float(numpy_here())
    assert remote.columns is None
    assert remote.score(pa.table({"x": [1.0, 2.5]})).tolist() == [1.0 + base, 2.5 + base]
    with pytest.raises(NotJudgedError, match="told to fail"):
        remote.score(pa.table({"x": [-1.0]}))
    assert remote.score(pa.table({"x": np.arange(100_000.0)})).shape == (100_000,)
    with pytest.raises(NotJudgedError, match=r"has ended \(exit code 7\)"):
        remote.score(pa.table({"x": [-2.0]}))
    assert remote.died
    remote.close()
    with pytest.raises(NotJudgedError, match="Cannot load the model"):
        RemoteScorer([*command[:-3], str(tmp_path / "none"), "regression", "[]"], os.environ)


def case_of(folder: Path, environment: str) -> Case:
    pq.write_table(pa.table({"id": ["a", "b"], "x": [1.0, 2.0]}), folder / INPUT)
    return Case(
        model="m", task=Task.REGRESSION, id="id", folder=".", commit="c" * 40, base=None,
        input=file_digest(folder / INPUT), holdout="2" * 64, hidden=(), predict=None, timeout=60.0,
        timed=False, champion=None, anchor=None, environment=environment,
    )  # fmt: skip


@pytest.mark.real
def test_candidate_and_champion_answer_in_their_own_environments_and_serve_there(
    tmp_path: Path,
) -> None:
    from tidegate.endpoint.server import loaded
    from tidegate.endpoint.spec import Member
    from tidegate.scoring import score

    other = "2.2.6" if not NUMPY.startswith("2.2.") else "2.1.3"
    models = {
        "candidate": probe(tmp_path / "new", f"numpy=={NUMPY}"),
        "champion": probe(tmp_path / "old", skinny(), f"numpy=={other}", "pandas"),
    }
    case = case_of(tmp_path, "recorded")
    said: list[str] = []
    began = time.monotonic()
    score(
        case,
        tmp_path,
        models,
        tmp_path / "s",
        tmp_path,
        environments=tmp_path / "e",
        say=said.append,
    )
    took = time.monotonic() - began
    assert said == [f"champion: build the model's environment: numpy=={other}, here {NUMPY}"]
    for role, number in (("candidate", NUMPY), ("champion", other)):
        found = read_scored(tmp_path / "s" / role, role, folder_digest(models[role]), case, 2)
        base = 100 * float(".".join(number.split(".")[:2]))
        assert found.answers.tolist() == [1.0 + base, 2.0 + base], took
        assert (found.environment, found.environment_note) == ("recorded", "")
    member = Member(
        version="1", digest="d", model="m", task=Task.REGRESSION,
        environment="recorded", environments=str(tmp_path / "e"),
    )  # fmt: skip
    serving = loaded(member, models["champion"])
    assert isinstance(serving, RemoteScorer)
    assert serving.score(pa.table({"x": [0.0]})).tolist() == [100 * float(other.rpartition(".")[0])]
    serving.close()
