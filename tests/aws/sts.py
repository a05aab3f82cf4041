"""STS: tokens of a known issuer, for roles that trust it, become credentials that end.

https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.aws.routing import RefusedError, Row, operation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.aws.cloud import Cloud

PREFIX = "ASIATIDE"  # of the keys that we give out


@dataclass(frozen=True, kw_only=True)
class Trust:
    """What a role demands of a token. ``claims`` are patterns (``repo:acme/*``)."""

    issuer: str
    audience: str
    claims: Mapping[str, str] = field(default_factory=dict)
    secret: str | None = None  # HS256; None: unsigned tokens are fine
    life: float | None = None  # seconds; None: what was asked for


@dataclass(frozen=True, kw_only=True)
class Session:
    role: str
    name: str
    ends: float  # real epoch seconds


def mint(claims: Mapping[str, Any], *, secret: str | None = None) -> str:
    """Return a JWT: HS256 with a secret, unsigned without."""

    def part(content: Any) -> str:
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    signed = f"{part({'alg': 'HS256' if secret else 'none', 'typ': 'JWT'})}.{part(dict(claims))}"
    mark = hmac.digest(secret.encode(), signed.encode(), "sha256") if secret else b""
    return f"{signed}.{part(mark)}"


def _claims(token: str, secret: str | None) -> Row:
    try:
        head, body, mark = token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        given = base64.urlsafe_b64decode(mark + "=" * (-len(mark) % 4))
    except (ValueError, binascii.Error):
        raise RefusedError(
            "InvalidIdentityToken", "The ID Token provided is not a valid JWT."
        ) from None
    if secret is not None:
        expected = hmac.digest(secret.encode(), f"{head}.{body}".encode(), "sha256")
        if not hmac.compare_digest(given, expected):
            raise RefusedError("InvalidIdentityToken", "Couldn't verify the token's signature.")
    return dict(claims)


@operation("sts", "AssumeRoleWithWebIdentity")
def assume(cloud: Cloud, params: Row) -> Row:
    denied = RefusedError(
        "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity", status=403
    )
    trust = cloud.roles.get(params["RoleArn"])
    if trust is None:
        raise denied
    claims = _claims(params["WebIdentityToken"], trust.secret)
    if claims.get("iss") != trust.issuer:
        raise RefusedError(
            "InvalidIdentityToken", f"No OpenIDConnect provider found for {claims.get('iss')}"
        )
    audience = claims.get("aud")
    if trust.audience not in (audience if isinstance(audience, list) else [audience]):
        raise RefusedError("InvalidIdentityToken", "Incorrect token audience")
    if float(claims.get("exp", 0)) < time.time():
        raise RefusedError("ExpiredTokenException", "Token expired")
    if not all(
        fnmatch.fnmatchcase(str(claims.get(name, "")), pattern)
        for name, pattern in trust.claims.items()
    ):
        raise denied
    life = trust.life if trust.life is not None else params.get("DurationSeconds", 3600)
    ends = time.time() + life
    number = len(cloud.sessions) + 1
    key = f"{PREFIX}{number:012d}"
    name = params["RoleSessionName"]
    cloud.sessions[key] = Session(role=params["RoleArn"], name=name, ends=ends)
    role = params["RoleArn"].rpartition("/")[2]
    return {
        "Credentials": {
            "AccessKeyId": key,
            "SecretAccessKey": hashlib.sha256(key.encode()).hexdigest()[:40],
            "SessionToken": f"session-{number}",
            "Expiration": datetime.fromtimestamp(ends, UTC),
        },
        "SubjectFromWebIdentityToken": str(claims.get("sub", "")) or "nobody",
        "AssumedRoleUser": {
            "AssumedRoleId": f"AROA{number:016d}:{name}",
            "Arn": f"arn:aws:sts::{cloud.account}:assumed-role/{role}/{name}",
        },
        "Provider": claims["iss"],
        "Audience": trust.audience,
    }


@operation("sts", "GetCallerIdentity")
def identity(cloud: Cloud, params: Row) -> Row:
    session = cloud.sessions.get(cloud.caller)
    if session is None:
        return {
            "UserId": "AIDATIDEGATE00000000",
            "Account": cloud.account,
            "Arn": f"arn:aws:iam::{cloud.account}:user/tester",
        }
    role = session.role.rpartition("/")[2]
    return {
        "UserId": f"AROATIDEGATE00000000:{session.name}",
        "Account": cloud.account,
        "Arn": f"arn:aws:sts::{cloud.account}:assumed-role/{role}/{session.name}",
    }


def refused_session(cloud: Cloud, key: str, service: str) -> RefusedError | None:
    """Return why calls with this access key are refused, if they are."""
    session = cloud.sessions.get(key)
    if session is None and key.startswith(PREFIX):
        return RefusedError(
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
            status=403,
        )
    if session is not None and session.ends < time.time():
        code = "ExpiredToken" if service in {"s3", "sts"} else "ExpiredTokenException"
        return RefusedError(
            code,
            "The security token included in the request is expired",
            status=403 if service == "sts" else 400,
        )
    return None
