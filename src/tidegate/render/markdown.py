"""Making text from outside harmless in Markdown, and readable anywhere."""

from __future__ import annotations

import re
import unicodedata

_LONGEST = 120
_RUN = 20  # CommonMark's reference reader takes no fence of more than 80 back-ticks


def plain(text: object, longest: int = _LONGEST) -> str:
    """Return ``text`` on one line of at most ``longest`` visible characters.

    Control, format, bidirectional, private-use and surrogate characters are dropped, newlines
    become spaces.

    >>> plain("a\\nb\\u202ec")
    'a bc'
    """
    kept = "".join(" " if c in "\n\r\t" else c for c in str(text) if _visible(c))
    kept = " ".join(kept.split())
    return kept if len(kept) <= longest else kept[: longest - 1] + "…"


def code(text: object, longest: int = _LONGEST) -> str:
    """Return ``text`` as an inline code span that renders as itself and as nothing else.

    It is made :func:`plain` first, and runs of back-ticks are cut to 20: a fence that has to be
    longer than 80 is none. The fence is one back-tick longer than the longest run inside;
    ``|`` is escaped so that it may stand in a table. Inside a code span GitHub resolves no
    mention, no issue reference, no link and no HTML.

    >>> code("a`b|c")
    '``a`b\\\\|c``'
    """
    kept = re.sub(f"`{{{_RUN},}}", "`" * _RUN, plain(text, longest))
    if not kept:
        return "` `"
    fence = "`" * (max((len(run) for run in re.findall("`+", kept)), default=0) + 1)
    pad = " " if kept.startswith("`") or kept.endswith("`") else ""
    return f"{fence}{pad}{kept}{pad}{fence}".replace("|", "\\|")


def _visible(character: str) -> bool:
    return character in "\n\r\t" or not unicodedata.category(character).startswith("C")
