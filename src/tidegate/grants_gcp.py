"""The calls to Google Cloud and their permissions.

Of Vertex AI, Cloud Scheduler, Monitoring and Logging a permission holds for the whole project: they
know no narrower place. Buckets, tables and accounts do.
"""

from __future__ import annotations

from tidegate.grants import Cloud, Grant, Holder, Job, Pairs, Part, Runs

_VERTEX = "https://cloud.google.com/vertex-ai/docs/general/iam-permissions"
_STORAGE = "https://cloud.google.com/storage/docs/access-control/iam-json"
_GOOGLE = "https://cloud.google.com/iam/docs/roles-permissions/"
_AI = "aiplatform.projects.locations."
_CRON = "cloudscheduler.projects.locations.jobs."

_READS = "roles/storage.objectViewer"
_WRITES = "roles/storage.objectUser"  # to write over something is to delete it
_LISTS = "roles/storage.legacyBucketReader"  # names alone; a condition on a folder fits no list


def _rows(
    holder: Holder, part: Part, url: str, calls: dict[str, str], *, needs: tuple[str, ...] = ()
) -> list[Grant]:
    """Return a grant within the custom role for each ``call: permission``."""
    return [
        Grant(
            cloud=Cloud.GCP, holder=holder, part=part, call=call, action=action, url=url,
            needs=needs,
        )
        for call, action in calls.items()
    ]  # fmt: skip


def _folder(bucket: str, folder: str) -> Pairs:
    name = f"projects/_/buckets/{{{bucket}}}/objects/{folder}"
    return {
        "expr": {
            "title": "one folder",
            "expression": f'resource.name.startsWith("{name}")',
        }
    }


def _objects(  # noqa: PLR0913 (a row of a table)
    holder: Holder,
    part: Part,
    bucket: str,
    folder: str,
    *,
    write: bool = False,
    needs: tuple[str, ...] = (),
) -> list[Grant]:
    """Reading, or writing too, in a folder of a bucket (both are names of values)."""
    calls = {"storage.objects.get": "storage.objects.get"}
    if write:
        calls |= {
            "storage.objects.insert": "storage.objects.create",
            "storage.objects.delete": "storage.objects.delete",
        }
    return [
        Grant(
            cloud=Cloud.GCP, holder=holder, part=part, call=call, action=action, url=_STORAGE,
            role=_WRITES if write else _READS, resources=(f"gs://{{{bucket}}}",),
            condition=_folder(bucket, folder), needs=needs,
        )
        for call, action in calls.items()
    ]  # fmt: skip


def _list(holder: Holder, part: Part, bucket: str, *, needs: tuple[str, ...] = ()) -> list[Grant]:
    return [
        Grant(
            cloud=Cloud.GCP, holder=holder, part=part, call="storage.objects.list",
            action="storage.objects.list", url=_STORAGE, role=_LISTS,
            resources=(f"gs://{{{bucket}}}",), needs=needs,
        )
    ]  # fmt: skip


def _acts_as(holder: Holder, part: Part, calls: tuple[str, ...], account: str) -> list[Grant]:
    return [
        Grant(
            cloud=Cloud.GCP, holder=holder, part=part, call=call,
            action="iam.serviceAccounts.actAs", url=_GOOGLE + "iam",
            role="roles/iam.serviceAccountUser", needs=(account,),
            resources=(f"projects/{{project}}/serviceAccounts/{{{account}}}",),
        )
        for call in calls
    ]  # fmt: skip


_BUNDLES = "{registry_prefix}/bundles/"
_RECORDS = "{registry_prefix}/models/{model}/versions/"
_MODEL = "{registry_prefix}/models/{model}/"
_ALIASES = "{registry_prefix}/models/{model}/aliases.json"
_SERVED = "{prefix}/{endpoint_id}/"
_JOBS = "{train_prefix}/jobs/tidegate-{job}-"
_ROWS = "{train_prefix}/data/"

_DECIDE = [
    *_objects(Job.DECIDE, Part.REGISTRY, "registry_bucket", _BUNDLES, write=True),
    *_objects(Job.DECIDE, Part.REGISTRY, "registry_bucket", _RECORDS, write=True),
    *_objects(Job.DECIDE, Part.REGISTRY, "registry_bucket", _MODEL),
    *_list(Job.DECIDE, Part.REGISTRY, "registry_bucket"),
]

