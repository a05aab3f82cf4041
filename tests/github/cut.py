"""Cut GitHub's OpenAPI description down to what the loopback GitHub serves.

    npm pack @octokit/openapi@23.0.2 && tar xzf octokit-openapi-23.0.2.tgz
    python -m tests.github.cut package/generated/api.github.com.json

writes ``openapi.json`` beside this file: the operations of ``routes.py``, what they refer to, and
no prose. The description is GitHub's, under the MIT licence.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.github import actions, code, talk  # noqa: F401 - they fill ROUTES
from tests.github.description import CUT
from tests.github.routing import ROUTES

PROSE = {"description", "summary", "example", "examples", "externalDocs", "tags", "title"}
# The kinds of content that are checked; for the rest only that there is some.
CONTENT = {"application/json", "application/octet-stream"}


def bare(node: Any, *, named: bool = False) -> Any:
    """Return a node without prose; ``named`` where its keys are names that somebody chose."""
    if isinstance(node, list):
        return [bare(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {}
    for key, value in node.items():
        if not named and (key in PROSE or key.startswith("x-")):
            continue
        if key == "content" and not named and isinstance(value, dict):
            kept[key] = {kind: bare(value[kind]) for kind in value if kind in CONTENT}
        else:
            kept[key] = bare(value, named=key in {"properties", "responses"} and not named)
    return kept


def references(node: Any) -> set[str]:
    """Return every ``$ref`` in a node."""
    if isinstance(node, list):
        return set().union(*map(references, node))
    if not isinstance(node, dict):
        return set()
    own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
    return own.union(*map(references, node.values()))


def cut(document: dict[str, Any]) -> dict[str, Any]:
    """Return the part of the description that :data:`ROUTES` needs."""
    paths: dict[str, Any] = {}
    for method, path in sorted(ROUTES):
        paths.setdefault(path, {})[method.lower()] = bare(document["paths"][path][method.lower()])
    components: dict[str, Any] = {}
    wanted = references(paths) | {"#/components/schemas/basic-error"}
    done: set[str] = set()
    while wanted := wanted - done:
        for reference in sorted(wanted):
            _, _, kind, name = reference.split("/")
            components.setdefault(kind, {})[name] = bare(document["components"][kind][name])
        done |= wanted
        wanted = references(components)
    return {
        "openapi": document["openapi"],
        "info": {
            "title": "A cut of @octokit/openapi",
            "version": document["info"]["version"],
            "license": document["info"]["license"],
        },
        "paths": dict(sorted(paths.items())),
        "components": {kind: dict(sorted(components[kind].items())) for kind in sorted(components)},
    }


def written(document: dict[str, Any]) -> str:
    """Return the file's text: one line per path and component, so that a change shows."""

    def block(items: dict[str, Any]) -> str:
        lines = (
            f"{json.dumps(name)}:{json.dumps(value, separators=(',', ':'), sort_keys=True)}"
            for name, value in items.items()
        )
        return "{\n" + ",\n".join(lines) + "\n}"

    head = {key: json.dumps(document[key], sort_keys=True) for key in ("openapi", "info")}
    head["paths"] = block(document["paths"])
    kinds = (f"{json.dumps(kind)}:{block(items)}" for kind, items in document["components"].items())
    head["components"] = "{\n" + ",\n".join(kinds) + "\n}"
    return "{\n" + ",\n".join(f"{json.dumps(key)}:{text}" for key, text in head.items()) + "\n}\n"


if __name__ == "__main__":
    whole = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    CUT.write_text(written(cut(whole)), encoding="utf-8")
