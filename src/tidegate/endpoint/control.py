"""Start, find again and stop an endpoint's processes. Used by adapters and by the servers."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING

from tidegate.endpoint import processes
from tidegate.endpoint.files import locked
from tidegate.endpoint.layout import Folder
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from pathlib import Path


def revive(folder: Folder) -> None:
    """Start the supervisor unless it lives or the endpoint has been stopped on purpose."""
    if processes.held(folder.supervisor_lock):
        return
    processes.start(
        [sys.executable, "-m", "tidegate.endpoint.supervisor", str(folder.path)],
        lock=folder.supervisor_lock,
        log=folder.logs / "supervisor.log",
        stopped=folder.stopped,
    )


def ensure(folder: Folder) -> None:
    """Have the supervisor running, also after :func:`stop` or a reboot of the machine.

    Raises:
        OutsideError: it does not start.
    """
    if processes.held(folder.supervisor_lock) and not folder.stopped.exists():
        return
    with locked(folder.path / "control.lock", patience=60):
        folder.stopped.unlink(missing_ok=True)
        revive(folder)


def stop(directory: Path) -> None:
    """End every process of the endpoint in ``directory``; counts and wanted state stay.

    Returns when they are gone. The next deploy, route or read starts them again. Nothing to stop
    is fine.
    """
    folder = Folder(directory)
    if not folder.run.is_dir():
        return
    with locked(folder.path / "control.lock", patience=60):
        # From here on nobody starts anything (see launch); so whoever is seen below is the last.
        folder.stopped.touch()
        processes.end(folder.supervisor_lock, grace=0)
        locks = [folder.envoy_lock, *(folder.server_lock(v) for v in folder.servers())]
        for lock in locks:
            processes.ask_to_end(lock)
        for lock in locks:
            processes.end(lock, grace=2.0)
        for path in folder.run.glob("*.starts"):
            path.unlink()


def adopt_model(folder: Folder, model_dir: Path, version: str, digest: str) -> str:
    """Copy a model folder into the endpoint; return its name relative to the endpoint's folder.

    The caller's folder is often a workspace that is gone tomorrow, and a restart must not need it.

    Raises:
        OutsideError: it cannot be copied.
    """
    folder.make()
    name = folder.model(version, digest)
    target = folder.path / name
    if target.is_dir():
        return name
    temporary = target.with_name(f".{target.name}.{time.time_ns()}")
    try:
        shutil.copytree(model_dir, temporary)
        try:
            temporary.rename(target)
        except OSError:  # another controller was faster with the same bytes
            if not target.is_dir():
                raise
    except OSError as error:
        raise OutsideError(
            f"Cannot copy the model folder {model_dir} to {target}: {error}",
            remedy="See whether the folder is there and the disk has room.",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return name
