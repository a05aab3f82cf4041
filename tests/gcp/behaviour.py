"""What the discovery documents cannot say: one row per rule, each with where it is written.

A rule is named where it takes effect (:func:`apply`); ``tests`` hold that every row is exercised.
"Ours" is a limit of the stand-in itself, with what the cloud does instead.
"""

from __future__ import annotations

from dataclasses import dataclass

_V1 = "https://cloud.google.com/vertex-ai/docs/reference/rest/v1/"
_ENDPOINTS = _V1 + "projects.locations.endpoints"
_MODELS = _V1 + "projects.locations.models"
_CONTAINER = "https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements"
_GCS = "https://cloud.google.com/storage/docs/json_api/v1/objects"
_MONITORING = "https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.timeSeries/list"
_SCHEDULER = "https://cloud.google.com/scheduler/docs/reference/rest/v1/projects.locations.jobs"


@dataclass(frozen=True)
class Rule:
    """What holds, and where that can be read."""

    says: str
    source: str


RULES: dict[str, Rule] = {
    # --- every service --------------------------------------------------------------------------
    "token": Rule(
        "a request without a valid, unexpired token is refused with 401 UNAUTHENTICATED",
        "https://cloud.google.com/docs/authentication/rest",
    ),
    "location-host": Rule(
        "a regional resource is served only at the host of its region",
        "https://cloud.google.com/vertex-ai/docs/reference/rest#rest_endpoints",
    ),
    "project-number": Rule(
        "Vertex AI takes a project's id or number and answers names with the number",
        "https://cloud.google.com/vertex-ai/docs/predictions/deploy-model-api",
    ),
    "json-content": Rule(
        "a body is sent as application/json; Cloud Scheduler sends application/octet-stream"
        " unless the job has a header",
        "https://cloud.google.com/scheduler/docs/reference/rest/v1/projects.locations.jobs"
        "#HttpTarget.FIELDS.headers",
    ),
    "throttled": Rule(
        "requests may be refused with 429 RESOURCE_EXHAUSTED or 503 UNAVAILABLE at any time",
        "https://cloud.google.com/vertex-ai/docs/quotas",
    ),
    "lagging-reads": Rule(
        "a read just after a write may still show the state before it",
        "ours: the documents promise no read-after-write consistency; off unless asked for",
    ),
    "update-mask": Rule(
        "a partial update changes the fields of its mask and nothing else; a mask is required",
        "https://google.aip.dev/134",
    ),
    # --- Vertex AI: resources -------------------------------------------------------------------
    "operation": Rule(
        "a long-running operation is polled until it is done, then has an error or a response",
        "https://cloud.google.com/vertex-ai/docs/general/long-running-operations",
    ),
    "operation-cancelled": Rule(
        "a cancelled operation ends with an error of code 1, and nothing was made",
        _V1 + "projects.locations.operations/cancel",
    ),
    "endpoint-id": Rule(
        "an endpoint's id: a letter, then up to 62 of [a-z0-9-], a letter or digit last; or up"
        " to 9 digits with no leading zero",
        _ENDPOINTS + "/create",
    ),
    "endpoint-exists": Rule("a second endpoint of one id is ALREADY_EXISTS", _ENDPOINTS + "/create"),
    "labels": Rule(
        "at most 64 labels; keys and values of at most 64 characters: lower-case letters,"
        " digits, underscores, dashes; a key starts with a letter",
        "https://cloud.google.com/resource-manager/docs/labels-overview#requirements",
    ),
    "etag-conflict": Rule(
        "an update with another etag than the resource's is ABORTED (409)",
        "https://google.aip.dev/154",
    ),
    "blind-overwrite": Rule(
        "an update without an etag overwrites whatever is there",
        _ENDPOINTS + "#Endpoint.FIELDS.etag",
    ),
    "endpoint-delete-refused": Rule(
        "an endpoint with deployed models cannot be deleted (FAILED_PRECONDITION)",
        "https://cloud.google.com/vertex-ai/docs/predictions/undeploy-model",
    ),
    "patch-answers-endpoint": Rule(
        "endpoints.patch answers with the endpoint, not with an operation",
        _ENDPOINTS + "/patch",
    ),
    "deployed-models-output-only": Rule(
        "deployedModels in a create or a patch is output only and is ignored",
        _ENDPOINTS + "#Endpoint.FIELDS.deployed_models",
    ),
    "model-id": Rule(
        "a model's id: up to 63 of [a-z0-9_-], the first no digit and no hyphen",
        _MODELS + "/upload",
    ),
    "model-exists": Rule("a second model of one id is ALREADY_EXISTS", _MODELS + "/upload"),
    "model-versions": Rule(
        "with parentModel an upload adds version 2, 3, ...; the first is the default",
        "https://cloud.google.com/vertex-ai/docs/model-registry/versioning",
    ),
    "model-delete-refused": Rule(
        "a model that is deployed anywhere cannot be deleted (FAILED_PRECONDITION)",
        _MODELS + "/delete",
    ),
    "artifacts-copied": Rule(
        "uploading copies the artifacts to a bucket of Google's, which AIP_STORAGE_URI names;"
        " what is changed at artifactUri later is not served",
        _CONTAINER + "#artifacts",
    ),
    "artifacts-missing": Rule(
        "an artifactUri under which there is nothing fails the upload",
        _CONTAINER + "#artifacts",
    ),
    # --- Vertex AI: deployed models and their traffic -------------------------------------------
    "deployed-id": Rule("a deployed model's id is 1-10 digits", _ENDPOINTS + "#DeployedModel.FIELDS.id"),
    "deployed-id-taken": Rule(
        "a second deployed model of one id is refused with ALREADY_EXISTS",
        _ENDPOINTS + "#DeployedModel.FIELDS.id",
    ),
    "split-sum": Rule(
        "a traffic split is empty, or whole per cents that sum to 100",
        _ENDPOINTS + "#Endpoint.FIELDS.traffic_split",
    ),
    "split-unknown": Rule(
        "a traffic split names deployed models only",
        "https://github.com/GoogleCloudPlatform/java-docs-samples/pull/8475",
    ),
    "split-zero-key": Rule(
        'in deployModel the key "0" stands for the model being deployed; elsewhere it is unknown',
        _ENDPOINTS + "/deployModel",
    ),
    "split-overwrites": Rule(
        "a non-empty split in deployModel overwrites the whole; an empty one leaves it alone",
        _ENDPOINTS + "/deployModel",
    ),
    "split-absent": Rule(
        "a deployed model that the split does not name gets no traffic",
        _ENDPOINTS + "#Endpoint.FIELDS.traffic_split",
    ),
    "undeploy-with-traffic": Rule(
        "a model that has traffic is not undeployed, unless the call takes it away",
        _ENDPOINTS + "/undeployModel",
    ),
    "undeploy-remainder": Rule(
        "undeploying must leave a split that sums to 100",
        "https://github.com/googleapis/python-aiplatform/pull/898",
    ),
    "undeploy-last": Rule(
        "undeploying the last model leaves an empty split",
        _ENDPOINTS + "/undeployModel",
    ),
    "deploy-failed": Rule(
        "a container that does not come up ends in an operation's error and no deployed model",
        _CONTAINER + "#health",
    ),
    "mutate-traffic": Rule(
        "mutateDeployedModel changes replica counts, autoscaling and logging only",
        _ENDPOINTS + "/mutateDeployedModel",
    ),
    # --- Vertex AI: predictions -----------------------------------------------------------------
    "random-split": Rule(
        "each request goes to a deployed model at random, by the split",
        "https://cloud.google.com/vertex-ai/docs/general/deployment",
    ),
    "no-split": Rule(
        "a request to an endpoint without a split is a FAILED_PRECONDITION",
        "https://github.com/GoogleCloudPlatform/explainable_ai_sdk/issues/3",
    ),
    "container-environment": Rule(
        "the container is told its port, routes, artifacts and ids by AIP_ variables",
        _CONTAINER + "#variables",
    ),
    "container-default-routes": Rule(
        "without routes, /v1/endpoints/E/deployedModels/D and the same with :predict",
        _CONTAINER + "#health",
    ),
    "container-error": Rule(
        "what the container answers other than 200 is the client's answer, with its text",
        _CONTAINER + "#prediction",
    ),
    "predictions-needed": Rule(
        'the container\'s answer must be a JSON object with an array "predictions"',
        _CONTAINER + "#response",
    ),
    "request-too-long": Rule(
        "a request to a shared public endpoint is at most 1.5 MB",
        "https://cloud.google.com/vertex-ai/docs/quotas#request_size_limits",
    ),
    "raw-headers": Rule(
        "rawPredict returns the container's bytes and names endpoint and model in headers",
        _ENDPOINTS + "/rawPredict",
    ),
    "dedicated-endpoint": Rule(
        "an endpoint with its own name in the DNS serves only there",
        "https://cloud.google.com/vertex-ai/docs/predictions/choose-endpoint-type",
    ),
    "no-install": Rule(
        "ours: the container's image is this Python, with no package index: PIP_NO_INDEX=1 and"
        " TIDEGATE_SKIP_INSTALL=1 are set; in the cloud the image brings, or installs, its own",
        "ours",
    ),
    "request-logging": Rule(
        "a sampled request is a row in BigQuery, some time later",
        "https://cloud.google.com/vertex-ai/docs/predictions/online-prediction-logging",
    ),
    "payload-form": Rule(
        "ours: the payload columns are REPEATED texts; whether predict fills one with the body or"
        " one per instance is documented nowhere, so a reader must take both (log_items)",
        "ours: https://cloud.google.com/vertex-ai/docs/predictions/online-prediction-logging",
    ),
    # --- Vertex AI: custom jobs -----------------------------------------------------------------
    "job-environment": Rule(
        "the job's container is told AIP_MODEL_DIR, AIP_CHECKPOINT_DIR, AIP_TENSORBOARD_LOG_DIR",
        _V1 + "CustomJobSpec#FIELDS.base_output_directory",
    ),
    "job-failed": Rule(
        "a container that ends with another status than 0 fails the job",
        "https://cloud.google.com/vertex-ai/docs/training/create-custom-job",
    ),
    "job-cancelled": Rule(
        "cancelling is asynchronous and ends in JOB_STATE_CANCELLED with an error of code 1",
        _V1 + "projects.locations.customJobs/cancel",
    ),
    "job-spot": Rule(
        "a job on spot machines that is preempted is started again, up to six times",
        "https://cloud.google.com/vertex-ai/docs/training/use-spot-vms",
    ),
    "job-timeout": Rule(
        "a job is ended when scheduling.timeout has passed",
        _V1 + "CustomJobSpec#Scheduling",
    ),
    "job-logs": Rule(
        "what the container writes stands in Cloud Logging under ml_job and the job's id",
        "https://cloud.google.com/vertex-ai/docs/training/monitor-debug-interactive-shell",
    ),
    # --- Cloud Storage --------------------------------------------------------------------------
    "generation-match": Rule(
        "ifGenerationMatch (0: not there) that does not hold is 412 conditionNotMet",
        "https://cloud.google.com/storage/docs/request-preconditions",
    ),
    "hash-mismatch": Rule(
        "an upload whose md5Hash or crc32c is not that of its bytes is 400",
        _GCS + "/insert",
    ),
    "resumable": Rule(
        "a resumable upload goes in chunks of 256 KiB; 308 with Range until it is whole",
        "https://cloud.google.com/storage/docs/performing-resumable-uploads",
    ),
    "new-generation": Rule(
        "every write of an object makes a new generation and answers its hashes",
        "https://cloud.google.com/storage/docs/metadata#generation-number",
    ),
    "name-order": Rule("objects are listed by name, with prefix and delimiter", _GCS + "/list"),
    # --- Cloud Monitoring -----------------------------------------------------------------------
    "points-newest-first": Rule("points are in reverse order of time", _MONITORING),
    "points-paged": Rule(
        "a page holds so many points; a series can go on in the next",
        _MONITORING + "#body.QUERY_PARAMETERS.page_size",
    ),
    "zero-absent": Rule(
        "no requests, no point: absence is not zero",
        "https://cloud.google.com/monitoring/api/metrics_gcp_a_b#gcp-aiplatform",
    ),
    "metric-delay": Rule(
        "a minute is visible only some time after it has ended",
        "https://cloud.google.com/monitoring/api/v3/latency-n-retention",
    ),
    "align-at-end": Rule(
        "alignment periods are counted back from the end of the interval",
        "https://cloud.google.com/monitoring/api/v3/aggregation",
    ),
    "latency-distribution": Rule(
        "prediction_latencies is a distribution in milliseconds by deployed_model_id and"
        " latency_type; trailing empty buckets may be left out",
        "https://cloud.google.com/monitoring/api/ref_v3/rest/v3/TypedValue#Distribution",
    ),
    # --- Cloud Scheduler ------------------------------------------------------------------------
    "cron": Rule("the schedule is unix-cron in the job's time zone", _SCHEDULER),
    "fires": Rule(
        "at its time the request is sent with a token of the service account, and the attempt"
        " is recorded",
        _SCHEDULER,
    ),
    "retries": Rule("a failed attempt is repeated by retryConfig", _SCHEDULER + "#RetryConfig"),
    "paused": Rule("a paused job does not run until it is resumed", _SCHEDULER + "/pause"),
    "job-exists": Rule("a second job of one name is ALREADY_EXISTS", _SCHEDULER + "/create"),
    # --- identity -------------------------------------------------------------------------------
    "audience": Rule(
        "the token exchange is for one provider, named in full",
        "https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token",
    ),
    "attribute-condition": Rule(
        "the runner's token must carry the claims that the provider wants",
        "https://cloud.google.com/iam/docs/workload-identity-federation#conditions",
    ),
    "signature": Rule(
        "ours: the runner's token is read, its signature is not verified; Google does",
        "ours",
    ),
    "impersonation": Rule(
        "a token of a service account is given only to who may impersonate it, for at most an hour",
        "https://cloud.google.com/iam/docs/reference/credentials/rest/v1/"
        "projects.serviceAccounts/generateAccessToken",
    ),
    # --- BigQuery and Cloud Logging -------------------------------------------------------------
    "query-parameters": Rule(
        "a query takes named parameters with their types; rows are f/v pairs of text",
        "https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/query",
    ),
    "log-filter": Rule(
        "entries are found by a filter over resource, timestamp and severity",
        "https://cloud.google.com/logging/docs/reference/v2/rest/v2/entries/list",
    ),
}  # fmt: skip

applied: set[str] = set()


def apply(rule: str) -> None:
    """Say that a rule took effect."""
    assert rule in RULES, rule
    applied.add(rule)
