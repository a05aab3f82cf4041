"""Both stores on loopback clouds: the contract, large files, lost answers, missing buckets."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.contracts.store_contract import StoreContract, put, read, sha256
from tidegate.adapters.cloud.aws import AwsError, SessionOver
from tidegate.adapters.stores import PreconditionError, open_store
from tidegate.adapters.stores.base import Place
from tidegate.adapters.stores.s3 import S3Store
from tidegate.errors import ConfigError, OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tidegate.adapters.cloud.aws import Aws
    from tidegate.adapters.cloud.google import Google
    from tidegate.ports import ObjectStore

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]


@contextmanager
def amazon(patch: pytest.MonkeyPatch) -> Iterator[Any]:
    from tests.aws import serve, server

    def go_on(handler: Any) -> bool:
        """S3's clients wait a second for this line: it must not stay in a buffer."""
        handler.send_response_only(100)
        handler.end_headers()
        handler.wfile.flush()
        return True

    patch.setattr(server._Handler, "handle_expect_100", go_on)
    with serve() as cloud:
        for name, value in cloud.env.items():
            patch.setenv(name, value)
        connected().call(
            "s3", "create_bucket", Bucket="acme-models",
            CreateBucketConfiguration={"LocationConstraint": cloud.region},
        )  # fmt: skip
        yield cloud


@contextmanager
def googles(patch: pytest.MonkeyPatch) -> Iterator[Any]:
    from tests.gcp.server import serve

    with serve() as cloud:
        for name, value in cloud.env.items():
            patch.setenv(name, value)
        yield cloud


def connected() -> Aws:
    from tidegate.adapters.cloud.aws import connect

    return connect(None, sleep=lambda _: None)


def google() -> Google:
    from tidegate.adapters.cloud.google import connect

    return connect("", sleep=lambda _: None)


def s3() -> ObjectStore:
    return open_store("s3://acme-models/some/folder", aws=connected())


def gcs() -> ObjectStore:
    return open_store("gs://acme-models/some/folder", google=google())


@pytest.fixture
def s3_cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with amazon(monkeypatch) as cloud:
        yield cloud


@pytest.fixture
def gcs_cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with googles(monkeypatch) as cloud:
        yield cloud


class TestS3(StoreContract):
    @pytest.fixture
    def fresh(self, s3_cloud: Any) -> Callable[[], ObjectStore]:
        return s3

    @pytest.fixture
    def store(self, fresh: Callable[[], ObjectStore]) -> ObjectStore:
        return fresh()


class TestS3InParts(TestS3):
    @pytest.fixture
    def fresh(self, s3_cloud: Any) -> Callable[[], ObjectStore]:
        return lambda: S3Store(connected(), Place.of("s3://acme-models"), part=2)

    @pytest.fixture(autouse=True)
    def _small_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("moto.settings.S3_UPLOAD_PART_MIN_SIZE", 1, raising=False)
        monkeypatch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", 1, raising=False)

    def test_a_file_is_put_as_its_bytes(self, store: ObjectStore, tmp_path: Path) -> None:
        """25,600 bytes are too many parts of two."""

    # moto compares nothing but If-None-Match when an upload in parts is completed.

    def test_a_replacement_is_made_over_the_content_that_it_was_made_for(
        self, store: ObjectStore, tmp_path: Path
    ) -> None: ...

    def test_a_replacement_of_what_is_gone_is_refused(self, store: ObjectStore) -> None: ...

    def test_counting_in_many_places_at_once_loses_nothing(
        self, fresh: Callable[[], ObjectStore], tmp_path: Path
    ) -> None: ...


class TestGcs(StoreContract):
    @pytest.fixture
    def fresh(self, gcs_cloud: Any) -> Callable[[], ObjectStore]:
        return gcs

    @pytest.fixture
    def store(self, fresh: Callable[[], ObjectStore]) -> ObjectStore:
        return fresh()


# --- lost answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [None, "InternalError"], ids=["reset", "500"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_creation_whose_answer_was_lost_is_known_as_ours_on_s3(
    s3_cloud: Any, code: str | None, times: int, tmp_path: Path
) -> None:
    store = s3()
    s3_cloud.fail_next("PutObject", times, code, status=500, apply=True)
    info = put(store, "k", b"mine", absent=True)
    assert store.head("k") == info
    s3_cloud.fail_next("PutObject", times, code, status=500, apply=True)
    assert put(store, "k", b"yours", tag=info.tag) == store.head("k")
    assert read(store, "k", tmp_path) == b"yours"


@pytest.mark.parametrize("status", [None, 503], ids=["reset", "503"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_creation_whose_answer_was_lost_is_known_as_ours_on_gcs(
    gcs_cloud: Any, status: int | None, times: int, tmp_path: Path
) -> None:
    store = gcs()
    gcs_cloud.fail_next("storage.objects.insert", times, status, apply=True)
    info = put(store, "k", b"mine", absent=True)
    assert store.head("k") == info
    gcs_cloud.fail_next("storage.objects.insert", times, status, apply=True)
    assert put(store, "k", b"yours", tag=info.tag) == store.head("k")
    assert read(store, "k", tmp_path) == b"yours"


def test_somebody_else_s_creation_is_not_taken_for_ours(s3_cloud: Any, tmp_path: Path) -> None:
    store = s3()
    put(store, "k", b"theirs")
    s3_cloud.fail_next("PutObject", 1, None, apply=True)
    with pytest.raises(PreconditionError):
        put(store, "k", b"ours", absent=True)
    assert read(store, "k", tmp_path) == b"theirs"


@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "UploadPart",
                                       "CompleteMultipartUpload", "*"])  # fmt: skip
