"""What all talk with GitHub has in common: once only, within limits, under a marker, understood."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeVar

from tidegate.adapters.host.answers import UnknownOutcomeError
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

TRIES = 3  # of a creation whose answer is lost


def once(look: Callable[[], T | None], create: Callable[[], T]) -> T:
    """Return what is there, or create it; look again whenever an answer was lost."""
    for _ in range(TRIES - 1):
        if (found := look()) is not None:
            return found
        try:
            return create()
        except UnknownOutcomeError:
            continue
    found = look()
    return create() if found is None else found


@contextlib.contextmanager
def understood() -> Iterator[None]:
    """Turn an answer of another shape than GitHub describes into an OutsideError.

    What is told on GitHub must not end what is done elsewhere, as a bug would.
    """
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise OutsideError(
            "GitHub's answer is not what its description says",
            remedy="A proxy may have answered in its place; if not, please report this.",
        ) from error


def check_marker(marker: str, body: str) -> None:
    """Raise OutsideError unless a body's first line is its marker: it would not be found again."""
    if not marker or "\n" in marker or lines(body).partition("\n")[0] != marker:
        raise OutsideError("a text for GitHub does not begin with its marker; nothing was written")


def check_length(text: str, limit: int, what: str) -> None:
    """Raise OutsideError where a text is longer than GitHub takes."""
    if len(text) > limit:
        raise OutsideError(
            f"{what} has {len(text):,} characters; GitHub takes {limit:,}; nothing was written"
        )


def lines(text: str) -> str:
    """Return a text with one kind of line end: GitHub's forms send two characters."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def says(theirs: str | None, ours: str) -> bool:
    """Whether GitHub keeps a text already; it may have cut blanks at the end."""
    return lines(theirs or "").rstrip() == lines(ours).rstrip()


def cut(text: str, limit: int) -> str:
    """Return a text of at most ``limit`` characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
