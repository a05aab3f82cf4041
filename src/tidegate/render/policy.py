"""Trust and permission policies as what a person pastes into a terminal."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from tidegate.grants import Cloud, Job
from tidegate.policy import (
    ISSUER,
    WHAT,
    Caller,
    Values,
    audience,
    aws_permissions,
    aws_trust,
    gcp_account,
    gcp_bindings,
    gcp_member,
    gcp_provider,
    gcp_role,
    grants,
    unknown,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_PURPOSE = {
    Job.DECIDE: "decide: writes an accepted model's bytes to a bucket (not with github-releases)",
    Job.OPERATE: "operate: moves traffic, and takes a model back",
    Job.TRAIN: "train: starts training jobs (only with train.compute)",
}


def document(cloud: Cloud, caller: Caller, known: Values) -> dict[str, Any]:
    """Return every policy as data: per job who is let in, and what it may call and why."""
    jobs = {str(job): _job(cloud, caller, job, known) for job in Job}
    left = unknown([jobs])
    return {"cloud": str(cloud), "jobs": jobs, "fill_in": {key: WHAT[key] for key in left}}


def _job(cloud: Cloud, caller: Caller, job: Job, known: Values) -> dict[str, Any]:
    because = [
        {"call": grant.call, "permission": grant.action, "documentation": grant.url}
        for grant in grants(cloud, job, known)
    ]
    if cloud is Cloud.AWS:
        return {
            "trust": aws_trust(caller, job, known),
            "permissions": aws_permissions(job, known),
            "because": because,
        }
    return {
        "provider": gcp_provider(caller, job, known),
        "audience": audience(job, known),
        "account": gcp_account(job, known),
        "member": gcp_member(job, known),
        "role": gcp_role(job, known),
        "bindings": gcp_bindings(job, known),
        "because": because,
    }


def commands(cloud: Cloud, caller: Caller, known: Values) -> Iterator[str]:
    """Return the same as commands for ``aws`` and ``gcloud``, line by line."""
    everything = document(cloud, caller, known)
    yield from _preface(cloud, known)
    for job in Job:
        yield ""
        yield f"# {_PURPOSE[job]}"
        made = everything["jobs"][str(job)]
        yield from _aws(job, made) if cloud is Cloud.AWS else _gcp(job, made, known)
    yield ""
    for key, what in everything["fill_in"].items():
        yield f"# fill in {key.upper()}: {what} (--set {key}=...)"


def _preface(cloud: Cloud, known: Values) -> Iterator[str]:
    yield "# Each policy lets in the named jobs of this repository alone, by equality on every claim."
    yield "# The pinned commit is one of them: after an upgrade of the pin, print and apply them again."
    if cloud is Cloud.AWS:
        yield "# once per account:"
        yield (
            f"aws iam create-open-id-connect-provider --url https://{ISSUER}"
            " --client-id-list sts.amazonaws.com"
        )
        return
    yield "# once per project:"
    project = f"--project {known['project']}"
    pool = known["pool"]
    yield f"gcloud iam workload-identity-pools create {pool} --location global {project}"


def _aws(job: Job, made: dict[str, Any]) -> Iterator[str]:
    name = f"tidegate-{job}"
    yield f"aws iam create-role --role-name {name} --assume-role-policy-document {_json(made['trust'])}"
    yield (
        f"aws iam put-role-policy --role-name {name} --policy-name {name}"
        f" --policy-document {_json(made['permissions'])}"
    )


def _gcp(job: Job, made: dict[str, Any], known: Values) -> Iterator[str]:
    project = f"--project {known['project']}"
    provider = made["provider"]
    mapping = ",".join(f"{key}={value}" for key, value in provider["attributeMapping"].items())
    yield (
        f"gcloud iam workload-identity-pools providers create-oidc tidegate-{job} --location global"
        f" --workload-identity-pool {known['pool']} {project}"
        f" --issuer-uri {provider['oidc']['issuerUri']} --allowed-audiences {made['audience']}"
        f" --attribute-mapping {shlex.quote(mapping)}"
        f" --attribute-condition {shlex.quote(provider['attributeCondition'])}"
    )
    account = made["account"]
    yield f"gcloud iam service-accounts create tidegate-{job} {project}"
    yield (
        f"gcloud iam service-accounts add-iam-policy-binding {account} {project}"
        f" --role roles/iam.workloadIdentityUser --member {shlex.quote(made['member'])}"
    )
    if held := ",".join(made["role"]["includedPermissions"]):
        role = f"tidegate.{job}"
        yield (
            f"gcloud iam roles create {role} {project} --title {shlex.quote(made['role']['title'])}"
            f" --stage GA --permissions {held}"
        )
        yield (
            f"gcloud projects add-iam-policy-binding {known['project']}"
            f" --role projects/{known['project']}/roles/{role}"
            f" --member serviceAccount:{account} --condition None"
        )
    for binding in made["bindings"]:
        yield _binding(binding, project)


def _binding(binding: dict[str, Any], project: str) -> str:
    resource, who = binding["resource"], f"--member {binding['members'][0]}"
    if not resource.startswith("gs://"):
        account = resource.rsplit("/", 1)[-1]
        return (
            f"gcloud iam service-accounts add-iam-policy-binding {account} {project}"
            f" --role {binding['role']} {who}"
        )
    condition = binding["condition"]
    told = f"title={condition['title']},expression={condition['expression']}"
    return (
        f"gcloud storage buckets add-iam-policy-binding {resource} --role {binding['role']} {who}"
        f" --condition {shlex.quote(told)}"
    )


def _json(policy: dict[str, Any]) -> str:
    return shlex.quote(json.dumps(policy, indent=2))
