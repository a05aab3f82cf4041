"""What the stand-in does where botocore's service model is silent: one row per rule, with its source.

``known`` says how sure one can be: ``documented`` (AWS's own pages or the model's prose), ``seen``
(public reports of what AWS answered), ``assumed`` (nobody says; the strict choice), ``ours`` (how
the stand-in differs from AWS on purpose). A test exercises every row (:mod:`tests.aws.test_behaviour`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Test = TypeVar("Test", bound="Callable[..., Any]")

DG = "https://docs.aws.amazon.com/sagemaker/latest/dg/"
API = "https://docs.aws.amazon.com/sagemaker/latest/APIReference/"
CW = "https://docs.aws.amazon.com/AmazonCloudWatch/latest/"
SCHEDULER = "https://docs.aws.amazon.com/scheduler/latest/"
TOOLKIT = "https://github.com/aws/sagemaker-inference-toolkit"
TRAINING = "https://github.com/aws/sagemaker-training-toolkit"


@dataclass(frozen=True)
class Row:
    name: str
    rule: str
    known: str
    source: str


TABLE = (
    # Names and references.
    Row("duplicate-refused", "A model, configuration, endpoint with a taken name is refused: ValidationException «Cannot create already existing …».",
        "seen", "https://github.com/aws/sagemaker-python-sdk/issues/101"),
    Row("missing-is-validation", "A missing endpoint, configuration or model is a ValidationException «Could not find …», not a not-found code.",
        "seen", "https://github.com/aws/amazon-sagemaker-operator-for-k8s/blob/master/controllers/sdkutil/clientwrapper/sagemaker_client.go"),
    Row("names", "Names that break the model's pattern or length are refused with «N validation error(s) detected».",
        "documented", API + "API_CreateEndpoint.html"),
    Row("instance-types-by-form", "Instance types are checked for their form only (ml.x.y), because AWS adds some between releases of clients.",
        "ours", API + "API_ProductionVariant.html"),
    Row("model-data-checked", "CreateModel refuses model data that is not in the bucket.",
        "seen", "https://github.com/aws/aws-step-functions-data-science-sdk-python/issues/61"),
    Row("delete-in-use", "Deleting a model or configuration in use is allowed, and the endpoint goes on serving.",
        "documented", API + "API_DeleteEndpointConfig.html"),
    Row("deleted-config-blocks-update", "UpdateEndpoint of an endpoint whose present configuration was deleted is refused: «Could not find endpoint configuration», the old one.",
        "seen", "https://github.com/hashicorp/terraform-provider-aws/issues/40048"),
    Row("new-config-not-seen", "CreateEndpoint and UpdateEndpoint right after CreateEndpointConfig may not find it (knob stale_configs).",
        "documented", API + "API_CreateEndpoint.html"),
    # States.
    Row("busy-refused", "UpdateEndpoint, the weights call and DeleteEndpoint are refused while the endpoint is Creating, Updating, SystemUpdating, RollingBack or Deleting: ValidationException «Cannot update in-progress endpoint».",
        "seen", "https://github.com/aws/amazon-sagemaker-operator-for-k8s/blob/master/controllers/sdkutil/clientwrapper/sagemaker_client.go"),
    Row("failed-only-delete", "A Failed endpoint takes only DeleteEndpoint.",
        "documented", API + "API_DescribeEndpoint.html"),
    Row("creating-fails", "An endpoint whose container does not pass /ping ends Failed, with a FailureReason.",
        "documented", DG + "your-algorithms-inference-code.html"),
    Row("update-rolls-back", "An update whose container does not come up goes to RollingBack and InService on the old configuration.",
        "documented", DG + "deployment-guardrails.html"),
    Row("reason-after-rollback", "After a rollback FailureReason stays until the next update, though the endpoint is InService.",
        "assumed", API + "API_DescribeEndpoint.html"),
    Row("alarm-rolls-back", "A named alarm that is in ALARM at any moment of the bake rolls the update back; alarms are not looked at before.",
        "documented", DG + "deployment-guardrails-configuration.html"),
    Row("rollback-may-fail", "A failed rollback ends in UpdateRollbackFailed, in service with both configurations; an UpdateEndpoint may repair it (knob rollback_fails).",
        "documented", API + "API_DescribeEndpoint.html"),
    Row("weights-rollback", "A weights call that cannot be carried out goes through RollingBack to the old weights (knob weights_fail).",
        "documented", API + "API_DescribeEndpoint.html"),
    Row("pending-summary", "While a deployment runs, ProductionVariants are the old fleet's and PendingDeploymentSummary the new one's; EndpointConfigName is the old one until the end.",
        "documented", API + "API_PendingDeploymentSummary.html"),
    # Weights and properties.
    Row("weights-lag", "The weights call sets DesiredWeight at once; CurrentWeight follows while the endpoint is Updating.",
        "documented", API + "API_ProductionVariantSummary.html"),
    Row("weight-zero", "Weight 0 is legal: the variant is up and gets nothing.",
        "documented", API + "API_ProductionVariant.html"),
    Row("all-weights-zero", "With every weight 0, invocations without TargetVariant are refused with 503.",
        "assumed", API + "API_runtime_InvokeEndpoint.html"),
    Row("update-resets", "UpdateEndpoint resets weights and instance counts to the configuration's, unless RetainAllVariantProperties; ExcludeRetainedVariantProperties except some from that.",
        "documented", API + "API_UpdateEndpoint.html"),
    Row("one-capacity-per-call", "A weights call changes the weights of several variants, the instance count of one.",
        "documented", API + "API_UpdateEndpointWeightsAndCapacities.html"),
    Row("serverless", "A serverless variant is alone on its endpoint, and the weights call is refused.",
        "documented", DG + "serverless-endpoints.html"),
    # Deployments.
    Row("guardrails-same-names", "With a DeploymentConfig the new configuration must have the old one's variant names; without one it need not.",
        "documented", DG + "deployment-guardrails-exclusions.html"),
    Row("rolling-single-variant", "Rolling deployments are refused for several variants and for serverless.",
        "documented", DG + "deployment-guardrails-exclusions.html"),
    Row("step-sizes", "A canary is at most 50 % of the capacity, linear steps 10 to 50 %, rolling batches 5 to 50 %; shares are of whole instances.",
        "documented", API + "API_TrafficRoutingConfig.html"),
    # The data plane.
    Row("routing", "Each request is drawn independently by CurrentWeight; TargetVariant overrides; the header x-Amzn-Invoked-Production-Variant tells which it was.",
        "documented", API + "API_runtime_InvokeEndpoint.html"),
    Row("model-error", "Anything but 2xx from the container is a ModelError (424) with OriginalStatusCode and OriginalMessage.",
        "documented", API + "API_runtime_InvokeEndpoint.html"),
    Row("invocation-timeout", "No answer in 60 seconds (knob invocation_timeout) is a ModelError with original status 0.",
        "documented", API + "API_runtime_InvokeEndpoint.html"),
    Row("toolkit", "A container loads code/inference.py (or SAGEMAKER_PROGRAM) and calls model_fn once, then transform_fn, or input_fn, predict_fn and output_fn; exceptions are 500, or their status_code.",
        "documented", TOOLKIT),
    Row("no-requirements", "code/requirements.txt is not installed: containers run with the tests' own Python.",
        "ours", TOOLKIT),
    Row("byo-command", "An image with a command in cloud.commands runs that, and is told its port by SAGEMAKER_BIND_TO_PORT; real containers listen on 8080.",
        "ours", DG + "your-algorithms-inference-code.html"),
    Row("container-restarts", "A container that has died is started again when a request finds it dead; that request is a model error.",
        "assumed", DG + "your-algorithms-inference-code.html"),
    Row("drained", "A container that is taken away answers what it was asked before: an update costs no request.",
        "documented", API + "API_UpdateEndpoint.html"),
    Row("container-logs", "What a container printed before it failed is in /aws/sagemaker/Endpoints/<endpoint>, stream <variant>/<instance>.",
        "documented", DG + "logging-cloudwatch.html"),
    Row("one-process-per-model", "A model has one process, shared by every variant and fleet that serves it; instance counts are bookkeeping.",
        "ours", DG + "realtime-endpoints-manage.html"),
    Row("capture-path", "Captured data is JSON Lines at <uri>/<endpoint>/<variant>/yyyy/mm/dd/hh/<file>.jsonl, with inferenceId where the caller sent one; a while later (knob capture_delay).",
        "documented", DG + "model-monitor-data-capture-endpoint.html"),
    Row("capture-encoding", "Content types that are not listed in CaptureContentTypeHeader are captured as base64.",
        "documented", API + "API_DataCaptureConfig.html"),
    Row("capture-good-only", "Only answered requests are captured.",
        "assumed", DG + "model-monitor-data-capture-endpoint.html"),
    # CloudWatch.
    Row("invocation-metrics", "Per request: Invocations 1; 4XX, 5XX and model errors 1 or 0; ModelLatency and OverheadLatency in microseconds. Dimensions EndpointName and VariantName.",
        "documented", DG + "monitoring-cloudwatch.html"),
    Row("timeout-not-5xx", "An invocation without any answer is a model error, and neither 4XX nor 5XX.",
        "documented", DG + "monitoring-cloudwatch.html"),
    Row("no-traffic-no-point", "A minute without requests has no datapoint, not 0.",
        "documented", CW + "monitoring/cloudwatch_concepts.html"),
    Row("metrics-late", "A sample can be read metrics_delay after it happened; the newest minutes are therefore partial.",
        "documented", CW + "monitoring/cloudwatch_concepts.html"),
    Row("trimmed-count", "TC(a:b) counts and PR(a:b) is the per cent of the samples above a and up to b.",
        "documented", CW + "monitoring/Statistics-definitions.html"),
    Row("get-metric-limits", "At most 500 queries and 100,800 points per call; what is left has a NextToken and PartialData; ScanBy orders.",
        "documented", CW + "APIReference/API_GetMetricData.html"),
    Row("retention", "Points of under 5 minutes are gone after 15 days, of under an hour after 63.",
        "documented", CW + "monitoring/cloudwatch_concepts.html"),
    Row("alarms-evaluated", "Alarms look at their last complete periods once a minute, M out of N, missing data as they say; a state that was set holds until then.",
        "documented", CW + "monitoring/alarm-evaluation.html"),
    # Scheduler.
    Row("universal-target", "Any API that is no read may be a target, as arn:aws:scheduler:::aws-sdk:sagemaker:updateEndpointWeightsAndCapacities: service in lower case, action in camelCase, Input in the API's own spelling.",
        "documented", SCHEDULER + "UserGuide/managing-targets-universal.html"),
    Row("schedule-precision", "A schedule is invoked within 60 seconds after its time (knob schedule_lateness), or within its flexible window.",
        "documented", SCHEDULER + "UserGuide/schedule-types.html"),
    Row("schedule-retries", "A refused call is tried again with growing pauses, within the RetryPolicy, whatever the error.",
        "assumed", SCHEDULER + "APIReference/API_RetryPolicy.html"),
    Row("schedule-input-late", "An Input that the target does not take is noticed only when it is invoked.",
        "assumed", SCHEDULER + "UserGuide/managing-targets-universal.html"),
    Row("schedule-ends", "A one-time schedule stays after it ran, unless ActionAfterCompletion is DELETE.",
        "documented", SCHEDULER + "UserGuide/managing-schedule-delete.html"),
    Row("schedule-update-replaces", "UpdateSchedule replaces everything: what is left out goes back to its default.",
        "documented", SCHEDULER + "APIReference/API_UpdateSchedule.html"),
    Row("schedule-past", "A time that is past is accepted, and invoked at once.",
        "assumed", SCHEDULER + "UserGuide/schedule-types.html"),
    # Training.
    Row("ml-root", "/opt/ml in command and environment stands for the job's own folder, which TIDEGATE_ML_ROOT names.",
        "ours", TRAINING + "/blob/master/ENVIRONMENT_VARIABLES.md"),
    Row("training-artifact", "What the job leaves in /opt/ml/model is <S3OutputPath>/<job>/output/model.tar.gz, also after a stop.",
        "documented", DG + "your-algorithms-training-algo-output.html"),
    Row("artifact-named-early", "ModelArtifacts names the place from the beginning, as the model requires, whether or not anything is there.",
        "assumed", API + "API_DescribeTrainingJob.html"),
    Row("training-failure", "A command that fails makes the job Failed: AlgorithmError with /opt/ml/output/failure and the exit code.",
        "documented", DG + "your-algorithms-training-algo-output.html"),
    Row("training-stop", "StopTrainingJob sends SIGTERM, and SIGKILL 120 seconds later; of a job that has ended it is refused.",
        "documented", API + "API_StopTrainingJob.html"),
    Row("max-runtime", "MaxRuntimeInSeconds ends a job as Stopped, with the secondary status MaxRuntimeExceeded.",
        "documented", API + "API_StoppingCondition.html"),
    Row("spot", "Spot needs MaxWaitTimeInSeconds and is billed less (knob spot_share); an interrupted job starts again from its checkpoints.",
        "documented", DG + "model-managed-spot-training.html"),
    Row("training-logs", "What a job prints is in /aws/sagemaker/TrainingJobs, stream <job>/algo-1-<number>.",
        "documented", DG + "logging-cloudwatch.html"),
    # Credentials and the wire.
    Row("token-checked", "AssumeRoleWithWebIdentity checks the token's issuer, audience, end and claims against the role.",
        "documented", "https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html"),
    Row("session-ends", "Calls with credentials that have ended get ExpiredTokenException (S3: ExpiredToken).",
        "documented", "https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp.html"),
    Row("session-life-real", "Credentials live in real time, not by the stand-in's clock.",
        "ours", "https://docs.aws.amazon.com/STS/latest/APIReference/API_Credentials.html"),
    Row("signature-unchecked", "Signatures are read for the service and the key, not verified; no policy is enforced.",
        "ours", "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html"),
    Row("unknown-member-violation", "An unknown member of a request, which AWS may ignore, is refused and recorded as a violation.",
        "ours", "https://botocore.amazonaws.com/v1/documentation/api/latest/"),
    Row("throttling", "Throttling is ThrottlingException (400) or 503, for S3 SlowDown (503).",
        "documented", "https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html"),
    Row("lagging-reads", "DescribeEndpoint may answer as it was some changes ago (knob lag_reads).",
        "documented", API + "API_CreateEndpoint.html"),
)  # fmt: skip


def exercises(*names: str) -> Callable[[Test], Test]:
    """Say which rows a test exercises."""

    def mark(test: Test) -> Test:
        test.__dict__["rows"] = names
        return test

    return mark
