"""One run of a workflow by act: what GitHub would tell about it, read from act's log.

Host mode: every job is a process tree on this machine with a workspace of its own. What that means
for the claims of these tests:

* Jobs share the machine, its files, its network and its processes. Nothing here shows that one job is kept
  from another; what is shown is what crosses between them by artifacts and outputs.
* ``permissions``, ``concurrency``, ``environment``, ``timeout-minutes`` of jobs and the job's
  ``continue-on-error`` are ignored. There is no OIDC but that of ``doctoring.identified``. Every job could ask for the same token;
  only the jobs that pass it on to a step have it there.
* One attempt per run; nothing is re-run or cancelled.

As on a self-hosted runner, processes that a run leaves behind are ended when it is over unless they have
taken ``RUNNER_TRACKING_ID`` out of their environment.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from tests.act.build import built

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass
class Job:
    """What became of a job, by its path through the calling workflows: ``deliver/model[fraud]/train``."""

    path: str
    result: str = ""  # success, failure, skipped; of a job that calls a workflow, too
    lines: list[str] = field(default_factory=list)
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)  # by step id: of our steps
    steps: dict[str, str] = field(default_factory=dict)  # result by step id
    summaries: dict[str, str] = field(default_factory=dict)  # by step id
    annotations: list[tuple[str, str]] = field(
        default_factory=list
    )  # (error | warning | notice, message)
    started: float = 0.0
    ended: float = 0.0

    @property
    def log(self) -> str:
        """What the job's steps printed."""
        return "".join(self.lines)

    @property
    def summary(self) -> str:
        """What its steps wrote; act reports a composite's last step twice, as the composite's, too."""
        return "".join(
            text
            for step, text in self.summaries.items()
            if not any(other.startswith(f"{step}/") for other in self.summaries)
        )

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.started


@dataclass(frozen=True, kw_only=True)
class Result:
    """A finished run."""

    id: str
    event: str
    code: int
    seconds: float
    jobs: dict[str, Job]
    complaint: str  # what act wrote about itself
    raw: str  # everything act wrote

    @property
    def red(self) -> bool:
        """Whether the run failed."""
        return self.code != 0

    def job(self, path: str) -> Job:
        """Return a job by its path.

        Raises:
            LookupError: there is none; the message lists those there are.
        """
        if path not in self.jobs:
            raise LookupError(f"no job {path}; there are:\n{self.told()}")
        return self.jobs[path]

    @property
    def ran(self) -> list[str]:
        """Paths of the jobs that were not skipped."""
        return [job.path for job in self.jobs.values() if job.result != "skipped"]

    def told(self) -> str:
        """Return a page about the run, for the message of a failing test."""
        rows = [f"{j.result:8} {j.seconds:6.1f} s  {j.path}" for j in self.jobs.values()]
        return "\n".join(
            [f"run {self.id} ({self.event}): exit code {self.code}", *rows, self.complaint]
        )

    def failures(self) -> str:
        """Return :meth:`told` and the ends of the logs of the jobs that failed."""
        ends = [
            f"--- {job.path}\n{job.log[-6000:]}"
            for job in self.jobs.values()
            if job.result == "failure" and job.lines
        ]
        return "\n".join([self.told(), *ends])


