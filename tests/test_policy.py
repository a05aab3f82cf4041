"""The cloud's trust: a simulator of both clouds' rules, and forged claims that must not get in."""

from __future__ import annotations

import json
import re
import shlex
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest

from tidegate import grants_aws, grants_gcp
from tidegate.errors import ConfigError
from tidegate.grants import Cloud, Holder, Job, Part, Runs
from tidegate.policy import (
    ISSUER,
    Caller,
    audience,
    aws_permissions,
    aws_service_trust,
    aws_trust,
    gcp_bindings,
    gcp_member,
    gcp_provider,
    gcp_role,
    holders,
)
from tidegate.policy_values import WHAT, Values, values
from tidegate.render.policy import commands, document

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

C = "0123456789abcdef0123456789abcdef01234567"
OTHER = "fedcba9876543210fedcba9876543210fedcba98"
GRANTS = (*grants_aws.ROWS, *grants_gcp.ROWS)
EVERYBODY: list[Holder] = [*Job, *Runs]
KNOWN = values(
    {
        "account": "123456789012", "region": "eu-west-1", "endpoint": "credit", "model": "credit-risk",
        "bucket": "acme-models", "prefix": "tidegate", "registry_bucket": "acme-registry",
        "registry_prefix": "tidegate", "train_bucket": "acme-training", "train_prefix": "tidegate",
        "labels_bucket": "acme-labels", "labels_prefix": "tidegate",
        "execution_role": "sagemaker-run", "scheduler_role": "tidegate-switch", "train_role": "sagemaker-train",
        "image_account": "123456789012", "image_repository": "serving",
        "train_image_account": "123456789012", "train_image": "training", "key": "1234-abcd",
        "alarms": "credit-5xx,credit-slow", "old_config": "credit-2019", "old_model": "credit-2019-model",
        "project": "acme-ml", "project_number": "4711", "pool": "tidegate",
        "runner_account": "model-run@acme-ml.iam.gserviceaccount.com",
        "scheduler_account": "switch@acme-ml.iam.gserviceaccount.com",
        "train_account": "model-train@acme-ml.iam.gserviceaccount.com",
        "log_table": "acme-ml.serving.answers", "repository_id": "1001", "owner_id": "77",
    }
)  # fmt: skip
CALLER = Caller(slug="acme/credit", environment="production-operate", commits=(C,))
NAMES = "repo:acme/credit:environment:production-operate"
NUMBERS = "repo:acme@77/credit@1001:environment:production-operate"
WORKFLOWS = "tidegate/tidegate/.github/workflows"


def placed(text: str, job: Job) -> str:
    """Return a text about the environment of the jobs that operate, for the job's own."""
    return text.replace("production-operate", "training") if job is Job.TRAIN else text


def genuine(job: Job, cloud: Cloud, sub: str = NAMES) -> dict[str, Any]:
    """Return the claims that GitHub signs for the job."""
    file = "watch-model.yml" if job is Job.OPERATE else "judge-model.yml"
    return {
        "iss": f"https://{ISSUER}",
        "aud": "sts.amazonaws.com" if cloud is Cloud.AWS else audience(job, KNOWN),
        "sub": placed(sub, job),
        "repository": "acme/credit",
        "repository_id": "1001",
        "repository_owner": "acme",
        "repository_owner_id": "77",
        "environment": placed("production-operate", job),
        "ref": "refs/heads/main",
        "event_name": "push",
        "job_workflow_ref": f"{WORKFLOWS}/{file}@{C}",
        "workflow_ref": "acme/credit/.github/workflows/mlops.yml@refs/heads/main",
    }


# --- what the clouds do ---------------------------------------------------------------------


def aws_lets_in(policy: Mapping[str, Any], claims: Mapping[str, Any]) -> bool:
    """AWS STS on AssumeRoleWithWebIdentity: every operator, every key, any listed value.

    An absent key fails an equality. ForAllValues would pass it, which is why it is here at all.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
    """
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        if statement["Action"] != "sts:AssumeRoleWithWebIdentity":
            continue
        provider = statement["Principal"]["Federated"].partition("oidc-provider/")[2]
        if claims.get("iss") != f"https://{provider}":
            continue
        if all(
            _aws_holds(operator, key, wanted, claims)
            for operator, pairs in statement["Condition"].items()
            for key, wanted in pairs.items()
        ):
            return True
    return False


