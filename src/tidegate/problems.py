"""Problems found in ``mlops.yaml``: where, what was got, what was expected, how to fix it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tidegate.yaml12 import Document, Mark, Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong (or, as a warning, unwise) at one place of the file."""

    path: Path
    got: str
    expected: str
    fix: str = ""
    at_key: bool = False  # the key itself is wrong, not its value


class BadConfigError(ConfigError):
    """All problems of one file at once; the message has a line for each."""

    def __init__(self, lines: Sequence[str]) -> None:
        count = len(lines)
        self.lines = tuple(lines)
        super().__init__("\n".join([*lines, f"{count} problem{'s' if count > 1 else ''}"]))


def near(word: str, known: Iterable[str]) -> str:
    """Return "did you mean ...?" when ``word`` is close to a known one, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else ""


def dotted(path: Path) -> str:
    """Write a path as people do: ``gate.rules[0].metric``; the whole file is ``(top)``."""
    text = ""
    for part in path:
        # A key comes from the file: it must not write lines or colours into the message.
        word = part if isinstance(part, int) or part.isprintable() else show(part)
        text += f"[{word}]" if isinstance(part, int) else f".{word}"
    return text.lstrip(".") or "(top)"


def place(document: Document, problem: Problem) -> Mark:
    """Return where the problem stands: its own mark, or its nearest ancestor's."""
    if problem.at_key and (mark := document.keys.get(problem.path)):
        return mark
    path = problem.path
    while path not in document.values:
        path = path[:-1]
    return document.values[path]


def describe(file: str, document: Document, problem: Problem) -> str:
    """Render ``file:line:col: path: got X, expected Y. Fix.`` on one line."""
    mark = place(document, problem)
    fix = f"; {problem.fix}" if problem.fix else ""
    return (
        f"{file}:{mark.line}:{mark.column}: {dotted(problem.path)}: "
        f"got {problem.got}, expected {problem.expected}{fix}"
    )


def show(value: object) -> str:
    """Show a value from the file on one short line, control characters escaped."""
    text = ascii(value) if isinstance(value, str) else repr(value)
    words = {"True": "true", "False": "false", "None": "null (nothing)"}
    text = words.get(text, text)
    if isinstance(value, dict):
        text = "a mapping"
    elif isinstance(value, list):
        text = "a list"
    return text if len(text) <= 60 else f"{text[:57]}..."
