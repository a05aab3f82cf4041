"""The release that templates and documentation name: one commit, one version, stamped everywhere.

A workflow that calls ours names a commit, never a tag that can move. A release is a commit C and a
following one that runs ``python -m tidegate.pin C vX.Y.Z`` and changes nothing else.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

COMMIT = "7e3c6572fc7c62306fa2d744de1ce139a67441fd"
VERSION = "v0.1.0"
REPOSITORY = "tidegate/tidegate"

FULL = re.compile(r"[0-9a-f]{40}")
_VERSION = re.compile(r"v(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_CALL = re.compile(rf"(?<![\w./-])({REPOSITORY}(?:/[\w./-]+)?@)([0-9a-f]{{40}})( +# +)(v[\w.+-]+)")
_TAG = re.compile(rf"(?<![\w./-])({REPOSITORY}(?:/[\w./-]+)?@)(v\d+\.\d+\.\d+)\b")
_CONSTANTS = re.compile(r'^(COMMIT|VERSION) = ".*"$', re.MULTILINE)
_CARRIERS = ("README.md", "docs/*.md", "workflow-templates/*.yml")


def pins(text: str) -> list[tuple[str, str]]:
    """Return (commit, version) of every call of ours by commit; a tag alone has an empty commit."""
    by_commit = [(match[2], match[4]) for match in _CALL.finditer(text)]
    return by_commit + [("", match[2]) for match in _TAG.finditer(text)]


def restamp(text: str, commit: str, version: str) -> str:
    """Return the text with every pin of ours moved to this commit and version."""
    text = _CALL.sub(rf"\g<1>{commit}\g<3>{version}", text)
    return _TAG.sub(rf"\g<1>{version}", text)


def carriers(root: Path) -> list[Path]:
    """Return the files of a checkout that name the release."""
    return sorted(path for pattern in _CARRIERS for path in root.glob(pattern))


def stamp(root: Path, commit: str, version: str) -> list[Path]:
    """Write the release into every file of a checkout that names it; return those that changed.

    Raises:
        ValueError: not a full commit, or not a version like v1.2.3.
    """
    if not FULL.fullmatch(commit):
        raise ValueError(f"not a full commit: {commit!r}")
    if not _VERSION.fullmatch(version):
        raise ValueError(f"not a version like v1.2.3: {version!r}")
    own = root / "src" / "tidegate" / "pin.py"
    values = {"COMMIT": commit, "VERSION": version}
    after = {path: restamp(path.read_text(), commit, version) for path in carriers(root)}
    after[own] = _CONSTANTS.sub(lambda m: f'{m[1]} = "{values[m[1]]}"', own.read_text())
    changed = [path for path, text in after.items() if path.read_text() != text]
    for path in changed:
        path.write_text(after[path])
    return changed


def main(arguments: list[str]) -> int:
    """Stamp the checkout that this file stands in."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m tidegate.pin COMMIT vX.Y.Z\n")
        return 2
    root = Path(__file__).resolve().parents[2]
    for path in stamp(root, *arguments):
        sys.stdout.write(f"{path.relative_to(root)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
