"""The GitHub runner's protocol: the event, outputs, job summary, annotations, masks.

The only reader of ``GITHUB_*``. Away from a runner :meth:`Runner.find` returns None and nobody has to
ask again.

Files and commands of the runner: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

import json
import os
import re
import sys
import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.errors import OutsideError
from tidegate.redact import Guarded, redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate.core.notices import Annotation

SUMMARY_LIMIT = 1_000_000  # bytes; GitHub cuts at 1 MiB
# GIT_CONFIG_: the header with the token that git is given (action.py).
# AWS_, GOOGLE_, CLOUDSDK_: what the clouds' own login actions leave behind.
_SECRET = (
    "GITHUB_", "ACTIONS_", "RUNNER_", "INPUT_", "TIDEGATE_", "GIT_CONFIG_",
    "AWS_", "GOOGLE_", "CLOUDSDK_", "GCP_", "GCLOUD_",
)  # fmt: skip
_REGISTRY = frozenset(
    {"MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"}
)
_HARMLESS = frozenset(
    {
        "GITHUB_ACTIONS",
        "RUNNER_OS",
        "RUNNER_ARCH",
        "RUNNER_TEMP",
        "RUNNER_TOOL_CACHE",
        "TIDEGATE_HOME",
        "TIDEGATE_REMOTE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "GOOGLE_CLOUD_PROJECT",
    }
)
_NAME = re.compile(r"[a-z][a-z0-9_-]*")


@dataclass(frozen=True)
class Runner:
    """The job we run in."""

    env: Mapping[str, str]

    @classmethod
    def find(cls, env: Mapping[str, str] | None = None) -> Runner | None:
        """Return the runner of this process, or None on a machine without one."""
        env = os.environ if env is None else env
        return cls(env) if env.get("GITHUB_ACTIONS") == "true" else None

    def _need(self, name: str) -> str:
        if not (value := self.env.get(name)):
            raise OutsideError(f"the runner did not set {name}")
        return value

    @property
    def repository(self) -> str:
        """``owner/name``."""
        return self._need("GITHUB_REPOSITORY")

    @property
    def api(self) -> str:
        """The REST API's address."""
        return self.env.get("GITHUB_API_URL") or "https://api.github.com"

    @property
    def server(self) -> str:
        """The web pages' address."""
        return self.env.get("GITHUB_SERVER_URL") or "https://github.com"

    @property
    def token(self) -> str | None:
        """The job's token; only our own jobs are given one."""
        return self.env.get("TIDEGATE_GITHUB_TOKEN") or None

    @property
    def actor(self) -> str:
        """Who started the run."""
        return self.env.get("GITHUB_TRIGGERING_ACTOR") or self.env.get("GITHUB_ACTOR") or "somebody"

    @property
    def event_name(self) -> str:
        """``push``, ``pull_request``, ..."""
        return self._need("GITHUB_EVENT_NAME")

    @cached_property
    def event(self) -> Mapping[str, Any]:
        """The event's payload.

        Raises:
            OutsideError: the file is missing or not JSON.
        """
        path = self._need("GITHUB_EVENT_PATH")
        try:
            found = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise OutsideError(f"the event in {path} cannot be read: {error}") from None
        if not isinstance(found, dict):
            raise OutsideError(f"the event in {path} is not an object")
        return found

    @property
    def default_branch(self) -> str:
        """The repository's default branch."""
        return str(self.event.get("repository", {}).get("default_branch") or "main")

    @property
    def temp(self) -> Path:
        """A folder that ends with the job."""
        return Path(self._need("RUNNER_TEMP"))

    @property
    def run(self) -> int:
        """The run's number in addresses."""
        number = self._need("GITHUB_RUN_ID")
        if not number.isdecimal():
            raise OutsideError(f"the runner's GITHUB_RUN_ID is not a number: {number!r}")
        return int(number)

    @property
    def run_url(self) -> str:
        """The page of this run."""
        return f"{self.server}/{self.repository}/actions/runs/{self.run}"

    @property
    def hosted(self) -> bool:
        """Whether the machine is GitHub's and dies with the job."""
        return self.env.get("RUNNER_ENVIRONMENT") == "github-hosted"

    @property
    def pull(self) -> int | None:
        """The number of the pull request that the event is about."""
        number = self.event.get("pull_request", {}).get("number")
        return number if isinstance(number, int) else None

    @property
    def from_fork(self) -> bool:
        """Whether the pull request's branch is in another repository, or in none any more."""
        pull = self.event.get("pull_request")
        if not pull:
            return False
        head = (pull.get("head") or {}).get("repo") or {}
        return bool(head.get("full_name") != self.repository)

    @property
    def head(self) -> str:
        """The commit that people see: the pull request's newest, else the one that runs."""
        pull = self.event.get("pull_request")
        return str(pull["head"]["sha"]) if pull else self._need("GITHUB_SHA")

    # --- who the job is ---------------------------------------------------------------------

    def id_token(self, audience: str) -> str:
        """Return a fresh OpenID Connect token of this job, masked in the log.

        https://docs.github.com/en/actions/reference/security/oidc

        Raises:
            OutsideError: the job may not ask for one, or GitHub gives none.
        """
        url = self.env.get("ACTIONS_ID_TOKEN_REQUEST_URL")
        bearer = self.env.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
        if not url or not bearer:
            if self.env.get("GITHUB_EVENT_PATH") and self.from_fork:
                raise OutsideError(
                    "GitHub gives a fork's pull request no OpenID Connect token: no cloud lets it in",
                    remedy="Everything that needs no cloud goes on. A maintainer can push the branch to "
                    "this repository: its pull request then trains and compares in the cloud, too.",
                )
            raise OutsideError(
                "the job may not ask GitHub for an OpenID Connect token",
                remedy="Give the job, and the job that calls it, `permissions:` with "
                "`id-token: write`. Pull requests from forks never get one.",
            )
        from tidegate.id_token import ask

        token = ask(url, bearer, audience)
        self.mask(token)
        return token

    # --- what a step tells its job ----------------------------------------------------------

    def output(self, name: str, value: str) -> None:
        """Set an output of the step; whatever the value holds, it sets this one only.

        Raises:
            OutsideError: the runner's file cannot be written.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"not an output's name: {name!r}")
        mark = f"tidegate-{uuid.uuid4()}"
        text = redact(value, self.env).replace("\r", "").replace("\0", "")
        self._append("GITHUB_OUTPUT", f"{name}<<{mark}\n{text}\n{mark}\n")

    def summary(self, markdown: str) -> None:
        """Add to the job's summary, cut to what GitHub shows."""
        kept = (
            redact(markdown, self.env)
            .encode(errors="replace")[:SUMMARY_LIMIT]
            .decode(errors="ignore")
        )
        self._append("GITHUB_STEP_SUMMARY", kept.rstrip("\n") + "\n\n")

    def _append(self, variable: str, text: str) -> None:
        path = self._need(variable)
        try:
            with Path(path).open("a", encoding="utf-8", errors="replace", newline="") as file:
                file.write(text)
        except OSError as error:
            raise OutsideError(f"{variable} ({path}) cannot be written: {error.strerror}") from None

    def annotate(self, annotation: Annotation) -> None:
        """Show a message beside a line of a file."""
        level = {"failure": "error", "warning": "warning"}.get(annotation.severity, "notice")
        where = {"file": annotation.path, "line": str(annotation.line), "title": annotation.title}
        options = ",".join(f"{key}={_property(value)}" for key, value in where.items())
        self._command(f"::{level} {options}::{_data(redact(annotation.message, self.env))}")

    def mask(self, secret: str) -> None:
        """Keep every line of a secret out of the log."""
        for line in {secret, *secret.splitlines()}:
            if line.strip():
                self._command(f"::add-mask::{_data(line)}")

    def stop_commands(self) -> str:
        """Make the runner ignore commands in what follows; return the line that ends that."""
        token = uuid.uuid4().hex
        self._command(f"::stop-commands::{token}")
        return f"::{token}::"

    def resume_commands(self, line: str) -> None:
        """End what :meth:`stop_commands` began."""
        self._command(line)

    def _command(self, line: str) -> None:
        # On standard error: standard output belongs to the command, and may be JSON.
        if isinstance(sys.stderr, Guarded):
            sys.stderr.command(line)
        else:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()


def without_credentials(env: Mapping[str, str]) -> dict[str, str]:
    """Return an environment that may be given to the user's code: no tokens, no runner files."""
    return {
        key: value
        for key, value in env.items()
        if key in _HARMLESS or (not key.startswith(_SECRET) and key not in _REGISTRY)
    }


def _data(text: str) -> str:
    """Escape a command's message, as the runner unescapes it."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Escape a value among a command's options."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
