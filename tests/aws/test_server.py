"""The server itself: the model's judgement, faults on demand, storage that passes through, a process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from tests.aws import endpoints  # noqa: F401
from tests.aws.behaviour import exercises
from tests.aws.clock import Clock
from tests.aws.fleet import SCRIPT
from tests.aws.kit import BUCKET, Kit
from tests.aws.routing import OPERATIONS, Operation
from tests.aws.server import serve
from tests.aws.validation import service_model

if TYPE_CHECKING:
    from tests.aws.cloud import Cloud

pytestmark = pytest.mark.real


@exercises("unknown-member-violation")
def test_unknown_and_missing_members_are_violations(kit: Kit, cloud: Cloud) -> None:
    loose = kit.client("sagemaker", config=Config(parameter_validation=False))
    for params in ({"EndpointName": "e", "Endpointname": "e"}, {}):
        request = urllib.request.Request(
            cloud.url, data=json.dumps(params).encode(), method="POST",
            headers={"X-Amz-Target": "SageMaker.DescribeEndpoint",
                     "Content-Type": "application/x-amz-json-1.1"},
        )  # fmt: skip
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        assert caught.value.code == 400
        caught.value.close()
    with pytest.raises(ClientError, match="not in the stand-in"):
        loose.list_domains()
    assert len(cloud.violations) == 3
    assert "Endpointname" in cloud.violations[0]
    cloud.violations.clear()


def test_our_own_wrong_answer_is_a_violation(
    kit: Kit, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ("sagemaker", "ListModels")
    wrong = Operation(service=key[0], name=key[1], handle=lambda *_: {"Model": []})
    monkeypatch.setitem(OPERATIONS, key, wrong)
    with pytest.raises(ClientError, match="Unknown parameter"):
        kit.sm.list_models()
    assert cloud.violations[0].startswith("our answer to sagemaker ListModels")
    cloud.violations.clear()


def test_a_violation_fails_the_block() -> None:
    with pytest.raises(AssertionError, match="somebody"), serve() as cloud:
        cloud.violations.append("somebody was wrong")


def test_every_operation_is_the_services_own() -> None:
    for service, name in OPERATIONS:
        assert name in service_model(service).operation_names


@pytest.mark.parametrize("applied", [False, True])
def test_a_call_fails_before_or_after_its_effect(kit: Kit, cloud: Cloud, applied: bool) -> None:
    cloud.fail_next("CreateModel", code="InternalFailure", apply=applied)
    with pytest.raises(ClientError) as caught:
        kit.model("v1")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert ("v1" in cloud.models) is applied
    cloud.fail_next("CreateModel", code=None, apply=applied)
    with pytest.raises(ConnectionClosedError):
        kit.model("v2")
    assert ("v2" in cloud.models) is applied
    assert len(cloud.called("CreateModel")) == 2


@exercises("throttling")
def test_throttling_is_refused_and_retried_by_boto3(kit: Kit, cloud: Cloud) -> None:
    kit.bucket()
    cloud.throttle(0.5, seed=3)
    codes = set()
    for _ in range(30):
        for name, call in (("sagemaker", "list_models"), ("s3", "list_buckets")):
            try:
                getattr(kit.client(name), call)()
            except ClientError as error:
                codes.add(error.response["Error"]["Code"])
    assert codes == {"ThrottlingException", "ServiceUnavailable", "SlowDown"}
    patient = kit.client(
        "sagemaker", config=Config(retries={"mode": "standard", "total_max_attempts": 8})
    )
    assert patient.list_models()["Models"] == []
    cloud.throttle(0)
    assert kit.sm.list_models()["Models"] == []


def test_storage_passes_through_presigned_and_in_parts(kit: Kit, cloud: Cloud) -> None:
    s3 = kit.bucket()
    url = s3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "a b"})
    kind = {"Content-Type": "application/octet-stream"}  # urllib's own is a form's
    urllib.request.urlopen(
        urllib.request.Request(url, data=b"hello", method="PUT", headers=kind)
    ).close()
    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "a b"})
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"hello"
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="big")["UploadId"]
    place = {"Bucket": BUCKET, "Key": "big", "UploadId": upload}
    parts = []
    for number, size in ((1, 5 << 20), (2, 10)):
        tag = s3.upload_part(**place, PartNumber=number, Body=b"x" * size)["ETag"]
        parts.append({"PartNumber": number, "ETag": tag})
    s3.complete_multipart_upload(**place, MultipartUpload={"Parts": parts})
    assert s3.head_object(Bucket=BUCKET, Key="big")["ContentLength"] == (5 << 20) + 10
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket=BUCKET, Key="big", Body=b"", IfNoneMatch="*")
    assert caught.value.response["Error"]["Code"] == "PreconditionFailed"
    names = [name for service, name, _ in cloud.calls if service == "s3"]
    assert names == ["CreateBucket", "PutObject", "GetObject", "CreateMultipartUpload",
                     "UploadPart", "UploadPart", "CompleteMultipartUpload", "HeadObject",
                     "PutObject"]  # fmt: skip


def test_other_services_are_motos(kit: Kit, cloud: Cloud) -> None:
    iam = kit.client("iam")
    trust = {"Version": "2012-10-17", "Statement": []}
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(trust))
    assert iam.get_role(RoleName="r")["Role"]["RoleName"] == "r"
    assert ("iam", "GetRole", {"RoleName": "r", "Version": "2010-05-08"}) in cloud.calls


def test_a_container_ends_with_a_stand_in_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "model/code").mkdir(parents=True)
    code = "def model_fn(d):\n    return 1\n"
    (tmp_path / "model/code/inference.py").write_text(code, encoding="utf-8")
    # A parent that starts a container and is gone.
    parent = (
        "import subprocess, sys, time, pathlib;"
        "one = subprocess.Popen([sys.executable, *sys.argv[1:]]);"
        "[time.sleep(0.05) for _ in range(200) if not pathlib.Path(sys.argv[3]).exists()];"
        "print(one.pid)"
    )
    port = tmp_path / "port"
    command = [sys.executable, "-c", parent, str(SCRIPT), str(tmp_path / "model"), str(port)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert port.exists()
    end = time.monotonic() + 10
    while Path(f"/proc/{int(done.stdout)}").exists():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_client_can_have_the_same_clock() -> None:
    with serve(time_scale=60) as cloud:
        cloud.advance(5000)
        theirs = Clock.read(cloud.clock())
        assert abs(theirs.now() - cloud.now()) < 1
        assert theirs.real(60) == 1.0


def test_it_runs_as_a_process(tmp_path: Path) -> None:
    state = tmp_path / "cloud.json"
    command = [sys.executable, "-m", "tests.aws", "--state", str(state), "--time-scale", "60"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()

        def control(name: str, **arguments: Any) -> Any:
            data = json.dumps(arguments).encode()
            with urllib.request.urlopen(f"{url}/_cloud/{name}", data=data) as answer:
                return json.load(answer)["done"]

        control("set", speed=0.01)
        control("trust", role="arn:aws:iam::123456789012:role/r", issuer="i")
        control("put_counts", endpoint="e", variant="v", minute=0, requests=5)
        assert control("clock")["FAKE_TIME_SCALE"] == "60.0"
        client = boto3.client("sagemaker", endpoint_url=url, region_name="eu-west-1",
                              aws_access_key_id="a", aws_secret_access_key="b")  # fmt: skip
        client.list_models()
        assert control("state")["calls"] == [["sagemaker", "ListModels"]]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        process.stdout.close()  # type: ignore[union-attr]
    assert json.loads(state.read_text(encoding="utf-8"))["violations"] == []
