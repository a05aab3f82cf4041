"""What a person is told when the machine took a version back: an issue, and a pull request.

Both say the same whenever they are made: what they hold is settled once the rollout has ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tidegate.core.notices import Issue, Proposal
from tidegate.core.standing import GuardState
from tidegate.render import mermaid
from tidegate.render.decision import guard_row
from tidegate.render.markdown import code, link, plain
from tidegate.render.pages import template, tidied
from tidegate.render.rollout import evidence
from tidegate.render.words import CAUSES, cause, lasting, share, when

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate.core.canary import GuardEvidence
    from tidegate.core.model import VersionRef
    from tidegate.core.story import Story


@dataclass(frozen=True, kw_only=True, slots=True)
class TakenBack:
    """A rollout that the machine reverted, and where to read on.

    ``web`` is the repository's page; ``branch``, once it is pushed, holds the default branch
    without the commit.
    """

    model: str
    story: Story
    serving: VersionRef | None
    web: str
    base: str = "main"
    ledger: str | None = None  # the ledger's page
    pull: int | None = None  # that brought the commit
    branch: str | None = None
    proposal: str | None = None  # the open pull request's page

    @property
    def version(self) -> str:
        """The version that was taken back."""
        return self.story.rollout.model.version

    @property
    def commit(self) -> str:
        """The commit it was trained at."""
        return self.story.rollout.model.commit

    @property
    def culprits(self) -> tuple[GuardEvidence, ...]:
        """The guards that showed harm."""
        guards = evidence(self.story.turns)
        return tuple(g for g in guards if g.state == GuardState.HARMED and not g.suspended)


def marker(model: str, rollout: str) -> str:
    """Return the issue's first line, by which it is found again."""
    return f"<!-- tidegate:{model}:{rollout} -->"


def branch_of(model: str, rollout: str) -> str:
    """Return the name of the branch that takes a rollout's commit back."""
    return f"tidegate-revert/{model}-{rollout}"


def issue(case: TakenBack, labels: tuple[str, ...] = ()) -> Issue:
    """Return the issue: what regressed, for whom, for how long, and what to do now."""
    first = marker(case.model, case.story.rollout.id)
    return Issue(
        marker=first,
        title=plain(
            f"{case.model} version {case.version} was taken back: {_names(case, plain)}", 200
        ),
        body=f"{first}\n{_written('issue.md.j2', case)}",
        labels=labels,
    )


def revert_pull(case: TakenBack) -> Proposal:
    """Return the pull request that takes the commit back from the default branch.

    Raises:
        ValueError: no branch was pushed.
    """
    if case.branch is None:
        raise ValueError("a pull request needs a branch")
    return Proposal(
        branch=case.branch, base=case.base, title=_title(case), body=_written("revert.md.j2", case)
    )


def revert_link(case: TakenBack) -> tuple[str, str]:
    """Return what to do about the merged commit, in words of ours, and the page for it."""
    if case.proposal is not None:
        return "Merge the pull request that takes it back", case.proposal
    if case.branch is not None:
        asked = f"{_quoted(case.base)}...{_quoted(case.branch)}"
        body = f"Takes back {plain(case.commit)}: see the issue about {case.model} {case.story.rollout.id}."
        fill = f"expand=1&title={_quoted(_title(case), '')}&body={_quoted(body, '')}"
        return "Open a pull request that takes it back", f"{case.web}/compare/{asked}?{fill}"
    if case.pull is not None:
        return "Press Revert on the merged pull request", f"{case.web}/pull/{case.pull}"
    return "Look at the commit, and `git revert` it", f"{case.web}/commit/{_quoted(case.commit)}"


def _quoted(text: str, safe: str = "/") -> str:
    """Return text for an address; what cannot be seen is left out."""
    return quote(plain(text, 255), safe=safe)


def _title(case: TakenBack) -> str:
    what = f"#{case.pull}" if case.pull is not None else plain(case.commit, 40)[:7]
    return plain(f"Revert {what}: {case.model} version {case.version} was taken back", 200)


def _names(case: TakenBack, quoted: Callable[[str], str]) -> str:
    """Return the guards that showed harm, or why else."""
    names = ", ".join(quoted(str(guard.metric)) for guard in case.culprits)
    known = case.story.rollout.cause
    return names or (cause(known) if known in CAUSES else quoted(known))


def _retry(case: TakenBack) -> str:
    """Return the command, fit to be copied into a shell whatever the version is called."""
    version = case.version if case.version.isalnum() and case.version.isascii() else "VERSION"
    return f'tidegate release --retry {version} --reason "why it is safe now"'


def _written(page: str, case: TakenBack) -> str:
    story = case.story
    start = next((turn.at for turn in story.turns if turn.share > 0), story.rollout.requested_at)
    text: str = _page(page).render(
        case=case,
        story=story,
        rollout=story.rollout,
        names=_names(case, code),
        guards=evidence(story.turns),
        start=start,
        chart=mermaid.traffic(story),
        retry=_retry(case),
        way_back=link(*revert_link(case)),
        title=_title(case),
    )
    return tidied(text)


@cache
def _page(name: str) -> Any:
    filters = {"code": code, "when": when, "lasting": lasting, "share": share}
    return template(name, filters=filters, functions={"link": link, "guard_row": guard_row})
