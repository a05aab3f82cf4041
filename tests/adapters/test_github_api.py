"""The REST client: what it repeats, how long it waits, where the token goes, what it says."""

from __future__ import annotations

import json
import socket
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from tests.github.clock import Clock
from tests.github.scripted import scripted
from tests.github.server import serve
from tidegate.adapters.host.addresses import bare, repository_path, segment, takes_uploads
from tidegate.adapters.host.answers import limited_until, next_page, plain
from tidegate.adapters.host.api import (
    JSON,
    Api,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    StatusError,
    UnknownOutcomeError,
)
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.github.hub import Hub

pytestmark = pytest.mark.real

R = "/repos/acme/churn"
ISSUES = f"{R}/issues"
LABEL = {"name": "x"}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve() as hub:
        yield hub


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def api(hub: Hub, clock: Clock) -> Api:
    return Api(hub.url, hub.token, sleep=clock.sleep, clock=clock.time)


def everything(error: BaseException) -> str:
    """Return whatever of an error could end up in a log, whole chain included."""
    body = getattr(error, "body", None)
    return "\n".join(
        [
            repr(error),
            str(getattr(error, "remedy", "")),
            repr(body),
            *traceback.format_exception(error),
        ]
    )


# --- repeats ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 502, 503, None])
def test_a_reading_is_repeated_until_it_is_answered(
    hub: Hub, api: Api, clock: Clock, status: int | None
) -> None:
    hub.fail_next("GET", "/issues", status=status, times=4)
    assert api.get(ISSUES) == []
    assert len(hub.requests) == 5
    bounds = [(0.5, 1), (1, 2), (2, 4), (4, 8)]
    assert all(low <= nap <= high for nap, (low, high) in zip(clock.slept, bounds, strict=True))


@pytest.mark.parametrize("status", [503, None])
def test_the_fifth_failure_is_the_last(hub: Hub, api: Api, status: int | None) -> None:
    hub.fail_next("GET", "/issues", status=status, times=99)
    with pytest.raises(
        OutsideError, match="failed 5 times at GET /repos/acme/churn/issues"
    ) as told:
        api.get(ISSUES)
    assert "githubstatus" in told.value.remedy
    assert len(hub.requests) == 5


@pytest.mark.parametrize("status", [500, 502, None])
@pytest.mark.parametrize("apply", [True, False])
def test_a_creation_is_not_repeated_when_its_answer_is_lost(
    hub: Hub, api: Api, status: int | None, apply: bool
) -> None:
    hub.fail_next("POST", "/labels", status=status, apply=apply)
    with pytest.raises(UnknownOutcomeError, match="may have happened"):
        api.send("POST", f"{R}/labels", LABEL)
    assert len(hub.requests) == 1
    assert len(hub.state.labels) == int(apply)


def test_a_creation_is_repeated_where_the_caller_says_so(hub: Hub, api: Api) -> None:
    hub.fail_next("POST", "/dispatches", apply=True)
    at = f"{R}/actions/workflows/w.yml/dispatches"
    api.send("POST", at, {"ref": "main"}, repeatable=True)
    assert len(hub.state.dispatches) == 2


def test_a_change_is_not_repeated_where_the_caller_says_so(hub: Hub, api: Api) -> None:
    number = hub.add_issue("t", "b")["number"]
    hub.fail_next("PATCH", "/issues", apply=True)
    with pytest.raises(UnknownOutcomeError):
        api.send("PATCH", f"{ISSUES}/{number}", {"title": "u"}, repeatable=False)


def test_a_creation_that_never_left_is_repeated(clock: Clock) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refused
        api = Api(f"http://127.0.0.1:{taken.getsockname()[1]}", "t", sleep=clock.sleep)
        with pytest.raises(OutsideError) as told:
            api.send("POST", f"{R}/labels", LABEL)
    assert not isinstance(told.value, UnknownOutcomeError)
    assert len(clock.slept) == 4


def test_a_deletion_whose_answer_was_lost_is_done(hub: Hub, api: Api) -> None:
    number = hub.add_issue("t", "b")["number"]
    comment = hub.add_comment(number, "c", login="mona")["id"]
    hub.fail_next("DELETE", "/comments", apply=True)
    assert api.send("DELETE", f"{ISSUES}/comments/{comment}") is None
    assert hub.state.comments == []


def test_a_deletion_of_nothing_is_an_error(api: Api) -> None:
    with pytest.raises(NotFoundError):
        api.send("DELETE", f"{ISSUES}/comments/99")


