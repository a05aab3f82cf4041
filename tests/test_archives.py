"""Archives that want out: nothing is written outside, and what is refused leaves nothing behind."""

from __future__ import annotations

import io
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.archive_names import ArchiveError, Names, check_name
from tidegate.archives import pack, unpack_tar, unpack_zip
from tidegate.digests import file_digest, folder_digest
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CAPS = {"most_bytes": 1_000_000, "most_files": 50}
DEEP = "/".join("d" * 40)

# --- names that are refused wherever they stand ------------------------------------------------

BAD_NAMES = {
    "parent": "../evil",
    "parent inside": "a/../../evil",
    "parent at the end": "a/..",
    "dot": "./evil",
    "absolute": "/tmp/evil",
    "two slashes": "a//evil",
    "ends in a slash": "evil/",
    "empty": "",
    "percent-encoded": "..%2fevil",
    "percent-encoded dots": "%2e%2e/evil",
    "encoded twice": "..%252fevil",
    "encoded for ever": "..%25252525252525252fevil",
    "backslash": "..\\evil",
    "encoded backslash": "..%5cevil",
    "drive": "C:evil",
    "drive and slash": "C:/evil",
    "dots and blanks": "... /evil",
    "newline": "evil\n::set-output",
    "escape": "evil\x1b[2J",
    "delete": "evil\x7f",
    "right-to-left": "evil\u202etxt.exe",
    "zero width": "ev\u200bil",
    "wide dots and slash": "\uff0e\uff0e\uff0fevil",
    "one-dot leader": "\u2024\u2024/evil",
    "long part": "e" * 256,
    "long name": "/".join(["e" * 200] * 6),
    "long in bytes": "é" * 128,
    "deep": DEEP,
}