@dataclass(frozen=True, kw_only=True)
class Act:
    """A runner: what is the same in every run on it."""

    folder: Path  # each run gets a folder of its own below
    actions: Mapping[str, Path]  # what stands in for ``owner/name@ref``
    env: Mapping[str, str]  # the runner's environment, seen by every job
    labels: Sequence[str] = ("ubuntu-latest", "ubuntu-24.04", "self-hosted")
    patience: float = 420.0  # seconds a run may take
    machine: str = "self-hosted"  # or "github-hosted": what RUNNER_ENVIRONMENT says

    def run(
        self,
        event: str,
        payload: Mapping[str, Any],
        *,
        tree: Path,
        run_id: str,
        workflow: str = ".github/workflows/mlops.yml",
        github: Mapping[str, str],
        token: str,
        heard: Callable[[Mapping[str, Any]], None] = lambda _: None,
    ) -> Result:
        """Run a workflow file.

        Args:
            event: the event's name.
            payload: what ``github.event`` holds.
            tree: a clone whose head is the commit that the event runs (``github.sha``).
            run_id: no two runs share one.
            workflow: the file, relative to ``tree``.
            github: ``GITHUB_*`` variables (and with them the context), without the prefix.
            token: the job token.
            heard: is told each line of the log while the run goes on.

        Raises:
            TimeoutError: it did not end in time; everything of it has been ended.
        """
        folder = self.folder / f"run-{run_id}"
        home = folder / "home"
        home.mkdir(parents=True)
        (folder / "event.json").write_text(json.dumps(payload, indent=1))
        tracking = f"github_{uuid.uuid4()}"
        variables = {
            **{f"GITHUB_{key}": value for key, value in github.items()},
            "GITHUB_RUN_ID": run_id,
            "RUNNER_TRACKING_ID": tracking,
            "RUNNER_ENVIRONMENT": self.machine,
            "RUNNER_NAME": "this-machine",
        }
        command = [
            str(built()), event, "--json", "--rm", "--no-cache-server", "--action-offline-mode", "--no-skip-checkout",
            "-W", workflow, "-e", str(folder / "event.json"), "-a", variables["GITHUB_ACTOR"],
            "--action-cache-path", str(folder / "act"), "-s", f"GITHUB_TOKEN={token}",
            *(f"-P={label}=-self-hosted" for label in self.labels),
            *(f"--local-repository={name}={path}" for name, path in self.actions.items()),
            *(f"--env={key}={value}" for key, value in variables.items()),
        ]  # fmt: skip
        began = time.monotonic()
        try:
            with (
                (folder / "log").open("wb") as out,
                (folder / "complaints").open("wb") as err,
                subprocess.Popen(
                    command, cwd=tree, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err,
                    env={**self.env, "HOME": str(home)},
                ) as process,
            ):  # fmt: skip
                code = self._listened(process, out, heard)
        finally:
            end_orphans(tracking)
        if code == -signal.SIGKILL:
            raise TimeoutError(f"run {run_id} of {event} did not end: see {folder}")
        raw = (folder / "log").read_text(errors="replace")
        complaints = (folder / "complaints").read_text(errors="replace").splitlines()
        return Result(
            id=run_id, event=event, code=code, seconds=time.monotonic() - began, jobs=read(raw),
            complaint="\n".join(line for line in complaints if "docker connection" not in line), raw=raw,
        )  # fmt: skip

    def _listened(
        self,
        process: subprocess.Popen[bytes],
        out: BinaryIO,
        heard: Callable[[Mapping[str, Any]], None],
    ) -> int:
        """Keep what act says and tell it on; return its exit code."""
        guard = threading.Timer(self.patience, process.kill)
        guard.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                out.write(line)
                heard(_entry(line))
            return process.wait()
        finally:
            guard.cancel()
            process.kill()


def read(log: str) -> dict[str, Job]:
    """Read what act's JSON lines say about each job."""
    jobs: dict[str, Job] = {}
    for line in log.splitlines():
        entry = _entry(line)
        if path := str(entry.get("job", "")).strip():
            _add(jobs.setdefault(path, Job(path)), entry)
    return jobs


def _entry(line: str | bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _add(job: Job, entry: dict[str, Any]) -> None:
    at = _seconds(entry["time"])
    job.started = job.started or at
    job.ended = at
    message = entry["msg"]
    step = "/".join(entry.get("stepID") or ())
    if result := entry.get("jobResult"):
        job.result = result
    elif (result := entry.get("stepResult")) and entry.get("stage") == "Main":
        job.steps[step] = result
    match entry.get("command"):
        case "set-output":
            job.outputs.setdefault(step, {})[entry["name"]] = entry["arg"]
        case "summary":
            job.summaries[step] = entry["content"]
        case "error" | "warning" | "notice" as level:
            job.annotations.append((level, entry["arg"]))
        case _:
            pass
    if entry.get("raw_output") or entry.get("level") == "error":
        job.lines.append(message if message.endswith("\n") else f"{message}\n")


def _seconds(stamp: str) -> float:
    return time.mktime(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S"))


def end_orphans(tracking: str) -> None:
    """End the processes that carry a run's tracking id, as the runner does after a job."""
    mark = f"RUNNER_TRACKING_ID={tracking}".encode()
    for number in (signal.SIGTERM, signal.SIGKILL):
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    os.kill(int(entry.name), number)
            except OSError:
                continue  # not ours to see, or gone
        time.sleep(0.1)
