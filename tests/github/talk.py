"""What people read: issues, comments, labels, pull requests, checks, deployments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.github.hub import APP, BOT, Row, find, now
from tests.github.routing import REPO, Answer, RefusedError, Request, invalid, page, route

if TYPE_CHECKING:
    from tests.github.hub import Hub

LIMIT = 65_536  # characters of a body
ISSUES = "issues={0}; pull_requests={0}"


def check_body(body: str | None, resource: str) -> None:
    if body is not None and len(body) > LIMIT:
        raise invalid(
            resource, "body", "custom", f"body is too long (maximum is {LIMIT} characters)"
        )


# --- comments -----------------------------------------------------------------------------------


@route("GET", f"{REPO}/issues/{{issue_number}}/comments", ISSUES.format("read"))
def list_comments(hub: Hub, request: Request) -> Answer:
    number = request.number("issue_number")
    hub.conversation(number)
    rows = [row for row in hub.state.comments if row["_number"] == number]
    return page(request, [hub.shape("issue-comment", row) for row in rows])


@route("POST", f"{REPO}/issues/{{issue_number}}/comments", ISSUES.format("write"))
def create_comment(hub: Hub, request: Request) -> Answer:
    check_body(request.body["body"], "IssueComment")
    row = hub.new_comment(request.number("issue_number"), request.body["body"], dict(BOT))
    return Answer(status=201, body=hub.shape("issue-comment", row))


@route("GET", f"{REPO}/issues/comments/{{comment_id}}", ISSUES.format("read"))
def get_comment(hub: Hub, request: Request) -> Answer:
    row = find(hub.state.comments, id=request.number("comment_id"))
    return Answer(body=hub.shape("issue-comment", row))


@route("PATCH", f"{REPO}/issues/comments/{{comment_id}}", ISSUES.format("write"))
def edit_comment(hub: Hub, request: Request) -> Answer:
    row = find(hub.state.comments, id=request.number("comment_id"))
    check_body(request.body["body"], "IssueComment")
    row.update(body=request.body["body"], updated_at=now())
    row["_edits"] = row.get("_edits", 0) + 1
    return Answer(body=hub.shape("issue-comment", row))


@route("DELETE", f"{REPO}/issues/comments/{{comment_id}}", ISSUES.format("write"))
def delete_comment(hub: Hub, request: Request) -> Answer:
    hub.state.comments.remove(find(hub.state.comments, id=request.number("comment_id")))
    return Answer(status=204)


# --- issues and labels ----------------------------------------------------------------------------


def issue_shape(hub: Hub, row: Row) -> Any:
    return hub.shape("issue", row)


def pull_as_issue(hub: Hub, row: Row) -> Row:
    """Return a pull request as the listing of issues shows it."""
    keys = ("id", "number", "title", "body", "state", "user", "html_url", "created_at")
    return {
        **{key: row[key] for key in keys},
        "updated_at": row["updated_at"],
        "labels": row.get("_labels", []),
        "pull_request": {"html_url": row["html_url"]},
    }


@route("GET", f"{REPO}/issues", "issues=read")
def list_issues(hub: Hub, request: Request) -> Answer:
    query = request.query
    state = query.get("state", "open")
    wanted = set(query["labels"].split(",")) if query.get("labels") else set()
    rows = [*hub.state.issues, *(pull_as_issue(hub, row) for row in hub.state.pulls)]
    shown = [
        row
        for row in rows
        if state in {"all", row["state"]}
        and wanted <= {label["name"] for label in row["labels"]}
        and query.get("creator", row["user"]["login"]) == row["user"]["login"]
    ]
    shown.sort(key=lambda row: row["number"], reverse=query.get("direction", "desc") == "desc")
    return page(request, [issue_shape(hub, row) for row in shown])


def ensure_label(hub: Hub, name: str) -> Row:
    for row in hub.state.labels:
        if row["name"].lower() == name.lower():
            return row
    row = {"id": hub.fresh_id(), "name": name, "color": "ededed", "description": None}
    hub.state.labels.append(row)
    return row


def label_names(labels: list[Any]) -> list[str]:
    return [label if isinstance(label, str) else label["name"] for label in labels]


@route("POST", f"{REPO}/issues", "issues=write")
def create_issue(hub: Hub, request: Request) -> Answer:
    check_body(request.body.get("body"), "Issue")
    labels = [ensure_label(hub, name) for name in label_names(request.body.get("labels", []))]
    row = hub.new_issue(str(request.body["title"]), request.body.get("body"), dict(BOT))
    row["labels"] = labels
    return Answer(status=201, body=issue_shape(hub, row))


@route("GET", f"{REPO}/issues/{{issue_number}}", "issues=read")
def get_issue(hub: Hub, request: Request) -> Answer:
    number = request.number("issue_number")
    row = hub.conversation(number)
    return Answer(body=issue_shape(hub, row if "head" not in row else pull_as_issue(hub, row)))


@route("PATCH", f"{REPO}/issues/{{issue_number}}", "issues=write")
def edit_issue(hub: Hub, request: Request) -> Answer:
    row = find(hub.state.issues, number=request.number("issue_number"))
    check_body(request.body.get("body"), "Issue")
    for key in ("title", "body", "state", "state_reason"):
        if key in request.body:
            row[key] = request.body[key]
    if "labels" in request.body:
        row["labels"] = [ensure_label(hub, name) for name in label_names(request.body["labels"])]
    row["updated_at"] = now()
    return Answer(body=issue_shape(hub, row))


@route("POST", f"{REPO}/issues/{{issue_number}}/labels", ISSUES.format("write"))
def add_labels(hub: Hub, request: Request) -> Answer:
    row = hub.conversation(request.number("issue_number"))
    given = request.body["labels"] if isinstance(request.body, dict) else request.body
    labels = row.setdefault("_labels" if "head" in row else "labels", [])
    for name in label_names(given):
        label = ensure_label(hub, name)
        if label not in labels:
            labels.append(label)
    return Answer(body=[hub.shape("label", label) for label in labels])


@route("GET", f"{REPO}/labels", "issues=read; pull_requests=read")
def list_labels(hub: Hub, request: Request) -> Answer:
    return page(request, [hub.shape("label", row) for row in hub.state.labels])


@route("POST", f"{REPO}/labels", "issues=write; pull_requests=write")
def create_label(hub: Hub, request: Request) -> Answer:
    if any(row["name"].lower() == request.body["name"].lower() for row in hub.state.labels):
        raise invalid("Label", "name", "already_exists")
    row = ensure_label(hub, request.body["name"])
    for key in ("color", "description"):
        row[key] = request.body.get(key, row[key])
    return Answer(status=201, body=hub.shape("label", row))


@route("GET", f"{REPO}/labels/{{name}}", "issues=read; pull_requests=read")
def get_label(hub: Hub, request: Request) -> Answer:
    return Answer(body=hub.shape("label", find(hub.state.labels, name=request.params["name"])))


# --- pull requests --------------------------------------------------------------------------------


def simple_pull(hub: Hub, row: Row) -> Any:
    return hub.shape("pull-request-simple", row)


def full_pull(hub: Hub, row: Row) -> Any:
    return hub.shape("pull-request", {**row, "merged": row["merged_at"] is not None})


@route("GET", f"{REPO}/pulls", "pull_requests=read")
def list_pulls(hub: Hub, request: Request) -> Answer:
    query = request.query
    state = query.get("state", "open")
    shown = [
        row
        for row in hub.state.pulls
        if state in {"all", row["state"]}
        and query.get("head", row["head"]["label"]) == row["head"]["label"]
        and query.get("base", row["base"]["ref"]) == row["base"]["ref"]
    ]
    shown.sort(key=lambda row: row["number"], reverse=query.get("direction", "desc") == "desc")
    return page(request, [simple_pull(hub, row) for row in shown])


@route("GET", f"{REPO}/pulls/{{pull_number}}", "pull_requests=read")
def get_pull(hub: Hub, request: Request) -> Answer:
    return Answer(body=full_pull(hub, find(hub.state.pulls, number=request.number("pull_number"))))


@route("POST", f"{REPO}/pulls", "pull_requests=write")
def create_pull(hub: Hub, request: Request) -> Answer:
    body = request.body
    if hub.state.settings.get("can_approve_pull_request_reviews") is False:
        raise RefusedError(
            403, "GitHub Actions is not permitted to create or approve pull requests."
        )
    check_body(body.get("body"), "PullRequest")
    label = body["head"] if ":" in body["head"] else f"{hub.owner}:{body['head']}"
    for row in hub.state.pulls:
        if (row["head"]["label"], row["base"]["ref"], row["state"]) == (
            label,
            body["base"],
            "open",
        ):
            raise invalid(
                "PullRequest", "head", "custom", f"A pull request already exists for {label}."
            )
    sha = resolve(hub, body["head"])
    row = hub.add_pull(
        head=body["head"], sha=sha, base=body["base"], title=body.get("title", ""), login="x"
    )
    row.update(body=body.get("body"), user=dict(BOT))
    return Answer(status=201, body=full_pull(hub, row))


def resolve(hub: Hub, branch: str) -> str:
    """Return a branch's commit; 422 where it was not pushed."""
    try:
        if hub.bare is not None:
            return hub.git("rev-parse", "--verify", f"refs/heads/{branch}").decode().strip()
        return hub.state.refs[f"refs/heads/{branch}"]
    except (RefusedError, KeyError):
        raise invalid("PullRequest", "head", "invalid") from None