# --- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "message", "wait"),
    [
        (403, {"retry-after": "7"}, "secondary", 7),
        (429, {"retry-after": "7"}, "", 7),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1800000040"}, "", 41),
        (429, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1700000000"}, "", 1),
        (403, {}, "You have exceeded a secondary rate limit. Please wait", 60),
        (429, {}, "", 60),
        (429, {"retry-after": "soon"}, "", 60),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_limit_is_waited_for_and_the_call_repeated(
    hub: Hub,
    api: Api,
    clock: Clock,
    method: str,
    status: int,
    headers: dict[str, str],
    message: str,
    wait: float,
) -> None:
    hub.fail_next(method, "/labels", status=status, headers=headers, message=message)
    if method == "GET":
        api.get(f"{R}/labels")
    else:
        api.send("POST", f"{R}/labels", LABEL)
    assert clock.slept == [wait]


def test_a_limit_that_lasts_too_long_ends_in_an_error_that_names_its_end(
    hub: Hub, api: Api, clock: Clock
) -> None:
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(clock.now) + 3600)}
    hub.fail_next("GET", "/issues", status=403, headers=headers)
    with pytest.raises(OutsideError, match=r"rate limit .* until 2027-01-15 09:00:01 UTC") as told:
        api.get(ISSUES)
    assert told.value.remedy
    assert clock.slept == []
    with pytest.raises(OutsideError, match="rate limit"):
        api.get(f"{R}/labels")
    assert len(hub.requests) == 1, "asking while limited is what GitHub punishes"
    clock.now += 3602
    assert api.get(ISSUES) == []


def test_limits_that_follow_each_other_end_too(hub: Hub, api: Api, clock: Clock) -> None:
    hub.fail_next("GET", "/issues", status=429, headers={"retry-after": "100"}, times=99)
    with pytest.raises(OutsideError, match="rate limit"):
        api.get(ISSUES)
    assert sum(clock.slept) <= 300


def test_a_refusal_is_not_a_limit() -> None:
    assert limited_until(403, {"x-ratelimit-remaining": "17"}, '{"message": "no"}', 0) is None
    assert limited_until(404, {"retry-after": "7"}, "", 0) is None


# --- pages ----------------------------------------------------------------------------------------


def test_every_page_of_a_listing_is_read(hub: Hub, api: Api) -> None:
    number = hub.add_issue("t", "b")["number"]
    for i in range(250):
        hub.add_comment(number, f"comment {i}", login="mona")
    bodies = [row["body"] for row in api.pages(f"{ISSUES}/{number}/comments")]
    assert bodies == [f"comment {i}" for i in range(250)]
    assert len(hub.requests) == 3


def test_a_page_that_fails_is_asked_for_again(hub: Hub, api: Api) -> None:
    for i in range(150):
        hub.add_issue(f"{i}", "b")
    hub.fail_next("GET", "page=2", status=502)
    assert len(list(api.pages(ISSUES))) == 150


def test_a_listing_inside_an_object_is_read(hub: Hub, api: Api) -> None:
    for i in range(120):
        hub.add_artifact(i, "a", {})
    assert len(list(api.pages(f"{R}/actions/artifacts"))) == 120


@pytest.mark.parametrize(
    "link", ["<https://api.github.com.example/2>", "<HERE/x>", "<https://127.0.0.1/2>"]
)
def test_the_next_page_is_on_the_same_host_and_not_one_that_was_read(link: str) -> None:
    with scripted((200, {"Link": f'{link}; rel="next"'}, b"[1]")) as (url, seen):
        with pytest.raises(OutsideError, match="next page"):
            list(Api(url, "t0ken").pages("/x"))
        assert len(seen) <= 2


@pytest.mark.parametrize("body", [b'{"a": 1}', b'{"a": [], "b": []}', b'"x"'])
def test_an_answer_that_is_no_listing_is_an_error(body: bytes) -> None:
    with (
        scripted((200, {}, body)) as (url, _),
        pytest.raises(OutsideError, match="not a listing"),
    ):
        list(Api(url, "t0ken").pages("/x"))


@pytest.mark.parametrize(
    ("link", "url"),
    [
        ("", None),
        ('<https://a/?page=2>; rel="last"', None),
        ('<https://a/?page=2>; rel="next", <https://a/?page=9>; rel="last"', "https://a/?page=2"),
        ('<https://a/?page=1>; rel="prev", <https://a/?page=3>; rel="next"', "https://a/?page=3"),
    ],
)
def test_next_page(link: str, url: str | None) -> None:
    assert next_page(link) == url


# --- what errors say ------------------------------------------------------------------------------


def test_a_missing_permission_is_named_as_a_workflow_writes_it(hub: Hub, api: Api) -> None:
    number = hub.add_issue("t", "b")["number"]
    hub.grant({"issues": "read"})
    with pytest.raises(ForbiddenError, match=r"POST .*: 403, Resource not accessible") as told:
        api.send("POST", f"{ISSUES}/{number}/comments", {"body": "b"})
    assert "`issues: write` or `pull-requests: write`" in told.value.remedy
    assert told.value.status == 403


