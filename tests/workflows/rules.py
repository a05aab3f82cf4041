"""Our own rules about one document at a time. Each returns what is wrong with it, in words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from tests.workflows import expressions
from tests.workflows.documents import OURS, Document, Project, mappings

Findings: TypeAlias = Iterator[str]

# What others publish and we may call: commit, version, inputs (and whether required), outputs.
ACTIONS: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "actions.json").read_text(encoding="utf-8")
)
USER_CODE = re.compile(r"(train|score|measure)")
RUNNING = {"train", "score", "measure", "run"}
REFUSING = {"decide", "train"}
PIN = re.compile(rf"{OURS}(/[\w./-]+)?@[0-9a-f]{{40}} # v\d+\.\d+\.\d+(\s|$)")


def of_user(job: str, body: dict[str, Any]) -> bool:
    """Whether a job of ours runs the user's code: by its name, or by what it has the engine do.

    Where TIDEGATE_JOB names a job that holds a role, the engine refuses to (``process.started``).
    """
    steps = body.get("steps") or []
    asked = [((step.get("with") or {}).get("command"), step) for step in steps]
    refusing = [(step.get("env") or {}).get("TIDEGATE_JOB") in REFUSING for step in steps]
    runs = any(
        command in RUNNING and not refused
        for (command, _), refused in zip(asked, refusing, strict=True)
    )
    ours = any(refusing) and not any("run" in step for step in steps)
    return bool(steps) and bool(runs or (USER_CODE.search(job) and not ours))


def granted(body: dict[str, Any]) -> dict[str, str]:
    permissions = body.get("permissions")
    return permissions if isinstance(permissions, dict) else {}


def no_privileged_trigger(document: Document, _: Project) -> Findings:
    """L1: no event that lends a stranger the base repository's trust."""
    for event in ("pull_request_target", "issue_comment"):
        if event in document.events:
            yield f"is triggered by {event}"


def workflow_run_reads_only(document: Document, project: Project) -> Findings:
    """L2: what follows a stranger's run checks nothing out, runs no text of it, ends in minutes."""
    if "workflow_run" not in document.events:
        return
    seen = [document]
    for reached in seen:
        for job, body in reached.jobs.items():
            if (callee := project.callee(body.get("uses", ""))) and callee not in seen:
                seen.append(callee)
            if "steps" in body and not 0 < int(body.get("timeout-minutes", 0)) <= 5:
                yield f"{reached.name}: {job}: more than five minutes"
        for job, step in reached.steps:
            if step.get("uses", "").startswith("actions/checkout@"):
                yield f"{reached.name}: {job}: checks out"
            if "run" in step and any(
                access[0] in {"event", "head_ref"} for access in expressions.names(step, "github")
            ):
                yield f"{reached.name}: {job}: runs with the event's text"


def identity_is_guarded(document: Document, project: Project) -> Findings:
    """L3: an identity token only in an environment, beside nothing but listed actions."""
    for job, body in document.jobs.items():
        if granted(body).get("id-token") != "write" or "steps" not in body:
            continue
        if "environment" not in body:
            yield f"{job}: id-token without an environment"
        for step in body["steps"]:
            uses = step.get("uses")
            if uses and project.own(uses) is None and uses.partition("@")[0] not in ACTIONS:
                yield f"{job}: id-token beside {uses}"


def user_code_holds_nothing(document: Document, _: Project) -> Findings:
    """L4: beside user code at most `contents: read`; a token only for the data role's place."""
    for job, body in document.jobs.items():
        if not of_user(job, body):
            continue
        for scope, level in granted(body).items():
            data_role = scope == "id-token" and "data" in json.dumps(body.get("environment", ""))
            if (scope, level) != ("contents", "read") and not data_role:
                yield f"{job}: user code holds {scope}: {level}"
        used = {parts[:1] for parts in expressions.names(body, "github")}
        if ("token",) in used or any(True for _ in expressions.names(body, "secrets")):
            yield f"{job}: a token or secret is handed to user code"


def every_job_ends(document: Document, _: Project) -> Findings:
    """L5: every job has a deadline."""
    for job, body in document.jobs.items():
        if "steps" in body and not str(body.get("timeout-minutes", "")).strip():
            yield f"{job}: no timeout-minutes"


def queues_lose_nothing(document: Document, _: Project) -> Findings:
    """L6: a group that does not cancel keeps all who wait, and says both."""
    for where, body in (("workflow", document.data), *document.jobs.items()):
        group = body.get("concurrency")
        if group is None:
            continue
        if not isinstance(group, dict):
            yield f"{where}: concurrency without cancel-in-progress"
            continue
        cancels, queue = group.get("cancel-in-progress"), group.get("queue")
        if (cancels == "false") != (queue == "max"):
            yield f"{where}: queue is {queue}, cancel-in-progress is {cancels}"