def _aws_holds(operator: str, key: str, wanted: Any, claims: Mapping[str, Any]) -> bool:
    given = claims.get(key.removeprefix(f"{ISSUER}:"))
    listed = wanted if isinstance(wanted, list) else [wanted]
    for_all = operator.startswith("ForAllValues:")
    if given is None:
        return for_all
    match operator.removeprefix("ForAllValues:"):
        case "StringEquals":
            return given in listed
        case "StringLike":
            patterns = (re.escape(each).replace(r"\*", ".*").replace(r"\?", ".") for each in listed)
            return any(re.fullmatch(pattern, given, re.DOTALL) for pattern in patterns)
        case _:
            raise AssertionError(operator)


def google_lets_in(provider: Mapping[str, Any], claims: Mapping[str, Any]) -> bool:
    """Google STS: issuer, allowed audiences, then the attribute condition in CEL.

    https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token
    """
    oidc = provider["oidc"]
    if claims.get("iss") != oidc["issuerUri"] or claims.get("aud") not in oidc["allowedAudiences"]:
        return False
    return all(_cel_holds(term, claims) for term in provider["attributeCondition"].split(" && "))


def _cel_holds(term: str, claims: Mapping[str, Any]) -> bool:
    """The part of CEL that we write; anything else in a condition is a failure of the test."""
    found = re.fullmatch(r"assertion\.(\w+) (==|in) (.+)", term)
    assert found, term
    name, operator, wanted = found[1], found[2], json.loads(found[3])
    if name not in claims:
        return False  # an error in CEL, and an error lets nobody in
    given = claims[name]
    if operator == "==":
        assert isinstance(wanted, str)
        return bool(given == wanted)
    assert isinstance(wanted, list)
    return given in wanted


def lets_in(cloud: Cloud, job: Job, claims: Mapping[str, Any], caller: Caller = CALLER) -> bool:
    if cloud is Cloud.AWS:
        return aws_lets_in(aws_trust(caller, job, KNOWN), claims)
    return google_lets_in(gcp_provider(caller, job, KNOWN), claims)


BOTH = pytest.mark.parametrize("cloud", list(Cloud), ids=str)
JOBS = pytest.mark.parametrize("job", list(Job), ids=str)


# --- who gets in ----------------------------------------------------------------------------


@BOTH
@JOBS
@pytest.mark.parametrize("sub", [NAMES, NUMBERS], ids=["names", "numbers"])
def test_the_job_itself_gets_in_in_both_forms(cloud: Cloud, job: Job, sub: str) -> None:
    assert lets_in(cloud, job, genuine(job, cloud, sub))


@BOTH
def test_each_file_that_moves_traffic_gets_in(cloud: Cloud) -> None:
    for file in ("watch-model.yml", "command.yml"):
        claims = genuine(Job.OPERATE, cloud) | {"job_workflow_ref": f"{WORKFLOWS}/{file}@{C}"}
        assert lets_in(cloud, Job.OPERATE, claims)


@BOTH
def test_during_an_upgrade_both_pins_get_in_and_no_third(cloud: Cloud) -> None:
    caller = Caller(slug="acme/credit", environment="production-operate", commits=(C, OTHER))
    for commit, expected in ((C, True), (OTHER, True), ("a" * 40, False)):
        ref = f"{WORKFLOWS}/command.yml@{commit}"
        claims = genuine(Job.OPERATE, cloud) | {"job_workflow_ref": ref}
        assert lets_in(cloud, Job.OPERATE, claims, caller) is expected


# --- who does not ---------------------------------------------------------------------------

