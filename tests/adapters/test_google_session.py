"""Sessions with Google: short lives, refreshes that fail, throttling, cut answers, no secret told."""

from __future__ import annotations

import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.adapters.identity import GitHub, github
from tidegate.adapters.cloud.google import Google, GoogleError, SessionOver, connect
from tidegate.adapters.cloud.google_errors import refused
from tidegate.adapters.cloud.google_route import Route
from tidegate.adapters.cloud.repeating import ALLOWANCE
from tidegate.errors import ConfigError, OutsideError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.gcp.cloud import Cloud

ACCOUNT = "tidegate@acme-ml.iam.gserviceaccount.com"
PROVIDER = "projects/1/locations/global/workloadIdentityPools/github/providers/tidegate"
OBJECTS = "https://storage.googleapis.com/storage/v1/b/acme-models/o"
real = pytest.mark.real
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def hub() -> Iterator[GitHub]:
    with github() as hub:
        yield hub


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    from tests.gcp.server import serve

    with serve() as cloud:
        yield cloud


def job(hub: GitHub, cloud: Cloud, account: str = ACCOUNT) -> Google:
    """Return the session of a job that has nothing but its own identity."""
    name = cloud.identity.trust({"repository": "acme/flight"}, service_accounts=(ACCOUNT,))
    env = {**cloud.env, **hub.env, "TIDEGATE_GCP_PROVIDER": name}
    if account:
        env["TIDEGATE_GCP_SERVICE_ACCOUNT"] = account
    return connect(cloud.project, env=env, sleep=lambda _: None)


def quick(cloud: Cloud) -> Google:
    return connect(env=cloud.env, sleep=lambda _: None)


def asked(cloud: Cloud, method: str) -> int:
    return sum(call.method == method for call in cloud.calls)


# --- who we are -----------------------------------------------------------------------------------


@real
def test_a_job_is_the_service_account_by_its_own_token(
    hub: GitHub, cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    google = job(hub, cloud)
    assert google.get(OBJECTS).get("items", []) == []
    assert cloud.calls[-1].principal == ACCOUNT
    (audience,) = hub.asked
    assert audience.startswith("https://iam.googleapis.com/projects/123456789012/locations/global/")
    said = capsys.readouterr().err
    assert f"::add-mask::{hub.given[0]}" in said
    assert said.count("::add-mask::") == 2, "the job's token, and Google's"
    assert google.project == cloud.project


@real
def test_without_a_service_account_the_job_is_itself(hub: GitHub, cloud: Cloud) -> None:
    job(hub, cloud, account="").get(OBJECTS)
    assert cloud.calls[-1].principal.startswith("principal://iam.googleapis.com/")


@real
def test_a_machine_of_google_s_needs_no_variables(cloud: Cloud) -> None:
    google = quick(cloud)
    google.get(OBJECTS)
    assert cloud.calls[-1].principal == cloud.identity.ambient
    assert google.project == cloud.project


@real
@pytest.mark.parametrize("account", [ACCOUNT, ""], ids=["impersonated", "itself"])
def test_a_session_of_seconds_is_renewed_while_it_is_used(
    hub: GitHub, cloud: Cloud, account: str
) -> None:
    cloud.identity.life = 3
    google = job(hub, cloud, account)
    end = time.monotonic() + 6
    while time.monotonic() < end:
        google.get(OBJECTS)
        time.sleep(0.05)
    assert 3 <= len(hub.asked) <= 8


@real
def test_a_session_that_cannot_be_renewed_works_to_its_end_and_says_that_it_is_over(
    hub: GitHub, cloud: Cloud
) -> None:
    cloud.identity.life = 4
    google = job(hub, cloud, account="")
    google.get(OBJECTS)
    began = time.monotonic()
    hub.statuses += [403] * 1000
    worked = 0.0
    with pytest.raises(SessionOver, match="cannot be renewed") as caught:  # noqa: PT012 (until it is over)
        while time.monotonic() < began + 10:
            google.get(OBJECTS)
            worked = time.monotonic() - began
            time.sleep(0.02)
    assert worked > 3.4, "what was left was used"
    assert caught.value.remedy
    hub.statuses.clear()
    google.get(OBJECTS)


@real
def test_a_token_that_the_cloud_takes_back_is_renewed_at_once(hub: GitHub, cloud: Cloud) -> None:
    google = job(hub, cloud)
    google.get(OBJECTS)
    cloud.identity.revoke()
    google.get(OBJECTS)
    assert len(hub.asked) == 2
    cloud.fail_next("storage.objects.list", 2, 401)
    with pytest.raises(SessionOver):
        google.get(OBJECTS)


@real
def test_a_token_is_asked_for_again_when_google_is_out_of_order(hub: GitHub, cloud: Cloud) -> None:
    cloud.fail_next("sts.token", 2, 503)
    job(hub, cloud).get(OBJECTS)
    assert 1 <= len(hub.asked) <= 3


@real
@pytest.mark.parametrize(
    ("claims", "accounts"),
    [({"repository": "other/x"}, (ACCOUNT,)), ({"repository": "acme/flight"}, ())],
    ids=["provider", "service account"],
)
def test_a_provider_that_does_not_trust_the_job_is_an_error_that_says_so(
    hub: GitHub, cloud: Cloud, claims: dict[str, str], accounts: tuple[str, ...]
) -> None:
    google = job(hub, cloud)
    cloud.identity.trust(claims, service_accounts=accounts)
    with pytest.raises(GoogleError, match="Google gives no token") as caught:
        google.get(OBJECTS)
    assert "doctor --policy gcp" in caught.value.remedy
    assert not any(token in str(caught.value) for token in hub.given)


# --- connecting -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tidegate", "projects/x/locations/global/workloadIdentityPools/a/providers/b",
                                  f"{PROVIDER}/../x", f"https://evil.example/{PROVIDER}"])  # fmt: skip
