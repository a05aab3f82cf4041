"""The table of grants and the adapters' calls are the same set; and what checks that can fail."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.contracts.permitted import FREE, Called, assert_permitted
from tidegate import grants_aws, grants_gcp
from tidegate.grants import Cloud, Job

SOURCE = Path(__file__).parents[2] / "src" / "tidegate" / "adapters"
AWS_TEXT = "\n".join(
    path.read_text()
    for path in sorted(SOURCE.rglob("*.py"))
    if path.name not in {"aws_errors.py", "repeating.py"}
)
SERVICES = ("sagemaker", "sagemaker-runtime", "s3", "logs", "scheduler", "cloudwatch", "sts")
# Names that a listing of ours, and not of the service, gives to something else.
CAMEL = {"list_objects_v2": "ListObjectsV2"}
# In the port of buckets, and no command calls it: nobody may delete what was registered.
UNUSED = {"s3.DeleteObject"}
KNOWN = {
    "account": "123456789012", "region": "eu-west-1", "endpoint": "credit", "model": "credit-risk",
    "bucket": "acme-models", "execution_role": "serve", "scheduler_role": "switch", "train_role": "train",
    "project": "acme-ml",
}  # fmt: skip
HERE = "arn:aws:sagemaker:eu-west-1:123456789012:"


class Request(NamedTuple):
    method: str
    parameters: dict[str, str]
    body: Any = None


def camel(operation: str) -> str:
    return CAMEL.get(operation) or "".join(word.title() for word in operation.split("_"))


def made() -> set[str]:
    """Every call to AWS that stands in the adapters."""
    pair = re.compile(rf'"({"|".join(SERVICES)})",\s*"([a-z]+(?:_[a-z0-9]+)+)"')
    found = {f"{service}.{camel(operation)}" for service, operation in pair.findall(AWS_TEXT)}
    later = re.findall(r'_patiently\(\s*"(\w+)"', AWS_TEXT)  # sagemaker's, called once more
    return found | {f"sagemaker.{camel(operation)}" for operation in later}


def test_there_are_calls_to_look_for() -> None:
    assert {"sagemaker.UpdateEndpoint", "sagemaker.CreateEndpoint", "s3.PutObject"} <= made()
    assert len(made()) > 30


def test_every_call_in_the_adapters_has_a_grant() -> None:
    granted = {grant.call for grant in grants_aws.ROWS}
    assert made() - {"sagemaker.MaxWait"} - granted - FREE - UNUSED == set()


@pytest.mark.parametrize("job", Job)
def test_every_grant_has_a_call_in_the_adapters(job: Job) -> None:
    granted = {grant.call for grant in grants_aws.ROWS if grant.holder is job}
    assert granted - made() == set()


# Google's method -> what its caller's text says: the documentation's name of it, or its address.
TOLD = {
    "storage.objects.list": r"objects/list|objects\.list",
    "storage.objects.get": r"objects/get|objects\.get",
    "storage.objects.insert": r"objects/insert|objects\.insert",
    "storage.objects.delete": r"objects/delete|objects\.delete",
    "monitoring.projects.timeSeries.list": r"projects\.timeSeries/list",
    "bigquery.jobs.query": r"jobs/query",
    "bigquery.jobs.getQueryResults": r"jobs/getQueryResults",
    "logging.entries.list": r"entries/list",
    "aiplatform.projects.locations.models.operations.get": r"operation = self\.google\.get",
    "aiplatform.projects.locations.operations.get": r"operation = self\.google\.get",
    "aiplatform.projects.locations.endpoints.predict": r":predict",
}


@pytest.mark.parametrize("call", sorted({g.call for g in grants_gcp.ROWS if g.holder in set(Job)}))
def test_every_grant_of_google_has_a_caller(call: str) -> None:
    kind, verb = call.split(".")[-2:]
    said = TOLD.get(call) or rf"\b{kind}\.{verb}\b|\b{kind}/{verb}\b"
    assert re.search(said, AWS_TEXT), call


# --- the check itself -----------------------------------------------------------------------


def aws(name: str, **parameters: Any) -> list[Called]:
    return [Called(name=name, parameters=parameters)]


FITS: dict[str, tuple[list[Called], Job]] = {
    "its endpoint": (aws("sagemaker.DescribeEndpoint", EndpointName="credit"), Job.OPERATE),
    "its model": (aws("sagemaker.DeleteModel", ModelName="credit-v3-0123456789"), Job.OPERATE),
    "a list": (aws("sagemaker.ListModels", NameContains="credit"), Job.OPERATE),
    "its schedule": (aws("scheduler.GetSchedule", Name="credit-dead-man"), Job.OPERATE),
    "its archive": (aws("s3.PutObject", Bucket="acme-models", Key="tidegate/credit/v3/a.tar.gz"), Job.OPERATE),
    "a bundle": (aws("s3.PutObject", Bucket="acme-models", Key="tidegate/bundles/a.tar"), Job.DECIDE),
    "its training": (aws("sagemaker.StopTrainingJob", TrainingJobName="tidegate-credit-risk-0-1"), Job.TRAIN),
    "its log": (
        aws("logs.GetLogEvents", logGroupName="/aws/sagemaker/TrainingJobs", logStreamName="tidegate-credit-risk-0/a"),
        Job.TRAIN,
    ),
    "the streams": (aws("logs.DescribeLogStreams", logGroupName="/aws/sagemaker/TrainingJobs"), Job.TRAIN),
    "who one is": (aws("sts.GetCallerIdentity"), Job.TRAIN),
}  # fmt: skip
FORBIDDEN: dict[str, tuple[list[Called], Job]] = {
    "another endpoint": (aws("sagemaker.DescribeEndpoint", EndpointName="credit-2"), Job.OPERATE),
    "another's model": (aws("sagemaker.DeleteModel", ModelName="creditor-v3-0"), Job.OPERATE),
    "another schedule": (aws("scheduler.GetSchedule", Name="credit-other"), Job.OPERATE),
    "another role": (
        aws("sagemaker.CreateModel", ModelName="credit-v3-0", ExecutionRoleArn="arn:aws:iam::123456789012:role/admin"),
        Job.OPERATE,
    ),
    "another bucket": (aws("s3.PutObject", Bucket="acme", Key="tidegate/credit/v3/a"), Job.OPERATE),
    "the bytes of a version": (aws("s3.PutObject", Bucket="acme-models", Key="tidegate/bundles/a.tar"), Job.OPERATE),
    "the aliases": (aws("s3.PutObject", Bucket="acme-models", Key="tidegate/models/credit-risk/aliases.json"), Job.DECIDE),
    "another model's training": (aws("sagemaker.StopTrainingJob", TrainingJobName="tidegate-churn-0-1"), Job.TRAIN),
    "another's log": (
        aws("logs.GetLogEvents", logGroupName="/aws/sagemaker/TrainingJobs", logStreamName="tidegate-churn-0/a"),
        Job.TRAIN,
    ),
    "traffic, in training": (aws("sagemaker.UpdateEndpoint", EndpointName="credit"), Job.TRAIN),
    "what nobody may": (aws("iam.CreateRole", RoleName="a"), Job.OPERATE),
    "a delete of objects": (aws("s3.DeleteObjects", Bucket="acme-models"), Job.OPERATE),
}  # fmt: skip


@pytest.mark.parametrize("name", FITS)
def test_what_is_granted_is_permitted(name: str) -> None:
    calls, job = FITS[name]
    assert_permitted(calls, Cloud.AWS, [job], known=KNOWN)


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_is_not_is_not(name: str) -> None:
    calls, job = FORBIDDEN[name]
    with pytest.raises(AssertionError, match=calls[0].name):
        assert_permitted(calls, Cloud.AWS, [job], known=KNOWN)


@pytest.mark.parametrize(
    ("method", "name", "job", "allowed"),
    [
        ("storage.objects.insert", "tidegate/credit/v3-0/model.tar", Job.OPERATE, True),
        ("storage.objects.insert", "tidegate/bundles/a.tar", Job.OPERATE, False),
        ("storage.objects.insert", "tidegate/bundles/a.tar", Job.DECIDE, True),
        ("storage.objects.get", "elsewhere/credit/v3-0/model.tar", Job.OPERATE, False),
        ("storage.objects.insert", "tidegate/jobs/tidegate-credit-risk-0/input/a", Job.TRAIN, True),
        ("storage.objects.insert", "tidegate/jobs/tidegate-churn-0/input/a", Job.TRAIN, False),
    ],
)
def test_googles_folders_are_held(method: str, name: str, job: Job, *, allowed: bool) -> None:
    calls = [Request(method, {"bucket": "acme-models", "object": name})]
    if allowed:
        assert_permitted(calls, Cloud.GCP, [job], known=KNOWN)
        return
    with pytest.raises(AssertionError, match="not permitted"):
        assert_permitted(calls, Cloud.GCP, [job], known=KNOWN)


def test_a_stand_ins_own_record_is_understood() -> None:
    assert_permitted([("sagemaker", "DescribeEndpoint", {"EndpointName": "credit"})], Cloud.AWS)
    with pytest.raises(AssertionError, match="no grant of decide"):
        assert_permitted(
            [("sagemaker", "DeleteModel", {"ModelName": "a"})], Cloud.AWS, [Job.DECIDE]
        )
