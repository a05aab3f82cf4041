"""How GitHub's runner reads what a step leaves: a port of its two parsers, as the tests' oracle.

After ``src/Runner.Worker/FileCommandManager.cs`` and ``src/Runner.Common/ActionCommand.cs`` of
https://github.com/actions/runner, as of August 2026.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# What the runner registers; a line that names none of them is text.
COMMANDS = frozenset(
    {
        "add-mask", "add-matcher", "add-path", "debug", "echo", "endgroup", "error", "group",
        "internal-set-repo-path", "notice", "remove-matcher", "save-state", "set-env", "set-output",
        "stop-commands", "warning",
    }
)  # fmt: skip


class RunnerError(Exception):
    """The runner would fail the step."""


def read_pairs(text: str) -> list[tuple[str, str]]:
    """Return the keys and values of a file like ``GITHUB_OUTPUT``, in order, repeated or not."""
    pairs: list[tuple[str, str]] = []
    lines = text.split("\n")  # on Linux nothing else ends a line
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if not line:
            continue
        equals, heredoc = line.find("="), line.find("<<")
        if heredoc >= 0 and (equals < 0 or heredoc < equals):
            name, delimiter = line.split("<<", 1)
            if not name or not delimiter:
                raise RunnerError(f"invalid format {line!r}")
            end = next((i for i in range(at, len(lines)) if lines[i] == delimiter), None)
            if end is None:
                raise RunnerError(f"no delimiter {delimiter!r}")
            pairs.append((name, "\n".join(lines[at:end])))
            at = end + 1
        elif equals >= 0:
            name, value = line.split("=", 1)
            if not name:
                raise RunnerError(f"invalid format {line!r}")
            pairs.append((name, value))
        else:
            raise RunnerError(f"invalid format {line!r}")
    return pairs


@dataclass(frozen=True)
class Command:
    """A command as the runner understands it."""

    name: str
    data: str
    properties: dict[str, str] = field(default_factory=dict)


_DATA = (("%0D", "\r"), ("%0A", "\n"), ("%25", "%"))
_PROPERTY = (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%"))
_OLD = (("%3B", ";"), ("%0D", "\r"), ("%0A", "\n"), ("%5D", "]"), ("%25", "%"))


def read_log(text: str) -> list[Command]:
    """Return the commands that the runner would obey in a step's output."""
    obeyed: list[Command] = []
    stopped: str | None = None
    # .NET's line reader ends a line at CR, LF or both.
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        known = COMMANDS | ({stopped} if stopped else set())
        command = _new(line, known) or _old(line, known)
        if command is None:
            continue
        if stopped is not None:
            if command.name == stopped:
                stopped = None
        elif command.name == "stop-commands":
            stopped = command.data
        else:
            obeyed.append(command)
    return obeyed


def _unescape(text: str, table: tuple[tuple[str, str], ...]) -> str:
    for escaped, plain in table:
        text = text.replace(escaped, plain)
    return text


def _new(line: str, known: frozenset[str] | set[str]) -> Command | None:
    """Read ``::name key=value,key=value::data``; blanks may stand before it."""
    line = line.lstrip()
    end = line.find("::", 2)
    if not line.startswith("::") or end < 0:
        return None
    name, _, rest = line[2:end].partition(" ")
    if name not in known:
        return None
    pairs = (pair.split("=", 1) for pair in rest.strip().split(",") if "=" in pair)
    properties = {key.strip(): _unescape(value, _PROPERTY) for key, value in pairs}
    return Command(name, _unescape(line[end + 2 :], _DATA), properties)


def _old(line: str, known: frozenset[str] | set[str]) -> Command | None:
    """Read ``##[name key=value;]data``, which may stand anywhere in a line."""
    start = line.find("##[")
    end = line.find("]", start)
    if start < 0 or end < 0:
        return None
    name, _, rest = line[start + 3 : end].partition(" ")
    if name not in known:
        return None
    pairs = (pair.split("=", 1) for pair in rest.strip().split(";") if "=" in pair)
    properties = {key.strip(): _unescape(value, _OLD) for key, value in pairs}
    return Command(name, _unescape(line[end + 1 :], _OLD), properties)
