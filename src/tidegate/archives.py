"""Packing a folder, and unpacking what somebody else packed without trusting a byte of it.

Tar: exactly what :func:`pack` writes (ustar, with pax records for long or foreign names), read by
hand; everything else that a tar can hold is refused, links and devices first. Zip: stored and
deflated files only. Names, counts and sizes are checked while the bytes arrive, never from what a
header promises, and the folder appears whole or not at all.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from tidegate.archive_names import DEPTH, NAME_BYTES, ArchiveError, Names, check_name
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Iterator

RATIO = 200  # how much larger than the archive its files may be
RATIO_FREE = 1 << 20  # bytes that are never too many: small files compress well

_BLOCK = 512
_CHUNK = 1 << 20
_PAX_BYTES = 16 * 1024
_PAX_IGNORED = {"atime", "ctime", "mtime", "uid", "gid", "uname", "gname", "comment"}
_NUMBER = re.compile(rb"0*([0-7]{1,12})[ \0]*")
_EOCD = struct.Struct("<4s4H2LH")  # "end of central directory", section 4.3.16 of APPNOTE.TXT
_ENTRY_BYTES = 46 + 2 * NAME_BYTES  # a central directory's entry with name and extra fields


# --- packing --------------------------------------------------------------------------------


def pack(folder: Path, into: Path) -> None:
    """Write the folder's files as a tar: the same files give the same bytes, always.

    Raises:
        OutsideError: it holds a link or another odd file, a name that :func:`unpack_tar` would
            refuse, or nothing; or a file cannot be read or written.
    """
    names = Names()
    partial = into.with_name(f"{into.name}.part-{os.getpid()}")
    try:
        with tarfile.open(partial, "x", format=tarfile.PAX_FORMAT, encoding="utf-8") as tar:
            for path in _files(folder):
                name = path.relative_to(folder).as_posix()
                names.add(name)
                _pack_one(tar, path, name)
        partial.replace(into)
    except OSError as error:
        raise OutsideError(f"{folder} cannot be packed: {error}") from None
    finally:
        partial.unlink(missing_ok=True)


def _files(folder: Path) -> list[Path]:
    paths = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    for path in paths:
        if path.is_symlink() or not path.is_file():
            raise OutsideError(f"{path}: only regular files are packed")
    if not paths:
        raise OutsideError(f"{folder}: no files")
    return sorted(paths, key=lambda path: os.fsencode(path.relative_to(folder).as_posix()))


def _pack_one(tar: tarfile.TarFile, path: Path, name: str) -> None:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        info = tarfile.TarInfo(name)
        info.size = os.fstat(file.fileno()).st_size
        info.mode = 0o644
        tar.addfile(info, file)  # mtime, uid and gid are 0, the names of user and group empty


# --- unpacking ------------------------------------------------------------------------------


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(slots=True)
class _Sink:
    """Writes files below a fresh folder and counts what arrives."""

    root: Path
    most_bytes: int
    most_files: int
    names: Names = field(default_factory=Names)
    written: int = 0

    def admit(self, name: str) -> Path:
        """Return where a file goes."""
        if len(self.names.files) >= self.most_files:
            raise ArchiveError(f"the archive holds more than {self.most_files:,} files")
        self.names.add(name)
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.parent.resolve().is_relative_to(self.root):
            raise ArchiveError(f"{name!r} is outside")
        return path

    def write(self, name: str, source: _Source, size: int | None) -> None:
        """Write a file of ``size`` bytes, or up to the source's end where that is None."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(self.admit(name), flags, 0o644), "wb") as file:
            left = size
            while left is None or left > 0:
                block = source.read(_CHUNK if left is None else min(_CHUNK, left))
                if not block:
                    if left is None:
                        return
                    raise ArchiveError(f"the archive ends in the middle of {name!r}")
                self.written += len(block)
                if self.written > self.most_bytes:
                    raise ArchiveError(f"the archive holds more than {self.most_bytes:,} bytes")
                file.write(block)
                left = None if left is None else left - len(block)


