"""GitHub's OpenAPI description (3.0), as far as the loopback GitHub needs it: check, and fill in.

Stricter than the description in one way: a parameter, or a key of a body, that is not named there
is a problem too. GitHub ignores those in silence; here they are somebody's mistake.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from jsonschema import Draft202012Validator, FormatChecker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CUT = Path(__file__).with_name("openapi.json")

# Parameters of paths that hold slashes: a file's path, a ref's name.
_LONG = {"path", "ref"}
# What any operation may answer, described or not.
_ALWAYS = {400, 401, 403, 404, 409, 410, 422, 429, 500, 502, 503}
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")

_formats = FormatChecker(formats=())


@_formats.checks("date-time")
def _is_date(value: object) -> bool:
    return not isinstance(value, str) or _DATE.fullmatch(value) is not None


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A method on a path."""

    method: str
    template: str
    pattern: re.Pattern[str]
    content: Mapping[str, Any]


class Description:
    """The cut of the description."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.version = document["info"]["version"]
        self._components = _modern(document["components"])
        for amended in ("pull-request-simple", "pull-request"):
            # GitHub answers null once the fork was deleted, whatever the description says.
            head = self._components["schemas"][amended]["properties"]["head"]["properties"]
            head["repo"] = {"anyOf": [head["repo"], {"type": "null"}]}
        self.operations = [
            Operation(
                method=method.upper(),
                template=template,
                pattern=_pattern(template),
                content=_modern(content),
            )
            for template, methods in document["paths"].items()
            for method, content in methods.items()
        ]

    def find(self, method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
        """Return the operation that a path, still percent-encoded, asks for; fixed words win."""
        found = [
            (operation, {key: unquote(value) for key, value in match.groupdict().items()})
            for operation in self.operations
            if operation.method == method and (match := operation.pattern.fullmatch(path))
        ]
        return min(found, key=lambda pair: len(pair[1]), default=None)

    # --- checking -------------------------------------------------------------------------------

    def request_problems(
        self,
        operation: Operation,
        params: Mapping[str, str],
        query: Mapping[str, str],
        body: Any,
    ) -> list[str]:
        """Return what is wrong with a request; ``body`` is decoded JSON, or None."""
        known = [self._resolve(p) for p in operation.content.get("parameters", [])]
        given = {"path": dict(params), "query": dict(query)}
        problems = [
            f"query parameter {name!r} is not described"
            for name in set(query) - {p["name"] for p in known if p["in"] == "query"}
        ]
        for parameter in known:
            where, name = parameter["in"], parameter["name"]
            if name in given.get(where, {}):
                value = _typed(given[where][name], self._resolve(parameter["schema"]))
                problems += self._problems(parameter["schema"], value, f"{where} {name}")
            elif where == "query" and parameter.get("required"):
                problems.append(f"query parameter {name!r} is required")
        return problems + self._body_problems(operation, body)

    def _body_problems(self, operation: Operation, body: Any) -> list[str]:
        described = operation.content.get("requestBody")
        if described is None:
            return [] if body is None else ["a body, where none is described"]
        schema = described["content"].get("application/json", {}).get("schema")
        if schema is None:
            return []  # bytes
        if body is None:
            return ["no body"] if described.get("required") else []
        return [*self._problems(schema, body, "body"), *self._unknown_keys(schema, body, "body")]

    def response_problems(
        self, operation: Operation, status: int, body: Any, content_type: str
    ) -> list[str]:
        """Return what is wrong with an answer."""
        described = operation.content["responses"].get(str(status))
        if described is None and status not in _ALWAYS:
            return [f"status {status} is not described"]
        content = self._resolve(described or {}).get("content", {})
        if not content and status >= 400:  # GitHub says more than it describes
            schema = {"$ref": "#/components/schemas/basic-error"}
            return self._problems(schema, body, f"answer {status}")
        if not content:
            return [] if body is None else [f"a body with status {status}"]
        if content_type not in content:
            return []  # bytes
        return self._problems(content[content_type]["schema"], body, f"answer {status}")

    def _problems(self, schema: Mapping[str, Any], value: Any, where: str) -> list[str]:
        validator = Draft202012Validator(
            {**schema, "components": self._components}, format_checker=_formats
        )
        return [
            f"{where}: {'/'.join(map(str, error.absolute_path))}: {error.message[:300]}"
            for error in validator.iter_errors(value)
        ]

    def _unknown_keys(self, schema: Mapping[str, Any], value: Any, where: str) -> Iterator[str]:
        schema = self._resolve(schema)
        if isinstance(value, list) and "items" in schema:
            for item in value:
                yield from self._unknown_keys(schema["items"], item, f"{where}[]")
        properties = self._properties(schema, value)
        if isinstance(value, dict) and properties and not schema.get("additionalProperties"):
            for key, inner in value.items():
                if key in properties:
                    yield from self._unknown_keys(properties[key], inner, f"{where}.{key}")
                else:
                    yield f"{where}.{key} is not described"

    # --- filling in -----------------------------------------------------------------------------

    def fill(self, name: str, values: Mapping[str, Any]) -> Any:
        """Return an object of a schema: ``values``, and the rest of what is required, empty.

        Raises:
            KeyError: a value has no place in the schema.
        """
        return self._fill({"$ref": f"#/components/schemas/{name}"}, values, name)

    def _fill(self, schema: Mapping[str, Any], value: Any, where: str) -> Any:
        schema = self._variant(self._resolve(schema), value)
        if isinstance(value, list):
            return [self._fill(schema.get("items", {}), item, f"{where}[]") for item in value]
        if not isinstance(value, dict):
            return value
        properties = self._properties(schema, value)
        if not properties:
            return value
        if unknown := value.keys() - properties.keys():
            raise KeyError(f"{where} has no {sorted(unknown)}")
        full = {key: self._fill(properties[key], value[key], f"{where}.{key}") for key in value}
        for key in self._required(schema):
            full.setdefault(key, self._blank(properties.get(key, {})))
        return full

    def _blank(self, schema: Mapping[str, Any]) -> Any:
        """Return the emptiest value that a schema takes."""
        schema = self._variant(self._resolve(schema), None)
        kinds = schema.get("type")
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if "null" in kinds:
            return None
        if "enum" in schema:
            return schema["enum"][0]
        if "properties" in schema or "allOf" in schema or kinds == ["object"]:
            properties = self._properties(schema, None)
            return {key: self._blank(properties[key]) for key in self._required(schema)}
        if schema.get("format") == "date-time":
            return "2026-01-01T00:00:00Z"
        empty = {
            "string": "0" * schema.get("minLength", 0),
            "integer": 0,
            "number": 0,
            "boolean": False,
            "array": [],
        }
        return empty.get(str(kinds[0]))

    def _resolve(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in schema:
            _, _, kind, name = schema["$ref"].split("/")
            schema = self._components[kind][name]
        return schema

    def _variant(self, schema: Mapping[str, Any], value: Any) -> Mapping[str, Any]:
        """Return the first alternative that has room for a value's keys."""
        alternatives = schema.get("anyOf") or schema.get("oneOf")
        if not alternatives or "properties" in schema:
            return schema
        resolved = [self._variant(self._resolve(one), value) for one in alternatives]
        if value is None:
            return next((one for one in resolved if one.get("type") == "null"), resolved[0])
        for one in resolved:
            if isinstance(value, list) and one.get("type") == "array":
                return one
            if isinstance(value, dict) and value.keys() <= self._properties(one, value).keys():
                return one
        return resolved[0]

    def _properties(self, schema: Mapping[str, Any], value: Any) -> dict[str, Any]:
        schema = self._variant(self._resolve(schema), value)
        found = dict(schema.get("properties", {}))
        for part in schema.get("allOf", []):
            found |= self._properties(part, value)
        return found

    def _required(self, schema: Mapping[str, Any]) -> list[str]:
        schema = self._resolve(schema)
        return [
            *schema.get("required", []),
            *(key for part in schema.get("allOf", []) for key in self._required(part)),
        ]


