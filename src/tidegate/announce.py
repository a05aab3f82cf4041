"""What the code host shows of a model, made so from the ledger: comment, deployments, issue.

Level-triggered like the engine: whatever was said before, by this process or another, what is
said now is what the ledger comes to, and every call leaves the same world when it is repeated.
Nothing here can stop a rollout: what fails is told and tried again at the next call.
"""

from __future__ import annotations

import time
from collections.abc import Callable  # noqa: TC003 (a dataclass field)
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from tidegate.core import story as stories
from tidegate.core.events import ENDS, Phase
from tidegate.core.notices import Comment, HostDeployment
from tidegate.core.story import dismissed
from tidegate.errors import TidegateError
from tidegate.render.alert import alert_issue
from tidegate.render.comment import comment, marker
from tidegate.render.deployment import deployment
from tidegate.render.issue import TakenBack, issue, revert_pull

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from tidegate.book import Book
    from tidegate.core.model import VersionRef
    from tidegate.core.state import Rollout, State
    from tidegate.ports import Host
    from tidegate.render.report import Report

_T = TypeVar("_T")
_PAST = 3  # ended rollouts that are looked at again: a process may have died before it told
_NEWS = 86_400.0  # seconds for which the end of a rollout is news that opens an issue


@dataclass(frozen=True, kw_only=True, slots=True)
class _Said:
    """The comment as it was last sent."""

    phase: Hashable
    at: float
    seq: int
    body: str


@dataclass
class Announcer:
    """Tells a code host how one model's rollouts go.

    Args:
        host: the code host.
        repository: ``owner/name``.
        server: the address of its pages.
        model: the model's name.
        environment: where it serves, as the repository's page calls it.
        tell: where a failure is said.
        base: the default branch.
        ledger_branch: the branch of the model's ledger; its page is linked.
        propose: pushes the branch that takes a rollout's commit back and returns its name; None
            when it cannot be made. Must be idempotent. Without it the issue links the merged
            pull request.
        labels: of the issue.
        every: seconds between two edits of a comment while the phase stays the same.
        budget: seconds after which one call of :meth:`announce` starts nothing more; the next one
            goes on. A call under way is not cut off: its patience is the host's.
        clock: epoch seconds.
    """

    host: Host
    _: KW_ONLY
    repository: str
    server: str
    model: str
    environment: str
    tell: Callable[[str], None]
    base: str = "main"
    ledger_branch: str | None = None
    propose: Callable[[TakenBack], str | None] | None = None
    labels: tuple[str, ...] = ()
    every: float = 60.0
    budget: float = 30.0
    clock: Callable[[], float] = time.time
    _until: float = field(default=0.0, init=False)
    _told: dict[str, Hashable] = field(default_factory=dict, init=False)
    _comments: dict[str, _Said] = field(default_factory=dict, init=False)
    _pulls: dict[str, int | None] = field(default_factory=dict, init=False)

    def announce(self, book: Book, report_of: Callable[[VersionRef], Report | None]) -> None:
        """Make the host show what ``book`` says. Never raises for what happens outside.

        Args:
            book: the ledger, as the newest pass left it.
            report_of: the report of a version, its rollout included; None when it was never
                judged. Called only when a comment may be due.
        """
        self._until = self.clock() + self.budget
        for rollout in book.state.past[-_PAST:]:
            if _by_machine(rollout) and self.clock() - (rollout.ended_at or 0.0) < _NEWS:
                self._taken_back(book, rollout)
        alert = alert_issue(
            self.model, book.state, book.chain, ledger=self._ledger_page, labels=self.labels
        )
        if alert is not None:
            self._once(f"issue {alert.marker}", alert, self.host.issue)
        for rollout in _newest(book.state):
            self._comment(book, rollout, report_of)
        self._deployments(book.state)

    def _deployments(self, state: State) -> None:
        """Tell every rollout's state; what serves comes last, because it ends the one before."""
        wanted = [
            deployment(rollout, state, model=self.model, environment=self.environment)
            for rollout in _shown(state)
        ]
        for item in sorted(wanted, key=lambda d: d.state == "success"):
            self._once(f"deployment {item.key}", item, self._deploy)

    def _deploy(self, wanted: HostDeployment) -> None:
        self.host.deployment(replace(wanted, url=self._ledger_page))

    def _comment(
        self, book: Book, rollout: Rollout, report_of: Callable[[VersionRef], Report | None]
    ) -> None:
        """Bring the merged pull request's comment up to date, if that is due."""
        key, now = rollout.model.digest, self.clock()
        phase = _phase(rollout, book.state)
        said = self._comments.get(key)
        if said is not None and said.phase == phase:
            still = rollout.phase in ENDS or said.seq == book.state.seq
            if still or now - said.at < self.every:
                return

        def send() -> None:
            pull = self._pull(rollout.model.commit)
            report = report_of(rollout.model) if pull is not None else None
            body = comment(report) if report is not None else ""
            if pull is not None and body and (said is None or said.body != body):
                self.host.comment(Comment(pull=pull, marker=marker(self.model), body=body))
            self._comments[key] = _Said(phase=phase, at=now, seq=book.state.seq, body=body)

        self._guarded(f"the comment on version {rollout.model.version}", send)

    def _taken_back(self, book: Book, rollout: Rollout) -> None:
        """Open the issue, and the pull request that takes the commit back where that is allowed."""
        if f"issue {rollout.id}" in self._told:
            return
        pull = self._guarded("the merged pull request", lambda: self._pull(rollout.model.commit))
        case = TakenBack(
            model=self.model,
            story=stories.tell(rollout, book.chain, book.frozen(rollout.id), book.state.tenures),
            serving=book.state.champion,
            web=self._web,
            base=self.base,
            ledger=self._ledger_page,
            pull=pull,
        )
        if self.propose is not None:
            case = self._proposed(case, self.propose)
        self._once(f"issue {rollout.id}", issue(case, self.labels), self.host.issue)

    def _proposed(self, case: TakenBack, propose: Callable[[TakenBack], str | None]) -> TakenBack:
        """Push the branch and open its pull request; whatever fails, the issue says how else."""
        branch = self._guarded("the branch that takes it back", lambda: propose(case))
        if branch is None:
            return case
        case = replace(case, branch=branch)
        wanted = revert_pull(case)
        url = self._guarded("the revert pull request", lambda: self.host.propose(wanted))
        return replace(case, proposal=url)

    # --- once, and never fatal ----------------------------------------------------------

    def _once(self, key: str, wanted: _T, send: Callable[[_T], object]) -> None:
        """Send what differs from what this process sent last under ``key``."""

        def sent() -> None:
            send(wanted)
            self._told[key] = hash(wanted)

        if self._told.get(key) != hash(wanted):
            self._guarded(f"the {key}", sent)

    def _guarded(self, what: str, act: Callable[[], _T]) -> _T | None:
        if self.clock() >= self._until:
            return None
        try:
            return act()
        except TidegateError as error:
            self.tell(f"{what} could not be brought up to date: {error}")
        except Exception as error:  # noqa: BLE001 (a bug in a comment must not keep a bad model in traffic)
            self.tell(f"{what}: a bug in Tidegate, please report it: {error!r}")
        return None

    def _pull(self, commit: str) -> int | None:
        """Return the merged pull request of a commit; asked once."""
        if commit not in self._pulls:
            self._pulls[commit] = self.host.pull_of(commit)
        return self._pulls[commit]

    @property
    def _web(self) -> str:
        return f"{self.server.rstrip('/')}/{self.repository}"

    @property
    def _ledger_page(self) -> str | None:
        return f"{self._web}/tree/{self.ledger_branch}" if self.ledger_branch else None