@contextmanager
def _whole(path: Path, into: Path, most_bytes: int, most_files: int) -> Iterator[_Sink]:
    """Give a private folder beside ``into``; it becomes ``into`` when all went well."""
    if into.is_symlink() or (into.exists() and (not into.is_dir() or any(into.iterdir()))):
        raise OutsideError(f"{into} is in the way: nothing is unpacked over what is there")
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{into.name[:80]}.part-", dir=into.parent))
    except OSError as error:
        raise OutsideError(f"{into}: {error.strerror}") from None
    try:
        sink = _Sink(partial.resolve(), most_bytes, most_files)
        yield sink
        if not sink.names.files:
            raise ArchiveError(f"{path.name} holds no files")
        partial.chmod(0o755)
        partial.replace(into)
    except OSError as error:
        raise OutsideError(f"{path.name} cannot be unpacked: {error.strerror}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


# --- tar ------------------------------------------------------------------------------------


def unpack_tar(path: Path, into: Path, *, most_bytes: int, most_files: int) -> None:
    """Unpack a tar of regular files into the new folder ``into``, whole or not at all.

    Folder entries are accepted and ignored: folders come from the files' names.

    Raises:
        ArchiveError: it holds anything else, a name that leads outside or collides, more than
            the caps allow, or is broken.
        OutsideError: ``into`` is not empty, or the disk fails.
    """
    with _whole(path, into, most_bytes, most_files) as sink, path.open("rb") as file:
        entries = 0
        extended: dict[str, str] | None = None
        while (header := _header(file)) is not None:
            kind, name, size = header
            entries += 1
            if entries > 2 * most_files + DEPTH:
                raise ArchiveError("the archive holds too many entries")
            if kind == b"x":
                if extended is not None:
                    raise ArchiveError("two extended headers follow each other")
                extended = _pax(file, size)
                continue
            if extended is not None:
                name, size = extended.get("path", name), _pax_size(extended, size)
                extended = None
            if kind == b"5" and size == 0:
                check_name(name.removesuffix("/"))
            elif kind in {b"0", b"\0"}:
                sink.write(name, file, size)
                _skip_padding(file, size)
            else:
                raise ArchiveError(f"{name!r} is not a regular file (type {kind!r})")
        if extended is not None:
            raise ArchiveError("the archive ends after an extended header")


def _header(file: IO[bytes]) -> tuple[bytes, str, int] | None:
    """Return type, name and size of the next entry; None at a proper end."""
    block = file.read(_BLOCK)
    if block == bytes(_BLOCK):
        _check_end(file)
        return None
    if len(block) < _BLOCK:
        raise ArchiveError("the tar is cut short")
    if block[257:265] != b"ustar\x0000":
        raise ArchiveError("not a tar as Tidegate packs it")
    unsigned = sum(block[:148]) + 8 * 0x20 + sum(block[156:])
    if _number(block[148:156]) != unsigned:
        raise ArchiveError("a header of the tar is damaged")
    name = _text(block[:100])
    if prefix := _text(block[345:500]):
        name = f"{prefix}/{name}"
    return block[156:157], name, _number(block[124:136])


def _check_end(file: IO[bytes]) -> None:
    """Check that nothing but zeros follows the first empty block, and at least one more block."""
    seen = 0
    while block := file.read(_CHUNK):
        seen += len(block)
        if block.count(0) != len(block):
            raise ArchiveError("something follows the end of the tar")
    if seen < _BLOCK:
        raise ArchiveError("the tar is cut short")


def _number(data: bytes) -> int:
    found = _NUMBER.fullmatch(data)
    if not found:
        raise ArchiveError("a number in the tar is not one")
    return int(found[1], 8)


def _text(data: bytes) -> str:
    used, _, rest = data.partition(b"\0")
    if rest.strip(b"\0"):
        raise ArchiveError("a name in the tar has a NUL in it")
    try:
        return used.decode("utf-8")
    except UnicodeDecodeError:
        raise ArchiveError("a name in the tar is not UTF-8") from None


def _pax(file: IO[bytes], size: int) -> dict[str, str]:
    """Return the records of an extended header that we know."""
    if size > _PAX_BYTES:
        raise ArchiveError("an extended header of the tar is too long")
    data = file.read(size)
    if len(data) < size:
        raise ArchiveError("the tar is cut short")
    _skip_padding(file, size)
    records: dict[str, str] = {}
    while data:
        length, blank, _ = data.partition(b" ")
        if not blank or not re.fullmatch(rb"[1-9][0-9]{0,5}", length):
            raise ArchiveError("an extended header of the tar is damaged")
        record, data = data[: int(length)], data[int(length) :]
        key, equals, value = record[len(length) + 1 : -1].partition(b"=")
        if len(record) < int(length) or not record.endswith(b"\n") or not equals:
            raise ArchiveError("an extended header of the tar is damaged")
        word = key.decode("utf-8", "replace")
        if word in records or word not in {"path", "size", *_PAX_IGNORED}:
            raise ArchiveError(f"an extended header of the tar has {word[:40]!r}")
        if b"\0" in value:
            raise ArchiveError("a name in the tar has a NUL in it")
        try:
            records[word] = value.decode("utf-8")
        except UnicodeDecodeError:
            raise ArchiveError("a name in the tar is not UTF-8") from None
    return records


def _pax_size(records: dict[str, str], size: int) -> int:
    if "size" not in records:
        return size
    if not re.fullmatch(r"[0-9]{1,15}", records["size"]):
        raise ArchiveError("a size in the tar is not one")
    return int(records["size"])


def _skip_padding(file: IO[bytes], size: int) -> None:
    padding = -size % _BLOCK
    if len(file.read(padding)) < padding:
        raise ArchiveError("the tar is cut short")


# --- zip ------------------------------------------------------------------------------------


def unpack_zip(path: Path, into: Path, *, most_bytes: int, most_files: int) -> None:
    """Unpack a zip of stored or deflated files into the new folder ``into``. As :func:`unpack_tar`.

    Its files together may be at most 200 times as large as the archive (1 MiB is always allowed).
    """
    with _whole(path, into, most_bytes, most_files) as sink:
        _check_directory(path, most_files)
        allowed = max(RATIO_FREE, RATIO * path.stat().st_size)
        sink.most_bytes = min(most_bytes, allowed)
        try:
            with zipfile.ZipFile(path) as archive:
                for entry in archive.infolist():
                    _unzip_one(archive, entry, sink)
        except (
            zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, RuntimeError,
            EOFError, UnicodeDecodeError, ValueError, IndexError,
        ) as error:  # fmt: skip
            raise ArchiveError(f"{path.name} is not a proper zip: {error}") from None


def _check_directory(path: Path, most_files: int) -> None:
    """Refuse a directory too large to be read into memory, before it is."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size < _EOCD.size:
            raise ArchiveError(f"{path.name} is not a zip")
        file.seek(size - _EOCD.size)
        mark, disk, first, here, entries, length, start, comment = _EOCD.unpack(file.read())
    if mark != b"PK\x05\x06" or comment:
        raise ArchiveError(f"{path.name} is not a zip, is cut short, or has a comment")
    if disk or first or here != entries or entries == 0xFFFF or 0xFFFFFFFF in (length, start):
        raise ArchiveError(f"{path.name} is a zip in several parts, or one of over 4 GiB")
    if start + length + _EOCD.size != size:
        raise ArchiveError(f"{path.name} has bytes that belong to no file")
    # Every file may have as many folder entries as it likes; a factor of two is plenty.
    if entries > 2 * most_files or length > 2 * most_files * _ENTRY_BYTES:
        raise ArchiveError(f"the archive holds more than {most_files:,} files")


def _unzip_one(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, sink: _Sink) -> None:
    name = entry.orig_filename  # as written; `filename` ends at the first NUL
    mode = entry.external_attr >> 16
    if entry.flag_bits & 0x2041:  # encrypted, strongly encrypted, or a masked directory
        raise ArchiveError(f"{name!r} is encrypted")
    if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise ArchiveError(f"{name!r} is compressed in a way that is not accepted")
    if name.endswith("/") and entry.file_size == 0 and stat.S_IFMT(mode) in {0, stat.S_IFDIR}:
        check_name(name.removesuffix("/"))
        return
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
        raise ArchiveError(f"{name!r} is not a regular file")
    if entry.header_offset + entry.compress_size > archive.start_dir:
        raise ArchiveError(f"{name!r} is not where the archive says")
    before = sink.written
    with archive.open(entry) as source:
        sink.write(name, source, None)
    if sink.written - before != entry.file_size:
        raise ArchiveError(f"{name!r} is not as long as the archive says")
