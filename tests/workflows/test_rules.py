"""Each of our own rules finds the one fault planted for it, and nothing in what is sound."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.workflows.documents import Document, Kind, Project, cut, shipped
from tests.workflows.record import record
from tests.workflows.rules import ACTIONS, RULES
from tests.workflows.wiring import WIRING

if TYPE_CHECKING:
    from pathlib import Path

CHECKOUT = f"actions/checkout@{ACTIONS['actions/checkout']['commit']}"
VERSION = ACTIONS["actions/checkout"]["version"]
WORKFLOW = ".github/workflows/a.yml"

SOUND = {
    WORKFLOW: f"""
on: {{pull_request: }}
permissions: {{}}
concurrency: {{group: a, cancel-in-progress: false, queue: max}}
jobs:
  find:
    runs-on: ubuntu-latest
    timeout-minutes: 5
    permissions:
      contents: read # the checkout
    outputs:
      models: ${{{{ steps.find.outputs.models }}}}
      ref: ${{{{ steps.code.outputs.ref }}}}
    steps:
      - uses: {CHECKOUT} # {VERSION}
        id: code
        with: {{persist-credentials: false}}
      - id: find
        env: {{BRANCH: "${{{{ github.head_ref }}}}"}}
        run: echo "models=[]" >> "$GITHUB_OUTPUT"
      - uses: $/.github/actions/engine
        id: engine
        with: {{command: tick}}
      - if: steps.engine.outputs.verdict == 'needs.nobody.outputs.x'
        run: "true"
  call:
    needs: find
    if: needs.find.outputs['models'] != '[]'
    uses: $/.github/workflows/b.yml
    permissions: {{contents: read, id-token: write}} # the code; the role
    with: {{model: "${{{{ needs.find.outputs.models }}}}"}}
""",
    ".github/workflows/b.yml": """
on:
  workflow_call:
    inputs:
      model: {type: string, required: true}
      other: {type: string, default: ""}
    secrets:
      password: {required: false}
    outputs:
      done: {value: "${{ jobs.decide.outputs.done }}"}
permissions: {}
jobs:
  decide:
    runs-on: ubuntu-latest
    timeout-minutes: 5
    environment: production-operate
    permissions:
      contents: read # the code
      id-token: write # the role
    outputs: {done: "${{ steps.x.outputs.done }}"}
    steps:
      - id: x
        env:
          MODEL: ${{ inputs.model }}${{ inputs.other }}
          PASSWORD: ${{ secrets.password }}
        run: echo "done=yes" >> "$GITHUB_OUTPUT"
  train:
    runs-on: ubuntu-latest
    timeout-minutes: 5
    permissions:
      contents: read # the code
    steps:
      - run: "true"
""",
    ".github/actions/engine/action.yml": """
name: engine
description: runs one command
inputs:
  command: {description: the verb, required: true}
  limit: {description: how many, default: "3"}
outputs:
  verdict: {description: the verdict, value: "${{ steps.run.outputs.verdict }}"}
runs:
  using: composite
  steps:
    - id: run
      shell: bash
      env: {COMMAND: "${{ inputs.command }}", LIMIT: "${{ inputs.limit }}"}
      run: echo "verdict=x" >> "$GITHUB_OUTPUT"
