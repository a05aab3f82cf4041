"""Shorthand for tests: real boto3 clients of a stand-in, and small models."""

from __future__ import annotations

import functools
import io
import sys
import tarfile
import time
from typing import TYPE_CHECKING, Any

import boto3

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.aws.cloud import Cloud

ROLE = "arn:aws:iam::123456789012:role/sagemaker"
IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/byo:1"
BUCKET = "models"
BUSY = {"Creating", "Updating", "RollingBack", "Deleting"}
# A bring-your-own server that answers as its variables say.
SERVER = """
import os, time
from http.server import *
class H(BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def say(self, status, text):
        self.send_response(status); self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(text))); self.end_headers()
        self.wfile.write(text.encode())
    def do_GET(self): self.say(int(os.environ.get("PING", "200")), "")
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        time.sleep(float(os.environ.get("SECONDS", "0")))
        self.say(int(os.environ.get("STATUS", "200")), os.environ["ANSWER"])
ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), H).serve_forever()
"""


@functools.cache
def _session() -> Any:
    """Return one session for all: it has read the service models."""
    return boto3.session.Session(
        region_name="eu-west-1", aws_access_key_id="test", aws_secret_access_key="test"
    )


class Kit:
    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        cloud.commands[IMAGE] = [sys.executable, "-c", SERVER]
        self._session = _session()
        self._clients: dict[str, Any] = {}

    def client(self, name: str, **more: Any) -> Any:
        """Return boto3's client of a service, without retries."""
        from botocore.config import Config

        if more:
            return self._session.client(name, endpoint_url=self.cloud.url, **more)
        if name not in self._clients:
            self._clients[name] = self._session.client(
                name,
                endpoint_url=self.cloud.url,
                config=Config(retries={"total_max_attempts": 1}),
            )
        return self._clients[name]

    @property
    def sm(self) -> Any:
        return self.client("sagemaker")

    def model(self, name: str, **environment: object) -> None:
        """Create a model whose server answers its own name, or as the variables say."""
        given = {"ANSWER": name, **{key: str(value) for key, value in environment.items()}}
        self.sm.create_model(
            ModelName=name,
            ExecutionRoleArn=ROLE,
            PrimaryContainer={"Image": IMAGE, "Environment": given},
        )

    def bucket(self) -> Any:
        """Return the S3 client, with a bucket."""
        s3 = self.client("s3")
        s3.create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )
        return s3

    @staticmethod
    def variant(name: str, weight: float | None = None, **more: Any) -> dict[str, Any]:
        """Return a production variant that serves the model of its name."""
        found: dict[str, Any] = {
            "VariantName": name, "ModelName": name, "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 1,
        }  # fmt: skip
        return found | ({} if weight is None else {"InitialVariantWeight": weight}) | more

    def config(self, name: str, variants: Mapping[str, float], **more: Any) -> None:
        self.sm.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[self.variant(key, weight) for key, weight in variants.items()],
            **more,
        )

    def endpoint(self, variants: Mapping[str, float], **more: Any) -> dict[str, Any]:
        """Create endpoint «e» with configuration «c», and models as needed; wait for it."""
        for name in variants:
            if name not in self.cloud.models:
                self.model(name)
        self.config("c", variants, **more)
        self.sm.create_endpoint(EndpointName="e", EndpointConfigName="c")
        return self.settle()

    def describe(self) -> dict[str, Any]:
        found: dict[str, Any] = self.sm.describe_endpoint(EndpointName="e")
        return found

    def settle(self, seconds: float = 20) -> dict[str, Any]:
        """Wait until nothing is under way."""
        found: dict[str, Any] = self.until(
            self.describe, lambda row: row["EndpointStatus"] not in BUSY, seconds
        )
        return found

    @staticmethod
    def until(look: Callable[[], Any], good: Callable[[Any], bool], seconds: float = 20) -> Any:
        end = time.monotonic() + seconds
        while True:
            found = look()
            if good(found):
                return found
            assert time.monotonic() < end, f"still {found}"
            time.sleep(0.01)

    def weights(self, **weights: float) -> None:
        self.sm.update_endpoint_weights_and_capacities(
            EndpointName="e",
            DesiredWeightsAndCapacities=[
                {"VariantName": name, "DesiredWeight": weight} for name, weight in weights.items()
            ],
        )

    def invoke(self, **more: Any) -> str:
        """Return the variant and what it said, with a slash between."""
        answer = self.client("sagemaker-runtime").invoke_endpoint(
            EndpointName="e", ContentType="text/csv", **{"Body": b"1,2", **more}
        )
        return f"{answer['InvokedProductionVariant']}/{answer['Body'].read().decode()}"

    def points(
        self, metric: str, stat: str, variant: str = "v1", *, back: float = 3600, **more: Any
    ) -> list[float]:
        """Return a metric's values, oldest first, up to and with the present minute."""
        now = self.cloud.now()
        dimensions = {"EndpointName": "e", "VariantName": variant}
        answer = self.client("cloudwatch").get_metric_data(
            MetricDataQueries=[{"Id": "x", "MetricStat": {
                "Metric": {"Namespace": "AWS/SageMaker", "MetricName": metric, "Dimensions":
                           [{"Name": key, "Value": text} for key, text in dimensions.items()]},
                "Period": 60, "Stat": stat}}],
            StartTime=now - back, EndTime=now + 60,
            **{"ScanBy": "TimestampAscending", **more},
        )  # fmt: skip
        found: list[float] = answer["MetricDataResults"][0]["Values"]
        return found


def archive(files: Mapping[str, str]) -> bytes:
    """Return a model.tar.gz with these files."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return data.getvalue()
