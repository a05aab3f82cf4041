"""The state of one repository on the loopback GitHub, and what a test may do to it."""

from __future__ import annotations

import hashlib
import io
import itertools
import re
import subprocess
import threading
import zipfile
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.github.description import description
from tests.github.routing import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

TOKEN = "ghs_loopback0123456789abcdefghijklmnopqr"
BOT = {"login": "github-actions[bot]", "id": 41898282, "type": "Bot"}
APP = 15368  # GitHub Actions
LEVELS = ("none", "read", "write")

Row = dict[str, Any]  # an object in the API's own words; keys with _ are ours


@dataclass
class State:
    """Everything that was said and done; lists grow in the order of time."""

    issues: list[Row] = field(default_factory=list)
    comments: list[Row] = field(default_factory=list)
    labels: list[Row] = field(default_factory=list)
    pulls: list[Row] = field(default_factory=list)
    checks: list[Row] = field(default_factory=list)
    deployments: list[Row] = field(default_factory=list)
    statuses: list[Row] = field(default_factory=list)
    dispatches: list[Row] = field(default_factory=list)
    releases: list[Row] = field(default_factory=list)
    assets: list[Row] = field(default_factory=list)
    artifacts: list[Row] = field(default_factory=list)
    jobs: list[Row] = field(default_factory=list)
    runs: dict[str, Row] = field(default_factory=dict)  # by run id: where its head is
    refs: dict[str, str] = field(default_factory=dict)  # without a bare repository
    rules: list[Row] = field(default_factory=list)
    environments: list[Row] = field(default_factory=list)
    branch_policies: list[Row] = field(default_factory=list)
    settings: Row = field(default_factory=dict)  # overrides of actions.SETTINGS


@dataclass
class Fault:
    method: str
    path: re.Pattern[str]
    status: int | None  # None: the connection is reset
    headers: Mapping[str, str]
    message: str
    apply: bool
    times: int


