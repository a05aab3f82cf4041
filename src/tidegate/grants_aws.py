"""The calls to AWS and their permissions. Actions and resources: the service authorization reference."""

from __future__ import annotations

from typing import TypeAlias

from tidegate.grants import Cloud, Grant, Holder, Job, Pairs, Part, Runs

On: TypeAlias = tuple[str, tuple[str, ...]]  # the page of a service's actions; resources

_PAGES = "https://docs.aws.amazon.com/service-authorization/latest/reference/list_"


def _rows(  # noqa: PLR0913, PLR0917 (a row of a table)
    holder: Holder,
    part: Part,
    sid: str,
    on: On,
    calls: dict[str, str],
    condition: Pairs | None = None,
    *,
    needs: tuple[str, ...] = (),
) -> list[Grant]:
    """Return a grant for each ``call: action`` on the same resources."""
    service, resources = on
    return [
        Grant(
            cloud=Cloud.AWS, holder=holder, part=part, call=call, action=action,
            url=f"{_PAGES}{service}.html", sid=sid, resources=resources,
            condition=condition or {}, needs=needs,
        )
        for call, action in calls.items()
    ]  # fmt: skip


_IAM = "awsidentityandaccessmanagementiam"
_SCHEDULER = "amazoneventbridgescheduler"
_ECR = "amazonelasticcontainerregistry"
_KMS = "awskeymanagementservice"
_LOGS = "amazoncloudwatchlogs"
_METRICS = "amazoncloudwatch"
_S3 = "amazons3"
_SAGEMAKER = "amazonsagemaker"

_OURS = "arn:{partition}:sagemaker:{region}:{account}:"
_ENDPOINT = _OURS + "endpoint/{endpoint}"
_CONFIGS = _OURS + "endpoint-config/{stem}-g*"
_MODELS = _OURS + "model/{stem}-v*"
_JOBS = _OURS + "training-job/tidegate-{job}-*"
_ROLE = "arn:{partition}:iam::{account}:role/"
_SCHEDULE = "arn:{partition}:scheduler:{region}:{account}:schedule/default/{stem}-dead-man"
_LOG_GROUP = "arn:{partition}:logs:{region}:{account}:log-group:/aws/sagemaker/"
_KEY = ("arn:{partition}:kms:{region}:{account}:key/{key}",)

_BUCKET = "arn:{partition}:s3:::{bucket}"
_ARCHIVES = _BUCKET + "/{prefix}/{endpoint}/*"
_CAPTURED = _BUCKET + "/{prefix}/captured/{endpoint}/*"
_REGISTRY = "arn:{partition}:s3:::{registry_bucket}"
_BUNDLES = _REGISTRY + "/{registry_prefix}/bundles/*"
_RECORDS = _REGISTRY + "/{registry_prefix}/models/{model}/versions/*"
_ALIASES = _REGISTRY + "/{registry_prefix}/models/{model}/aliases.json"
_TRAIN_BUCKET = "arn:{partition}:s3:::{train_bucket}"
_SENT = (
    _TRAIN_BUCKET + "/{train_prefix}/jobs/tidegate-{job}-*",
    _TRAIN_BUCKET + "/{train_prefix}/data/*",
)
_LABELS = "arn:{partition}:s3:::{labels_bucket}"

_BY_S3: Pairs = {"StringEquals": {"kms:ViaService": "s3.{region}.amazonaws.com"}}
_FOR_AWS: Pairs = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
_HERE: Pairs = {"StringEquals": {"aws:RequestedRegion": "{region}"}}

_READ = {"s3.GetObject": "s3:GetObject", "s3.HeadObject": "s3:GetObject"}
_WRITE = {
    "s3.PutObject": "s3:PutObject",
    "s3.CreateMultipartUpload": "s3:PutObject",
    "s3.UploadPart": "s3:PutObject",
    "s3.CompleteMultipartUpload": "s3:PutObject",
    "s3.AbortMultipartUpload": "s3:AbortMultipartUpload",
}
# Without it S3 says "forbidden" of what is not there, and no condition on a prefix holds for a HEAD:
# names of the whole bucket can be listed.
_LIST = {"s3.ListObjectsV2": "s3:ListBucket", "s3.HeadBucket": "s3:ListBucket"}


def _passed(service: str) -> Pairs:
    return {"StringEquals": {"iam:PassedToService": service}}


def _by_s3(holder: Holder, part: Part, sid: str) -> list[Grant]:
    """SSE-KMS: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html"""
    calls = {"s3.GetObject": "kms:Decrypt", "s3.PutObject": "kms:GenerateDataKey"}
    return _rows(holder, part, sid, (_KMS, _KEY), calls, _BY_S3, needs=("key",))


