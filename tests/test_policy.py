"""The cloud's trust: a simulator of both clouds' rules, and forged claims that must not get in."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from tidegate.errors import ConfigError
from tidegate.grants import GRANTS, Cloud, Job
from tidegate.policy import (
    ISSUER,
    WHAT,
    Caller,
    Values,
    audience,
    aws_permissions,
    aws_trust,
    gcp_bindings,
    gcp_member,
    gcp_provider,
    gcp_role,
    values,
)
from tidegate.render.policy import commands, document

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

C = "0123456789abcdef0123456789abcdef01234567"
OTHER = "fedcba9876543210fedcba9876543210fedcba98"
KNOWN = values(
    {
        "account": "123456789012", "region": "eu-west-1", "endpoint": "credit", "bucket": "acme-models",
        "prefix": "tidegate", "execution_role": "sagemaker-run", "scheduler_role": "tidegate-switch",
        "image_repository": "serving", "key": "1234-abcd", "project": "acme-ml",
        "project_number": "4711", "pool": "tidegate", "runner_account": "model-run",
        "repository_id": "1001", "owner_id": "77",
    }
)  # fmt: skip
CALLER = Caller(slug="acme/credit", environment="production-operate", commits=(C,))
NAMES = "repo:acme/credit:environment:production-operate"
NUMBERS = "repo:acme@77/credit@1001:environment:production-operate"
WORKFLOWS = "tidegate/tidegate/.github/workflows"


def genuine(job: Job, cloud: Cloud, sub: str = NAMES) -> dict[str, Any]:
    """Return the claims that GitHub signs for the job."""
    file = "judge-model.yml" if job is Job.DECIDE else "watch-model.yml"
    return {
        "iss": f"https://{ISSUER}",
        "aud": "sts.amazonaws.com" if cloud is Cloud.AWS else audience(job, KNOWN),
        "sub": sub,
        "repository": "acme/credit",
        "repository_id": "1001",
        "repository_owner": "acme",
        "repository_owner_id": "77",
        "environment": "production-operate",
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
    claims = genuine(job, cloud, sub) | FORGED[name]
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
def test_neither_job_gets_in_as_the_other(cloud: Cloud) -> None:
    for job, other in ((Job.DECIDE, Job.OPERATE), (Job.OPERATE, Job.DECIDE)):
        claims = genuine(job, cloud) | {"aud": genuine(other, cloud)["aud"]}
        assert not lets_in(cloud, other, claims)


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
    assert caller.subjects(KNOWN)[0] == "repo:acme/credit:environment:prod%3Aeu"


def test_the_form_that_github_names_is_the_only_one_trusted() -> None:
    caller = Caller(
        slug="acme/credit", environment="live", commits=(C,), prefix="repo:acme@77/credit@1001"
    )
    assert caller.subjects(KNOWN) == ["repo:acme@77/credit@1001:environment:live"]


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
WITHOUT_RESOURCE = {"cloudwatch:GetMetricData"}


@JOBS
def test_a_permission_names_its_action_and_its_resource(job: Job) -> None:
    policy = aws_permissions(job, KNOWN)
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        assert not {"NotAction", "NotResource", "Principal"} & set(statement)
        assert not any("*" in action for action in statement["Action"])
        for resource in statement["Resource"]:
            if resource == "*":
                assert set(statement["Action"]) <= WITHOUT_RESOURCE
                assert statement["Condition"]
                continue
            # A star only behind a name or a folder of ours: never a whole kind of thing.
            assert re.fullmatch(r"arn:aws:[a-z0-9]+:[a-z0-9-]*:\d*:[^*]*(?:credit-|tidegate/)\*|arn:aws:[^*]+", resource), resource  # fmt: skip
        if "iam:PassRole" in statement["Action"]:
            assert statement["Action"] == ["iam:PassRole"]
            [service] = statement["Condition"]["StringEquals"].values()
            assert service.endswith(".amazonaws.com")
    assert all(statement.get("Condition", "none") for statement in policy["Statement"])
    sids = [statement["Sid"] for statement in policy["Statement"]]
    assert len(sids) == len(set(sids))
    assert all(re.fullmatch(r"[A-Za-z0-9]+", sid) for sid in sids)
    assert len(json.dumps(policy, separators=(",", ":"))) < 6144  # a managed policy's limit


def actions(job: Job) -> set[str]:
    return {a for s in aws_permissions(job, KNOWN)["Statement"] for a in s["Action"]}


def test_deciding_moves_no_traffic_and_operating_writes_no_bytes() -> None:
    assert not any(action.startswith(("sagemaker:", "iam:", "scheduler:")) for action in actions(Job.DECIDE))  # fmt: skip
    assert not {"s3:PutObject", "s3:DeleteObject"} & (actions(Job.OPERATE))
    assert "s3:PutObject" in actions(Job.DECIDE)
    assert "sagemaker:UpdateEndpointWeightsAndCapacities" in actions(Job.OPERATE)
    roles = {job: {b["role"] for b in gcp_bindings(job, KNOWN)} for job in Job}
    assert "roles/storage.objectCreator" in roles[Job.DECIDE] - roles[Job.OPERATE]
    assert gcp_role(Job.DECIDE, KNOWN)["includedPermissions"] == []
    assert not any(".setIamPolicy" in p for p in gcp_role(Job.OPERATE, KNOWN)["includedPermissions"])  # fmt: skip


def test_nobody_may_change_who_may_do_what() -> None:
    held = {grant.action for grant in GRANTS}
    assert not any(
        re.search(r"setIamPolicy|PutRolePolicy|AttachRole|CreateRole|AssumeRole|getAccessToken", action)
        for action in held
    )  # fmt: skip


def test_googles_bindings_are_on_one_folder_or_one_account() -> None:
    for job in Job:
        for binding in gcp_bindings(job, KNOWN):
            if binding["resource"].startswith("gs://"):
                assert 'startsWith("projects/_/buckets/acme-models/objects/tidegate/")' in binding["condition"]["expression"]  # fmt: skip
            else:
                assert binding["resource"].endswith("model-run@acme-ml.iam.gserviceaccount.com")


@pytest.mark.parametrize("grant", GRANTS, ids=lambda grant: f"{grant.job}-{grant.action}")
def test_every_permission_has_its_call_and_its_page(grant: Any) -> None:
    assert grant.call
    assert re.fullmatch(r"https://(docs\.aws\.amazon|cloud\.google)\.com/\S+", grant.url)
    if grant.cloud is Cloud.AWS:
        assert re.fullmatch(r"[a-z0-9]+:[A-Z][A-Za-z]+", grant.action)
        assert grant.resources
    else:
        assert re.fullmatch(r"[a-z]+(\.[a-zA-Z]+)+", grant.action)
        assert bool(grant.role) == bool(grant.resources)


def test_what_an_account_does_not_have_is_not_asked_for() -> None:
    known = values(
        {key: value for key, value in KNOWN.items() if key not in ("key", "image_repository")}
    )
    policies = json.dumps([aws_permissions(job, known) for job in Job])
    assert "kms:" not in policies
    assert "ecr:" not in policies
    whole = json.dumps([aws_permissions(job, KNOWN) for job in Job])
    assert "key/1234-abcd" in whole
    assert "repository/serving" in whole


# --- what a person says, and reads ----------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [("bucket", "*"), ("bucket", "a*"), ("bucket", "a?"), ("bucket", "${x}"), ("bucket", "a/"),
     ("bucket", ""), ("bucket", "a b"), ("bucket", "a'b"), ("bucket", 'a"b'), ("bucket", "a\nb"),
     ("account", "12345678901"), ("account", "ACCOUNT"), ("repository_id", "1001x"),
     ("project_number", "-1"), ("region", "{account}"), ("nonsense", "x")],
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
    for job in Job:
        if cloud is Cloud.AWS:
            policies = [json.loads(word) for word in words if word.startswith("{")]
            assert aws_trust(CALLER, job, KNOWN) in policies
            assert aws_permissions(job, KNOWN) in policies
        else:
            assert gcp_provider(CALLER, job, KNOWN)["attributeCondition"] in words
            assert gcp_member(job, KNOWN) in words
