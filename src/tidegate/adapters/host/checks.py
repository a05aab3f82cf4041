"""Check runs: one that counts per name and commit, with all its annotations and none twice.

https://docs.github.com/en/rest/checks/runs
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tidegate.adapters.host.addresses import segment
from tidegate.adapters.host.answers import UnknownOutcomeError
from tidegate.adapters.host.saying import TRIES, check_length, cut, once
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.adapters.host.api import Api
    from tidegate.core.notices import Annotation, Check

SUMMARY = 65_535  # characters
ANNOTATIONS = 50  # in one request
TITLE = 255  # characters of an annotation's title
MESSAGE = 16_000  # characters of an annotation's message; GitHub takes 64 KB
APP = "github-actions"  # whose check runs a job's token may change
# GitHub keeps one check run per job under the same app: only those with our mark are ours.
MARK = "tidegate:"

Row = dict[str, Any]  # an object in the API's own words


def publish(api: Api, repository: str, check: Check) -> str:
    """Create or replace a check run below ``repository`` ("/repos/o/n"); return its page.

    Raises:
        OutsideError: GitHub refuses or cannot be reached; the summary is too long.
    """
    check_length(check.summary, SUMMARY, "the check's summary")
    content = json.dumps(asdict(check), sort_keys=True).encode()
    identity = MARK + hashlib.sha256(content).hexdigest()
    runs = f"{repository}/check-runs"

    def look() -> Row | None:
        """Return the run to keep: one that says the same, or that can be made to."""
        at = f"{repository}/commits/{segment(check.commit)}/check-runs"
        ours = [run for run in api.pages(at, check_name=check.name) if _is_ours(run, check.name)]
        newest: Row | None = max(ours, key=lambda run: int(run["id"]), default=None)
        if newest is None or newest["external_id"] == identity:
            return newest
        # Annotations are only ever added to a run. One that has some is replaced by a new run of
        # the same name: GitHub shows the newest, and requires that one.
        return newest if newest["output"]["annotations_count"] == 0 else None

    def create() -> Row:
        body = {**_body(check, identity), "name": check.name, "head_sha": check.commit}
        return dict(api.send("POST", runs, body))

    run = once(look, create)
    at = f"{runs}/{run['id']}"
    if run["external_id"] != identity or run["status"] != "completed":
        run = api.send("PATCH", at, _body(check, identity))
    return str(_annotated(api, at, run, check)["html_url"])


def _is_ours(run: Row, name: str) -> bool:
    app = (run.get("app") or {}).get("slug")
    mark = str(run.get("external_id") or "")
    return app == APP and run["name"] == name and mark.startswith(MARK)


def _annotated(api: Api, at: str, run: Row, check: Check) -> Row:
    """Add the annotations that a run still lacks, fifty at a time."""
    lost = 0
    while (there := int(run["output"]["annotations_count"])) < len(check.annotations):
        more = check.annotations[there : there + ANNOTATIONS]
        output = {**_output(check), "annotations": _rows(more)}
        try:
            # Not repeatable: what is sent twice is shown twice.
            run = api.send("PATCH", at, {"output": output}, repeatable=False)
        except UnknownOutcomeError:
            lost += 1
            if lost == TRIES:
                raise
            run = api.get(at)
        else:
            if int(run["output"]["annotations_count"]) <= there:
                raise OutsideError("GitHub does not take the check's annotations")
    return run


def _body(check: Check, identity: str) -> Row:
    """Return a finished check run without its annotations, which follow."""
    body: Row = {
        "status": "completed",
        "conclusion": check.conclusion.value,
        "external_id": identity,
        "output": _output(check),
    }
    return body | ({"details_url": check.url} if check.url else {})


def _output(check: Check) -> Row:
    return {"title": check.title, "summary": check.summary}


def _rows(annotations: Sequence[Annotation]) -> list[Row]:
    return [
        {
            "path": annotation.path,
            "start_line": annotation.line,
            "end_line": annotation.line,
            "annotation_level": annotation.severity.value,
            "title": cut(annotation.title, TITLE),
            "message": cut(annotation.message, MESSAGE),
        }
        for annotation in annotations
    ]
