"""The job's own identity, with which a cloud's session is asked for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tidegate.errors import ConfigError, OutsideError
from tidegate.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Mapping

AWS_AUDIENCE = "sts.amazonaws.com"
_SESSION_LENGTH = 64  # characters; AssumeRoleWithWebIdentity's RoleSessionName
_NO_NAME = re.compile(r"[^A-Za-z0-9_=,.@-]+")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]{1,512}", re.ASCII)
_PROVIDER = re.compile(
    r"(?:https:)?(?://iam\.googleapis\.com/)?(projects/[0-9]+/locations/global"
    r"/workloadIdentityPools/[a-z0-9-]{4,32}/providers/[a-z0-9-]{4,32})",
    re.ASCII,
)
_ACCOUNT = re.compile(r"[a-z0-9-]{1,64}@[a-z0-9.:-]{1,128}\.gserviceaccount\.com", re.ASCII)


def runner_of(env: Mapping[str, str], variable: str) -> Runner:
    """Return the job we run in.

    Raises:
        OutsideError: there is none, so ``variable`` cannot be followed.
    """
    if (runner := Runner.find(env)) is None:
        raise OutsideError(
            f"{variable} is set, but this is no GitHub job that could prove who it is",
            remedy=f"Unset {variable} to use this machine's own credentials.",
        )
    return runner


def session_name(runner: Runner) -> str:
    """Return what CloudTrail calls the job: its repository and run.

    >>> session_name(Runner({"GITHUB_REPOSITORY": "acme/flight delays", "GITHUB_RUN_ID": "17"}))
    'acme-flight-delays-17'
    """
    run = str(runner.run)
    name = _NO_NAME.sub("-", runner.repository)
    return f"{name[: _SESSION_LENGTH - len(run) - 1]}-{run}"


def role(value: str) -> str:
    """Return TIDEGATE_AWS_ROLE, checked.

    Raises:
        ConfigError: it is not a role's ARN.
    """
    if not _ROLE.fullmatch(value):
        raise ConfigError(
            f"TIDEGATE_AWS_ROLE is not the ARN of a role: {value[:200]!r}",
            remedy="It looks like arn:aws:iam::123456789012:role/tidegate.",
        )
    return value


def provider(value: str) -> str:
    """Return TIDEGATE_GCP_PROVIDER from ``projects/`` on, checked.

    Raises:
        ConfigError: it is not a provider's full name.
    """
    if (found := _PROVIDER.fullmatch(value)) is None:
        raise ConfigError(
            f"TIDEGATE_GCP_PROVIDER is not a provider's full name: {value[:200]!r}",
            remedy="It looks like projects/123456789/locations/global/workloadIdentityPools/"
            "github/providers/tidegate, with the project's number.",
        )
    return found[1]


def service_account(value: str) -> str:
    """Return TIDEGATE_GCP_SERVICE_ACCOUNT, checked.

    Raises:
        ConfigError: it is not a service account's address.
    """
    if not _ACCOUNT.fullmatch(value):
        raise ConfigError(
            f"TIDEGATE_GCP_SERVICE_ACCOUNT is not a service account: {value[:200]!r}",
            remedy="It looks like tidegate@my-project.iam.gserviceaccount.com.",
        )
    return value
