"""The registry in a bucket: exactly once over S3 and Cloud Storage, whatever gets lost, whoever races."""

from __future__ import annotations

import contextlib
import io
import tarfile
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.adapters.test_stores import gcs, gcs_cloud, s3, s3_cloud
from tests.contracts.registry_contract import RegistryContract, registration
from tests.contracts.store_contract import put, read, sha256
from tidegate.adapters.registry import buckets
from tidegate.adapters.registry.bucket_records import Record, Word
from tidegate.adapters.registry.buckets import BucketRegistry
from tidegate.digests import folder_digest
from tidegate.errors import OutsideError
from tidegate.home import MODEL

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tidegate.ports import ObjectInfo, ObjectStore

__all__ = ["gcs_cloud", "s3_cloud"]
pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

ALL = ("bundles/", "models/")


def registry_of(store: ObjectStore) -> BucketRegistry:
    return BucketRegistry(store, sleep=lambda _: None)


def records(store: ObjectStore) -> list[str]:
    return [key for key in store.list("models/") if key.endswith(".json") and "/versions/" in key]


class TestBucketRegistryOnS3(RegistryContract):
    @pytest.fixture
    def registry(self, s3_cloud: Any) -> BucketRegistry:
        return registry_of(s3())


class TestBucketRegistryOnGcs(RegistryContract):
    @pytest.fixture
    def registry(self, gcs_cloud: Any) -> BucketRegistry:
        return registry_of(gcs())