GONE = object()
# Each changes what GitHub would sign for the genuine job into what it would sign for another.
FORGED: dict[str, dict[str, Any]] = {
    "another repository": {"sub": "repo:acme/other:environment:production-operate", "repository_id": "1002"},
    "another repository, our subject": {"repository_id": "1002"},
    "a fork": {"sub": "repo:eve/credit:environment:production-operate", "repository_id": "2002"},
    "a fork's numbers": {"sub": "repo:eve@66/credit@2002:environment:production-operate", "repository_id": "2002"},
    "our name, registered anew": {"repository_id": "9001", "repository_owner_id": "900"},
    "our name, another owner's number": {"sub": "repo:acme@900/credit@9001:environment:production-operate", "repository_id": "9001"},
    "another owner's number alone": {"sub": "repo:acme@900/credit@1001:environment:production-operate"},
    "another repository's number alone": {"sub": "repo:acme@77/credit@9001:environment:production-operate"},
    "a branch": {"sub": "repo:acme/credit:ref:refs/heads/main"},
    "a branch, with numbers": {"sub": "repo:acme@77/credit@1001:ref:refs/heads/main"},
    "a tag": {"sub": "repo:acme/credit:ref:refs/tags/v1"},
    "a pull request": {"sub": "repo:acme/credit:pull_request"},
    "the merge queue": {"sub": "repo:acme/credit:ref:refs/heads/gh-readonly-queue/main/pr-1-abc"},
    "another environment": {"sub": "repo:acme/credit:environment:production"},
    "a longer environment": {"sub": "repo:acme/credit:environment:production-operate-2"},
    "a shorter environment": {"sub": "repo:acme/credit:environment:production-operat"},
    "an environment that ends like ours": {"sub": "repo:acme/credit:environment:x:production-operate"},
    "an environment with a coded colon": {"sub": "repo:acme/credit:environment:x%3Aproduction-operate"},
    "a branch that spells an environment": {"sub": "repo:acme/credit:ref:refs/heads/x:environment:production-operate"},
    "a branch that spells it, coded": {"sub": "repo:acme/credit:ref:refs/heads/x%3Aenvironment%3Aproduction-operate"},
    "an owner that spells us": {"sub": "repo:eve/repo:acme/credit:environment:production-operate"},
    "a subject of its own template": {"sub": "repository_id:1001:environment:production-operate"},
    "another case of the owner": {"sub": "repo:Acme/credit:environment:production-operate"},
    "another case of the environment": {"sub": "repo:acme/credit:environment:Production-Operate"},
    "another case of the subject": {"sub": NAMES.upper()},
    "a space behind": {"sub": f"{NAMES} "},
    "a line break behind": {"sub": f"{NAMES}\n"},
    "a zero byte behind": {"sub": f"{NAMES}\0"},
    "a star": {"sub": "repo:acme/credit:environment:*"},
    "a look-alike letter": {"sub": NAMES.replace("a", "\u0430", 1)},
    "an empty subject": {"sub": ""},
    "no subject": {"sub": GONE},
    "their own workflow": {"job_workflow_ref": "acme/credit/.github/workflows/mlops.yml@refs/heads/main"},
    "our workflow at a branch": {"job_workflow_ref": f"{WORKFLOWS}/command.yml@refs/heads/main"},
    "our workflow at a tag": {"job_workflow_ref": f"{WORKFLOWS}/command.yml@refs/tags/v0.1.0"},
    "our workflow at another commit": {"job_workflow_ref": f"{WORKFLOWS}/command.yml@{OTHER}"},
    "our workflow at a short commit": {"job_workflow_ref": f"{WORKFLOWS}/command.yml@{C[:12]}"},
    "another workflow of ours": {"job_workflow_ref": f"{WORKFLOWS}/score-model.yml@{C}"},
    "the calling workflow of ours": {"job_workflow_ref": f"{WORKFLOWS}/deliver.yml@{C}"},
    "a fork of ours": {"job_workflow_ref": f"eve/tidegate/.github/workflows/command.yml@{C}"},
    "a repository named like ours": {"job_workflow_ref": f"tidegate/tidegate-2/.github/workflows/command.yml@{C}"},
    "an owner that ends like ours": {"job_workflow_ref": f"x-{WORKFLOWS}/command.yml@{C}"},
    "more behind the commit": {"job_workflow_ref": f"{WORKFLOWS}/command.yml@{C}0"},
    "no workflow": {"job_workflow_ref": GONE},
    "an empty workflow": {"job_workflow_ref": ""},
    "no repository": {"repository_id": GONE},
    "a number for text": {"repository_id": 1001},
    "a repository number with zeros": {"repository_id": "01001"},
    "a repository number with a space": {"repository_id": " 1001"},
    "another audience": {"aud": "https://github.com/acme"},
    "an audience in another case": {"aud": "STS.amazonaws.com"},
    "several audiences": {"aud": "sts.amazonaws.com,https://github.com/acme"},
    "no audience": {"aud": GONE},
    "another issuer": {"iss": "https://token.actions.githubusercontent.com.evil.example"},
    "an enterprise's issuer": {"iss": f"https://{ISSUER}/acme"},
    "no issuer": {"iss": GONE},
    "nothing but the subject": dict.fromkeys(("aud", "repository_id", "job_workflow_ref"), GONE),
    "placeholders": {"repository_id": "REPOSITORY_ID", "sub": "repo:acme@OWNER_ID/credit@REPOSITORY_ID:environment:production-operate"},
}  # fmt: skip


