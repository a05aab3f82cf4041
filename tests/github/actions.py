"""What runs and what is set: artifacts, dispatches, permissions, environments, rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.github.hub import Row, find
from tests.github.routing import REPO, Answer, RefusedError, Request, page, route

if TYPE_CHECKING:
    from tests.github.hub import Hub

# What a new repository has; `hub.state.settings` overrides it.
SETTINGS: Row = {
    "enabled": True,
    "allowed_actions": "all",
    "sha_pinning_required": False,
    "github_owned_allowed": True,
    "verified_allowed": False,
    "patterns_allowed": [],
    "default_workflow_permissions": "read",
    "can_approve_pull_request_reviews": True,
    "private": False,
    "archived": False,
}


def setting(hub: Hub, *names: str) -> Row:
    both = SETTINGS | hub.state.settings
    return {name: both[name] for name in names}


# --- artifacts and dispatches ---------------------------------------------------------------------


def artifacts(hub: Hub, request: Request, run: int | None = None) -> Answer:
    hub.scan_artifacts()
    rows = [
        row
        for row in reversed(hub.state.artifacts)
        if run in {None, row["workflow_run"]["id"]}
        and request.query.get("name", row["name"]) == row["name"]
    ]
    return page(request, [hub.shape("artifact", row) for row in rows], "artifacts")


@route("GET", f"{REPO}/actions/artifacts", "actions=read")
def list_artifacts(hub: Hub, request: Request) -> Answer:
    return artifacts(hub, request)


@route("GET", f"{REPO}/actions/runs/{{run_id}}/artifacts", "actions=read")
def list_run_artifacts(hub: Hub, request: Request) -> Answer:
    return artifacts(hub, request, request.number("run_id"))


@route("GET", f"{REPO}/actions/runs/{{run_id}}/jobs", "actions=read")
def list_jobs(hub: Hub, request: Request) -> Answer:
    run = request.number("run_id")
    rows = [row for row in hub.state.jobs if row["run_id"] == run]
    return page(request, [hub.shape("job", row) for row in rows], "jobs")


@route("GET", f"{REPO}/actions/artifacts/{{artifact_id}}", "actions=read")
def get_artifact(hub: Hub, request: Request) -> Answer:
    hub.scan_artifacts()
    row = find(hub.state.artifacts, id=request.number("artifact_id"))
    return Answer(body=hub.shape("artifact", row))


@route("GET", f"{REPO}/actions/artifacts/{{artifact_id}}/{{archive_format}}", "actions=read")
def download_artifact(hub: Hub, request: Request) -> Answer:
    row = find(hub.state.artifacts, id=request.number("artifact_id"))
    if row["expired"]:
        raise RefusedError(410, "Artifact has expired")
    digest = row["digest"].removeprefix("sha256:")
    return Answer(status=302, headers={"Location": f"{hub.storage_url}/{digest}?sig=s3cret"})


@route("POST", f"{REPO}/actions/workflows/{{workflow_id}}/dispatches", "actions=write")
def dispatch(hub: Hub, request: Request) -> Answer:
    known = hub.state.settings.get("workflows")
    workflow = request.params["workflow_id"]
    if known is not None and workflow not in known:
        raise RefusedError(404, "Not Found")
    inputs = request.body.get("inputs", {})
    row = {"workflow": workflow, "ref": request.body["ref"], "inputs": inputs}
    hub.state.dispatches.append(row)
    return Answer(status=204)


# --- settings -------------------------------------------------------------------------------------


@route("GET", f"{REPO}/actions/permissions", "administration=read")
def get_permissions(hub: Hub, request: Request) -> Answer:
    row = setting(hub, "enabled", "allowed_actions", "sha_pinning_required")
    return Answer(body=hub.shape("actions-repository-permissions", row))


@route("GET", f"{REPO}/actions/permissions/selected-actions", "administration=read")
def get_selected(hub: Hub, request: Request) -> Answer:
    if setting(hub, "allowed_actions")["allowed_actions"] != "selected":
        raise RefusedError(409, "Conflict")
    row = setting(hub, "github_owned_allowed", "verified_allowed", "patterns_allowed")
    return Answer(body=hub.shape("selected-actions", row))


@route("GET", f"{REPO}/actions/permissions/workflow", "administration=read")
def get_workflow_permissions(hub: Hub, request: Request) -> Answer:
    row = setting(hub, "default_workflow_permissions", "can_approve_pull_request_reviews")
    return Answer(body=hub.shape("actions-get-default-workflow-permissions", row))


@route("GET", f"{REPO}/rules/branches/{{branch}}", "")
def branch_rules(hub: Hub, request: Request) -> Answer:
    """Rules with ``_branches``: the prefix of the branches they hold for."""
    rows = [
        {key: value for key, value in rule.items() if not key.startswith("_")}
        for rule in hub.state.rules
        if request.params["branch"].startswith(rule.get("_branches", ""))
    ]
    return page(request, [hub.shape("repository-rule-detailed", row) for row in rows])


@route("GET", f"{REPO}/environments", "actions=read")
def list_environments(hub: Hub, request: Request) -> Answer:
    rows = [
        hub.shape(
            "environment",
            {"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z", **row},
        )
        for row in hub.state.environments
    ]
    return page(request, rows, "environments")


@route(
    "GET", f"{REPO}/environments/{{environment_name}}/deployment-branch-policies", "actions=read"
)
def list_branch_policies(hub: Hub, request: Request) -> Answer:
    name = find(hub.state.environments, name=request.params["environment_name"])["name"]
    rows = [row for row in hub.state.branch_policies if row["_environment"] == name]
    return page(
        request, [hub.shape("deployment-branch-policy", row) for row in rows], "branch_policies"
    )


@route("GET", REPO, "")
def get_repository(hub: Hub, request: Request) -> Answer:
    row = {
        "id": hub.repository_id,
        "name": hub.repository.partition("/")[2],
        "full_name": hub.repository,
        "owner": {"login": hub.owner, "id": 9, "type": "Organization"},
        "default_branch": hub.default_branch,
        **setting(hub, "private", "archived"),
    }
    return Answer(body=hub.shape("full-repository", row))


@route("GET", "/rate_limit", "")
def rate_limit(hub: Hub, request: Request) -> Answer:
    core = {"limit": 1000, "used": 1, "remaining": 999, "reset": 2_000_000_000}
    row = {"resources": {"core": core, "search": core}, "rate": core}
    return Answer(body=hub.shape("rate-limit-overview", row))