def tar_of(*members: tuple[tarfile.TarInfo, bytes], **options: object) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", **options) as tar:  # type: ignore[call-overload]
        for info, data in members:
            info.size = len(data) if info.isreg() else info.size
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def member(name: str, data: bytes = b"x", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def zip_of(*members: tuple[str | zipfile.ZipInfo, bytes], how: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


def entry(name: str, mode: int = 0) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("x")
    info.filename = name  # as it is: the constructor would cut it at a NUL
    info.external_attr = mode << 16
    return info


def patched(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) >= 1
    assert len(old) == len(new)
    return data.replace(old, new)


def rechecked(tar: bytes) -> bytes:
    """Return a tar with the first header's checksum made right."""
    header = tar[:148] + b" " * 8 + tar[156:512]
    return tar[:148] + f"{sum(header):06o}\0 ".encode() + tar[156:]


# --- tars ----------------------------------------------------------------------------------------

GOOD = tar_of(member("a.txt"))


def _pax(*pairs: tuple[str, str]) -> bytes:
    info, data = member("a")
    info.pax_headers = dict(pairs)
    return tar_of((info, data), format=tarfile.PAX_FORMAT)


BAD_TARS: dict[str, bytes] = {
    "symlink": tar_of(member("l", type=tarfile.SYMTYPE, linkname="/etc/passwd")),
    "symlink and a write through it": tar_of(
        member("l", type=tarfile.SYMTYPE, linkname="../outside"), member("l/evil")
    ),
    "hard link": tar_of(member("a"), member("l", type=tarfile.LNKTYPE, linkname="a")),
    "hard link outside": tar_of(member("l", type=tarfile.LNKTYPE, linkname="../secret")),
    "character device": tar_of(member("d", type=tarfile.CHRTYPE, devmajor=1, devminor=3)),
    "block device": tar_of(member("d", type=tarfile.BLKTYPE, devmajor=8)),
    "fifo": tar_of(member("f", type=tarfile.FIFOTYPE)),
    "contiguous file": tar_of(member("c", type=tarfile.CONTTYPE)),
    "sparse file": tar_of(member("s", type=tarfile.GNUTYPE_SPARSE), format=tarfile.GNU_FORMAT),
    "unknown type": tar_of(member("u", type=b"Z")),
    "gnu long name": tar_of(member("n" * 150), format=tarfile.GNU_FORMAT),
    "gnu header": tar_of(member("n"), format=tarfile.GNU_FORMAT),
    "folder with content": rechecked(GOOD[:156] + b"5" + GOOD[157:]),
    "folder outside": tar_of(member("../d", type=tarfile.DIRTYPE)),
    "the same file twice": tar_of(member("a"), member("a", b"other")),
    "case collision": tar_of(member("model.pkl"), member("Model.pkl")),
    "folders that differ in case": tar_of(member("a/x"), member("A/y")),
    "composed and decomposed": tar_of(member("caf\u00e9"), member("cafe\u0301")),
    "ligature": tar_of(member("\ufb01le"), member("file")),
    "sharp s": tar_of(member("stra\u00dfe"), member("strasse")),
    "file, then folder": tar_of(member("a"), member("a/b")),
    "folder, then file": tar_of(member("a/b"), member("a")),
    "too many files": tar_of(*(member(f"f{i}") for i in range(51))),
    "too many folders": tar_of(*(member(f"f{i}", type=tarfile.DIRTYPE) for i in range(500))),
    "too many bytes": tar_of(member("a", bytes(600_000)), member("b", bytes(600_000))),
    "no files": tar_of(),
    "only folders": tar_of(member("d", type=tarfile.DIRTYPE)),
    "cut in a header": GOOD[:300],
    "cut in a file": tar_of(member("a", bytes(5000)))[:2000],
    "cut in the padding": GOOD[:600],
    "cut before the end": GOOD[:1024],
    "half an end": GOOD[:1536],
    "something after the end": GOOD + b"x" * 512,
    "damaged checksum": patched(GOOD, b"a.txt\0", b"b.txt\0"),
    "NUL in a name": rechecked(patched(GOOD, b"a.txt\0\0\0", b"a.txt\0/x")),
    "not UTF-8": rechecked(patched(GOOD, b"a.txt\0", b"a.tx\xff\0")),
    "size beyond the file": rechecked(patched(GOOD, b"00000000001\0", b"77777777777\0")),
    "negative size": rechecked(GOOD[:124] + b"\xff" * 12 + GOOD[136:]),
    "size in base 256": rechecked(GOOD[:124] + b"\x80" + b"\0" * 10 + b"\x01" + GOOD[136:]),
    "size that is no number": rechecked(patched(GOOD, b"00000000001\0", b"0000000-001\0")),
    "pax: a link's target": _pax(("linkpath", "/etc/passwd")),
    "pax: sparse": _pax(("GNU.sparse.major", "1")),
    "pax: a name outside": _pax(("path", "../evil")),
    "pax: an empty name": _pax(("path", "")),
    "pax: a size beyond the file": _pax(("size", "999999")),
    "pax: a negative size": _pax(("size", "-1")),
    "pax: an endless header": _pax(("comment", "x" * 20_000)),
    "pax: global": tar_of(member("a"), format=tarfile.PAX_FORMAT, pax_headers={"path": "b"}),
    "pax: only": rechecked(GOOD[:156] + b"x" + GOOD[157:]),
    "gzip": zlib.compress(GOOD),
    "zip": zip_of(("a", b"x")),
    "nothing": b"",
    "text": b"hello " * 400,
    **{f"name: {what}": tar_of(member(name)) for what, name in BAD_NAMES.items() if name},
}  # fmt: skip

# --- zips ----------------------------------------------------------------------------------------

SMALL = zip_of(("a.txt", b"hello"))
DEFLATED = zip_of(("a.txt", b"hello" * 100), how=zipfile.ZIP_DEFLATED)
_CENTRAL = SMALL.index(b"PK\x01\x02")


def _central(data: bytes, offset: int, form: str, value: int) -> bytes:
    """Return a zip with one field of its first central entry overwritten."""
    at = data.index(b"PK\x01\x02") + offset
    return data[:at] + struct.pack(form, value) + data[at + struct.calcsize(form) :]


def _overlapping(times: int) -> bytes:
    """Return a bomb: every entry of the directory names the same local file."""
    body = zip_of(("a", bytes(40_000)), how=zipfile.ZIP_DEFLATED)
    start = body.index(b"PK\x01\x02")
    local, central = body[:start], body[start : body.index(b"PK\x05\x06")]
    directory = central * times
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, times, times, len(directory), start, 0)
    return local + directory + end


BAD_ZIPS: dict[str, bytes] = {
    "symlink": zip_of((entry("l", stat.S_IFLNK | 0o777), b"/etc/passwd")),
    "symlink and a write through it": zip_of(
        (entry("l", stat.S_IFLNK | 0o777), b"../outside"), ("l/evil", b"x")
    ),
    "device": zip_of((entry("d", stat.S_IFCHR), b"")),
    "fifo": zip_of((entry("f", stat.S_IFIFO), b"")),
    "a folder that is a link": zip_of((entry("l/", stat.S_IFLNK), b"")),
    "a folder with content": zip_of((entry("d/"), b"x")),
    "a folder outside": zip_of((entry("../d/"), b"")),
    "encrypted": _central(SMALL, 8, "<H", 1),
    "masked directory": _central(SMALL, 8, "<H", 1 << 13 | 1),
    "strongly encrypted": _central(SMALL, 8, "<H", 1 << 6),
    "bzip2": zip_of(("a", b"x"), how=zipfile.ZIP_BZIP2),
    "lzma": zip_of(("a", b"x"), how=zipfile.ZIP_LZMA),
    "unknown compression": _central(SMALL, 10, "<H", 99),
    "bomb": zip_of(("a", bytes(900_000)), ("b", bytes(900_000)), how=zipfile.ZIP_DEFLATED),
    "bomb of many names": _overlapping(100),
    "too many files": zip_of(*((f"f{i}", b"") for i in range(51))),
    "too many folders": zip_of(*((f"f{i}/", b"") for i in range(200))),
    "a directory that lies about its length": SMALL[:-10] + struct.pack("<L", 1 << 30) + SMALL[-6:],
    "a directory that lies about its count": SMALL[:-14] + struct.pack("<2H", 9999, 9999) + SMALL[-10:],
    "the same file twice": _overlapping(2),
    "case collision": zip_of(("model", b"1"), ("MODEL", b"2")),
    "composed and decomposed": zip_of(("caf\u00e9", b"1"), ("cafe\u0301", b"2")),
    "file and folder": zip_of(("a", b"1"), ("a/b", b"2")),
    "NUL in a name": patched(zip_of(("a0../evil", b"x")), b"a0", b"a\0"),
    "another name in the file's own header": SMALL.replace(b"a.txt", b"b.txt", 1),
    "content that was changed": SMALL.replace(b"hello", b"jello"),
    "size too small in the directory": _central(DEFLATED, 24, "<L", 10),
    "size too large in the directory": _central(DEFLATED, 24, "<L", 5000),
    "compressed size too large": _central(DEFLATED, 20, "<L", 5000),
    "an offset past the end": _central(SMALL, 42, "<L", 5000),
    "cut short": SMALL[:-1],
    "cut in half": SMALL[: len(SMALL) // 2],
    "a comment": SMALL[:-2] + struct.pack("<H", 4) + b"hide",
    "bytes before it": b"#!/bin/sh\n" + SMALL,
    "bytes after it": SMALL + b"x",
    "in two parts": SMALL[:-18] + struct.pack("<2H", 1, 1) + SMALL[-14:],
    "of over 4 GiB": SMALL[:-6] + struct.pack("<L", 0xFFFFFFFF) + SMALL[-2:],
    "no files": zip_of(),
    "tar": GOOD,
    "nothing": b"",
    **{f"name: {what}": zip_of((entry(name), b"x")) for what, name in BAD_NAMES.items() if name},
}  # fmt: skip

CASES = [
    pytest.param(unpack, data, id=f"{kind}: {what}")
    for kind, unpack, table in (("tar", unpack_tar, BAD_TARS), ("zip", unpack_zip, BAD_ZIPS))
    for what, data in table.items()
]


def everything(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"(folder)"
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize(("unpack", "data"), CASES)
def test_a_hostile_archive_is_refused_and_nothing_is_written(
    unpack: Callable[..., None], data: bytes, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(data)
    (tmp_path / "outside").mkdir()
    (tmp_path / "secret").write_text("mine")
    before = everything(tmp_path)
    with pytest.raises(ArchiveError):
        unpack(archive, tmp_path / "in" / "out", **CAPS)
    after = everything(tmp_path)
    assert after.pop("in", b"(folder)") == b"(folder)"  # the empty parent may stay
    assert after == before


def test_there_are_more_hostile_archives_than_a_reviewer_would_think_of() -> None:
    assert len(CASES) >= 100
    assert all(isinstance(case.values[1], bytes) for case in CASES)


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES)
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(ArchiveError):
        check_name(name)


@pytest.mark.parametrize(
    "name",
    ["a", "model/MLmodel", ".hidden", "a..b", "100%", "50%25.txt", "v1.2/x y.bin", "größe", "模型", "ab:c"],
)  # fmt: skip
def test_an_ordinary_name_is_accepted(name: str) -> None:
    check_name(name)
    Names().add(name)


# --- what is fine --------------------------------------------------------------------------------


def make(folder: Path) -> Path:
    files = {
        "model/MLmodel": b"flavors: {}\n",
        "model/data/weights.bin": os.urandom(3000),
        "model/" + "long/" * 20 + "n" * 200: b"far",
        "model/größe 模型.txt": "größe".encode(),
        "empty": b"",
        "exactly one block": bytes(512),
        "run.json": b"{}",
    }
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_what_was_packed_comes_out_the_same(tmp_path: Path) -> None:
    folder = make(tmp_path / "a")
    pack(folder, tmp_path / "a.tar")
    unpack_tar(tmp_path / "a.tar", tmp_path / "b", **CAPS)
    assert folder_digest(tmp_path / "b") == folder_digest(folder)
    assert {p.stat().st_mode & 0o777 for p in (tmp_path / "b").rglob("*") if p.is_file()} == {0o644}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "a.tar", "b"]


def test_the_same_files_give_the_same_tar_whenever_and_however_they_were_made(
    tmp_path: Path,
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, names in ((one, ["a", "b/c", "b.d"]), (two, ["b.d", "b/c", "a"])):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)
    (two / "a").chmod(0o777)
    os.utime(two / "a", (1, 1))
    (two / "empty folder").mkdir()
    pack(one, tmp_path / "1.tar")
    pack(two, tmp_path / "2.tar")
    assert file_digest(tmp_path / "1.tar") == file_digest(tmp_path / "2.tar")
    # Written down once: a release of ten years ago must still be the same file.
    assert file_digest(tmp_path / "1.tar").startswith("2039943c57ec5a6b")
    with tarfile.open(tmp_path / "1.tar") as tar:
        assert [m.name for m in tar] == ["a", "b.d", "b/c"]
        assert {(m.mtime, m.uid, m.gid, m.mode, m.uname, m.gname) for m in tar} == {
            (0, 0, 0, 0o644, "", "")
        }


def test_a_plain_zip_with_folders_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(
        zip_of(("d/", b""), ("d/a.txt", b"hello" * 1000), ("b", b""), how=zipfile.ZIP_DEFLATED)
    )
    unpack_zip(tmp_path / "a.zip", tmp_path / "out", **CAPS)
    assert everything(tmp_path / "out") == {
        "d": b"(folder)", "d/a.txt": b"hello" * 1000, "b": b"",
    }  # fmt: skip


def test_a_streamed_zip_with_data_descriptors_is_unpacked(tmp_path: Path) -> None:
    class Stream(io.RawIOBase):
        """A pipe: the writer cannot go back to fill in sizes."""

        def __init__(self) -> None:
            self.data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            assert isinstance(data, bytes)
            self.data += data
            return len(data)

    stream = Stream()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", b"hello")
    assert b"PK\x07\x08" in stream.data, "no data descriptor: this test tests nothing"
    (tmp_path / "a.zip").write_bytes(stream.data)
    unpack_zip(tmp_path / "a.zip", tmp_path / "out", **CAPS)
    assert everything(tmp_path / "out") == {"a.txt": b"hello"}


def test_a_zip_that_grows_two_hundredfold_is_refused_below_the_other_caps(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(
        zip_of(*((f"f{i}", bytes(400_000)) for i in range(5)), how=zipfile.ZIP_DEFLATED)
    )
    with pytest.raises(ArchiveError, match="more than 1,048,576 bytes"):
        unpack_zip(tmp_path / "a.zip", tmp_path / "out", most_bytes=10**9, most_files=50)


@pytest.mark.parametrize("what", ["link", "fifo", "nothing", "bad name", "collision"])
def test_what_could_not_be_unpacked_is_not_packed(what: str, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    if what == "link":
        (folder / "l").symlink_to("/etc/passwd")
    elif what == "fifo":
        os.mkfifo(folder / "f")
    elif what == "bad name":
        (folder / "..%2fevil").write_text("x")
    elif what == "collision":
        (folder / "a").write_text("x")
        (folder / "A").write_text("x")
    with pytest.raises(OutsideError):
        pack(folder, tmp_path / "a.tar")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("there", ["file", "folder", "link"])
def test_nothing_is_unpacked_over_what_is_there(there: str, tmp_path: Path) -> None:
    archive, into = tmp_path / "a.tar", tmp_path / "out"
    archive.write_bytes(GOOD)
    if there == "file":
        into.write_text("mine")
    elif there == "folder":
        into.mkdir()
        (into / "mine").write_text("mine")
    else:
        (tmp_path / "elsewhere").mkdir()
        into.symlink_to(tmp_path / "elsewhere")
    before = everything(tmp_path)
    with pytest.raises(OutsideError, match="in the way"):
        unpack_tar(archive, into, **CAPS)
    assert everything(tmp_path) == before


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_tar_with_any_bytes_changed_comes_out_whole_or_not_at_all(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    original = tar_of(member("a/b.txt", b"hello"), member("c" * 120, b"world"))
    changed = bytearray(original)
    for _ in range(data.draw(st.integers(1, 4))):
        # Headers, mostly: that is where the decisions are.
        at = data.draw(st.integers(0, len(original) // 2))
        changed[at] = data.draw(st.integers(0, 255))
    (folder / "a.tar").write_bytes(bytes(changed))
    try:
        unpack_tar(folder / "a.tar", folder / "in" / "out", **CAPS)
    except ArchiveError:
        assert not (folder / "in" / "out").exists()
    found = {p.relative_to(folder).parts[0] for p in folder.rglob("*")}
    assert found <= {"a.tar", "in"}
    assert all(p.is_file() or p.is_dir() for p in folder.rglob("*"))
