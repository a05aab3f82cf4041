"""What every store of objects must do, whichever cloud keeps it. Subclass it with fixtures."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING

import pytest

from tidegate.adapters.stores import MissingError, PreconditionError
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tidegate.ports import ObjectInfo, ObjectStore


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(store: ObjectStore, key: str, data: bytes, **condition: object) -> ObjectInfo:
    return store.put(key, data, sha256=sha256(data), **condition)  # type: ignore[arg-type]


def read(store: ObjectStore, key: str, folder: Path) -> bytes:
    into = folder / "read"
    store.get(key, into, 1 << 30)
    return into.read_bytes()


class StoreContract:
    """Needs the fixtures ``store`` (empty and new) and ``fresh`` (makes another view of it)."""

    def test_what_was_put_is_there_with_size_checksum_and_tag(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        assert store.head("a/b.json") is None
        info = put(store, "a/b.json", b"one")
        assert (info.size, info.sha256) == (3, sha256(b"one"))
        assert store.head("a/b.json") == info
        assert store.get("a/b.json", tmp_path / "x", 3) == info
        assert (tmp_path / "x").read_bytes() == b"one"

    def test_a_file_is_put_as_its_bytes(self, store: ObjectStore, tmp_path: Path) -> None:
        file = tmp_path / "file"
        file.write_bytes(bytes(range(256)) * 100)
        digest = sha256(file.read_bytes())
        assert store.put("file", file, sha256=digest).size == 25_600
        assert read(store, "file", tmp_path) == file.read_bytes()

    @pytest.mark.parametrize("data", [b"", b"x"], ids=["empty", "one byte"])
    def test_small_objects_are_whole(self, store: ObjectStore, data: bytes, tmp_path: Path) -> None:
        assert put(store, "small", data).size == len(data)
        assert read(store, "small", tmp_path) == data

    def test_bytes_that_are_not_those_of_the_checksum_are_not_written(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        file = tmp_path / "file"
        file.write_bytes(b"changed meanwhile")
        for source in (b"other", file):
            with pytest.raises(OutsideError, match="not what it should be"):
                store.put("k", source, sha256=sha256(b"one"))
        assert store.head("k") is None

    def test_a_second_creation_is_refused_and_changes_nothing(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        first = put(store, "k", b"one", absent=True)
        for data in (b"two", b"one"):
            with pytest.raises(PreconditionError):
                put(store, "k", data, absent=True)
        assert store.head("k") == first
        assert read(store, "k", tmp_path) == b"one"

    def test_a_replacement_is_made_over_the_content_that_it_was_made_for(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        one = put(store, "k", b"one", absent=True)
        two = put(store, "k", b"two", tag=one.tag)
        assert two.tag != one.tag
        with pytest.raises(PreconditionError):
            put(store, "k", b"three", tag=one.tag)
        assert read(store, "k", tmp_path) == b"two"
        put(store, "k", b"three", tag=two.tag)
        assert read(store, "k", tmp_path) == b"three"

    def test_a_replacement_of_what_is_gone_is_refused(self, store: ObjectStore) -> None:
        one = put(store, "k", b"one")
        store.delete("k")
        with pytest.raises(PreconditionError):
            put(store, "k", b"two", tag=one.tag)
        assert store.head("k") is None

    def test_of_many_creations_at_once_one_is_made(
        self, fresh: Callable[[], ObjectStore], tmp_path: Path
    ) -> None:
        made: list[bytes] = []
        together = threading.Barrier(6)

        def race(data: bytes) -> None:
            store = fresh()
            together.wait()
            try:
                put(store, "k", data, absent=True)
            except PreconditionError:
                return
            made.append(data)

        threads = [threading.Thread(target=race, args=(b"%d" % n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(made) == 1
        assert read(fresh(), "k", tmp_path) == made[0]

    def test_counting_in_many_places_at_once_loses_nothing(
        self, fresh: Callable[[], ObjectStore], tmp_path: Path
    ) -> None:
        put(fresh(), "count", b"0")

        def count(folder: Path) -> None:
            folder.mkdir()
            store, done = fresh(), 0
            while done < 5:
                info = store.get("count", folder / "n", 100)
                number = int((folder / "n").read_bytes()) + 1
                try:
                    put(store, "count", b"%d" % number, tag=info.tag)
                except PreconditionError:
                    continue
                done += 1

        threads = [threading.Thread(target=count, args=(tmp_path / str(n),)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert read(fresh(), "count", tmp_path) == b"15"

    def test_what_is_not_there_cannot_be_had(self, store: ObjectStore, tmp_path: Path) -> None:
        with pytest.raises(MissingError):
            store.get("nothing", tmp_path / "x", 10)
        assert list(tmp_path.iterdir()) == []

    def test_what_is_larger_than_allowed_is_not_had(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        put(store, "k", b"x" * 100)
        with pytest.raises(OutsideError, match="larger than 99 bytes"):
            store.get("k", tmp_path / "x", 99)
        assert list(tmp_path.iterdir()) == []

    def test_a_listing_has_every_key_below_a_prefix_in_order(self, store: ObjectStore) -> None:
        keys = ["a/1", "a/10", "a/2", "ab", "b/1"]
        for key in reversed(keys):
            put(store, key, b"x")
        assert list(store.list("a/")) == ["a/1", "a/10", "a/2"]
        assert list(store.list("a")) == ["a/1", "a/10", "a/2", "ab"]
        assert list(store.list("")) == keys
        assert list(store.list("c")) == []

    def test_what_is_deleted_is_gone_and_may_be_deleted_again(self, store: ObjectStore) -> None:
        put(store, "k", b"x")
        for _ in range(2):
            store.delete("k")
            assert store.head("k") is None

    @pytest.mark.parametrize(
        "key", ["", "/", "/k", "k/", "a//b", "../k", "a/../b", ".", "a b", "é"]
    )
    def test_a_key_that_could_lead_elsewhere_is_refused(
        self, store: ObjectStore, key: str, tmp_path: Path
    ) -> None:
        with pytest.raises(OutsideError, match="not a key"):
            put(store, key, b"x")
        with pytest.raises(OutsideError, match="not a key"):
            store.get(key, tmp_path / "x", 10)
