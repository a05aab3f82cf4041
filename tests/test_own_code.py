"""A commit's files, byte for byte, whatever the work tree says by now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tidegate.errors import OutsideError
from tidegate.git import git, text
from tidegate.own_code import unpack

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real

FILES = {
    "model/metrics.py": b"first\r\n",
    "model/lib/prices.csv": b"\x00\xff",
    "model/a\nb.txt": b"lines",
    "other/x.py": b"x",
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "r"
    path.mkdir()
    text(path, "init", "--quiet")
    text(path, "config", "user.name", "Ada")
    text(path, "config", "user.email", "ada@example.org")
    text(path, "config", "core.autocrlf", "false")
    for name, content in FILES.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    (path / "model" / "out").symlink_to("/etc/hostname")
    text(path, "add", "--all")
    text(path, "commit", "--quiet", "-m", "first")
    # Later: another content, and attributes that would change what git writes, or leave it out.
    (path / "model" / "metrics.py").write_bytes(b"second\n")
    (path / ".gitattributes").write_text("* text eol=lf export-ignore export-subst\n")
    return path


def written(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


@pytest.mark.parametrize(
    ("folder", "only", "names"),
    [
        ("model", None, ["metrics.py", "lib/prices.csv", "a\nb.txt"]),
        ("model", {"metrics.py", "none.py"}, ["metrics.py"]),
        ("model/lib", None, ["prices.csv"]),
        ("", {"model/metrics.py"}, ["model/metrics.py"]),
    ],
)
def test_a_folder_is_as_it_was_committed(
    repository: Path, tmp_path: Path, folder: str, only: set[str] | None, names: list[str]
) -> None:
    (into := tmp_path / "into").mkdir()
    unpack(repository, text(repository, "rev-parse", "HEAD"), folder, into, only=only)
    prefix = f"{folder}/" if folder else ""
    assert written(into) == {name: FILES[f"{prefix}{name}"] for name in names}
    assert not any(path.is_symlink() for path in into.rglob("*"))


def test_a_name_that_leads_out_is_refused(repository: Path, tmp_path: Path) -> None:
    blob = text(repository, "rev-parse", "HEAD:other/x.py")
    tree = git(
        repository, "hash-object", "-t", "tree", "-w", "--literally", "--stdin",
        stdin=b"100644 x.py\0" + bytes.fromhex(blob),
    ).decode().strip()  # fmt: skip
    outer = git(
        repository, "hash-object", "-t", "tree", "-w", "--literally", "--stdin",
        stdin=b"40000 ..\0" + bytes.fromhex(tree),
    ).decode().strip()  # fmt: skip
    commit = text(repository, "commit-tree", "-m", "evil", outer)
    (into := tmp_path / "into").mkdir()
    with pytest.raises(OutsideError, match="leads out of its folder"):
        unpack(repository, commit, "", into)
    assert not (tmp_path / "x.py").exists()


def test_a_folder_that_is_not_there_is_an_error(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(OutsideError, match="ls-tree failed"):
        unpack(repository, text(repository, "rev-parse", "HEAD"), "none", tmp_path)
