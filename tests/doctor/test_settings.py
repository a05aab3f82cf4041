"""What doctor says of a repository's settings, read from the loopback GitHub."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.github.server import serve
from tidegate.adapters.host.api import Api
from tidegate.adapters.host.reading import GitHubReader, Settings
from tidegate.doctor import settings
from tidegate.doctor.flow import flow
from tidegate.doctor.result import Result, State
from tidegate.render import starter
from tidegate.render.starter import LEDGER_RULES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.github.hub import Hub

pytestmark = pytest.mark.real

CALLS = flow("m.yml", starter.workflow("main", training={}, operating={})).calls
SIGNED = flow("m.yml", starter.workflow("main", training={}, operating={}, signed=True)).calls


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve() as hub:
        hub.state.settings["private"] = True
        hub.state.rules += [
            {"type": rule["type"], "_branches": "tidegate-ledger/"} for rule in RULES
        ]
        environment(hub, "production", reviewers=True)
        environment(hub, "production-operate", branches=["main"])
        yield hub


RULES: list[dict[str, str]] = LEDGER_RULES["rules"]  # type: ignore[assignment]


def environment(
    hub: Hub, name: str, *, reviewers: bool = False, wait: int = 0,
    branches: list[str] | None = None, protected: bool = False,
) -> None:  # fmt: skip
    """Set up an environment, in GitHub's words."""
    drop(hub, name)
    number = len(hub.state.environments) + 1
    rules: list[dict[str, Any]] = []
    if reviewers:
        rules.append({"id": 1, "node_id": "a", "type": "required_reviewers", "reviewers": []})
    if wait:
        rules.append({"id": 2, "node_id": "b", "type": "wait_timer", "wait_timer": wait})
    policy = None
    if branches is not None or protected:
        policy = {"protected_branches": protected, "custom_branch_policies": not protected}
    hub.state.environments.append(
        {
            "id": number,
            "node_id": "E",
            "name": name,
            "url": "https://api.github.com/e",
            "html_url": "https://github.com/e",
            "protection_rules": rules,
            "deployment_branch_policy": policy,
        }
    )
    hub.state.branch_policies += [
        {"id": 1, "node_id": "P", "name": branch, "_environment": name} for branch in branches or []
    ]


def drop(hub: Hub, name: str) -> None:
    hub.state.environments[:] = [row for row in hub.state.environments if row["name"] != name]
    hub.state.branch_policies[:] = [
        row for row in hub.state.branch_policies if row["_environment"] != name
    ]


def look(hub: Hub, calls: Any = CALLS, *, trains: bool = False) -> dict[str, Result]:
    reader = GitHubReader(Api(hub.url, hub.token), hub.repository)
    rules = reader.branch_rules("tidegate-ledger/credit")
    found = settings.look(reader.settings(), rules, calls, "main", trains=trains)
    return {r.what: r for r in found}


def test_a_repository_that_is_set_up_is_in_order(hub: Hub) -> None:
    assert {what: result.state for what, result in look(hub).items()} == dict.fromkeys(
        [
            "repository",
            "actions",
            "ledger branch",
            "environment production",
            "environment production-operate",
            "revert pulls",
            "secret values",
        ],
        State.OK,
    )


def put(**values: Any) -> Callable[[Hub], None]:
    return lambda hub: hub.state.settings.update(values)


def selected(*patterns: str, own: bool = True) -> Callable[[Hub], None]:
    return put(
        allowed_actions="selected", patterns_allowed=list(patterns), github_owned_allowed=own
    )


