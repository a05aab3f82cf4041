"""Trust and permission policies as what a person pastes into a terminal."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from tidegate.grants import Cloud, Holder, Job, Runs
from tidegate.policy import (
    ISSUER,
    Caller,
    audience,
    aws_permissions,
    aws_role,
    aws_service_trust,
    aws_trust,
    gcp_account,
    gcp_bindings,
    gcp_member,
    gcp_provider,
    gcp_role,
    grants,
    holders,
)
from tidegate.policy_values import WHAT, Values, unknown

if TYPE_CHECKING:
    from collections.abc import Iterator

_PURPOSE: dict[Holder, str] = {
    Job.DECIDE: "decide: keeps an accepted model in the registry's bucket",
    Job.OPERATE: "operate: moves traffic, and takes a model back",
    Job.TRAIN: "train: starts training jobs, in the environment {training}",
    Runs.SERVING: "what the model's containers run as",
    Runs.TRAINING: "what your training runs as, in the cloud's container",
    Runs.SWITCH: "what the dead-man's switch acts as: it can shut the gate, and nothing else",
}


def document(cloud: Cloud, caller: Caller, known: Values) -> dict[str, Any]:
    """Return every policy as data: who is let in, and what may be called and why."""
    made = {str(holder): _one(cloud, caller, holder, known) for holder in holders(cloud, known)}
    jobs = {name: policy for name, policy in made.items() if name in set(Job)}
    runs = {name: policy for name, policy in made.items() if name not in jobs}
    left = unknown([made])
    return {
        "cloud": str(cloud),
        "jobs": jobs,
        "runs": runs,
        "fill_in": {key: WHAT[key] for key in left},
    }


def _one(cloud: Cloud, caller: Caller, holder: Holder, known: Values) -> dict[str, Any]:
    because = [
        {"call": grant.call, "permission": grant.action, "documentation": grant.url}
        for grant in grants(cloud, holder, known)
    ]
    if cloud is Cloud.AWS:
        return {
            "role": aws_role(holder, known),
            "trust": aws_trust(caller, holder, known)
            if isinstance(holder, Job)
            else aws_service_trust(holder, known),
            "permissions": aws_permissions(holder, known),
            "because": because,
        }
    enters = {}
    if isinstance(holder, Job):
        enters = {
            "provider": gcp_provider(caller, holder, known),
            "audience": audience(holder, known),
            "member": gcp_member(holder, known),
        }
    return {
        **enters,
        "account": gcp_account(holder, known),
        "role": gcp_role(holder, known),
        "bindings": gcp_bindings(holder, known),
        "because": because,
    }


def commands(cloud: Cloud, caller: Caller, known: Values) -> Iterator[str]:
    """Return the same as commands for ``aws`` and ``gcloud``, line by line."""
    everything = document(cloud, caller, known)
    yield from _preface(cloud, known)
    for holder in holders(cloud, known):
        yield ""
        yield f"# {_PURPOSE[holder].format(training=caller.training)}"
        made = (everything["jobs"] | everything["runs"])[str(holder)]
        yield from _aws(made) if cloud is Cloud.AWS else _gcp(holder, made, known)
    yield ""
    yield from _workflow(cloud, known)
    for key, what in everything["fill_in"].items():
        yield f"# fill in {key.upper()}: {what} (--set {key}=...)"


def _workflow(cloud: Cloud, known: Values) -> Iterator[str]:
    """What the user's workflow says then."""
    yield "# in the workflow, under with: of each call of Tidegate's:"
    if cloud is Cloud.AWS:
        role = f"arn:{known['partition']}:iam::{known['account']}:role/tidegate-{{job}}"
        yield f'#   aws-role: "{role}"'
        yield f"#   aws-region: {known['region']}"
        return
    pool = (
        f"projects/{known['project_number']}/locations/global/workloadIdentityPools/{known['pool']}"
    )
    yield f'#   gcp-provider: "{pool}/providers/tidegate-{{job}}"'
    yield (
        f'#   gcp-service-account: "tidegate-{{job}}@{known["project"]}.iam.gserviceaccount.com"'
    )


