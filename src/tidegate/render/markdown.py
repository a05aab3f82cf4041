"""Making text from outside harmless in Markdown."""

from __future__ import annotations

import re
import unicodedata

_LONGEST = 120


def code(text: object) -> str:
    """Return ``text`` as an inline code span that renders as itself and as nothing else.

    Control, format, bidirectional, private-use and surrogate characters are dropped, newlines
    become spaces, and it is cut to 120 characters. The fence is one back-tick longer than the
    longest run inside; ``|`` is escaped so that it may stand in a table. Inside a code span
    GitHub resolves no mention, no issue reference, no link and no HTML.

    >>> code("a`b|c")
    '``a`b\\\\|c``'
    """
    kept = "".join(" " if c in "\n\r\t" else c for c in str(text) if _visible(c))
    kept = " ".join(kept.split())
    if len(kept) > _LONGEST:
        kept = kept[: _LONGEST - 1] + "…"
    if not kept:
        return "` `"
    fence = "`" * (max((len(run) for run in re.findall("`+", kept)), default=0) + 1)
    pad = " " if kept.startswith("`") or kept.endswith("`") else ""
    return f"{fence}{pad}{kept}{pad}{fence}".replace("|", "\\|")


def _visible(character: str) -> bool:
    return character in "\n\r\t" or not unicodedata.category(character).startswith("C")
