"""The registry in a repository's releases, on a loopback GitHub that loses answers when asked to."""

from __future__ import annotations

import contextlib
import io
import json
import re
import tarfile
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.contracts.registry_contract import RegistryContract, registration
from tests.github.server import serve
from tidegate.adapters.host.api import Api, ForbiddenError, InvalidError
from tidegate.adapters.registry import releases
from tidegate.adapters.registry.release_text import Facts, Note, read, write
from tidegate.adapters.registry.releases import ReleasesRegistry, site_of
from tidegate.digests import file_digest, folder_digest
from tidegate.errors import OutsideError
from tidegate.home import MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.github.hub import Hub

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]

Row = dict[str, Any]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve() as hub:
        yield hub


def registry_of(hub: Hub) -> ReleasesRegistry:
    quick = Api(hub.url, hub.token, sleep=lambda _: None)
    return ReleasesRegistry(quick, hub.repository, sleep=lambda _: None)


@pytest.fixture
def registry(hub: Hub) -> ReleasesRegistry:
    return registry_of(hub)


@pytest.fixture(autouse=True)
def _git_commit(hub: Hub) -> None:
    """Let the default branch exist, so that a tag has something to stand on."""
    hub.state.refs["refs/heads/main"] = "b" * 40


def tags(hub: Hub) -> list[str]:
    return [row["tag_name"] for row in hub.state.releases if not row["draft"]]


def release(hub: Hub, tag: str) -> Row:
    (row,) = (row for row in hub.state.releases if row["tag_name"] == tag)
    return row


def latest(hub: Hub) -> str | None:
    try:
        return str(
            Api(hub.url, hub.token).get(f"/repos/{hub.repository}/releases/latest")["tag_name"]
        )
    except OutsideError:
        return None


class TestReleasesRegistry(RegistryContract):
    pass


class TestReleasesRegistryWithImmutableReleases(RegistryContract):
    @pytest.fixture(autouse=True)
    def _immutable(self, hub: Hub) -> None:
        hub.state.settings["immutable_releases"] = True


# --- exactly once, whatever gets lost -------------------------------------------------------------

LOST = {
    "the list": ("GET", r"/releases\?"),
    "the draft": ("POST", r"/releases$"),
    "the upload": ("POST", r"/assets\?"),
    "the publishing": ("PATCH", r"/releases/\d+$"),
    "a look": ("GET", r"/releases/\d+$"),
}


@pytest.mark.parametrize("apply", [True, False], ids=["done", "not done"])
@pytest.mark.parametrize("status", [502, None], ids=["502", "reset"])
@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("what", LOST)
def test_one_version_however_many_answers_are_lost(
    hub: Hub, what: str, apply: bool, status: int | None, times: int, tmp_path: Path
) -> None:
    registry, given = registry_of(hub), registration(tmp_path / "one")
    hub.fail_next(*LOST[what], status=status, apply=apply, times=times)
    assert registry.register(given) == "1"
    assert tags(hub) == ["m-v1"]
    assert registry.register(given) == "1"
    assert [row["tag_name"] for row in hub.state.releases] == ["m-v1"], "a draft was left behind"
    registry.fetch("m", "1", tmp_path / "fetched")
    assert folder_digest(tmp_path / "fetched" / MODEL) == given.digest


@pytest.mark.parametrize("what", LOST)
def test_a_registration_that_dies_anywhere_is_finished_by_the_next(
    hub: Hub, what: str, tmp_path: Path
) -> None:
    given = registration(tmp_path / "one")
    method, path = LOST[what]
    hub.fail_next(method, path, status=502, apply=True, times=50)
    with contextlib.suppress(OutsideError):  # what can be looked up needs no answer
        registry_of(hub).register(given)
    hub._faults.clear()
    assert registry_of(hub).register(given) == "1"
    assert [row["tag_name"] for row in hub.state.releases] == ["m-v1"]


def test_half_an_upload_is_taken_away_and_done_again(hub: Hub, tmp_path: Path) -> None:
    given = registration(tmp_path / "one")
    api = Api(hub.url, hub.token, sleep=lambda _: None)
    real = api.upload
    broken: list[int] = []

    def breaks_once(url: str, file: Path, *, name: str) -> Any:
        answer = real(url, file, name=name)
        if not broken:
            broken.append(1)
            hub.state.assets[-1].update(state="open", size=10)
        return answer

    api.upload = breaks_once  # type: ignore[method-assign]
    registry = ReleasesRegistry(api, hub.repository, sleep=lambda _: None)
    assert registry.register(given) == "1"
    assert [(row["name"], row["state"]) for row in hub.state.assets] == [("bundle.tar", "uploaded")]


