"""The data plane splits real requests over real processes, and says what they said."""

from __future__ import annotations

import base64
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.aws.behaviour import exercises
from tests.aws.kit import BUCKET, ROLE, Kit, archive

if TYPE_CHECKING:
    from tests.aws.cloud import Cloud

pytestmark = pytest.mark.real

TRANSFORM = """
import os
def model_fn(model_dir):
    return open(os.path.join(model_dir, "weights.txt")).read()
def transform_fn(model, data, content_type, accept):
    if data == "boom":
        raise ValueError("no such row")
    return f"{model}:{data}", "text/csv"
"""
FOUR = """
import json
class Refused(Exception):
    status_code = 400
def model_fn(model_dir):
    return 10
def input_fn(data, content_type):
    if content_type != "application/json":
        raise Refused(f"unsupported {content_type}")
    return json.loads(data)["x"]
def predict_fn(x, model):
    return x * model
def output_fn(answer, accept):
    return json.dumps({"y": answer}), accept
"""


def toolkit_model(kit: Kit, name: str, files: dict[str, str], **environment: str) -> None:
    """Create a model from an archive, for an image that uses the toolkit."""
    kit.client("s3").put_object(Bucket=BUCKET, Key=f"{name}/model.tar.gz", Body=archive(files))
    kit.sm.create_model(
        ModelName=name, ExecutionRoleArn=ROLE,
        PrimaryContainer={"Image": "683313688378.dkr.ecr.eu-west-1.amazonaws.com/sklearn:1.2-1",
                          "ModelDataUrl": f"s3://{BUCKET}/{name}/model.tar.gz",
                          "Environment": environment},
    )  # fmt: skip


@exercises("routing", "byo-command", "one-process-per-model")
def test_requests_are_split_by_weight_and_can_be_aimed(kit: Kit) -> None:
    kit.endpoint({"v1": 3, "v2": 1})
    seen = Counter(kit.invoke() for _ in range(400))
    assert seen.keys() == {"v1/v1", "v2/v2"}
    assert 60 < seen["v2/v2"] < 140
    assert {kit.invoke(TargetVariant="v2") for _ in range(10)} == {"v2/v2"}
    with pytest.raises(ClientError, match="v9 not found"):
        kit.invoke(TargetVariant="v9")


@exercises("container-restarts")
def test_a_container_that_dies_comes_back(kit: Kit, cloud: Cloud) -> None:
    kit.endpoint({"v1": 1})
    server = cloud.endpoints["e"].variants[0].server
    assert server is not None
    assert server.process is not None
    server.process.kill()
    server.process.wait()
    with pytest.raises(ClientError, match="ModelError"):
        kit.invoke()
    kit.until(lambda: server.state, lambda state: state == "ready")
    assert kit.invoke() == "v1/v1"


@exercises("all-weights-zero")
def test_without_any_weight_nobody_answers(kit: Kit) -> None:
    kit.endpoint({"v1": 0})
    with pytest.raises(ClientError, match="ServiceUnavailable"):
        kit.invoke()
    assert kit.invoke(TargetVariant="v1") == "v1/v1"


@exercises("toolkit", "no-requirements")
def test_an_archive_serves_through_the_toolkits_functions(kit: Kit) -> None:
    kit.bucket()
    files = {"code/inference.py": TRANSFORM, "code/requirements.txt": "no-such-package==9",
             "weights.txt": "w"}  # fmt: skip
    toolkit_model(kit, "v1", files)
    toolkit_model(kit, "v2", {"code/serve.py": FOUR}, SAGEMAKER_PROGRAM="serve.py")
    kit.endpoint({"v1": 1, "v2": 1})
    assert kit.invoke(TargetVariant="v1", Body=b"5") == "v1/w:5"
    with pytest.raises(ClientError) as caught:
        kit.invoke(TargetVariant="v1", Body=b"boom")
    assert caught.value.response["OriginalStatusCode"] == 500
    assert caught.value.response["OriginalMessage"] == "no such row"
    assert "ValueError" in kit.cloud.fleet.log("v1")
    runtime = kit.client("sagemaker-runtime")
    answer = runtime.invoke_endpoint(EndpointName="e", TargetVariant="v2", Body=b'{"x": 4}',
                                     ContentType="application/json", Accept="application/json")  # fmt: skip
    assert answer["ContentType"] == "application/json"
    assert json.loads(answer["Body"].read()) == {"y": 40}
    with pytest.raises(ClientError, match="unsupported text/csv") as caught:
        kit.invoke(TargetVariant="v2")
    assert caught.value.response["OriginalStatusCode"] == 400


@exercises("container-logs")
def test_why_a_container_did_not_start_is_in_its_log(kit: Kit) -> None:
    kit.bucket()
    toolkit_model(kit, "v1", {"code/inference.py": "raise SystemExit('no licence')"})
    assert kit.endpoint({"v1": 1})["EndpointStatus"] == "Failed"
    page = kit.client("logs").filter_log_events(logGroupName="/aws/sagemaker/Endpoints/e")
    assert [row["message"] for row in page["events"]] == ["no licence"]
    assert page["events"][0]["logStreamName"].startswith("v1/")