class Hub:
    """One repository, its token, and a record of what was asked."""

    def __init__(
        self,
        *,
        repository: str = "acme/churn",
        repository_id: int = 1001,
        bare: Path | None = None,
        artifacts: Path | None = None,
    ) -> None:
        self.repository = repository
        self.repository_id = repository_id
        self.owner = repository.partition("/")[0]
        self.bare = bare
        self.artifacts_dir = artifacts
        self.default_branch = "main"
        self.token = TOKEN
        self.url = self.storage_url = ""  # set by the server
        self.state = State()
        self.blobs: dict[str, bytes] = {}  # bytes of assets and artifacts
        self.violations: list[str] = []
        self.requests: list[tuple[str, str]] = []  # method, path with query
        self.lock = threading.RLock()
        self._granted: dict[str, str] | None = None
        self._faults: list[Fault] = []
        self._ids = itertools.count(1)
        self._numbers = itertools.count(1)

    # --- what a test does ---------------------------------------------------------------------

    def grant(self, permissions: Mapping[str, str] | None) -> None:
        """Let the token do only this (``{"issues": "write"}``); None: everything."""
        self._granted = None if permissions is None else dict(permissions)

    def fail_next(
        self,
        method: str,
        path: str,
        *,
        status: int | None = 503,
        headers: Mapping[str, str] | None = None,
        message: str = "",
        apply: bool = False,
        times: int = 1,
    ) -> None:
        """Fail requests whose path matches; ``apply``: only after they had their effect.

        ``status`` None resets the connection.
        """
        fault = Fault(method, re.compile(path), status, headers or {}, message, apply, times)
        self._faults.append(fault)

    def add_comment(self, number: int, body: str, *, login: str, kind: str = "User") -> Row:
        """Let somebody else write a comment."""
        return self.new_comment(number, body, {"login": login, "id": 7, "type": kind})

    def add_issue(self, title: str, body: str, *, login: str = "mona", **more: Any) -> Row:
        """Let somebody else open an issue."""
        row = self.new_issue(title, body, {"login": login, "id": 7, "type": "User"})
        row.update(more)
        return row

    def add_pull(
        self,
        *,
        head: str,
        sha: str,
        base_sha: str = "b" * 40,
        base: str | None = None,
        head_repository: str | None = None,
        head_repository_id: int | None = None,
        merge_commit: str | None = None,
        title: str = "A change",
        login: str = "mona",
    ) -> Row:
        """Open a pull request; with ``merge_commit`` it is merged already."""
        head_name = head_repository or self.repository
        number = next(self._numbers)
        row = {
            "id": next(self._ids),
            "number": number,
            "title": title,
            "body": None,
            "state": "closed" if merge_commit else "open",
            "user": {"login": login, "id": 7, "type": "User"},
            "html_url": f"{self.web}/pull/{number}",
            "created_at": now(),
            "updated_at": now(),
            "merged_at": now() if merge_commit else None,
            "merge_commit_sha": merge_commit,
            "head": self._side(head, sha, head_name, head_repository_id),
            "base": self._side(base or self.default_branch, base_sha, self.repository, None),
        }
        self.state.pulls.append(row)
        return row

    def _side(self, branch: str, sha: str, repository: str, identity: int | None) -> Row:
        owner, _, name = repository.partition("/")
        user = {"login": owner, "id": 9, "type": "User"}
        return {
            "label": f"{owner}:{branch}",
            "ref": branch,
            "sha": sha,
            "user": user,
            "repo": {
                "id": self.repository_id if identity is None else identity,
                "name": name,
                "full_name": repository,
                "owner": user,
                "default_branch": self.default_branch,
            },
        }

    def add_run(self, run: int, *, head_repository_id: int, branch: str, sha: str) -> None:
        """Say where the head of a run is, for the artifacts of a folder."""
        self.state.runs[str(run)] = {
            "id": run,
            "repository_id": self.repository_id,
            "head_repository_id": head_repository_id,
            "head_branch": branch,
            "head_sha": sha,
        }

    def add_artifact(
        self,
        run: int,
        name: str,
        files: Mapping[str, bytes],
        *,
        head_repository_id: int | None = None,
        branch: str | None = None,
        sha: str = "a" * 40,
        expired: bool = False,
    ) -> Row:
        """Let a run upload an artifact."""
        mine = self.repository_id if head_repository_id is None else head_repository_id
        self.add_run(run, head_repository_id=mine, branch=branch or self.default_branch, sha=sha)
        return self._keep_artifact(run, name, zipped(files.items()), expired=expired)

    def add_job(self, run: int, name: str, began: str, ended: str | None) -> Row:
        """Let a run have had a job; times in ISO 8601."""
        row = {
            "id": next(self._ids),
            "run_id": run,
            "name": name,
            "status": "completed" if ended else "in_progress",
            "conclusion": "success" if ended else None,
            "created_at": began,
            "started_at": began,
            "completed_at": ended,
            "labels": ["ubuntu-latest"],
        }
        self.state.jobs.append(row)
        return row

    def _keep_artifact(self, run: int, name: str, data: bytes, *, expired: bool = False) -> Row:
        identity = next(self._ids)
        digest = hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        row = {
            "id": identity,
            "name": name,
            "size_in_bytes": len(data),
            "archive_download_url": f"{self.api}/actions/artifacts/{identity}/zip",
            "expired": expired,
            "created_at": now(),
            "digest": f"sha256:{digest}",
            "workflow_run": self.state.runs[str(run)],
        }
        self.state.artifacts.append(row)
        return row

    def scan_artifacts(self) -> None:
        """Take in what runs have written below the artifacts' folder: ``RUN/NAME/``."""
        if self.artifacts_dir is None or not self.artifacts_dir.is_dir():
            return
        known = {
            (row["workflow_run"]["id"], row["name"], row["digest"]) for row in self.state.artifacts
        }
        for folder in sorted(self.artifacts_dir.glob("*/*")):
            run, name = folder.parent.name, folder.name.removesuffix(".zip")
            if not run.isdigit():
                continue
            if run not in self.state.runs:
                mine = self.repository_id
                self.add_run(
                    int(run), head_repository_id=mine, branch=self.default_branch, sha="a" * 40
                )
            data = _artifact_bytes(folder)
            if (int(run), name, f"sha256:{hashlib.sha256(data).hexdigest()}") not in known:
                self._keep_artifact(int(run), name, data)

    # --- what the operations share ------------------------------------------------------------

    @property
    def api(self) -> str:
        return f"{self.url}/repos/{self.repository}"

    @property
    def web(self) -> str:
        return f"https://github.test/{self.repository}"

    def fresh_id(self) -> int:
        return next(self._ids)

    def shape(self, schema: str, row: Mapping[str, Any]) -> Any:
        """Return an object as the description wants it."""
        public = {key: value for key, value in row.items() if not key.startswith("_")}
        return description().fill(schema, public)

    def new_comment(self, number: int, body: str, user: Row) -> Row:
        self.conversation(number)
        identity = next(self._ids)
        row = {
            "id": identity,
            "body": body,
            "user": user,
            "html_url": f"{self.web}/issues/{number}#issuecomment-{identity}",
            "issue_url": f"{self.api}/issues/{number}",
            "created_at": now(),
            "updated_at": now(),
            "_number": number,
        }
        self.state.comments.append(row)
        return row

    def new_issue(self, title: str, body: str | None, user: Row) -> Row:
        number = next(self._numbers)
        row: Row = {
            "id": next(self._ids),
            "number": number,
            "title": title,
            "body": body,
            "state": "open",
            "user": user,
            "labels": [],
            "html_url": f"{self.web}/issues/{number}",
            "created_at": now(),
            "updated_at": now(),
        }
        self.state.issues.append(row)
        return row

    def conversation(self, number: int) -> Row:
        """Return the issue or pull request of a number, which share their numbers."""
        return find([*self.state.issues, *self.state.pulls], number=number)

    def git(self, *arguments: str, data: bytes | None = None) -> bytes:
        """Run git in the bare repository.

        Raises:
            RefusedError: there is none, or git fails: 404.
        """
        if self.bare is None:
            raise RefusedError(404, "Not Found")
        done = subprocess.run(
            ["git", f"--git-dir={self.bare}", *arguments],
            check=False,
            input=data,
            capture_output=True,
        )
        if done.returncode:
            raise RefusedError(404, "Not Found")
        return done.stdout

    def permits(self, needs: str) -> bool:
        """Whether the token's permissions cover one of the alternatives."""
        if self._granted is None or not needs:
            return True
        return any(
            all(
                LEVELS.index(self._granted.get(name, "none")) >= LEVELS.index(level)
                for name, level in (pair.strip().split("=") for pair in alternative.split(","))
            )
            for alternative in needs.split(";")
        )

    def take_fault(self, method: str, path: str) -> Fault | None:
        """Return the fault that was asked for this request."""
        for fault in self._faults:
            if fault.times > 0 and fault.method == method and fault.path.search(path):
                fault.times -= 1
                return fault
        return None

    def snapshot(self) -> dict[str, Any]:
        """Return everything as JSON's types."""
        return {
            **asdict(self.state),
            "violations": list(self.violations),
            "requests": [list(request) for request in self.requests],
        }


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def find(rows: Iterable[Row], **wanted: Any) -> Row:
    """Return the row with these values; 404 where there is none."""
    for row in rows:
        if all(row.get(key) == value for key, value in wanted.items()):
            return row
    raise RefusedError(404, "Not Found")


def zipped(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Return a zip with these files, the same bytes for the same files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def _artifact_bytes(place: Path) -> bytes:
    """Return an artifact's zip from a file, a folder that holds it, or a folder of its files."""
    if place.is_file():
        return place.read_bytes()
    inner = place / f"{place.name}.zip"
    if inner.is_file():
        return inner.read_bytes()
    files = sorted(path for path in place.rglob("*") if path.is_file())
    return zipped((path.relative_to(place).as_posix(), path.read_bytes()) for path in files)
