"""Who asks: access tokens, the token exchange, impersonation, and the metadata server."""

from __future__ import annotations

import base64
import itertools
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.gcp import behaviour
from tests.gcp.clock import stamp
from tests.gcp.routing import Answer, RefusedError, method, refuse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.gcp.cloud import Cloud
    from tests.gcp.routing import Request

SCOPE = "https://www.googleapis.com/auth/cloud-platform"


@dataclass
class Trust:
    """A workload identity provider: whose tokens it takes, and whom they may act as."""

    audience: str  # //iam.googleapis.com/projects/N/locations/global/...
    claims: Mapping[str, str]  # what a token must carry
    service_accounts: set[str]
    issuer: str


@dataclass
class Identity:
    """The project's tokens; their lives are measured in real time, as clients do."""

    project: str
    number: str
    life: int = 3600  # seconds that the next tokens live
    trusts: dict[str, Trust] = field(default_factory=dict)
    exchanged: list[Mapping[str, Any]] = field(default_factory=list)  # claims of runners' tokens

    def __post_init__(self) -> None:
        self.ambient = f"runner@{self.project}.iam.gserviceaccount.com"
        self._tokens: dict[str, tuple[str, float]] = {}
        self._numbers = itertools.count(1)

    # --- what a test does ---------------------------------------------------------------------

    def trust(
        self,
        claims: Mapping[str, str],
        *,
        service_accounts: tuple[str, ...] = (),
        pool: str = "github",
        provider: str = "tidegate",
        issuer: str = "https://token.actions.githubusercontent.com",
    ) -> str:
        """Set a provider up; return its name (``projects/N/.../providers/P``)."""
        name = (
            f"projects/{self.number}/locations/global/workloadIdentityPools/{pool}"
            f"/providers/{provider}"
        )
        audience = f"//iam.googleapis.com/{name}"
        self.trusts[audience] = Trust(audience, claims, set(service_accounts), issuer)
        return name

    def runner_token(self, provider: str, **claims: Any) -> str:
        """Return a token as GitHub gives it to a job, for a provider's name."""
        now = int(time.time())
        payload = {
            "iss": "https://token.actions.githubusercontent.com",
            "aud": f"https://iam.googleapis.com/{provider}",
            "sub": f"repo:{claims.get('repository', '')}:ref:refs/heads/main",
            "iat": now,
            "exp": now + 300,
            **claims,
        }
        parts = [{"alg": "RS256", "typ": "JWT", "kid": "loopback"}, payload]
        return ".".join([*map(_encoded, parts), "c2lnbmF0dXJl"])

    def revoke(self) -> None:
        """Let every token given so far be worth nothing."""
        self._tokens.clear()

    # --- tokens -------------------------------------------------------------------------------

    def mint(self, principal: str, life: int | None = None) -> tuple[str, int]:
        """Return a new token and its life in seconds."""
        life = self.life if life is None else life
        token = f"ya29.loopback-{next(self._numbers)}"
        self._tokens[token] = (principal, time.time() + life)
        return token, life

    def principal(self, header: str | None) -> str:
        """Return who a request's Authorization header stands for.

        Raises:
            RefusedError: nobody (401).
        """
        kind, _, token = (header or "").partition(" ")
        known, until = self._tokens.get(token, ("", 0.0))
        if kind.lower() != "bearer" or time.time() >= until:
            raise refuse(
                "UNAUTHENTICATED",
                "Request had invalid authentication credentials. Expected OAuth 2 access token.",
                rule="token",
            )
        return known

    def metadata(self, path: str, headers: Mapping[str, str]) -> Answer:
        """Answer for https://cloud.google.com/compute/docs/metadata/overview."""
        flavor = {"Metadata-Flavor": "Google"}
        account = {"aliases": ["default"], "email": self.ambient, "scopes": [SCOPE]}
        rest = path.removeprefix("/computeMetadata/v1/").rstrip("/")
        accounts = "instance/service-accounts/"
        if rest and headers.get("metadata-flavor") != "Google":
            return Answer(status=403, data=b"Missing Metadata-Flavor:Google header.")
        texts = {
            "": "",
            "project/project-id": self.project,
            "project/numeric-project-id": self.number,
            "universe/universe-domain": "googleapis.com",
            f"{accounts}default/email": self.ambient,
        }
        if rest in texts:
            kind = {"Content-Type": "application/text"}
            return Answer(data=texts[rest].encode(), headers=flavor | kind)
        if rest in {f"{accounts}default/token", f"{accounts}{self.ambient}/token"}:
            token, life = self.mint(self.ambient)
            body: Mapping[str, Any] = {
                "access_token": token,
                "expires_in": life,
                "token_type": "Bearer",
            }
        elif rest in {f"{accounts}default", f"{accounts}{self.ambient}"}:
            body = account
        else:
            return Answer(status=404, data=b"not found", headers=flavor)
        kind = {"Content-Type": "application/json"}
        return Answer(data=json.dumps(body).encode(), headers=flavor | kind)