def test_racing_registrars_of_the_same_bytes_agree_on_one_version(hub: Hub, tmp_path: Path) -> None:
    given = [registration(tmp_path / str(index)) for index in range(6)]
    found: list[str] = []
    together = threading.Barrier(len(given))

    def race(index: int) -> None:
        together.wait()
        found.append(registry_of(hub).register(given[index]))

    threads = [threading.Thread(target=race, args=(index,)) for index in range(len(given))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(given)
    assert len(set(found)) == 1
    assert registry_of(hub).register(given[0]) == found[0]
    assert [row["tag_name"] for row in hub.state.releases] == [f"m-v{found[0]}"]


def test_racing_registrars_of_other_bytes_get_numbers_of_their_own(
    hub: Hub, tmp_path: Path
) -> None:
    given = [registration(tmp_path / str(index), f"model {index}") for index in range(5)]
    found: dict[int, str] = {}
    together = threading.Barrier(len(given))

    def race(index: int) -> None:
        together.wait()
        found[index] = registry_of(hub).register(given[index])

    threads = [threading.Thread(target=race, args=(index,)) for index in range(len(given))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found.values()) == ["1", "2", "3", "4", "5"]
    for index, version in found.items():
        registry_of(hub).fetch("m", version, tmp_path / "fetched" / version)
        assert folder_digest(tmp_path / "fetched" / version / MODEL) == given[index].digest


def test_a_number_whose_tag_outlived_its_release_is_not_used_again(
    hub: Hub, tmp_path: Path
) -> None:
    hub.state.refs["refs/tags/m-v1"] = "b" * 40
    hub.state.refs["refs/tags/m-v10x"] = "b" * 40
    assert registry_of(hub).register(registration(tmp_path / "one")) == "2"


def test_a_number_that_an_immutable_release_once_had_is_passed_over(
    hub: Hub, tmp_path: Path
) -> None:
    registry = registry_of(hub)
    real = registry._api.send

    def send(method: str, path: str, body: Any = None, **options: Any) -> Any:
        if method == "PATCH" and body.get("tag_name") in {"m-v1", "m-v2"}:
            detail = {
                "field": "tag_name",
                "code": "custom",
                "message": "used by an immutable release",
            }
            raise InvalidError("refused", status=422, body={"errors": [detail]})
        return real(method, path, body, **options)

    registry._api.send = send  # type: ignore[method-assign]
    assert registry.register(registration(tmp_path / "one")) == "3"
    assert [row["tag_name"] for row in hub.state.releases] == ["m-v3"]


def test_a_commit_that_a_job_may_not_tag_leaves_the_tag_on_the_default_branch(
    hub: Hub, tmp_path: Path
) -> None:
    lacking = "Resource not accessible by integration"
    hub.fail_next("PATCH", r"/releases/\d+$", status=403, message=lacking)
    assert registry_of(hub).register(registration(tmp_path / "one")) == "1"
    assert hub.state.refs["refs/tags/m-v1"] == "b" * 40
    assert "c" * 40 in release(hub, "m-v1")["body"], "the text still names the commit"
    hub.fail_next("PATCH", r"/releases/\d+$", status=403, message=lacking, times=2)
    with pytest.raises(ForbiddenError):
        registry_of(hub).register(registration(tmp_path / "two", "another"))


def test_releases_of_the_repository_itself_are_let_alone(hub: Hub, tmp_path: Path) -> None:
    api, root = Api(hub.url, hub.token), f"/repos/{hub.repository}/releases"
    for tag in ("v1.0.0", "m-v1", "m-v2-rc"):
        api.send("POST", root, {"tag_name": tag, "body": "Release notes", "name": tag})
    draft = {"tag_name": "m-v7", "body": "soon", "draft": True, "name": "mine"}
    api.send("POST", root, draft)
    before = json.dumps(hub.state.releases)
    registry = registry_of(hub)
    assert registry.register(registration(tmp_path / "one")) == "2", "m-v1 is taken"
    registry.publish("m", {"champion": "2"}, ["h1"])
    assert json.dumps(hub.state.releases[:4]) == before
    assert dict(registry.aliases("m")) == {"champion": "2"}


# --- what a release looks like ---------------------------------------------------------------------


def test_a_version_is_tagged_at_its_commit_and_told_in_words(hub: Hub, tmp_path: Path) -> None:
    hub.state.refs["refs/heads/main"] = "b" * 40
    registry_of(hub).register(registration(tmp_path / "one"))
    row = release(hub, "m-v1")
    assert (row["name"], row["prerelease"], row["draft"]) == ("m 1", True, False)
    assert hub.state.refs["refs/tags/m-v1"] == "c" * 40
    assert f"| commit | `{'c' * 40}` |" in row["body"]
    assert "| registered by | `Ada @grace b` |" in row["body"]
    assert "@grace" not in row["body"].replace("`Ada @grace b`", ""), (
        "nobody is called by a release"
    )


def test_a_champion_is_no_prerelease_and_says_so_in_its_title(hub: Hub, tmp_path: Path) -> None:
    registry = registry_of(hub)
    for index in range(2):
        registry.register(registration(tmp_path / str(index), f"model {index}"))
    registry.publish("m", {"champion": "1", "challenger": "2"}, ["h1"])
    shown = [(row["name"], row["prerelease"]) for row in hub.state.releases]
    assert shown == [("m 1 (champion)", False), ("m 2 (challenger)", True)]
    assert latest(hub) == "m-v1"
    registry.publish("m", {"champion": "2", "challenger": None}, ["h1", "h2"])
    shown = [(row["name"], row["prerelease"]) for row in hub.state.releases]
    assert shown == [("m 1", False), ("m 2 (champion)", False)]
    assert latest(hub) == "m-v2"
    registry.publish("m", {"champion": "1"}, ["h1", "h2", "h3"])
    assert latest(hub) == "m-v1", "also on the way back"


def test_the_latest_release_never_goes_to_and_fro_between_models(hub: Hub, tmp_path: Path) -> None:
    registry = registry_of(hub)
    for name in ("m", "other"):
        for index in range(2):
            registry.register(registration(tmp_path / name / str(index), f"{name} {index}", name))
    seen = []
    for index in range(3):
        chain = [f"h{n}" for n in range(index + 1)]
        for name in ("m", "other"):
            registry.publish(name, {"champion": "1" if index < 2 else "2"}, chain)
            seen.append(latest(hub))
    assert seen == ["m-v1"] * 4 + ["m-v2"] * 2


def test_the_latest_release_of_the_repository_s_own_software_stays(
    hub: Hub, tmp_path: Path
) -> None:
    api = Api(hub.url, hub.token)
    own = {"tag_name": "v1.0.0", "body": "", "make_latest": "true"}
    api.send("POST", f"/repos/{hub.repository}/releases", own)
    registry = registry_of(hub)
    registry.register(registration(tmp_path / "one"))
    registry.publish("m", {"champion": "1"}, ["h1"])
    assert latest(hub) == "v1.0.0"


def test_publishing_what_is_published_writes_nothing(hub: Hub, tmp_path: Path) -> None:
    registry = registry_of(hub)
    for index in range(3):
        registry.register(registration(tmp_path / str(index), f"model {index}"))
    registry.publish("m", {"champion": "2", "challenger": "3"}, ["h1"])
    hub.requests.clear()
    registry.publish("m", {"champion": "2", "challenger": "3"}, ["h1"])
    assert {method for method, _ in hub.requests} == {"GET"}


@pytest.mark.parametrize("after", range(4))
def test_publishing_that_dies_anywhere_is_finished_by_the_next(
    hub: Hub, after: int, tmp_path: Path
) -> None:
    registry = registry_of(hub)
    for index in range(3):
        registry.register(registration(tmp_path / str(index), f"model {index}"))
    registry.publish("m", {"champion": "1", "challenger": "2"}, ["h1"])
    api = registry._api
    real, left = api.send, [after]

    def dies(*args: Any, **options: Any) -> Any:
        if left[0] == 0:
            raise OutsideError("killed")
        left[0] -= 1
        return real(*args, **options)

    api.send = dies  # type: ignore[method-assign]
    wanted = {"champion": "2", "challenger": "3"}
    try:
        registry.publish("m", wanted, ["h1", "h2"])
    except OutsideError:
        assert dict(registry.aliases("m")) in ({"champion": "1", "challenger": "2"}, wanted)
    api.send = real  # type: ignore[method-assign]
    registry.publish("m", wanted, ["h1", "h2"])
    assert dict(registry.aliases("m")) == wanted
    assert latest(hub) == "m-v2"
    assert [row["name"] for row in hub.state.releases] == [
        "m 1",
        "m 2 (champion)",
        "m 3 (challenger)",
    ]


# --- what somebody else did to it --------------------------------------------------------------------


def replace_asset(hub: Hub, tag: str, data: bytes) -> None:
    """Do what anybody with write access can do to a release that is not immutable."""
    api, row = Api(hub.url, hub.token), release(hub, tag)
    root = f"/repos/{hub.repository}/releases"
    for asset in api.get(f"{root}/{row['id']}")["assets"]:
        api.send("DELETE", f"{root}/assets/{asset['id']}")
    url = f"{hub.url}/uploads{root}/{row['id']}/assets"
    (hub_file := hub_tmp(hub)).write_bytes(data)
    api.upload(url, hub_file, name="bundle.tar")


def hub_tmp(hub: Hub) -> Path:
    import tempfile
    from pathlib import Path

    return Path(tempfile.mkdtemp()) / "bundle.tar"


def test_swapped_bytes_are_refused(hub: Hub, tmp_path: Path) -> None:
    registry = registry_of(hub)
    for index in range(2):
        registry.register(registration(tmp_path / str(index), f"model {index}"))
    older = hub.blobs[hub.state.assets[0]["digest"].removeprefix("sha256:")]
    replace_asset(hub, "m-v2", older)
    with pytest.raises(OutsideError, match="not the file that was published"):
        registry.fetch("m", "2", tmp_path / "store" / "x")
    assert not (tmp_path / "store" / "x").exists()


@pytest.mark.parametrize("what", ["other model", "link", "no model", "not a tar"])
def test_bytes_and_text_swapped_together_are_refused_before_anything_is_in_place(
    hub: Hub, what: str, tmp_path: Path
) -> None:
    registry = registry_of(hub)
    registry.register(registration(tmp_path / "one"))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("x" if what == "no model" else "model/x")
        if what == "link":
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    data = b"hello" if what == "not a tar" else buffer.getvalue()
    (tmp_path / "evil.tar").write_bytes(data)
    replace_asset(hub, "m-v1", data)
    row = release(hub, "m-v1")
    facts = read(row["body"], "")
    assert facts is not None
    body = row["body"].replace(facts.file, file_digest(tmp_path / "evil.tar"))
    row["body"] = body.replace(f'"size": {facts.size}', f'"size": {len(data)}')
    assert read(row["body"], "") != facts
    with pytest.raises(OutsideError):
        registry.fetch("m", "1", tmp_path / "store" / "x")
    assert not list((tmp_path / "store").iterdir())


def test_a_file_that_is_larger_than_it_says_is_not_downloaded(hub: Hub, tmp_path: Path) -> None:
    registry = registry_of(hub)
    registry.register(registration(tmp_path / "one"))
    replace_asset(hub, "m-v1", b"x" * 10_000_000)
    with pytest.raises(OutsideError, match="larger than"):
        registry.fetch("m", "1", tmp_path / "x")


def test_a_version_without_its_file_is_an_outside_error(hub: Hub, tmp_path: Path) -> None:
    registry = registry_of(hub)
    registry.register(registration(tmp_path / "one"))
    hub.state.assets.clear()
    with pytest.raises(OutsideError, match=r"version 1 of m has no bundle\.tar"):
        registry.fetch("m", "1", tmp_path / "x")


def test_people_may_write_around_the_block(hub: Hub, tmp_path: Path) -> None:
    registry, given = registry_of(hub), registration(tmp_path / "one")
    registry.register(given)
    row = release(hub, "m-v1")
    row["body"] = ("Our best one!\n\n" + row["body"] + "\n\nThanks to @mona").replace("\n", "\r\n")
    assert registry.register(given) == "1"
    registry.fetch("m", "1", tmp_path / "x")


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: body.replace('"digest"', '"digset"'),
        lambda body: body.replace("```json", "```"),
        lambda body: body + body,
        lambda body: re.sub(r'"digest": "[0-9a-f]+"', '"digest": "../../x"', body),
        lambda body: re.sub(r'"size": \d+', '"size": -1', body),
        lambda body: body.replace("{", "[", 1),
    ],
    ids=["key", "fence", "twice", "digest", "size", "brace"],
)
def test_a_damaged_block_stops_rather_than_make_a_second_version(
    hub: Hub, damage: Any, tmp_path: Path
) -> None:
    registry, given = registry_of(hub), registration(tmp_path / "one")
    registry.register(given)
    row = release(hub, "m-v1")
    row["body"] = damage(row["body"])
    for attempt in (
        lambda: registry.register(given),
        lambda: registry.fetch("m", "1", tmp_path / "x"),
        lambda: registry.publish("m", {"champion": "1"}, ["h1"]),
    ):
        with pytest.raises(OutsideError, match="not as Tidegate wrote it"):
            attempt()
    assert tags(hub) == ["m-v1"]