@pytest.fixture(params=["s3", "gcs"])
def cloud(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(f"{request.param}_cloud")


@pytest.fixture
def fresh(cloud: Any, request: pytest.FixtureRequest) -> Callable[[], ObjectStore]:
    return gcs if hasattr(cloud, "identity") else s3


def lose(cloud: Any, what: str, times: int, *, apply: bool, reset: bool) -> None:
    """Let answers of a kind of call get lost."""
    if hasattr(cloud, "identity"):
        method = {"put": "storage.objects.insert", "get": "storage.objects.get",
                  "list": "storage.objects.list"}[what]  # fmt: skip
        cloud.fail_next(method, times, None if reset else 503, apply=apply)
    else:
        operation = {"put": "PutObject", "get": "GetObject", "list": "ListObjectsV2"}[what]
        cloud.fail_next(operation, times, None if reset else "InternalError", status=500,
                        apply=apply)  # fmt: skip


@pytest.mark.parametrize("apply", [True, False], ids=["done", "not done"])
@pytest.mark.parametrize("reset", [True, False], ids=["reset", "5xx"])
@pytest.mark.parametrize("what", ["put", "get", "list"])
def test_one_version_however_many_answers_are_lost(
    cloud: Any, fresh: Callable[[], ObjectStore], what: str, reset: bool, apply: bool,
    tmp_path: Path,
) -> None:  # fmt: skip
    given, registry = registration(tmp_path / "one"), registry_of(fresh())
    lose(cloud, what, 3, apply=apply, reset=reset)
    assert registry.register(given) == "1"
    assert registry.register(given) == "1"
    assert records(fresh()) == ["models/m/versions/1.json"]
    lose(cloud, what, 3, apply=apply, reset=reset)
    registry.publish("m", {"champion": "1"}, ["h1"])
    lose(cloud, what, 3, apply=apply, reset=reset)
    registry.publish("m", {"champion": "1"}, ["h1", "h2"])
    assert dict(registry.aliases("m")) == {"champion": "1"}
    registry.annotate("m", "1", {"tidegate.outcome": "promoted"})
    registry.fetch("m", "1", tmp_path / "fetched")
    assert folder_digest(tmp_path / "fetched" / MODEL) == given.digest


class Dying:
    """A store whose process ends at the n-th write: before it, or after it and unanswered."""

    def __init__(self, inner: ObjectStore, left: int, *, after: bool) -> None:
        self._inner, self._left, self._after = inner, left, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def put(self, *args: Any, **options: Any) -> ObjectInfo:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise KeyboardInterrupt
        info = self._inner.put(*args, **options)
        if self._left == 0:
            raise KeyboardInterrupt
        return info


@pytest.mark.parametrize("after", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_registration_that_dies_anywhere_is_finished_by_the_next(
    fresh: Callable[[], ObjectStore], number: int, after: bool, tmp_path: Path
) -> None:
    given = registration(tmp_path / "one")
    with contextlib.suppress(KeyboardInterrupt):
        registry_of(Dying(fresh(), number, after=after)).register(given)
    assert registry_of(fresh()).register(given) == "1"
    store = fresh()
    assert [key.rpartition("/")[2] for key in store.list("models/m/")] == [
        f"1.{given.digest}", "1.json",
    ] or records(store) == ["models/m/versions/1.json"]  # fmt: skip
    assert len(list(store.list("bundles/"))) == 1
    assert registry_of(fresh()).register(registration(tmp_path / "two", "another")) == "2"


def raced(count: int, act: Callable[[int], None]) -> None:
    together = threading.Barrier(count)
    failures: list[BaseException] = []

    def run(index: int) -> None:
        together.wait()
        try:
            act(index)
        except BaseException as error:  # noqa: BLE001 (told to the test's own thread)
            failures.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_racing_registrars_of_the_same_bytes_agree_on_one_version(
    fresh: Callable[[], ObjectStore], tmp_path: Path
) -> None:
    given = [registration(tmp_path / str(index)) for index in range(5)]
    found: list[str] = []
    raced(5, lambda index: found.append(registry_of(fresh()).register(given[index])))
    assert found == ["1"] * 5
    assert records(fresh()) == ["models/m/versions/1.json"]
    assert len(list(fresh().list("bundles/"))) == 1


def test_racing_registrars_of_other_bytes_get_numbers_of_their_own(
    fresh: Callable[[], ObjectStore], tmp_path: Path
) -> None:
    given = [registration(tmp_path / str(index), f"model {index}") for index in range(5)]
    found: dict[int, str] = {}
    raced(5, lambda i: found.update({i: registry_of(fresh()).register(given[i])}))
    assert sorted(found.values()) == ["1", "2", "3", "4", "5"]
    for index, version in found.items():
        registry_of(fresh()).fetch("m", version, tmp_path / "fetched" / version)
        fetched = tmp_path / "fetched" / version / MODEL
        assert folder_digest(fetched) == given[index].digest


class Between:
    """A store in which somebody else acts right before a write."""

    def __init__(self, inner: ObjectStore, act: Callable[[], object]) -> None:
        self._inner, self._act = inner, [act]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def put(self, key: str, *args: Any, **options: Any) -> ObjectInfo:
        if self._act and ("aliases" in key or "versions" in key):
            self._act.pop()()
        return self._inner.put(key, *args, **options)


def test_a_pass_with_an_older_ledger_cannot_speak_after_a_newer_one(
    fresh: Callable[[], ObjectStore], tmp_path: Path
) -> None:
    """It read before the other wrote: its write is refused, and its second look forbids it."""
    newer = registry_of(fresh())
    for index in range(2):
        newer.register(registration(tmp_path / str(index), f"model {index}"))
    newer.publish("m", {"champion": "1"}, ["h1"])
    late = Between(fresh(), lambda: newer.publish("m", {"champion": "2"}, ["h1", "h2"]))
    with pytest.raises(OutsideError, match="ledger head"):
        registry_of(late).publish("m", {"champion": "1", "challenger": "2"}, ["h1"])
    assert dict(newer.aliases("m")) == {"champion": "2"}


def test_two_who_annotate_at_once_lose_nothing(
    fresh: Callable[[], ObjectStore], tmp_path: Path
) -> None:
    registry_of(fresh()).register(registration(tmp_path / "one"))
    raced(4, lambda i: registry_of(fresh()).annotate("m", "1", {f"tag{i}": "x"}))
    data = read(fresh(), "models/m/versions/1.json", tmp_path)
    assert {f"tag{i}" for i in range(4)} <= {*Record.read(data, "").tags}


def test_the_number_of_a_version_that_was_deleted_is_not_used_again(
    fresh: Callable[[], ObjectStore], tmp_path: Path
) -> None:
    registry = registry_of(fresh())
    for index in range(2):
        registry.register(registration(tmp_path / str(index), f"model {index}"))
    fresh().delete("models/m/versions/2.json")
    assert registry.register(registration(tmp_path / "1 again", "model 1")) == "3"


def test_the_same_bytes_under_two_names_are_kept_once(
    fresh: Callable[[], ObjectStore], tmp_path: Path
) -> None:
    registry = registry_of(fresh())
    for name in ("m", "other"):
        assert registry.register(registration(tmp_path / name, "same", name)) == "1"
    assert len(list(fresh().list("bundles/"))) == 1


def test_an_alias_of_a_version_that_is_not_there_is_refused(
    fresh: Callable[[], ObjectStore], tmp_path: Path
) -> None:
    registry = registry_of(fresh())
    registry.register(registration(tmp_path / "one"))
    with pytest.raises(OutsideError, match="no version 2"):
        registry.publish("m", {"champion": "2"}, ["h1"])
    assert dict(registry.aliases("m")) == {}


# --- what somebody else did to it -----------------------------------------------------------------


@pytest.mark.parametrize("what", ["other bytes", "gone", "link", "no tar"])
def test_swapped_bytes_are_refused(
    fresh: Callable[[], ObjectStore], what: str, tmp_path: Path
) -> None:
    registry, store = registry_of(fresh()), fresh()
    registry.register(registration(tmp_path / "one"))
    (bundle,) = store.list("bundles/")
    if what == "gone":
        store.delete(bundle)
    elif what == "other bytes":
        data = read(store, bundle, tmp_path)
        put(store, bundle, data[:1000] + b"\1" + data[1001:])
    elif what == "no tar":
        put(store, bundle, b"x")
    else:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            info = tarfile.TarInfo("model/x")
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(info)
        data = buffer.getvalue()
        put(store, bundle, data)
        # With a record that says so, as whoever may write the bucket can.
        key = "models/m/versions/1.json"
        old = Record.read(read(store, key, tmp_path), key)
        forged = Record(model="m", digest=old.digest, file=sha256(data), size=len(data),
                        nonce="n", tags={})  # fmt: skip
        put(store, key, forged.write())
        put(store, f"bundles/{sha256(data)}.tar", data)
    with pytest.raises(OutsideError):
        registry.fetch("m", "1", tmp_path / "store" / "x")
    assert list((tmp_path / "store").iterdir()) == []


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"null", b"\xff", b'{"tidegate": 2}', b'{"tidegate": 1, "model": "m"}'],
)
def test_a_record_that_cannot_be_read_is_an_error_and_no_missing_version(
    fresh: Callable[[], ObjectStore], data: bytes, tmp_path: Path
) -> None:
    registry, store = registry_of(fresh()), fresh()
    put(store, "models/m/versions/1.json", data)
    put(store, "models/m/aliases.json", data)
    for act in (
        lambda: registry.register(registration(tmp_path / "one")),
        lambda: registry.fetch("m", "1", tmp_path / "x"),
        lambda: registry.aliases("m"),
        lambda: registry.publish("m", {}, ["h1"]),
    ):
        with pytest.raises(OutsideError, match="not as Tidegate wrote it"):
            act()


def test_records_are_read_as_they_were_written() -> None:
    record = Record(model="m", digest="a" * 64, file="b" * 64, size=3, nonce="n",
                    tags={"t": "größe"}, params={"p": "1"},
                    metrics={"auc": 0.5, "nan": float("nan")})  # fmt: skip
    again = Record.read(record.write(), "")
    assert again.metrics == {"auc": 0.5, "nan": "nan"}
    assert Record.read(again.write(), "") == again
    word = Word(serial=3, head="h", aliases={"champion": "12"})
    assert Word.read(word.write(), "") == word


def test_a_bucket_that_fails_for_good_ends_in_bounded_time(
    fresh: Callable[[], ObjectStore], cloud: Any, tmp_path: Path
) -> None:
    lose(cloud, "put", 10_000, apply=False, reset=False)
    before = len(cloud.calls)
    with pytest.raises(OutsideError):
        registry_of(fresh()).register(registration(tmp_path / "one"))
    assert len(cloud.calls) - before < 40
    assert buckets._TRIES < 100