def _encoded(part: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def _decoded(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    assert isinstance(claims, dict)
    return claims


def _no(error: str, said: str) -> RefusedError:
    return RefusedError(400, {"error": error, "error_description": said})


@method("sts.token")
def _exchange(cloud: Cloud, request: Request) -> Any:
    """https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token"""
    given = request.body
    if given["grantType"] != "urn:ietf:params:oauth:grant-type:token-exchange":
        raise _no("unsupported_grant_type", given["grantType"])
    trust = cloud.identity.trusts.get(given.get("audience", ""))
    if trust is None:
        behaviour.apply("audience")
        raise _no("invalid_target", f"There is no provider {given.get('audience')!r}.")
    try:
        claims = _decoded(given["subjectToken"])
    except (ValueError, IndexError, AssertionError):
        raise _no("invalid_grant", "Unable to parse the ID Token.") from None
    behaviour.apply("signature")
    if claims.get("aud") not in {trust.audience, f"https:{trust.audience}"}:
        behaviour.apply("audience")
        raise _no(
            "invalid_grant", f"The audience in ID Token [{claims.get('aud')}] does not match."
        )
    if claims.get("iss") != trust.issuer or claims.get("exp", 0) <= time.time():
        raise _no("invalid_grant", "The ID Token is of another issuer, or has expired.")
    if any(claims.get(key) != value for key, value in trust.claims.items()):
        behaviour.apply("attribute-condition")
        raise _no(
            "unauthorized_client", "The given credential is rejected by the attribute condition."
        )
    cloud.identity.exchanged.append(claims)
    token, life = cloud.identity.mint(f"principal:{trust.audience}/subject/{claims['sub']}")
    return {
        "access_token": token,
        "expires_in": life,
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_type": "Bearer",
    }


@method("iamcredentials.projects.serviceAccounts.generateAccessToken")
def _impersonate(cloud: Cloud, request: Request) -> Any:
    account = request.params["serviceAccountsId"]
    life = int(float(request.body.get("lifetime", "3600s")[:-1]))
    if not 0 < life <= 3600:
        raise refuse(
            "INVALID_ARGUMENT", f"Invalid lifetime: {life} s is over 3600 s.", rule="impersonation"
        )
    allowed = any(
        request.principal.startswith(f"principal:{trust.audience}/")
        and account in trust.service_accounts
        for trust in cloud.identity.trusts.values()
    )
    if not allowed:
        raise refuse(
            "PERMISSION_DENIED",
            f"Permission 'iam.serviceAccounts.getAccessToken' denied on {account}.",
            rule="impersonation",
        )
    token, life = cloud.identity.mint(account, min(life, cloud.identity.life))
    # In whole seconds: google-auth reads no others.
    until = stamp(int(time.time()) + life).replace(".000000Z", "Z")
    return {"accessToken": token, "expireTime": until}