def test_a_missing_token_is_called_that(hub: Hub) -> None:
    with pytest.raises(StatusError, match="401, Bad credentials") as told:
        Api(hub.url, None).get(ISSUES)
    assert "`github.token`" in told.value.remedy


def test_what_does_not_exist_may_also_be_hidden(api: Api) -> None:
    with pytest.raises(NotFoundError, match="GET /repos/acme/other/issues: 404") as told:
        api.get("/repos/acme/other/issues")
    assert "may not see it" in told.value.remedy


def test_invalid_content_is_named_in_detail(api: Api) -> None:
    api.send("POST", f"{R}/labels", LABEL)
    with pytest.raises(InvalidError, match="Validation Failed; Label name already_exists") as told:
        api.send("POST", f"{R}/labels", LABEL)
    assert told.value.body["errors"][0]["code"] == "already_exists"


def test_somebody_elses_words_stay_on_one_short_line() -> None:
    assert plain("a\n::error::b\x1b[31m\u2028c") == "a ::error::b [31m c"
    assert len(plain("x" * 9999)) == 500


@pytest.mark.parametrize("body", [b"<html>", b"", b"\xff\xfe", b'{"message": 7}', b"[]"])
def test_a_refusal_without_words_is_still_an_error(body: bytes) -> None:
    with scripted((404, {}, body)) as (url, _), pytest.raises(NotFoundError, match="404"):
        Api(url, "t0ken").get("/x")


def test_an_answer_that_is_not_json_is_an_error() -> None:
    with scripted((200, {}, b"<html>log in</html>")) as (url, _):
        with pytest.raises(OutsideError, match="not JSON") as told:
            Api(url, "t0ken").get("/x", q=(secret := "s" * 9))
        assert secret not in everything(told.value)


# --- the token ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403, 404, 422, 429, 500, None])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_error_tells_the_token_even_where_github_echoes_it(
    hub: Hub, api: Api, method: str, status: int | None
) -> None:
    hub.fail_next(method, "/labels", status=status, message=f"bad {hub.token}!", times=99)
    with pytest.raises(OutsideError) as told:
        api.send(method, f"{R}/labels", LABEL if method == "POST" else None)
    assert hub.token not in everything(told.value)
    assert hub.token not in repr(api) + str(api)


@pytest.mark.parametrize("token", ["abc\n", "a b", "sécret", "abc\r\nX: y", " abc"])
def test_a_token_with_a_stray_character_is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(OutsideError, match="characters that no token has") as told:
        Api("https://api.github.com", token)
    assert token.strip() not in f"{told.value!r}{told.value.remedy}"


