"""The user's own metrics: by whose functions, and what another job's computing of them left."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate import own_metrics
from tidegate.commands.handed import REPLACED
from tidegate.digests import folder_digest
from tidegate.errors import NotJudgedError, OutsideError
from tidegate.own_code import unpack
from tidegate.own_metrics import MEASURED, VALUES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from tidegate.commands.context import Context


@contextmanager
def code_of(context: Context, *, only: Collection[str] | None = None) -> Iterator[Path]:
    """Give the folder with the functions' files: of the commit whose rules judge.

    ``only``: these files alone, where that commit's are unpacked.

    Raises:
        OutsideError: git fails.
    """
    if (agreed := context.agreed) is None:
        yield context.folder
        return
    with tempfile.TemporaryDirectory(prefix="tidegate-agreed-") as temporary:
        folder = Path(temporary)
        unpack(context.repository, agreed.commit, agreed.folder, folder, only=only)
        yield folder


def rules_of(context: Context) -> str:
    """Return the digest of the rules and of the functions' files; nothing of them is run.

    Raises:
        ConfigError: there is no such file.
        OutsideError: git fails.
    """
    files = {own.run.partition(":")[0] for own in context.config.gate.own}
    with code_of(context, only=files) as code:
        return own_metrics.rules_of(context.config, code)


def take_measured(context: Context, folder: Path | None, digest: str | None) -> None:
    """Take into the bundle what the job that measures left, where a rule needs it.

    What it is about is checked when it is read (:func:`tidegate.own_metrics.measured`).

    Raises:
        NotJudgedError: it is missing, or is not what that job wrote.
    """
    if not own_metrics.needed(context.config.gate):
        return
    if folder is None or not digest:
        names = ", ".join(
            own.name for own in context.config.gate.own if own.name in context.config.gate.metrics
        )
        raise NotJudgedError(
            f"nobody measured {names} (gate.metrics): what `tidegate measure` leaves is missing",
            remedy="The rules need the job `measure`. Run all jobs of the workflow again.",
        )
    try:
        same = folder_digest(folder) == digest
    except OutsideError as error:
        raise NotJudgedError(f"what was measured cannot be taken: {error}") from None
    if not same:
        raise NotJudgedError("what was measured is not what its job wrote", remedy=REPLACED)
    if strays := sorted({path.name for path in folder.iterdir()} - {MEASURED, VALUES}):
        raise NotJudgedError(
            f"{folder / strays[0]}: expected {MEASURED} and {VALUES} alone", remedy=REPLACED
        )
    for name in (MEASURED, VALUES):
        if not (folder / name).is_file():
            raise NotJudgedError(f"{folder / name} is missing", remedy=REPLACED)
        shutil.copyfile(folder / name, context.bundle / name)
