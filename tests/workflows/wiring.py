"""Our own rules about what documents say of each other: names, paths, inputs and permissions."""

from __future__ import annotations

import ast
import functools
import re
from typing import TYPE_CHECKING, Any

from tests.workflows import expressions
from tests.workflows.documents import ROOT
from tests.workflows.rules import ACTIONS, Findings, granted, of_user

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.workflows.documents import Document, Project

LEVELS = ("none", "read", "write")
_WHOLE = re.compile(r"\binputs\b(?![.\[\w-])")
_STEP_FIELDS = {"outputs", "outcome", "conclusion"}


def _inputs(document: Document) -> dict[str, dict[str, Any]]:
    """What may be given to a document: an action's inputs, or a called workflow's."""
    if document.kind == "action":
        return {k: v or {} for k, v in (document.data.get("inputs") or {}).items()}
    call = document.events.get("workflow_call") or {}
    return {k: v or {} for k, v in (call.get("inputs") or {}).items()}


def _outputs(document: Document) -> set[str]:
    if document.kind == "action":
        return set(document.data.get("outputs") or {})
    return set((document.events.get("workflow_call") or {}).get("outputs") or {})


def paths_exist(document: Document, project: Project) -> Findings:
    """Every reference to a file of ours names one that is there."""
    for line, uses in document.scalars("uses"):
        path = project.own(uses)
        if path is not None and path not in project.files:
            yield f"line {line + 1}: there is no {path}"


def inputs_are_declared(document: Document, project: Project) -> Findings:
    """Every `inputs.x` and `secrets.x` is declared where it is used."""
    declared = set(_inputs(document))
    dispatch = document.events.get("workflow_dispatch") or {}
    declared |= set(dispatch.get("inputs") or {})
    for parts in expressions.names(document.data, "inputs"):
        if parts[0] not in declared:
            yield f"inputs.{parts[0]} is not declared"
    if "workflow_call" in document.events or document.kind == "action":
        call = document.events.get("workflow_call") or {}
        for parts in expressions.names(document.data, "secrets"):
            if parts[0] not in (call.get("secrets") or {}):
                yield f"secrets.{parts[0]} is not declared"


def inputs_are_used(document: Document, project: Project) -> Findings:
    """Nothing is declared that nobody reads: a misspelt use would hide as an unused name."""
    if any(_WHOLE.search(expression) for expression in expressions.inside(document.data)):
        return
    used = {parts[0] for parts in expressions.names(document.data, "inputs")}
    for name in set(_inputs(document)) - used:
        yield f"input {name} is never read"


def _step_outputs(step: dict[str, Any], project: Project) -> set[str] | None:
    """The outputs a step is known to have; None when only its script knows."""
    uses = step.get("uses", "")
    if not uses:
        return None
    if (callee := project.callee(uses)) is not None:
        return _outputs(callee)
    return set(ACTIONS.get(uses.partition("@")[0], {}).get("outputs", ()))


def step_names_exist(document: Document, project: Project) -> Findings:
    """Every `steps.id.outputs.y` names a step of the same job, and an output it has."""
    places: list[tuple[str, Any, list[dict[str, Any]]]] = (
        [("", document.data, (document.data.get("runs") or {}).get("steps") or [])]
        if document.kind == "action"
        else [(job, body, body.get("steps") or []) for job, body in document.jobs.items()]
    )
    for job, body, steps in places:
        known = {step["id"]: step for step in steps if "id" in step}
        for parts in expressions.names(body, "steps"):
            where = f"{job}: steps.{'.'.join(parts)}"
            if parts[0] not in known:
                yield f"{where}: there is no such step"
            elif len(parts) > 1 and parts[1] not in _STEP_FIELDS:
                yield f"{where}: a step has no {parts[1]}"
            elif len(parts) > 2:
                yield from _output_written(where, known[parts[0]], parts[2], project)


def _output_written(where: str, step: dict[str, Any], name: str, project: Project) -> Findings:
    outputs = _step_outputs(step, project)
    if outputs is None:
        script = step.get("run", "")
        told = _engine_outputs() if "-m tidegate.action" in script else set()
        text = script + "".join(_beside(script))
        if name not in told and f"{name}=" not in text and f"{name}<<" not in text:
            yield f"{where}: its script never writes {name}"
    elif name not in outputs:
        yield f"{where}: {step['uses']} has no such output"


@functools.cache
def _engine_outputs() -> set[str]:
    """The outputs that the engine's commands set, read from its source: `outputs(name=...)`."""
    return {
        keyword.arg.replace("_", "-")
        for path in (ROOT / "src/tidegate").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "outputs"
        for keyword in node.keywords
        if keyword.arg
    }


def _beside(script: str) -> Iterator[str]:
    """The text of each Python file of ours that a script starts from its action's folder."""
    for name in re.findall(r"/([\w-]+\.py)\b", script):
        for path in (ROOT / ".github/actions").glob(f"*/{name}"):
            yield path.read_text("utf-8")


