"""Workflows, played job by job: our YAML is read, and each step is run as a runner would.

Each job has a machine of its own: a clone, a home, a folder of temporary files. Each step has fresh
files for outputs, environment, path, state and summary; its log goes through the port of the runner's
parsers (:mod:`tests.runner_protocol`). Artifacts are copied as actions/upload-artifact does: links are
followed, hidden files left out. Only the installation of the engine is left out: this Python has it.

What this cannot show is that two machines are two machines. That is GitHub's promise.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.hostile.expressions import Values
from tests.real_repo import empty_store
from tests.runner_protocol import Command, RunnerError, read_log, read_pairs
from tidegate import action as tidegate_action
from tidegate.git import text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pytest

ROOT = Path(__file__).parents[2]
ENGINE = ROOT / ".github" / "actions" / "engine"
SUMMARY_CAP = 1024 * 1024  # the runner drops a larger one
FILES = ("output", "env", "path", "state", "step_summary")
_NO_MORE = 300.0  # seconds a step may take


def read(path: str) -> dict[Any, Any]:
    """Return one of our workflows or actions."""
    found: dict[Any, Any] = yaml.safe_load((ROOT / path).read_text())
    return found


@dataclass
class Step:
    """What one step came to. ``outputs`` are those that the rest of its job can see."""

    name: str
    code: int = 0
    log: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    obeyed: list[Command] = field(default_factory=list)
    summary: str = ""
    exported: list[tuple[str, str]] = field(default_factory=list)
    path: str = ""
    given: dict[str, str] = field(default_factory=dict)  # of the engine: inputs, environment
    env: dict[str, str] = field(default_factory=dict)


@dataclass
class Job:
    """What one job came to."""

    name: str
    root: Path
    result: str = "success"
    outputs: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)  # what its steps exported
    path: list[str] = field(default_factory=list)

    @property
    def work(self) -> Path:
        """The checkout."""
        return self.root / "work"

    @property
    def temp(self) -> Path:
        """RUNNER_TEMP."""
        return self.root / "temp"

    @property
    def log(self) -> str:
        """What all of its steps printed."""
        return "".join(step.log for step in self.steps)

    @property
    def engine(self) -> Step:
        """The step that ran the engine."""
        (found,) = [step for step in self.steps if step.name == "engine"]
        return found


@dataclass
class Play:
    """One run of a workflow on one commit.

    ``before`` is called ahead of each job's steps, with the job; ``between`` with the name of each
    artifact that was uploaded, and its folder.
    """

    root: Path
    origin: Path
    commit: str
    event: Mapping[str, Any]
    secrets: Mapping[str, str] = field(default_factory=dict)
    token: str = ""
    api: str = "http://127.0.0.1:9"
    before: Callable[[Job], None] = lambda _: None
    between: Callable[[str, Path], None] = lambda _, __: None
    variables: Mapping[str, str] = field(default_factory=dict)  # of the machines
    jobs: dict[str, Job] = field(default_factory=dict)

    @property
    def artifacts(self) -> Path:
        """Artifact name -> folder."""
        return self.root / "artifacts"

    def run(self, path: str, inputs: Mapping[str, Any], *, inside: str = "") -> dict[str, Any]:
        """Play a workflow's jobs in their order; return the ``needs`` context at its end."""
        workflow = read(path)
        declared = workflow[True]["workflow_call"]["inputs"]  # YAML 1.1 reads "on" as true
        given = {name: spec.get("default", "") for name, spec in declared.items()} | dict(inputs)
        needs: dict[str, Any] = {}
        for name, body in workflow["jobs"].items():
            wanted = body.get("needs", [])
            mine = {n: needs[n] for n in ([wanted] if isinstance(wanted, str) else wanted)}
            contexts = {"inputs": given, "needs": mine, "github": self._github(), "secrets": {}}
            well = all(need["result"] == "success" for need in mine.values())
            if not Values(contexts).holds(body.get("if"), so_far=well):
                needs[name] = {"result": "skipped", "outputs": {}}
            elif "uses" in body:
                values = Values(contexts)
                called = body["uses"].removeprefix("$/")
                passed = {key: values.typed(raw) for key, raw in body["with"].items()}
                below = self.run(called, passed, inside=f"{inside}{name}/")
                outputs = self._called_outputs(called, below)
                results = {job["result"] for job in below.values()}
                needs[name] = {
                    "result": "failure" if "failure" in results else "success",
                    "outputs": outputs,
                }
            else:
                job = self._job(f"{inside}{name}", body, contexts)
                needs[name] = {"result": job.result, "outputs": job.outputs}
        return needs

    def _called_outputs(self, path: str, jobs: Mapping[str, Any]) -> dict[str, str]:
        declared = read(path)[True]["workflow_call"].get("outputs", {})
        values = Values({"jobs": jobs})
        return {name: values.text(spec["value"]) for name, spec in declared.items()}

    def _github(self) -> dict[str, Any]:
        return {
            "event": self.event, "event_name": "pull_request" if "pull_request" in self.event else "push",
            "repository": "acme/churn", "token": self.token, "action_path": str(ENGINE),
        }  # fmt: skip

    def machine(self, name: str) -> Job:
        """Return a job's fresh machine."""
        job = Job(name, self.root / "machines" / name.replace("/", "-"))
        for folder in (job.temp, job.work, job.root / "home"):
            folder.mkdir(parents=True)
        (job.temp / "event.json").write_text(json.dumps(self.event))
        store = empty_store()
        kept = job.root / "home" / ".tidegate" / "acme" / "churn" / "tracking"
        kept.mkdir(parents=True)
        shutil.copyfile(store, kept / store.name)
        return job

    def checked_out(self, name: str) -> Job:
        """Return a job's fresh machine with the repository on it."""
        job = self.machine(name)
        text(job.work, "clone", "--quiet", "--no-checkout", str(self.origin), ".")
        text(job.work, "checkout", "--quiet", "--detach", self.commit)
        return job

    def _job(self, name: str, body: Mapping[str, Any], contexts: Mapping[str, Any]) -> Job:
        job = self.jobs[name] = self.machine(name)
        self.before(job)
        # A caller hands secrets to the jobs that name them; here, to every job that does.
        scope = {
            **contexts,
            "secrets": self.secrets,
            "runner": {"temp": str(job.temp)},
            "steps": {},
        }
        values = Values(scope)
        for step in body["steps"]:
            if not values.holds(step.get("if"), so_far=job.result == "success"):
                continue
            done = self._step(job, step, values)
            job.steps.append(done)
            if done.code:
                job.result = "failure"
            scope["steps"][step.get("id", uuid.uuid4().hex)] = {"outputs": done.outputs}
        job.outputs = {k: values.text(raw) for k, raw in body.get("outputs", {}).items()}
        return job

    def _step(self, job: Job, step: Mapping[str, Any], values: Values) -> Step:
        uses = step["uses"].partition("@")[0]
        given = {key: values.text(raw).strip() for key, raw in step.get("with", {}).items()}
        if uses == "actions/checkout":
            assert given["persist-credentials"] == "false"
            text(job.work, "clone", "--quiet", "--no-checkout", str(self.origin), ".")
            text(job.work, "checkout", "--quiet", "--detach", self.commit)
            return Step("checkout")
        if uses == "actions/upload-artifact":
            return self._upload(given)
        if uses == "actions/download-artifact":
            shutil.copytree(self.artifacts / given["name"], given["path"], dirs_exist_ok=True)
            return Step("download")
        assert uses == "$/.github/actions/engine"
        env = {key: values.text(raw) for key, raw in step.get("env", {}).items()}
        return self.engine(job, given, env)

    def _upload(self, given: Mapping[str, str]) -> Step:
        source, into = Path(given["path"]), self.artifacts / given["name"]
        assert not into.exists(), "an artifact of that name is there: version 4 and later refuse"
        hidden = given.get("include-hidden-files") == "true"
        for path in sorted(source.rglob("*")) if source.exists() else []:
            name = path.relative_to(source)
            if path.is_file() and (hidden or not any(p.startswith(".") for p in name.parts)):
                (into / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, into / name)  # what a link leads to
        if not into.exists():
            return Step("upload", code=int(given.get("if-no-files-found") == "error"))
        self.between(given["name"], into)
        return Step("upload")

    # --- a step of the engine ---------------------------------------------------------------

    def engine(self, job: Job, given: Mapping[str, str], env: Mapping[str, str]) -> Step:
        """Run the composite action's steps, as its file says."""
        action = read(".github/actions/engine/action.yml")
        _, run = action["runs"]["steps"]
        done = self.shell(job, run["run"], self.engine_env(job, given, env))
        done.outputs = self._outputs(done)
        done.given, done.env = dict(given), dict(env)
        return done

    def _outputs(self, done: Step) -> dict[str, str]:
        """Return what the action passes on of its step's outputs."""
        action = read(".github/actions/engine/action.yml")
        values = Values({"steps": {action["runs"]["steps"][1]["id"]: {"outputs": done.outputs}}})
        return {name: values.text(spec["value"]) for name, spec in action["outputs"].items()}

    def inside(
        self,
        job: Job,
        given: Mapping[str, str],
        env: Mapping[str, str],
        capfd: pytest.CaptureFixture[str],
    ) -> Step:
        """Run the action's own step in this process, which takes no second to start."""
        files = self.files(job)
        step = Step("engine", given=dict(given), env=dict(env))
        before, folder = dict(os.environ), Path.cwd()
        own = self.environment(job, files) | self.engine_env(job, given, env)
        capfd.readouterr()
        try:
            os.environ.clear()
            os.environ.update(own)
            os.chdir(job.work)
            step.code = tidegate_action.run()
        finally:
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(before)
        step.log = "".join(capfd.readouterr())
        self._believe(job, step, {name: file.read_text() for name, file in files.items()})
        step.outputs = self._outputs(step)
        return step

    def engine_env(
        self, job: Job, given: Mapping[str, str], env: Mapping[str, str]
    ) -> dict[str, str]:
        """Return the environment of the action's own step."""
        installed = {
            "python": sys.executable,
            "home": given.get("home") or str(job.root / "home" / ".tidegate" / "acme" / "churn"),
        }
        action = read(".github/actions/engine/action.yml")
        inputs = {name: spec.get("default", "") for name, spec in action["inputs"].items()}
        assert set(given) <= set(inputs), set(given) - set(inputs)
        scope: dict[str, Any] = {
            "inputs": inputs | dict(given), "github": self._github(),
            "steps": {"install": {"outputs": installed}},
        }  # fmt: skip
        install, run = action["runs"]["steps"]
        assert install["id"] == "install"
        assert '"$TIDEGATE_PYTHON" -I' in install["run"]
        values = Values(scope)
        return {**env, **{key: values.text(raw) for key, raw in run["env"].items()}}

    def shell(self, job: Job, script: str, env: Mapping[str, str]) -> Step:
        """Run a step's script as a runner would."""
        files = self.files(job)
        (job.temp / "step.sh").write_text(script)
        log = job.temp / "step.log"
        with log.open("wb") as out:
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(job.temp / "step.sh")],
                cwd=job.work, check=False, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                timeout=_NO_MORE, env=self.environment(job, files) | job.variables | dict(env),
            )  # fmt: skip
        said = log.read_bytes()[: 400 * 2**20].decode(errors="replace")
        step = Step("engine", code=done.returncode, log=said)
        self._believe(job, step, {name: file.read_text() for name, file in files.items()})
        return step

    def files(self, job: Job) -> dict[str, Path]:
        """Return fresh files for a step's outputs, environment, path, state and summary."""
        commands = job.temp / "_runner_file_commands"
        commands.mkdir(exist_ok=True)
        files = {name: commands / f"{name}_{uuid.uuid4()}" for name in FILES}
        for file in files.values():
            file.touch()
        return files

    def environment(self, job: Job, files: Mapping[str, Path]) -> dict[str, str]:
        """Return what a runner sets for a step."""
        return {
            "PATH": os.pathsep.join([*job.path, os.environ["PATH"]]),
            "HOME": str(job.root / "home"), "LANG": "C.UTF-8", "MLFLOW_DISABLE_TELEMETRY": "true",
            "OMP_NUM_THREADS": "1", "GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "acme/churn",
            "GITHUB_EVENT_NAME": self._github()["event_name"],
            "GITHUB_EVENT_PATH": str(job.temp / "event.json"), "GITHUB_SHA": self.commit,
            "GITHUB_RUN_ID": "4711", "GITHUB_TRIGGERING_ACTOR": "mona",
            "GITHUB_SERVER_URL": "https://github.test", "GITHUB_API_URL": self.api,
            "GITHUB_WORKSPACE": str(job.work), "RUNNER_TEMP": str(job.temp),
            "RUNNER_ENVIRONMENT": "self-hosted",
            **{f"GITHUB_{name.upper()}": str(file) for name, file in files.items()},
            **self.variables,
        }  # fmt: skip

    def _believe(self, job: Job, step: Step, files: Mapping[str, str]) -> None:
        """Take from a step what the runner would: first its log, then its files."""
        step.obeyed = read_log(step.log)
        step.outputs = {c.properties["name"]: c.data for c in step.obeyed if c.name == "set-output"}
        try:
            step.outputs |= dict(read_pairs(files["output"]))
            step.exported = [p for p in read_pairs(files["env"]) if p[0] != "NODE_OPTIONS"]
            read_pairs(files["state"])
        except RunnerError as error:
            step.code, step.log = step.code or 1, f"{step.log}\n##[error]{error}\n"
        job.variables |= dict(step.exported)
        step.path = files["path"]
        job.path = [*files["path"].splitlines(), *job.path]
        summary = files["step_summary"]
        step.summary = summary if len(summary.encode()) <= SUMMARY_CAP else ""