def forge(name: str, job: Job, cloud: Cloud, sub: str) -> dict[str, Any]:
    forged = {k: placed(v, job) if isinstance(v, str) else v for k, v in FORGED[name].items()}
    claims = genuine(job, cloud, sub) | forged
    return {key: value for key, value in claims.items() if value is not GONE}


def test_there_are_enough_forgeries() -> None:
    assert len(FORGED) >= 40


@BOTH
@JOBS
@pytest.mark.parametrize("sub", [NAMES, NUMBERS], ids=["names", "numbers"])
@pytest.mark.parametrize("name", FORGED)
def test_a_forgery_does_not_get_in(cloud: Cloud, job: Job, name: str, sub: str) -> None:
    assert not lets_in(cloud, job, forge(name, job, cloud, sub))


@BOTH
def test_no_job_gets_in_as_another(cloud: Cloud) -> None:
    """The audience is what a job asks for, so it alone separates nobody."""
    for job, other in permutations(Job, 2):
        claims = genuine(job, cloud) | {"aud": genuine(other, cloud)["aud"]}
        assert not lets_in(cloud, other, claims), (job, other)


@BOTH
def test_a_pull_requests_training_gets_in_as_nothing_else(cloud: Cloud) -> None:
    claims = genuine(Job.TRAIN, cloud) | {"ref": "refs/pull/7/merge", "event_name": "pull_request"}
    assert lets_in(cloud, Job.TRAIN, claims)
    for other in (Job.DECIDE, Job.OPERATE):
        assert not lets_in(cloud, other, claims | {"aud": genuine(other, cloud)["aud"]})


@BOTH
def test_the_environment_of_training_is_the_one_that_the_jobs_name(cloud: Cloud) -> None:
    caller = Caller(slug="acme/credit", environment="live", training="cloud", commits=(C,))
    claims = genuine(Job.TRAIN, cloud)
    assert not lets_in(cloud, Job.TRAIN, claims, caller)
    assert lets_in(cloud, Job.TRAIN, claims | {"sub": "repo:acme/credit:environment:cloud"}, caller)


@BOTH
@JOBS
def test_an_unfinished_policy_lets_nobody_in(cloud: Cloud, job: Job) -> None:
    known = values({"project_number": "4711"})
    claims = genuine(job, cloud)
    if cloud is Cloud.AWS:
        assert not aws_lets_in(aws_trust(CALLER, job, known), claims)
    else:
        assert not google_lets_in(gcp_provider(CALLER, job, known), claims)


