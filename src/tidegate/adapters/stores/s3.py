"""Amazon S3 as a store: conditional writes, checksums that S3 verifies, large files in parts.

Conditional writes: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
Checksums: https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

from __future__ import annotations

import base64
import hashlib
import io
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tidegate.adapters.cloud.aws import AwsError
from tidegate.adapters.stores.base import (
    SHA256,
    MissingError,
    PreconditionError,
    checked,
    told_sha256,
)
from tidegate.digests import file_digest
from tidegate.errors import OutsideError
from tidegate.ports import ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tidegate.adapters.cloud.aws import Aws
    from tidegate.adapters.stores.base import Place

PART = 1 << 25  # bytes; what is not larger is sent in one piece
_PARTS = 10_000  # of one object
_TRIES = 6  # of a write that another one disturbs
_PAUSE = 0.3  # seconds


class S3Store:
    """A folder of a bucket.

    Args:
        aws: the session.
        place: where.
        part: bytes of a part of a large file.
        sleep: waits that many seconds.
    """

    def __init__(
        self,
        aws: Aws,
        place: Place,
        *,
        part: int = PART,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._aws = aws
        self._place = place
        self._part = part
        self._sleep = sleep
        self._bucket_seen = False

    def __repr__(self) -> str:
        return f"S3Store({str(self._place)!r})"

    def head(self, key: str) -> ObjectInfo | None:
        """Return what stands there now; None where nothing does.

        https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html

        Raises:
            OutsideError: S3 cannot be reached or refuses, or there is no such bucket.
        """
        name: dict[str, Any] = {"Bucket": self._place.bucket, "Key": self._place.key(key)}
        try:
            return _info(self._aws.call("s3", "head_object", **name))
        except AwsError as error:
            if error.status == 404:
                self._see_bucket()
                return None
            if error.status not in {400, 403}:
                raise
        # The answer to a HEAD has no words. A GET's tells an ended session, which is renewed by
        # it, from a right that lacks (without s3:ListBucket, what is missing is forbidden).
        self._aws.call("s3", "get_object", **name)["Body"].close()
        return _info(self._aws.call("s3", "head_object", **name))

    def get(self, key: str, into: Path, at_most: int) -> ObjectInfo:
        """Copy an object to a file, whole and as its checksum says, or not at all.

        https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html

        Raises:
            MissingError: there is none.
            OutsideError: it is larger than ``at_most`` bytes, damaged, or S3 refuses.
        """
        part = into.with_name(f"{into.name}.unchecked")
        try:
            answer = self._aws.download(
                self._place.bucket, self._place.key(key), part, at_most=at_most
            )
            info = _info(answer)
            if info.sha256 is not None:
                checked(file_digest(part), info.sha256, f"{self._place}{key}")
            part.replace(into)
        except AwsError as error:
            if error.code != "NoSuchKey":
                raise
            raise MissingError(f"there is no {self._place}{key}") from None
        finally:
            part.unlink(missing_ok=True)
        return info

    def put(
        self,
        key: str,
        source: Path | bytes,
        *,
        sha256: str,
        absent: bool = False,
        tag: str | None = None,
    ) -> ObjectInfo:
        """Write an object: only where none stands (``absent``), or only over the content ``tag``.

        An answer that got lost is looked up: where our very bytes stand, it was done.

        Raises:
            PreconditionError: something else stands there, or nothing; nothing was written.
            OutsideError: the bytes are not those of ``sha256``, or S3 refuses.
        """
        where: dict[str, Any] = {}
        if absent:
            where["IfNoneMatch"] = "*"
        elif tag is not None:
            where["IfMatch"] = tag
        for _ in range(_TRIES):
            try:
                return self._write(key, source, sha256, where)
            except AwsError as error:
                if error.unknown or error.repeated:
                    found = self.head(key)
                    if found is not None and found.sha256 == sha256:
                        return found
                gone = tag is not None and error.code == "NoSuchKey"
                if where and (error.status == 412 or gone):
                    raise PreconditionError(
                        f"{self._place}{key} is not what this write was made for"
                    ) from None
                if error.status != 409:  # ConditionalRequestConflict: another write, just now
                    raise
                failure = error
            self._sleep(_PAUSE)
        raise failure

    def _write(
        self, key: str, source: Path | bytes, sha256: str, where: dict[str, Any]
    ) -> ObjectInfo:
        """Write once. https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html"""
        try:
            size = source.stat().st_size if isinstance(source, Path) else len(source)
            with source.open("rb") if isinstance(source, Path) else io.BytesIO(source) as file:
                if size > self._part:
                    return self._write_parts(key, file, size, sha256, where)
                data = file.read(self._part + 1)
        except OSError as error:
            raise OutsideError(f"{source!r}: {error.strerror}") from None
        checked(hashlib.sha256(data).hexdigest(), sha256, f"what is to be {self._place}{key}")
        answer = self._aws.call(
            "s3", "put_object", repeat=True, Bucket=self._place.bucket, Key=self._place.key(key),
            Body=data, ChecksumSHA256=_base64(data), Metadata={SHA256: sha256}, **where,
        )  # fmt: skip
        return ObjectInfo(size=len(data), sha256=sha256, tag=str(answer["ETag"]))

    def _write_parts(
        self, key: str, file: IO[bytes], size: int, sha256: str, where: dict[str, Any]
    ) -> ObjectInfo:
        """Write in parts; nothing stands there before the last call.

        https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
        """
        name = {"Bucket": self._place.bucket, "Key": self._place.key(key)}
        begun = self._aws.call(
            "s3", "create_multipart_upload", repeat=True, **name,  # an unused one is only a shell
            ChecksumAlgorithm="SHA256", Metadata={SHA256: sha256},
        )  # fmt: skip
        upload = {**name, "UploadId": begun["UploadId"]}
        try:
            parts: list[dict[str, Any]] = []
            total, length = hashlib.sha256(), 0
            while data := file.read(max(self._part, -(-size // _PARTS))):
                total.update(data)
                length += len(data)
                number, checksum = len(parts) + 1, _base64(data)
                answer = self._aws.call(
                    "s3", "upload_part", **upload,
                    PartNumber=number, Body=data, ChecksumSHA256=checksum,
                )  # fmt: skip
                part = {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum}
                parts.append(part)
            checked(total.hexdigest(), sha256, f"what is to be {self._place}{key}")
            done = self._aws.call(
                "s3", "complete_multipart_upload", repeat=True, **upload,
                MultipartUpload={"Parts": parts}, **where,
            )  # fmt: skip
        except OutsideError as error:
            self._abort(upload, error)
            raise
        return ObjectInfo(size=length, sha256=sha256, tag=str(done["ETag"]))

    def _abort(self, upload: dict[str, Any], error: OutsideError) -> None:
        """Take the parts away: they are paid for.

        https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html
        """
        if isinstance(error, AwsError) and error.unknown:
            return  # it may be done; what is left, a lifecycle rule of the bucket takes away
        try:
            self._aws.call("s3", "abort_multipart_upload", **upload)
        except OutsideError:
            return  # the first error is the one to tell

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys that begin with ``prefix``, in order.

        https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
        """
        start = self._place.start(prefix)
        found = self._aws.pages(
            "s3", "list_objects_v2", "Contents", Bucket=self._place.bucket, Prefix=start
        )
        for item in found:
            yield str(item["Key"]).removeprefix(self._place.prefix)

    def delete(self, key: str) -> None:
        """Take an object away; nothing there is fine.

        https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html
        """
        self._aws.call(
            "s3", "delete_object", repeat=True,
            Bucket=self._place.bucket, Key=self._place.key(key),
        )  # fmt: skip

    def _see_bucket(self) -> None:
        """Tell a missing object from a missing bucket.

        https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html
        """
        if self._bucket_seen:
            return
        try:
            self._aws.call("s3", "head_bucket", Bucket=self._place.bucket)
        except AwsError as error:
            if error.status != 404:
                raise
            raise OutsideError(
                f"there is no bucket {self._place.bucket}",
                remedy="Create it, in the region of the endpoint, or correct its name.",
            ) from None
        self._bucket_seen = True


def _info(answer: dict[str, Any]) -> ObjectInfo:
    if "ContentLength" not in answer or "ETag" not in answer:
        raise OutsideError("S3's answer tells no size or no tag", remedy="Run again.")
    return ObjectInfo(
        size=int(answer["ContentLength"]),
        sha256=told_sha256(answer.get("Metadata")),
        tag=str(answer["ETag"]),
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()
