"""Cut Google's discovery documents down to what the stand-in serves.

    pip install google-api-python-client==2.202.0     # in a virtual environment of its own
    python -m tests.gcp.cut SITE_PACKAGES/googleapiclient/discovery_cache/documents

writes ``discovery.json`` beside this file: the methods of ``services.py``, the schemas that they
refer to, and no prose. What the documents say only in prose, that a field is required, is kept as
``"required": true``. The documents are Google's, under the Apache licence 2.0.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from tests.gcp.description import CUT
from tests.gcp.services import METHODS, RESPONSES

KEPT = ("type", "format", "enum", "$ref", "repeated", "location", "readOnly")
# "Required." or "Required, except ...", also after "Immutable.".
_REQUIRED = re.compile(r"(Immutable\. )?Required\b")


def bare(node: dict[str, Any]) -> dict[str, Any]:
    """Return a schema or parameter without prose."""
    kept = {key: node[key] for key in KEPT if key in node}
    if node.get("required") or _REQUIRED.match(node.get("description", "")):
        kept["required"] = True
    if "properties" in node:
        kept["properties"] = {name: bare(inner) for name, inner in node["properties"].items()}
    for key in ("items", "additionalProperties"):
        if key in node:
            kept[key] = bare(node[key])
    return kept


def references(node: Any) -> set[str]:
    """Return every ``$ref`` in a node."""
    if not isinstance(node, dict):
        return set()
    own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
    return own.union(*map(references, node.values()))


def methods(document: dict[str, Any]) -> dict[str, Any]:
    """Return every method of a document by its id."""
    found = {method["id"]: method for method in document.get("methods", {}).values()}
    for resource in document.get("resources", {}).values():
        found |= methods(resource)
    return found


def cut(
    document: dict[str, Any], wanted: tuple[str, ...], responses: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return the part of a document that some methods need, and the responses of operations."""
    known = methods(document)
    kept = {}
    for name in sorted(wanted):
        method = known[name]
        kept[name] = {
            "httpMethod": method["httpMethod"],
            "path": document["servicePath"] + method.get("flatPath", method["path"]),
            "parameters": {
                key: bare(parameter)
                for key, parameter in method["parameters"].items()
                if parameter["location"] == "query"
            },
            **{key: method[key]["$ref"] for key in ("request", "response") if key in method},
        }
    schemas: dict[str, Any] = {}
    todo = set(responses)
    todo |= {method[key] for method in kept.values() for key in method.keys() & {"request"}}
    todo |= {method[key] for method in kept.values() for key in method.keys() & {"response"}}
    while todo := todo - schemas.keys():
        for name in todo:
            schemas[name] = bare(document["schemas"][name])
        todo = references(schemas)
    return {
        "revision": document["revision"],
        "parameters": {name: bare(node) for name, node in document["parameters"].items()},
        "methods": kept,
        "schemas": dict(sorted(schemas.items())),
    }


def written(documents: dict[str, Any]) -> str:
    """Return the file's text: one line per method and schema, so that a change shows."""

    def line(name: str, value: Any) -> str:
        return f"{json.dumps(name)}:{json.dumps(value, separators=(',', ':'), sort_keys=True)}"

    def block(items: dict[str, Any]) -> str:
        return "{\n" + ",\n".join(line(name, value) for name, value in items.items()) + "\n}"

    parts = []
    for name, document in documents.items():
        head = [line(key, document[key]) for key in ("revision", "parameters")]
        long = [f"{json.dumps(key)}:{block(document[key])}" for key in ("methods", "schemas")]
        parts.append(f"{json.dumps(name)}:{{\n" + ",\n".join(head + long) + "\n}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    cuts = {
        name: cut(
            json.loads((folder / f"{name}.json").read_text(encoding="utf-8")),
            wanted,
            RESPONSES.get(name, ()),
        )
        for name, wanted in METHODS.items()
    }
    CUT.write_text(written(cuts), encoding="utf-8")
