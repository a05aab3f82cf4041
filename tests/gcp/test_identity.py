"""Tokens, by real google-auth credentials."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests
from google.auth import exceptions, identity_pool
from google.auth.transport.requests import Request

from tests.gcp.client import Client
from tests.gcp.identity import SCOPE
from tests.gcp.rows import shows
from tests.gcp.server import serve

if TYPE_CHECKING:
    from pathlib import Path

    from tests.gcp.cloud import Cloud

pytestmark = pytest.mark.real
ACCOUNT = "tidegate@acme-ml.iam.gserviceaccount.com"
CLAIMS = {"repository": "acme/churn", "ref": "refs/heads/main"}


def federated(
    cloud: Cloud, folder: Path, provider: str, token: str, account: str = "", life: int = 3600
) -> Any:
    """Return google-auth's workload identity credentials for a runner's token."""
    file = folder / "token"
    file.write_text(token, encoding="utf-8")
    info: dict[str, Any] = {
        "type": "external_account",
        "audience": f"//iam.googleapis.com/{provider}",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{cloud.url}/sts.googleapis.com/v1/token",
        "credential_source": {"file": str(file)},
    }
    if account:
        info["service_account_impersonation_url"] = (
            f"{cloud.url}/iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
            f"{account}:generateAccessToken"
        )
        info["service_account_impersonation"] = {"token_lifetime_seconds": life}
    return identity_pool.Credentials.from_info(info, scopes=[SCOPE])


@shows("signature", "impersonation")
def test_a_runners_token_becomes_a_service_account(cloud: Cloud, tmp_path: Path) -> None:
    provider = cloud.identity.trust(CLAIMS, service_accounts=(ACCOUNT,))
    token = cloud.identity.runner_token(provider, **CLAIMS)
    client = Client(cloud, federated(cloud, tmp_path, provider, token, ACCOUNT))
    client.did("GET", f"{client.vertex}/endpoints")
    assert cloud.calls[-1].principal == ACCOUNT
    assert [call.method for call in cloud.calls[:2]] == [
        "sts.token",
        "iamcredentials.projects.serviceAccounts.generateAccessToken",
    ]
    # Long calls are refused, and who is not named may not be impersonated.
    assert _denied(cloud, tmp_path, provider, token, "other@acme-ml.iam.gserviceaccount.com")
    assert _denied(cloud, tmp_path, provider, token, ACCOUNT, life=7200)


def _denied(cloud: Cloud, folder: Path, *args: Any, **kwargs: Any) -> bool:
    with pytest.raises(exceptions.RefreshError):
        federated(cloud, folder, *args, **kwargs).refresh(Request())
    return True


@shows("attribute-condition", "audience")
def test_another_repositorys_token_is_worth_nothing(cloud: Cloud, tmp_path: Path) -> None:
    provider = cloud.identity.trust(CLAIMS)
    stranger = cloud.identity.runner_token(provider, **{**CLAIMS, "repository": "evil/churn"})
    other = cloud.identity.runner_token(f"{provider}-other", **CLAIMS)
    late = cloud.identity.runner_token(provider, **CLAIMS, exp=int(time.time()) - 1)
    for token in (stranger, other, late, "no.token"):
        with pytest.raises(exceptions.GoogleAuthError):
            federated(cloud, tmp_path, provider, token).refresh(Request())
    well = cloud.identity.runner_token(provider, **CLAIMS)
    with pytest.raises(exceptions.GoogleAuthError):
        federated(cloud, tmp_path, f"{provider}x", well).refresh(Request())
    federated(cloud, tmp_path, provider, well).refresh(Request())
    assert cloud.identity.exchanged[-1]["repository"] == "acme/churn"


@shows("token")
def test_no_token_or_an_old_one_is_401(cloud: Cloud) -> None:
    address = f"{cloud.url}/storage.googleapis.com/storage/v1/b/acme-models"
    assert requests.get(address, timeout=5).status_code == 401
    token, _ = cloud.identity.mint("somebody", life=1)
    head = {"Authorization": f"Bearer {token}"}
    assert requests.get(address, headers=head, timeout=5).status_code == 200
    time.sleep(1.05)
    assert requests.get(address, headers=head, timeout=5).status_code == 401


def test_anonymous_requests_can_be_allowed() -> None:
    with serve(anonymous=True) as cloud:
        address = f"{cloud.url}/storage.googleapis.com/storage/v1/b/acme-models"
        assert requests.get(address, timeout=5).status_code == 200


def test_the_environment_gives_ambient_credentials(cloud: Cloud) -> None:
    script = """
import google.auth, json, os
from google.auth.transport.requests import AuthorizedSession
credentials, project = google.auth.default(["https://www.googleapis.com/auth/cloud-platform"])
session = AuthorizedSession(credentials)
url = os.environ["TIDEGATE_GOOGLE_URL"] + "/storage.googleapis.com/storage/v1/b/acme-models"
print(json.dumps([project, session.get(url).status_code]))
"""
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": "/usr/bin:/bin", **cloud.env},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert json.loads(run.stdout or "0") == [cloud.project, 200], run.stderr
    assert cloud.calls[-1].principal == cloud.identity.ambient
