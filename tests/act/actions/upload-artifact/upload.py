"""What actions/upload-artifact does: a folder per run and name in ARTIFACT_STORE, written once."""

from __future__ import annotations

import glob
import hashlib
import io
import json
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

FORBIDDEN = re.compile(r'["<>|*?:\r\n]')


def main() -> None:
    """Upload."""
    inputs = json.loads(os.environ["INPUTS"])
    name, run = inputs["name"], os.environ["GITHUB_RUN_ID"]
    if not name or FORBIDDEN.search(name) or "/" in name or "\\" in name:
        sys.exit(f"The artifact name is not valid: {name}")
    hidden = inputs["include-hidden-files"] == "true"
    wanted = [line.strip() for line in inputs["path"].splitlines() if line.strip()]
    files, root = find(wanted, hidden=hidden)
    if not files:
        message = f"No files were found with the provided path: {inputs['path']}"
        if inputs["if-no-files-found"] == "error":
            sys.exit(message)
        if inputs["if-no-files-found"] == "warn":
            sys.stdout.write(f"::warning::{message}\n")
        return
    target = Path(os.environ["ARTIFACT_STORE"]) / run / name
    if inputs["overwrite"] == "true":
        shutil.rmtree(target, ignore_errors=True)
    try:
        target.mkdir(parents=True)
    except FileExistsError:
        sys.exit(
            f"(409) Conflict: an artifact with this name already exists on the workflow run: {name}"
        )
    for file in files:
        kept = target / file.relative_to(root)
        if bad := FORBIDDEN.search(str(kept.relative_to(target))):
            shutil.rmtree(target)
            sys.exit(f"The path for one of the files in artifact is not valid: {file} ({bad[0]!r})")
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, kept)
    number = int(hashlib.sha256(f"{run}/{name}".encode()).hexdigest()[:8], 16)
    url = f"{os.environ['GITHUB_SERVER_URL']}/{os.environ['GITHUB_REPOSITORY']}/actions/runs/{run}/artifacts/{number}"
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as out:
        out.write(f"artifact-id={number}\nartifact-url={url}\nartifact-digest={digest(target)}\n")
    sys.stdout.write(f"Artifact {name} has been successfully uploaded: {len(files)} files\n")


def find(wanted: list[str], *, hidden: bool) -> tuple[list[Path], Path]:
    """Return the files that the patterns name, following links, and the folder they are relative to."""
    left_out = {
        path.resolve() for line in wanted if line.startswith("!") for path in _matches(line[1:])
    }
    patterns = [line for line in wanted if not line.startswith("!")]
    bases = [_base(pattern) for pattern in patterns]
    root = Path(os.path.commonpath(bases)) if len(bases) > 1 else bases[0]
    files: list[Path] = []
    for pattern, base in zip(patterns, bases, strict=True):
        for match in _matches(pattern):
            below = [match]
            if match.is_dir():
                below = [
                    Path(f) / n for f, _, names in os.walk(match, followlinks=True) for n in names
                ]
            files += [
                file
                for file in below
                # The real one looks at the names from the search path's own downwards.
                if hidden or not any(p.startswith(".") for p in _from(file, base))
            ]
    kept = [f for f in dict.fromkeys(files) if f.is_file() and f.resolve() not in left_out]
    if len(bases) == 1 and kept == [root]:
        return kept, root.parent
    return kept, root


def _from(file: Path, base: Path) -> tuple[str, ...]:
    return (base.name, *(file.relative_to(base).parts if file != base else ()))


def _absolute(pattern: str) -> Path:
    return Path.cwd() / Path(pattern.strip()).expanduser()


def _matches(pattern: str) -> list[Path]:
    found = glob.glob(str(_absolute(pattern)), recursive=True, include_hidden=True)  # noqa: PTH207 (absolute)
    return [Path(os.path.normpath(match)) for match in sorted(found)]


def _base(pattern: str) -> Path:
    """Return the part of a pattern before its first wildcard."""
    parts: list[str] = []
    for part in Path(os.path.normpath(_absolute(pattern))).parts:
        if glob.has_magic(part):
            break
        parts.append(part)
    return Path(*parts)


def digest(folder: Path) -> str:
    """Return the SHA-256 of the folder as an archive that is the same whenever it is made."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.writestr(
                zipfile.ZipInfo(path.relative_to(folder).as_posix()), path.read_bytes()
            )
    return hashlib.sha256(buffer.getvalue()).hexdigest()


if __name__ == "__main__":
    main()
