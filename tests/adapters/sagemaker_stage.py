"""A SageMaker endpoint on the stand-in, and versions for it."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from tests.aws import Cloud, serve
from tests.contracts.target_contract import settled, until_ready
from tests.endpoint.serving import trained
from tidegate.adapters.cloud.aws import Aws, AwsError, connect
from tidegate.adapters.target.sagemaker import SageMakerTarget
from tidegate.core.clouds import SageMaker
from tidegate.core.model import Task
from tidegate.digests import folder_digest
from tidegate.errors import OutsideError
from tidegate.ports import Deployment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest

    from tidegate.core.endpoint import Endpoint

T = TypeVar("T")
NAME = "flights"
BUCKET = "acme-models"
IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/byo:1"
# Answers x / 100 for the column x; standard library only: it starts in a twentieth of a second.
SERVER = """
import json, os, pathlib
from http.server import *
class H(BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def say(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status); self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    def do_GET(self): self.say(200, {})
    def do_POST(self):
        split = json.loads(self.rfile.read(int(self.headers["content-length"])))["dataframe_split"]
        at = split["columns"].index("x")
        self.say(200, {"predictions": [row[at] / 100 for row in split["data"]]})
if pathlib.Path("model/sick").exists(): raise SystemExit("sick")
ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), H).serve_forever()
"""
SETTINGS = SageMaker(
    execution_role="serving",
    scheduler_role="arn:aws:iam::123456789012:role/ops/switch",
    bucket=f"s3://{BUCKET}/tidegate",
    image=IMAGE,
)


@dataclass
class Stage:
    """An account, a target on it, and what tests do with them."""

    cloud: Cloud
    aws: Aws
    work: Path
    settings: SageMaker = SETTINGS
    generation: int = 0
    target: SageMakerTarget = field(init=False)

    def __post_init__(self) -> None:
        self.target = self.another()

    def another(self, **more: Any) -> SageMakerTarget:
        """Return a target of another process: it remembers nothing."""
        settings = replace(self.settings, **more)
        return SageMakerTarget(
            self.aws,
            settings,
            NAME,
            work=self.work / "work",
            clock=self.cloud.now,
            sleep=lambda _: time.sleep(0.01),
        )

    def model(self, version: str, *, sick: bool = False, digest: str | None = None) -> Deployment:
        """Return a version whose server answers x / 100, or, ``sick``, never comes up."""
        folder = self.work / f"model-{version}"
        folder.mkdir(exist_ok=True)
        (folder / "MLmodel").write_text(f"mlflow_version: 3.17.2\n# {version}\n")
        if sick:
            (folder / "sick").write_text("1")
        return Deployment(
            version=version,
            digest=digest or folder_digest(folder),
            model_dir=folder,
            task=Task.REGRESSION,
        )

    def next(self) -> int:
        self.generation += 1
        return self.generation

    def up(self, *versions: str) -> Endpoint:
        """Deploy versions, one after the other; the first gets the traffic."""
        for index, version in enumerate(versions):
            self.target.deploy(self.model(version), generation=self.next())
            until_ready(self.target, version)
            if index == 0:
                self.target.route({version: 1.0}, generation=self.next())
        return settled(self.target)

    def route(self, **shares: float) -> Endpoint:
        """Route to versions written v1=..., and wait."""
        traffic = {name[1:]: share for name, share in shares.items()}
        self.target.route(traffic, generation=self.next())
        return settled(self.target)

    def describe(self) -> dict[str, Any]:
        return self.aws.call("sagemaker", "describe_endpoint", EndpointName=NAME)

    def weights(self) -> dict[str, float]:
        rows = self.describe()["ProductionVariants"]
        return {row["VariantName"]: row["CurrentWeight"] for row in rows}

    def tags(self, arn: str | None = None) -> dict[str, str]:
        return dict(self.cloud.tags[arn or self.cloud.endpoints[NAME].arn])

    def names(self) -> list[str]:
        return sorted([*self.cloud.models, *self.cloud.configs])


@contextmanager
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **more: Any) -> Iterator[Stage]:
    with serve(**more) as cloud:
        for key, value in cloud.env.items():
            monkeypatch.setenv(key, value)
        cloud.commands[IMAGE] = [sys.executable, "-S", "-c", SERVER]
        aws = connect(cloud.region, sleep=lambda seconds: time.sleep(min(seconds, 0.02)))
        # Another account of this process may have it: moto keeps one S3 for all.
        with contextlib.suppress(AwsError):
            aws.call(
                "s3", "create_bucket",
                Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": cloud.region},
            )  # fmt: skip
        yield Stage(cloud, aws, tmp_path)


def real_model(work: Path, version: str, digest: str | None = None) -> Deployment:
    """Return a trained pipeline as a version with bytes of its own."""
    folder = work / f"trained-{version}"
    if not folder.exists():
        shutil.copytree(trained(), folder)
        (folder / "note.txt").write_text(version)
    return Deployment(
        version=version,
        digest=digest or folder_digest(folder),
        model_dir=folder,
        task=Task.BINARY,
    )


def stubborn(act: Callable[[], T], *, tries: int = 40) -> T:
    """Call until it works, as passes do."""
    for left in reversed(range(tries)):
        try:
            return act()
        except OutsideError:
            if left == 0:
                raise
            time.sleep(0.02)
    raise AssertionError
