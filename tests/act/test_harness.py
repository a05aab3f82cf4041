"""The harness: what act and the stand-ins do must be what GitHub does."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.act.events import ZERO
from tests.act.house import House, WrongUseError
from tests.act.world import World, git
from tidegate.adapters.host.api import Api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.act.act import Result

pytestmark = [pytest.mark.workflows, pytest.mark.timeout(120)]

CHECKOUT = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1"
UPLOAD = "actions/upload-artifact@bbbca2ddaa5d8feaa63e36b76fdaad77386f024f"
DOWNLOAD = "actions/download-artifact@3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c"

OUTER = """
name: outer
on:
  workflow_call:
    inputs: {models: {type: string}}
    outputs: {told: {value: "${{ jobs.last.outputs.told }}"}}
jobs:
  model:
    if: inputs.models != '[]'
    strategy: {matrix: {model: "${{ fromJSON(inputs.models) }}"}, fail-fast: false}
    uses: $/.github/workflows/inner.yml
    with: {model: "${{ matrix.model }}"}
  last:
    needs: model
    if: always()
    runs-on: ubuntu-latest
    outputs: {told: "${{ steps.tell.outputs.told }}"}
    steps:
      - {id: tell, env: {R: "${{ needs.model.result }}"}, run: 'echo "told=$R" >> "$GITHUB_OUTPUT"'}
"""

INNER = f"""
name: inner
on: {{workflow_call: {{inputs: {{model: {{type: string}}}}}}}}
jobs:
  train:
    runs-on: ubuntu-latest
    outputs: {{digest: "${{{{ steps.up.outputs.artifact-digest }}}}"}}
    steps:
      - uses: {CHECKOUT}
        with: {{persist-credentials: false, fetch-depth: 0}}
      - {{env: {{M: "${{{{ inputs.model }}}}"}}, run: 'test "$M" != bad'}}
      - run: mkdir out && cp model.txt out/ && touch out/.hidden && ln -s /etc/hostname out/link && git rev-list --count HEAD > out/history
      - id: up
        uses: {UPLOAD}
        with: {{name: "candidate-${{{{ inputs.model }}}}", path: out, if-no-files-found: error}}
  decide:
    needs: train
    if: always()
    runs-on: ubuntu-latest
    steps:
      - if: needs.train.result == 'success'
        uses: {DOWNLOAD}
        with: {{name: "candidate-${{{{ inputs.model }}}}", path: in}}
      - uses: $/.github/actions/engine
        with: {{command: "${{{{ needs.train.result }}}}"}}
"""

ENGINE = """
name: engine
description: d
inputs: {command: {description: d, required: true}}
outputs: {said: {description: d, value: "${{ steps.z.outputs.said }}"}}
runs:
  using: composite
  steps:
    - id: z
      shell: bash
      env: {C: "${{ inputs.command }}", P: "${{ github.action_path }}"}
      run: |
        ls -a in 2>/dev/null || true
        test ! -t 1 && echo "no terminal"
        test -f "$P/../../../action.yml" && echo "house is here"
        git config --get-regexp extraheader && exit 9
        echo "said=$C" >> "$GITHUB_OUTPUT"
        echo "## $C" >> "$GITHUB_STEP_SUMMARY"
