"""Amazon's APIs by boto3: one account, one region, credentials that renew themselves.

boto3 and botocore are imported here and in aws_login alone. boto3's own repeats are off: which call may be repeated is
decided here, by what it does.
Error codes: https://docs.aws.amazon.com/general/latest/gr/api-retries.html
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tidegate.adapters.cloud.aws_errors import AwsError, Judge
from tidegate.adapters.cloud.aws_login import RENEWAL_TRIES, Exchange, Keys, provider_of
from tidegate.adapters.cloud.oidc import role, runner_of
from tidegate.adapters.cloud.renewal import Renewing, SessionOver
from tidegate.adapters.cloud.repeating import AgainError, Budget, Repeater
from tidegate.errors import OutsideError
from tidegate.redact import redact
from tidegate.roles import role_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

__all__ = ["Aws", "AwsError", "SessionOver", "connect"]

CONNECT_TIMEOUT = 10.0  # seconds
READ_TIMEOUT = 75.0  # seconds; an endpoint answers within 60
_BLOCK = 1 << 20
_POOL = 20  # connections a service
# Calls that only read, by what their names begin with; what else may be repeated, by name.
_READING = ("describe_", "list_", "get_", "head_", "batch_get_", "filter_", "search")
_HARMLESS = frozenset({"upload_part", "abort_multipart_upload", "assume_role_with_web_identity"})


class Aws:
    """One account in one region. Safe to share between threads.

    Attributes:
        region: its name, ``eu-west-1``.
    """

    def __init__(  # noqa: PLR0913 (what a session is made of)
        self,
        session: Any,
        region: str,
        repeater: Repeater,
        *,
        renewing: Renewing[Keys] | None = None,
        config: Any = None,
        secret: str = "",
    ) -> None:
        self.region = region
        self._session = session
        self._repeater = repeater
        self._renewing = renewing
        self._config = _config().merge(config) if config else _config()
        self._secret = secret
        self._judge = Judge(self._hide)
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Aws({self.region!r})"

    def call(
        self, service: str, operation: str, /, *, repeat: bool | None = None, **arguments: Any
    ) -> dict[str, Any]:
        """Return the answer of a client's method (``"sagemaker", "describe_endpoint"``).

        Throttled calls are repeated; calls that only read, or with ``repeat`` True, also when the
        server fails or no answer comes. Any other call whose answer is lost may have been done:
        read back (``AwsError.unknown``).

        Raises:
            AwsError: refused, or nothing was answered (code "").
            SessionOver: the credentials have ended.
        """
        return self._repeated(service, operation, arguments, repeat, lambda answer: answer)

    def pages(self, service: str, operation: str, key: str, /, **arguments: Any) -> Iterator[Any]:
        """Yield the items under ``key`` of every page of a listing. Raises as :meth:`call`."""
        from botocore.exceptions import BotoCoreError
        from botocore.paginate import Paginator

        meta = self._client(service).meta
        name = meta.method_to_api_mapping[operation]
        paging = self._session._session.get_paginator_model(service).get_paginator(name)  # noqa: SLF001 (boto3 has no way to ask)
        paginator = Paginator(
            lambda **page: self.call(service, operation, **page),
            paging,
            meta.service_model.operation_model(name),
        )
        try:
            for page in paginator.paginate(**arguments):
                yield from page.get(key) or ()
        except BotoCoreError as error:  # the same token twice
            raise self._judge.broken(f"{service} {operation}", error) from None

    def download(self, bucket: str, key: str, into: Path, *, at_most: int) -> dict[str, Any]:
        """Write an object's bytes to a file, whole or not at all, and return the answer.

        https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html

        Raises:
            OutsideError: it is larger than ``at_most`` bytes, or as :meth:`call`.
        """
        part = into.with_name(f"{into.name}.part-{os.getpid()}-{threading.get_ident()}")

        def write(answer: dict[str, Any]) -> dict[str, Any]:
            size = 0
            with part.open("wb") as file, answer.pop("Body") as body:
                while block := body.read(_BLOCK):
                    size += len(block)
                    if size > at_most:
                        raise OutsideError(f"{key} in {bucket} is larger than {at_most:,} bytes")
                    file.write(block)
            return answer

        arguments = {"Bucket": bucket, "Key": key, "ChecksumMode": "ENABLED"}
        try:
            answer = self._repeated("s3", "get_object", arguments, None, write)
            part.replace(into)
        except OSError as error:
            raise OutsideError(f"{into} cannot be written: {error.strerror}") from None
        finally:
            part.unlink(missing_ok=True)
        return answer

    @cached_property
    def account(self) -> str:
        """The account's number.

        https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
        """
        return str(self.call("sts", "get_caller_identity")["Account"])

    @property
    def fading(self) -> bool:
        """Whether the session cannot be renewed, and ends soon."""
        return self._renewing is not None and self._renewing.fading

    @property
    def partition(self) -> str:
        """The region's partition, as ARNs name it: ``aws``, ``aws-cn``, ``aws-us-gov``."""
        return str(self._session.get_partition_for_region(self.region))

    # --- one call ---------------------------------------------------------------------------

    def _client(self, service: str) -> Any:
        with self._lock:  # making clients is not safe between threads, using them is
            if service not in self._clients:
                self._clients[service] = self._session.client(
                    service, region_name=self.region, config=self._config
                )
            return self._clients[service]

    def _repeated(
        self,
        service: str,
        operation: str,
        arguments: Mapping[str, Any],
        repeat: bool | None,  # noqa: FBT001 (passed on)
        use: Callable[[dict[str, Any]], dict[str, Any]],
    ) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        name = f"{service} {operation}"
        harmless = operation.startswith(_READING) or operation in _HARMLESS
        repeatable = harmless if repeat is None else repeat
        renewed = False

        def attempt(lost: bool) -> dict[str, Any]:  # noqa: FBT001 (the repeater's)
            nonlocal renewed
            before = self._renewing.held if self._renewing else None
            try:
                return use(getattr(self._client(service), operation)(**arguments))
            except ClientError as error:
                found = self._judge.refused(name, error.response)
                found.repeated = lost
                if found.expired:
                    used = before or (self._renewing.held if self._renewing else None)
                    if self._renewing is None or used is None or renewed:
                        raise _over(found) from None
                    # Refused, so nothing has happened: once more with new ones.
                    renewed = True
                    self._renewing.spoil(used)
                    raise AgainError(found, after=0.0) from None
                self._judge.weigh(found, error.response, repeatable=repeatable)
            except (BotoCoreError, ResponseParserError) as error:
                broken = self._judge.broken(name, error)
                broken.repeated = lost
                if self._judge.passing(error) and (repeatable or not broken.unknown):
                    raise AgainError(broken, lost=broken.unknown) from None
                raise broken from None
            raise AssertionError

        return self._repeater(attempt)

    def _hide(self, text: str) -> str:
        """Return a text without the credentials that are in use."""
        held = self._renewing.held if self._renewing else None
        secrets = (self._secret, *(held or ()))
        return redact(text, {f"SECRET_{index}": value for index, value in enumerate(secrets)})


