"""``tidegate publish``: publish the verdict on a fork's pull request, from its run's artifact.

The run was a stranger's: its artifact is a claim. Which pull request it is about is asked of GitHub,
by repository and commit; the rules are the base's; what is shown are numbers, and names that those
rules have. Nothing is checked out.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate import verdicts
from tidegate.adapters.host.reading import GitHubReader
from tidegate.archives import unpack_zip
from tidegate.book import Ledger
from tidegate.commands.context import BRANCH, add_json
from tidegate.commands.judging import unseen
from tidegate.commands.recording import record
from tidegate.commands.telling import api_of, host_of
from tidegate.core.anonymous import strangers
from tidegate.core.events import Looked
from tidegate.core.notices import Comment
from tidegate.digests import file_digest
from tidegate.errors import ConfigError, Exit, OutsideError, RefusedError, TidegateError
from tidegate.git import text
from tidegate.home import VERDICT
from tidegate.load import loads
from tidegate.render.check import check
from tidegate.render.comment import comment
from tidegate.render.report import Report

if TYPE_CHECKING:
    import argparse

    from tidegate.adapters.host.reading import Artifact, OpenPull
    from tidegate.core.config import Config
    from tidegate.core.model import Verdict
    from tidegate.runner import Runner
    from tidegate.terminal import Terminal

SUMMARY = "publish a fork's verdict, from its artifact, with nothing of it believed"

_MOST_ZIPPED = 64 * 1024
_MOST_BYTES = 256 * 1024
_FILES = 1
_MOST_MODELS = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """The stranger's run, as GitHub (not the run) describes it."""

    id: int
    sha: str
    owner: str
    branch: str
    repository_id: int
    url: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_json(parser)
    parser.add_argument("--run", type=int, required=True, help="the run whose result is published")


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Publish what one run of a fork's pull request came to.

    Raises:
        RefusedError: an artifact that is not what our own job would have written; nothing of it is
            shown.
    """
    runner = terminal.runner
    if runner is None:
        raise ConfigError("publish runs in a workflow", remedy="See `tidegate init --forks`.")
    stranger = _stranger(runner, args.run)
    if stranger is None:
        return _nothing(terminal, "the run is not about a fork's pull request")
    reader = GitHubReader(api_of(runner), runner.repository)
    pull = reader.open_pull(
        head_repository_id=stranger.repository_id,
        owner=stranger.owner,
        branch=stranger.branch,
        sha=stranger.sha,
    )
    if pull is None:
        return _nothing(terminal, "no open pull request has that commit as its newest")
    published, refused = [], []
    failed: OutsideError | None = None
    for name, config in _models(reader, pull).items():
        found = reader.artifact(f"tidegate-result-{name}", stranger.id)
        if found is None:
            continue
        try:
            if found.size > _MOST_ZIPPED:
                raise RefusedError(f"the artifact has {found.size:,} bytes; ours never has so many")
            verdict = _read(reader, found, config)
        except TidegateError as error:
            refused.append(name)
            terminal.progress(f"{name}: refused: {error}")
            continue
        try:
            _publish(runner, stranger, pull, config, verdict)
        except OutsideError as error:  # the others are told nevertheless
            failed = error
            terminal.progress(f"{name}: could not be told: {error}")
        else:
            published.append(name)
    terminal.emit({"published": published, "refused": refused, "pull": pull.number})
    terminal.say(f"published: {', '.join(published) or 'nothing'}")
    if refused:
        raise RefusedError(
            f"refused: {', '.join(refused)}", remedy="Look at what that pull request's code does."
        )
    if failed is not None:
        raise failed
    return Exit.OK


def _nothing(terminal: Terminal, why: str) -> Exit:
    terminal.emit({"published": [], "refused": [], "why": why})
    terminal.say(f"nothing to publish: {why}")
    return Exit.OK


def _stranger(runner: Runner, run_id: int) -> _Run | None:
    """Return the run of the event, if a fork's pull request started it."""
    try:
        event = runner.event["workflow_run"]
        repository = runner.event["repository"]
        head = event["head_repository"]
        known = _Run(
            id=int(event["id"]),
            sha=str(event["head_sha"]),
            owner=str(head["owner"]["login"]),
            branch=str(event["head_branch"]),
            repository_id=int(head["id"]),
            url=f"{runner.server}/{runner.repository}/actions/runs/{int(event['id'])}",
        )
        own = int(repository["id"])
    except (KeyError, TypeError, ValueError) as error:
        raise OutsideError(f"the event describes no run: {error}") from None
    if known.id != run_id or event["event"] != "pull_request" or known.repository_id == own:
        return None
    return known


def _models(reader: GitHubReader, pull: OpenPull) -> dict[str, Config]:
    """Return the models of the base, by name; a file that does not load there has no rules."""
    names = [
        n for n in reader.tree(pull.base_sha) if n == "mlops.yaml" or n.endswith("/mlops.yaml")
    ]
    models: dict[str, Config] = {}
    for name in names[:_MOST_MODELS]:
        content = reader.file(name, pull.base_sha).decode(errors="replace")
        try:
            config = loads(name, content).config
        except ConfigError:
            continue
        models[config.model.name] = config
    return models


def _read(reader: GitHubReader, artifact: Artifact, config: Config) -> Verdict:
    with tempfile.TemporaryDirectory(prefix="tidegate-result-") as temporary:
        folder = Path(temporary)
        reader.download_artifact(artifact.id, folder / "result.zip", at_most=_MOST_ZIPPED)
        if f"sha256:{file_digest(folder / 'result.zip')}" != artifact.digest:
            raise RefusedError("the artifact's bytes are not those that its run uploaded")
        unpack_zip(
            folder / "result.zip", folder / "result", most_bytes=_MOST_BYTES, most_files=_FILES
        )
        verdict, notes = verdicts.read(folder / "result" / VERDICT)
    if notes or (wrong := next(strangers(verdict, config), None)):
        raise RefusedError(f"the artifact holds {'notes' if notes else wrong}")
    return verdict


def _publish(
    runner: Runner, stranger: _Run, pull: OpenPull, config: Config, verdict: Verdict
) -> None:
    """Tell the pull request, then count the look: a verdict that nobody saw costs nothing."""
    report = Report(
        model=config.model.name,
        verdict=verdict,
        commit=stranger.sha,
        run_url=stranger.url,
        fork=True,
    )
    host = host_of(runner)
    host.check(check(report))
    body = comment(report)
    host.comment(Comment(pull=pull.number, marker=body.partition("\n")[0], body=body))
    digests = verdict.digests
    if digests.candidate is None or digests.holdout is None or digests.rules is None:
        return
    look = Looked(
        outcome=str(verdict.outcome),
        candidate=digests.candidate,
        holdout=digests.holdout,
        rules=digests.rules,
        commit=stranger.sha,
        pull=pull.number,
    )
    with tempfile.TemporaryDirectory(prefix="tidegate-ledger-") as temporary:
        record(
            _ledger(runner, config, Path(temporary)), lambda b: unseen(b, look), actor="tidegate"
        )


def _ledger(runner: Runner, config: Config, folder: Path) -> Ledger:
    """Return the model's ledger without a checkout: an empty repository that knows the remote."""
    from tidegate.adapters.ledger.git import GitLedger
    from tidegate.render.ledger import page

    text(folder, "init", "--quiet", "--bare", str(folder / "ledger.git"))
    name = config.model.name
    remote = f"{runner.server}/{runner.repository}.git"
    store = GitLedger(folder / "ledger.git", f"{BRANCH}/{name}", remote=remote)
    return Ledger(store, lambda state, chain: page(name, state, chain))
