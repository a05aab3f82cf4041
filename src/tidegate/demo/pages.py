"""What the story leaves to read: comments, reports, the ledger's page, status and log."""

from __future__ import annotations

import argparse
import io
from typing import TYPE_CHECKING

from tidegate.commands import log, status
from tidegate.commands.context import BRANCH, Context
from tidegate.commands.report import gather
from tidegate.demo.stage import ENDPOINT
from tidegate.git import text
from tidegate.home import VERDICT
from tidegate.render.comment import comment
from tidegate.render.html import html
from tidegate.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tidegate.demo.chapters import Chapter
    from tidegate.demo.stage import Stage


def context(stage: Stage, terminal: Terminal) -> Context:
    """Return the context of the user's clone, as the commands see it."""
    return Context.of(argparse.Namespace(config=stage.work / "mlops.yaml"), terminal)


def write(stage: Stage, pushed: Mapping[Chapter, str], terminal: Terminal) -> dict[str, Path]:
    """Write the pages; return what each is, and where."""
    here = context(stage, terminal)
    pages = {"the ledger's page": stage.pages / "ledger.md"}
    branch = f"{BRANCH}/{ENDPOINT}"
    pages["the ledger's page"].write_text(text(stage.origin, "show", f"{branch}:README.md") + "\n")
    for chapter, commit in pushed.items():
        report = gather(here, stage.home.bundle(commit) / VERDICT)
        stem = stage.pages / f"{chapter.number}-{chapter.name}"
        stem.with_suffix(".md").write_text(comment(report))
        stem.with_suffix(".html").write_text(html(report))
        pages[f"push {chapter.number} as a comment"] = stem.with_suffix(".md")
        pages[f"push {chapter.number} as a report"] = stem.with_suffix(".html")
    for name, command in (("status", status), ("log", log)):
        path = stage.pages / f"{name}.txt"
        path.write_text(_said(stage, command))
        pages[f"tidegate {name}"] = path
    return pages


def _said(stage: Stage, command: object) -> str:
    """Return what a command prints."""
    out = io.StringIO()
    args = argparse.Namespace(config=stage.work / "mlops.yaml", json=False, n=None, all=False)
    command.run(args, Terminal(out=out, err=out))  # type: ignore[attr-defined] # a verb's module
    return out.getvalue()