@functools.cache
def description() -> Description:
    """Return the cut that is kept beside this file."""
    return Description(json.loads(CUT.read_text(encoding="utf-8")))


def _pattern(template: str) -> re.Pattern[str]:
    def group(match: re.Match[str]) -> str:
        name = match[1]
        # Only refs below git/ may hold plain slashes: /commits/{ref}/check-runs must not.
        long = name in _LONG and template.endswith(match[0])
        return f"(?P<{name}>{'.+' if long else '[^/]+'})"

    return re.compile(re.sub(r"\{(\w+)\}", group, template))


def _modern(schema: Any) -> Any:
    """Return OpenAPI 3.0's ``nullable`` in the words of JSON Schema."""
    if isinstance(schema, list):
        return [_modern(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _modern(value) for key, value in schema.items() if key != "nullable"}
    if schema.get("nullable") is not True:
        if isinstance(schema.get("nullable"), dict):
            found["nullable"] = _modern(schema["nullable"])  # a property of that name
        return found
    if isinstance(found.get("type"), str) and not {"allOf", "anyOf", "oneOf"} & found.keys():
        found["type"] = [found["type"], "null"]
        if "enum" in found and None not in found["enum"]:
            found["enum"] = [*found["enum"], None]
        return found
    return {"anyOf": [found, {"type": "null"}]}


def _typed(text: str, schema: Mapping[str, Any]) -> Any:
    """Return a parameter's text as the type that its schema asks for, where it is one."""
    kind = schema.get("type")
    if kind == "integer" and re.fullmatch(r"-?\d+", text):
        return int(text)
    if kind == "boolean" and text in {"true", "false"}:
        return text == "true"
    if "oneOf" in schema and text.isdigit():
        return int(text)
    return text
