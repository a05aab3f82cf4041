"""Every workflow, action and Dependabot file we ship, wherever it is written down."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[2]
OURS = "tidegate/tidegate"

Kind = Literal["workflow", "action", "dependabot"]

_FENCE = re.compile(r"^(?P<indent> *)```ya?ml[^\n]*\n(?P<body>.*?)^ *```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Document:
    """One YAML text. ``name`` is its path, with ``:line`` when it was cut out of a page."""

    name: str
    text: str
    kind: Kind

    @cached_property
    def data(self) -> dict[str, Any]:
        """The text with every scalar as the string that was written (``on`` stays ``on``)."""
        loaded = yaml.load(self.text, Loader=yaml.BaseLoader)
        return loaded if isinstance(loaded, dict) else {}

    @cached_property
    def root(self) -> yaml.Node | None:
        """The composed tree, which knows lines and tags."""
        return yaml.compose(self.text, Loader=yaml.SafeLoader)

    @cached_property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @property
    def for_users(self) -> bool:
        """Whether users copy it into a repository of theirs."""
        return not self.name.startswith((".github/", "action.yml"))

    @property
    def jobs(self) -> dict[str, dict[str, Any]]:
        return dict(self.data.get("jobs") or {}) if self.kind == "workflow" else {}

    @property
    def events(self) -> dict[str, Any]:
        on = self.data.get("on") or {}
        if isinstance(on, str):
            return {on: {}}
        return (
            {key: {} for key in on} if isinstance(on, list) else {k: v or {} for k, v in on.items()}
        )

    @property
    def steps(self) -> list[tuple[str, dict[str, Any]]]:
        """Every step with the id of its job ("" in an action)."""
        if self.kind == "action":
            return [("", step) for step in (self.data.get("runs") or {}).get("steps") or []]
        return [(job, step) for job, body in self.jobs.items() for step in body.get("steps") or []]

    def scalars(self, key: str) -> Iterator[tuple[int, str]]:
        """Every scalar under ``key``, anywhere: its line (0-based) and its text."""
        for node in _mappings(self.root):
            for name, value in node.value:
                if name.value == key and isinstance(value, yaml.ScalarNode):
                    yield value.start_mark.line, value.value


def _mappings(node: yaml.Node | None) -> Iterator[yaml.MappingNode]:
    if isinstance(node, yaml.MappingNode):
        yield node
        for _, value in node.value:
            yield from _mappings(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _mappings(value)


def mappings(document: Document) -> Iterator[yaml.MappingNode]:
    """Every mapping in the document, outermost first."""
    return _mappings(document.root)


@dataclass(frozen=True)
class Project:
    """A set of documents, and the files of ours that their references can name."""

    documents: tuple[Document, ...]
    files: Mapping[str, Document] = field(default_factory=dict)

    def own(self, uses: str) -> str | None:
        """The path in our repository that ``uses`` names, or None when it is somebody else's."""
        if uses.startswith(("$/", "./")):
            path = uses[2:].partition("@")[0]
        elif uses.partition("@")[0] == OURS or uses.startswith(f"{OURS}/"):
            path = uses.partition("@")[0].removeprefix(OURS).strip("/")
        else:
            return None
        return path if path.endswith((".yml", ".yaml")) else f"{path}/action.yml".lstrip("/")

    def callee(self, uses: str) -> Document | None:
        path = self.own(uses)
        return self.files.get(path) if path is not None else None


def cut(name: str, page: str) -> Iterator[Document]:
    """The YAML blocks of a Markdown page that are whole workflows or actions."""
    for match in _FENCE.finditer(page):
        width = len(match["indent"])
        body = "".join(line[width:] or "\n" for line in match["body"].splitlines(keepends=True))
        line = page.count("\n", 0, match.start()) + 1
        if re.search(r"^(on|jobs):", body, re.MULTILINE):
            yield Document(f"{name}:{line}", body, "workflow")
        elif re.search(r"^runs:", body, re.MULTILINE):
            yield Document(f"{name}:{line}", body, "action")


def shipped(root: Path = ROOT) -> Project:
    """All the documents of the project at ``root``."""
    paths: dict[Path, Kind] = {}
    for pattern, kind in (
        (".github/workflows/*.y*ml", "workflow"),
        ("workflow-templates/*.y*ml", "workflow"),
        ("examples/**/.github/workflows/*.y*ml", "workflow"),
        ("action.y*ml", "action"),
        (".github/actions/*/action.y*ml", "action"),
        ("examples/**/action.y*ml", "action"),
        (".github/dependabot.y*ml", "dependabot"),
        ("examples/**/.github/dependabot.y*ml", "dependabot"),
    ):
        paths |= dict.fromkeys(root.glob(pattern), kind)  # type: ignore[arg-type]
    files = {
        str(path.relative_to(root)): Document(str(path.relative_to(root)), path.read_text(), kind)
        for path, kind in sorted(paths.items())
    }
    pages = [*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("examples/**/*.md")]
    blocks = [
        block
        for page in sorted(pages)
        for block in cut(str(page.relative_to(root)), page.read_text())
    ]
    return Project((*files.values(), *blocks), files)
