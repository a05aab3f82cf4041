"""Reading ``mlops.yaml``: strict YAML, then the JSON Schema, then the rules between keys.

All problems are reported at once. Nothing here imports numpy: ``validate`` stays under 0.2 s.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import jsonschema

from tidegate.build_canary import build_canary
from tidegate.build_config import build, warnings_of
from tidegate.errors import ConfigError
from tidegate.problems import BadConfigError, Problem, describe, dotted, near, show
from tidegate.redact import is_secret
from tidegate.resources import resource
from tidegate.yaml12 import MAX_BYTES, Document, YamlError, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tidegate.core.config import Canary, Config
    from tidegate.core.model import Task

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_OURS = ("GITHUB_", "ACTIONS_", "RUNNER_", "INPUT_", "TIDEGATE_", "GIT_")
_PLACES = frozenset({"GITHUB_WORKSPACE", "RUNNER_TEMP"})
_EXPANDABLE = (
    ("data", "train"),
    ("data", "holdout"),
    ("registry", "uri"),
    ("release", "canary", "labels", "from"),
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A good file: its configuration, and what is allowed but unwise in it."""

    config: Config
    warnings: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]  # (dotted path, variable) of every ${VAR} in use
    data: Mapping[str, Any]  # the file as plain data


def load(path: Path) -> Config:
    """Read and check ``mlops.yaml``.

    Raises:
        BadConfigError: with every problem as ``file:line:col: path: got X, expected Y``.
        ConfigError: no such file, or not text.
    """
    return load_fully(path).config


def load_fully(path: Path) -> Loaded:
    """Like :func:`load`, and also return warnings and the variables in use."""
    name = str(path)
    if path.is_symlink():  # its target may be anything that this job can read, and errors quote
        raise ConfigError(f"{name} is a link", remedy="Write the file itself.")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 8)  # enough to see that it is too long
        text = data.decode("utf-8", "strict" if len(data) <= MAX_BYTES else "replace")
    except UnicodeDecodeError as error:
        what = f"got a byte that is not UTF-8 at offset {error.start}, expected UTF-8 text"
        raise BadConfigError([f"{name}:1:1: (top): {what}"]) from None
    except OSError as error:
        raise ConfigError(
            f"{name}: {error.strerror}",
            remedy="Run `tidegate init` to write an mlops.yaml, or name one with --config.",
        ) from None
    return loads(name, text)


def loads(name: str, text: str) -> Loaded:
    """Check the text of an ``mlops.yaml``; ``name`` stands in its errors.

    Raises:
        BadConfigError: as :func:`load`.
    """
    try:
        document = parse(text)
    except YamlError as error:
        where = f"{name}:{error.mark.line}:{error.mark.column}"
        raise BadConfigError([f"{where}: (top): {error}, expected strict YAML 1.2"]) from None
    return _check(name, document)


def _check(name: str, document: Document) -> Loaded:
    problems = list(_schema_problems(document.data, "mlops.schema.json"))
    problems += _variable_problems(document.data)
    config = None
    if not problems:
        config, problems = build(
            document.data, digest_of(document.data), _rules_digest(document.data)
        )
    if config is None or problems:
        ordered = sorted({describe(name, document, p): p for p in problems}, key=_line_of)
        raise BadConfigError(ordered)
    warnings = tuple(describe(name, document, w) for w in warnings_of(config))
    variables = tuple(_variables(document.data))
    return Loaded(config=config, warnings=warnings, variables=variables, data=document.data)


def _line_of(line: str) -> tuple[int, int]:
    found = re.search(r":(\d+):(\d+): ", line)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def digest_of(data: object) -> str:
    """Return the SHA-256 of the data's canonical JSON: comments and key order do not matter."""
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _rules_digest(data: Mapping[str, Any]) -> str:
    model, rows = data["model"], data["data"]
    more = {key: model[key] for key in ("formats", "classes") if key in model}
    more |= {key: rows[key] for key in ("group", "weight") if key in rows}
    return digest_of({"task": model["task"], "gate": data["gate"], **more})


def parse_canary(data: Mapping[str, Any], task: Task) -> Canary:
    """Build the policy that a ledger recorded, by the same road as the file's.

    Raises:
        ConfigError: the recorded policy is not one that this version can follow.
    """
    canary, problems = build_canary(data, task)
    if problems:
        raise ConfigError(f"the rollout's recorded policy is not valid: {problems[0].expected}")
    return canary