def loosened(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    policy = aws_trust(CALLER, Job.OPERATE, KNOWN)
    change(policy["Statement"][0]["Condition"])
    return policy


def test_the_simulator_would_let_a_forgery_in_where_a_policy_is_loose() -> None:
    """The test of the test: each usual mistake lets one of the forgeries in."""
    claims = {name: forge(name, Job.OPERATE, Cloud.AWS, NAMES) for name in FORGED}

    def like(condition: dict[str, Any]) -> None:
        del condition["StringEquals"][f"{ISSUER}:sub"]
        condition["StringLike"] = {f"{ISSUER}:sub": "repo:acme/credit:*"}

    def for_all(condition: dict[str, Any]) -> None:
        condition["ForAllValues:StringEquals"] = condition.pop("StringEquals")

    assert aws_lets_in(loosened(like), claims["a pull request"])
    assert aws_lets_in(loosened(for_all), claims["nothing but the subject"])
    assert aws_lets_in(
        loosened(lambda c: c["StringEquals"].pop(f"{ISSUER}:job_workflow_ref")),
        claims["their own workflow"],
    )
    assert aws_lets_in(
        loosened(lambda c: c["StringEquals"].pop(f"{ISSUER}:repository_id")),
        claims["our name, registered anew"],
    )


def test_a_colon_in_an_environments_name_is_coded_as_github_codes_it() -> None:
    caller = Caller(slug="acme/credit", environment="prod:eu", commits=(C,))
    assert caller.subjects(Job.OPERATE, KNOWN)[0] == "repo:acme/credit:environment:prod%3Aeu"


def test_the_form_that_github_names_is_the_only_one_trusted() -> None:
    caller = Caller(
        slug="acme/credit", environment="live", commits=(C,), prefix="repo:acme@77/credit@1001"
    )
    assert caller.subjects(Job.DECIDE, KNOWN) == ["repo:acme@77/credit@1001:environment:live"]


@pytest.mark.parametrize("commits", [(), ("main",), ("v1",), (C[:12],), (C, "v1")])
def test_a_pin_that_can_move_is_trusted_by_nobody(commits: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="commit"):
        Caller(slug="acme/credit", environment="live", commits=commits)


def test_googles_subject_is_short_and_one_principal() -> None:
    """A pool refuses subjects of more than 127 bytes; a repository's name alone can have 100."""
    for job in Job:
        provider = gcp_provider(CALLER, job, KNOWN)
        assert provider["attributeMapping"] == {
            "google.subject": f'"{job}:" + assertion.repository_id'
        }
        assert gcp_member(job, KNOWN).startswith("principal://")
        assert gcp_member(job, KNOWN).endswith(f"/subject/{job}:1001")


# --- what they may do -----------------------------------------------------------------------


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for key, each in value.items() for text in (key, *strings(each))]
    if isinstance(value, list):
        return [text for each in value for text in strings(each)]
    return [value] if isinstance(value, str) else []


@BOTH
@JOBS
def test_a_trust_has_no_wildcard_and_no_vacuous_truth(cloud: Cloud, job: Job) -> None:
    trust = (
        aws_trust(CALLER, job, KNOWN) if cloud is Cloud.AWS else gcp_provider(CALLER, job, KNOWN)
    )
    for text in strings(trust):
        assert not re.search(r"[*?]|ForAllValues|ForAnyValue|StringLike|IfExists|startsWith", text)
    if cloud is Cloud.AWS:
        [statement] = trust["Statement"]
        assert set(statement["Condition"]) == {"StringEquals"}
        assert set(statement["Condition"]["StringEquals"]) == {
            f"{ISSUER}:{claim}" for claim in ("aud", "sub", "repository_id", "job_workflow_ref")
        }


# Calls for which AWS knows no narrower resource; each is limited by a condition instead.
WITHOUT_RESOURCE = {
    "cloudwatch:GetMetricData", "cloudwatch:PutMetricData", "ecr:GetAuthorizationToken",
    "sagemaker:ListModels", "sagemaker:ListEndpointConfigs",
}  # fmt: skip
# A star only behind a name or a folder of ours, never a whole kind of thing; and two that AWS forces:
# the streams of one log group are named after what logs there, and its public images' account differs
# by region.
OURS = re.compile(
    r"arn:aws:[a-z0-9]+:[a-z0-9-]*:\d*:[^*]*(?:credit-[gv]|credit|tidegate-credit-risk-|tidegate/[a-z/]+/)\*(?:/output/\*)?"
    r"|arn:aws:logs:eu-west-1:123456789012:log-group:/aws/sagemaker/TrainingJobs:\*"
    r"|arn:aws:ecr:eu-west-1:\*:repository/(?:sagemaker-scikit-learn|sagemaker-xgboost|pytorch-inference)"
    r"|arn:aws:s3:::acme-registry/tidegate/models/credit-risk/versions/\*"
    r"|arn:aws:s3:::acme-labels/tidegate/\*"
    r"|arn:aws:[^*]+"
)


