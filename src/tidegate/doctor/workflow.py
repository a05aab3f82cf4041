"""What the user's workflow must say for a run to work: pure, from the files alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.doctor import roles
from tidegate.doctor.flow import Call, Flow, hosted
from tidegate.doctor.result import Result, bad, good, unseen, warning
from tidegate.pin import FULL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tidegate.core.config import Config

_OPERATES = {
    "actions": "write",
    "contents": "write",
    "deployments": "write",
    "id-token": "write",
    "issues": "write",
    "pull-requests": "write",
}
# What each of our workflows asks for. GitHub refuses the whole run at its start where a caller
# grants less, whatever the job's `if:` says.
NEEDED: Mapping[str, Mapping[str, str]] = {
    "check.yml": {
        "actions": "read",
        "checks": "write",
        "contents": "write",
        "id-token": "write",
        "pull-requests": "write",
    },
    "deliver.yml": {**_OPERATES, "checks": "write"},
    "watch.yml": _OPERATES,
    "command.yml": _OPERATES,
    "publish.yml": {
        "actions": "read",
        "checks": "write",
        "contents": "write",
        "pull-requests": "write",
    },
}
_CLOUD = frozenset({"aws-role", "aws-region", "gcp-provider", "gcp-service-account"})
_OPERATING_INPUTS = _CLOUD | {"runner", "operate-runner", "operate-environment", "workflow", "home"}
_TRAINING_INPUTS = _CLOUD | {
    "runner", "train-runner", "score-runner", "train-environment", "requirements", "ignore",
}  # fmt: skip
# What each may be given. GitHub refuses the run at its start for any other name.
INPUTS: Mapping[str, frozenset[str]] = {
    "check.yml": _TRAINING_INPUTS | {"allow-inconclusive"},
    "deliver.yml": _TRAINING_INPUTS | _OPERATING_INPUTS | {"environment"},
    "watch.yml": _OPERATING_INPUTS | {"model"},
    "command.yml": _OPERATING_INPUTS | {"command", "model", "version", "reason"},
    "publish.yml": frozenset({"runner"}),
}
SECRETS = frozenset({"registry-username", "registry-password", "registry-token", "signing-key"})
_OPERATING = ("deliver.yml", "watch.yml", "command.yml")
_RANK = {"none": 0, "read": 1, "write": 2}
_FIX = "Delete that file and run `tidegate init`: it writes it anew; or see docs/github.md."
_WITHOUT = {
    "deliver.yml": "a push trains and releases nothing",
    "watch.yml": "nobody looks after a rollout whose runner died, and no probation ends",
    "check.yml": "pull requests are not judged",
    "command.yml": "promote and revert only work from a terminal",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What the files are judged by."""

    config: Config
    default_branch: str
    sure: bool  # of the default branch
    slug: str = "OWNER/NAME"

    @property
    def local(self) -> bool:
        """Whether the endpoint is a process on the runner's machine."""
        return self.config.release.target == "local"


def look(flows: Sequence[Flow], setting: Setting) -> Iterator[Result]:
    """Look at everything that the files alone tell."""
    calls = [call for flow in flows for call in flow.calls]
    yield _present(calls)
    if not calls:
        return
    yield _permissions(calls)
    yield _inputs(calls)
    yield _pins(calls)
    yield _schedule(flows)
    yield _branch(flows, setting)
    yield _runners(calls, setting)
    yield _secrets(calls, setting)
    yield from roles.look(calls, setting.config, setting.slug)
    yield from _forks(flows)


def _present(calls: Sequence[Call]) -> Result:
    called = {call.file for call in calls}
    missing = [file for file in _WITHOUT if file not in called]
    why = "; ".join(f"no {file}: {_WITHOUT[file]}" for file in missing)
    if not calls:
        return bad("workflow", "no workflow calls Tidegate", "Run `tidegate init`: it writes one.")
    if {"deliver.yml", "watch.yml"} & set(missing):
        return bad("workflow", why, _FIX)
    if missing:
        return warning("workflow", why, _FIX)
    return good("workflow", ", ".join(sorted({call.where.split(":")[0] for call in calls})))


def _permissions(calls: Sequence[Call]) -> Result:
    short, much = [], []
    for call in calls:
        needed = NEEDED.get(call.file)
        if needed is None:
            short.append(f"{call.where}: {call.file} is none of ours")
            continue
        if call.permissions is None and call.everything is None:
            short.append(f"{call.where}: says no permissions, so the repository's setting decides")
            continue
        less = [f"{s}: {p}" for s, p in needed.items() if _RANK.get(call.grants(s), 0) < _RANK[p]]
        if less:
            short.append(f"{call.where}: grants too little, needs {', '.join(less)}")
        more = [s for s, p in (call.permissions or {}).items() if _RANK.get(p, 0) > _RANK[needed.get(s, "none")]]  # fmt: skip
        if more or call.everything:
            much.append(f"{call.where}: grants more than is asked for: {call.everything or ', '.join(more)}")  # fmt: skip
    if short:
        return bad("permissions", "; ".join(short), _FIX)
    if much:
        return warning("permissions", "; ".join(much), "Take them away: nothing uses them.")
    return good("permissions", "each job grants what is asked for, and no more")


def _inputs(calls: Sequence[Call]) -> Result:
    strange = [
        f"{call.where}: {name}"
        for call in calls
        if call.file in INPUTS
        for name in sorted(set(call.inputs) - INPUTS[call.file])
    ]
    if strange:
        return bad(
            "inputs",
            f"unknown: {', '.join(strange)}: the run would not start",
            "docs/github.md lists the inputs of each workflow.",
        )
    return good("inputs", "each is known")


