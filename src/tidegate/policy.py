"""Who may act in the cloud: trust policies for the jobs that hold a cloud role, as data.

GitHub signs a token for a job; AWS and Google Cloud let it in when its claims equal what stands
here. Only equality is used, on every claim at once: a missing claim, another case, a prefix or a
suffix is another value. What the caller does not know stays a placeholder in capitals, which no token
can equal: an unfinished policy lets nobody in.

Claims: https://docs.github.com/en/actions/reference/security/oidc
AWS keys: https://aws.amazon.com/about-aws/whats-new/2026/01/aws-sts-supports-validation-identity-provider-claims/
Google: https://cloud.google.com/iam/docs/workload-identity-federation-with-deployment-pipelines
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidegate.errors import ConfigError
from tidegate.grants import GRANTS, OPTIONAL, Cloud, Grant, Job
from tidegate.pin import FULL, REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ISSUER = "token.actions.githubusercontent.com"
WORKFLOWS = {
    Job.DECIDE: ("judge-model.yml",),
    Job.OPERATE: ("watch-model.yml", "command.yml"),
    Job.TRAIN: ("judge-model.yml",),
}  # the file that the job itself stands in: what `job_workflow_ref` names
WHAT = {
    "account": "the AWS account's 12 digits",
    "region": "the AWS or Google Cloud region of the endpoint",
    "endpoint": "the endpoint's name",
    "bucket": "the bucket that keeps the model bytes",
    "prefix": "the folder in that bucket",
    "execution_role": "the role that SageMaker runs the model with",
    "scheduler_role": "the role of the dead-man's switch",
    "image_repository": "the ECR repository of a serving image of your own",
    "key": "the id of the KMS key of the bucket, if it has one",
    "project": "the Google Cloud project's id",
    "project_number": "the Google Cloud project's number",
    "pool": "the workload identity pool",
    "runner_account": "the service account that the model runs with",
    "repository_id": "GitHub's number of the repository",
    "owner_id": "GitHub's number of the owner",
}
_DEFAULTS = {"partition": "aws", "pool": "tidegate", "prefix": "tidegate"}
_VALUE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/@+=-]*[A-Za-z0-9])?")
_SHAPES = {
    "account": re.compile(r"\d{12}"),
    "project_number": re.compile(r"\d+"),
    "repository_id": re.compile(r"\d+"),
    "owner_id": re.compile(r"\d+"),
}


class Values(dict[str, str]):
    """What is known of a cloud account; what is not reads as its name in capitals.

    >>> Values(region="eu-west-1")["region"], Values()["account"]
    ('eu-west-1', 'ACCOUNT')
    """

    def __missing__(self, key: str) -> str:
        return _DEFAULTS.get(key) or key.upper()


def values(known: Mapping[str, str]) -> Values:
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
    return Values(known)


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """The jobs that are to be let in: one repository, one environment, our workflows at some commits."""

    slug: str  # owner/name
    environment: str
    commits: tuple[str, ...]  # of ours, that the repository's workflow names
    prefix: str | None = None  # "repo:o@1/n@2", where GitHub said which form it signs

    def __post_init__(self) -> None:
        if not self.commits or not all(map(FULL.fullmatch, self.commits)):
            raise ConfigError(
                "the workflow names no commit of ours that a policy could trust",
                remedy="Pin it by a full commit, as `tidegate init` writes it.",
            )

    def subjects(self, known: Values) -> list[str]:
        """Return the token's subject in the forms that GitHub signs.

        Repositories made (or renamed) after 15 July 2026 carry numbers beside the names.
        """
        owner, name = self.slug.split("/")
        numbered = f"repo:{owner}@{known['owner_id']}/{name}@{known['repository_id']}"
        prefixes = [self.prefix] if self.prefix else [f"repo:{self.slug}", numbered]
        where = self.environment.replace(":", "%3A")
        return [f"{prefix}:environment:{where}" for prefix in prefixes]

    def workflows(self, job: Job) -> list[str]:
        """Return our workflow files whose jobs are let in, at each commit."""
        return [
            f"{REPOSITORY}/.github/workflows/{file}@{commit}"
            for commit in self.commits
            for file in WORKFLOWS[job]
        ]


# --- AWS ------------------------------------------------------------------------------------


def aws_trust(caller: Caller, job: Job, known: Values) -> dict[str, Any]:
    """Return the trust policy of the job's IAM role."""
    equal: dict[str, str | list[str]] = {
        f"{ISSUER}:aud": "sts.amazonaws.com",
        f"{ISSUER}:sub": caller.subjects(known),
        f"{ISSUER}:repository_id": known["repository_id"],
        f"{ISSUER}:job_workflow_ref": caller.workflows(job),
    }
    provider = f"arn:{known['partition']}:iam::{known['account']}:oidc-provider/{ISSUER}"
    return _document(
        [
            {
                "Sid": f"Tidegate{job.title()}",
                "Effect": "Allow",
                "Principal": {"Federated": provider},
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": {"StringEquals": equal},
            }
        ]
    )