""",
}


def project(changed: dict[str, str]) -> Project:
    texts = SOUND | changed
    files = {}
    for name, text in texts.items():
        kind: Kind = "action" if name.endswith("action.yml") else "workflow"
        files[name] = Document(name, text, kind)
    return Project(tuple(files.values()), files)


def found(rule_name: str, of: Project) -> list[str]:
    rule = next(rule for rule in (*RULES, *WIRING) if rule.__name__ == rule_name)
    return [finding for document in of.documents for finding in rule(document, of)]


# rule, file, what is replaced (empty: the whole file), by what, a word of the finding
PLANTED = [
    ("no_privileged_trigger", WORKFLOW, "pull_request:", "pull_request_target:", "triggered"),
    ("no_privileged_trigger", WORKFLOW, "{pull_request: }", "[issue_comment]", "triggered"),
    ("workflow_run_reads_only", WORKFLOW, "pull_request:", "workflow_run:", "checks out"),
    ("workflow_run_reads_only", WORKFLOW, "pull_request:", "workflow_run:", "event's text"),
    (
        "identity_is_guarded",
        ".github/workflows/b.yml",
        "environment: production-operate",
        "",
        "without an environment",
    ),
    (
        "identity_is_guarded",
        ".github/workflows/b.yml",
        "- id: x",
        "- uses: someone/login@v1\n      - id: x",
        "beside",
    ),
    (
        "user_code_holds_nothing",
        ".github/workflows/b.yml",
        'steps:\n      - run: "true"',
        'steps:\n      - run: "true"\n        env: {T: "${{ github.token }}"}',
        "handed",
    ),
    (
        "user_code_holds_nothing",
        ".github/workflows/b.yml",
        'contents: read # the code\n    steps:\n      - run: "true"',
        'contents: write # the code\n    steps:\n      - run: "true"',
        "holds contents",
    ),
    ("every_job_ends", WORKFLOW, "timeout-minutes: 5", "", "no timeout"),
    ("queues_lose_nothing", WORKFLOW, ", queue: max", "", "queue is None"),
    ("queues_lose_nothing", WORKFLOW, "cancel-in-progress: false, ", "", "is None"),
    (
        "queues_lose_nothing",
        WORKFLOW,
        "{group: a, cancel-in-progress: false, queue: max}",
        "a",
        "without",
    ),
    (
        "no_cache",
        WORKFLOW,
        "with: {command: tick}",
        "with: {cache: pip}",
        "uses a cache",
    ),
    ("no_cache", WORKFLOW, "$/.github/actions/engine", "actions/cache/restore@v4", "cache"),
    ("own_references", WORKFLOW, "$/.github/workflows", "./.github/workflows", "checked out"),
    (
        "own_references",
        WORKFLOW,
        "$/.github/workflows/b.yml",
        "tidegate/tidegate/.github/workflows/b.yml@main",
        "this commit",
    ),
    (
        "secrets_are_named",
        WORKFLOW,
        "$/.github/workflows/b.yml",
        "$/.github/workflows/b.yml\n    secrets: inherit",
        "inherits",
    ),
    (
        "secrets_are_named",
        ".github/workflows/b.yml",
        "required: false",
        "required: true",
        "not `required: false`",
    ),
    ("permissions_are_explained", WORKFLOW, "permissions: {}", "", "at the top"),
    ("permissions_are_explained", WORKFLOW, "# the checkout", "", "0 reasons"),
    ("permissions_are_explained", WORKFLOW, "# the code; the role", "# code", "1 reasons"),
    (
        "permissions_are_explained",
        WORKFLOW,
        "permissions: {contents: read, id-token: write} # the code; the role",
        "",
        "of its own",
    ),
    (
        "defaults_are_strings",
        ".github/actions/engine/action.yml",
        'default: "3"',
        "default: 3",
        "not a string",
    ),
    (
        "others_are_listed",
        WORKFLOW,
        f"{CHECKOUT} # {VERSION}",
        "actions/checkout@v7 # v7",
        "not `actions/checkout@",
    ),
    ("others_are_listed", WORKFLOW, f"# {VERSION}", "# v1.0.0", "not `actions/checkout@"),
    ("others_are_listed", WORKFLOW, CHECKOUT, "some/thing@v1", "not on the list"),
    (
        "nothing_interpolated",
        WORKFLOW,
        'echo "models=[]"',
        'echo "models=${{ github.head_ref }}"',
        "interpolates",
    ),
    ("nothing_interpolated", WORKFLOW, 'run: "true"', "run: x\n        shell: python", "shell"),
    (
        "checkouts_keep_no_token",
        WORKFLOW,
        "with: {persist-credentials: false}",
        "",
        "keeps",
    ),
    ("paths_exist", WORKFLOW, "workflows/b.yml", "workflows/c.yml", "there is no"),
    ("paths_exist", WORKFLOW, "actions/engine", "actions/motor", "there is no"),
    (
        "inputs_are_declared",
        ".github/actions/engine/action.yml",
        "inputs.command",
        "inputs.comand",
        "inputs.comand",
    ),
    (
        "inputs_are_declared",
        ".github/workflows/b.yml",
        "secrets.password",
        "secrets.pasword",
        "secrets.pasword",
    ),
    (
        "inputs_are_used",
        ".github/actions/engine/action.yml",
        "inputs.limit",
        "inputs.command",
        "limit",
    ),
    (
        "step_names_exist",
        ".github/actions/engine/action.yml",
        "steps.run.outputs",
        "steps.runs.outputs",
        "no such step",
    ),
    (
        "step_names_exist",
        ".github/actions/engine/action.yml",
        "steps.run.outputs",
        "steps.run.output",
        "has no output",
    ),
    (
        "step_names_exist",
        ".github/actions/engine/action.yml",
        'echo "verdict=x"',
        'echo "verdikt=x"',
        "never writes",
    ),
    ("step_names_exist", WORKFLOW, "steps.code.outputs.ref", "steps.code.outputs.rev", "no such"),
    (
        "step_names_exist",
        WORKFLOW,
        "steps.engine.outputs.verdict",
        "steps.engine.outputs.verdikt",
        "no such output",
    ),
    ("needs_exist", WORKFLOW, "needs: find", "needs: fond", "not there"),
    ("needs_exist", WORKFLOW, "needs: find", "", "not needed"),
    ("needs_exist", WORKFLOW, "outputs['models']", "outputs['model']", "no such output"),
    (
        "needs_exist",
        ".github/workflows/b.yml",
        "jobs.decide.outputs.done",
        "jobs.decide.outputs.dune",
        "no such output",
    ),
    (
        "needs_exist",
        ".github/workflows/b.yml",
        "jobs.decide.outputs.done",
        "jobs.nobody.outputs.done",
        "no such job",
    ),
    ("calls_fit", WORKFLOW, "with: {model: ", "with: {modell: ", "no input modell"),
    ("calls_fit", WORKFLOW, "with: {model: ", "with: {other: ", "requires model"),
    ("calls_fit", WORKFLOW, "with: {command: ", "with: {limit: ", "requires command"),
    ("calls_fit", WORKFLOW, "{persist-credentials:", "{persist-credential:", "no input persist"),
    (
        "calls_fit",
        WORKFLOW,
        "$/.github/workflows/b.yml",
        "$/.github/workflows/b.yml\n    secrets: {word: x}",
        "no secret word",
    ),
    ("grants_fit", WORKFLOW, ", id-token: write", "", "asks id-token"),
    ("grants_fit", WORKFLOW, "id-token: write", "id-token: write, checks: read", "checks: read"),
    ("grants_fit", WORKFLOW, "{contents: read,", "{contents: write,", "contents: write"),
    (
        "secrets_stay_with_us",
        ".github/workflows/b.yml",
        "PASSWORD: ${{ secrets.password }}",
        "",
        "runs user code",
    ),
]


def plant(file: str, old: str, new: str) -> Project:
    base = SOUND
    if "secrets.password" in old:
        called = "$/.github/workflows/b.yml"
        text = base[WORKFLOW].replace(called, f"{called}\n    secrets: {{password: x}}")
        base = base | {WORKFLOW: text}
    assert old in base[file], f"nothing to replace in {file}"
    return project(base | {file: base[file].replace(old, new, 1)})


@pytest.mark.parametrize(
    ("rule", "file", "old", "new", "word"),
    PLANTED,
    ids=[f"{case[0]}-{number}" for number, case in enumerate(PLANTED)],
)
def test_a_planted_fault_is_found(rule: str, file: str, old: str, new: str, word: str) -> None:
    findings = found(rule, plant(file, old, new))
    assert any(word in finding for finding in findings), findings


@pytest.mark.parametrize("rule", [rule.__name__ for rule in (*RULES, *WIRING)])
def test_nothing_is_found_in_what_is_sound(rule: str) -> None:
    assert found(rule, project({})) == []


STARTER = "workflow-templates/mlops.yml"
PINNED = "tidegate/tidegate/.github/workflows/b.yml@" + "a" * 40


@pytest.mark.parametrize(
    ("rule", "text", "word"),
    [
        ("users_get_a_release", f"jobs: {{a: {{uses: {PINNED}}}}}", "no commit with"),
        (
            "users_get_a_release",
            "jobs:\n  a:\n    uses: tidegate/tidegate@v1 # v1.0.0",
            "no commit",
        ),
        ("own_references", "jobs: {a: {uses: $/.github/workflows/b.yml}}", "user's own"),
        ("starters_are_short", "\n" * 40, "40 lines"),
    ],
)
def test_what_users_copy_is_held_to_more(rule: str, text: str, word: str) -> None:
    findings = found(rule, project({STARTER: text}))
    assert any(word in finding for finding in findings), findings


def test_a_pinned_starter_is_sound() -> None:
    text = f"jobs:\n  a:\n    uses: {PINNED} # v0.1.0\n    with: {{model: a}}\n"
    changed = project({STARTER: text})
    for rule in ("users_get_a_release", "own_references", "starters_are_short", "paths_exist"):
        assert found(rule, changed) == []


def test_user_code_is_known_by_what_the_engine_is_asked() -> None:
    trains = (
        SOUND[WORKFLOW]
        .replace("command: tick", "command: train")
        .replace("contents: read #", "contents: write #")
    )
    findings = found("user_code_holds_nothing", project({WORKFLOW: trains}))
    assert findings == ["find: user code holds contents: write"]


CLOUD = """
on: {workflow_call: }
permissions: {}
jobs:
  train-cloud:
    runs-on: ubuntu-latest
    timeout-minutes: 5
    environment: training
    permissions:
      contents: read # the code
      id-token: write # the role
    steps:
      - uses: $/.github/actions/engine
        env: {TIDEGATE_JOB: train}
        with: {command: train}