@pytest.mark.parametrize("holder", EVERYBODY, ids=str)
def test_a_permission_names_its_action_and_its_resource(holder: Holder) -> None:
    policy = aws_permissions(holder, KNOWN)
    assert policy["Statement"]
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        assert not {"NotAction", "NotResource", "Principal"} & set(statement)
        assert not any("*" in action for action in statement["Action"])
        for resource in statement["Resource"]:
            if resource == "*":
                assert set(statement["Action"]) <= WITHOUT_RESOURCE
                assert statement["Condition"]
                continue
            assert OURS.fullmatch(resource), resource
        if "iam:PassRole" in statement["Action"]:
            assert statement["Action"] == ["iam:PassRole"]
            [service] = statement["Condition"]["StringEquals"].values()
            assert service.endswith(".amazonaws.com")
    sids = [statement["Sid"] for statement in policy["Statement"]]
    assert len(sids) == len(set(sids))
    assert all(re.fullmatch(r"[A-Za-z0-9]+", sid) for sid in sids)
    # What a role's own policies may have together, white space left out.
    assert len(json.dumps(policy, separators=(",", ":"))) < 10_240


def actions(holder: Holder) -> set[str]:
    return {a for s in aws_permissions(holder, KNOWN)["Statement"] for a in s["Action"]}


def places(holder: Holder, action: str) -> set[str]:
    return {
        resource
        for s in aws_permissions(holder, KNOWN)["Statement"]
        if action in s["Action"]
        for resource in s["Resource"]
    }


def test_no_job_can_do_anothers_part() -> None:
    assert {action.partition(":")[0] for action in actions(Job.DECIDE)} == {"s3", "kms"}
    assert not any(
        action.startswith(("scheduler:", "cloudwatch:")) for action in actions(Job.TRAIN)
    )
    assert {a for a in actions(Job.TRAIN) if a.startswith("sagemaker:")} == {
        "sagemaker:AddTags", "sagemaker:CreateTrainingJob", "sagemaker:DescribeTrainingJob",
        "sagemaker:StopTrainingJob",
    }  # fmt: skip
    assert not any("TrainingJob" in action for action in actions(Job.OPERATE))
    assert "sagemaker:UpdateEndpointWeightsAndCapacities" in actions(Job.OPERATE)
    written = {holder: places(holder, "s3:PutObject") for holder in EVERYBODY}
    bundles = "arn:aws:s3:::acme-registry/tidegate/bundles/*"
    assert [holder for holder, where in written.items() if bundles in where] == [Job.DECIDE]
    assert all("acme-training" in where for where in written[Job.TRAIN])
    assert written[Runs.SERVING] == {"arn:aws:s3:::acme-models/tidegate/captured/credit/*"}
    assert written[Runs.TRAINING] == {
        "arn:aws:s3:::acme-training/tidegate/jobs/tidegate-credit-risk-*/output/*"
    }
    assert not any("s3:DeleteObject" in actions(holder) for holder in EVERYBODY)


def test_the_switch_can_set_the_weights_of_one_endpoint_and_nothing_else() -> None:
    [statement] = aws_permissions(Runs.SWITCH, KNOWN)["Statement"]
    assert statement["Action"] == ["sagemaker:UpdateEndpointWeightsAndCapacities"]
    assert statement["Resource"] == ["arn:aws:sagemaker:eu-west-1:123456789012:endpoint/credit"]
    assert gcp_role(Runs.SWITCH, KNOWN)["includedPermissions"] == ["aiplatform.endpoints.update"]
    assert gcp_bindings(Runs.SWITCH, KNOWN) == []


@pytest.mark.parametrize("runs", Runs)
def test_a_service_takes_its_role_for_this_account_alone(runs: Runs) -> None:
    [statement] = aws_service_trust(runs, KNOWN)["Statement"]
    service = "scheduler" if runs is Runs.SWITCH else "sagemaker"
    assert statement["Principal"] == {"Service": f"{service}.amazonaws.com"}
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}


def test_each_role_is_passed_to_its_own_service_alone() -> None:
    passed = {
        (s["Resource"][0].rpartition("/")[2], s["Condition"]["StringEquals"]["iam:PassedToService"])
        for job in Job
        for s in aws_permissions(job, KNOWN)["Statement"]
        if "iam:PassRole" in s["Action"]
    }
    assert passed == {
        ("sagemaker-run", "sagemaker.amazonaws.com"),
        ("sagemaker-train", "sagemaker.amazonaws.com"),
        ("tidegate-switch", "scheduler.amazonaws.com"),
    }