SPOILED: dict[str, tuple[Callable[[Hub], None], str, State, str]] = {
    "archived": (put(archived=True), "repository", State.FAILED, "archived"),
    "public": (put(private=False), "repository", State.WARNING, "60 days"),
    "actions are off": (put(enabled=False), "actions", State.FAILED, "switched off"),
    "local actions alone": (put(allowed_actions="local_only"), "actions", State.FAILED, "owner's own"),
    "ours is not listed": (selected("acme/*"), "actions", State.FAILED, "may not run: tidegate/tidegate/*"),
    "GitHub's are not listed": (
        selected("tidegate/tidegate/*", own=False), "actions", State.FAILED, "may not run: actions/*",
    ),
    "ours is denied": (
        selected("tidegate/*", "!tidegate/tidegate/*"), "actions", State.FAILED, "tidegate/tidegate/*",
    ),
    "GitHub's are denied": (
        selected("tidegate/tidegate/*", "!actions/*"), "actions", State.FAILED, "may not run: actions/*",
    ),
    "a pull request is asked for": (
        lambda hub: hub.state.rules.append({"type": "pull_request", "_branches": ""}),
        "ledger branch", State.FAILED, "pull_request (it takes pull requests alone)",
    ),
    "nobody may create branches": (
        lambda hub: hub.state.rules.append({"type": "creation", "_branches": "t"}),
        "ledger branch", State.FAILED, "creation",
    ),
    "no rules": (
        lambda hub: hub.state.rules.clear(), "ledger branch", State.WARNING, "deleted and rewritten",
    ),
    "no operating environment": (
        lambda hub: drop(hub, "production-operate"),
        "environment production-operate", State.FAILED, "is not there",
    ),
    "no starting environment": (
        lambda hub: drop(hub, "production"), "environment production", State.WARNING, "is not there",
    ),
    "reviewers at 3 a.m.": (
        lambda hub: environment(hub, "production-operate", reviewers=True, branches=["main"]),
        "environment production-operate", State.FAILED, "waits for reviewers",
    ),
    "a timer": (
        lambda hub: environment(hub, "production-operate", wait=30, branches=["main"]),
        "environment production-operate", State.FAILED, "a timer of 30 min",
    ),
    "every branch operates": (
        lambda hub: environment(hub, "production-operate"),
        "environment production-operate", State.FAILED, "open to every branch",
    ),
    "protected branches operate": (
        lambda hub: environment(hub, "production-operate", protected=True),
        "environment production-operate", State.FAILED, "open to protected branches",
    ),
    "a pattern operates": (
        lambda hub: environment(hub, "production-operate", branches=["main", "release/*"]),
        "environment production-operate", State.FAILED, "open to main, release/*",
    ),
    "no pull requests by Actions": (
        put(can_approve_pull_request_reviews=False), "revert pulls", State.WARNING, "prefilled link",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILED)
def test_each_setting_that_would_fail_is_found(hub: Hub, name: str) -> None:
    spoil, what, state, says = SPOILED[name]
    spoil(hub)
    result = look(hub)[what]
    assert (result.state, says in result.found) == (state, True), result
    assert result.remedy


@pytest.mark.parametrize(
    "patterns",
    [
        ("tidegate/*",),
        ("tidegate/tidegate/*",),
        ("tidegate/tidegate/.github/workflows/*@*",),
        ("*tidegate/tidegate/*",),
    ],
)
def test_a_policy_that_names_ours_lets_it_run(hub: Hub, patterns: tuple[str, ...]) -> None:
    selected(*patterns)(hub)
    assert look(hub)["actions"].state is State.OK


def test_what_the_token_may_not_see_is_never_in_order(hub: Hub) -> None:
    hub.grant({})
    states = {what: result.state for what, result in look(hub).items()}
    visible = {"ledger branch", "secret values", "repository"}
    assert {state for what, state in states.items() if what not in visible} == {State.UNSEEN}
    assert {"actions", "environments", "revert pulls"} <= set(states)


BLIND = Settings(
    repository=None, workflow=None, actions=None, selected_actions=None, environments=None
)


def test_a_token_that_sees_nothing_finds_nothing_in_order() -> None:
    found = list(settings.look(BLIND, None, CALLS, "main"))
    assert [result.what for result in found] == [*settings.LOOKS, "secret values"]
    assert {result.state for result in found[:-1]} == {State.UNSEEN}
    assert all(result.remedy for result in found[:-1])


@pytest.mark.parametrize("allowed", ["selected", "a policy of tomorrow", None])
def test_a_policy_that_cannot_be_read_is_not_in_order(allowed: str | None) -> None:
    seen = replace(BLIND, actions={"enabled": True, "allowed_actions": allowed})
    found = {r.what: r for r in settings.look(seen, None, CALLS, "main")}
    assert found["actions"].state is State.UNSEEN


def test_who_starts_a_rollout_is_said(hub: Hub) -> None:
    assert look(hub)["environment production"].found == "reviewers approve each start"
    environment(hub, "production")
    assert look(hub)["environment production"].found == "a start waits for nobody"


def test_without_a_token_nothing_is_said_to_be_in_order() -> None:
    found = list(settings.not_looked("no token", SIGNED))
    assert {result.state for result in found} == {State.UNSEEN}
    assert all("GH_TOKEN=$(gh auth token)" in result.remedy for result in found[:-1])


def test_whether_a_secret_holds_something_nobody_can_tell(hub: Hub) -> None:
    result = look(hub, SIGNED)["secret values"]
    assert (result.state, "signing-key" in result.found) == (State.UNSEEN, True)


def test_environments_of_another_name_are_followed(hub: Hub) -> None:
    inputs = {"environment": "live", "operate-environment": "Live-Operate"}
    calls = flow("m.yml", starter.workflow("main", training={}, operating=inputs)).calls
    environment(hub, "live")
    environment(hub, "live-operate", branches=["main"])
    found = look(hub, calls)
    assert found["environment live"].state is State.OK
    assert found["environment live-operate"].state is State.OK
    assert "environment production" not in found


def test_the_environment_of_training_counts_where_a_cloud_trains(hub: Hub) -> None:
    assert "environment training" not in look(hub)
    result = look(hub, trains=True)["environment training"]
    assert (result.state, "nobody is asked before" in result.found) == (State.WARNING, True)
    environment(hub, "training", reviewers=True)
    result = look(hub, trains=True)["environment training"]
    assert (result.state, "reviewers approve each" in result.found) == (State.OK, True)


@pytest.mark.parametrize(
    ("branches", "protected", "shut"),
    [
        (["main"], False, "refs/pull/7/merge"),
        (["refs/pull/*/merge"], False, "main"),
        (None, True, "refs/pull/7/merge"),
        (["main", "refs/pull/*/merge"], False, ""),
    ],
)
def test_training_is_open_to_pull_requests_and_the_default_branch(
    hub: Hub, branches: list[str] | None, *, protected: bool, shut: str
) -> None:
    environment(hub, "training", branches=branches, protected=protected)
    result = look(hub, trains=True)["environment training"]
    if shut:
        assert (result.state, f"no job of {shut} in" in result.found) == (State.FAILED, True)
    else:
        assert result.state is State.OK