_OPERATE = [
    *_objects(Job.OPERATE, Part.REGISTRY, "registry_bucket", _BUNDLES),
    *_objects(Job.OPERATE, Part.REGISTRY, "registry_bucket", _RECORDS, write=True),
    *_objects(Job.OPERATE, Part.REGISTRY, "registry_bucket", _ALIASES, write=True),
    *_list(Job.OPERATE, Part.REGISTRY, "registry_bucket"),
    *_rows(Job.OPERATE, Part.TARGET, _VERTEX, {
        _AI + "endpoints.create": "aiplatform.endpoints.create",
        _AI + "endpoints.get": "aiplatform.endpoints.get",
        _AI + "endpoints.patch": "aiplatform.endpoints.update",
        _AI + "endpoints.delete": "aiplatform.endpoints.delete",
        _AI + "endpoints.deployModel": "aiplatform.endpoints.deploy",
        _AI + "endpoints.undeployModel": "aiplatform.endpoints.undeploy",
        _AI + "endpoints.predict": "aiplatform.endpoints.predict",
        # An operation is read by who may read what it is about.
        _AI + "endpoints.operations.get": "aiplatform.endpoints.get",
        _AI + "models.upload": "aiplatform.models.upload",
        _AI + "models.get": "aiplatform.models.get",
        _AI + "models.list": "aiplatform.models.list",
        _AI + "models.patch": "aiplatform.models.update",
        _AI + "models.delete": "aiplatform.models.delete",
        _AI + "models.operations.get": "aiplatform.models.get",
        _AI + "operations.get": "aiplatform.models.get",
        _AI + "endpoints.operations.list": "aiplatform.operations.list",
    }),
    *_rows(Job.OPERATE, Part.TARGET, _GOOGLE + "monitoring", {
        "monitoring.projects.timeSeries.list": "monitoring.timeSeries.list",
    }),
    *_rows(Job.OPERATE, Part.TARGET, _GOOGLE + "cloudscheduler", {
        _CRON + "create": "cloudscheduler.jobs.create",
        _CRON + "get": "cloudscheduler.jobs.get",
        _CRON + "patch": "cloudscheduler.jobs.update",
        _CRON + "delete": "cloudscheduler.jobs.delete",
    }),
    *_rows(Job.OPERATE, Part.TARGET, _GOOGLE + "bigquery", {
        "bigquery.jobs.query": "bigquery.jobs.create",
        "bigquery.jobs.getQueryResults": "bigquery.jobs.create",
    }, needs=("log_table",)),
    Grant(
        cloud=Cloud.GCP, holder=Job.OPERATE, part=Part.TARGET, call="bigquery.jobs.query",
        action="bigquery.tables.getData", url=_GOOGLE + "bigquery",
        role="roles/bigquery.dataViewer", resources=("bq://{log_table}",), needs=("log_table",),
    ),
    *_acts_as(Job.OPERATE, Part.TARGET, (_AI + "endpoints.deployModel",), "runner_account"),
    *_acts_as(Job.OPERATE, Part.TARGET, (_CRON + "create", _CRON + "patch"), "scheduler_account"),
    *_objects(Job.OPERATE, Part.TARGET, "bucket", _SERVED, write=True),
    *_list(Job.OPERATE, Part.TARGET, "bucket"),
    *_objects(Job.OPERATE, Part.TARGET, "labels_bucket", "{labels_prefix}/", needs=("labels_bucket",)),
    *_list(Job.OPERATE, Part.TARGET, "labels_bucket", needs=("labels_bucket",)),
]  # fmt: skip

_TRAIN = [
    *_rows(Job.TRAIN, Part.COMPUTE, _VERTEX, {
        _AI + "customJobs.create": "aiplatform.customJobs.create",
        _AI + "customJobs.list": "aiplatform.customJobs.list",
        _AI + "customJobs.cancel": "aiplatform.customJobs.cancel",
    }),
    *_rows(Job.TRAIN, Part.COMPUTE, _GOOGLE + "logging", {
        "logging.entries.list": "logging.logEntries.list",
    }),
    *_acts_as(Job.TRAIN, Part.COMPUTE, (_AI + "customJobs.create",), "train_account"),
    *_objects(Job.TRAIN, Part.COMPUTE, "train_bucket", _JOBS, write=True),
    *_objects(Job.TRAIN, Part.COMPUTE, "train_bucket", _ROWS, write=True),
    *_list(Job.TRAIN, Part.COMPUTE, "train_bucket"),
]  # fmt: skip

_RUNS = [
    *_objects(Runs.SERVING, Part.TARGET, "bucket", _SERVED, needs=("runner_account",)),
    *_objects(Runs.TRAINING, Part.COMPUTE, "train_bucket", _JOBS, write=True,
              needs=("train_account",)),
    *_objects(Runs.TRAINING, Part.COMPUTE, "train_bucket", _ROWS, needs=("train_account",)),
    *_rows(Runs.SWITCH, Part.TARGET, _VERTEX, {"patches the split": "aiplatform.endpoints.update"}),
]  # fmt: skip

ROWS = (*_DECIDE, *_OPERATE, *_TRAIN, *_RUNS)
