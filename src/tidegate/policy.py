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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidegate.errors import ConfigError
from tidegate.grants import Cloud, Grant, Holder, Job, Part, Runs
from tidegate.pin import FULL, REPOSITORY
from tidegate.policy_values import filled

if TYPE_CHECKING:
    from tidegate.policy_values import Values

ISSUER = "token.actions.githubusercontent.com"
WORKFLOWS = {
    Job.DECIDE: ("judge-model.yml",),
    Job.OPERATE: ("watch-model.yml", "command.yml"),
    Job.TRAIN: ("judge-model.yml",),
}  # the file that the job itself stands in: what `job_workflow_ref` names
PARTS = {
    Job.DECIDE: frozenset({Part.REGISTRY}),
    Job.OPERATE: frozenset({Part.REGISTRY, Part.TARGET}),
    Job.TRAIN: frozenset({Part.COMPUTE}),
    Runs.SERVING: frozenset({Part.TARGET}),
    Runs.TRAINING: frozenset({Part.COMPUTE}),
    Runs.SWITCH: frozenset({Part.TARGET}),
}  # what gives each something to do
_SERVICES = {
    Runs.SERVING: "sagemaker.amazonaws.com",
    Runs.TRAINING: "sagemaker.amazonaws.com",
    Runs.SWITCH: "scheduler.amazonaws.com",
}
_AWS_NAMES = {
    Runs.SERVING: "execution_role",
    Runs.TRAINING: "train_role",
    Runs.SWITCH: "scheduler_role",
}
_GCP_NAMES = {
    Runs.SERVING: "runner_account",
    Runs.TRAINING: "train_account",
    Runs.SWITCH: "scheduler_account",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """The jobs that are to be let in: one repository, one environment, our workflows at some commits."""

    slug: str  # owner/name
    environment: str  # of the jobs that decide and operate
    commits: tuple[str, ...]  # of ours, that the repository's workflow names
    training: str = "training"  # the environment of the job that trains
    prefix: str | None = None  # "repo:o@1/n@2", where GitHub said which form it signs

    def __post_init__(self) -> None:
        if not self.commits or not all(map(FULL.fullmatch, self.commits)):
            raise ConfigError(
                "the workflow names no commit of ours that a policy could trust",
                remedy="Pin it by a full commit, as `tidegate init` writes it.",
            )

    def subjects(self, job: Job, known: Values) -> list[str]:
        """Return the token's subject in the forms that GitHub signs.

        Repositories made (or renamed) after 15 July 2026 carry numbers beside the names.
        """
        owner, name = self.slug.split("/")
        numbered = f"repo:{owner}@{known['owner_id']}/{name}@{known['repository_id']}"
        prefixes = [self.prefix] if self.prefix else [f"repo:{self.slug}", numbered]
        where = self.training if job is Job.TRAIN else self.environment
        where = where.replace(":", "%3A")
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
        f"{ISSUER}:sub": caller.subjects(job, known),
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


def aws_service_trust(runs: Runs, known: Values) -> dict[str, Any]:
    """Return the trust policy of a role that AWS runs something with: for this account alone.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
    """
    return _document(
        [
            {
                "Sid": f"Tidegate{runs.title()}",
                "Effect": "Allow",
                "Principal": {"Service": _SERVICES[runs]},
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"aws:SourceAccount": known["account"]}},
            }
        ]
    )


def aws_role(holder: Holder, known: Values) -> str:
    """Return the role's name."""
    if isinstance(holder, Job):
        return f"tidegate-{holder}"
    return known[_AWS_NAMES[holder]].rpartition("/")[2]


def aws_permissions(holder: Holder, known: Values) -> dict[str, Any]:
    """Return the permission policy of an IAM role: one statement per kind of resource."""
    groups: dict[tuple[str, tuple[str, ...], str], list[Grant]] = {}
    for grant in grants(Cloud.AWS, holder, known):
        kind = (grant.sid, grant.resources, json.dumps(grant.condition))
        groups.setdefault(kind, []).append(grant)
    return _document([_statement(group, known) for group in groups.values()])


def _statement(group: list[Grant], known: Values) -> dict[str, Any]:
    first = group[0]
    statement: dict[str, Any] = {
        "Sid": first.sid,
        "Effect": "Allow",
        "Action": sorted({grant.action for grant in group}),
        "Resource": [text for resource in first.resources for text in filled(resource, known)],
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
        f"assertion.sub in {_cel(caller.subjects(job, known))}",
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


def gcp_account(holder: Holder, known: Values) -> str:
    """Return the service account that a job acts as, or that something runs with."""
    if isinstance(holder, Job):
        return f"tidegate-{holder}@{known['project']}.iam.gserviceaccount.com"
    return known[_GCP_NAMES[holder]]


def gcp_role(holder: Holder, known: Values) -> dict[str, Any]:
    """Return the project's custom role of a job, or of what runs."""
    held = {grant.action for grant in grants(Cloud.GCP, holder, known) if not grant.resources}
    return {
        "title": f"Tidegate {holder}",
        "stage": "GA",
        "includedPermissions": sorted(held),
    }


def gcp_bindings(holder: Holder, known: Values) -> list[dict[str, Any]]:
    """Return what is bound on single resources: a bucket's folder, a table, an account to act as."""
    member = f"serviceAccount:{gcp_account(holder, known)}"
    found: dict[str, dict[str, Any]] = {}
    for grant in grants(Cloud.GCP, holder, known):
        for resource in grant.resources:
            binding: dict[str, Any] = {
                "resource": resource.format_map(known),
                "role": grant.role,
                "members": [member],
            }
            if grant.condition:
                binding["condition"] = {
                    key: filled(value, known)[0] for key, value in grant.condition["expr"].items()
                }
            found[json.dumps(binding)] = binding
    return list(found.values())


def _pool(known: Values) -> str:
    return (
        f"projects/{known['project_number']}/locations/global/workloadIdentityPools/{known['pool']}"
    )


def _cel(value: str | list[str]) -> str:
    """Return a CEL literal: JSON's strings and lists are CEL's."""
    return json.dumps(value)


# --- both -----------------------------------------------------------------------------------


def holders(cloud: Cloud, known: Values) -> list[Holder]:
    """Return the jobs, and what the cloud runs, for which there is something to do."""
    everybody: list[Holder] = [*Job, *Runs]
    return [
        holder
        for holder in everybody
        if PARTS[holder] & known.parts and grants(cloud, holder, known)
    ]


def grants(cloud: Cloud, holder: Holder, known: Values) -> list[Grant]:
    """Return what somebody must be allowed to call."""
    from tidegate import grants_aws, grants_gcp

    rows = grants_aws.ROWS if cloud is Cloud.AWS else grants_gcp.ROWS
    return [
        grant
        for grant in rows
        if grant.holder is holder
        and grant.part in known.parts
        and all(key in known for key in grant.needs)
    ]
