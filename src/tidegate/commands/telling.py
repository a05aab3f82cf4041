"""Telling GitHub about a verdict: job summary, annotations, the check, the one comment.

All of it is information: whatever fails here is said in the log, and changes no decision.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tidegate.commands.context import BRANCH
from tidegate.core.notices import Comment
from tidegate.errors import OutsideError, TidegateError
from tidegate.render.check import check, identical, rule_annotations
from tidegate.render.comment import comment, job_summary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tidegate.adapters.host.api import Api
    from tidegate.adapters.host.github import GitHubHost
    from tidegate.commands.context import Context
    from tidegate.core.model import VersionRef
    from tidegate.core.notices import Annotation
    from tidegate.perform import Pass
    from tidegate.render.report import Report
    from tidegate.runner import Runner

_PATIENCE = 300.0  # seconds


def api_of(runner: Runner, *, patience: float = _PATIENCE) -> Api:
    """Return GitHub's API, as this job may use it; ``patience``: seconds that one call may wait.

    Raises:
        OutsideError: the job was given no token.
    """
    from tidegate.adapters.host.api import Api

    if runner.token is None:
        raise OutsideError(
            "this job has no token for GitHub", remedy="Give the action's step its github-token."
        )
    return Api(runner.api, runner.token, patience=patience)


def host_of(runner: Runner, *, patience: float = _PATIENCE) -> GitHubHost:
    """Return GitHub as the place where people read; arguments and errors as :func:`api_of`."""
    from tidegate.adapters.host.github import GitHubHost

    api = api_of(runner, patience=patience)
    return GitHubHost(api, runner.repository, default_branch=runner.default_branch)


def announcer_of(context: Context) -> Callable[[Pass], None]:
    """Return what tells GitHub how a rollout stands; away from GitHub it does nothing."""
    from tidegate.announce import Announcer
    from tidegate.commands.report import report_for
    from tidegate.commands.reverting import push_revert

    runner = context.terminal.runner
    if runner is None or runner.token is None:
        return lambda _: None
    name = context.config.model.name
    # A pass waits for a comment less than its canary may go unwatched.
    interval = context.config.release.canary.interval
    announcer = Announcer(
        host_of(runner, patience=min(interval, 60.0)),
        budget=min(interval, 30.0),
        repository=runner.repository,
        server=runner.server,
        model=name,
        environment=f"{name} (live)",
        tell=context.terminal.progress,
        base=runner.default_branch,
        ledger_branch=f"{BRANCH}/{name}",
        propose=lambda case: push_revert(context.repository, case),
        labels=("tidegate",),
    )

    def announce(done: Pass) -> None:
        book, decision = done.book, done.wait.decision

        def report_of(model: VersionRef) -> Report | None:
            report = report_for(context, book, model, decision=decision)
            return replace(report, run_url=runner.run_url) if report is not None else None

        announcer.announce(book, report_of)

    return announce


def tell(context: Context, report: Report, *, config: Path | None = None) -> None:
    """Tell the job, and the pull request or the merged commit, what came out."""
    runner = context.terminal.runner
    if runner is None:
        return
    report = replace(
        report, commit=runner.head, run_url=runner.run_url, report_url=runner.run_url + "#artifacts",
        fork=runner.from_fork,
    )  # fmt: skip
    _try(context, "the job's summary", lambda: runner.summary(job_summary(report)))
    found: tuple[Annotation, ...] = ()
    if config is not None and report.unjudged is None:
        found = rule_annotations(report.verdict, config, config.as_posix())
    for annotation in found:
        runner.annotate(annotation)
    if runner.from_fork:  # its token may only read: the publisher tells, from the artifact
        return
    _try(context, "the check", lambda: host_of(runner).check(check(report, found)))
    _try(context, "the comment", lambda: _comment(runner, report))


def cost(context: Context) -> str | None:
    """Return what the run has cost so far, as GitHub bills it; None where that cannot be seen."""
    from tidegate.adapters.host.reading import GitHubReader

    runner = context.terminal.runner
    if runner is None or runner.token is None:
        return None
    try:
        reader = GitHubReader(api_of(runner), runner.repository)
        minutes = reader.minutes(runner.run, context.config.model.name)
    except TidegateError as error:
        context.terminal.progress(f"what the run has cost is not known: {error}")
        return None
    return None if minutes is None else f"{minutes:,} runner minutes"


def tell_same(context: Context, version: str) -> None:
    """Tell the check that the model is the one that serves; a comment would say nothing."""
    runner = context.terminal.runner
    if runner is None or runner.from_fork:
        return
    name = context.config.model.name
    check_run = identical(name, runner.head, version, runner.run_url)
    _try(context, "the check", lambda: host_of(runner).check(check_run))


def _comment(runner: Runner, report: Report) -> None:
    host = host_of(runner)
    pull = runner.pull if runner.pull is not None else host.pull_of(runner.head)
    if pull is None:
        return
    text = comment(report)
    host.comment(Comment(pull=pull, marker=text.partition("\n")[0], body=text))


def _try(context: Context, what: str, act: Callable[[], object]) -> None:
    try:
        act()
    except TidegateError as error:
        context.terminal.progress(f"{what} could not be written: {error} {error.remedy}")