def test_what_is_no_provider_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="not a provider's full name"):
        connect("p", env={"TIDEGATE_GCP_PROVIDER": name, "GITHUB_ACTIONS": "true"})


@pytest.mark.parametrize("account", ["tidegate", "a@b.example", "a/../b@x.iam.gserviceaccount.com"])
def test_what_is_no_service_account_is_refused(account: str) -> None:
    env = {"TIDEGATE_GCP_PROVIDER": PROVIDER, "TIDEGATE_GCP_SERVICE_ACCOUNT": account,
           "GITHUB_ACTIONS": "true"}  # fmt: skip
    with pytest.raises(ConfigError, match="not a service account"):
        connect("p", env=env)


def test_a_provider_needs_a_job() -> None:
    with pytest.raises(OutsideError, match="no GitHub job"):
        connect("p", env={"TIDEGATE_GCP_PROVIDER": PROVIDER})


def test_a_missing_package_says_which_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.auth", None)
    with pytest.raises(OutsideError) as caught:
        connect("p", env={})
    assert caught.value.remedy == "pip install 'tidegate[vertex]'"


@pytest.mark.parametrize(
    "url", ["http://example.com:80", "https://127.0.0.1:1", "http://127.0.0.1", "http://127.0.0.1:1/x",
            "http://127.0.0.1.example.com:1", "http://127.0.0.1:1@example.com", "x"],
)  # fmt: skip
def test_a_stand_in_is_on_this_machine_or_nowhere(url: str) -> None:
    with pytest.raises(ConfigError, match="only lead to this machine"):
        connect("p", env={"TIDEGATE_GOOGLE_URL": url})