def aws_permissions(job: Job, known: Values) -> dict[str, Any]:
    """Return the permission policy of the job's IAM role: one statement per kind of resource."""
    groups: dict[tuple[tuple[str, ...], str], list[Grant]] = {}
    for grant in grants(Cloud.AWS, job, known):
        groups.setdefault((grant.resources, json.dumps(grant.condition)), []).append(grant)
    return _document([_statement(group, known) for group in groups.values()])


def _statement(group: list[Grant], known: Values) -> dict[str, Any]:
    first = group[0]
    statement: dict[str, Any] = {
        "Sid": first.sid,
        "Effect": "Allow",
        "Action": sorted({grant.action for grant in group}),
        "Resource": [resource.format_map(known) for resource in first.resources],
    }
    if first.condition:
        statement["Condition"] = {
            operator: {key: value.format_map(known) for key, value in pairs.items()}
            for operator, pairs in first.condition.items()
        }
    return statement


def _document(statements: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": statements}


# --- Google Cloud ---------------------------------------------------------------------------


def audience(job: Job, known: Values) -> str:
    """Return the audience that the provider accepts: its own address."""
    return f"https://iam.googleapis.com/{_pool(known)}/providers/tidegate-{job}"


def gcp_provider(caller: Caller, job: Job, known: Values) -> dict[str, Any]:
    """Return the workload identity pool provider of the job.

    Its condition is CEL, in which a claim that is missing is an error, and an error lets nobody in.
    The subject is made of what cannot change: a pool allows 127 bytes, a repository's name can be longer.
    """
    accepted = audience(job, known)
    terms = [
        f"assertion.aud == {_cel(accepted)}",
        f"assertion.repository_id == {_cel(known['repository_id'])}",
        f"assertion.sub in {_cel(caller.subjects(known))}",
        f"assertion.job_workflow_ref in {_cel(caller.workflows(job))}",
    ]
    return {
        "name": f"{_pool(known)}/providers/tidegate-{job}",
        "attributeMapping": {"google.subject": f'"{job}:" + assertion.repository_id'},
        "attributeCondition": " && ".join(terms),
        "oidc": {"issuerUri": f"https://{ISSUER}", "allowedAudiences": [accepted]},
    }


def gcp_member(job: Job, known: Values) -> str:
    """Return the principal that the provider's tokens become: one, not a set."""
    return f"principal://iam.googleapis.com/{_pool(known)}/subject/{job}:{known['repository_id']}"


def gcp_account(job: Job, known: Values) -> str:
    """Return the service account that the job acts as."""
    return f"tidegate-{job}@{known['project']}.iam.gserviceaccount.com"


def gcp_role(job: Job, known: Values) -> dict[str, Any]:
    """Return the project's custom role of the job."""
    held = {grant.action for grant in grants(Cloud.GCP, job, known) if not grant.resources}
    return {
        "title": f"Tidegate {job}",
        "stage": "GA",
        "includedPermissions": sorted(held),
    }


def gcp_bindings(job: Job, known: Values) -> list[dict[str, Any]]:
    """Return what is bound on single resources: the bucket's folder, the account the model runs with."""
    member = f"serviceAccount:{gcp_account(job, known)}"
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for grant in grants(Cloud.GCP, job, known):
        for resource in grant.resources:
            binding: dict[str, Any] = {
                "resource": resource.format_map(known),
                "role": grant.role,
                "members": [member],
            }
            if grant.condition:
                binding["condition"] = {
                    key: value.format_map(known) for key, value in grant.condition["expr"].items()
                }
            found[(binding["resource"], grant.role)] = binding
    return list(found.values())


def _pool(known: Values) -> str:
    return (
        f"projects/{known['project_number']}/locations/global/workloadIdentityPools/{known['pool']}"
    )


def _cel(value: str | list[str]) -> str:
    """Return a CEL literal: JSON's strings and lists are CEL's."""
    return json.dumps(value)


# --- both -----------------------------------------------------------------------------------


def grants(cloud: Cloud, job: Job, known: Values) -> list[Grant]:
    """Return what the job must be allowed to call."""
    absent = tuple(f"{{{key}}}" for key in OPTIONAL if key not in known)
    return [
        grant
        for grant in GRANTS
        if grant.cloud is cloud
        and grant.job is job
        and not any(name in resource for name in absent for resource in grant.resources)
    ]


def unknown(documents: Iterable[object]) -> list[str]:
    """Return the names of placeholders that are left in some documents."""
    text = json.dumps(list(documents))
    return [key for key in WHAT if re.search(rf"(?<![A-Z_]){key.upper()}(?![A-Z_])", text)]
