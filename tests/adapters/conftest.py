"""Whatever the adapters call in these tests, one of the roles may call: the table of grants is held to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.contracts.permitted import Called, assert_permitted
from tidegate.grants import Cloud, Job

if TYPE_CHECKING:
    from collections.abc import Iterator

# Module -> whose part it tests.
HELD: dict[str, tuple[Cloud, tuple[Job, ...]]] = {
    "test_sagemaker_contract": (Cloud.AWS, (Job.OPERATE,)),
    "test_sagemaker_target": (Cloud.AWS, (Job.OPERATE,)),
    "test_sagemaker_training": (Cloud.AWS, (Job.TRAIN,)),
    "test_cloudwatch": (Cloud.AWS, (Job.OPERATE,)),
    "test_datacapture": (Cloud.AWS, (Job.OPERATE,)),
    "test_vertex_contract": (Cloud.GCP, (Job.OPERATE,)),
    "test_vertex_target": (Cloud.GCP, (Job.OPERATE,)),
    "test_vertex_training": (Cloud.GCP, (Job.TRAIN,)),
    "test_monitoring": (Cloud.GCP, (Job.OPERATE,)),
    "test_requestlog": (Cloud.GCP, (Job.OPERATE,)),
}
# What the policies would be filled in with; then resources are looked at, too.
SERVING = {
    "account": "123456789012", "region": "eu-west-1", "endpoint": "flights", "bucket": "acme-models",
    "prefix": "tidegate", "execution_role": "serving", "scheduler_role": "ops/switch",
}  # fmt: skip
TRAINING = {
    "account": "123456789012", "region": "eu-west-1", "model": "coin", "bucket": "acme-train",
    "train_prefix": "tidegate", "train_role": "trainer",
}  # fmt: skip
KNOWN = {
    "test_sagemaker_contract": SERVING,
    "test_sagemaker_training": TRAINING,
    "test_vertex_contract": SERVING,
    "test_vertex_training": {**TRAINING, "train_bucket": "acme-models"},
}
# It keeps its jobs in a folder of its own.
ELSEWHERE = "test_an_image_that_cannot_be_run_is_no_fault_of_the_code"
# What tests call themselves, through our sessions: to set a stage, and to disturb it.
SETUP = {"s3.CreateBucket", "s3.DeleteObject"}


@pytest.fixture(autouse=True)
def _permitted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    module = request.module.__name__.rpartition(".")[2]
    held = HELD.get(module)
    if held is None:
        yield
        return
    cloud, jobs = held
    calls: list[Any] = []
    (_record_aws if cloud is Cloud.AWS else _record_google)(monkeypatch, calls)
    yield
    # The containers that the stand-in runs fetch from a bucket of Google's.
    ours = [call for call in calls if "caip-tenant" not in str(call.parameters.get("bucket"))]
    known = None if request.node.name == ELSEWHERE else KNOWN.get(module)
    assert_permitted(ours, cloud, jobs, known=known, setup=SETUP)


def _record_aws(patch: pytest.MonkeyPatch, calls: list[Any]) -> None:
    from tidegate.adapters.cloud.aws import Aws

    really = Aws._repeated

    def repeated(self: Aws, service: str, operation: str, arguments: Any, *rest: Any) -> Any:
        name = self._client(service).meta.method_to_api_mapping[operation]
        calls.append(Called(name=f"{service}.{name}", parameters=dict(arguments)))
        return really(self, service, operation, arguments, *rest)

    patch.setattr(Aws, "_repeated", repeated)


def _record_google(patch: pytest.MonkeyPatch, calls: list[Any]) -> None:
    from tests.gcp.cloud import Cloud as StandIn

    really = StandIn.__init__

    def made(self: StandIn, *args: Any, **options: Any) -> None:
        really(self, *args, **options)
        self.calls = calls

    patch.setattr(StandIn, "__init__", made)