def test_on_google_cloud_no_job_can_do_anothers_part() -> None:
    assert gcp_role(Job.DECIDE, KNOWN)["includedPermissions"] == []
    trains = gcp_role(Job.TRAIN, KNOWN)["includedPermissions"]
    assert {p for p in trains if not p.startswith("logging.")} == {
        "aiplatform.customJobs.cancel", "aiplatform.customJobs.create", "aiplatform.customJobs.list",
    }  # fmt: skip
    operates = gcp_role(Job.OPERATE, KNOWN)["includedPermissions"]
    assert not any("customJobs" in p or ".setIamPolicy" in p for p in operates)
    writes = {
        (holder, binding["condition"]["expression"])
        for holder in EVERYBODY
        for binding in gcp_bindings(holder, KNOWN)
        if binding["role"] == "roles/storage.objectUser" and "/bundles/" in json.dumps(binding)
    }
    assert {holder for holder, _ in writes} == {Job.DECIDE}


def test_nobody_may_change_who_may_do_what() -> None:
    held = {grant.action for grant in GRANTS}
    assert not any(
        re.search(r"setIamPolicy|PutRolePolicy|AttachRole|CreateRole|AssumeRole|getAccessToken", action)
        for action in held
    )  # fmt: skip


@pytest.mark.parametrize("holder", EVERYBODY, ids=str)
def test_googles_bindings_are_on_one_folder_one_table_or_one_account(holder: Holder) -> None:
    for binding in gcp_bindings(holder, KNOWN):
        if binding["role"] == "roles/storage.legacyBucketReader":
            assert binding["resource"].startswith("gs://acme-")  # names alone: a list has no folder
        elif binding["resource"].startswith("gs://"):
            folder = binding["condition"]["expression"]
            assert re.fullmatch(
                r'resource\.name\.startsWith\("projects/_/buckets/acme-[a-z]+/objects/tidegate/[\w./-]*"\)',
                folder,
            ), folder
        elif binding["resource"].startswith("bq://"):
            assert binding["resource"] == "bq://acme-ml.serving.answers"
        else:
            assert binding["resource"].endswith("@acme-ml.iam.gserviceaccount.com")


@pytest.mark.parametrize("grant", GRANTS, ids=lambda grant: f"{grant.holder}-{grant.action}")
def test_every_permission_has_its_call_and_its_page(grant: Any) -> None:
    assert grant.call
    assert re.fullmatch(r"https://(docs\.aws\.amazon|cloud\.google)\.com/\S+", grant.url)
    assert set(grant.needs) <= set(WHAT)
    if grant.cloud is Cloud.AWS:
        assert re.fullmatch(r"[a-z0-9]+:[A-Z][A-Za-z0-9]+", grant.action)
        assert grant.resources
    else:
        assert re.fullmatch(r"[a-z]+(\.[a-zA-Z]+)+", grant.action)
        assert bool(grant.role) == bool(grant.resources)


def test_what_an_account_does_not_have_is_not_asked_for() -> None:
    optional = {key for grant in GRANTS for key in grant.needs}
    known = values({key: value for key, value in KNOWN.items() if key not in optional})
    policies = json.dumps([aws_permissions(holder, known) for holder in EVERYBODY])
    assert not re.search(r"kms:|alarm:|2019|acme-labels|repository/serving", policies)
    whole = json.dumps([aws_permissions(holder, KNOWN) for holder in EVERYBODY])
    assert "key/1234-abcd" in whole
    assert "repository/serving" in whole
    assert "alarm:credit-5xx" in whole
    assert "alarm:credit-slow" in whole
    assert "bigquery.jobs.create" not in gcp_role(Job.OPERATE, known)["includedPermissions"]
    assert not any("actAs" in json.dumps(b) for b in gcp_bindings(Job.TRAIN, known))


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (Part.REGISTRY, {Job.DECIDE, Job.OPERATE}),
        (Part.TARGET, {Job.OPERATE, Runs.SERVING, Runs.SWITCH}),
        (Part.COMPUTE, {Job.TRAIN, Runs.TRAINING}),
    ],
)
@BOTH
def test_only_what_mlops_yaml_asks_for_is_made(
    cloud: Cloud, part: Part, expected: set[Holder]
) -> None:
    known = values(KNOWN, [part])
    assert set(holders(cloud, known)) == expected
    assert set(holders(cloud, KNOWN)) == set(EVERYBODY)


