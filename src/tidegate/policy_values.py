"""What the cloud policies are filled in with. What nobody said stays a word in capitals, which lets nobody in."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from tidegate.errors import ConfigError
from tidegate.grants import Part

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

WHAT = {
    "account": "the AWS account's 12 digits",
    "region": "the AWS or Google Cloud region",
    "endpoint": "the endpoint's name",
    "model": "the model's name",
    "bucket": "the bucket of model archives and captures",
    "prefix": "the folder in that bucket",
    "registry_bucket": "the registry's bucket",
    "registry_prefix": "the folder in that bucket",
    "train_bucket": "the bucket of training jobs",
    "train_prefix": "the folder in that bucket",
    "labels_bucket": "the bucket in which labels arrive",
    "labels_prefix": "the folder in that bucket",
    "execution_role": "the role that SageMaker runs the model with",
    "scheduler_role": "the role of the dead-man's switch",
    "train_role": "the role that SageMaker trains with",
    "image_account": "the AWS account of a serving image of your own",
    "image_repository": "its ECR repository",
    "train_image_account": "the AWS account of the training image",
    "train_image": "its ECR repository",
    "key": "the id of the KMS key of the buckets and volumes, if they have one",
    "alarms": "the CloudWatch alarms that roll an update back, separated by commas",
    "old_config": "the configuration of an endpoint that is handed over",
    "old_model": "its model",
    "project": "the Google Cloud project's id",
    "project_number": "the Google Cloud project's number",
    "pool": "the workload identity pool",
    "runner_account": "the service account that the model runs with",
    "scheduler_account": "the service account of the dead-man's switch",
    "train_account": "the service account that training runs with",
    "log_table": "the BigQuery table of requests and answers: project.dataset.table",
    "repository_id": "GitHub's number of the repository",
    "owner_id": "GitHub's number of the owner",
}
_DEFAULTS = {"partition": "aws", "pool": "tidegate", "prefix": "tidegate"}
# What is not said of these is as it is with those.
_LIKE = {
    "registry_bucket": "bucket", "registry_prefix": "prefix",
    "train_bucket": "bucket", "train_prefix": "prefix",
}  # fmt: skip
_JOB = 24  # characters of the model's name in a training job's
_VALUE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/@+=-]*[A-Za-z0-9])?")
_SHAPES = {
    "account": re.compile(r"\d{12}"),
    "image_account": re.compile(r"\d{12}"),
    "train_image_account": re.compile(r"\d{12}"),
    "project_number": re.compile(r"\d+"),
    "repository_id": re.compile(r"\d+"),
    "owner_id": re.compile(r"\d+"),
    "alarms": re.compile(r"[A-Za-z0-9][A-Za-z0-9._/@+=-]*(?:,[A-Za-z0-9][A-Za-z0-9._/@+=-]*)*"),
    **dict.fromkeys(
        ("prefix", "registry_prefix", "train_prefix", "labels_prefix"),
        re.compile(rf"(?:{_VALUE.pattern})?"),
    ),
}


class Values(dict[str, str]):
    """What is known of a cloud account; what is not reads as its name in capitals.

    >>> Values(region="eu-west-1")["region"], Values()["account"]
    ('eu-west-1', 'ACCOUNT')

    Attributes:
        parts: what of ``mlops.yaml`` asks for a cloud.
    """

    parts: frozenset[Part] = frozenset(Part)

    def __missing__(self, key: str) -> str:
        if key == "stem":
            return _stem(self["endpoint"])
        if key == "endpoint_id":
            return _endpoint_id(self["endpoint"])
        if key == "job":
            return self["model"][:_JOB].rstrip("-")
        if key in _LIKE and _LIKE[key] in self:
            return self[_LIKE[key]]
        return _DEFAULTS.get(key) or _DEFAULTS.get(_LIKE.get(key, "")) or key.upper()


def values(known: Mapping[str, str], parts: Iterable[Part] = Part) -> Values:
    """Check what a person or a file said.

    Raises:
        ConfigError: an unknown name, or a value with a letter that would widen a policy.
    """
    for key, value in known.items():
        if key not in WHAT and key not in _DEFAULTS:
            raise ConfigError(f"--set {key}: unknown", remedy=f"Known: {', '.join(WHAT)}.")
        if not _SHAPES.get(key, _VALUE).fullmatch(value):
            raise ConfigError(
                f"--set {key}={value}: not a plain value",
                remedy=f"Give {WHAT.get(key, key)}: letters, digits and . _ / @ + = - alone.",
            )
    found = Values(known)
    found.parts = frozenset(parts)
    return found


def filled(template: str, known: Values) -> list[str]:
    """Return a template with its values: one text, or one for each of several names.

    >>> filled("s3:::{bucket}/{prefix}/*", Values(bucket="b", prefix=""))
    ['s3:::b/*']
    >>> filled("alarm:{alarms}", Values(alarms="a,b"))
    ['alarm:a', 'alarm:b']
    """
    for name in ("prefix", "registry_prefix", "train_prefix", "labels_prefix"):
        if known[name] == "":
            template = template.replace(f"{{{name}}}/", "")
    if "{alarms}" in template:
        names = known["alarms"].split(",")
        return [template.replace("{alarms}", name).format_map(known) for name in names]
    return [template.format_map(known)]


def unknown(documents: Iterable[object]) -> list[str]:
    """Return the names of placeholders that are left in some documents."""
    text = json.dumps(list(documents))
    return [key for key in WHAT if re.search(rf"(?<![A-Z_]){key.upper()}(?![A-Z_])", text)]


def _stem(endpoint: str) -> str:
    """Return what SageMaker's names of ours begin with."""
    from tidegate.adapters.target.sagemaker_names import Names

    return endpoint if endpoint == "ENDPOINT" else Names(endpoint).stem


def _endpoint_id(endpoint: str) -> str:
    """Return what Vertex AI calls the endpoint."""
    from tidegate.adapters.target.vertex_names import endpoint_id

    return endpoint if endpoint == "ENDPOINT" else endpoint_id(endpoint)
