"""``tidegate doctor``: find what would fail in the first hour, and say how to fix it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tidegate.commands.context import BRANCH, Context, add_config, add_json
from tidegate.errors import Exit, TidegateError
from tidegate.git import git, text
from tidegate.load import load_fully
from tidegate.tables import read_table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tidegate.terminal import Terminal

SUMMARY = "find what would fail in the first hour, and say how to fix it"

_LEAST_DISK = 2e9  # bytes: environments, bundles and logs of a few releases


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One thing that was looked at."""

    what: str
    ok: bool
    found: str
    remedy: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_config(parser)
    add_json(parser)


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Look at everything a first run needs."""
    results = [_guard("mlops.yaml", lambda: _config(args.config))]
    if results[0].ok:
        context = Context.of(args, terminal)
        results += _world(context)
    terminal.emit({"ok": all(r.ok for r in results), "checks": [asdict(r) for r in results]})
    for result in results:
        terminal.say(f"{'ok  ' if result.ok else 'FAIL'}  {result.what:<12} {result.found}")
        if result.remedy and not result.ok:
            terminal.say(f"      {'':<12} {result.remedy}")
    failed = sum(not result.ok for result in results)
    terminal.say(
        f"{failed} of {len(results)} checks failed" if failed else "everything is in place"
    )
    if not results[0].ok:
        return Exit.USAGE
    return Exit.OUTSIDE if failed else Exit.OK


def _guard(what: str, look: Callable[[], Result]) -> Result:
    """Look; whatever goes wrong on the way is the finding."""
    try:
        return look()
    except TidegateError as error:
        return Result(what=what, ok=False, found=str(error), remedy=error.remedy)


def _config(path: Path) -> Result:
    loaded = load_fully(path)
    unset = [name for _, name in loaded.variables if not os.environ.get(name)]
    return Result(
        what="mlops.yaml",
        ok=not unset,
        found=f"variables not set: {', '.join(unset)}" if unset else f"{path} is valid",
        remedy="Set them where the pipeline runs.",
    )


def _world(context: Context) -> Iterator[Result]:
    for what, look in (
        ("data", _data),
        ("ledger", _ledger),
        ("push", _push),
        ("registry", _registry),
        ("endpoint", _endpoint),
        ("disk", _disk),
    ):
        yield _guard(what, lambda look=look: look(context))  # type: ignore[misc]


def _data(context: Context) -> Result:
    data = context.config.data
    needed = [data.id, *([data.target] if data.target else []), *([data.time] if data.time else [])]
    rows = read_table(context.path(data.holdout, "data.holdout"), needed).num_rows
    read_table(context.path(data.train, "data.train"), [data.time] if data.time else None)
    return Result(what="data", ok=True, found=f"train and holdout readable; {rows:,} holdout rows")


def _ledger(context: Context) -> Result:
    book = context.ledger().read()
    found = (
        f"{len(book.chain)} events, chain verified" if book.chain else "new: nothing written yet"
    )
    return Result(what="ledger", ok=True, found=found)


def _push(context: Context) -> Result:
    if "origin" not in text(context.repository, "remote").split():
        return Result(
            what="push", ok=True, found="no remote: the ledger is kept in this repository"
        )
    branch = f"refs/heads/{BRANCH}/{context.config.model.name}-doctor"
    git(context.repository, "push", "--dry-run", "--quiet", "origin", f"{context.head}:{branch}")
    return Result(what="push", ok=True, found=f"origin takes branches under {BRANCH}/")


def _registry(context: Context) -> Result:
    uri = context.config.registry.uri
    context.registry().aliases(context.config.model.name)
    return Result(what="registry", ok=True, found=uri or f"embedded, in {context.home.registry}")


def _endpoint(context: Context) -> Result:
    missing = [m for m in ("envoy", "uvicorn", "uvloop", "httptools") if not _installed(m)]
    if missing:
        return Result(
            what="endpoint",
            ok=False,
            found=f"not installed: {', '.join(missing)}",
            remedy='pip install "tidegate[local]"',
        )
    endpoint = context.target().read()
    port = context.config.release.local.port
    if endpoint.variants:
        return Result(what="endpoint", ok=True, found=f"serving on port {port}")
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            return Result(
                what="endpoint",
                ok=False,
                found=f"port {port} is taken by another program",
                remedy="Set release.local.port in mlops.yaml to a free one.",
            )
    return Result(what="endpoint", ok=True, found=f"port {port} is free")


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _disk(context: Context) -> Result:
    context.home.root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(context.home.root).free
    return Result(
        what="disk",
        ok=free >= _LEAST_DISK,
        found=f"{free / 1e9:.1f} GB free for {context.home.root}",
        remedy="Free some space, or set TIDEGATE_HOME to a larger disk.",
    )