@pytest.mark.parametrize(
    "url",
    ["http://storage.googleapis.com/x", "https://example.com/x", "https://googleapis.com.evil.example/",
     "https://storage.googleapis.com:444/", "https://evil.example/storage.googleapis.com",
     "https://user@storage.googleapis.com/", "https://evilgoogleapis.com/", "file:///etc/passwd"],
)  # fmt: skip
@pytest.mark.parametrize("base", [None, "http://127.0.0.1:1"])
def test_a_token_goes_nowhere_but_to_google(url: str, base: str | None) -> None:
    with pytest.raises(OutsideError, match="not an address of Google's"):
        Route(base).to(url)


@pytest.mark.parametrize(
    "url", ["https://europe-west1-aiplatform.googleapis.com/v1/x?a=b",
            "https://123.europe-west1-456.prediction.vertexai.goog/v1/x"],
)  # fmt: skip
def test_google_s_own_addresses_are_taken(url: str) -> None:
    assert Route(None).to(url) == url


# --- throttling, failures, lost answers -----------------------------------------------------------


@real
def test_thirty_percent_of_failures_cost_less_than_three_times_the_calls(cloud: Cloud) -> None:
    slept: list[float] = []
    google = connect(env=cloud.env, sleep=slept.append)
    cloud.throttle(0.3, seed=3)
    for _ in range(200):
        google.get(OBJECTS)
    assert 30 < len(slept) <= 400, "each sleep is one more call"
    assert any(pause >= 1.0 for pause in slept), "Retry-After was honoured"


@real
def test_when_everything_fails_the_calls_are_bounded(cloud: Cloud) -> None:
    slept: list[float] = []
    google = connect(env=cloud.env, sleep=slept.append)
    google.get(OBJECTS)
    cloud.throttle(1.0)
    for _ in range(60):
        with pytest.raises(GoogleError) as caught:
            google.get(OBJECTS)
        assert caught.value.status in {429, 503}
    assert len(slept) == ALLOWANCE


@real
@pytest.mark.parametrize(
    ("status", "repeat", "unknown"),
    [(429, False, False), (503, False, True), (None, False, True), (503, True, False),
     (None, True, False), (403, True, False)],
)  # fmt: skip
def test_a_change_is_repeated_only_where_that_does_no_harm(
    cloud: Cloud, status: int | None, repeat: bool, unknown: bool
) -> None:
    google = quick(cloud)
    url = f"https://{cloud.region}-aiplatform.googleapis.com/v1/projects/{cloud.project}/locations/{cloud.region}/endpoints"
    cloud.fail_next("*.endpoints.create", 2, status)
    body = {"displayName": "churn"}
    if unknown or status == 403:
        with pytest.raises(GoogleError) as caught:
            google.post(url, body, repeat=repeat, endpointId="churn")
        assert caught.value.unknown is unknown
        assert caught.value.status == (status or 0)
    else:
        assert google.post(url, body, repeat=repeat, endpointId="churn")["name"]


@real
def test_a_refusal_has_status_and_reason(cloud: Cloud) -> None:
    url = f"https://{cloud.region}-aiplatform.googleapis.com/v1/projects/{cloud.project}/locations/{cloud.region}/endpoints/none"
    with pytest.raises(GoogleError) as caught:
        quick(cloud).get(url)
    assert (caught.value.status, caught.value.reason) == (404, "NOT_FOUND")
    with pytest.raises(GoogleError) as caught:
        quick(cloud).get(f"{OBJECTS}/none")
    assert (caught.value.status, caught.value.reason) == (404, "notFound")


@real
def test_pages_follow_their_tokens(cloud: Cloud) -> None:
    google = quick(cloud)
    upload = "https://storage.googleapis.com/upload/storage/v1/b/acme-models/o"
    for number in range(5):
        google.upload(upload, b"x", name=f"k{number}")
    found = google.pages(OBJECTS, "items", maxResults=2)
    assert [item["name"] for item in found] == [f"k{number}" for number in range(5)]


