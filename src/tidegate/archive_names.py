"""Names of files inside an archive: refused unless they mean one place, on every file system.

A name is read in every way that somebody later could: percent-decoded, and in Unicode's
compatibility form, in which other characters become dots and slashes.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from urllib.parse import unquote

from tidegate.errors import OutsideError

NAME_BYTES = 1024
PART_BYTES = 255  # of one component; what Linux takes
DEPTH = 32  # components

_DRIVE = re.compile(r"^[A-Za-z]:")
_DECODINGS = 4


class ArchiveError(OutsideError):
    """The archive is broken, or built to harm. Nothing was unpacked."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message, remedy="Nothing of it was used. Find out who made it before trying again."
        )


def check_name(name: str) -> None:
    """Refuse a name that could mean a place outside, in any of its spellings.

    Raises:
        ArchiveError: with what is wrong.
    """
    try:
        parts = [part.encode() for part in name.split("/")]
    except UnicodeEncodeError:
        raise ArchiveError(f"{name[:80]!r} is not a name in UTF-8") from None
    length = sum(map(len, parts)) + len(parts) - 1
    if length > NAME_BYTES or len(parts) > DEPTH or max(map(len, parts)) > PART_BYTES:
        raise ArchiveError(f"{name[:80]!r}... is too long or too deep")
    spelt = name
    for _ in range(_DECODINGS):
        for text in (spelt, unicodedata.normalize("NFKC", spelt)):
            if fault := _fault(text):
                raise ArchiveError(f"{name!r} {fault}")
        if (decoded := unquote(spelt)) == spelt:
            return
        spelt = decoded
    raise ArchiveError(f"{name!r} is encoded too often")


def _fault(name: str) -> str | None:
    """Return what is wrong with a name as it is spelt."""
    parts = name.split("/")
    if not name or name.startswith("/") or "" in parts:
        return "is absolute or has an empty part"
    if any(part.strip(" .") == "" for part in parts):
        return "has a part of dots and blanks"
    if "\\" in name or _DRIVE.match(name):
        return "has a backslash or a drive"
    if any(unicodedata.category(character) in {"Cc", "Cf", "Cs"} for character in name):
        return "has control characters"
    return None


@dataclass(slots=True)
class Names:
    """The names so far; no two may be one file where case or Unicode forms do not count."""

    files: set[str] = field(default_factory=set)  # folded
    _folders: set[str] = field(default_factory=set)  # folded
    _spelt: dict[str, str] = field(default_factory=dict)  # folded -> as first spelt

    def add(self, name: str) -> None:
        """Add a file's name.

        Raises:
            ArchiveError: it leads outside, or collides with a file or folder before it.
        """
        check_name(name)
        parts = name.split("/")
        paths = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
        for path in paths:
            folded = _folded(path)
            if self._spelt.setdefault(folded, path) != path:
                raise ArchiveError(f"{path!r} and {self._spelt[folded]!r} would be one file")
            if folded in self.files:
                raise ArchiveError(f"{path!r} is there twice, or is a file and a folder")
            if path != name:
                self._folders.add(folded)
        if (folded := _folded(name)) in self._folders:
            raise ArchiveError(f"{name!r} is a file and a folder")
        self.files.add(folded)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