@pytest.mark.parametrize("apply", [True, False], ids=["done", "not done"])
def test_a_large_file_survives_every_broken_call(
    s3_cloud: Any, operation: str, apply: bool, tmp_path: Path
) -> None:
    file = tmp_path / "large"
    file.write_bytes(os.urandom(11 << 20))
    digest = sha256(file.read_bytes())
    store = S3Store(connected(), Place.of("s3://acme-models/x"), part=5 << 20)
    s3_cloud.fail_next(operation, 2, None, apply=apply)
    info = store.put("large", file, sha256=digest, absent=True)
    assert info.size == 11 << 20
    assert store.head("large") == info
    assert read(store, "large", tmp_path) == file.read_bytes()
    with pytest.raises(PreconditionError):
        store.put("large", file, sha256=digest, absent=True)


def test_a_large_file_goes_on_where_its_upload_broke(gcs_cloud: Any, tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(os.urandom(3 << 20))
    digest = sha256(file.read_bytes())
    store = gcs()
    gcs_cloud.fail_next("storage.objects.insert", 2, None)
    info = store.put("large", file, sha256=digest, absent=True)
    assert store.head("large") == info
    assert read(store, "large", tmp_path) == file.read_bytes()


# --- damage, and what is missing ------------------------------------------------------------------


def test_an_object_that_is_not_what_its_checksum_says_is_not_had(
    s3_cloud: Any, tmp_path: Path
) -> None:
    put(s3(), "k", b"true")
    told = {"tidegate-sha256": sha256(b"true")}
    connected().call("s3", "put_object", Bucket="acme-models", Key="some/folder/k", Body=b"false",
                     Metadata=told)  # fmt: skip
    with pytest.raises(OutsideError, match="not what it should be"):
        s3().get("k", tmp_path / "x", 100)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_look_says_why(s3_cloud: Any) -> None:
    """The answer to a HEAD has no words: a code that it does not tell is asked for by a GET."""
    info = put(s3(), "k", b"x")
    # Twice: botocore takes the first for a bucket in another region, and looks there.
    s3_cloud.fail_next("HeadObject", 2, "ExpiredToken", status=400)
    s3_cloud.fail_next("GetObject", 1, "ExpiredToken", status=400)
    with pytest.raises(SessionOver):
        s3().head("k")
    s3_cloud.fail_next("HeadObject", 1, "AccessDenied", status=403)
    s3_cloud.fail_next("GetObject", 1, "AccessDenied", status=403)
    with pytest.raises(AwsError, match="AccessDenied"):
        s3().head("k")
    s3_cloud.fail_next("HeadObject", 2, "ExpiredToken", status=400)
    assert s3().head("k") == info, "the GET has renewed the session"


def test_what_somebody_else_wrote_has_no_checksum(s3_cloud: Any) -> None:
    connected().call("s3", "put_object", Bucket="acme-models", Key="some/folder/k", Body=b"x")
    found = s3().head("k")
    assert found is not None
    assert found.sha256 is None


def test_a_missing_bucket_is_no_empty_one_on_s3(s3_cloud: Any, tmp_path: Path) -> None:
    store = open_store("s3://no-such-bucket/x", aws=connected())
    for act in (lambda: store.head("k"), lambda: store.get("k", tmp_path / "x", 9),
                lambda: list(store.list("")), lambda: put(store, "k", b"x")):  # fmt: skip
        with pytest.raises(OutsideError, match=r"no-such-bucket|NoSuchBucket"):
            act()


def test_a_missing_bucket_is_no_empty_one_on_gcs(gcs_cloud: Any, tmp_path: Path) -> None:
    store = open_store("gs://no-such-bucket/x", google=google())
    for act in (lambda: store.head("k"), lambda: store.get("k", tmp_path / "x", 9),
                lambda: list(store.list("")), lambda: put(store, "k", b"x")):  # fmt: skip
        with pytest.raises(OutsideError, match=r"bucket|404"):
            act()


@pytest.mark.parametrize(
    "uri",
    ["", "s3://", "s3:///x", "s4://bucket/x", "s3://Bucket/x", "gs://b/x", "s3://bucket/../x",
     "s3://bucket/a//b", "s3://bucket/é", "bucket/x", "s3://user@bucket/x"],
)  # fmt: skip
def test_what_is_no_bucket_is_refused(uri: str) -> None:
    with pytest.raises(ConfigError, match="not a bucket"):
        open_store(uri)


def test_thirty_percent_of_failures_cost_less_than_three_times_the_calls(
    s3_cloud: Any, tmp_path: Path
) -> None:
    store = s3()

    def work() -> int:
        before = len(s3_cloud.calls)
        for number in range(30):
            info = put(store, f"k{number}", b"one")
            put(store, f"k{number}", b"two", tag=info.tag)
            assert read(store, f"k{number}", tmp_path) == b"two"
            store.delete(f"k{number}")
        return len(s3_cloud.calls) - before

    quiet = work()
    s3_cloud.throttle(0.3, seed=7)
    assert work() <= 3 * quiet
    s3_cloud.throttle(0.0)
