"""Identity tokens become credentials, for those whom the role trusts, for a while."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.aws.behaviour import exercises

if TYPE_CHECKING:
    from tests.aws.cloud import Cloud
    from tests.aws.kit import Kit

pytestmark = pytest.mark.real

ISSUER = "https://token.actions.githubusercontent.com"
ROLE = "arn:aws:iam::123456789012:role/deliver"


def claims(**more: Any) -> dict[str, Any]:
    return {
        "iss": ISSUER, "aud": "sts.amazonaws.com", "sub": "repo:acme/churn:ref:refs/heads/main",
        "exp": time.time() + 300, **more,
    }  # fmt: skip


def assume(kit: Kit, token: str, role: str = ROLE) -> dict[str, Any]:
    client = kit.client("sts", config=Config(signature_version=UNSIGNED))
    found: dict[str, Any] = client.assume_role_with_web_identity(
        RoleArn=role, RoleSessionName="run-1", WebIdentityToken=token
    )
    return found


def session(kit: Kit, answer: dict[str, Any]) -> Any:
    given = answer["Credentials"]
    own = boto3.session.Session(
        region_name="eu-west-1", aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
    )  # fmt: skip
    return lambda name: own.client(name, endpoint_url=kit.cloud.url)


@exercises("token-checked")
@pytest.mark.parametrize("secret", [None, "s3cret"])
def test_a_trusted_token_gives_credentials(kit: Kit, cloud: Cloud, secret: str | None) -> None:
    cloud.trust(ROLE, issuer=ISSUER, claims={"sub": "repo:acme/churn:*"}, secret=secret)
    answer = assume(kit, cloud.token(claims(), secret=secret))
    assert 3500 < answer["Credentials"]["Expiration"].timestamp() - time.time() <= 3600
    who = session(kit, answer)("sts").get_caller_identity()
    assert who["Arn"] == "arn:aws:sts::123456789012:assumed-role/deliver/run-1"
    assert kit.client("sts").get_caller_identity()["Account"] == "123456789012"


@exercises("token-checked")
@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"aud": "https://other"}, "InvalidIdentityToken"),
        ({"iss": "https://other"}, "InvalidIdentityToken"),
        ({"exp": 1}, "ExpiredTokenException"),
        ({"sub": "repo:evil/churn:ref:refs/heads/main"}, "AccessDenied"),
    ],
    ids=["audience", "issuer", "ended", "subject"],
)
def test_a_token_that_does_not_fit_is_refused(
    kit: Kit, cloud: Cloud, wrong: dict[str, Any], code: str
) -> None:
    cloud.trust(ROLE, issuer=ISSUER, claims={"sub": "repo:acme/churn:*"})
    with pytest.raises(ClientError) as caught:
        assume(kit, cloud.token(claims(**wrong)))
    assert caught.value.response["Error"]["Code"] == code


def test_forged_tokens_and_unknown_roles_are_refused(kit: Kit, cloud: Cloud) -> None:
    cloud.trust(ROLE, issuer=ISSUER, secret="s3cret")
    for token in (cloud.token(claims()), cloud.token(claims(), secret="other"), "not-a-token"):
        with pytest.raises(ClientError, match="InvalidIdentityToken"):
            assume(kit, token)
    with pytest.raises(ClientError, match="AccessDenied"):
        assume(kit, cloud.token(claims(), secret="s3cret"), ROLE + "x")


@exercises("session-ends", "session-life-real", "signature-unchecked")
def test_credentials_end(kit: Kit, cloud: Cloud) -> None:
    kit.bucket()
    cloud.trust(ROLE, issuer=ISSUER, life=60)
    answer = assume(kit, cloud.token(claims()))
    left = answer["Credentials"]["Expiration"].timestamp() - time.time()
    assert 30 < left <= 60
    client = session(kit, answer)
    cloud.advance(3600)  # of the stand-in's clock, by which they do not live
    assert client("sagemaker").list_models()["Models"] == []
    client("s3").list_buckets()
    key = answer["Credentials"]["AccessKeyId"]
    cloud.sessions[key] = replace(cloud.sessions[key], ends=time.time() - 1)
    for name, call, code in (
        ("sagemaker", "list_models", "ExpiredTokenException"),
        ("scheduler", "list_schedules", "ExpiredTokenException"),
        ("s3", "list_buckets", "ExpiredToken"),
        ("sts", "get_caller_identity", "ExpiredToken"),
    ):
        with pytest.raises(ClientError) as caught:
            getattr(client(name), call)()
        assert caught.value.response["Error"]["Code"] == code
    assert kit.sm.list_models()["Models"] == []
