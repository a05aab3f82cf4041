"""How the repository on GitHub must be set up: pure, from what the token may see."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from tidegate.doctor.result import Result, bad, good, unseen, warning
from tidegate.pin import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tidegate.adapters.host.reading import Environment, Seen, Settings
    from tidegate.doctor.flow import Call

LOOKS = ("repository", "actions", "ledger branch", "environments", "revert pulls")
TOKEN = "GH_TOKEN=$(gh auth token) tidegate doctor"  # noqa: S105 (a command)
# A rule that the ledger's pushes cannot satisfy, and why.
_BARS = {
    "creation": "nobody may create it",
    "update": "nobody may push to it",
    "pull_request": "it takes pull requests alone",
    "required_status_checks": "a commit needs checks before it is pushed",
    "required_signatures": "commits must be signed",
    "required_deployments": "a commit must be deployed before it is pushed",
    "merge_queue": "it takes merges alone",
    "workflows": "a workflow must pass before it is pushed",
    "code_scanning": "a commit must be scanned before it is pushed",
    "code_quality": "a commit must be scanned before it is pushed",
    "lock_branch": "it is locked",
    "commit_message_pattern": "commit messages must follow a pattern",
    "commit_author_email_pattern": "authors must follow a pattern",
    "committer_email_pattern": "committers must follow a pattern",
    "branch_name_pattern": "branch names must follow a pattern",
}
_OLDER = "(by rulesets; branch protection of the older kind is not shown)"
_KEEPS = {"deletion": "deleted", "non_fast_forward": "rewritten"}
_ADMIN = "An administrator's token shows it: GH_TOKEN=$(gh auth token) tidegate doctor"


def not_looked(reason: str, calls: Sequence[Call]) -> Iterator[Result]:
    """Say of each look that it did not happen."""
    for what in LOOKS:
        yield unseen(what, reason, TOKEN)
    yield _secret_values(calls)


def look(
    settings: Settings,
    ledger_rules: tuple[Seen, ...] | None,
    calls: Sequence[Call],
    default_branch: str,
    *,
    trains: bool = False,
) -> Iterator[Result]:
    """Look at everything that GitHub shows; ``trains``: in a cloud."""
    yield _repository(settings.repository, default_branch)
    yield _actions(settings.actions, settings.selected_actions)
    yield _ledger(ledger_rules)
    yield from _environments(settings.environments, calls, default_branch)
    if trains and settings.environments is not None:
        yield from _training(settings.environments, calls, default_branch)
    yield _reverts(settings.workflow)
    yield _secret_values(calls)


def _repository(repository: Seen | None, default_branch: str) -> Result:
    if repository is None:
        return unseen("repository", "the token may not see the repository", TOKEN)
    if repository.get("archived"):
        return bad("repository", "it is archived: nothing runs", "Unarchive it in Settings.")
    public = not repository.get("private", True)
    found = f"{repository.get('full_name')}, default branch {default_branch}"
    if public:
        return warning(
            "repository",
            f"{found}; public: GitHub stops schedules after 60 days without activity",
            "Any commit or run by hand starts them again. The ledger is public, too.",
        )
    return good("repository", found)


def _actions(actions: Seen | None, selected: Seen | None) -> Result:
    if actions is None:
        return unseen("actions", "which actions may run needs administration: read", _ADMIN)
    if not actions.get("enabled"):
        return bad("actions", "GitHub Actions is switched off", "Switch it on: Settings > Actions.")
    allowed = actions.get("allowed_actions")
    if allowed == "all":
        return good("actions", "every action may run")
    fix = f"Allow in Settings > Actions > General: actions/*, {REPOSITORY}/*"
    if allowed == "local_only":
        return bad("actions", "only this owner's own actions may run", fix)
    if allowed != "selected":
        return unseen("actions", f"a policy that is not known here: {allowed}", fix)
    if selected is None:
        return unseen("actions", "some actions may run; which, the token may not see", _ADMIN)
    patterns = [str(pattern) for pattern in selected.get("patterns_allowed") or []]
    denied = {p[1:].lower() for p in patterns if p.startswith("!")}
    ours = f"{REPOSITORY}/.github/workflows/deliver.yml@x"
    missing = []
    if _matches(ours, denied) or not _matches(ours, {p.lower() for p in patterns}):
        missing.append(f"{REPOSITORY}/*")
    theirs = "actions/checkout@x"
    if _matches(theirs, denied) or not (
        selected.get("github_owned_allowed") or _matches(theirs, {p.lower() for p in patterns})
    ):
        missing.append("actions/*")
    if missing:
        return bad("actions", f"may not run: {', '.join(missing)}", fix)
    return good("actions", "ours and GitHub's own may run")


def _matches(name: str, patterns: set[str]) -> bool:
    return any(
        fnmatchcase(name, pattern) or fnmatchcase(name.rpartition("@")[0], pattern)
        for pattern in patterns
    )


def _ledger(rules: tuple[Seen, ...] | None) -> Result:
    what = "ledger branch"
    if rules is None:
        return unseen(what, "the token may not see the rules for tidegate-ledger/**", TOKEN)
    kinds = [str(rule.get("type")) for rule in rules]
    if bars := [f"{kind} ({_BARS[kind]})" for kind in kinds if kind in _BARS]:
        return bad(
            what,
            f"rules forbid writing the ledger: {', '.join(bars)}",
            "Exclude refs/heads/tidegate-ledger/** from that ruleset, or let GitHub Actions bypass it.",
        )
    if open_to := [done for kind, done in _KEEPS.items() if kind not in kinds]:
        return warning(
            what,
            f"it may be {' and '.join(open_to)} by anybody who may push",
            f"Import the ruleset that `tidegate init` prints: Settings > Rules > Rulesets {_OLDER}",
        )
    return good(what, f"may be appended to; not rewritten, not deleted {_OLDER}")


def _environments(
    environments: tuple[Environment, ...] | None, calls: Sequence[Call], default_branch: str
) -> Iterator[Result]:
    if environments is None:
        yield unseen("environments", "the token may not see the environments", TOKEN)
        return
    known = {environment.name.lower(): environment for environment in environments}
    operating = [call for call in calls if call.file in ("deliver.yml", "watch.yml", "command.yml")]
    for key, default, check in (
        ("environment", "production", _start),
        ("operate-environment", "production-operate", _operate),
    ):
        for name in sorted({call.inputs.get(key) or default for call in operating}):
            found = known.get(name.lower())
            if found is None:
                yield _absent(name, needs_limit=check is _operate)
            else:
                yield check(found, default_branch)


def _absent(name: str, *, needs_limit: bool) -> Result:
    what = f"environment {name}"
    if needs_limit:
        return bad(
            what,
            "is not there: GitHub would make it at the first run, open to every branch",
            "Make it in Settings > Environments, for the default branch alone, without reviewers.",
        )
    return warning(
        what,
        "is not there: GitHub makes it at the first run, without reviewers",
        "Make it in Settings > Environments; reviewers there approve the start of a rollout.",
    )


def _start(environment: Environment, _default_branch: str) -> Result:
    who = "reviewers approve each start" if environment.reviewers else "a start waits for nobody"
    return good(f"environment {environment.name}", who)


def _operate(environment: Environment, default_branch: str) -> Result:
    what = f"environment {environment.name}"
    waits = [
        *(["reviewers"] if environment.reviewers else []),
        *([f"a timer of {environment.wait_minutes} min"] if environment.wait_minutes else []),
        *environment.other_rules,
    ]
    if waits:
        return bad(
            what,
            f"waits for {', '.join(waits)}: a revert at 3 a.m. would wait, too",
            "Take them away. What people approve is the start of a rollout: the other environment.",
        )
    if environment.branches == (default_branch,):
        return good(what, f"{default_branch} alone, and it waits for nobody")
    fix = (
        f"Settings > Environments > {environment.name}: selected branches, {default_branch} alone."
    )
    if environment.branches is None:
        which = "protected branches" if environment.protected_branches else "every branch"
    else:
        which = ", ".join(environment.branches) or "no branch"
    return bad(what, f"open to {which}: whoever may push there may move traffic", fix)


def _training(
    environments: tuple[Environment, ...], calls: Sequence[Call], default_branch: str
) -> Iterator[Result]:
    """The environments from which training in a cloud is let in."""
    known = {environment.name.lower(): environment for environment in environments}
    using = [call for call in calls if call.file in ("check.yml", "deliver.yml")]
    for name in sorted({call.inputs.get("train-environment") or "training" for call in using}):
        found = known.get(name.lower())
        what = f"environment {name}"
        if found is None:
            yield warning(
                what,
                "is not there: GitHub makes it at the first run, and nobody is asked before a training",
                "Make it in Settings > Environments; reviewers there approve each training in the cloud.",
            )
            continue
        wanted = {"check.yml": "refs/pull/7/merge", "deliver.yml": default_branch}
        refs = {wanted[call.file] for call in using if _trains_in(call, name)}
        if shut := sorted(ref for ref in refs if not _admits(found, ref, default_branch)):
            yield bad(
                what,
                f"lets no job of {', '.join(shut)} in: nothing trains there",
                f"Settings > Environments > {name}: let {default_branch} and refs/pull/*/merge in.",
            )
        else:
            who = "reviewers approve each training" if found.reviewers else "nobody is asked"
            yield good(what, f"pull requests train in the cloud; {who}")


def _trains_in(call: Call, name: str) -> bool:
    return (call.inputs.get("train-environment") or "training").lower() == name.lower()


def _admits(environment: Environment, ref: str, default_branch: str) -> bool:
    """Whether an environment's branch policy lets a ref in; protected ones are taken to have the default."""
    if environment.branches is not None:
        return any(fnmatchcase(ref, pattern) for pattern in environment.branches)
    return not environment.protected_branches or ref == default_branch


def _reverts(workflow: Seen | None) -> Result:
    what = "revert pulls"
    if workflow is None:
        return unseen(
            what, "whether Actions may open pull requests needs administration: read", _ADMIN
        )
    if workflow.get("can_approve_pull_request_reviews"):
        return good(what, "after an automatic revert a pull request takes the change back")
    return warning(
        what,
        "Actions may not open pull requests: the issue after a revert has a prefilled link instead",
        "Settings > Actions > General > Allow GitHub Actions to create and approve pull requests.",
    )


def _secret_values(calls: Sequence[Call]) -> Result:
    named = sorted({secret for call in calls for secret in call.secrets})
    if not named:
        return good("secret values", "none needed")
    return unseen(
        "secret values",
        f"GitHub tells nobody whether these hold something: {', '.join(named)}",
        "`gh secret list` shows the names; a job that needs one says so when it is empty.",
    )
