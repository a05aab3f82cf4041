"""What a code host (GitHub) is told about a model: pure records, made to be repeated.

Each names itself (a marker, a key), so that telling it twice leaves one of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, kw_only=True, slots=True)
class Comment:
    """The one comment of a model on a pull request; ``body`` begins with ``marker``."""

    pull: int
    marker: str
    body: str


class Conclusion(StrEnum):
    """What a check came to. A required check lets only ``success`` through of these."""

    SUCCESS = "success"
    FAILURE = "failure"
    ACTION_REQUIRED = "action_required"  # inconclusive: a person must look
    NEUTRAL = "neutral"


class Severity(StrEnum):
    """How an annotation is shown."""

    NOTICE = "notice"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotation:
    """A message beside a line of a file of the repository."""

    path: str
    line: int
    severity: Severity
    title: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A finished check run on a commit. One per ``name`` and ``commit``: a later one replaces it."""

    name: str
    commit: str
    conclusion: Conclusion
    title: str
    summary: str  # Markdown
    annotations: tuple[Annotation, ...] = ()
    url: str | None = None  # of the run that says more


class Serving(StrEnum):
    """The state of a deployment, in GitHub's words."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    SUCCESS = "success"
    FAILURE = "failure"
    INACTIVE = "inactive"


@dataclass(frozen=True, kw_only=True, slots=True)
class HostDeployment:
    """A rollout, as the repository's page shows it. One per ``key`` and ``environment``."""

    key: str  # "MODEL/r12"
    environment: str
    commit: str
    state: Serving
    description: str  # at most 140 characters
    url: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Issue:
    """Something a person must know. One per ``marker``, open or closed."""

    marker: str  # the first line of ``body``
    title: str
    body: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """A pull request from a branch that is already pushed. One per ``branch``."""

    branch: str
    base: str
    title: str
    body: str