def _over(error: AwsError) -> SessionOver:
    return SessionOver(
        f"the AWS session is over: {error}",
        remedy="Log in again, or set TIDEGATE_AWS_ROLE so that Tidegate renews it by itself.",
    )


def _whole(operation_model: Any, response_dict: Mapping[str, Any], **_: Any) -> None:
    """Refuse an answer that was cut short: botocore would parse what there is of it."""
    from botocore.exceptions import IncompleteReadError

    headers, body = response_dict["headers"], response_dict.get("body")
    told = headers.get("content-length")
    # An answer whose headers were cut has lost the ones that say how long it is.
    endless = told is None and "transfer-encoding" not in headers
    status = response_dict["status_code"]
    if endless and status in range(200, 300) and status != 204:
        raise IncompleteReadError(actual_bytes=0, expected_bytes=1)
    if operation_model.http.get("method") == "HEAD" or not isinstance(body, bytes):
        return
    if told is not None and len(body) < int(told):
        raise IncompleteReadError(actual_bytes=len(body), expected_bytes=int(told))


def _config() -> Any:
    from botocore.config import Config

    return Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        max_pool_connections=_POOL,
        user_agent_extra="tidegate",
    )


# --- connecting -------------------------------------------------------------------------------


def connect(
    region: str | None = None,
    *,
    env: Mapping[str, str] | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Aws:
    """Return a session; credentials are asked for when the first call needs them.

    With TIDEGATE_AWS_ROLE, the runner's OpenID Connect token is exchanged for the role's session
    and renewed at 80 % of its life; without it, boto3 finds credentials as it always does.

    Args:
        region: None takes TIDEGATE_AWS_REGION, AWS_REGION, AWS_DEFAULT_REGION or the profile's.
        env: the environment that names role and region; None: ours.
        sleep: waits that many seconds.
        clock: seconds that never go backwards.

    Raises:
        ConfigError: TIDEGATE_AWS_ROLE is no role.
        OutsideError: boto3 is not installed, no region is known, or no job is there to prove.
    """
    try:
        import boto3
        import botocore.exceptions
        import botocore.session
    except ImportError:
        raise OutsideError(
            "boto3, which speaks to AWS, is not installed",
            remedy="pip install 'tidegate[sagemaker]'",
        ) from None
    env = os.environ if env is None else env
    core = botocore.session.Session()
    names = ("TIDEGATE_AWS_REGION", "AWS_REGION", "AWS_DEFAULT_REGION")
    named = region or next((env[name] for name in names if env.get(name)), None)
    try:
        named = named or core.get_config_variable("region")
    except botocore.exceptions.BotoCoreError as error:
        raise OutsideError(f"AWS's configuration cannot be used: {error}") from None
    if not named:
        raise OutsideError(
            "no AWS region is named",
            remedy="Set `region` in mlops.yaml, or TIDEGATE_AWS_REGION in the environment.",
        )
    core.register("before-parse", _whole)
    repeater = Repeater(Budget(), sleep=sleep, clock=clock)
    renewing = None
    if arn := role_for(env, "TIDEGATE_AWS_ROLE"):
        runner = runner_of(env, "TIDEGATE_AWS_ROLE")
        few = replace(repeater, tries=RENEWAL_TRIES)
        exchange = Exchange(role(arn), runner, named, few, Aws)
        renewing = Renewing(
            exchange,
            what=f"the AWS session of {arn}",
            remedy="Run the job again: what was begun is found and finished.",
            clock=clock,
        )
        core.get_component("credential_provider").providers.insert(0, provider_of(renewing))
    try:
        session = boto3.Session(botocore_session=core, region_name=named)
    except botocore.exceptions.BotoCoreError as error:
        raise OutsideError(f"AWS's configuration cannot be used: {error}") from None
    return Aws(session, named, repeater, renewing=renewing)