@route("PATCH", f"{REPO}/pulls/{{pull_number}}", "pull_requests=write")
def edit_pull(hub: Hub, request: Request) -> Answer:
    row = find(hub.state.pulls, number=request.number("pull_number"))
    for key in ("title", "body", "state"):
        if key in request.body:
            row[key] = request.body[key]
    row["updated_at"] = now()
    return Answer(body=full_pull(hub, row))


@route("GET", f"{REPO}/commits/{{commit_sha}}/pulls", "pull_requests=read; contents=read")
def pulls_of_commit(hub: Hub, request: Request) -> Answer:
    sha = request.params["commit_sha"]
    rows = [row for row in hub.state.pulls if sha in {row["merge_commit_sha"], row["head"]["sha"]}]
    return page(request, [simple_pull(hub, row) for row in rows])


# --- checks -----------------------------------------------------------------------------------------


def check_shape(hub: Hub, row: Row) -> Any:
    return hub.shape("check-run", row)


@route("POST", f"{REPO}/check-runs", "checks=write")
def create_check(hub: Hub, request: Request) -> Answer:
    identity = hub.fresh_id()
    row: Row = {
        "id": identity,
        "name": request.body["name"],
        "head_sha": request.body["head_sha"],
        "external_id": "",
        "status": "queued",
        "conclusion": None,
        "started_at": now(),
        "completed_at": None,
        "details_url": None,
        "html_url": f"{hub.web}/runs/{identity}",
        "app": {"id": APP, "slug": "github-actions", "name": "GitHub Actions"},
        "output": {"title": None, "summary": None, "text": None, "annotations_count": 0},
        "_annotations": [],
    }
    update_check(row, request.body)
    hub.state.checks.append(row)
    return Answer(status=201, body=check_shape(hub, row))