def needs_exist(document: Document, project: Project) -> Findings:
    """Every `needs.j.outputs.o` names a needed job and one of its outputs."""
    for job, body in document.jobs.items():
        needed = body.get("needs") or []
        needed = [needed] if isinstance(needed, str) else needed
        for other in needed:
            if other not in document.jobs:
                yield f"{job}: needs {other}, which is not there"
        for parts in expressions.names(body, "needs"):
            where = f"{job}: needs.{'.'.join(parts)}"
            if parts[0] == "*":
                continue
            if parts[0] not in needed:
                yield f"{where}: {parts[0]} is not needed"
            elif parts[1:2] == ("outputs",) and parts[2] not in _job_outputs(
                document.jobs.get(parts[0], {}), project
            ):
                yield f"{where}: there is no such output"
    for parts in expressions.names(document.events.get("workflow_call") or {}, "jobs"):
        if parts[0] not in document.jobs:
            yield f"jobs.{'.'.join(parts)}: there is no such job"
        elif parts[2] not in _job_outputs(document.jobs[parts[0]], project):
            yield f"jobs.{'.'.join(parts)}: there is no such output"


def _job_outputs(body: dict[str, Any], project: Project) -> set[str]:
    callee = project.callee(body.get("uses", ""))
    return _outputs(callee) if callee else set(body.get("outputs") or {})


def _calls(document: Document) -> Iterator[tuple[str, dict[str, Any]]]:
    for job, body in document.jobs.items():
        if "uses" in body:
            yield job, body
    for job, step in document.steps:
        if "uses" in step:
            yield job, step


def calls_fit(document: Document, project: Project) -> Findings:
    """Every `with:` key is an input of what is called; what is required is given; secrets too."""
    for job, body in _calls(document):
        uses, given = body["uses"], set(body.get("with") or {})
        if (callee := project.callee(uses)) is not None:
            inputs = {
                name: value.get("required") == "true" and "default" not in value
                for name, value in _inputs(callee).items()
            }
            secrets = (callee.events.get("workflow_call") or {}).get("secrets") or {}
            passed = body.get("secrets")
            for name in passed if isinstance(passed, dict) else ():
                if name not in secrets:
                    yield f"{job}: {uses} takes no secret {name}"
        elif uses.partition("@")[0] in ACTIONS:
            inputs = ACTIONS[uses.partition("@")[0]]["inputs"]
        else:
            continue
        for name in sorted(given - set(inputs)):
            yield f"{job}: {uses} has no input {name}"
        for name in sorted(name for name, required in inputs.items() if required):
            if name not in given:
                yield f"{job}: {uses} requires {name}"


def asked(document: Document, project: Project) -> dict[str, str]:
    """The most that any job of a workflow asks, those of nested workflows included."""
    most: dict[str, str] = {}
    for body in document.jobs.values():
        callee = project.callee(body.get("uses", ""))
        for source in (granted(body), asked(callee, project) if callee else {}):
            for scope, level in source.items():
                most[scope] = max(most.get(scope, "none"), level, key=LEVELS.index)
    return most


def grants_fit(document: Document, project: Project) -> Findings:
    """A call grants what is asked, however deep, and nothing that nobody asks."""
    for job, body in document.jobs.items():
        callee = project.callee(body.get("uses", ""))
        if callee is None:
            continue
        grants, needs = granted(body), asked(callee, project)
        for scope in sorted({*grants, *needs}):
            have, want = grants.get(scope, "none"), needs.get(scope, "none")
            if LEVELS.index(have) < LEVELS.index(want):
                yield f"{job}: {callee.name} asks {scope}: {want}, granted {have}"
            elif LEVELS.index(have) > LEVELS.index(want):
                yield f"{job}: {scope}: {have} is granted, {callee.name} asks {want}"


def secrets_stay_with_us(document: Document, project: Project) -> Findings:
    """L9: no secret is passed to a workflow that hands it to user code."""
    for job, body in document.jobs.items():
        callee = project.callee(body.get("uses", ""))
        if callee and body.get("secrets") and any(of_user(*each) for each in callee.jobs.items()):
            used = {parts[0] for parts in _own_secrets(callee)}
            for name in set(body["secrets"]) - used:
                yield f"{job}: secret {name} reaches {callee.name}, which runs user code"


def _own_secrets(document: Document) -> Iterator[tuple[str, ...]]:
    for job, body in document.jobs.items():
        if not of_user(job, body):
            yield from expressions.names(body, "secrets")


WIRING = (
    paths_exist,
    inputs_are_declared,
    inputs_are_used,
    step_names_exist,
    needs_exist,
    calls_fit,
    grants_fit,
    secrets_stay_with_us,
)
