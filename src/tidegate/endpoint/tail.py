"""Read growing files by offset: whole lines only, so many bytes at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CHUNK = 1 << 20  # bytes read of one file at a time, so that a backlog cannot stop the supervisor


@dataclass(frozen=True, slots=True)
class Piece:
    """What was read: whole lines, where to go on, and whether the file's end was reached."""

    lines: list[bytes]
    offset: int
    finished: bool
    rest: bool = False  # an incomplete line follows


def read(path: Path, offset: int) -> Piece:
    """Return the whole lines after ``offset``.

    A line longer than a chunk is handed out in pieces, which parse as nothing: malformed.
    """
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(CHUNK)
    cut = data.rfind(b"\n") + 1
    if cut == 0 and len(data) == CHUNK:
        return Piece([data], offset + CHUNK, finished=False)
    return Piece(
        data[:cut].splitlines(),
        offset + cut,
        finished=len(data) < CHUNK,
        rest=cut < len(data),
    )


def segments(folder: Path) -> list[str]:
    """Return the names of a folder's segments, oldest first."""
    try:
        return sorted(path.name for path in folder.iterdir() if path.suffix == ".jsonl")
    except FileNotFoundError:
        return []
