"""What doctor says of a workflow file: each way it can be wrong is found."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from tidegate.doctor import workflow
from tidegate.doctor.flow import Flow, flow
from tidegate.doctor.result import Result, State
from tidegate.doctor.workflow import NEEDED, Setting
from tidegate.errors import ConfigError
from tidegate.load import load
from tidegate.render import starter

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """\
version: 1
model: {name: credit-risk, task: binary}
data: {train: a.parquet, holdout: b.parquet, target: y, id: id}
train: {run: python train.py}
gate: {rules: [{metric: roc_auc, at_least: 0.75, margin: 0.005}]}
registry: {store: github-releases}
"""
KEY = "A" * 43 + "="
GOOD = starter.workflow("main", training={}, operating={"operate-runner": "self-hosted"})
FORKS = starter.publisher()


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    (tmp_path / "mlops.yaml").write_text(CONFIG)
    return Setting(config=load(tmp_path / "mlops.yaml"), default_branch="main", sure=True)


def look(setting: Setting, *texts: str) -> dict[str, Result]:
    flows: list[Flow] = [flow(f"{n}.yml", text) for n, text in enumerate(texts)]
    return {result.what: result for result in workflow.look(flows, setting)}


def test_what_init_writes_is_in_order(setting: Setting) -> None:
    found = look(setting, GOOD, FORKS)
    assert {what: result.state for what, result in found.items()} == dict.fromkeys(
        [
            "workflow",
            "permissions",
            "inputs",
            "pins",
            "schedule",
            "branch",
            "runners",
            "secrets",
            "forks",
        ],
        State.OK,
    )


# (the words to replace, what stands there instead, the look, its state, words of the finding)
SPOILED: dict[str, tuple[str, str, str, State, str]] = {
    "a permission too little": (
        "issues: write, pull-requests: write} # the cloud roles; an issue after a revert; the thread of",
        "pull-requests: write} # the thread of",
        "permissions",
        State.FAILED,
        "deliver: grants too little, needs issues: write",
    ),
    "read where write is needed": (
        "{actions: write, contents: write",
        "{actions: read, contents: write",
        "permissions",
        State.FAILED,
        "needs actions: write",
    ),
    "a permission too many": (
        "{actions: read, checks: write,",
        "{actions: read, checks: write, packages: write,",
        "permissions",
        State.WARNING,
        "check: grants more than is asked for: packages",
    ),
    "an input of nobody": (
        "operate-runner: self-hosted", "operate-runer: self-hosted", "inputs", State.FAILED, "deliver: operate-runer",
    ),
    "a tag": ("@", "@v1 # ", "pins", State.FAILED, "deliver: @v1"),
    "no schedule": ('  schedule: [{cron: "23 * * * *"}]', "  issues:", "schedule", State.FAILED, "rollout"),
    "another branch": ("[main]", "[master]", "branch", State.FAILED, "the default branch is main"),
    "every branch": ("push: {branches: [main]}", "push:", "branch", State.FAILED, "every branch"),
    "two branches": ("[main]", "[main, dev]", "branch", State.FAILED, "main, dev deliver"),
    "no push": ("  push: {branches: [main]}\n", "", "branch", State.FAILED, "not start on a push"),
    "a hosted machine that serves": (
        "operate-runner: self-hosted",
        "operate-runner: ubuntu-latest",
        "runners",
        State.FAILED,
        "dies with the job",
    ),
    "a machine nobody knows yet": (
        "operate-runner: self-hosted",
        'operate-runner: "${{ vars.BOX }}"',
        "runners",
        State.UNSEEN,
        "only known when it runs",
    ),
    "all secrets": (
        "    with: {operate-runner: self-hosted}",
        "    secrets: inherit",
        "secrets",
        State.FAILED,
        "every secret",
    ),
    "a secret of nobody": (
        "    with: {operate-runner: self-hosted}",
        "    secrets: {registry-passwort: x}",
        "secrets",
        State.FAILED,
        "registry-passwort",
    ),
    "a role that is none": (
        "with: {operate-runner: self-hosted",
        "with: {aws-role: arn:aws:iam::1:role/x, aws-region: eu-west-1, operate-runner: self-hosted",
        "aws role",
        State.FAILED,
        "not spelt like one",
    ),
    "a role without its region": (
        "with: {operate-runner: self-hosted",
        'with: {aws-role: "arn:aws:iam::123456789012:role/x", operate-runner: self-hosted',
        "aws role",
        State.FAILED,
        "aws-region is missing",
    ),
    "a provider that is none": (
        "with: {operate-runner: self-hosted",
        "with: {gcp-provider: mine, gcp-service-account: t@p-1.iam.gserviceaccount.com, operate-runner: self-hosted",
        "gcp role",
        State.FAILED,
        "gcp-provider is not spelt like one",
    ),
    "nobody watches": ("/watch.yml", "/publish.yml", "workflow", State.FAILED, "no watch.yml"),
    "nobody checks": ("/check.yml", "/deliver.yml", "workflow", State.WARNING, "no check.yml"),
    "a file that is none of ours": ("/check.yml", "/chek.yml", "permissions", State.FAILED, "none of ours"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILED)
def test_each_fault_is_found(setting: Setting, name: str) -> None:
    before, after, what, state, says = SPOILED[name]
    assert before in GOOD
    result = look(setting, GOOD.replace(before, after))[what]
    assert (result.state, says in result.found) == (state, True), result
    assert result.remedy


def test_a_job_that_says_no_permissions_is_left_to_the_repositorys_setting(
    setting: Setting,
) -> None:
    text = "\n".join(
        line for line in GOOD.splitlines() if not line.startswith(("    permissions", "      ", "permissions"))
    )  # fmt: skip
    result = look(setting, text)["permissions"]
    assert (result.state, "says no permissions" in result.found) == (State.FAILED, True)


def test_everything_is_enough_and_too_much(setting: Setting) -> None:
    text = (
        "on: push\npermissions: write-all\njobs:\n  deliver:\n"
        f"    uses: tidegate/tidegate/.github/workflows/deliver.yml@{'a' * 40}\n"
    )
    result = look(setting, text)["permissions"]
    assert (result.state, "write" in result.found) == (State.WARNING, True)


def test_two_versions_of_ours_are_warned_of(setting: Setting) -> None:
    text = GOOD.replace("watch.yml@", f"watch.yml@{'a' * 40} # ")
    result = look(setting, text)["pins"]
    assert (result.state, "2 different commits" in result.found) == (State.WARNING, True)


def test_signed_models_need_the_key(setting: Setting) -> None:
    config = setting.config
    signed = dataclasses.replace(
        setting,
        config=dataclasses.replace(
            config, registry=dataclasses.replace(config.registry, public_key=KEY)
        ),
    )
    assert look(signed, GOOD)["secrets"].state is State.FAILED
    given = starter.workflow("main", training={}, operating={}, signed=True)
    assert look(signed, given)["secrets"].state is State.OK


def test_an_embedded_registry_on_a_hosted_machine_is_lost(setting: Setting) -> None:
    config = setting.config
    embedded = dataclasses.replace(
        setting,
        config=dataclasses.replace(
            config, registry=dataclasses.replace(config.registry, store=None)
        ),
    )
    assert "the embedded registry with it" in look(embedded, GOOD)["runners"].found
    boxed = GOOD.replace("operate-runner", "runner")
    assert look(embedded, boxed)["runners"].state is State.OK


@pytest.mark.parametrize(
    "inputs",
    [
        {"aws-role": "arn:aws:iam::123456789012:role/ml/tidegate", "aws-region": "eu-west-1"},
        {"aws-role": "${{ vars.ROLE }}", "aws-region": "eu-west-1"},
        {
            "gcp-provider": "projects/12/locations/global/workloadIdentityPools/tide/providers/operate",
            "gcp-service-account": "tidegate-operate@acme-ml.iam.gserviceaccount.com",
        },
    ],
    ids=["aws", "a variable", "gcp"],
)
def test_a_role_is_told_which_trust_it_needs(setting: Setting, inputs: dict[str, str]) -> None:
    text = starter.workflow("main", training={}, operating=inputs)
    found = look(setting, text)
    [result] = [result for what, result in found.items() if what.endswith("role")]
    assert result.state is State.OK
    assert "repo:OWNER/NAME:environment:production-operate" in result.found
    assert f"doctor --policy {next(iter(inputs))[:3]}" in result.found


def test_a_role_without_a_token_to_ask_with_is_found(setting: Setting) -> None:
    given = {"aws-role": "arn:aws:iam::123456789012:role/x", "aws-region": "eu-west-1"}
    text = starter.workflow("main", training={}, operating=given).replace("id-token: write, ", "")
    assert "no id-token: write" in look(setting, text)["aws role"].found


def test_a_publisher_that_waits_for_another_name_is_found(setting: Setting) -> None:
    result = look(setting, GOOD, FORKS.replace("[MLOps]", "[Models]"))["forks"]
    assert (result.state, "named MLOps" in result.found) == (State.FAILED, True)


def test_no_workflow_at_all_is_one_finding(setting: Setting) -> None:
    found = look(setting)
    assert {what: result.state for what, result in found.items()} == {"workflow": State.FAILED}
    assert found["workflow"].remedy == "Run `tidegate init`: it writes one."


@pytest.mark.parametrize(
    "text", ["on: [", "- a", "on: push\njobs: 3\n", "a: 1\na: 2\n"],
    ids=["broken", "a list", "no jobs", "a key twice"],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_an_error_with_its_place(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^x\.yml"):
        flow("x.yml", text)


@pytest.mark.parametrize(
    ("said", "events"),
    [
        ("push", {"push"}),
        ("[push, pull_request]", {"push", "pull_request"}),
        ("{push: }", {"push"}),
    ],
)
def test_events_are_read_in_each_of_their_forms(said: str, events: set[str]) -> None:
    assert set(flow("x.yml", f"on: {said}\njobs: {{}}\n").events) == events


def test_what_is_asked_for_is_what_the_template_grants() -> None:
    grants: dict[str, Any] = {
        call.file: dict(call.permissions or {})
        for text in (GOOD, FORKS)
        for call in flow("x.yml", text).calls
    }
    assert grants == {file: dict(needed) for file, needed in NEEDED.items()}