def _shown(state: State) -> Iterator[Rollout]:
    """Yield the rollouts that have a deployment to be kept right, oldest first.

    The live one, the newest ended ones, and those that brought the newest champions up: of these
    only the last still serves.
    """
    crowned = {tenure.model.digest for tenure in state.tenures[-_PAST:]}
    for i, rollout in enumerate(state.past):
        brought = rollout.phase is Phase.PROMOTED and rollout.model.digest in crowned
        if brought or i >= len(state.past) - _PAST:
            yield rollout
    if state.rollout is not None:
        yield state.rollout


def _newest(state: State) -> Iterator[Rollout]:
    """Yield the newest rollout of each model that was in traffic lately, the live one first."""
    live = [state.rollout] if state.rollout is not None else []
    seen: set[str] = set()
    for rollout in (*live, *reversed(state.past[-_PAST:])):
        if rollout.model.digest not in seen:
            seen.add(rollout.model.digest)
            yield rollout


def _phase(rollout: Rollout, state: State) -> Hashable:
    """Return what has to differ for a comment to be edited at once."""
    held = state.hold is not None or state.pinned
    live = held if rollout.phase not in ENDS else None
    undone = dismissed(rollout, state.tenures)
    return (
        rollout.id,
        rollout.phase,
        rollout.step,
        rollout.applied,
        rollout.ended_at,
        live,
        undone,
    )


def _by_machine(rollout: Rollout) -> bool:
    """Whether evidence, and no person, took the rollout back."""
    return rollout.phase is Phase.REVERTED and rollout.cause == "harm"
