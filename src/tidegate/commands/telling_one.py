"""What ``tidegate gate`` adds to a verdict when it is asked: a rule explained, a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.errors import OutsideError
from tidegate.render.explain import document, explain, text

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.core.model import Verdict
    from tidegate.render.explain import Known
    from tidegate.render.report import Report
    from tidegate.terminal import Terminal


def tell_rule(terminal: Terminal, verdict: Verdict, name: str, known: Known) -> None:
    """Explain a rule of a verdict.

    Raises:
        ConfigError: the verdict has no such rule.
    """
    explained = explain(verdict, name, known)
    terminal.emit(document(verdict, explained))
    terminal.say(text(explained))


def write_page(path: Path, report: Report) -> None:
    """Write a verdict as one page.

    Raises:
        OutsideError: it cannot be written there.
    """
    # Here and not above: only a page needs the templates.
    from tidegate.render.html import html

    try:
        path.write_text(html(report), encoding="utf-8")
    except OSError as error:
        raise OutsideError(f"{path}: {error.strerror}") from None
