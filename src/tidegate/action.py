"""What the GitHub action runs: inputs from the environment to one command line.

Each input arrives in an environment variable of its own, so that no value is ever read by a shell, and
becomes one argument, so that no value is ever read as an option.
"""

from __future__ import annotations

import base64
import io
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.cli import VERBS, main
from tidegate.errors import ConfigError, Exit
from tidegate.redact import Guarded
from tidegate.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping

_PREFIX = "TIDEGATE_OPTION_"
_SWITCHES = frozenset(
    {"live", "one", "advice", "allow-inconclusive", "hide-holdout", "through-probation"}
)
_WORDS = frozenset({"ignore", "scores-digest"})  # several values, separated by white space
_POSITIONAL = frozenset({"version", "role"})
_FLAGS = {"model-folder": "--model", "run-id": "--run"}
_DEFAULTS = {"config": "mlops.yaml"}  # said or not, it means the same

# Command -> the inputs it takes. `version` and `role` stand for themselves.
OPTIONS: dict[str, tuple[str, ...]] = {
    "find": ("base", "ignore", "live", "model", "one"),
    "prepare": ("config", "base", "into"),
    "train": ("config", "hide-holdout"),
    "score": ("role", "case", "case-digest", "model-folder", "model-digest", "into"),
    "measure": (
        "config", "base", "case", "case-digest", "model-digest", "scores", "scores-digest", "into",
    ),
    "decide": (
        "config", "case", "case-digest", "candidate", "model-digest", "scores", "scores-digest", "into",
        "measured", "measured-digest", "base", "failed", "advice", "allow-inconclusive",
    ),
    "watch": ("config", "for", "through-probation", "successor"),
    "publish": ("run-id",),
    "release": ("config", "version", "reason"),
    "retry": ("config", "version", "reason"),
    "promote": ("config", "version", "reason"),
    "revert": ("config", "version", "reason"),
    "hold": ("config", "reason"),
    "resume": ("config", "reason"),
    "validate": ("config",),
    "gate": ("config", "predictions"),
    "report": ("config", "format", "output"),
    "status": ("config",),
    "plan": ("config",),
    "doctor": ("config",),
}  # fmt: skip
_ALWAYS = {"release": ("--no-wait",), "retry": ("--no-wait",)}
_VERBS = {"retry": "release"}  # commands that are an option of another


def arguments(env: Mapping[str, str]) -> list[str]:
    """Return the command line that the inputs ask for.

    Raises:
        ConfigError: an unknown command, an input that it does not take, or a switch that is neither
            true nor false.
    """
    command = env.get("TIDEGATE_COMMAND", "")
    if command not in OPTIONS:
        known = ", ".join(OPTIONS)
        raise ConfigError(f"no such command: {command!r}", remedy=f"The action runs: {known}.")
    verb = _VERBS.get(command, command)
    assert verb in VERBS
    given = {
        key.removeprefix(_PREFIX).lower().replace("_", "-"): value
        for key, value in env.items()
        if key.startswith(_PREFIX)
    }
    if command == "retry" and not given.get("version"):
        raise ConfigError("retry needs a version", remedy="Name the one that was taken back.")
    words, positional = [verb], []
    for name, value in sorted(given.items()):
        if name in _SWITCHES and value not in ("true", "false", ""):
            raise ConfigError(f"input {name}: got {value!r}, expected true or false")
        if value in ("", "false" if name in _SWITCHES else "", _DEFAULTS.get(name, "")):
            continue
        if name not in OPTIONS[command]:
            raise ConfigError(f"{command} takes no input {name!r}")
        values = value.split() if name in _WORDS else [value]
        if "--" in values:  # argparse drops it, wherever it stands
            raise ConfigError(f"input {name}: got '--', expected a value")
        if name in _SWITCHES:
            words.append(f"--{name}")
        elif command == "retry" and name == "version":
            words.append(f"--retry={value}")
        elif name in _POSITIONAL:
            positional.append(value)
        else:
            flag = _FLAGS.get(name, f"--{name}")
            words += [f"{flag}={each}" for each in values]
    words += _ALWAYS.get(command, ())
    # What follows "--" is never an option, whatever it begins with.
    return [*words, "--", *positional] if positional else words


def prepare(env: MutableMapping[str, str], runner: Runner) -> None:
    """Set what the engine reads from the environment: the path, and git's credentials.

    The checkouts keep no token; git gets it for this process only, as a header for this server only
    (git-config(1), GIT_CONFIG_COUNT).
    """
    env.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env.get('PATH', os.defpath)}"
    if runner.token:
        secret = base64.b64encode(f"x-access-token:{runner.token}".encode()).decode()
        runner.mask(secret)
        count = env.get("GIT_CONFIG_COUNT", "")
        number = int(count) if count.isdecimal() else 0  # after what the machine gives git already
        env["GIT_CONFIG_COUNT"] = str(number + 1)
        env[f"GIT_CONFIG_KEY_{number}"] = f"http.{runner.server}/.extraheader"
        env[f"GIT_CONFIG_VALUE_{number}"] = f"AUTHORIZATION: basic {secret}"


def run() -> int:
    """Run what the action was asked for and return the exit code."""
    runner = Runner.find()
    if runner is None:
        sys.stderr.write("tidegate: not on a GitHub runner; run `tidegate` itself\n")
        return Exit.USAGE
    with _guarded():
        try:
            line = arguments(os.environ)
        except ConfigError as error:
            sys.stderr.write(f"tidegate: {error}\n  {error.remedy}\n")
            return Exit.USAGE
        prepare(os.environ, runner)
        for name in [name for name in os.environ if name.startswith(_PREFIX)]:
            del os.environ[name]
        return main(line)


@contextmanager
def _guarded() -> Iterator[None]:
    """Keep secrets, and whatever the runner would obey, out of what the engine writes."""
    before = sys.stdout, sys.stderr
    if isinstance(sys.stdout, io.TextIOWrapper):  # as in cli.main, which sees the guard
        sys.stdout.reconfigure(errors="backslashreplace")
    guards = Guarded(sys.stdout, os.environ), Guarded(sys.stderr, os.environ)
    sys.stdout, sys.stderr = guards
    try:
        yield
    finally:
        for guard in guards:
            guard.finish()
        sys.stdout, sys.stderr = before


if __name__ == "__main__":
    sys.exit(run())
