"""What actions/upload-artifact does: ``RUN/NAME.zip`` in ARTIFACT_STORE, written once."""

from __future__ import annotations

import glob
import hashlib
import io
import json
import os
import re
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
    data = zipped(files, root)
    target = Path(os.environ["ARTIFACT_STORE"]) / run / f"{name}.zip"
    target.parent.mkdir(exist_ok=True)
    part = target.parent.with_name(f"{run}-{os.getpid()}.part")
    part.write_bytes(data)
    if inputs["overwrite"] == "true":
        target.unlink(missing_ok=True)
    try:
        target.hardlink_to(part)
    except FileExistsError:
        sys.exit(
            f"(409) Conflict: an artifact with this name already exists on the workflow run: {name}"
        )
    finally:
        part.unlink()
    number = int(hashlib.sha256(f"{run}/{name}".encode()).hexdigest()[:8], 16)
    page = f"{os.environ['GITHUB_REPOSITORY']}/actions/runs/{run}/artifacts/{number}"
    url, digest = f"{os.environ['GITHUB_SERVER_URL']}/{page}", hashlib.sha256(data).hexdigest()
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as out:
        out.write(f"artifact-id={number}\nartifact-url={url}\nartifact-digest={digest}\n")
    sys.stdout.write(f"Artifact {name} has been successfully uploaded: {len(files)} files\n")


def zipped(files: list[Path], root: Path) -> bytes:
    """Return the archive of what the files hold; links are followed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            inside = file.relative_to(root).as_posix()
            if bad := FORBIDDEN.search(inside):
                sys.exit(f"The path for a file in artifact is not valid: {file} ({bad[0]!r})")
            archive.writestr(zipfile.ZipInfo(inside), file.read_bytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


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


if __name__ == "__main__":
    main()
