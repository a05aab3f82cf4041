"""Passengers of an endpoint in a cloud, as a process: flights of autumn, each one a request.

Every fourth flies a route that opened after the summer timetable, weekday by weekday. What became of
each request is counted for old and new routes apart, and written to ``--status`` five times a second; the
first words of the failures, too. Ends at SIGTERM, or with its parent.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from tidegate.demo.data import ID, LEAK, TARGET, TIME
from tidegate.demo.questions import autumn
from tidegate.demo.traffic import rate_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROUTE = ("carrier", "origin", "dest", "weekday")
WORKERS = 6
TOLD = 4  # failures that are told in words, of each kind

Row = dict[str, Any]


def flights(folder: Path) -> Iterator[tuple[bool, Row]]:
    """Yield flights for ever, and whether each route is a new one."""
    live = autumn(pq.ParquetFile(folder / "live.parquet").read())
    known = [n for n in live.column_names if n not in (ID, TIME, TARGET, LEAK)]
    listed = pq.read_table(folder / "routes.parquet").select(list(ROUTE)).to_pylist()
    routes = {tuple(row[key] for key in ROUTE) for row in listed}
    parts: dict[bool, list[Row]] = {True: [], False: []}
    for row in live.slice(0, 20_000).select(known).to_pylist():
        parts[tuple(row[key] for key in ROUTE) not in routes].append(row)
    old, new = itertools.cycle(parts[False]), itertools.cycle(parts[True])
    for number in itertools.count(1):
        is_new = number % 4 == 0
        yield is_new, next(new if is_new else old)


def by_boto(options: argparse.Namespace) -> Callable[[Row], str]:
    """Return a question to a SageMaker endpoint; it answers with the variant.

    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
    """
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "sagemaker-runtime", endpoint_url=options.url, region_name=options.region,
        aws_access_key_id="passenger", aws_secret_access_key="passenger",
        config=Config(retries={"total_max_attempts": 1}, max_pool_connections=WORKERS),
    )  # fmt: skip

    def ask(row: Row) -> str:
        split = {"columns": list(row), "data": [list(row.values())]}
        answer = client.invoke_endpoint(
            EndpointName=options.endpoint, ContentType="application/json",
            Body=json.dumps({"dataframe_split": split}),
        )  # fmt: skip
        _probability(json.loads(answer["Body"].read()))
        return str(answer["InvokedProductionVariant"])

    return ask


def by_rest(options: argparse.Namespace) -> Callable[[Row], str]:
    """Return a question to a Vertex AI endpoint; it answers with the deployed model.

    https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/predict
    """
    import requests

    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {options.token}"
    host = f"{options.region}-aiplatform.googleapis.com"
    place = f"projects/{options.project}/locations/{options.region}/endpoints/{options.endpoint}"

    def ask(row: Row) -> str:
        answer = session.post(
            f"{options.url}/{host}/v1/{place}:predict", json={"instances": [row]}, timeout=60
        )
        if answer.status_code != 200:
            raise OSError(f"{answer.status_code}: {answer.text[:300]}")
        body = answer.json()
        _probability(body)
        return str(body["deployedModelId"])

    return ask


def _probability(body: Mapping[str, Any]) -> None:
    (value,) = body["predictions"]
    value = value[-1] if isinstance(value, list) else value
    if not 0 <= value <= 1:
        raise ValueError(f"no probability: {body}")


class Tally:
    """What became of the requests."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self.by: Counter[str] = Counter()
        self.told: dict[str, list[str]] = {"old": [], "new": []}
        self.lock = threading.Lock()

    def note(self, *, new: bool, by: str | None, error: str = "") -> None:
        with self.lock:
            route = "new" if new else "old"
            self.counts[f"{'failed' if by is None else 'answered'}_{route}"] += 1
            if by is not None:
                self.by[by] += 1
            elif len(self.told[route]) < TOLD:
                self.told[route].append(f"{time.strftime('%H:%M:%S')} {error}")

    def write(self) -> None:
        with self.lock:
            text = json.dumps({"counts": self.counts, "by": self.by, "told": self.told})
        part = self.path.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        part.replace(self.path)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.act.passengers")
    parser.add_argument("--cloud", choices=("sagemaker", "vertex"), required=True)
    for name in ("url", "region", "endpoint"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--project", default="")
    parser.add_argument("--token", default="")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--status", type=Path, required=True)
    parser.add_argument("--rate-file", type=Path, required=True, help="requests a second")
    options = parser.parse_args()
    ended, parent = threading.Event(), os.getppid()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    ask = (by_boto if options.cloud == "sagemaker" else by_rest)(options)
    tally, rate = Tally(options.status), rate_of(options.rate_file, 1.0)
    asked = flights(options.data)
    choosing = threading.Lock()

    def travel(number: int) -> None:
        due = time.monotonic() + number / 10
        while not ended.wait(max(0.0, due - time.monotonic())):
            due = max(due, time.monotonic() - 0.2) + WORKERS / rate()
            with choosing:
                new, row = next(asked)
            try:
                tally.note(new=new, by=ask(row))
            except Exception as error:  # noqa: BLE001 - every failure counts
                tally.note(new=new, by=None, error=f"{type(error).__name__}: {error}"[:600])

    with ThreadPoolExecutor(WORKERS) as pool:
        for number in range(WORKERS):
            pool.submit(travel, number)
        while not ended.wait(0.2):
            tally.write()
            if os.getppid() != parent:
                ended.set()
    tally.write()


if __name__ == "__main__":
    main()