"""


def test_a_job_that_holds_a_role_may_train_where_the_engine_refuses_user_code() -> None:
    assert found("user_code_holds_nothing", project({WORKFLOW: CLOUD})) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("        env: {TIDEGATE_JOB: train}\n", ""),
        ("{TIDEGATE_JOB: train}", "{TIDEGATE_JOB: operate}"),
        ("{TIDEGATE_JOB: train}", "{TIDEGATE_JOB: ''}"),
        ("    steps:\n", "    steps:\n      - run: python train.py\n"),
        ("    steps:\n", "    steps:\n      - {uses: $/.github/actions/engine, with: {command: score}}\n"),
        ("    steps:\n", "    steps:\n      - {uses: $/.github/actions/engine, with: {command: train}}\n"),
    ],
)  # fmt: skip
def test_and_nowhere_else(old: str, new: str) -> None:
    assert old in CLOUD
    findings = found("user_code_holds_nothing", project({WORKFLOW: CLOUD.replace(old, new)}))
    assert findings == ["train-cloud: user code holds id-token: write"]


def test_what_follows_a_strangers_run_ends_in_five_minutes() -> None:
    slow = SOUND[WORKFLOW].replace("pull_request", "workflow_run").replace("s: 5", "s: 6")
    findings = found("workflow_run_reads_only", project({WORKFLOW: slow}))
    assert any("more than five minutes" in finding for finding in findings), findings


def test_every_rule_has_a_planted_fault() -> None:
    planted = {case[0] for case in PLANTED} | {"users_get_a_release", "starters_are_short"}
    assert planted == {rule.__name__ for rule in (*RULES, *WIRING)}


def test_blocks_of_a_page_are_cut_out_with_their_line() -> None:
    page = "# a\n\n```yaml\ngate: {}\n```\n\n1. b\n\n   ```yaml\n   on: push\n   jobs: {}\n   ```\n"
    assert [(b.name, b.text) for b in cut("docs/x.md", page)] == [
        ("docs/x.md:9", "on: push\njobs: {}\n")
    ]


def test_the_project_ships_something() -> None:
    assert any(document.name.startswith("workflow-templates/") for document in shipped().documents)


@pytest.mark.real
def test_an_action_is_recorded_from_its_tag(tmp_path: Path) -> None:
    (tmp_path / "action.yml").write_text(
        "inputs: {a: {required: true}, b: {required: true, default: x}, c: {}}\noutputs: {d: {}}\n"
    )
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    for command in (("init", "-q"), ("add", "."), ("commit", "-qm", "x"), ("tag", "v1.0.0")):
        subprocess.run(["git", *who, *command], cwd=tmp_path, check=True)
    (tmp_path / "action.yml").write_text("inputs: {later: {}}\n")
    subprocess.run(["git", *who, "commit", "-qam", "y"], cwd=tmp_path, check=True)
    tagged = ["git", "rev-parse", "v1.0.0"]
    commit = subprocess.run(tagged, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert record(f"file://{tmp_path}", "v1.0.0") == {
        "commit": commit.strip(),
        "version": "v1.0.0",
        "inputs": {"a": True, "b": False, "c": False},
        "outputs": ["d"],
    }