def no_cache(document: Document, _: Project) -> Findings:
    """L7: nothing restores what another run wrote."""
    for job, step in document.steps:
        given = step.get("with") or {}
        if step.get("uses", "").startswith("actions/cache") or any(
            "cache" in key and value not in {"false", ""} for key, value in given.items()
        ):
            yield f"{job}: uses a cache"


def own_references(document: Document, _: Project) -> Findings:
    """L8: inside our repository `$/`; `./` nowhere; elsewhere our pinned name."""
    for line, uses in document.scalars("uses"):
        if uses.startswith("./"):
            yield f"line {line + 1}: {uses} names whatever is checked out"
        elif uses.startswith("$/") and document.for_users:
            yield f"line {line + 1}: {uses} names the user's own repository"
        elif uses.startswith(f"{OURS}/") and not document.for_users:
            yield f"line {line + 1}: {uses} is not this commit's"


def secrets_are_named(document: Document, _: Project) -> Findings:
    """L9: no `secrets: inherit`; declared ones are optional."""
    for job, body in document.jobs.items():
        if body.get("secrets") == "inherit":
            yield f"{job}: inherits all secrets"
    call = document.events.get("workflow_call") or {}
    for name, secret in (call.get("secrets") or {}).items():
        if (secret or {}).get("required") != "false":
            yield f"secret {name} is not `required: false`"


def permissions_are_explained(document: Document, _: Project) -> Findings:
    """L10: nothing by default; every permission's reason in the comment on its line."""
    if document.kind != "workflow":
        return
    if document.data.get("permissions") != {}:
        yield "no `permissions: {}` at the top"
    for job, body in document.jobs.items():
        if not isinstance(body.get("permissions"), dict):
            yield f"{job}: no permissions of its own"
    for node in mappings(document):
        for key, value in node.value:
            if key.value == "permissions" and isinstance(value, yaml.MappingNode):
                yield from _unexplained(document, value)


def _unexplained(document: Document, permissions: yaml.MappingNode) -> Findings:
    lines = [scope.start_mark.line for scope, _ in permissions.value]
    for line in sorted(set(lines)):
        reasons = [r for r in document.lines[line].partition("#")[2].split(";") if r.strip()]
        if len(reasons) < lines.count(line):
            yield f"line {line + 1}: {lines.count(line)} permissions, {len(reasons)} reasons"


def defaults_are_strings(document: Document, _: Project) -> Findings:
    """L11: an action's inputs arrive as text, so their defaults are written as text."""
    if document.kind != "action":
        return
    for node in mappings(document):
        for key, value in node.value:
            if key.value == "default" and value.tag != "tag:yaml.org,2002:str":
                yield f"line {value.start_mark.line + 1}: default {value.value} is not a string"


def users_get_a_release(document: Document, _: Project) -> Findings:
    """L12: what users copy names a release of ours by commit, with its version."""
    if not document.for_users:
        return
    for line, uses in document.scalars("uses"):
        if uses.startswith(OURS) and not PIN.search(document.lines[line]):
            yield f"line {line + 1}: {uses} is no commit with its version"


def others_are_listed(document: Document, project: Project) -> Findings:
    """Every action of others is on the list, at the listed commit, with its version beside it."""
    for line, uses in document.scalars("uses"):
        if project.own(uses) is not None:
            continue
        name, _, commit = uses.partition("@")
        known = ACTIONS.get(name)
        if known is None:
            yield f"line {line + 1}: {name} is not on the list"
        elif (
            commit != known["commit"] or f"{uses} # {known['version']}" not in document.lines[line]
        ):
            yield f"line {line + 1}: not `{name}@{known['commit']} # {known['version']}`"


def nothing_interpolated(document: Document, _: Project) -> Findings:
    """No `${{` in any script: text reaches the shell through the environment."""
    for job, step in document.steps:
        if "${{" in step.get("run", ""):
            yield f"{job}: interpolates into a script"
        if "run" in step and step.get("shell", "bash") != "bash":
            yield f"{job}: shell {step['shell']}"


def checkouts_keep_no_token(document: Document, _: Project) -> Findings:
    """No checkout leaves its token behind in .git/config."""
    for job, step in document.steps:
        if step.get("uses", "").startswith("actions/checkout@"):
            given = step.get("with") or {}
            if given.get("persist-credentials") != "false":
                yield f"{job}: checkout keeps the token"


def starters_are_short(document: Document, project: Project) -> Findings:
    """What a user copies stays under forty lines."""
    if document.for_users and len(document.lines) >= 40:
        yield f"{len(document.lines)} lines"


RULES = (
    no_privileged_trigger,
    workflow_run_reads_only,
    identity_is_guarded,
    user_code_holds_nothing,
    every_job_ends,
    queues_lose_nothing,
    no_cache,
    own_references,
    secrets_are_named,
    permissions_are_explained,
    defaults_are_strings,
    users_get_a_release,
    others_are_listed,
    nothing_interpolated,
    checkouts_keep_no_token,
    starters_are_short,
)