def _preface(cloud: Cloud, known: Values) -> Iterator[str]:
    yield "# Each policy lets in the named jobs of this repository alone, by equality on every claim."
    yield "# The pinned commit is one of them: after an upgrade of the pin, print and apply them again."
    yield "# What is there already is updated (behind ||); an error that it exists is none."
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


def _aws(made: dict[str, Any]) -> Iterator[str]:
    name = made["role"]
    trust = _json(made["trust"])
    yield (
        f"aws iam create-role --role-name {name} --assume-role-policy-document {trust}"
        f" || aws iam update-assume-role-policy --role-name {name} --policy-document {trust}"
    )
    yield (
        f"aws iam put-role-policy --role-name {name} --policy-name tidegate"
        f" --policy-document {_json(made['permissions'])}"
    )


def _gcp(holder: Holder, made: dict[str, Any], known: Values) -> Iterator[str]:
    project = f"--project {known['project']}"
    account = made["account"]
    if isinstance(holder, Job):
        yield from _provider(holder, made, known, project)
    yield f"gcloud iam service-accounts create {account.partition('@')[0]} {project}"
    if isinstance(holder, Job):
        yield (
            f"gcloud iam service-accounts add-iam-policy-binding {account} {project}"
            f" --role roles/iam.workloadIdentityUser --member {shlex.quote(made['member'])}"
        )
    if held := ",".join(made["role"]["includedPermissions"]):
        role = f"tidegate.{holder}"
        said = (
            f"{role} {project} --title {shlex.quote(made['role']['title'])}"
            f" --stage GA --permissions {held}"
        )
        yield f"gcloud iam roles create {said} || gcloud iam roles update {said}"
        yield (
            f"gcloud projects add-iam-policy-binding {known['project']}"
            f" --role projects/{known['project']}/roles/{role}"
            f" --member serviceAccount:{account} --condition None"
        )
    for binding in made["bindings"]:
        yield _binding(binding, project)


def _provider(job: Job, made: dict[str, Any], known: Values, project: str) -> Iterator[str]:
    provider = made["provider"]
    mapping = ",".join(f"{key}={value}" for key, value in provider["attributeMapping"].items())
    said = (
        f"tidegate-{job} --location global"
        f" --workload-identity-pool {known['pool']} {project}"
        f" --issuer-uri {provider['oidc']['issuerUri']} --allowed-audiences {made['audience']}"
        f" --attribute-mapping {shlex.quote(mapping)}"
        f" --attribute-condition {shlex.quote(provider['attributeCondition'])}"
    )
    providers = "gcloud iam workload-identity-pools providers"
    yield f"{providers} create-oidc {said} || {providers} update-oidc {said}"


def _binding(binding: dict[str, Any], project: str) -> str:
    resource, who = binding["resource"], f"--member {binding['members'][0]}"
    if resource.startswith("bq://"):
        table = resource.removeprefix("bq://").replace(".", ":", 1)
        who = who.replace(" ", "=", 1)
        return f"bq add-iam-policy-binding {who} --role={binding['role']} --table=true {table}"
    if not resource.startswith("gs://"):
        account = resource.rsplit("/", 1)[-1]
        return (
            f"gcloud iam service-accounts add-iam-policy-binding {account} {project}"
            f" --role {binding['role']} {who}"
        )
    condition, told = binding.get("condition"), "None"
    if condition is not None:
        told = f"title={condition['title']},expression={condition['expression']}"
    return (
        f"gcloud storage buckets add-iam-policy-binding {resource} --role {binding['role']} {who}"
        f" --condition {shlex.quote(told)}"
    )


def _json(policy: dict[str, Any]) -> str:
    return shlex.quote(json.dumps(policy, indent=2))
