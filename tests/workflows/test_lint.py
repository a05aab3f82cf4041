"""Every workflow, action and Dependabot file we ship, under every linter there is and our own rules."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.workflows.copies import lay_out, plain, scripts
from tests.workflows.documents import OURS, Document, Project, shipped
from tests.workflows.rules import RULES
from tests.workflows.wiring import WIRING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

pytestmark = pytest.mark.real

PROJECT = shipped()
BIN = Path(sys.executable).parent
IGNORE = re.compile(r"# zizmor: ignore\[[^\n]*")

# `cache-mode` is what it asks for, and what GitHub's own parser refuses; nothing of ours touches a
# cache (rule `no_cache`).
REFUSED_BY_GITHUB = "has no explicit cache access limit"


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mapping[str, Document]]:
    folder = tmp_path_factory.mktemp("workflows") / "repository"
    return folder, lay_out(PROJECT, folder)


def run(*command: str, folder: Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
    path = f"{BIN}:{os.environ['PATH']}"
    return subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=folder,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": path, "HOME": str(folder)},
    )


def zizmor(folder: Path, files: list[str]) -> subprocess.CompletedProcess[str]:
    return run(
        "zizmor", "--offline", "--strict-collection", "--no-config", "--persona", "auditor", "--quiet",
        "--format", "plain", *files, folder=folder,
    )  # fmt: skip


def actionlint(folder: Path, files: list[str]) -> subprocess.CompletedProcess[str]:
    return run("actionlint", "-no-color", "-ignore", REFUSED_BY_GITHUB, *files, folder=folder)


def by_schema(folder: Path, schema: str, files: list[str]) -> subprocess.CompletedProcess[str]:
    return run("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files, folder=folder)


def shellcheck(script: str, folder: Path) -> str:
    """The runner starts bash with `-eo pipefail`."""
    text = f"#!/bin/bash\nset -eo pipefail\n{script}"
    return run("shellcheck", "-", folder=folder, text=text).stdout


@pytest.mark.parametrize("rule", [*RULES, *WIRING], ids=lambda rule: rule.__name__)
def test_our_own_rules(rule: Callable[[Document, Project], Iterable[str]]) -> None:
    found = [
        f"{each.name}: {finding}" for each in PROJECT.documents for finding in rule(each, PROJECT)
    ]
    assert found == []


def test_zizmor_finds_nothing(tmp_path: Path) -> None:
    files = []
    for number, document in enumerate(PROJECT.documents):
        folder = (
            tmp_path
            / str(number)
            / {"workflow": ".github/workflows", "dependabot": ".github"}.get(
                document.kind, "action"
            )
        )
        folder.mkdir(parents=True)
        name = {"workflow": Path(document.name.partition(":")[0]).stem + ".yml"}.get(
            document.kind, f"{document.kind}.yml"
        )
        (folder / name).write_text(plain(document.text), encoding="utf-8")
        files.append(str(folder / name))
    done = zizmor(tmp_path, files)
    assert done.returncode == 0, done.stdout + done.stderr


def test_at_most_one_finding_is_excused_and_everywhere_in_the_same_words() -> None:
    excuses = {
        match[0] for document in PROJECT.documents for match in IGNORE.finditer(document.text)
    }
    assert len(excuses) <= 1, excuses
    assert all("ignore[dangerous-triggers]" in excuse for excuse in excuses)
    assert not any(
        "workflow_run" not in d.events for d in PROJECT.documents if IGNORE.search(d.text)
    )


def test_actionlint_finds_nothing(copies: tuple[Path, Mapping[str, Document]]) -> None:
    folder, documents = copies
    done = actionlint(folder, [path for path, each in documents.items() if each.kind == "workflow"])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        ("workflow", "github-workflows"),
        ("action", "github-actions"),
        ("dependabot", "dependabot"),
    ],
)
def test_the_published_schemas_accept_them(
    kind: str, schema: str, copies: tuple[Path, Mapping[str, Document]]
) -> None:
    folder, documents = copies
    files = [path for path, each in documents.items() if each.kind == kind]
    assert files
    done = by_schema(folder, schema, files)
    assert done.returncode == 0, done.stdout + done.stderr


def test_shellcheck_finds_nothing(tmp_path: Path) -> None:
    found = {
        where: said
        for document in PROJECT.documents
        for where, script in scripts(document)
        if (said := shellcheck(script, tmp_path))
    }
    assert found == {}


def test_the_action_at_the_root_is_the_engine_and_nothing_else() -> None:
    root, engine = (
        PROJECT.files[name].data for name in ("action.yml", ".github/actions/engine/action.yml")
    )
    [step] = root["runs"]["steps"]
    assert step["uses"] == "$/.github/actions/engine"
    assert root["inputs"] == engine["inputs"]
    assert step["with"] == {name: f"${{{{ inputs.{name} }}}}" for name in engine["inputs"]}
    assert {name: output["value"] for name, output in root["outputs"].items()} == {
        name: f"${{{{ steps.{step['id']}.outputs.{name} }}}}" for name in engine["outputs"]
    }


def test_what_users_copy_names_one_release() -> None:
    """L12: one commit and one version, wherever it is shown; that of the newest release before HEAD."""
    pinned = re.compile(rf"{OURS}[\w./-]*@([0-9a-f]{{40}}) # (v[\d.]+)")
    root = Path(__file__).parents[2]
    pages = [*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("workflow-templates/*.yml")]
    releases = {
        match.groups() for page in pages for match in pinned.finditer(page.read_text("utf-8"))
    }
    assert len(releases) == 1, releases
    tags = subprocess.run(
        ["git", "tag", "--list", "v*.*.*", "--sort=-version:refname", "--merged", "HEAD", "--no-contains", "HEAD"],
        cwd=root, capture_output=True, text=True, check=False,
    ).stdout.split()  # fmt: skip
    assert not tags or {version for _, version in releases} == {tags[0]}


# The linters themselves can fail: one planted error for each of them.


def test_zizmor_would_find_something(tmp_path: Path) -> None:
    text = "on: push\njobs: {a: {runs-on: x, steps: [{run: 'echo ${{ github.head_ref }}'}]}}\n"
    (tmp_path / ".github/workflows").mkdir(parents=True)
    (tmp_path / ".github/workflows/a.yml").write_text(text)
    assert zizmor(tmp_path, [".github/workflows/a.yml"]).returncode > 1


@pytest.mark.parametrize(
    ("where", "text"),
    [
        (
            "action.yml",
            "name: a\ndescription: b\ninputs: {x: {description: c}}\n"
            "runs: {using: composite, steps: [{shell: bash, run: 'echo ${{ inputs.x }}'}]}\n",
        ),
        (
            ".github/dependabot.yml",
            "version: 2\nupdates: [{package-ecosystem: pip, directory: /, schedule: {interval: daily}}]\n",
        ),
    ],
)
def test_zizmor_would_find_something_in_an_action_and_in_dependabot(
    where: str, text: str, tmp_path: Path
) -> None:
    (tmp_path / where).parent.mkdir(exist_ok=True)
    (tmp_path / where).write_text(text)
    assert zizmor(tmp_path, [where]).returncode > 10


def test_zizmor_would_refuse_what_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / ".github/workflows").mkdir(parents=True)
    (tmp_path / ".github/workflows/a.yml").write_text("on: push\njobz: {}\n")
    assert zizmor(tmp_path, [".github/workflows/a.yml"]).returncode != 0


def test_actionlint_would_find_something_and_runs_shellcheck(tmp_path: Path) -> None:
    text = "on: push\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: 'ls $HOME'}]}}\n"
    document = Document(".github/workflows/a.yml", text, "workflow")
    lay_out(Project((document,), {document.name: document}), tmp_path / "r")
    done = actionlint(tmp_path / "r", [document.name])
    assert (done.returncode, "SC2086" in done.stdout) == (1, True), done.stdout


def test_actionlint_would_follow_what_users_copy_into_our_files(tmp_path: Path) -> None:
    called = Document(
        ".github/workflows/b.yml",
        "on: {workflow_call: {inputs: {x: {type: number}}}}\njobs: {}\n",
        "workflow",
    )
    uses = f"{OURS}/.github/workflows/b.yml@{'a' * 40} # v1.0.0"
    text = f"on: push\njobs:\n  a:\n    uses: {uses}\n    with: {{y: 1}}\n"
    starter = Document("workflow-templates/a.yml", text, "workflow")
    folder = tmp_path / "r"
    copied = lay_out(Project((called, starter), {called.name: called}), folder)
    done = actionlint(folder, [path for path, each in copied.items() if each is starter])
    assert 'input "y" is not defined' in done.stdout, done.stdout + done.stderr


def test_the_schemas_would_refuse_something(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("on: push\njobs: {a: {runs-no: x, steps: []}}\n")
    for schema in ("github-workflows", "github-actions", "dependabot"):
        assert by_schema(tmp_path, schema, ["a.yml"]).returncode == 1


def test_shellcheck_would_find_something(tmp_path: Path) -> None:
    document = Document("action.yml", "runs: {steps: [{run: 'ls $1', shell: bash}]}", "action")
    [(_, script)] = scripts(document)
    assert "SC2086" in shellcheck(script, tmp_path)