def test_a_long_endpoints_things_are_named_by_its_hash() -> None:
    long = values(KNOWN | {"endpoint": "e" * 50})
    said = json.dumps(aws_permissions(Job.OPERATE, long))
    assert f'endpoint/{"e" * 50}"' in said
    assert f"model/{'e' * 29}-" in said


def test_a_bucket_without_a_folder_is_no_folder_without_a_name() -> None:
    bare = values(KNOWN | {"prefix": "", "registry_prefix": "", "train_prefix": ""})
    said = json.dumps([aws_permissions(job, bare) for job in Job])
    assert "arn:aws:s3:::acme-registry/bundles/*" in said
    assert "arn:aws:s3:::acme-models/credit/*" in said
    assert "//" not in json.dumps([gcp_bindings(job, bare) for job in Job]).replace("://", ":")


# --- what a person says, and reads ----------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [("bucket", "*"), ("bucket", "a*"), ("bucket", "a?"), ("bucket", "${x}"), ("bucket", "a/"),
     ("bucket", ""), ("bucket", "a b"), ("bucket", "a'b"), ("bucket", 'a"b'), ("bucket", "a\nb"),
     ("account", "12345678901"), ("account", "ACCOUNT"), ("repository_id", "1001x"),
     ("project_number", "-1"), ("region", "{account}"), ("nonsense", "x"), ("stem", "x"),
     ("alarms", "a,,b"), ("alarms", "*"), ("alarms", "a, b"), ("prefix", "/"), ("prefix", "a/*")],
)  # fmt: skip
def test_a_value_that_would_change_a_policys_meaning_is_refused(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        values({key: value})


@BOTH
def test_what_is_missing_is_named(cloud: Cloud) -> None:
    made = document(cloud, CALLER, Values())
    assert {"bucket", "repository_id", "owner_id"} <= set(made["fill_in"])
    shown = "\n".join(commands(cloud, CALLER, Values()))
    for key in made["fill_in"]:
        assert f"# fill in {key.upper()}: {WHAT[key]} (--set {key}=...)" in shown
    assert document(cloud, CALLER, KNOWN)["fill_in"] == {}
    assert "fill in" not in "\n".join(commands(cloud, CALLER, KNOWN))


@BOTH
def test_the_commands_carry_the_policies_through_a_shell_unchanged(cloud: Cloud) -> None:
    lines = "\n".join(commands(cloud, CALLER, KNOWN))
    words = shlex.split(lines, comments=True)
    if cloud is Cloud.AWS:
        policies = [json.loads(word) for word in words if word.startswith("{")]
        assert all(aws_trust(CALLER, job, KNOWN) in policies for job in Job)
        assert all(aws_service_trust(runs, KNOWN) in policies for runs in Runs)
        assert all(aws_permissions(holder, KNOWN) in policies for holder in EVERYBODY)
        assert len(policies) == 3 * len(EVERYBODY), "the trust to make and to update, what it may"
        assert (
            words.count("create-role") == words.count("update-assume-role-policy") == len(EVERYBODY)
        )
        assert {"sagemaker-run", "sagemaker-train", "tidegate-switch", "tidegate-train"} <= set(
            words
        )
        return
    assert words.count("create-oidc") == words.count("update-oidc") == len(Job)
    for job in Job:
        assert words.count(gcp_provider(CALLER, job, KNOWN)["attributeCondition"]) == 2
        assert gcp_member(job, KNOWN) in words
    for holder in EVERYBODY:
        for binding in gcp_bindings(holder, KNOWN):
            if "condition" in binding:
                told = binding["condition"]
                assert f"title={told['title']},expression={told['expression']}" in words


@BOTH
def test_the_lines_for_the_workflow_name_the_roles_that_are_made(cloud: Cloud) -> None:
    said = "\n".join(commands(cloud, CALLER, KNOWN))
    if cloud is Cloud.AWS:
        assert '#   aws-role: "arn:aws:iam::123456789012:role/tidegate-{job}"' in said
        assert all(f"--role-name tidegate-{job} " in said for job in Job)
    else:
        assert f'providers/tidegate-{{job}}"' in said  # noqa: F541 (as it is written)
        assert all(f"create-oidc tidegate-{job} " in said for job in Job)
