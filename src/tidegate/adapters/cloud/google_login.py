"""Where Google's bearer tokens come from: the job's own identity, or this machine's.

Workload identity federation: https://cloud.google.com/iam/docs/workload-identity-federation
STS: https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token
Impersonation: https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tidegate.adapters.cloud.google_errors import GoogleError, plain
from tidegate.adapters.cloud.oidc import provider, runner_of, service_account
from tidegate.adapters.cloud.renewal import Lease
from tidegate.adapters.cloud.repeating import AgainError, retry_after
from tidegate.errors import OutsideError
from tidegate.redact import redact
from tidegate.roles import role_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate.adapters.cloud.google_route import Route
    from tidegate.adapters.cloud.repeating import Repeater
    from tidegate.runner import Runner

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
RENEWAL_TRIES = 4
TIMEOUT = 20  # seconds
_LIFE = 3600.0  # seconds, of a token that does not say
_JWT = "urn:ietf:params:oauth:token-type:jwt"
_METADATA = "/computeMetadata/v1/instance/service-accounts/default/token"
_ADC = "GOOGLE_APPLICATION_CREDENTIALS"


@dataclass(kw_only=True)
class Login:
    """Asks for bearer tokens; calling it returns one with its life.

    Attributes:
        what: names the session in messages.
        project: of the machine's own credentials, once they were used; "" where unknown.
        headers: what goes with every request.
    """

    what: str
    route: Route
    repeater: Repeater
    runner: Runner | None  # None: the machine's own credentials
    provider: str = ""
    account: str = ""
    stand_in: bool = False  # which is its own metadata server, as on a machine of Google's
    project: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    _subject: str = field(default="", repr=False)

    @classmethod
    def of(cls, env: Mapping[str, str], route: Route, repeater: Repeater) -> Login:
        """Return the login that the environment asks for.

        Raises:
            ConfigError: a variable is not what it must be.
            OutsideError: google-auth is not installed, or no job is there to prove.
        """
        try:
            import google.auth  # noqa: F401 (whether it is there)
        except ImportError:
            raise OutsideError(
                "google-auth, which speaks to Google Cloud, is not installed",
                remedy="pip install 'tidegate[vertex]'",
            ) from None
        few = replace(repeater, tries=RENEWAL_TRIES)
        name = role_for(env, "TIDEGATE_GCP_PROVIDER")
        account = role_for(env, "TIDEGATE_GCP_SERVICE_ACCOUNT")
        if not name:
            return cls(
                what="the Google session of this machine", route=route, repeater=few, runner=None,
                stand_in=route.base is not None and not env.get(_ADC),
                project=env.get("GOOGLE_CLOUD_PROJECT") or "",
            )  # fmt: skip
        return cls(
            what=f"the Google session of {account or name}",
            route=route,
            repeater=few,
            provider=provider(name),
            account=service_account(account) if account else "",
            runner=runner_of(env, "TIDEGATE_GCP_PROVIDER"),
        )

    def __call__(self) -> Lease[str]:
        """Ask for a token.

        Raises:
            OutsideError: none is to be had.
        """
        from google.auth import exceptions

        try:
            return self.repeater(lambda _: self._attempt())
        except exceptions.DefaultCredentialsError:
            raise OutsideError(
                "this machine has no Google credentials",
                remedy="In a GitHub job set TIDEGATE_GCP_PROVIDER (and give it `id-token: write`); "
                "elsewhere run `gcloud auth application-default login`.",
            ) from None
        except exceptions.GoogleAuthError as error:
            said = plain(redact(str(error), {"TOKEN": self._subject}))
            raise GoogleError(
                f"Google gives no token for {self.what.removeprefix('the Google session of ')}: {said}",
                status=401,
                remedy="The provider's condition must admit this repository, and the service "
                "account let it impersonate: `tidegate doctor --policy gcp` prints both."
                if self.runner else "Log in again: `gcloud auth application-default login`.",
            ) from None  # fmt: skip

    def _attempt(self) -> Lease[str]:
        from google.auth import exceptions

        through = _through(self.route)
        try:
            if self.stand_in:
                answer = through(
                    f"{self.route.base}{_METADATA}", headers={"Metadata-Flavor": "Google"}
                )
                told = json.loads(answer.data)
                return Lease(told["access_token"], float(told["expires_in"]))
            credentials = self._credentials()
            credentials.refresh(through)
        except exceptions.TransportError as error:
            lost = GoogleError(
                f"Google cannot be reached for a token: {plain(str(error))}", status=0
            )
            raise AgainError(lost) from None
        if self.runner:
            self.runner.mask(credentials.token)
        if quota := getattr(credentials, "quota_project_id", None):
            self.headers["x-goog-user-project"] = quota
        end = credentials.expiry
        now = datetime.now(UTC).replace(tzinfo=None)  # google-auth's times have no zone
        return Lease(credentials.token, (end - now).total_seconds() if end else _LIFE)

    def _credentials(self) -> Any:
        """Return fresh credentials, which have no token yet."""
        import google.auth
        from google.auth import identity_pool

        if self.runner is None:
            found, project = google.auth.default(scopes=[SCOPE])
            self.project = project or ""
            return found
        login, runner = self, self.runner

        class _Supplier(identity_pool.SubjectTokenSupplier):  # type: ignore[misc]
            def get_subject_token(self, context: Any, request: Any) -> str:  # noqa: ARG002 (google-auth's)
                login._subject = runner.id_token(f"https://iam.googleapis.com/{login.provider}")
                return login._subject

        impersonation = None
        if self.account:
            impersonation = (
                "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
                f"{self.account}:generateAccessToken"
            )
        return identity_pool.Credentials(
            audience=f"//iam.googleapis.com/{self.provider}",
            subject_token_type=_JWT,
            subject_token_supplier=_Supplier(),
            service_account_impersonation_url=impersonation,
            scopes=[SCOPE],
        )


def _through(route: Route) -> Any:
    """Return google-auth's way to the network, by our route and without its own repeats."""
    import requests
    from google.auth.transport import requests as transport

    session = requests.Session()
    session.auth = lambda request: request  # keeps a .netrc file out
    session.trust_env = route.base is None

    class _Request(transport.Request):  # type: ignore[misc]
        def __call__(self, url: str, *args: Any, **options: Any) -> Any:
            options |= {"timeout": TIMEOUT, "allow_redirects": False}
            answer = super().__call__(route.perhaps(url), *args, **options)
            if answer.status >= 500 or answer.status == 429:
                error = GoogleError(
                    f"Google gives no token: {answer.status}", status=answer.status,
                    remedy="Run again later; https://status.cloud.google.com tells of outages.",
                )  # fmt: skip
                raise AgainError(error, after=retry_after(answer.headers.get("retry-after")))
            return answer

    return _Request(session)