def test_a_download_is_redirected_without_the_token(
    hub: Hub, api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The storage refuses whoever sends a token, one from a .netrc file included."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    row = hub.add_artifact(1, "a", {"x": b"1"})
    into = tmp_path / "a.zip"
    api.download(f"{R}/actions/artifacts/{row['id']}/zip", into, at_most=1000, accept=JSON)
    assert into.stat().st_size == row["size_in_bytes"]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_only_a_download_may_be_sent_to_another_host(hub: Hub, api: Api, status: int) -> None:
    with scripted((200, {}, b"[]")) as (elsewhere, seen):
        to = {"Location": f"{elsewhere}/steal?sig=s3cret"}
        hub.fail_next("GET", "/issues", status=status, headers=to)
        with pytest.raises(OutsideError, match=r"redirected to http://127\.0\.0\.1/steal") as told:
            api.get(ISSUES)
        assert "s3cret" not in everything(told.value)
        assert seen == []


def test_a_renamed_repository_is_followed_on_the_same_host(hub: Hub, api: Api) -> None:
    hub.fail_next("GET", "/issues", status=301, headers={"Location": f"{hub.url}{R}/labels"})
    assert api.get(ISSUES) == []
    assert [path for _, path in hub.requests] == [ISSUES, f"{R}/labels"]


def test_a_creation_is_not_turned_into_a_reading(hub: Hub, api: Api) -> None:
    hub.fail_next("POST", "/labels", status=302, headers={"Location": f"{hub.url}{R}/labels"})
    with pytest.raises(OutsideError, match="redirected"):
        api.send("POST", f"{R}/labels", LABEL)


def test_redirects_end(hub: Hub, api: Api) -> None:
    hub.fail_next("GET", "/issues", status=302, headers={"Location": ISSUES}, times=99)
    with pytest.raises(OutsideError, match="without end"):
        api.get(ISSUES)


# --- files ----------------------------------------------------------------------------------------


def test_a_download_larger_than_agreed_leaves_nothing(hub: Hub, api: Api, tmp_path: Path) -> None:
    row = hub.add_artifact(1, "a", {"x": b"1" * 10})
    at = f"{R}/actions/artifacts/{row['id']}/zip"
    size = row["size_in_bytes"]
    with pytest.raises(OutsideError, match=f"larger than {size - 1} bytes"):
        api.download(at, tmp_path / "a.zip", at_most=size - 1, accept=JSON)
    assert list(tmp_path.iterdir()) == []
    api.download(at, tmp_path / "a.zip", at_most=size, accept=JSON)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_a_download_that_breaks_off_is_begun_again(clock: Clock, tmp_path: Path) -> None:
    short = (200, {"Content-Length": "9"}, b"12345")
    with scripted(short, (200, {}, b"123456789")) as (url, _):
        Api(url, "t0ken", sleep=clock.sleep).download("/x", tmp_path / "x", at_most=9)
    assert (tmp_path / "x").read_bytes() == b"123456789"


def test_a_download_into_a_missing_folder_is_an_expected_error(
    hub: Hub, api: Api, tmp_path: Path
) -> None:
    row = hub.add_artifact(1, "a", {})
    at = f"{R}/actions/artifacts/{row['id']}/zip"
    with pytest.raises(OutsideError, match="No such file"):
        api.download(at, tmp_path / "no" / "a.zip", at_most=1000, accept=JSON)


@pytest.fixture
def draft(api: Api) -> dict[str, Any]:
    body = {"tag_name": "m-1", "target_commitish": "e" * 40, "draft": True}
    release: dict[str, Any] = api.send("POST", f"{R}/releases", body)
    return release


def test_an_asset_comes_back_as_it_was_sent(
    hub: Hub, api: Api, draft: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(bytes(range(256)) * 5000)
    asset = api.upload(draft["upload_url"], tmp_path / "a", name="model a.zip")
    assert hub.state.assets[0]["name"] == "model a.zip"
    api.download(f"{R}/releases/assets/{asset['id']}", tmp_path / "b", at_most=10**7)
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()


def test_an_upload_whose_answer_is_lost_is_not_repeated(
    hub: Hub, api: Api, draft: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(b"x")
    hub.fail_next("POST", "/assets", status=None, apply=True)
    with pytest.raises(UnknownOutcomeError):
        api.upload(draft["upload_url"], tmp_path / "a", name="a")
    with pytest.raises(InvalidError, match="already_exists"):
        api.upload(draft["upload_url"], tmp_path / "a", name="a")
    assert len(hub.state.assets) == 1


def test_an_upload_that_is_limited_sends_the_whole_file_again(
    hub: Hub, api: Api, draft: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100)
    hub.fail_next("POST", "/assets", status=429, headers={"retry-after": "1"})
    assert api.upload(draft["upload_url"], tmp_path / "a", name="a")["size"] == 100


def test_an_upload_goes_nowhere_but_to_github(api: Api, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with scripted((200, {}, b"{}")) as (elsewhere, seen):
        with pytest.raises(OutsideError, match="not GitHub's"):
            api.upload(f"{elsewhere}/x{{?name}}", tmp_path / "a", name="a")
        assert seen == []


@pytest.mark.parametrize(
    ("url", "api", "taken"),
    [
        ("https://uploads.github.com/x", "https://api.github.com", True),
        ("https://uploads.acme.ghe.com/x", "https://api.acme.ghe.com", True),
        ("https://ghe.acme.com/api/uploads/x", "https://ghe.acme.com/api/v3", True),
        ("http://uploads.github.com/x", "https://api.github.com", False),
        ("https://uploads.github.com:444/x", "https://api.github.com", False),
        ("https://uploads.github.com@evil.com/x", "https://api.github.com", False),
        ("https://uploads.github.com.evil.com/x", "https://api.github.com", False),
        ("https://uploads.acme.ghe.com/x", "https://api.github.com", False),
    ],
)
def test_who_takes_uploads(url: str, api: str, taken: bool) -> None:
    assert takes_uploads(url, api) is taken


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["repos/x", "/repos/a/b/../../user", "/x/.", "https://evil/x"])
def test_a_path_that_climbs_is_refused(api: Api, path: str) -> None:
    with pytest.raises(OutsideError, match="not an address"):
        api.get(path)


@pytest.mark.parametrize("text", ["", ".", ".."])
def test_a_segment_that_names_another_place_is_refused(text: str) -> None:
    with pytest.raises(OutsideError):
        segment(text)


def test_a_segment_holds_whatever_it_is_given() -> None:
    assert segment("a/b?c#d%e é") == "a%2Fb%3Fc%23d%25e%20%C3%A9"
    assert json.dumps(bare("https://u:p@h/p?q=1#f")) == '"https://h/p"'


@pytest.mark.parametrize("name", ["acme", "acme/churn/x", "/churn", "acme/", "../x"])
def test_a_repository_has_an_owner_and_a_name(name: str) -> None:
    with pytest.raises(OutsideError):
        repository_path(name)
