"""Google's discovery documents, as far as the stand-in needs them: find a method, check bodies.

Stricter than Google in nothing that a client could rely on: a field that the document does not
name is refused there as well. What is refused here is also recorded, because it is a mistake.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CUT = Path(__file__).with_name("discovery.json")

_FORMATS = {
    "google-datetime": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)"),
    "date-time": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)"),
    "google-duration": re.compile(r"-?\d+(\.\d{1,9})?s"),
    "google-fieldmask": re.compile(r"[A-Za-z0-9_.,*]*"),
    "int64": re.compile(r"-?\d+"),
    "uint64": re.compile(r"\d+"),
}
_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "number": (int, float),
    "integer": (int,),
    "array": (list,),
    "object": (dict,),
}


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method of a service, with the place where it is served."""

    id: str
    document: str
    http: str
    pattern: re.Pattern[str]
    parameters: Mapping[str, Mapping[str, Any]]
    request: str | None
    response: str | None


class Description:
    """All documents of the cut."""

    def __init__(self, documents: Mapping[str, Any]) -> None:
        self._documents = documents
        self.revisions = {name: one["revision"] for name, one in documents.items()}
        self.methods = {
            key: Method(
                id=key,
                document=name,
                http=content["httpMethod"],
                pattern=_pattern(content["path"]),
                parameters=one["parameters"] | content["parameters"],
                request=content.get("request"),
                response=content.get("response"),
            )
            for name, one in documents.items()
            for key, content in one["methods"].items()
        }

    def find(self, document: str, http: str, path: str) -> tuple[Method, dict[str, str]] | None:
        """Return the method that a path, still percent-encoded, asks for."""
        for method in self.methods.values():
            if method.document == document and method.http == http:
                match = method.pattern.fullmatch(path)
                if match:
                    return method, {k: unquote(v) for k, v in match.groupdict().items()}
        return None

    # --- checking -------------------------------------------------------------------------------

    def query_problems(self, method: Method, query: Mapping[str, Sequence[str]]) -> list[str]:
        """Return what is wrong with a query."""
        problems = []
        for name, values in query.items():
            known = method.parameters.get(name)
            if known is None:
                problems.append(f'Unknown name "{name}": Cannot bind query parameter.')
                continue
            if len(values) > 1 and not known.get("repeated"):
                problems.append(f'"{name}" is given {len(values)} times.')
            for value in values:
                problems += self._text_problems(known, value, name)
        return problems + [
            f'"{name}" is required.'
            for name, known in method.parameters.items()
            # An enumeration left out is its first value.
            if known.get("required") and "enum" not in known and not query.get(name)
        ]

    def body_problems(self, method: Method, body: Any) -> list[str]:
        """Return what is wrong with a request's decoded body; None: there was none."""
        if method.request is None:
            return [] if body is None else ["a body, where none is described"]
        given = {} if body is None else body
        schema = {"$ref": method.request}
        # A partial update names what it means in its mask; the rest need not be there.
        whole = method.http != "PATCH"
        return list(self._problems(method.document, schema, given, "", required=whole, ours=False))

    def answer_problems(self, method: Method, body: Any) -> list[str]:
        """Return what is wrong with an answer of ours."""
        if method.response is None:
            return [] if body is None else ["an answer, where none is described"]
        if not isinstance(body, dict):
            return ["the answer is not an object"]
        schema = {"$ref": method.response}
        return list(self._problems(method.document, schema, body, "", required=False, ours=True))

    def schema_problems(self, document: str, schema: str, value: Any) -> list[str]:
        """Return what is wrong with a value of ours, by a schema's name."""
        ref = {"$ref": schema}
        return list(self._problems(document, ref, value, schema, required=False, ours=True))

    def mask_problems(self, method: Method, mask: str) -> list[str]:
        """Return the paths of a field mask that are no fields of the request."""
        schemas = self._documents[method.document]["schemas"]
        problems = []
        for path in mask.split(","):
            node: Mapping[str, Any] = {"$ref": method.request}
            for word in path.split("."):
                node = schemas[node["$ref"]] if "$ref" in node else node
                name = camel(word)
                if name not in node.get("properties", {}) and "additionalProperties" not in node:
                    problems.append(f"Invalid update mask path: {path!r}")
                    break
                node = node.get("properties", {}).get(name, {"additionalProperties": {}})
        return problems

    def _problems(
        self,
        document: str,
        schema: Mapping[str, Any],
        value: Any,
        where: str,
        *,
        required: bool,
        ours: bool,
    ) -> Iterator[str]:
        while "$ref" in schema:
            schema = self._documents[document]["schemas"][schema["$ref"]]
        kind = schema.get("type", "any")
        if kind == "any" or (value is None and not ours):  # null is the same as left out
            return
        given: Any = value
        if not isinstance(value, _KINDS[kind]) or (kind != "boolean" and isinstance(value, bool)):
            if kind == "string" and schema.get("format") in {"int64", "uint64"} and not ours:
                return  # numbers are taken for int64, too, but never answered
            yield f"Invalid value at '{where}' ({kind}): {str(value)[:80]!r}"
        elif kind == "string":
            yield from self._text_problems(schema, given, where)
        elif kind == "array":
            for number, item in enumerate(given):
                yield from self._problems(
                    document, schema["items"], item, f"{where}[{number}]",
                    required=required, ours=ours,
                )  # fmt: skip
        elif kind == "object":
            yield from self._object(document, schema, given, where, required=required, ours=ours)

    def _object(
        self,
        document: str,
        schema: Mapping[str, Any],
        value: Mapping[str, Any],
        where: str,
        *,
        required: bool,
        ours: bool,
    ) -> Iterator[str]:
        properties = schema.get("properties", {})
        for key, inner in value.items():
            described = properties.get(key, schema.get("additionalProperties"))
            if described is None:
                yield f"Unknown name \"{key}\" at '{where}': Cannot find field."
                continue
            at = f"{where}.{key}".strip(".")
            yield from self._problems(
                document, described, inner, at, required=required, ours=ours
            )  # fmt: skip
        for key, described in properties.items():
            if required and described.get("required") and value.get(key) in (None, "", [], {}):
                yield f"Required field is not set: {f'{where}.{key}'.strip('.')}"

    @staticmethod
    def _text_problems(schema: Mapping[str, Any], text: str, where: str) -> Iterator[str]:
        kind, form = schema.get("type"), schema.get("format", "")
        if "enum" in schema and text not in schema["enum"]:
            yield f"Invalid value at '{where}' (enum): {text!r}"
        elif kind == "integer" and not re.fullmatch(r"-?\d+", text):
            yield f"Invalid value at '{where}' (integer): {text!r}"
        elif kind == "boolean" and text not in {"true", "false"}:
            yield f"Invalid value at '{where}' (boolean): {text!r}"
        elif form in _FORMATS and not _FORMATS[form].fullmatch(text):
            yield f"Invalid value at '{where}' ({form}): {text[:80]!r}"
        elif form == "byte":
            try:
                base64.b64decode(text, validate=True)
            except binascii.Error:
                yield f"Invalid value at '{where}' (base64): {text[:80]!r}"


def camel(word: str) -> str:
    """Return a field's name as JSON writes it; masks may use either.

    >>> camel("traffic_split"), camel("trafficSplit")
    ('trafficSplit', 'trafficSplit')
    """
    head, *rest = word.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def _pattern(path: str) -> re.Pattern[str]:
    # An object's name has its slashes encoded and may hold a colon; ids of the others do not.
    one = "[^/]+" if path.startswith("storage/") else "[^/:]+"
    parts = re.split(r"\{\+?(\w+)\}", path)
    return re.compile(
        "".join(f"(?P<{p}>{one})" if n % 2 else re.escape(p) for n, p in enumerate(parts))
    )


@functools.cache
def description() -> Description:
    """Return the cut."""
    return Description(json.loads(CUT.read_text(encoding="utf-8")))