_DECIDE = [
    *_rows(Job.DECIDE, Part.REGISTRY, "KeepVersions", (_S3, (_BUNDLES, _RECORDS)), _READ | _WRITE),
    *_rows(Job.DECIDE, Part.REGISTRY, "ReadAliases", (_S3, (_ALIASES,)), _READ),
    *_rows(Job.DECIDE, Part.REGISTRY, "ListRegistry", (_S3, (_REGISTRY,)), _LIST),
    *_by_s3(Job.DECIDE, Part.REGISTRY, "RegistryKey"),
]

_OPERATE = [
    *_rows(Job.OPERATE, Part.REGISTRY, "ReadVersions", (_S3, (_BUNDLES,)), _READ),
    # What a version became is noted beside it; the bytes stay as they are.
    *_rows(Job.OPERATE, Part.REGISTRY, "NoteVersions", (_S3, (_RECORDS, _ALIASES)),
           _READ | {"s3.PutObject": "s3:PutObject"}),
    *_rows(Job.OPERATE, Part.REGISTRY, "ListRegistry", (_S3, (_REGISTRY,)), _LIST),
    *_rows(Job.OPERATE, Part.TARGET, "MoveTraffic", (_SAGEMAKER, (_ENDPOINT,)), {
        "sagemaker.DescribeEndpoint": "sagemaker:DescribeEndpoint",
        "sagemaker.UpdateEndpointWeightsAndCapacities":
            "sagemaker:UpdateEndpointWeightsAndCapacities",
        "sagemaker.DeleteEndpoint": "sagemaker:DeleteEndpoint",
        "sagemaker-runtime.InvokeEndpoint": "sagemaker:InvokeEndpoint",
    }),
    # Authorized on the endpoint and on its configuration.
    *_rows(Job.OPERATE, Part.TARGET, "ChangeVariants", (_SAGEMAKER, (_ENDPOINT, _CONFIGS)), {
        "sagemaker.CreateEndpoint": "sagemaker:CreateEndpoint",
        "sagemaker.UpdateEndpoint": "sagemaker:UpdateEndpoint",
    }),
    *_rows(Job.OPERATE, Part.TARGET, "MakeVariants", (_SAGEMAKER, (_CONFIGS, _MODELS)), {
        "sagemaker.CreateModel": "sagemaker:CreateModel",
        "sagemaker.DescribeModel": "sagemaker:DescribeModel",
        "sagemaker.DeleteModel": "sagemaker:DeleteModel",
        "sagemaker.CreateEndpointConfig": "sagemaker:CreateEndpointConfig",
        "sagemaker.DescribeEndpointConfig": "sagemaker:DescribeEndpointConfig",
        "sagemaker.DeleteEndpointConfig": "sagemaker:DeleteEndpointConfig",
    }),
    # Of an endpoint that was not made by us, and is handed over.
    *_rows(Job.OPERATE, Part.TARGET, "ReadHandedOver",
           (_SAGEMAKER, (_OURS + "endpoint-config/{old_config}", _OURS + "model/{old_model}")), {
        "sagemaker.DescribeEndpointConfig": "sagemaker:DescribeEndpointConfig",
        "sagemaker.DescribeModel": "sagemaker:DescribeModel",
    }, needs=("old_config", "old_model")),
    *_rows(Job.OPERATE, Part.TARGET, "Mark", (_SAGEMAKER, (_ENDPOINT, _CONFIGS, _MODELS)), {
        "sagemaker.AddTags": "sagemaker:AddTags",
        "sagemaker.ListTags": "sagemaker:ListTags",
    }),
    # Lists know no resources: the region is what can be limited.
    *_rows(Job.OPERATE, Part.TARGET, "FindLeftovers", (_SAGEMAKER, ("*",)), {
        "sagemaker.ListModels": "sagemaker:ListModels",
        "sagemaker.ListEndpointConfigs": "sagemaker:ListEndpointConfigs",
    }, _HERE),
    *_rows(Job.OPERATE, Part.TARGET, "RunModelsAs", (_IAM, (_ROLE + "{execution_role}",)),
           {"sagemaker.CreateModel": "iam:PassRole"}, _passed("sagemaker.amazonaws.com")),
    # CloudWatch knows no resources for reading, either.
    *_rows(Job.OPERATE, Part.TARGET, "ReadCounts", (_METRICS, ("*",)),
           {"cloudwatch.GetMetricData": "cloudwatch:GetMetricData"}, _HERE),
    # https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
    *_rows(Job.OPERATE, Part.TARGET, "RollBackOn",
           (_METRICS, ("arn:{partition}:cloudwatch:{region}:{account}:alarm:{alarms}",)),
           {"sagemaker.UpdateEndpoint": "cloudwatch:DescribeAlarms"}, needs=("alarms",)),
    *_rows(Job.OPERATE, Part.TARGET, "DeadMansSwitch", (_SCHEDULER, (_SCHEDULE,)), {
        "scheduler.CreateSchedule": "scheduler:CreateSchedule",
        "scheduler.UpdateSchedule": "scheduler:UpdateSchedule",
        "scheduler.GetSchedule": "scheduler:GetSchedule",
        "scheduler.DeleteSchedule": "scheduler:DeleteSchedule",
    }),
    *_rows(Job.OPERATE, Part.TARGET, "SwitchActsAs", (_IAM, (_ROLE + "{scheduler_role}",)), {
        "scheduler.CreateSchedule": "iam:PassRole",
        "scheduler.UpdateSchedule": "iam:PassRole",
    }, _passed("scheduler.amazonaws.com")),
    *_rows(Job.OPERATE, Part.TARGET, "SendArchives", (_S3, (_ARCHIVES,)), _READ | _WRITE),
    *_rows(Job.OPERATE, Part.TARGET, "ReadCaptured", (_S3, (_CAPTURED,)), _READ),
    *_rows(Job.OPERATE, Part.TARGET, "ListModels", (_S3, (_BUCKET,)), _LIST),
    *_rows(Job.OPERATE, Part.TARGET, "ReadLabels",
           (_S3, (_LABELS + "/{labels_prefix}/*",)), _READ, needs=("labels_bucket",)),
    *_rows(Job.OPERATE, Part.TARGET, "ListLabels", (_S3, (_LABELS,)), _LIST,
           needs=("labels_bucket",)),
    *_by_s3(Job.OPERATE, Part.TARGET, "ModelKey"),
    # https://docs.aws.amazon.com/sagemaker/latest/dg/api-permissions-reference.html
    *_rows(Job.OPERATE, Part.TARGET, "EncryptVolumes", (_KMS, _KEY), {
        "sagemaker.CreateEndpoint": "kms:CreateGrant",
        "sagemaker.UpdateEndpoint": "kms:CreateGrant",
    }, _FOR_AWS, needs=("key",)),
]  # fmt: skip

