"""How a job gets a role's session on AWS: its own token, exchanged.

https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
"""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from tidegate.adapters.cloud.aws_errors import AwsError
from tidegate.adapters.cloud.oidc import AWS_AUDIENCE, session_name
from tidegate.adapters.cloud.renewal import Lease, Renewing

if TYPE_CHECKING:
    from datetime import datetime

    from tidegate.adapters.cloud.aws import Aws
    from tidegate.adapters.cloud.repeating import Repeater
    from tidegate.runner import Runner

RENEWAL_TRIES = 4
_SKEW = 2.0  # seconds between two clocks that are the same

Keys = tuple[str, str, str]  # access key, secret key, session token


class Exchange:
    """Exchanges the job's token for the role's session."""

    def __init__(
        self, arn: str, runner: Runner, region: str, repeater: Repeater, session: type[Aws]
    ) -> None:
        self._arn = arn
        self._runner = runner
        self._region = region
        self._repeater = repeater
        self._aws = session  # given, because it is made of what this module returns

    def __call__(self) -> Lease[Keys]:
        """Exchange a fresh token.

        https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html

        Raises:
            OutsideError: GitHub gives no token, or AWS does not give the role for it.
        """
        import boto3
        from botocore import UNSIGNED
        from botocore.config import Config

        token = self._runner.id_token(AWS_AUDIENCE)
        session = boto3.Session(region_name=self._region)
        unsigned = Config(signature_version=UNSIGNED)
        sts = self._aws(session, self._region, self._repeater, config=unsigned, secret=token)
        try:
            answer = sts.call(
                "sts", "assume_role_with_web_identity",
                RoleArn=self._arn, RoleSessionName=session_name(self._runner),
                WebIdentityToken=token,
            )  # fmt: skip
        except AwsError as error:
            raise AwsError(
                f"AWS does not give this job the role {self._arn}: {error}",
                code=error.code,
                status=error.status,
                remedy="Its trust policy must name GitHub's provider and this repository: "
                "`tidegate doctor --policy aws` prints one."
                if error.status
                else error.remedy,
            ) from None
        found = answer["Credentials"]
        for secret in (found["SecretAccessKey"], found["SessionToken"]):
            self._runner.mask(secret)
        keys = (found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])
        headers = answer["ResponseMetadata"].get("HTTPHeaders", {})
        return Lease(keys, _life(found["Expiration"], headers.get("date")))


def _life(end: datetime, date: str | None) -> float:
    """Return the seconds to ``end``, by the server's clock where ours differs."""
    now = time.time()
    try:
        ahead = parsedate_to_datetime(date or "").timestamp() - now
    except (TypeError, ValueError):
        ahead = 0.0
    return end.timestamp() - now - (ahead if abs(ahead) > _SKEW else 0.0)


def provider_of(renewing: Renewing[Keys]) -> Any:
    """Return boto's way to be told credentials: it asks before each signature."""
    from botocore.credentials import CredentialProvider, Credentials, ReadOnlyCredentials

    class _Live(Credentials):  # type: ignore[misc]
        method = "tidegate"
        account_id = None

        def __init__(self) -> None: ...

        def get_frozen_credentials(self) -> Any:
            return ReadOnlyCredentials(*renewing.value())

        access_key = property(lambda _: renewing.value()[0])
        secret_key = property(lambda _: renewing.value()[1])
        token = property(lambda _: renewing.value()[2])

    class _Provider(CredentialProvider):  # type: ignore[misc]
        METHOD = CANONICAL_NAME = "tidegate"

        def __init__(self) -> None: ...

        def load(self) -> Any:
            return _Live()

    return _Provider()
