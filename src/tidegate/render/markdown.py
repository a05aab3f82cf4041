"""Making text from outside harmless in Markdown, and readable anywhere."""

from __future__ import annotations

import re
import unicodedata

_LONGEST = 120
_RUN = 20  # CommonMark's reference reader takes no fence of more than 80 back-ticks
_URL = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~%/?=&+#-]*)?")
_URL_LENGTH = 8000  # GitHub answers a longer address with 414


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


def link(words: str, url: str | None) -> str:
    """Return ``words``, which are ours, as a link; as they are where ``url`` is no plain address.

    >>> link("run", "https://github.com/o/r/actions/runs/1"), link("run", "javascript:alert(1)")
    ('[run](https://github.com/o/r/actions/runs/1)', 'run')
    """
    return f"[{words}]({url})" if url is not None and is_address(url) else words


def is_address(url: str) -> bool:
    """Tell whether ``url`` is http(s) and may stand in Markdown as it is."""
    return len(url) <= _URL_LENGTH and _URL.fullmatch(url) is not None


def _visible(character: str) -> bool:
    return character in "\n\r\t" or not unicodedata.category(character).startswith("C")
