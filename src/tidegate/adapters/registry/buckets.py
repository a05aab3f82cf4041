"""The model registry in a bucket of S3 or Cloud Storage: nothing to run but the bucket.

bundles/SHA256.tar                   a bundle's bytes, once, whatever they are called
models/NAME/versions/N.json          a version (:class:`Record`); only its tags are ever edited
models/NAME/versions/N.DIGEST        empty: which model that is, so that a listing is enough
models/NAME/aliases.json             what the ledger last said (:class:`Word`)

Exactly once, by compare-and-swap alone: a number belongs to whoever first writes its record. A
registration looks at every record below the number that it takes, so that of two that register the
same bytes, the second finds the first's.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.adapters.registry.bucket_records import NUMBER, Record, Word
from tidegate.adapters.stores.base import MissingError, PreconditionError
from tidegate.archives import pack, unpack_tar
from tidegate.digests import file_digest, folder_digest
from tidegate.errors import OutsideError
from tidegate.home import MODEL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tidegate.ports import ObjectInfo, ObjectStore, Registration

MOST_FILES = 20_000
MOST_BYTES = 1 << 40  # of a bundle
_RECORD_BYTES = 1 << 22
_TRIES = 40  # writers that may come first
_PAUSE = 0.05  # seconds, the longer the oftener somebody came first
_EMPTY = hashlib.sha256(b"").hexdigest()
_MARK = re.compile(r"([1-9][0-9]{0,8})\.(json|[0-9a-f]{64})", re.ASCII)


class BucketRegistry:
    """The registry in a store."""

    def __init__(self, store: ObjectStore, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._store = store
        self._sleep = sleep

    # --- register ---------------------------------------------------------------------------

    def register(self, registration: Registration) -> str:
        """Return the version of these bytes: the one that is there, or a new one; never two.

        Raises:
            OutsideError: the bucket cannot be reached or refuses, or holds what is not ours.
        """
        name, digest = registration.name, registration.digest
        _, known = self._numbers(name, digest)
        if known is not None:
            return known
        with tempfile.TemporaryDirectory(prefix="tidegate-bundle-") as folder:
            file = Path(folder) / "bundle.tar"
            pack(registration.bundle, file)
            record = Record(
                model=name, digest=digest, file=file_digest(file), size=file.stat().st_size,
                nonce=uuid.uuid4().hex, tags=registration.tags, params=registration.params,
                metrics=registration.metrics,
            )  # fmt: skip
            self._keep(file, record)
        return self._take_number(record)

    def _keep(self, file: Path, record: Record) -> None:
        """Have the bundle's bytes in the bucket, whoever brought them."""
        key = _bundle(record.file)
        there = self._store.head(key)
        if there is None:
            try:
                self._store.put(key, file, sha256=record.file, absent=True)
            except PreconditionError:
                there = self._store.head(key)
            else:
                return
        if there is None or (there.size, there.sha256) != (record.size, record.file):
            raise OutsideError(
                f"what stands in the bucket at {key} is not what its name says",
                remedy="Somebody replaced it. Take it away and run again.",
            )

    def _take_number(self, record: Record) -> str:
        data = record.write()
        sha256 = hashlib.sha256(data).hexdigest()
        for attempt in range(_TRIES):
            highest, known = self._numbers(record.model, record.digest)
            if known is not None:
                return known
            version = str(highest + 1)
            try:
                self._store.put(_record(record.model, version), data, sha256=sha256, absent=True)
            except PreconditionError:  # somebody took it: look whether it is our model
                self._sleep(_PAUSE * attempt)
                continue
            self._mark(record.model, version, record.digest)
            return version
        raise OutsideError(
            f"no version of {record.model} could be registered: every number was taken",
            remedy="Run again: what is there is found and kept.",
        )

    def _mark(self, name: str, version: str, digest: str) -> None:
        """Say a version's digest in a name, for whoever lists them."""
        self._store.put(f"{_versions(name)}{version}.{digest}", b"", sha256=_EMPTY)

    def _numbers(self, name: str, digest: str) -> tuple[int, str | None]:
        """Return the highest number that was ever used, and the lowest version with a digest."""
        records: set[int] = set()
        marks: dict[int, str] = {}
        start = _versions(name)
        for key in self._store.list(start):
            if found := _MARK.fullmatch(key.removeprefix(start)):
                if found[2] == "json":
                    records.add(int(found[1]))
                else:
                    marks[int(found[1])] = found[2]
        for number in sorted(records):
            if marks.get(number, digest) != digest:
                continue
            record, _ = self._version(name, str(number))
            if number not in marks:  # its registration died in between
                self._mark(name, str(number), record.digest)
            if record.digest == digest:
                return max(records), str(number)
        return max(records | marks.keys(), default=0), None

    # --- fetch ------------------------------------------------------------------------------

    def fetch(self, name: str, version: str, into: Path) -> None:
        """Copy the bundle of a version to ``into``, which appears whole or not at all.

        Raises:
            OutsideError: no such version, its bytes are not those that were registered, or they
                cannot be had.
        """
        record, _ = self._version(name, version)
        if record.size > MOST_BYTES:
            raise OutsideError(f"version {version} of {name} says to have {record.size:,} bytes")
        into.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{into.name[:80]}.", dir=into.parent) as folder:
            file, fresh = Path(folder) / "bundle.tar", Path(folder) / "bundle"
            try:
                self._store.get(_bundle(record.file), file, record.size)
            except MissingError:
                raise OutsideError(
                    f"the bytes of version {version} of {name} are gone from the bucket",
                    remedy="Somebody, or a lifecycle rule, deleted them; restore them from the "
                    "bucket's older versions.",
                ) from None
            if file_digest(file) != record.file:
                raise OutsideError(
                    f"the bundle of version {version} of {name} is not the one that was registered",
                    remedy="Somebody replaced it in the bucket. Restore it from an older version.",
                )
            unpack_tar(file, fresh, most_bytes=record.size, most_files=MOST_FILES)
            if folder_digest(fresh / MODEL) != record.digest:
                raise OutsideError(f"version {version} of {name} holds another model than it says")
            shutil.rmtree(into, ignore_errors=True)
            fresh.replace(into)

    # --- aliases ----------------------------------------------------------------------------

    def publish(self, name: str, aliases: Mapping[str, str | None], chain: Sequence[str]) -> None:
        """Note the aliases and the ledger's head, in one write.

        Raises:
            OutsideError: the bucket cannot be reached or refuses; an alias names no version; or
                the head noted before is not in the chain: then nothing was changed.
        """
        known = set(chain)
        for attempt in range(_TRIES):
            before, tag = self._word(name)
            if before is not None and before.head not in known:
                raise OutsideError(
                    "the registry remembers a ledger head that this ledger does not have",
                    remedy="The ledger branch was rewritten. Restore it, or look at who pushed to "
                    f"it; only then remove {_word(name)} from the bucket.",
                )
            changed = {**(before.aliases if before else {}), **aliases}
            wanted = {alias: version for alias, version in changed.items() if version is not None}
            self._check_versions(name, wanted)
            word = Word(serial=before.serial if before else 0, head=chain[-1], aliases=wanted)
            if word == before:
                return
            data = replace(word, serial=word.serial + 1).write()
            sha256 = hashlib.sha256(data).hexdigest()
            try:
                self._store.put(_word(name), data, sha256=sha256, absent=tag is None, tag=tag)
            except PreconditionError:  # another pass spoke: what it said may forbid ours
                self._sleep(_PAUSE * attempt)
            else:
                return
        raise OutsideError(
            f"the aliases of {name} are changed faster than they can be written",
            remedy="Run again: the ledger is published anew.",
        )

    def _check_versions(self, name: str, aliases: Mapping[str, str]) -> None:
        for version in sorted({*aliases.values()}):
            self._version(name, version)

    def aliases(self, name: str) -> Mapping[str, str]:
        """Return alias -> version; a model that was never registered has none."""
        word, _ = self._word(name)
        return dict(word.aliases) if word else {}

    def annotate(self, name: str, version: str, tags: Mapping[str, str]) -> None:
        """Add tags to a version."""
        for attempt in range(_TRIES):
            record, info = self._version(name, version)
            data = replace(record, tags={**record.tags, **tags}).write()
            if data == record.write():
                return
            sha256 = hashlib.sha256(data).hexdigest()
            try:
                self._store.put(_record(name, version), data, sha256=sha256, tag=info.tag)
            except PreconditionError:
                self._sleep(_PAUSE * attempt)
            else:
                return
        raise OutsideError(
            f"the tags of version {version} of {name} are changed faster than they can be written",
            remedy="Run again.",
        )

    # --- reading ----------------------------------------------------------------------------

    def _read(self, key: str) -> tuple[bytes, ObjectInfo]:
        with tempfile.TemporaryDirectory(prefix="tidegate-record-") as folder:
            file = Path(folder) / "record"
            info = self._store.get(key, file, _RECORD_BYTES)
            return file.read_bytes(), info

    def _version(self, name: str, version: str) -> tuple[Record, ObjectInfo]:
        if not NUMBER.fullmatch(version):
            raise OutsideError(f"{version!r} is no version of {name}")
        key = _record(name, version)
        try:
            data, info = self._read(key)
        except MissingError:
            raise OutsideError(
                f"there is no version {version} of {name} in the bucket",
                remedy="It was deleted, or `registry.store` names another folder.",
            ) from None
        record = Record.read(data, key)
        if record.model != name:
            raise OutsideError(f"{key} is a version of {record.model}, not of {name}")
        return record, info

    def _word(self, name: str) -> tuple[Word | None, str | None]:
        """Return what the ledger last said, with the tag that a newer word replaces."""
        try:
            data, info = self._read(_word(name))
        except MissingError:
            return None, None
        return Word.read(data, _word(name)), info.tag


def _bundle(file: str) -> str:
    return f"bundles/{file}.tar"


def _versions(name: str) -> str:
    return f"models/{name}/versions/"


def _record(name: str, version: str) -> str:
    return f"{_versions(name)}{version}.json"


def _word(name: str) -> str:
    return f"models/{name}/aliases.json"
