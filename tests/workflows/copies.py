"""Temporary copies of our YAML in the shape each tool can read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.workflows.documents import OURS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.workflows.documents import Document, Project

_OURS_PINNED = re.compile(rf"uses: {OURS}/(\S+)@[0-9a-f]{{40}}( # v[\d.]+)?")
_OURS_ROOT = re.compile(rf"uses: {OURS}@[0-9a-f]{{40}}( # v[\d.]+)?")


def plain(text: str) -> str:
    """GitHub's placeholder in templates, as it is filled in when somebody takes one."""
    return text.replace("$default-branch", "main")


def at_home(text: str) -> str:
    """References to a release of ours, as references to the files here, so that a tool follows."""
    return _OURS_ROOT.sub("uses: $/action-root", _OURS_PINNED.sub(r"uses: $/\1", text))


def written(document: Document) -> str:
    """A file name for the copy, which says where it came from."""
    return re.sub(r"[^\w.-]+", "-", document.name).strip("-").removesuffix(".yml") + ".yml"


def lay_out(project: Project, folder: Path) -> dict[str, Document]:
    """Write every document as a repository in ``folder``; return copies by their path there.

    Workflows and actions of ours stand where they stand; what users copy stands beside the
    workflows, with references to our release pointing home.
    """
    (folder / ".git").mkdir(parents=True)
    copies: dict[str, Document] = {}
    for document in project.documents:
        where, text = document.name, plain(document.text)
        if document.for_users:
            text = at_home(text)
            if document.kind == "workflow":
                where = f".github/workflows/{written(document)}"
            else:
                where = (
                    f".github/{document.kind}s/{written(document).removesuffix('.yml')}/action.yml"
                )
        (folder / where).parent.mkdir(parents=True, exist_ok=True)
        (folder / where).write_text(text, encoding="utf-8")
        copies[where] = document
    if "action.yml" in copies:
        root = folder / "action-root/action.yml"
        root.parent.mkdir()
        root.write_text(copies["action.yml"].text, encoding="utf-8")
    return copies


def scripts(document: Document) -> Iterator[tuple[str, str]]:
    """Every ``run:`` block with where it stands."""
    for number, (job, step) in enumerate(document.steps):
        if "run" in step:
            yield f"{document.name}: {job} step {number + 1}", step["run"]
