"""One account in one region: its state, what was asked of it, and what a test may do to it."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Any

from tests.aws.alarms import Alarms
from tests.aws.capture import Capture
from tests.aws.clock import Clock
from tests.aws.faults import Fault, Faults
from tests.aws.fleet import Fleet
from tests.aws.joblogs import Logs
from tests.aws.metrics import Metrics
from tests.aws.scheduler import Schedules
from tests.aws.sts import Session, Trust, mint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.aws.routing import Row
    from tests.aws.state import Endpoint, EndpointConfig, Model
    from tests.aws.training import Job

ACCOUNT = "123456789012"
REGION = "eu-west-1"
SERVER_FAULTS = {
    "InternalFailure": 500, "InternalServerException": 500, "InternalServiceError": 500,
    "ServiceUnavailable": 503, "ServiceUnavailableException": 503, "SlowDown": 503,
}  # fmt: skip


class Cloud:
    """The stand-in. Knobs are plain attributes; times are real seconds unless said otherwise."""

    def __init__(self, *, time_scale: float = 1.0, speed: float = 0.05, seed: int = 0) -> None:
        self.account = ACCOUNT
        self.region = REGION
        self.url = ""  # set by the server
        self.time = Clock(scale=time_scale)
        self.lock = threading.RLock()
        self.dice = random.Random(seed)

        # Knobs.
        self.speed = speed  # how long creating and updating take
        self.metrics_delay = 0.0  # seconds of the stand-in's clock until a sample can be read
        self.capture_delay = 0.0  # likewise, until captured requests are in the bucket
        self.invocation_timeout = 60.0
        self.startup_timeout = 60.0  # for a model server's first good /ping
        self.stale_configs = 0  # CreateEndpoint and UpdateEndpoint miss a new config so many times
        self.rollback_fails = False  # the next rollback ends in UpdateRollbackFailed
        self.weights_fail = False  # the next weights call is rolled back
        self.spot_share = 0.3  # of a spot job's seconds that are billed
        self.schedule_lateness: float | None = None  # seconds; None: drawn, up to a minute
        self.commands: dict[str, list[str]] = {}  # image -> command of a bring-your-own server

        # State.
        self.models: dict[str, Model] = {}
        self.configs: dict[str, EndpointConfig] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self.tags: dict[str, dict[str, str]] = {}  # by ARN
        self.jobs: dict[str, Job] = {}
        self.roles: dict[str, Trust] = {}
        self.sessions: dict[str, Session] = {}
        self.metrics = Metrics(self)
        self.alarms = Alarms(self)
        self.schedules = Schedules(self)
        self.logs = Logs(self)
        self.capture = Capture(self)
        self.fleet = Fleet(self)
        self.faults = Faults()
        self.caller = ""  # the access key of the call under way

        # Records.
        self.calls: list[tuple[str, str, Row]] = []
        self.violations: list[str] = []
        self._lag: list[int] = []
        self.moto: Any = None

    # --- what a test sees -------------------------------------------------------------------------

    @property
    def env(self) -> dict[str, str]:
        """The environment in which boto3 finds this stand-in and nothing else."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        }

    def clock(self) -> dict[str, str]:
        """Return the variables from which a client gets the same clock (tests.aws.clock.Clock)."""
        return self.time.variables()

    def now(self) -> float:
        """Return the stand-in's time, epoch seconds."""
        return self.time.now()

    def advance(self, seconds: float) -> None:
        """Move the stand-in's clock ahead, and let happen what that makes happen."""
        with self.lock:
            self.time.advance(seconds)
            self.tick()

    def called(self, operation: str) -> list[Row]:
        """Return the parameters of every call of an operation."""
        return [params for _, name, params in self.calls if name == operation]

    def arn(self, kind: str, name: str, *, service: str = "sagemaker") -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{kind}/{name}"

    # --- what a test does -------------------------------------------------------------------------

    def fail_next(
        self,
        operation: str,
        times: int = 1,
        code: str | None = "InternalFailure",
        *,
        status: int | None = None,
        apply: bool = False,
    ) -> None:
        """Fail calls of an operation ("*": of any); ``apply``: only after they had their effect.

        ``code`` None resets the connection: the caller does not learn whether it had an effect.
        ``status`` None is what the code has on AWS: 500 or 503 for faults of the server, else 400.
        """
        usual = SERVER_FAULTS.get(code or "", 400)
        with self.lock:
            self.faults.planned.append(Fault(operation, code, status or usual, times, apply))

    def throttle(self, rate: float, seed: int = 0, services: Iterable[str] = ()) -> None:
        """Refuse this share of calls (ThrottlingException or 503); rate 0 ends it."""
        with self.lock:
            self.faults.rate = rate
            self.faults.dice = random.Random(seed)
            self.faults.services = frozenset(services)

    def lag_reads(self, versions: int, *, times: int = 1_000_000) -> None:
        """Let the next ``times`` DescribeEndpoint answer as it was so many changes ago."""
        with self.lock:
            self._lag = [versions] * min(times, 1_000_000) if versions else []

    def take_lag(self) -> int:
        return self._lag.pop() if self._lag else 0

    def freeze(self, endpoint: str, status: str, *, reason: str | None = None) -> None:
        """Hold an endpoint in a status until :meth:`thaw`, whatever is under way."""
        with self.lock:
            found = self.endpoints[endpoint]
            found.frozen, found.reason = status, reason or found.reason
            found.remember(self)

    def thaw(self, endpoint: str) -> None:
        with self.lock:
            self.endpoints[endpoint].frozen = None
            self.tick()

    def interrupt(self, job: str) -> None:
        """Take a spot job's instance away; it starts again from its checkpoints."""
        with self.lock:
            self.jobs[job].interrupt_asked = True

    def trust(
        self,
        role: str,
        *,
        issuer: str,
        audience: str = "sts.amazonaws.com",
        claims: Mapping[str, str] | None = None,
        secret: str | None = None,
        life: float | None = None,
    ) -> None:
        """Let a role be assumed with tokens of an issuer (see :func:`tests.aws.sts.mint`)."""
        with self.lock:
            self.roles[role] = Trust(
                issuer=issuer, audience=audience, claims=claims or {}, secret=secret, life=life
            )

    def token(self, claims: Mapping[str, Any], *, secret: str | None = None) -> str:
        """Return an identity token as the issuer would sign it."""
        return mint(claims, secret=secret)

    def put_counts(
        self,
        endpoint: str,
        variant: str,
        minute: float,
        requests: int,
        errors: int = 0,
        slow: Sequence[tuple[float, int]] = (),
        *,
        fast: float = 0.01,
        status: int = 500,
    ) -> None:
        """Let so many requests have happened in the minute that holds ``minute``.

        Args:
            minute: epoch seconds of the stand-in's clock; read when it is over (and metrics_delay).
            errors: of the requests, answered with ``status``.
            slow: (seconds, how many) of the requests; the rest took ``fast`` seconds.
        """
        with self.lock:
            self.metrics.put_counts(
                endpoint, variant, minute, requests, errors, slow, fast=fast, status=status
            )

    def drop_minutes(self, endpoint: str, variant: str, minutes: Iterable[float]) -> None:
        """Let these minutes have no datapoint, as when CloudWatch lost them."""
        with self.lock:
            self.metrics.drop(endpoint, variant, minutes)

    def partial_data(self, times: int = 1, *, token: bool = True) -> None:
        """Answer the next GetMetricData with half of the points; ``token``: with a NextToken."""
        with self.lock:
            self.metrics.partial += [token] * times

    # --- time passes ------------------------------------------------------------------------------

    def tick(self) -> None:
        """Let everything happen that is due."""
        with self.lock:
            self.alarms.tick()
            self.schedules.tick()
            for endpoint in list(self.endpoints.values()):
                endpoint.tick(self)
            for job in list(self.jobs.values()):
                job.tick(self)
            self.capture.tick()

    def close(self) -> None:
        for job in self.jobs.values():
            job.kill()
        self.fleet.close()

    def state(self) -> Row:
        """Return a picture of the account for people and for other processes."""
        with self.lock:
            return {
                "now": self.now(),
                "endpoints": {name: one.describe(self) for name, one in self.endpoints.items()},
                "models": sorted(self.models),
                "configs": sorted(self.configs),
                "schedules": {name: one.request for name, one in self.schedules.items.items()},
                "fired": self.schedules.fired,
                "alarms": {name: one.state for name, one in self.alarms.items.items()},
                "jobs": {name: one.status for name, one in self.jobs.items()},
                "calls": [[service, name] for service, name, _ in self.calls],
                "violations": self.violations,
            }