# --- ${VAR} ---------------------------------------------------------------------------------


def expand(text: str, environment: Mapping[str, str], *, key: str) -> str:
    """Replace each ``${VAR}`` by the environment's value.

    Raises:
        ConfigError: a variable is unset or empty, or holds a secret; ``key`` says where it is used.

    >>> expand("sqlite:///${HOME}/r.db", {"HOME": "/h"}, key="registry.uri")
    'sqlite:////h/r.db'
    """

    def value(match: re.Match[str]) -> str:
        if match[1] not in _PLACES and (is_secret(match[1]) or match[1].startswith(_OURS)):
            raise ConfigError(
                f"{key}: {match[1]} is not for mlops.yaml: it may hold a secret",
                remedy="What stands here is sent to others and shown in errors. Use a variable "
                "of your own; MLflow reads its own credentials from the environment.",
            )
        if found := environment.get(match[1]):
            return found
        raise ConfigError(
            f"{key}: the environment variable {match[1]} is not set",
            remedy=f"Set {match[1]}, or write the value into mlops.yaml.",
        )

    return _VARIABLE.sub(value, text)


def _texts(data: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    for path in _EXPANDABLE:
        value: Any = data
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, str):
            yield path, value


def _variable_problems(data: Any) -> list[Problem]:
    return [
        Problem(path=path, got=show(text), expected="variables written as ${NAME}")
        for path, text in _texts(data)
        if "${" in _VARIABLE.sub("", text)
    ]


def _variables(data: Any) -> Iterator[tuple[str, str]]:
    for path, text in _texts(data):
        for name in _VARIABLE.findall(text):
            yield ".".join(path), name


# --- JSON Schema ----------------------------------------------------------------------------


@cache
def _validator(schema: str) -> Any:
    content = json.loads(resource(f"schemas/{schema}").read_text())
    return jsonschema.Draft202012Validator(content)


def _schema_problems(data: object, schema: str) -> Iterator[Problem]:
    for error in _validator(schema).iter_errors(data):
        yield from _explain(error, tuple(error.absolute_path))


def violations(data: object, schema: str) -> list[str]:
    """Return how ``data`` breaks one of the shipped schemas, a line each."""
    return [
        f"{dotted(p.path)}: got {p.got}, expected {p.expected}"
        for p in _schema_problems(data, schema)
    ]


def _explain(error: Any, path: tuple[str | int, ...]) -> Iterator[Problem]:
    kind, wanted, value = error.validator, error.validator_value, error.instance
    if kind == "additionalProperties":
        known = sorted(error.schema["properties"])
        for key in sorted(set(value) - set(known)):
            yield Problem(
                path=(*path, key),
                at_key=True,
                got=f"an unknown key {show(key)}",
                expected=f"one of {', '.join(known)}",
                fix=near(key, known),
            )
    elif kind == "required":
        for key in sorted(set(wanted) - set(value)):
            # jsonschema reports each missing key by itself; name only the one this error is about.
            if f"{key!r} is a required" in error.message:
                yield Problem(path=(*path, key), got="nothing", expected=f"the key {key!r}")
    else:
        fix = near(str(value), map(str, wanted)) if kind == "enum" else ""
        yield Problem(path=path, got=show(value), expected=_expectation(error), fix=fix)


def _expectation(error: Any) -> str:
    kind, wanted = error.validator, error.validator_value
    about = error.schema.get("description", "").rstrip(".")
    if kind == "type":
        return " or ".join(_TYPES[t] for t in ([wanted] if isinstance(wanted, str) else wanted))
    if kind == "enum":
        return "one of " + ", ".join(map(str, wanted))
    if kind == "pattern":
        return about[:1].lower() + about[1:] or f"text like {wanted}"
    if kind not in _LIMITS:
        return about[:1].lower() + about[1:] or "something else; see the schema"
    return _LIMITS[kind].format(wanted)


_LIMITS = {
    "const": "{}",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "minItems": "at least {} item(s)",
    "maxItems": "at most {} items",
    "maxProperties": "at most {} keys",
    "minLength": "text that is not empty",
    "maxLength": "at most {} characters",
    "uniqueItems": "no item twice",
}


_TYPES = {
    "object": "a mapping (key: value)",
    "array": "a list",
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "null",
}