def _pins(calls: Sequence[Call]) -> Result:
    loose = sorted({f"{call.where}: @{call.pin}" for call in calls if not FULL.fullmatch(call.pin)})
    if loose:
        return bad(
            "pins",
            f"not a full commit: {'; '.join(loose)}",
            "A tag or a branch can be moved to other code. Pin by commit; Dependabot keeps it fresh.",
        )
    pins = {call.pin for call in calls}
    if len(pins) > 1:
        return warning(
            "pins",
            f"{len(pins)} different commits of Tidegate are called",
            "Move all of them together: two versions then never share a ledger.",
        )
    return good("pins", f"by commit {next(iter(pins))[:12]}")


def _schedule(flows: Sequence[Flow]) -> Result:
    if any(
        "schedule" in flow.events and any(call.file == "watch.yml" for call in flow.calls)
        for flow in flows
    ):
        return good("schedule", "sweeps up what a dead runner left")
    return bad(
        "schedule",
        "no schedule starts the watch: a rollout whose runner died stays as it is",
        'Add under on:  schedule: [{cron: "23 * * * *"}]',
    )


def _branch(flows: Sequence[Flow], setting: Setting) -> Result:
    name = setting.default_branch
    for flow in flows:
        if not any(call.file == "deliver.yml" for call in flow.calls):
            continue
        branches = flow.branches()
        if "push" not in flow.events:
            return bad("branch", f"{flow.path} does not start on a push", _FIX)
        if branches is None:
            return bad(
                "branch",
                f"{flow.path} delivers from every branch",
                f"Write under on:  push: {{branches: [{name}]}}",
            )
        if branches == [name]:
            return good("branch", f"pushes to {name} deliver")
        found = f"pushes to {', '.join(branches)} deliver; the default branch is {name}"
        remedy = f"Write under on:  push: {{branches: [{name}]}}"
        if setting.sure:
            return bad("branch", found, remedy)
        return warning("branch", f"{found}, as far as this clone knows", remedy)
    return bad("branch", "no workflow delivers", _FIX)


def _runners(calls: Sequence[Call], setting: Setting) -> Result:
    """A hosted machine dies with its job: nothing that must stay may be on it."""
    registry = setting.config.registry
    keeps = registry.uri is not None or registry.store is not None
    doubts = []
    for call in calls:
        if call.file not in _OPERATING:
            continue
        # Of watch and command only the operating job needs what stays.
        names = ("runner", "operate-runner") if call.file == "deliver.yml" else ("operate-runner",)
        for name in names:
            labels = call.runner(name)
            dies = hosted(labels)
            if dies is None:
                doubts.append(f"{call.where}: {name} is only known when it runs")
            elif dies and not keeps:
                return bad(
                    "runners",
                    f"{call.where}: {labels} dies with the job, and the embedded registry with it",
                    "Set registry.store: github-releases (or registry.uri) in mlops.yaml.",
                )
            elif dies and setting.local and name == "operate-runner":
                return bad(
                    "runners",
                    f"{call.where}: release.target is local, and {labels} dies with the job",
                    'Give the job a box that stays:  with: {operate-runner: "self-hosted"}',
                )
    if doubts:
        return unseen("runners", "; ".join(doubts), "Make sure that these machines stay.")
    return good("runners", "what must stay has a place that stays")


def _secrets(calls: Sequence[Call], setting: Setting) -> Result:
    if inheriting := [call.where for call in calls if call.inherits]:
        return bad(
            "secrets",
            f"{', '.join(inheriting)}: secrets: inherit hands over every secret there is",
            f"Name those that are needed; known are {', '.join(sorted(SECRETS))}.",
        )
    named = frozenset().union(*(call.secrets for call in calls))
    if strangers := sorted(named - SECRETS):
        return bad(
            "secrets",
            f"not asked for by any workflow of ours: {', '.join(strangers)}",
            f"Known are {', '.join(sorted(SECRETS))}.",
        )
    signs = any("signing-key" in call.secrets for call in calls if call.file == "deliver.yml")
    if setting.config.registry.public_key is not None and not signs:
        return bad(
            "secrets",
            "registry.public_key asks for signed models, and deliver is not given signing-key",
            'Add to the deliver job:  secrets: {signing-key: "${{ secrets.TIDEGATE_SIGNING_KEY }}"}',
        )
    return good("secrets", ", ".join(sorted(named)) or "none needed")


def _forks(flows: Sequence[Flow]) -> Iterator[Result]:
    """The publisher starts by the other workflow's name: a renamed one never starts it."""
    names = {flow.name for flow in flows if any(call.file == "check.yml" for call in flow.calls)}
    for flow in flows:
        if not any(call.file == "publish.yml" for call in flow.calls):
            continue
        started = flow.events.get("workflow_run")
        listed = started.get("workflows") if isinstance(started, dict) else None
        follows = set(map(str, listed)) if isinstance(listed, list) else set()
        if follows & names:
            yield good("forks", f"{flow.path} publishes verdicts on pull requests from forks")
        else:
            yield bad(
                "forks",
                f"{flow.path} waits for {', '.join(sorted(follows)) or 'nothing'}; "
                f"the workflow that checks is named {', '.join(sorted(names)) or '(none)'}",
                "Write that name under on: workflow_run: workflows:",
            )