"""

USER = """
name: MLOps
on: [push, pull_request, workflow_dispatch, schedule, merge_group]
jobs:
  check:
    uses: tidegate/tidegate/.github/workflows/outer.yml@0000000000000000000000000000000000000001 # v9
    with: {models: MODELS}
  required:
    needs: check
    if: always()
    runs-on: ubuntu-latest
    steps:
      - id: told
        env: {R: "${{ needs.check.result }} ${{ needs.check.outputs.told }}", T: "${{ github.event.pull_request.title }}"}
        run: |
          echo "r=$R" >> "$GITHUB_OUTPUT"
          echo "$GITHUB_EVENT_NAME $GITHUB_REF $GITHUB_SHA $GITHUB_RUN_ID $GITHUB_API_URL ${{ github.api_url }} $T"
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    folder = tmp_path / "house"
    for name, text in {
        "action.yml": ENGINE,
        ".github/actions/engine/action.yml": ENGINE,
        ".github/workflows/outer.yml": OUTER,
        ".github/workflows/inner.yml": INNER,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    with World.made(tmp_path, House.rewrite(folder)) as made:
        yield made


def _files(models: str) -> dict[str, str | bytes | None]:
    return {
        ".github/workflows/mlops.yml": USER.replace("MODELS", repr(models)),
        "model.txt": "weights\n",
    }


def _told(result: Result) -> str:
    return result.job("required").outputs["told"]["r"]


def test_a_push_runs_called_workflows_a_matrix_artifacts_and_composites(world: World) -> None:
    world.commit("first", _files('["one","two"]'))
    result = world.push()
    assert not result.red, result.failures()
    assert _told(result) == "success success"
    assert sorted(result.ran) == sorted(
        [
            "check", "check/last", "check/model[one]", "check/model[one]/decide", "check/model[one]/train",
            "check/model[two]", "check/model[two]/decide", "check/model[two]/train", "required",
        ]
    )  # fmt: skip
    log = result.job("check/model[one]/decide").log
    assert "no terminal" in log
    assert "house is here" in log
    assert result.job("check/model[one]/decide").summary == "## success\n"
    with zipfile.ZipFile(world.artifacts / result.id / "candidate-one.zip") as kept:
        assert sorted(kept.namelist()) == ["history", "link", "model.txt"]
        assert kept.read("link") == Path("/etc/hostname").read_bytes()  # links are followed
    told = Api(world.hub.url, world.hub.token).get(
        f"/repos/ada/flights/actions/runs/{result.id}/artifacts"
    )
    digests = {row["name"]: row["digest"] for row in told["artifacts"]}
    train = result.job("check/model[one]/train")
    assert digests["candidate-one"] == f"sha256:{train.outputs['up']['artifact-digest']}"
    api = world.hub.url
    said = f"push refs/heads/main {world.tip()} {result.id} {api} {api}"
    assert said in result.job("required").log


def test_a_called_job_that_fails_reddens_its_callers_and_later_jobs_still_run(world: World) -> None:
    world.commit("first", _files('["bad","two"]'))
    result = world.push()
    assert result.red
    assert result.job("check/model[bad]/train").result == "failure"
    assert result.job("check/model[bad]/decide").outputs["1"]["said"] == "failure"
    assert result.job("check/model[bad]").result == "failure"
    assert result.job("check/model[two]").result == "success"
    assert _told(result) == "failure failure"


def test_a_matrix_without_values_is_skipped_by_its_condition(world: World) -> None:
    world.commit("first", _files("[]"))
    result = world.push()
    assert not result.red, result.failures()
    assert result.job("check/model").result == "skipped"
    assert _told(result) == "success skipped"


def test_a_matrix_that_a_failed_job_did_not_make_is_not_looked_at(world: World) -> None:
    models = "${{ fromJSON(needs.find.outputs.models) }}"
    text = USER.split("jobs:", maxsplit=1)[0] + (
        "jobs: {find: {runs-on: ubuntu-latest, outputs: {models: ''}, steps: [{run: exit 1}]}, "
        "model: {needs: find, if: needs.find.outputs.count != '0', "
        f'strategy: {{matrix: {{include: "{models}"}}}}, runs-on: ubuntu-latest, steps: [{{run: exit 0}}]}}, '
        "required: {needs: [find, model], if: always(), runs-on: ubuntu-latest, "
        "steps: [{run: 'echo ${{ needs.find.result }} ${{ needs.model.result }}'}]}}"
    )
    world.commit("first", {".github/workflows/mlops.yml": text})
    result = world.push()
    assert result.red
    assert result.job("model").result == "skipped"
    assert "failure skipped" in result.job("required").log


def test_a_skipped_job_has_no_outputs(world: World) -> None:
    text = USER.split("jobs:", maxsplit=1)[0] + (
        "jobs: {a: {if: false, runs-on: ubuntu-latest, outputs: {x: '${{ steps.s.outputs.x }}'}, "
        "steps: [{id: s, run: exit 0}]}, "
        "b: {runs-on: ubuntu-latest, outputs: {x: '${{ steps.s.outputs.x }}'}, "
        "steps: [{id: s, run: 'echo x=1 >> \"$GITHUB_OUTPUT\"'}]}, "
        "c: {needs: [a, b], if: '!cancelled()', runs-on: ubuntu-latest, "
        "steps: [{run: 'echo told ${{ needs.a.outputs.x || needs.b.outputs.x }}'}]}}"
    )
    world.commit("first", {".github/workflows/mlops.yml": text})
    assert "told 1" in world.push().job("c").log


def test_a_run_lists_its_jobs_under_the_names_that_github_gives_them(world: World) -> None:
    world.commit("first", _files('["one"]'))
    result = world.push()
    path = f"/repos/ada/flights/actions/runs/{result.id}/jobs"
    listed = Api(world.hub.url, world.hub.token).get(path)["jobs"]
    assert {(job["name"], job["status"], job["conclusion"]) for job in listed} == {
        ("check / model (one) / train", "completed", "success"),
        ("check / model (one) / decide", "completed", "success"),
        ("check / last", "completed", "success"),
        ("required", "completed", "success"),
    }


def test_a_pull_request_runs_the_merge_and_hostile_names_stay_text(
    world: World, tmp_path: Path
) -> None:
    world.commit("first", _files("[]"))
    git(world.work, "push", "--quiet", "origin", "HEAD:main")
    world.commit("theirs", {"model.txt": "better\n"})
    title = f"$(touch {tmp_path}/harm) `touch {tmp_path}/harm` ${{{{ github.token }}}}"
    pull = world.propose("a$(touch${IFS}harm)b", title=title)
    result = world.check(pull)
    assert not result.red, result.failures()
    assert (
        f"pull_request refs/pull/{pull.number}/merge {pull.merge_sha}" in result.job("required").log
    )
    assert title in result.job("required").log
    assert not (tmp_path / "harm").exists()


def test_a_fork_pushes_nowhere_with_the_token_of_its_run(world: World) -> None:
    world.commit("first", _files('["one"]'))
    git(world.work, "push", "--quiet", "origin", "HEAD:main")
    head = world.fork("mallory")
    text = USER.replace("MODELS", "'[]'").replace(
        'echo "r=$R"',
        'git clone -q "http://x:${{ github.token }}@${GITHUB_SERVER_URL#http://}/$GITHUB_REPOSITORY" c && cd c\n'
        '          git push -q origin HEAD:refs/heads/stolen || code=$?; echo "r=$code"',
    )
    world.commit("theirs", {".github/workflows/mlops.yml": text}, clone=world.folder / "mallory")
    result = world.check(world.propose("main", head=head, author="mallory"))
    assert _told(result) == "128"
    assert world.tip("refs/heads/stolen") == ZERO
    assert ("ada/flights", "git-receive-pack", True) in world.server.asked


def test_an_artifact_is_written_once(world: World) -> None:
    text = USER.split("jobs:", maxsplit=1)[0] + (
        "jobs: {a: {runs-on: ubuntu-latest, steps: [{run: echo 1 > f}, "
        + ", ".join([f"{{uses: {UPLOAD}, with: {{name: x, path: f}}}}"] * 2)
        + "]}}"
    )
    world.commit("first", {".github/workflows/mlops.yml": text})
    result = world.push()
    assert result.red
    assert "already exists" in result.job("a").log


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (f"{{uses: {CHECKOUT}, with: {{fetch-dept: 0}}}}", "no input fetch-dept"),
        (f"{{uses: {UPLOAD}, with: {{name: x}}}}", "needs path"),
        (f"{{uses: {CHECKOUT}, with: {{ssh-key: x}}}}", "does not do ssh-key"),
        ("{uses: actions/checkout@v7}", "not the recorded one"),
        ("{uses: actions/setup-python@v7}", "not the recorded one"),
    ],
)
def test_an_action_is_used_only_as_the_real_one_can_be(
    world: World, step: str, message: str
) -> None:
    text = (
        USER.split("jobs:", maxsplit=1)[0]
        + f"jobs: {{a: {{runs-on: ubuntu-latest, steps: [{step}]}}}}"
    )
    world.commit("first", {".github/workflows/mlops.yml": text})
    with pytest.raises(WrongUseError, match=message):
        world.push()


def test_processes_left_behind_are_ended_with_the_run(world: World) -> None:
    text = USER.split("jobs:", maxsplit=1)[0] + (
        "jobs: {a: {runs-on: ubuntu-latest, steps: [{run: 'setsid sleep 300 >/dev/null 2>&1 </dev/null & echo pid=$!'}, "
        "{run: 'RUNNER_TRACKING_ID= setsid sleep 5 >/dev/null 2>&1 </dev/null & echo pid=$!'}]}}"
    )
    world.commit("first", {".github/workflows/mlops.yml": text})
    first, second = (
        int(line.removeprefix("pid="))
        for line in world.push().job("a").log.splitlines()
        if line.startswith("pid=")
    )
    assert not _lives(first)
    assert _lives(second)


def _lives(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
