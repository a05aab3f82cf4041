"""The ports: what the engine needs of the outside world. Adapters implement them, tests too.

Every method that changes something is idempotent: calling it again with the same arguments after
a crash, a lost answer or a timeout leaves the same world as calling it once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from tidegate.core.endpoint import Endpoint, Traffic
    from tidegate.core.evidence import Arm, Series
    from tidegate.core.losses import Prediction
    from tidegate.core.model import Task
    from tidegate.core.notices import Check, Comment, HostDeployment, Issue, Proposal


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployment:
    """What is to be served: a model folder on this machine, under a version's name."""

    version: str
    digest: str
    model_dir: Path
    task: Task
    serve: str | None = None  # the user's own server command; None: we serve the MLflow model
    classes: tuple[str, ...] = ()  # multiclass: in the order of the answers' probabilities


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """How live traffic is to be counted; fixed for a rollout, before it starts."""

    interval: float  # seconds
    slower_than: float | None  # seconds
    task: Task
    clip: float | None  # bound B of a regression's loss
    label_source: Path | None  # JSON Lines with the truth; None: the endpoint's own labels.jsonl
    label_every: float  # seconds: width of a label-arrival bucket
    classes: tuple[str, ...] = ()  # multiclass: in the order of the answers' probabilities


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Which evidence a rollout asks for.

    ``shares`` holds (epoch seconds, candidate share) for every change of weights since the start,
    so that each minute can be given its share.
    """

    candidate: str
    champion: str
    since: float  # epoch seconds: evidence starts in the first whole minute after this
    measure: Measure
    shares: tuple[tuple[float, float], ...]
    moving: tuple[tuple[float, float], ...] = ()  # (from, to) in which a change was under way


class Target(Protocol):
    """An endpoint that serves weighted variants.

    A change is asked for and returns; `read` tells when it has happened. While `read` says `busy` or
    `broken`, every change raises OutsideError.
    """

    # What serves now: the only truth about traffic.
    def read(self) -> Endpoint: ...
    # Bring a variant up, ready, with no traffic. Returns at once; `read` tells when it is ready.
    def deploy(self, deployment: Deployment, *, generation: int) -> None: ...
    # Give each version its share. Refused (OutsideError) when a newer generation was seen.
    def route(self, traffic: Traffic, *, generation: int) -> None: ...
    # Take a variant without traffic away, after its last answer.
    def remove(self, version: str, *, generation: int) -> None: ...
    # Delete what we made for versions that are gone (`Endpoint.leftovers`), and nothing else.
    def tidy(self, *, generation: int) -> None: ...
    # Ask one variant directly, past the router and its counts (parity check).
    def ask(self, version: str, rows: pa.Table) -> npt.NDArray[np.float64]: ...


class DeadMan(Protocol):
    """The switch that shuts the gate when nobody ticks any more."""

    # From `until` (epoch seconds) on, without a later call, traffic becomes `fallback`; None
    # disarms. A call with an older generation than the newest one seen changes nothing.
    def arm(self, until: float | None, fallback: Traffic, *, generation: int) -> None: ...


class Counts(Protocol):
    """Requests, errors and slow answers per variant and interval, from a monitoring system."""

    # Seconds after its end by which an interval's counts are complete.
    delay: float

    # (interval's index, version) -> counts, for first <= index < end; without traffic, no entry.
    def counts(
        self, versions: Sequence[str], first: int, end: int, measure: Measure
    ) -> Mapping[tuple[int, str], Arm]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """One row that was asked and answered in live traffic."""

    id: str  # what its label will be known by
    at: float  # when it was asked (epoch seconds)
    version: str
    prediction: Prediction
    filled: frozenset[str]  # the columns that had a value
    columns: frozenset[str]  # all columns of the request


class Answers(Protocol):
    """Captured requests and answers, where a platform keeps them."""

    # Seconds after which what was answered is there to be read.
    delay: float

    # Everything answered in [since, until) by these versions, in any order, each row once.
    def answers(
        self, versions: Sequence[str], since: float, until: float
    ) -> Iterator[Answered]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Truth:
    """One label: ``at`` is when it became known, as its sender says."""

    id: str
    value: float | str  # a class may be text
    at: float | None


class Labels(Protocol):
    """Where the truth arrives."""

    # Every label so far, the first of an id first.
    def labels(self) -> Iterator[Truth]: ...


class MetricSource(Protocol):
    """Where the counts of live traffic come from."""

    # Start counting this way; counts of another way of counting are kept apart.
    def observe(self, measure: Measure) -> None: ...
    # The closed minutes and label strata of a rollout.
    def read(self, window: Window, now: float) -> Series: ...
    # (intervals, sum over them and all variants) of the newest traffic that was counted this way;
    # None where there is none.
    def recent(self, measure: Measure, now: float) -> tuple[int, Arm] | None: ...
    # Column -> (requests seen, requests in which it was filled), for the skew check.
    def fill(self, version: str) -> Mapping[str, tuple[int, int]]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingJob:
    """Training that runs elsewhere. ``name`` is made of what is trained: the same name, the same job."""

    name: str
    code: Path  # the user's files as committed, without the holdout
    folder: str  # of mlops.yaml within them, where the commands run
    checks: tuple[str, ...]  # commands before training
    run: str
    train: Path  # the training rows; TIDEGATE_TRAIN there
    timeout: float  # seconds
    environment: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """What a training job left: a folder with ``model/`` or ``tracking/`` in it, and its bill."""

    folder: Path
    job: str  # its name or address, for people
    seconds: float  # of training
    billed_seconds: float
    cost: float | None  # US dollars; None where no price is known
    machine: str


class Compute(Protocol):
    """A service that trains."""

    # Start the job, or go on with the one of this name that runs; return when it has succeeded and
    # its output is on this machine. `tell` gets its log lines.
    def train(self, job: TrainingJob, into: Path, tell: Callable[[str], None]) -> Trained: ...
    # Stop the job if it runs.
    def cancel(self, job: TrainingJob) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Registration:
    """A model on its way into the registry, with its lineage."""

    name: str
    digest: str  # of the bundle's model folder
    bundle: Path
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]


class Registry(Protocol):
    """The model registry: truth about artifacts, versions and lineage."""

    # The version of these bytes: the existing one, or a new one; never two.
    def register(self, registration: Registration) -> str: ...
    # Copy a version's bundle to this machine, whole or not at all.
    def fetch(self, name: str, version: str, into: Path) -> None: ...
    # Make the aliases point where the ledger says (None removes one), and note the last of
    # `chain`, the ledger's hashes. OutsideError, nothing changed, when the hash noted before is
    # not in it: the ledger was rewritten.
    def publish(
        self, name: str, aliases: Mapping[str, str | None], chain: Sequence[str]
    ) -> None: ...
    # Where the aliases point now.
    def aliases(self, name: str) -> Mapping[str, str]: ...
    # Add tags to a version (the outcome of its rollout).
    def annotate(self, name: str, version: str, tags: Mapping[str, str]) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """The ledger branch at one commit; ``commit`` is None while the branch does not exist."""

    commit: str | None
    files: Mapping[str, bytes]


class LedgerStore(Protocol):
    """A branch of files with compare-and-swap."""

    # The newest commit, freshly fetched.
    def read(self) -> Snapshot: ...
    # Write these files over `base`, or raise LedgerMovedError when `base` is no longer the newest.
    def write(self, base: Snapshot, files: Mapping[str, bytes], message: str) -> Snapshot: ...


class Host(Protocol):
    """Where the code lives and people read: pull requests, checks, deployments, issues."""

    # The number of the merged pull request that brought a commit to the default branch.
    def pull_of(self, commit: str) -> int | None: ...
    # Create the comment, or edit it where it differs; its URL.
    def comment(self, comment: Comment) -> str: ...
    # Create or replace the check run; its URL.
    def check(self, check: Check) -> str: ...
    # Create the deployment once, and add a status where state or description are new.
    def deployment(self, deployment: HostDeployment) -> None: ...
    # Open the issue, unless one with its marker was ever opened; its URL.
    def issue(self, issue: Issue) -> str: ...
    # Open the pull request, unless its branch has one; its URL, None where that is not allowed.
    def propose(self, proposal: Proposal) -> str | None: ...
    # Start a workflow of the repository by its file name, on the default branch.
    def dispatch(self, workflow: str, inputs: Mapping[str, str]) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectInfo:
    """An object as it stands: ``tag`` names this very content and is what a replacement compares."""

    size: int  # bytes
    sha256: str | None  # hex, as told by whoever wrote it; None where nobody did
    tag: str


class ObjectStore(Protocol):
    """A folder of a bucket: whole objects under keys, replaced by compare-and-swap."""

    # What stands there now; None where nothing does.
    def head(self, key: str) -> ObjectInfo | None: ...
    # Copy it to a file, whole and as its checksum says, or not at all.
    def get(self, key: str, into: Path, at_most: int) -> ObjectInfo: ...
    # Write: with `absent` only where nothing stands, with `tag` only over that content, else over
    # anything. PreconditionError where that is not so; success where a lost answer hid our own write.
    def put(
        self,
        key: str,
        source: Path | bytes,
        *,
        sha256: str,
        absent: bool = False,
        tag: str | None = None,
    ) -> ObjectInfo: ...
    # The keys that begin with this, in order.
    def list(self, prefix: str) -> Iterator[str]: ...
    # Take it away; nothing there is fine.
    def delete(self, key: str) -> None: ...
