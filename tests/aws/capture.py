"""Data capture: a share of the requests and answers, as JSON Lines in the bucket, a little later.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.aws.fleet import split
from tests.aws.state import day

if TYPE_CHECKING:
    from tests.aws.cloud import Cloud
    from tests.aws.routing import Row
    from tests.aws.state import Endpoint

FLUSH = 0.2  # real seconds between two files of a variant, at least


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request and its answer; ``at`` in the stand-in's epoch seconds."""

    at: float
    asked: bytes
    asked_kind: str
    answered: bytes
    answered_kind: str
    inference_id: str | None
    attributes: str | None


class Capture:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._waiting: list[tuple[float, str, str, str]] = []  # at, folder, hour, line
        self._flushed = 0.0

    def take(self, endpoint: Endpoint, variant: str, exchange: Exchange) -> None:
        """Keep an exchange, if it is drawn for the sample."""
        settings = endpoint.capture
        if settings is None or not settings.get("EnableCapture", True):
            return
        if self._cloud.dice.random() * 100 >= settings["InitialSamplingPercentage"]:
            return
        folder = f"{settings['DestinationS3Uri'].rstrip('/')}/{endpoint.name}/{variant}"
        hour = day(exchange.at).strftime("%Y/%m/%d/%H")
        self._waiting.append((exchange.at, folder, hour, line(settings, exchange)))

    def tick(self) -> None:
        """Write what is due."""
        if not self._waiting or time.monotonic() - self._flushed < FLUSH:
            return
        limit = self._cloud.now() - self._cloud.capture_delay
        due = [one for one in self._waiting if one[0] <= limit]
        if not due:
            return
        self._flushed = time.monotonic()
        self._waiting = [one for one in self._waiting if one[0] > limit]
        files: dict[tuple[str, str], list[tuple[float, str]]] = {}
        for at, folder, hour, text in due:
            files.setdefault((folder, hour), []).append((at, text))
        for (folder, hour), rows in files.items():
            bucket, prefix = split(folder)
            stamp = day(rows[0][0]).strftime("%M-%S-%f")[:-3]
            self._cloud.fleet.s3.put_object(
                Bucket=bucket,
                Key=f"{prefix}/{hour}/{stamp}-{uuid.uuid4()}.jsonl",
                Body="".join(f"{text}\n" for _, text in rows).encode(),
            )


def line(settings: Row, exchange: Exchange) -> str:
    """Return one exchange in the documented form."""
    modes = {option["CaptureMode"] for option in settings["CaptureOptions"]}
    captured: Row = {}
    if modes & {"Input", "InputAndOutput"}:
        captured["endpointInput"] = _side(settings, "INPUT", exchange.asked, exchange.asked_kind)
    if modes & {"Output", "InputAndOutput"}:
        captured["endpointOutput"] = _side(
            settings, "OUTPUT", exchange.answered, exchange.answered_kind
        )
    about: Row = {"eventId": str(uuid.uuid4())}
    if exchange.inference_id is not None:
        about["inferenceId"] = exchange.inference_id
    if exchange.attributes is not None:
        about["customAttributes"] = [exchange.attributes]
    about["inferenceTime"] = day(exchange.at).strftime("%Y-%m-%dT%H:%M:%SZ")
    return json.dumps({"captureData": captured, "eventMetadata": about, "eventVersion": "0"})


def _side(settings: Row, mode: str, data: bytes, kind: str) -> Row:
    headers = settings.get("CaptureContentTypeHeader", {})
    plain = kind.partition(";")[0].strip()
    encoding = "BASE64"
    if plain in headers.get("CsvContentTypes", []):
        encoding = "CSV"
    elif plain in headers.get("JsonContentTypes", []):
        encoding = "JSON"
    text = base64.b64encode(data).decode() if encoding == "BASE64" else data.decode()
    return {"observedContentType": kind, "mode": mode, "data": text, "encoding": encoding}