@exercises("model-data-checked")
def test_model_data_must_be_there_and_an_archive(kit: Kit) -> None:
    s3 = kit.bucket()
    with pytest.raises(ClientError, match="Could not find model data at s3://models/v1/"):
        kit.sm.create_model(
            ModelName="v1", ExecutionRoleArn=ROLE,
            PrimaryContainer={"Image": "x/y:1", "ModelDataUrl": "s3://models/v1/model.tar.gz"},
        )  # fmt: skip
    toolkit_model(kit, "v1", {})
    s3.put_object(Bucket=BUCKET, Key="v1/model.tar.gz", Body=b"not an archive")
    found = kit.endpoint({"v1": 1})
    assert found["EndpointStatus"] == "Failed"
    assert "model data" in found["FailureReason"]


@exercises("model-error")
@pytest.mark.parametrize(("status", "side"), [(400, "client"), (503, "server")])
def test_a_containers_error_is_a_model_error(kit: Kit, status: int, side: str) -> None:
    kit.model("v1", STATUS=status)
    kit.endpoint({"v1": 1})
    with pytest.raises(ClientError, match=rf"Received {side} error \({status}\)") as caught:
        kit.invoke()
    response = caught.value.response
    assert response["Error"]["Code"] == "ModelError"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert (response["OriginalStatusCode"], response["OriginalMessage"]) == (status, "v1")


@exercises("invocation-timeout", "timeout-not-5xx", "invocation-metrics")
def test_a_slow_container_times_out(kit: Kit) -> None:
    kit.model("v1", SECONDS=5)
    kit.endpoint({"v1": 1})
    kit.cloud.invocation_timeout = 0.2
    with pytest.raises(ClientError, match="timed out") as caught:
        kit.invoke()
    assert caught.value.response["OriginalStatusCode"] == 0
    assert kit.points("InvocationModelErrors", "Sum") == [1.0]
    assert kit.points("Invocation5XXErrors", "Sum") == [0.0]
    assert kit.points("Invocations", "Sum") == [1.0]
    assert kit.points("ModelLatency", "Maximum")[0] > 200_000
    assert kit.points("OverheadLatency", "SampleCount") == [1.0]


@exercises("drained")
def test_a_container_that_is_taken_away_answers_what_it_was_asked(kit: Kit, cloud: Cloud) -> None:
    kit.model("v1", SECONDS=1)
    kit.endpoint({"v1": 1})
    kit.model("v2")
    kit.config("next", {"v2": 1})
    with ThreadPoolExecutor(1) as pool:
        before = pool.submit(kit.invoke)
        kit.until(lambda: cloud.called("InvokeEndpoint"), bool)
        kit.sm.update_endpoint(EndpointName="e", EndpointConfigName="next")
        kit.settle()
        assert not before.done()
        assert kit.invoke() == "v2/v2"
        assert before.result() == "v1/v1"


def captured(kit: Kit) -> list[tuple[str, dict[str, Any]]]:
    """Return key and content of every captured line."""
    s3 = kit.client("s3")
    found = []
    for row in s3.list_objects_v2(Bucket=BUCKET, Prefix="captured").get("Contents", []):
        text = s3.get_object(Bucket=BUCKET, Key=row["Key"])["Body"].read().decode()
        found += [(row["Key"], json.loads(line)) for line in text.splitlines()]
    return found


def capture(**more: Any) -> dict[str, Any]:
    return {
        "InitialSamplingPercentage": 100, "DestinationS3Uri": f"s3://{BUCKET}/captured",
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}], **more,
    }  # fmt: skip


@exercises("capture-path", "capture-encoding", "capture-good-only")
def test_requests_and_answers_are_captured(kit: Kit, cloud: Cloud) -> None:
    kit.bucket()
    header = {"CsvContentTypes": ["text/csv"]}
    cloud.capture_delay = 100
    kit.endpoint({"v1": 1}, DataCaptureConfig=capture(CaptureContentTypeHeader=header))
    assert kit.describe()["DataCaptureConfig"]["CaptureStatus"] == "Started"
    kit.invoke(InferenceId="row-7", Body=b"1,2")
    kit.model("bad", STATUS=500)
    assert captured(kit) == []
    cloud.advance(100)
    (key, line), = kit.until(lambda: captured(kit), bool)  # fmt: skip
    day = cloud.time.date().strftime("%Y/%m/%d")
    assert key.startswith(f"captured/e/v1/{day}/")
    assert key.endswith(".jsonl")
    asked, answered = line["captureData"]["endpointInput"], line["captureData"]["endpointOutput"]
    assert asked == {"observedContentType": "text/csv", "mode": "INPUT", "data": "1,2",
                     "encoding": "CSV"}  # fmt: skip
    assert answered["encoding"] == "BASE64"
    assert base64.b64decode(answered["data"]) == b"v1"
    assert line["eventMetadata"]["inferenceId"] == "row-7"
    assert line["eventVersion"] == "0"


def test_the_sample_is_a_share_and_errors_are_not_in_it(kit: Kit, cloud: Cloud) -> None:
    kit.bucket()
    kit.model("v2", STATUS=500)
    kit.endpoint({"v1": 1, "v2": 1}, DataCaptureConfig=capture(InitialSamplingPercentage=30))
    for _ in range(100):
        kit.invoke(TargetVariant="v1")
    for _ in range(5):
        with pytest.raises(ClientError):
            kit.invoke(TargetVariant="v2")
    kit.until(lambda: len(captured(kit)), lambda number: number >= 15)
    cloud.advance(1)
    found = captured(kit)
    assert len(found) < 50
    assert all("/v1/" in key for key, _ in found)
