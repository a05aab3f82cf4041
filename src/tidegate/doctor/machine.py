"""What a run on this machine needs: data, ledger, registry, endpoint, disk."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
from typing import TYPE_CHECKING

from tidegate.commands.context import BRANCH, Context
from tidegate.doctor import clouds
from tidegate.doctor.result import Result, bad, good, guarded, unseen
from tidegate.git import git, text
from tidegate.load import load_fully
from tidegate.tables import read_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKENS = ("TIDEGATE_GITHUB_TOKEN", "GITHUB_TOKEN", "GH_TOKEN")  # the first that is set
_LEAST_DISK = 2e9  # bytes: environments, bundles and logs of a few releases
_SERVES = ("envoy", "uvicorn", "uvloop", "httptools")


def configuration(path: Path) -> Result:
    """Look at ``mlops.yaml`` itself."""
    loaded = load_fully(path)
    if unset := [name for _, name in loaded.variables if not os.environ.get(name)]:
        missing = f"variables not set: {', '.join(unset)}"
        return bad("mlops.yaml", missing, "Set them where the pipeline runs.")
    return good("mlops.yaml", f"{path} is valid")


def machine(context: Context) -> Iterator[Result]:
    """Look at everything else."""
    for what, look in (
        ("data", _data),
        ("ledger", _ledger),
        ("push", _push),
        ("registry", _registry),
        ("endpoint", _endpoint),
        ("disk", _disk),
    ):
        yield guarded(what, lambda look=look: look(context))  # type: ignore[misc]
    yield from clouds.looks(context, _installed)


def _data(context: Context) -> Result:
    data = context.config.data
    needed = [data.id, *([data.target] if data.target else []), *([data.time] if data.time else [])]
    rows = read_table(context.path(data.holdout, "data.holdout"), needed).num_rows
    read_table(context.path(data.train, "data.train"), [data.time] if data.time else None)
    return good("data", f"train and holdout readable; {rows:,} holdout rows")


def _ledger(context: Context) -> Result:
    book = context.ledger().read()
    if not book.chain:
        return good("ledger", "new: nothing written yet")
    return good("ledger", f"{len(book.chain)} events, chain verified")


def _push(context: Context) -> Result:
    if "origin" not in text(context.repository, "remote").split():
        return good("push", "no remote: the ledger is kept in this repository")
    branch = f"refs/heads/{BRANCH}/{context.config.model.name}-doctor"
    git(context.repository, "push", "--dry-run", "--quiet", "origin", f"{context.head}:{branch}")
    return good("push", f"origin takes branches under {BRANCH}/")


def _registry(context: Context) -> Result:
    registry = context.config.registry
    if registry.store is not None and "://" in registry.store:
        return clouds.registry(registry.store)
    if registry.store is not None and not any(map(os.environ.get, TOKENS)):
        return unseen(
            "registry",
            f"{registry.store}: asks for a token, which a run on GitHub has",
            "GH_TOKEN=$(gh auth token) tidegate doctor",
        )
    context.registry().aliases(context.config.model.name)
    where = registry.uri or registry.store or f"embedded, in {context.home.registry}"
    return good("registry", where)


def _endpoint(context: Context) -> Result:
    if context.config.release.target != "local":
        return clouds.endpoint(context)
    if missing := [module for module in _SERVES if not _installed(module)]:
        return bad(
            "endpoint", f"not installed: {', '.join(missing)}", 'pip install "tidegate[local]"'
        )
    endpoint = context.target().read()
    port = context.config.release.local.port
    if endpoint.variants:
        return good("endpoint", f"serving on port {port}")
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            return bad(
                "endpoint",
                f"port {port} is taken by another program",
                "Set release.local.port in mlops.yaml to a free one.",
            )
    return good("endpoint", f"port {port} is free")


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a package that is not there
        return False


def _disk(context: Context) -> Result:
    context.home.root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(context.home.root).free
    found = f"{free / 1e9:.1f} GB free for {context.home.root}"
    if free >= _LEAST_DISK:
        return good("disk", found)
    return bad("disk", found, "Free some space, or set TIDEGATE_HOME to a larger disk.")