_TRAIN = [
    *_rows(Job.TRAIN, Part.COMPUTE, "RunTraining", (_SAGEMAKER, (_JOBS,)), {
        "sagemaker.CreateTrainingJob": "sagemaker:CreateTrainingJob",
        "sagemaker.DescribeTrainingJob": "sagemaker:DescribeTrainingJob",
        "sagemaker.StopTrainingJob": "sagemaker:StopTrainingJob",
    }),
    *_rows(Job.TRAIN, Part.COMPUTE, "MarkTraining", (_SAGEMAKER, (_JOBS,)),
           {"sagemaker.CreateTrainingJob": "sagemaker:AddTags"}),
    *_rows(Job.TRAIN, Part.COMPUTE, "TrainAs", (_IAM, (_ROLE + "{train_role}",)),
           {"sagemaker.CreateTrainingJob": "iam:PassRole"}, _passed("sagemaker.amazonaws.com")),
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/iam-access-control-overview-cwl.html
    *_rows(Job.TRAIN, Part.COMPUTE, "FindLog", (_LOGS, (_LOG_GROUP + "TrainingJobs:*",)),
           {"logs.DescribeLogStreams": "logs:DescribeLogStreams"}),
    *_rows(Job.TRAIN, Part.COMPUTE, "ReadLog",
           (_LOGS, (_LOG_GROUP + "TrainingJobs:log-stream:tidegate-{job}-*",)),
           {"logs.GetLogEvents": "logs:GetLogEvents"}),
    *_rows(Job.TRAIN, Part.COMPUTE, "SendWork", (_S3, _SENT), _READ | _WRITE),
    *_rows(Job.TRAIN, Part.COMPUTE, "ListWork", (_S3, (_TRAIN_BUCKET,)),
           {"s3.HeadBucket": "s3:ListBucket"}),
    *_by_s3(Job.TRAIN, Part.COMPUTE, "WorkKey"),
    *_rows(Job.TRAIN, Part.COMPUTE, "EncryptVolumes", (_KMS, _KEY),
           {"sagemaker.CreateTrainingJob": "kms:CreateGrant"}, _FOR_AWS, needs=("key",)),
]  # fmt: skip


# --- what SageMaker and the scheduler run -----------------------------------------------------