@real
def test_a_download_is_whole_or_not_there(cloud: Cloud, tmp_path: Path) -> None:
    google = quick(cloud)
    upload = "https://storage.googleapis.com/upload/storage/v1/b/acme-models/o"
    google.upload(upload, b"0123456789", name="k")
    cloud.fail_next("storage.objects.get", 2, None, apply=True)
    google.download(f"{OBJECTS}/k", tmp_path / "x", at_most=10, alt="media")
    assert (tmp_path / "x").read_bytes() == b"0123456789"
    with pytest.raises(OutsideError, match="larger than 9 bytes"):
        google.download(f"{OBJECTS}/k", tmp_path / "y", at_most=9, alt="media")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@real
def test_an_answer_cut_short_is_no_answer(tmp_path: Path) -> None:
    """Wherever the connection breaks: a prefix of an answer is never taken for one."""
    body = b'{"items": []}'
    whole = (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
             + str(len(body)).encode() + b"\r\nConnection: close\r\n\r\n" + body)  # fmt: skip
    token = b'{"access_token": "t", "expires_in": 3600}'
    login = (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: "
             + str(len(token)).encode() + b"\r\n\r\n" + token)  # fmt: skip
    server = socket.create_server(("127.0.0.1", 0))
    cut = [0]

    def answer() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                asked = connection.recv(65536)
                connection.sendall(login if b"/computeMetadata" in asked else whole[: cut[0]])

    threading.Thread(target=answer, daemon=True).start()
    env = {"TIDEGATE_GOOGLE_URL": f"http://127.0.0.1:{server.getsockname()[1]}"}
    google = connect("p", env=env, sleep=lambda _: None)
    for cut[0] in (0, 5, 16, 40, len(whole) - len(body), len(whole) - 5, len(whole) - 1):
        with pytest.raises(GoogleError) as caught:
            google.post("https://x.googleapis.com/v1/x", {})
        assert caught.value.unknown, cut
        with pytest.raises(OutsideError):
            google.download("https://x.googleapis.com/v1/x", tmp_path / "x", at_most=99)
        google = connect("p", env=env, sleep=lambda _: None)
    cut[0] = len(whole)
    assert google.get("https://x.googleapis.com/v1/x") == {"items": []}
    server.close()


# --- what is told ---------------------------------------------------------------------------------


def test_no_message_holds_a_secret_or_a_line_break() -> None:
    body = '{"error": {"status": "PERMISSION_DENIED", "message": "token ya29.secret\\nx"}}'
    error = refused("GET h/x", 403, body, lambda text: text.replace("ya29.secret", "***"))
    assert str(error) == "Google refused GET h/x: 403 PERMISSION_DENIED, token *** x"
    assert "doctor --policy gcp" in error.remedy


@pytest.mark.parametrize(
    "body", ["", "null", "[]", '{"error": "x"}', '{"error": {"errors": [1]}}', "<html>"]
)
def test_a_refusal_without_words_is_a_refusal(body: str) -> None:
    error = refused("GET h/x", 500, body, str)
    assert (error.status, error.reason, error.unknown) == (500, "", True)


@real
def test_an_upload_s_secret_address_stands_in_no_message(cloud: Cloud) -> None:
    google = quick(cloud)
    upload = "https://storage.googleapis.com/upload/storage/v1/b/acme-models/o"
    real_put = google._put

    def put(session: str, sent: str, data: Any) -> Any:
        cloud.fail_next("storage.objects.insert", 100, None)
        return real_put(session, sent, data)

    google._put = put  # type: ignore[method-assign]
    with pytest.raises(GoogleError) as caught:
        google.upload(upload, b"x", name="k")
    assert "upload_id" not in str(caught.value)
    assert caught.value.unknown
    cloud.faults._planned.clear()


@real
def test_a_token_stands_in_no_text(cloud: Cloud) -> None:
    google = quick(cloud)
    google.get(OBJECTS)
    token = google._renewing.held
    assert token is not None
    assert token not in repr(google)
    assert google._hide(f"Bearer {token}") == "Bearer ***"