def update_check(row: Row, body: Row) -> None:
    if body.get("status") == "completed" and "conclusion" not in body:
        raise invalid("CheckRun", "conclusion", "missing_field")
    for key in ("external_id", "status", "conclusion", "details_url", "completed_at"):
        if key in body:
            row[key] = body[key]
    if "conclusion" in body:
        row["status"] = "completed"
        row["completed_at"] = row["completed_at"] or now()
    output = body.get("output")
    if output is None:
        return
    annotations = output.get("annotations", [])
    if len(annotations) > 50:
        raise invalid("CheckRun", "annotations", "invalid", "No more than 50 annotations")
    for key in ("title", "summary", "text"):
        if key in output:
            row["output"][key] = output[key]
    row["_annotations"] += annotations  # GitHub adds to those that are there
    row["output"]["annotations_count"] = len(row["_annotations"])


@route("PATCH", f"{REPO}/check-runs/{{check_run_id}}", "checks=write")
def edit_check(hub: Hub, request: Request) -> Answer:
    row = find(hub.state.checks, id=request.number("check_run_id"))
    if row["app"]["id"] != APP:
        raise RefusedError(
            403, "Invalid app_id `15368` - check run can only be modified by its app"
        )
    update_check(row, request.body)
    return Answer(body=check_shape(hub, row))


