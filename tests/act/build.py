"""act, built from its pinned source with a few corrections of ours: ``python -m tests.act.build``.

Unchanged, act v0.2.87 differs from GitHub where our workflows stand or fall:

* when a called workflow fails, the jobs after it never run, not even with ``if: always()``;
* the calling job's result is that of whichever called job ended last, not a failure if any failed;
* a skipped job's outputs are the expressions as they were written, where they should be empty;
* a job whose matrix is empty gets no result, and one that has no value ends everything, where the
  job's condition should have skipped it;
* a step's output is a terminal, where a runner's is a pipe;
* skipped jobs and steps are told to nobody, and a log line does not say which leg of which
  matrix it comes from.

So the lines in :data:`CORRECTIONS`, each of which must be found exactly once, are replaced in a temporary copy
of the source, and ``go/tidegate.go`` is compiled in.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

VERSION = "v0.2.87"
SUM = "h1:q3CHCOYXtxa013SAzo1qgQjaQ8j2krCMW1TMf99IfLs="
ROOT = Path(__file__).parents[2]
ADDED = Path(__file__).parent / "go" / "tidegate.go"

# File of act's source, what stands there, what shall.
CORRECTIONS = (
    ("pkg/runner/runner.go", ".Then(handleFailure(plan))", ".Then(runner.conclude(plan))"),
    (
        "pkg/runner/runner.go",
        "if err := strategyRc.NewExpressionEvaluator(ctx)",
        "if !strategyRc.wanted(ctx) { job.Strategy.RawMatrix.Kind = 0 "
        "} else if err := strategyRc.NewExpressionEvaluator(ctx)",
    ),
    (
        "pkg/runner/runner.go",
        "for i, matrix := range matrixes {",
        "if len(matrixes) == 0 { maxParallel = 1; "
        "stageExecutor = append(stageExecutor, runner.withoutLegs(run)) }\n"
        "for i, matrix := range matrixes {",
    ),
    (
        "pkg/runner/runner.go",
        "WithJobLogger(ctx, rc.Run.JobID, jobName,",
        "WithJobLogger(ctx, rc.Run.JobID, rc.trail(),",
    ),
    ("pkg/runner/runner.go", 'jobName := fmt.Sprintf("%-*s", maxJobNameLen, rc.String())', ""),
    ("pkg/runner/job_executor.go", "rc.caller.runContext.result(jobResult)", ""),
    (
        "pkg/runner/run_context.go",
        'rc.result("skipped")',
        'rc.result("skipped"); rc.Run.Job().Outputs = nil',
    ),
    (
        "pkg/runner/run_context.go",
        'WithField("jobResult", "skipped").Debugf(',
        'WithField("jobResult", "skipped").Infof(',
    ),
    (
        "pkg/runner/step.go",
        'WithField("stepResult", stepResult.Outcome).Debugf("Skipping',
        'WithField("stepResult", stepResult.Outcome).Infof("Skipping',
    ),
    ("pkg/container/host_environment.go", "if true /* allocate Terminal */ {", "if false {"),
)


class NoActError(RuntimeError):
    """act cannot be built here; the message says what is missing."""


def built() -> Path:
    """Return act's binary, building it first where it is not there (about a minute, once).

    Raises:
        NoActError: there is no Go, or act's source is not the one this was written for.
    """
    recipe = hashlib.sha256(Path(__file__).read_bytes() + ADDED.read_bytes()).hexdigest()[:12]
    binary = ROOT / ".tools" / f"act-{VERSION}-{recipe}"
    if not binary.exists():
        _build(binary)
    return binary


def _build(binary: Path) -> None:
    original = _source()
    binary.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=binary.parent) as folder:
        source = Path(folder) / "source"
        shutil.copytree(original, source, copy_function=shutil.copyfile)
        _correct(source)
        _go("build", "-o", str(source / "act"), ".", cwd=source)
        (source / "act").replace(binary)


def _source() -> Path:
    """Fetch act's source, checked against its sum, and return its folder."""
    found = json.loads(
        _go("mod", "download", "-json", f"github.com/nektos/act@{VERSION}", cwd=Path("/"))
    )
    if found["Sum"] != SUM:
        raise NoActError(f"act {VERSION} has the sum {found['Sum']}, not {SUM}")
    return Path(found["Dir"])


def _correct(source: Path) -> None:
    for folder, _, _ in os.walk(source):
        Path(folder).chmod(0o755)  # the module cache is read-only
    for name, old, new in CORRECTIONS:
        text = (source / name).read_text()
        if text.count(old) != 1:
            raise NoActError(f"act's {name} holds {text.count(old)} times: {old}")
        (source / name).write_text(text.replace(old, new))
    shutil.copyfile(ADDED, source / "pkg/runner/tidegate.go")


def _go(*arguments: str, cwd: Path) -> str:
    if not (go := shutil.which("go")):
        raise NoActError("Go is not installed: `./dev github` brings it")
    done = subprocess.run(
        [go, *arguments], cwd=cwd, check=False, capture_output=True, text=True,
        env={**os.environ, "GOFLAGS": "-mod=mod" if arguments[0] == "mod" else "", "CGO_ENABLED": "0"},
    )  # fmt: skip
    if done.returncode:
        raise NoActError(f"go {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{built()}\n")
    except NoActError as error:
        sys.exit(str(error))
