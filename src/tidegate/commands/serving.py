"""What serves, as an artifact of the default branch's runs: for jobs that hold no credentials.

A fork's pull request, or one beside a registry with a password, is compared with it. Where it comes
from does not matter: the ledger names the digest, and other bytes are not used.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.archives import unpack_zip
from tidegate.commands.telling import api_of
from tidegate.digests import folder_digest
from tidegate.errors import OutsideError
from tidegate.home import MODEL, PROFILE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate.adapters.host.reading import Artifact, GitHubReader
    from tidegate.commands.context import Context
    from tidegate.core.model import VersionRef
    from tidegate.runner import Runner

_MOST_BYTES = 8 * 2**30
_MOST_FILES = 20_000


def artifact_name(model: str) -> str:
    """Return the artifact's name."""
    return f"tidegate-serving-{model}"


def serving(context: Context, versions: Mapping[str, VersionRef]) -> None:
    """Fetch the versions from the newest artifact into the state directory; needs a runner.

    Raises:
        OutsideError: there is no such artifact, or it holds other models than those that serve now.
    """
    runner = context.terminal.runner
    if runner is None:
        return
    reader, found = _newest(context, runner)
    if found is None:
        raise OutsideError("no run of the default branch left one")
    with tempfile.TemporaryDirectory(prefix="tidegate-serving-") as temporary:
        folder = Path(temporary)
        reader.download_artifact(found.id, folder / "serving.zip", at_most=_MOST_BYTES)
        unpack_zip(
            folder / "serving.zip",
            folder / "models",
            most_bytes=_MOST_BYTES,
            most_files=_MOST_FILES,
        )
        for model in versions.values():
            source = folder / "models" / model.digest
            if not source.is_dir() or not _holds(source, model.digest):
                raise OutsideError(f"it does not hold version {model.version}, which serves now")
            into = context.home.fetched(model.digest) / MODEL
            if into.is_dir() and not _holds(into, model.digest):  # a copy that was cut off
                shutil.rmtree(into)
            if not into.is_dir():
                shutil.copytree(source, into)
            profile = folder / "models" / f"{model.digest}.{PROFILE}"
            if profile.is_file() and not (into.parent / PROFILE).exists():
                shutil.copyfile(profile, into.parent / PROFILE)


def is_missing(context: Context) -> bool:
    """Whether pull requests would find no artifact: none was left, or it is too old.

    Raises:
        OutsideError: GitHub does not answer.
    """
    runner = context.terminal.runner
    return runner is not None and _newest(context, runner)[1] is None


def _newest(context: Context, runner: Runner) -> tuple[GitHubReader, Artifact | None]:
    from tidegate.adapters.host.reading import GitHubReader

    reader = GitHubReader(api_of(runner), runner.repository)
    name, own = artifact_name(context.config.model.name), int(runner.event["repository"]["id"])
    branch = runner.default_branch
    return reader, reader.newest_artifact(name, repository_id=own, branch=branch)


def _holds(folder: Path, digest: str) -> bool:
    try:
        return folder_digest(folder) == digest
    except OutsideError:
        return False


def leave(models: Mapping[str, Path], folder: Path) -> None:
    """Write model folders, by digest, as the next artifact; with the profiles that lie beside them."""
    shutil.rmtree(folder, ignore_errors=True)
    for digest, model in models.items():
        shutil.copytree(model, folder / digest)
        if (profile := model.parent / PROFILE).is_file():
            shutil.copyfile(profile, folder / f"{digest}.{PROFILE}")