_PULL = {
    "pulls the image": "ecr:BatchGetImage",
    "pulls its layers": "ecr:GetDownloadUrlForLayer",
    "looks for its layers": "ecr:BatchCheckLayerAvailability",
}
_LOGIN = {"logs in where images are": "ecr:GetAuthorizationToken"}
_WRITE_LOG = {
    "makes its log": "logs:CreateLogGroup",
    "makes its stream": "logs:CreateLogStream",
    "finds its stream": "logs:DescribeLogStreams",
    "writes its log": "logs:PutLogEvents",
}
_COUNT = {"counts CPU and memory": "cloudwatch:PutMetricData"}
_OWN_METRICS: Pairs = {"StringLike": {"cloudwatch:namespace": "/aws/sagemaker/*"}}
# Of AWS, whose account differs by region: https://docs.aws.amazon.com/sagemaker/latest/dg-ecr-paths/sagemaker-algo-docker-registry-paths.html
_PUBLIC = tuple(
    f"arn:{{partition}}:ecr:{{region}}:*:repository/{name}"
    for name in ("sagemaker-scikit-learn", "sagemaker-xgboost", "pytorch-inference")
)
_IMAGE = ("arn:{partition}:ecr:{region}:{image_account}:repository/{image_repository}",)
_TRAIN_IMAGE = ("arn:{partition}:ecr:{region}:{train_image_account}:repository/{train_image}",)


def _container(holder: Runs, part: Part, logs: str) -> list[Grant]:
    """https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html"""
    return [
        *_rows(holder, part, "WriteLog", (_LOGS, (_LOG_GROUP + logs,)), _WRITE_LOG),
        *_rows(holder, part, "Count", (_METRICS, ("*",)), _COUNT, _OWN_METRICS),
        *_rows(holder, part, "LogIn", (_ECR, ("*",)), _LOGIN, _HERE),
    ]


_RUNS = [
    *_container(Runs.SERVING, Part.TARGET, "Endpoints/{endpoint}*"),
    *_rows(Runs.SERVING, Part.TARGET, "PullPublic", (_ECR, _PUBLIC), _PULL),
    *_rows(Runs.SERVING, Part.TARGET, "PullOwn", (_ECR, _IMAGE), _PULL,
           needs=("image_account", "image_repository")),
    *_rows(Runs.SERVING, Part.TARGET, "ReadArchives", (_S3, (_ARCHIVES,)),
           {"reads the model": "s3:GetObject"}),
    *_rows(Runs.SERVING, Part.TARGET, "Capture", (_S3, (_CAPTURED,)),
           {"keeps requests and answers": "s3:PutObject"}),
    *_rows(Runs.SERVING, Part.TARGET, "FindArchives", (_S3, (_BUCKET,)),
           {"looks whether they are there": "s3:ListBucket"}),
    *_rows(Runs.SERVING, Part.TARGET, "RollBackOn",
           (_METRICS, ("arn:{partition}:cloudwatch:{region}:{account}:alarm:{alarms}",)),
           {"watches the alarms of an update": "cloudwatch:DescribeAlarms"}, needs=("alarms",)),
    *_rows(Runs.SERVING, Part.TARGET, "ModelKey", (_KMS, _KEY), {
        "reads encrypted bytes": "kms:Decrypt", "writes encrypted bytes": "kms:GenerateDataKey",
    }, needs=("key",)),
    *_container(Runs.TRAINING, Part.COMPUTE, "TrainingJobs:*"),
    *_rows(Runs.TRAINING, Part.COMPUTE, "PullImage", (_ECR, _TRAIN_IMAGE), _PULL,
           needs=("train_image_account", "train_image")),
    *_rows(Runs.TRAINING, Part.COMPUTE, "ReadWork", (_S3, _SENT),
           {"reads code and rows": "s3:GetObject"}),
    *_rows(Runs.TRAINING, Part.COMPUTE, "LeaveOutput",
           (_S3, (_TRAIN_BUCKET + "/{train_prefix}/jobs/tidegate-{job}-*/output/*",)),
           {"leaves the model": "s3:PutObject"}),
    *_rows(Runs.TRAINING, Part.COMPUTE, "FindWork", (_S3, (_TRAIN_BUCKET,)),
           {"lists its input": "s3:ListBucket"}),
    *_rows(Runs.TRAINING, Part.COMPUTE, "WorkKey", (_KMS, _KEY), {
        "reads encrypted bytes": "kms:Decrypt", "writes encrypted bytes": "kms:GenerateDataKey",
    }, needs=("key",)),
    *_rows(Runs.SWITCH, Part.TARGET, "ShutTheGate", (_SAGEMAKER, (_ENDPOINT,)), {
        "sets the weights": "sagemaker:UpdateEndpointWeightsAndCapacities",
    }),
]  # fmt: skip

ROWS = (*_DECIDE, *_OPERATE, *_TRAIN, *_RUNS)