def test_a_moved_alias_does_not_outlive_the_next_publishing(hub: Hub, tmp_path: Path) -> None:
    registry = registry_of(hub)
    for index in range(2):
        registry.register(registration(tmp_path / str(index), f"model {index}"))
    registry.publish("m", {"champion": "1"}, ["h1"])
    row = release(hub, "m-v1")
    row["body"] = row["body"].replace('"champion": "1"', '"champion": "2"')
    assert dict(registry.aliases("m")) == {"champion": "2"}
    registry.publish("m", {"champion": "1"}, ["h1"])
    assert dict(registry.aliases("m")) == {"champion": "1"}


# --- limits --------------------------------------------------------------------------------------------


def test_a_bundle_too_large_for_a_release_names_the_way_out_and_leaves_nothing(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = registration(tmp_path / "one")
    with (given.bundle / MODEL / "huge").open("wb") as file:
        file.truncate(2**31)  # sparse: takes no room
    with pytest.raises(OutsideError, match="less than 2 GiB") as caught:
        registry_of(hub).register(given)
    assert "registry: {uri: ...}" in caught.value.remedy
    assert hub.state.releases == []


def test_a_token_that_may_only_read_is_told_what_it_lacks(hub: Hub, tmp_path: Path) -> None:
    hub.grant({"contents": "read"})
    with pytest.raises(ForbiddenError) as caught:
        registry_of(hub).register(registration(tmp_path / "one"))
    assert "contents: write" in caught.value.remedy


@pytest.mark.parametrize("name", ["owner", "", "owner/", "/name", "../..", "owner/.."])
def test_a_repository_s_name_that_leads_elsewhere_is_refused(hub: Hub, name: str) -> None:
    with pytest.raises(OutsideError):
        ReleasesRegistry(Api(hub.url, hub.token), name)


def facts(**more: Any) -> Facts:
    known: Row = {
        "model": "m", "digest": "d" * 64, "file": "f" * 64, "size": 7, "nonce": "n", "tags": {},
    }  # fmt: skip
    return Facts(**{**known, **more})


@pytest.mark.parametrize(
    "given",
    [
        facts(),
        facts(note=Note(serial=3, head="h", aliases={"champion": "1"})),
        facts(note=Note(serial=3, head="h", aliases=None)),
        facts(tags={"a": "```\n\n<!-- tidegate:version:1 -->\n```json\n{}\n```", "b": "@mona 模型"}),
        facts(params={"x": "\u2028`'\"\\"}, metrics={"auc": 0.25, "n": 3}),
    ],
    ids=["plain", "note", "old note", "hostile tags", "odd parameters"],
)  # fmt: skip
def test_what_is_written_is_read_back(given: Facts) -> None:
    assert read(write(given), "x") == given
    assert read(write(given).replace("\n", "\r\n"), "x") == given


def test_parameters_go_before_metrics_and_metrics_before_the_version(hub: Hub) -> None:
    params = {f"p{n}": "x" * 400 for n in range(1000)}
    found = read(write(facts(params=params, metrics={"auc": 0.5})), "x")
    assert found == facts(metrics={"auc": 0.5})
    with pytest.raises(OutsideError, match="too long"):
        write(facts(tags={"t": "x" * 200_000}))


def test_a_number_that_json_cannot_hold_is_kept_as_text() -> None:
    found = read(write(facts(metrics={"a": float("nan"), "b": float("inf")})), "x")
    assert found is not None
    assert found.metrics == {"a": "nan", "b": "inf"}


@pytest.mark.parametrize("body", [None, "", "notes", "```json\n{}\n```"])
def test_other_releases_are_none_of_ours(body: str | None) -> None:
    assert read(body, "x") is None


@pytest.mark.parametrize(
    ("api", "site"),
    [
        ("https://api.github.com", "github.com"),
        ("https://ghe.example.com/api/v3", "ghe.example.com"),
        ("https://api.acme.ghe.com", "acme.ghe.com"),
        ("http://127.0.0.1:80", "127.0.0.1"),
    ],
)
def test_remotes_and_api_belong_together(api: str, site: str) -> None:
    assert site_of(api) == site


def test_the_limit_is_github_s() -> None:
    assert releases.ASSET_LIMIT == 2 * 1024**3