@route("GET", f"{REPO}/check-runs/{{check_run_id}}", "checks=read")
def get_check(hub: Hub, request: Request) -> Answer:
    row = find(hub.state.checks, id=request.number("check_run_id"))
    return Answer(body=check_shape(hub, row))


@route("GET", f"{REPO}/commits/{{ref}}/check-runs", "checks=read")
def list_checks(hub: Hub, request: Request) -> Answer:
    query = request.query
    rows = [
        row
        for row in hub.state.checks
        if row["head_sha"] == request.params["ref"]
        and query.get("check_name", row["name"]) == row["name"]
        and int(query.get("app_id", row["app"]["id"])) == row["app"]["id"]
    ]
    if query.get("filter", "latest") == "latest":
        rows = list({(row["app"]["id"], row["name"]): row for row in rows}.values())
    return page(request, [check_shape(hub, row) for row in reversed(rows)], "check_runs")


# --- deployments ------------------------------------------------------------------------------------


@route("GET", f"{REPO}/deployments", "deployments=read")
def list_deployments(hub: Hub, request: Request) -> Answer:
    rows = [
        row
        for row in reversed(hub.state.deployments)
        if all(
            request.query.get(key, "none") in {"none", row[key]}
            for key in ("environment", "task", "sha", "ref")
        )
    ]
    return page(request, [hub.shape("deployment", row) for row in rows])


@route("POST", f"{REPO}/deployments", "deployments=write")
def create_deployment(hub: Hub, request: Request) -> Answer:
    body = request.body
    if body.get("auto_merge", True) or body.get("required_contexts") != []:
        raise RefusedError(409, "Conflict: Commit status checks failed for the ref.")
    identity = hub.fresh_id()
    row = {
        "id": identity,
        "sha": body["ref"],
        "ref": body["ref"],
        "task": body.get("task", "deploy"),
        "environment": body.get("environment", "production"),
        "payload": body.get("payload", {}),
        "description": body.get("description"),
        "creator": dict(BOT),
        "statuses_url": f"{hub.api}/deployments/{identity}/statuses",
        "created_at": now(),
        "updated_at": now(),
    }
    hub.state.deployments.append(row)
    return Answer(status=201, body=hub.shape("deployment", row))


@route("GET", f"{REPO}/deployments/{{deployment_id}}/statuses", "deployments=read")
def list_statuses(hub: Hub, request: Request) -> Answer:
    identity = request.number("deployment_id")
    find(hub.state.deployments, id=identity)
    rows = [row for row in reversed(hub.state.statuses) if row["_deployment"] == identity]
    return page(request, [hub.shape("deployment-status", row) for row in rows])


@route("POST", f"{REPO}/deployments/{{deployment_id}}/statuses", "deployments=write")
def create_status(hub: Hub, request: Request) -> Answer:
    deployment = find(hub.state.deployments, id=request.number("deployment_id"))
    body = request.body
    row = {
        "id": hub.fresh_id(),
        "state": body["state"],
        "description": body.get("description", ""),
        "environment": body.get("environment", deployment["environment"]),
        "log_url": body.get("log_url", ""),
        "target_url": body.get("log_url", ""),
        "creator": dict(BOT),
        "created_at": now(),
        "updated_at": now(),
        "_deployment": deployment["id"],
    }
    if body.get("auto_inactive", True) and body["state"] == "success":
        _retire(hub, deployment, row)
    hub.state.statuses.append(row)
    return Answer(status=201, body=hub.shape("deployment-status", row))


def _retire(hub: Hub, deployment: Row, success: Row) -> None:
    """Do what GitHub does unasked: set the environment's other deployments inactive."""
    for other in hub.state.deployments:
        if other is not deployment and other["environment"] == deployment["environment"]:
            hub.state.statuses.append(
                {**success, "id": hub.fresh_id(), "state": "inactive", "_deployment": other["id"]}
            )
