"""What each job calls in a cloud, and the one permission that lets it: a table, no code.

Two jobs hold a cloud role. *decide* writes the bytes of an accepted model; *operate* moves traffic and
can write no bytes. Neither can do the other's part, and nothing here reaches further than one
endpoint, one folder of one bucket.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

# Values that not every account has: without them their grants are left out.
OPTIONAL = frozenset({"key", "image_repository"})

Pairs: TypeAlias = dict[str, dict[str, str]]
On: TypeAlias = tuple[str, tuple[str, ...]]  # AWS's list of a service's actions; resources

_AWS = "https://docs.aws.amazon.com/service-authorization/latest/reference/list_"
_VERTEX = "https://cloud.google.com/vertex-ai/docs/general/iam-permissions"
_STORAGE = "https://cloud.google.com/storage/docs/access-control/iam-roles"
_GOOGLE = "https://cloud.google.com/iam/docs/roles-permissions/"


class Cloud(StrEnum):
    """Where the endpoint is."""

    AWS = "aws"
    GCP = "gcp"


class Job(StrEnum):
    """The jobs that hold a cloud role."""

    DECIDE = "decide"
    OPERATE = "operate"
    TRAIN = "train"


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """One call of ours and the permission for it.

    ``resources`` are templates. On Google Cloud a grant without them is part of the project's
    custom role, one with them binds ``role`` on that resource alone.
    """

    cloud: Cloud
    job: Job
    call: str
    action: str
    url: str
    sid: str = ""
    role: str = ""
    resources: tuple[str, ...] = ()
    condition: Pairs = field(default_factory=dict)


def _aws(
    job: Job, sid: str, on: On, calls: dict[str, str], condition: Pairs | None = None
) -> list[Grant]:
    """Return a grant for each ``call: action`` on the same resources."""
    service, resources = on
    return [
        Grant(
            cloud=Cloud.AWS, job=job, call=call, action=action, url=f"{_AWS}{service}.html",
            sid=sid, resources=resources, condition=condition or {},
        )
        for call, action in calls.items()
    ]  # fmt: skip


def _gcp(job: Job, url: str, calls: dict[str, str]) -> list[Grant]:
    """Return a grant within the custom role for each ``call: permission``."""
    return [
        Grant(cloud=Cloud.GCP, job=job, call=call, action=action, url=url)
        for call, action in calls.items()
    ]


_IAM = "awsidentityandaccessmanagementiam"
_SCHEDULER = "amazoneventbridgescheduler"
_ECR = "amazonelasticcontainerregistry"
_KMS = "awskeymanagementservice"
_SAGEMAKER = "arn:{partition}:sagemaker:{region}:{account}:"
_ENDPOINT = _SAGEMAKER + "endpoint/{endpoint}"
_MADE = (_SAGEMAKER + "endpoint-config/{endpoint}-*", _SAGEMAKER + "model/{endpoint}-*")
_BUCKET = "arn:{partition}:s3:::{bucket}"
_OBJECTS = _BUCKET + "/{prefix}/*"
_EXECUTION_ROLE = "arn:{partition}:iam::{account}:role/{execution_role}"
_SCHEDULER_ROLE = "arn:{partition}:iam::{account}:role/{scheduler_role}"
_SCHEDULES = "arn:{partition}:scheduler:{region}:{account}:schedule/default/{endpoint}-*"
_IMAGES = "arn:{partition}:ecr:{region}:{account}:repository/{image_repository}"
_KEY = "arn:{partition}:kms:{region}:{account}:key/{key}"
_IN_FOLDER: Pairs = {"StringLike": {"s3:prefix": "{prefix}/*"}}
_BY_S3: Pairs = {"StringEquals": {"kms:ViaService": "s3.{region}.amazonaws.com"}}
_HERE: Pairs = {"StringEquals": {"aws:RequestedRegion": "{region}"}}
_RUNNER = "projects/{project}/serviceAccounts/{runner_account}@{project}.iam.gserviceaccount.com"


def _passed_to(service: str) -> Pairs:
    return {"StringEquals": {"iam:PassedToService": service}}


def _folder(title: str) -> Pairs:
    return {
        "expr": {
            "title": title,
            "expression": 'resource.name.startsWith("projects/_/buckets/{bucket}/objects/{prefix}/")',
        }
    }


def _bucket(job: Job, call: str, action: str, role: str) -> Grant:
    return Grant(
        cloud=Cloud.GCP, job=job, call=call, action=action, url=_STORAGE, role=role,
        resources=("gs://{bucket}",), condition=_folder("folder of the models alone"),
    )  # fmt: skip


_DECIDE_AWS = [
    *_aws(Job.DECIDE, "WriteModelBytes", ("amazons3", (_OBJECTS,)), {
        "PutObject": "s3:PutObject",
        "GetObject, HeadObject": "s3:GetObject",
        "AbortMultipartUpload": "s3:AbortMultipartUpload",
    }),
    *_aws(Job.DECIDE, "ListModelFolder", ("amazons3", (_BUCKET,)),
          {"ListObjectsV2": "s3:ListBucket"}, _IN_FOLDER),
    *_aws(Job.DECIDE, "EncryptModelBytes", (_KMS, (_KEY,)), {
        "PutObject under SSE-KMS": "kms:GenerateDataKey",
        "GetObject under SSE-KMS": "kms:Decrypt",
    }, _BY_S3),
]  # fmt: skip

_OPERATE_AWS = [
    *_aws(Job.OPERATE, "MoveTraffic", ("amazonsagemaker", (_ENDPOINT,)), {
        "DescribeEndpoint": "sagemaker:DescribeEndpoint",
        "UpdateEndpointWeightsAndCapacities": "sagemaker:UpdateEndpointWeightsAndCapacities",
        "InvokeEndpoint (the parity check)": "sagemaker:InvokeEndpoint",
    }),
    # Authorized on the endpoint and on its configuration.
    *_aws(Job.OPERATE, "ChangeVariants", ("amazonsagemaker", (_ENDPOINT, _MADE[0])), {
        "CreateEndpoint": "sagemaker:CreateEndpoint",
        "UpdateEndpoint": "sagemaker:UpdateEndpoint",
    }),
    *_aws(Job.OPERATE, "MakeVariants", ("amazonsagemaker", _MADE), {
        "CreateModel": "sagemaker:CreateModel",
        "DescribeModel": "sagemaker:DescribeModel",
        "DeleteModel": "sagemaker:DeleteModel",
        "CreateEndpointConfig": "sagemaker:CreateEndpointConfig",
        "DescribeEndpointConfig": "sagemaker:DescribeEndpointConfig",
        "DeleteEndpointConfig": "sagemaker:DeleteEndpointConfig",
        "AddTags (ours, to tell them from others)": "sagemaker:AddTags",
        "ListTags": "sagemaker:ListTags",
    }),
    *_aws(Job.OPERATE, "RunModelsAs", (_IAM, (_EXECUTION_ROLE,)),
          {"CreateModel (ExecutionRoleArn)": "iam:PassRole"}, _passed_to("sagemaker.amazonaws.com")),
    # CloudWatch knows no resources for reading: the region is what can be limited.
    *_aws(Job.OPERATE, "ReadCounts", ("amazoncloudwatch", ("*",)),
          {"GetMetricData": "cloudwatch:GetMetricData"}, _HERE),
    *_aws(Job.OPERATE, "DeadMansSwitch", (_SCHEDULER, (_SCHEDULES,)), {
        "CreateSchedule": "scheduler:CreateSchedule",
        "UpdateSchedule": "scheduler:UpdateSchedule",
        "GetSchedule": "scheduler:GetSchedule",
        "DeleteSchedule": "scheduler:DeleteSchedule",
    }),
    *_aws(Job.OPERATE, "SwitchActsAs", (_IAM, (_SCHEDULER_ROLE,)),
          {"CreateSchedule (Target.RoleArn)": "iam:PassRole"},
          _passed_to("scheduler.amazonaws.com")),
    *_aws(Job.OPERATE, "ReadModelBytes", ("amazons3", (_OBJECTS,)),
          {"GetObject, HeadObject": "s3:GetObject"}),
    *_aws(Job.OPERATE, "ListModelFolder", ("amazons3", (_BUCKET,)),
          {"ListObjectsV2": "s3:ListBucket"}, _IN_FOLDER),
    *_aws(Job.OPERATE, "DecryptModelBytes", (_KMS, (_KEY,)),
          {"GetObject under SSE-KMS": "kms:Decrypt"}, _BY_S3),
    *_aws(Job.OPERATE, "ReadServingImage", (_ECR, (_IMAGES,)), {
        "DescribeImages (tag to digest)": "ecr:DescribeImages",
        "BatchGetImage": "ecr:BatchGetImage",
    }),
]  # fmt: skip

_DECIDE_GCP = [
    _bucket(Job.DECIDE, "objects.insert", "storage.objects.create", "roles/storage.objectCreator"),
    _bucket(Job.DECIDE, "objects.get", "storage.objects.get", "roles/storage.objectViewer"),
]

_OPERATE_GCP = [
    *_gcp(Job.OPERATE, _VERTEX, {
        "endpoints.get, and its operations": "aiplatform.endpoints.get",
        "endpoints.deployModel": "aiplatform.endpoints.deploy",
        "endpoints.undeployModel": "aiplatform.endpoints.undeploy",
        "endpoints.patch (trafficSplit)": "aiplatform.endpoints.update",
        "endpoints.predict (the parity check)": "aiplatform.endpoints.predict",
        "models.upload": "aiplatform.models.upload",
        "models.get": "aiplatform.models.get",
        "models.delete": "aiplatform.models.delete",
    }),
    *_gcp(Job.OPERATE, _GOOGLE + "monitoring", {
        "projects.timeSeries.list": "monitoring.timeSeries.list",
    }),
    *_gcp(Job.OPERATE, _GOOGLE + "cloudscheduler", {
        "jobs.create (the dead-man's switch)": "cloudscheduler.jobs.create",
        "jobs.get": "cloudscheduler.jobs.get",
        "jobs.patch": "cloudscheduler.jobs.update",
        "jobs.delete": "cloudscheduler.jobs.delete",
    }),
    _bucket(Job.OPERATE, "objects.get", "storage.objects.get", "roles/storage.objectViewer"),
    Grant(
        cloud=Cloud.GCP, job=Job.OPERATE, call="endpoints.deployModel (serviceAccount)",
        action="iam.serviceAccounts.actAs", url=_GOOGLE + "iam",
        role="roles/iam.serviceAccountUser", resources=(_RUNNER,),
    ),
]  # fmt: skip

GRANTS = (*_DECIDE_AWS, *_OPERATE_AWS, *_DECIDE_GCP, *_OPERATE_GCP)
