"""GitHub's own parser accepts what we ship, and our use of it would notice if it did not."""

from __future__ import annotations

import pytest

from tests.workflows import github
from tests.workflows.copies import plain
from tests.workflows.documents import shipped
from tests.workflows.github import Event

pytestmark = [pytest.mark.real, pytest.mark.workflows]

PROJECT = shipped()
TEXTS = {each.name: plain(each.text) for each in PROJECT.documents if each.kind != "dependabot"}

CALLER = """
on: {push: {branches: [main]}}
permissions: {}
jobs:
  a:
    uses: $/b.yml
    permissions: {contents: read}
    with: {name: "${{ github.event_name }}"}
  last:
    needs: a
    if: always() && needs.a.outputs.found == 'x'
    runs-on: "ubuntu-${{ github.ref_name }}"
    steps: [{run: ls}]
"""
CALLED = """
on:
  workflow_call:
    inputs:
      name: {type: string, required: true}
      many: {type: number, default: 3}
    outputs: {found: {value: "${{ jobs.find.outputs.found }}"}}
permissions: {}
jobs:
  find:
    runs-on: x
    outputs: {found: "${{ steps.f.outputs.f }}", list: "${{ steps.f.outputs.l }}"}
    steps: [{id: f, run: ls}]
  each:
    needs: find
    if: needs.find.outputs.list != '[]'
    permissions: {contents: read}
    environment: ${{ inputs.name }}
    strategy: {matrix: {one: "${{ fromJSON(needs.find.outputs.list) }}"}}
    runs-on: x
    steps: [{run: ls}]
  after:
    needs: [find, each]
    runs-on: x
    steps: [{run: ls}]
  cleanup:
    needs: each
    if: "!cancelled() && needs.each.result == 'failure'"
    runs-on: x
    steps: [{run: ls}]
"""
FILES = {"a.yml": CALLER, "b.yml": CALLED}
PUSH = {"ref": "refs/heads/main", "ref_name": "main"}


def play(
    files: dict[str, str] = FILES, name: str = "push", **answers: dict[str, object]
) -> github.Run:
    return github.play(files, "a.yml", [Event(name=name, github=PUSH, answers=answers)])[0]


@pytest.mark.parametrize("name", TEXTS)
def test_githubs_parser_accepts(name: str) -> None:
    assert github.errors(TEXTS, [name]) == {name: []}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("needs: a", "needs: b", "unknown job"),
        ("always() &&", "allways() &&", "Unrecognized function"),
        ("$/b.yml", "$/c.yml", "Unable to find reusable workflow"),
        ("name: ", "nome: ", "nome"),
        ("with: {name", "#", "name"),
        ("runs-on", "run-on", "run-on"),
    ],
)
def test_githubs_parser_would_refuse(old: str, new: str, said: str) -> None:
    [found] = github.errors(FILES | {"a.yml": CALLER.replace(old, new)}, ["a.yml"]).values()
    assert any(said in error for error in found), found


def test_a_matrix_runs_a_leg_for_each_and_nothing_is_left_over() -> None:
    run = play(find={"outputs": {"found": "x", "list": '["1", "2"]'}})
    assert run.errors == ()
    assert run.ran == ["a/find", "a/each[1]", "a/each[2]", "a/after", "last"]
    assert run.job("a/each[2]").environment == "push"
    assert run.job("last").runs_on == "ubuntu-main"
    assert run.job("a/find").permissions == {}


def test_a_skipped_job_skips_those_that_need_it() -> None:
    run = play(find={"outputs": {"found": "y", "list": "[]"}})
    assert run.ran == ["a/find"]


def test_a_failure_runs_only_what_asks_for_it() -> None:
    run = play(each={"result": "failure"}, find={"outputs": {"found": "x", "list": '["1"]'}})
    assert run.ran == ["a/find", "a/each[1]", "a/cleanup", "last"]


def test_a_cancelled_run_goes_on_only_where_always_is_said() -> None:
    run = play(each={"result": "cancelled"}, find={"outputs": {"found": "x", "list": '["1"]'}})
    assert run.ran == ["a/find", "a/each[1]", "last"]


def test_an_empty_matrix_and_an_unasked_output_are_errors() -> None:
    unguarded = CALLED.replace("list != '[]'", "list != 'x'")
    run = play(FILES | {"b.yml": unguarded}, find={"outputs": {"list": "[]", "nothing": "x"}})
    assert run.errors == ("a/find: has no output nothing", "a/each: the matrix is empty")


def test_asking_for_more_than_the_caller_grants_is_an_error() -> None:
    greedy = CALLED.replace("contents: read", "contents: write")
    run = play(FILES | {"b.yml": greedy}, find={"outputs": {"list": '["1"]'}})
    assert run.errors == ("a/each[1]: asks contents: write",)
    assert run.job("a/each[1]").permissions == {"contents": "read"}


def test_an_input_of_the_wrong_type_is_an_error() -> None:
    worded = CALLER.replace("with: {", "with: {many: three, ")
    assert "a: many is a string, not a number" in play(FILES | {"a.yml": worded}).errors


@pytest.mark.parametrize(("name", "ref"), [("pull_request", "main"), ("push", "other")])
def test_other_events_start_nothing(name: str, ref: str) -> None:
    event = Event(name=name, github={"ref": f"refs/heads/{ref}", "ref_name": ref})
    assert not github.play(FILES, "a.yml", [event])[0].triggered
