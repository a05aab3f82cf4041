"""``tidegate doctor``: find what would fail in the first hour, and say how to fix it."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING

from tidegate import detect
from tidegate.commands.context import Context, add_config, add_json
from tidegate.core.clouds import Where
from tidegate.doctor import settings, workflow
from tidegate.doctor.flow import Flow, flows
from tidegate.doctor.machine import TOKENS, configuration, machine
from tidegate.doctor.result import Result, State, bad, guarded, lines, warning
from tidegate.errors import ConfigError, Exit, TidegateError
from tidegate.grants import Cloud
from tidegate.runner import Runner

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from tidegate.adapters.host.reading import GitHubReader
    from tidegate.detect import Guess
    from tidegate.terminal import Terminal

_ELSEWHERE = ("endpoint", "cloud packages")
SUMMARY = "find what would fail in the first hour, and say how to fix it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_config(parser)
    add_json(parser)
    parser.add_argument(
        "--policy",
        choices=[str(cloud) for cloud in Cloud],
        help="print the trust and permission policies of the cloud roles instead",
    )
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="with --policy: account, region, bucket, ...; what is missing is named",
    )


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Look at everything a first run needs, or print the cloud policies."""
    if args.policy:
        return _policy(args, terminal)
    results = [guarded("mlops.yaml", lambda: configuration(args.config))]
    if results[0].ok:
        results += _world(Context.of(args, terminal))
    terminal.emit(
        {
            "ok": all(result.ok for result in results),
            "checks": [{**asdict(result), "ok": result.ok} for result in results],
        }
    )
    for line in lines(results):
        terminal.say(line)
    if not results[0].ok:
        return Exit.USAGE
    states = {result.state for result in results}
    if State.FAILED in states:
        return Exit.OUTSIDE
    return Exit.INCONCLUSIVE if State.UNSEEN in states else Exit.OK


def _world(context: Context) -> Iterator[Result]:
    """Look at this machine and, where a workflow of ours or GitHub is there, at those."""
    found: list[Flow] = []
    on_github = _expects_github(context)
    trouble: Result | None = None
    try:
        found = flows(context.repository)
    except TidegateError as error:
        trouble = bad("workflow", str(error), error.remedy)
    for result in machine(context):
        if result.what in _ELSEWHERE and result.state is State.FAILED and found:
            # Where GitHub runs it, the endpoint is on another machine than this one, and the
            # jobs bring their own packages.
            yield warning(result.what, f"on this machine: {result.found}", result.remedy)
        else:
            yield result
    if trouble:
        yield trouble
    elif found or on_github:
        yield from _github(context, found)


def _expects_github(context: Context) -> bool:
    origin = detect.origin(context.repository)
    return origin is not None and origin.github


def _github(context: Context, found: list[Flow]) -> Iterator[Result]:
    branch = detect.default_branch(context.repository)
    reader, why_not = _reader(context)
    seen, rules = None, None
    if reader is not None:
        try:
            seen = reader.settings()
            rules = reader.branch_rules(f"tidegate-ledger/{context.config.model.name}")
        except TidegateError as error:
            seen, why_not = None, str(error)
    if seen is not None and seen.repository is not None:
        branch = _told(branch, seen.repository)
    setting = workflow.Setting(config=context.config, default_branch=branch.value, sure=branch.sure)
    yield from workflow.look(found, setting)
    calls = [call for flow in found for call in flow.calls]
    if seen is None:
        yield from settings.not_looked(why_not, calls)
    else:
        trains = context.config.train.compute is not Where.RUNNER
        yield from settings.look(seen, rules, calls, branch.value, trains=trains)


def _told(guess: Guess, repository: Mapping[str, object]) -> Guess:
    name = repository.get("default_branch")
    return type(guess)(value=name, why="GitHub says so") if isinstance(name, str) else guess


def _reader(context: Context) -> tuple[GitHubReader | None, str]:
    """Return what reads the repository's settings, or why nothing does."""
    from tidegate.adapters.host.api import Api
    from tidegate.adapters.host.reading import GitHubReader

    runner = Runner.find()
    origin = detect.origin(context.repository)
    slug = runner.repository if runner else origin.slug if origin else None
    if slug is None:
        return None, "no remote origin: nobody knows where on GitHub this is"
    token = next((found for name in TOKENS if (found := os.environ.get(name))), None)
    if token is None:
        return None, "without a token GitHub does not show it"
    return GitHubReader(Api(_address(origin, runner), token), slug), ""


def _address(origin: detect.Origin | None, runner: Runner | None) -> str:
    """Return the API's address: GitHub's own, a data residence's, or an enterprise server's."""
    if given := os.environ.get("GITHUB_API_URL"):
        return given
    if runner or origin is None or origin.github:
        return "https://api.github.com"
    if origin.host.endswith(".ghe.com"):
        return f"https://api.{origin.host}"
    return f"https://{origin.host}/api/v3"


# --- the cloud policies ---------------------------------------------------------------------


def _policy(args: argparse.Namespace, terminal: Terminal) -> Exit:
    from tidegate.doctor.caller import caller, known
    from tidegate.render.policy import commands, document

    context = Context.of(args, terminal)
    cloud = Cloud(args.policy)
    reader, _ = _reader(context)
    found = flows(context.repository)
    origin = detect.origin(context.repository)
    if origin is None:
        raise ConfigError(
            "no remote origin: a policy must name a repository",
            remedy="git remote add origin https://github.com/OWNER/NAME",
        )
    filled = known(cloud, context, found, reader, _pairs(args.set))
    who = caller(context.repository, origin.slug, found)
    terminal.emit(document(cloud, who, filled))
    for line in commands(cloud, who, filled):
        terminal.say(line)
    return Exit.OK


def _pairs(given: list[str]) -> dict[str, str]:
    split = [text.partition("=") for text in given]
    if wrong := [key for key, equals, _ in split if not equals]:
        raise ConfigError(f"--set {wrong[0]}: expected KEY=VALUE")
    return {key: value for key, _, value in split}
