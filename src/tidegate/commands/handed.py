"""What another job handed on: the very case and answers that it wrote, or nothing of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.digests import folder_digest
from tidegate.errors import NotJudgedError, OutsideError
from tidegate.holdout import content_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from tidegate.cases import Case
    from tidegate.commands.context import Context

REPLACED = "Another job of this run replaced them. Look at what its code does."


def check_case(context: Context, case: Case, base: str | None) -> None:
    """Refuse a case that is not about what is checked out here; ``base``: the commit whose rules judge.

    Raises:
        NotJudgedError: it is about another model, commit, base or holdout.
    """
    wanted = (context.config.model.name, context.head, base)
    if (case.model, case.commit, case.base) != wanted:
        raise NotJudgedError(
            f"the case is about {case.model} at {case.commit[:12]} under the rules of "
            f"{(case.base or case.commit)[:12]}, not {wanted[0]} at {wanted[1][:12]} under those of "
            f"{(wanted[2] or wanted[1])[:12]}"
        )
    data = context.config.data
    if case.holdout != content_of(context.path(data.holdout, "data.holdout"), data):
        raise NotJudgedError("the case is about other holdout rows than those checked out")


def said_digests(digests: Sequence[str]) -> dict[str, str]:
    """Return role -> digest of ``ROLE=SHA256``, without the roles that said none.

    >>> said_digests(["candidate=ab", "champion="])
    {'candidate': 'ab'}
    """
    pairs = (each.partition("=") for each in digests)
    return {role: digest for role, _, digest in pairs if digest}


def check_scores(scores: Path, digests: Sequence[str], roles: Collection[str]) -> None:
    """Refuse answers that are not those of the job that scored.

    Raises:
        NotJudgedError: as it says.
    """
    said = said_digests(digests)
    for role in sorted(roles):
        try:
            same = folder_digest(scores / role) == said.get(role)
        except OutsideError as error:
            raise NotJudgedError(f"the {role}'s answers cannot be taken: {error}") from None
        if not same:
            raise NotJudgedError(
                f"the {role}'s answers are not what its job wrote", remedy=REPLACED
            )
