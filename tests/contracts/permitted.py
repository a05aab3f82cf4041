"""What was called is what the roles may call: recorded calls held against the table of grants.

With ``known``, each call's resource is held against the policy that is printed, too: a job that touches
another endpoint, another folder, or passes another role than its policy names fails here first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tidegate import grants_aws, grants_gcp
from tidegate.grants import Cloud, Grant, Job
from tidegate.policy_values import Values, filled, values

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

# Everybody may: proving who one is needs no permission but the trust.
FREE = frozenset(
    {
        "sts.GetCallerIdentity", "sts.AssumeRoleWithWebIdentity",
        "sts.token", "iamcredentials.projects.serviceAccounts.generateAccessToken",
    }
)  # fmt: skip
ROWS = {Cloud.AWS: grants_aws.ROWS, Cloud.GCP: grants_gcp.ROWS}


@dataclass(frozen=True, kw_only=True)
class Called:
    """One call: ``service.Operation`` of boto3, or the id of Google's method."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None

    @classmethod
    def of(cls, call: Any) -> Called:
        """Return what a stand-in, or a recorder, wrote down."""
        if isinstance(call, Called):
            return call
        if hasattr(call, "method"):  # tests.gcp
            return cls(name=call.method, parameters=call.parameters, body=call.body)
        service, operation, parameters = call  # tests.aws
        return cls(name=f"{service}.{operation}", parameters=parameters)


def assert_permitted(
    calls: Iterable[Any],
    cloud: Cloud,
    jobs: Collection[Job] = tuple(Job),
    *,
    known: Mapping[str, str] | None = None,
    setup: Collection[str] = (),
) -> None:
    """Fail on the first call that none of the jobs has a grant for.

    Args:
        calls: ``cloud.calls`` of tests.aws or tests.gcp, or `Called`.
        cloud: whose they are.
        jobs: whose roles may be used.
        known: what the policies are filled in with; None: resources are not looked at.
        setup: names of calls that the test itself makes.
    """
    found = None if known is None else values(known)
    for call in map(Called.of, calls):
        if call.name in FREE or call.name in setup:
            continue
        rows = [g for g in ROWS[cloud] if g.call == call.name and g.holder in jobs]
        assert rows, f"{call.name}: no grant of {', '.join(jobs)} lets it"
        if found is not None:
            held = [g for g in rows if all(key in found for key in g.needs)]
            check = _aws_fits if cloud is Cloud.AWS else _gcp_fits
            check(call, held, found)


# --- AWS ------------------------------------------------------------------------------------


def _aws_fits(call: Called, rows: list[Grant], known: Values) -> None:
    service = call.name.partition(".")[0].removesuffix("-runtime")
    own = [g for g in rows if g.action.startswith(f"{service}:")]
    for arn in _touched(call, known):
        assert any(_covers(g, arn, known) for g in own), f"{call.name} on {arn}: not permitted"
    if (role := _passed(call)) is not None:
        passing = [g for g in rows if g.action == "iam:PassRole"]
        assert any(_covers(g, role, known) for g in passing), f"{call.name} passes {role}"


def _covers(grant: Grant, arn: str, known: Values) -> bool:
    patterns = [text for each in grant.resources for text in filled(each, known)]
    return any(re.fullmatch(re.escape(p).replace(r"\*", ".*"), arn) for p in patterns)


def _touched(call: Called, known: Values) -> list[str]:
    """Return the ARNs that a call is authorized on."""
    given = call.parameters
    start = f"arn:{known['partition']}:{{}}:{known['region']}:{known['account']}:"
    service = call.name.partition(".")[0].removesuffix("-runtime")
    if service == "s3":
        key = given.get("Key")
        return [f"arn:{known['partition']}:s3:::{given['Bucket']}" + (f"/{key}" if key else "")]
    if service == "logs":
        stream = given.get("logStreamName")
        where = f"log-stream:{stream}" if stream else ""
        return [f"{start.format('logs')}log-group:{given['logGroupName']}:{where}"]
    if service == "scheduler":
        return [f"{start.format('scheduler')}schedule/{given.get('GroupName', 'default')}/{given['Name']}"]  # fmt: skip
    kinds = {
        "EndpointName": "endpoint", "EndpointConfigName": "endpoint-config", "ModelName": "model",
        "TrainingJobName": "training-job",
    }  # fmt: skip
    arns = [
        f"{start.format('sagemaker')}{kind}/{given[key]}"
        for key, kind in kinds.items()
        if key in given
    ]
    return [*arns, *([given["ResourceArn"]] if "ResourceArn" in given else [])] or ["*"]


def _passed(call: Called) -> str | None:
    given = call.parameters
    match call.name:
        case "sagemaker.CreateModel":
            return str(given["ExecutionRoleArn"])
        case "sagemaker.CreateTrainingJob":
            return str(given["RoleArn"])
        case "scheduler.CreateSchedule" | "scheduler.UpdateSchedule":
            return str(given["Target"]["RoleArn"])
        case _:
            return None


# --- Google Cloud ---------------------------------------------------------------------------


def _gcp_fits(call: Called, rows: list[Grant], known: Values) -> None:
    if not call.name.startswith("storage.") or "upload_id" in call.parameters:
        return  # the pieces of an upload go where its first call was let in
    bucket = call.parameters["bucket"]
    name = call.parameters.get("object") or call.parameters.get("name")
    if name is None and isinstance(call.body, dict):
        name = call.body.get("name")
    resource = f"projects/_/buckets/{bucket}/objects/{name or ''}"
    for grant in rows:
        if [text.format_map(known) for text in grant.resources] != [f"gs://{bucket}"]:
            continue
        if not grant.condition:
            return
        [told] = filled(grant.condition["expr"]["expression"], known)
        start = re.fullmatch(r'resource\.name\.startsWith\("(.+)"\)', told)
        assert start, told
        if resource.startswith(start[1]):
            return
    raise AssertionError(f"{call.name} on {resource}: not permitted")
