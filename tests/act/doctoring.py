"""Small additions to the House's copy of our repository: a clock that runs fast, and tokens for its jobs.

What is added stands in the copy alone. Without its variables in the environment nothing changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from tests.act.house import House

# Time passes, and is waited for, by the cloud's clock in the modules that watch a rollout. Patience
# with machines and networks (time.monotonic), credentials and GitHub stay in real seconds.
_CLOCK = """

def _clocked(environ, builtins, real, module):  # the test's: see tests/act/doctoring.py
    origin, scale, offset = (float(environ[f"FAKE_TIME_{name}"]) for name in ("ORIGIN", "SCALE", "OFFSET"))
    fast = module("time")
    fast.__dict__.update(vars(real))
    fast.time = lambda: origin + (real.time() - origin) * scale + offset
    fast.sleep = lambda seconds: real.sleep(seconds / scale)
    follows = (
        "tidegate.perform", "tidegate.commands.recording", "tidegate.commands.watch", "tidegate.commands.release",
        "tidegate.commands.operate", "tidegate.adapters.metrics.", "tidegate.adapters.target.", "tidegate.adapters.compute.",
    )
    importing = builtins.__import__

    def imported(name, globals=None, locals=None, fromlist=(), level=0):
        if name == "time" and globals and str(globals.get("__name__")).startswith(follows):
            return fast
        return importing(name, globals, locals, fromlist, level)

    builtins.__import__ = imported


def _begin():
    import builtins, os, time, types

    if "FAKE_TIME_SCALE" in os.environ:
        _clocked(os.environ, builtins, time, types.ModuleType)


_begin()
"""


def clocked(house: House) -> None:
    """Let the engine keep the time of ``FAKE_TIME_ORIGIN``, ``_SCALE`` and ``_OFFSET``.

    The formula is that of :class:`tests.aws.clock.Clock`.
    """
    path = house.folder / "src" / "tidegate" / "__init__.py"
    path.write_text(path.read_text() + _CLOCK)


def identified(house: House, url: str, bearer: str) -> list[tuple[str, str]]:
    """Give the jobs with ``id-token: write``, and no others, the address where GitHub gives tokens.

    The address names the job's file and environment, which GitHub knows and act does not tell.
    Returns the jobs (file, job).
    """
    found = []
    for path in sorted((house.folder / ".github" / "workflows").glob("*.yml")):
        text = path.read_text()
        workflow: dict[str, Any] = yaml.load(text, Loader=yaml.BaseLoader)
        if "workflow_call" not in workflow["on"]:
            continue  # our own
        for name, job in workflow["jobs"].items():
            permissions = job.get("permissions")
            if "steps" not in job or not isinstance(permissions, dict):
                continue
            if permissions.get("id-token") != "write":
                continue
            assert "env" not in job
            place = job.get("environment", {"name": ""})
            where = place["name"] if isinstance(place, dict) else place
            asked = f"{url}/token?api-version=2.0&workflow={path.name}&environment={where}"
            added = (
                f"  {name}:\n    env:\n      ACTIONS_ID_TOKEN_REQUEST_URL: {asked}\n"
                f"      ACTIONS_ID_TOKEN_REQUEST_TOKEN: {bearer}\n"
            )
            assert text.count(f"\n  {name}:\n") == 1
            text = text.replace(f"\n  {name}:\n", f"\n{added}")
            found.append((path.name, name))
        path.write_text(text)
    return found
