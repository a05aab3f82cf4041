"""Sessions with AWS: short lives, refreshes that fail, throttling, lost answers, no secret told."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.adapters.identity import BEARER, ISSUER, GitHub, github
from tidegate.adapters.cloud.aws import Aws, AwsError, SessionOver, connect
from tidegate.adapters.cloud.aws_errors import Judge
from tidegate.adapters.cloud.renewal import Lease, Renewing
from tidegate.adapters.cloud.repeating import ALLOWANCE, TRIES, AgainError, Budget, Repeater
from tidegate.errors import ConfigError, OutsideError
from tidegate.runner import Runner, without_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.aws import Cloud

ROLE = "arn:aws:iam::123456789012:role/tidegate"
real = pytest.mark.real
pytestmark = pytest.mark.timeout(60)


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now, self.slept = 100.0, list[float]()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


# --- renewal, by itself ---------------------------------------------------------------------------


class Source:
    """Gives numbered credentials, or fails."""

    def __init__(self, life: float = 100.0) -> None:
        self.life, self.count, self.failing = life, 0, False

    def __call__(self) -> Lease[str]:
        self.count += 1
        if self.failing:
            raise OutsideError("the source is dry", remedy="Wait for rain.")
        return Lease(f"key {self.count}", self.life)


def renewing(source: Source, clock: Clock) -> Renewing[str]:
    return Renewing(source, what="the session", remedy="Run again.", clock=clock)


@pytest.mark.parametrize("life", [1.0, 5.0, 3600.0])
def test_credentials_are_renewed_at_eighty_percent_of_their_life(life: float) -> None:
    source, clock = Source(life), Clock()
    session = renewing(source, clock)
    assert session.value() == "key 1"
    clock.now += 0.79 * life
    assert session.value() == "key 1"
    clock.now += 0.02 * life
    assert session.value() == "key 2"


def test_what_is_left_of_a_session_is_used_when_renewing_fails_and_then_it_is_over() -> None:
    source, clock = Source(), Clock()
    session = renewing(source, clock)
    session.value()
    source.failing = True
    while clock.now < 200:
        assert session.value() == "key 1"
        assert session.fading == (source.count > 1), "from the first renewal that failed"
        clock.now += 0.5
    assert source.count < 15, "a source that fails is not asked at every call"
    with pytest.raises(SessionOver, match=r"the session is over.*dry") as caught:
        session.value()
    assert "Run again." in caught.value.remedy
    assert "Wait for rain." in caught.value.remedy
    source.failing = False
    assert session.value().startswith("key ")
    assert not session.fading


def test_a_session_that_never_began_says_why() -> None:
    source = Source()
    source.failing = True
    with pytest.raises(OutsideError, match="dry") as caught:
        renewing(source, Clock()).value()
    assert not isinstance(caught.value, SessionOver)


def test_many_threads_renew_once_and_nobody_waits_while_the_old_ones_are_good() -> None:
    clock, gate, entered = Clock(), threading.Event(), threading.Event()

    class Slow(Source):
        def __call__(self) -> Lease[str]:
            if self.count:
                entered.set()
                assert gate.wait(10)
            return super().__call__()

    source = Slow()
    session = renewing(source, clock)
    session.value()
    clock.now += 90
    found: list[str] = []
    renewer = threading.Thread(target=lambda: found.append(session.value()))
    renewer.start()
    assert entered.wait(10)
    assert session.value() == "key 1"
    gate.set()
    renewer.join()
    assert found == ["key 2"]
    assert source.count == 2


def test_spoiled_credentials_are_renewed_and_others_are_not() -> None:
    source = Source()
    session = renewing(source, Clock())
    session.spoil("key 0")
    assert session.value() == "key 1"
    session.spoil("key 0")
    assert session.value() == "key 1"
    session.spoil("key 1")
    assert session.value() == "key 2"


# --- repeats, by themselves -----------------------------------------------------------------------


def failing(after: float | None = None) -> Any:
    def attempt(lost: bool) -> None:
        attempt.count += 1  # type: ignore[attr-defined]
        raise AgainError(OutsideError("no"), after=after)

    attempt.count = 0  # type: ignore[attr-defined]
    return attempt


def test_one_call_is_tried_a_bounded_number_of_times() -> None:
    clock, attempt = Clock(), failing()
    with pytest.raises(OutsideError, match="no"):
        Repeater(Budget(), sleep=clock.sleep, clock=clock)(attempt)
    assert attempt.count == TRIES
    assert len({*clock.slept}) == len(clock.slept) == TRIES - 1, "no two pauses are the same"


def test_a_session_that_only_fails_makes_no_storm() -> None:
    clock, attempt = Clock(), failing()
    repeater = Repeater(Budget(), sleep=clock.sleep, clock=clock)
    for _ in range(500):
        with pytest.raises(OutsideError):
            repeater(attempt)
    assert attempt.count == 500 + ALLOWANCE


def test_the_server_s_wish_to_wait_is_honoured_and_bounded() -> None:
    clock, attempt = Clock(), failing(after=30.0)
    with pytest.raises(OutsideError):
        Repeater(Budget(), sleep=clock.sleep, clock=clock)(attempt)
    assert all(pause >= 30.0 for pause in clock.slept)
    assert sum(clock.slept) <= 120.0
    patient = failing(after=3600.0)
    with pytest.raises(OutsideError):
        Repeater(Budget(), sleep=clock.sleep, clock=clock)(patient)
    assert patient.count == 1


# --- the real client against the stand-in ---------------------------------------------------------


@pytest.fixture
def hub() -> Iterator[GitHub]:
    with github() as hub:
        yield hub


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    from tests.aws import serve

    with serve() as cloud:
        for name, value in cloud.env.items():
            monkeypatch.setenv(name, value)
        yield cloud


def job(
    hub: GitHub, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, life: float | None = None
) -> Aws:
    """Return the session of a job that has nothing but its own identity."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    cloud.trust(ROLE, issuer=ISSUER, claims={"repository": "acme/*"}, life=life)
    env = {**cloud.env, **hub.env, "TIDEGATE_AWS_ROLE": ROLE}
    return connect(None, env=env, sleep=lambda _: None)


@real
def test_a_job_is_the_role_by_its_own_token(
    hub: GitHub, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    aws = job(hub, cloud, monkeypatch)
    caller = aws.call("sts", "get_caller_identity")
    assert caller["Arn"].endswith(":assumed-role/tidegate/acme-flight-delays-17")
    assert (aws.account, aws.partition, aws.region) == (cloud.account, "aws", cloud.region)
    assert hub.asked == ["sts.amazonaws.com"]
    said = capsys.readouterr().err
    assert f"::add-mask::{hub.given[0]}" in said
    assert said.count("::add-mask::") == 3, "the token, the secret key and the session token"


@real
def test_a_session_of_five_seconds_is_renewed_while_it_is_used(
    hub: GitHub, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = job(hub, cloud, monkeypatch, life=2.0)
    end = time.monotonic() + 4.5
    while time.monotonic() < end:
        aws.call("sts", "get_caller_identity")
        time.sleep(0.05)
    assert 3 <= len(hub.asked) <= 5


@real
def test_a_session_that_cannot_be_renewed_works_to_its_end_and_says_that_it_is_over(
    hub: GitHub, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = time.monotonic()  # its life begins later, however slow the machine is
    aws = job(hub, cloud, monkeypatch, life=4.0)
    aws.call("sts", "get_caller_identity")
    hub.statuses += [403] * 1000
    worked = 0.0
    with pytest.raises(SessionOver) as caught:  # noqa: PT012 (until it is over)
        while time.monotonic() < began + 10:
            aws.call("sts", "get_caller_identity")
            worked = time.monotonic() - began
            time.sleep(0.02)
    assert worked > 2.6, "what was left was used (its end is told in whole seconds)"
    assert "cannot be renewed" in str(caught.value)
    assert caught.value.remedy
    hub.statuses.clear()
    aws.call("sts", "get_caller_identity")


@real
def test_credentials_that_the_cloud_calls_expired_are_renewed_at_once(
    hub: GitHub, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = job(hub, cloud, monkeypatch)
    aws.call("sts", "get_caller_identity")
    cloud.fail_next("ListEndpoints", 1, "ExpiredTokenException", status=400)
    assert aws.call("sagemaker", "list_endpoints")["Endpoints"] == []
    assert len(hub.asked) == 2
    cloud.fail_next("ListEndpoints", 2, "ExpiredTokenException", status=400)
    with pytest.raises(SessionOver):
        aws.call("sagemaker", "list_endpoints")


@real
def test_a_laptop_s_expired_session_is_over_too(cloud: Cloud) -> None:
    cloud.fail_next("ListEndpoints", 1, "ExpiredTokenException", status=400)
    with pytest.raises(SessionOver) as caught:
        connect().call("sagemaker", "list_endpoints")
    assert "Log in again" in caught.value.remedy


@real
def test_a_role_that_does_not_trust_the_job_is_an_error_that_says_so(
    hub: GitHub, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = job(hub, cloud, monkeypatch)
    cloud.trust(ROLE, issuer=ISSUER, claims={"repository": "other/*"})
    with pytest.raises(AwsError, match=r"AccessDenied") as caught:
        aws.call("sts", "get_caller_identity")
    assert "doctor --policy aws" in caught.value.remedy
    assert not any(token in str(caught.value) for token in hub.given)


@real
@pytest.mark.parametrize(
    "missing", ["ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"]
)
def test_a_job_without_the_permission_is_told_which(hub: GitHub, missing: str) -> None:
    env = {name: value for name, value in hub.env.items() if name != missing}
    with pytest.raises(OutsideError) as caught:
        Runner(env).id_token("x")
    assert "id-token: write" in caught.value.remedy


@real
def test_a_token_is_asked_for_again_when_github_is_out_of_order(hub: GitHub) -> None:
    hub.statuses += [503, 429]
    assert Runner(hub.env).id_token("a b/c") == hub.given[0]
    assert hub.asked == ["a b/c"] * 3


@real
@pytest.mark.parametrize("status", [401, 403, 404, 302])
def test_a_token_that_is_refused_is_not_asked_for_again(hub: GitHub, status: int) -> None:
    hub.statuses += [status]
    with pytest.raises(OutsideError, match=str(status)) as caught:
        Runner(hub.env).id_token("x")
    assert len(hub.asked) == 1
    assert BEARER not in f"{caught.value}{caught.value.remedy}"


@pytest.mark.parametrize("url", ["http://example.com/t", "file:///etc/passwd", "ftp://127.0.0.2/x"])
def test_the_runner_s_bearer_goes_nowhere_but_to_github(url: str) -> None:
    env = {"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": BEARER}
    with pytest.raises(OutsideError, match="not an https address"):
        Runner(env).id_token("x")


# --- connecting -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arn", ["tidegate", "arn:aws:iam::1:role/x", "arn:aws:iam::123456789012:user/x"]
)
def test_what_is_no_role_is_refused(arn: str) -> None:
    with pytest.raises(ConfigError, match="not the ARN of a role"):
        connect("eu-west-1", env={"TIDEGATE_AWS_ROLE": arn, "GITHUB_ACTIONS": "true"})


def test_a_role_needs_a_job() -> None:
    with pytest.raises(OutsideError, match="no GitHub job"):
        connect("eu-west-1", env={"TIDEGATE_AWS_ROLE": ROLE})


def test_the_region_is_the_given_one_then_ours_then_the_environment_s() -> None:
    env = {"TIDEGATE_AWS_REGION": "us-east-2", "AWS_REGION": "us-west-1"}
    assert connect("eu-west-3", env=env).region == "eu-west-3"
    assert connect(None, env=env).region == "us-east-2"
    assert connect(None, env={"AWS_REGION": "us-west-1"}).region == "us-west-1"


def test_no_region_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(OutsideError, match="no AWS region"):
        connect(None, env={})


def test_a_missing_package_says_which_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(OutsideError) as caught:
        connect("eu-west-1")
    assert caught.value.remedy == "pip install 'tidegate[sagemaker]'"


def test_the_user_s_commands_get_no_cloud_s_credentials() -> None:
    env = dict.fromkeys(
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE",
         "AWS_WEB_IDENTITY_TOKEN_FILE", "GOOGLE_APPLICATION_CREDENTIALS",
         "GOOGLE_GHA_CREDS_PATH", "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE",
         "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
         "TIDEGATE_AWS_ROLE", "AWS_REGION", "HOME"), "x",
    )  # fmt: skip
    assert without_credentials(env) == {"AWS_REGION": "x", "HOME": "x"}


# --- throttling, failures, lost answers -----------------------------------------------------------


def quick() -> Aws:
    return connect(sleep=lambda _: None)


@real
def test_thirty_percent_of_failures_cost_less_than_three_times_the_calls(cloud: Cloud) -> None:
    aws = quick()
    cloud.throttle(0.3, seed=3)
    before = len(cloud.calls)
    for _ in range(200):
        aws.call("sagemaker", "list_endpoints")
    assert 200 < len(cloud.calls) - before <= 600


@real
def test_when_everything_fails_the_calls_are_bounded(cloud: Cloud) -> None:
    aws = quick()
    cloud.throttle(1.0)
    before = len(cloud.calls)
    for _ in range(60):
        with pytest.raises(AwsError):
            aws.call("sagemaker", "list_endpoints")
    assert len(cloud.calls) - before == 60 + ALLOWANCE


@real
@pytest.mark.parametrize(
    ("code", "repeat", "calls"),
    [("ThrottlingException", None, 3), ("InternalFailure", None, 1), (None, None, 1),
     ("InternalFailure", True, 3), (None, True, 3), ("ValidationException", True, 1)],
)  # fmt: skip
def test_a_change_is_repeated_only_where_that_does_no_harm(
    cloud: Cloud, code: str | None, repeat: bool | None, calls: int
) -> None:
    cloud.fail_next("DeleteEndpoint", 2, code)
    before = len(cloud.called("DeleteEndpoint"))
    with pytest.raises(AwsError) as caught:  # there is no such endpoint, either
        quick().call("sagemaker", "delete_endpoint", repeat=repeat, EndpointName="e")
    assert len(cloud.called("DeleteEndpoint")) - before == calls
    if calls == 1 and code != "ValidationException":
        assert caught.value.unknown
        assert caught.value.code == (code or "")
        assert caught.value.status == (500 if code else 0)
    else:
        assert not caught.value.unknown
        assert caught.value.code == "ValidationException"
        assert caught.value.repeated == (code in {None, "InternalFailure"})


@real
def test_pages_follow_their_tokens_through_failures(cloud: Cloud) -> None:
    aws = quick()
    for number in range(5):
        aws.call("s3", "create_bucket", Bucket=f"bucket-{number}",
                 CreateBucketConfiguration={"LocationConstraint": cloud.region})  # fmt: skip
    for number in range(7):
        aws.call("s3", "put_object", Bucket="bucket-1", Key=f"k{number}", Body=b"")
    cloud.throttle(0.4, seed=1)
    found = aws.pages("s3", "list_objects_v2", "Contents", Bucket="bucket-1", MaxKeys=2)
    assert [item["Key"] for item in found] == [f"k{number}" for number in range(7)]


@real
def test_an_answer_cut_short_is_no_answer() -> None:
    """Wherever the connection breaks: a prefix of an answer is never taken for one."""
    import socket

    body = b'{"Endpoints": [], "NextToken": ""}'
    whole = (b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: "
             + str(len(body)).encode() + b"\r\nConnection: close\r\n\r\n" + body)  # fmt: skip
    server = socket.create_server(("127.0.0.1", 0))
    cut = [0]

    def answer() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(whole[: cut[0]])

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    patch = pytest.MonkeyPatch()
    with patch.context() as environment:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        for name, value in {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "testing",
                            "AWS_SECRET_ACCESS_KEY": "testing"}.items():  # fmt: skip
            environment.setenv(name, value)
        aws = connect("eu-west-1", sleep=lambda _: None)
        for cut[0] in (0, 5, 16, 60, len(whole) - len(body), len(whole) - 10, len(whole) - 1):
            with pytest.raises(AwsError) as caught:
                aws.call("sagemaker", "list_endpoints", repeat=False)
            assert caught.value.unknown, cut
        cut[0] = len(whole)
        assert aws.call("sagemaker", "list_endpoints")["Endpoints"] == []
    server.close()


# --- what is told ---------------------------------------------------------------------------------


def test_no_message_holds_a_secret() -> None:
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    from tidegate.redact import redact

    judge = Judge(lambda text: redact(text, {"SECRET": secret}))
    response = {
        "Error": {"Code": "SignatureDoesNotMatch", "Message": f"used {secret}\nx"},
        "ResponseMetadata": {"HTTPStatusCode": 403},
    }
    assert str(judge.refused("s3 put_object", response)) == (
        "AWS refused s3 put_object: SignatureDoesNotMatch, used *** x"
    )
    assert secret not in str(judge.broken("x", ValueError(f"header {secret}")))


@real
def test_a_session_s_own_keys_stand_in_no_message(
    hub: GitHub, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = job(hub, cloud, monkeypatch)
    aws.call("sts", "get_caller_identity")
    assert aws._renewing is not None
    keys = aws._renewing.held
    assert keys is not None
    assert aws._hide(" ".join(keys)).count("***") == 3
    assert not any(key in repr(aws) for key in keys)
