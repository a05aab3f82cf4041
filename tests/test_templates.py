"""What users copy: the templates, their metadata, and the one place that names the release."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tidegate import pin
from tidegate.doctor.flow import flow
from tidegate.doctor.workflow import INPUTS, NEEDED, SECRETS
from tidegate.grants import Job
from tidegate.policy import WORKFLOWS
from tidegate.render import starter
from tidegate.yaml12 import parse

TOP = Path(__file__).parent.parent
FOLDER = TOP / "workflow-templates"
TEMPLATES = sorted(FOLDER.glob("*.yml"))
RANK = {"none": 0, "read": 1, "write": 2}


def ours(name: str) -> Any:
    return parse((TOP / ".github" / "workflows" / name).read_text()).data


# --- what GitHub's chooser needs ------------------------------------------------------------


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_each_template_can_be_chosen(template: Path) -> None:
    about = json.loads(template.with_suffix(".properties.json").read_text())
    assert set(about) == {"name", "description", "iconName", "categories", "filePatterns"}
    assert len(about["description"]) < 150
    assert (FOLDER / f"{about['iconName']}.svg").exists()
    assert all(re.compile(pattern) for pattern in about["filePatterns"])
    assert any(re.search(pattern, "mlops.yaml") for pattern in about["filePatterns"])


def test_the_icon_is_a_square_that_loads_nothing() -> None:
    text = (FOLDER / "tidegate.svg").read_text()
    root = ElementTree.fromstring(text)
    assert root.get("viewBox") == "0 0 64 64"
    assert not re.search(r"href|<script|<image|url\(|@import", text)
    assert len(text) < 4096


def test_the_default_branch_is_left_to_github() -> None:
    text = (FOLDER / "mlops.yml").read_text()
    assert flow("mlops.yml", text).branches() == ["$default-branch"]


# --- what they say --------------------------------------------------------------------------


def test_a_user_owns_less_than_forty_lines() -> None:
    assert {path.name: len(path.read_text().splitlines()) < 40 for path in TEMPLATES} == {
        "mlops-forks.yml": True,
        "mlops.yml": True,
    }


def test_the_one_ignored_finding_is_worded_once() -> None:
    """The publisher's trigger is the only finding we answer for, in one text wherever it stands."""
    said: set[str] = set()
    count = 0
    for path in [*TEMPLATES, *TOP.glob("docs/*.md"), TOP / "README.md"]:
        for line in path.read_text().splitlines():
            if "zizmor: ignore" in line:
                said.add(line.partition("#")[2])
                count += 1
    assert count >= 1
    assert len(said) == 1


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_a_caller_grants_what_our_workflow_and_all_it_calls_ask_for(name: str) -> None:
    asked: dict[str, str] = {}

    def visit(file: str) -> None:
        for job in ours(file)["jobs"].values():
            for scope, level in (job.get("permissions") or {}).items():
                asked[scope] = max(asked.get(scope, "none"), level, key=RANK.__getitem__)
            if str(job.get("uses", "")).startswith("$/"):
                visit(job["uses"].rpartition("/")[2])

    visit(name)
    assert asked == dict(NEEDED[name])


def test_the_cloud_trusts_the_files_whose_jobs_ask_for_a_token() -> None:
    """`job_workflow_ref` names the file that the job itself stands in, not one that calls it."""
    asking = {
        path.name
        for path in (TOP / ".github" / "workflows").glob("*.yml")
        if "workflow_call" in (ours(path.name)["on"] or {})
        for job in ours(path.name)["jobs"].values()
        if "runs-on" in job and (job.get("permissions") or {}).get("id-token") == "write"
    }
    assert asking == set().union(*WORKFLOWS.values())


def test_each_job_that_asks_for_a_token_says_which_role_is_its_own() -> None:
    """TIDEGATE_JOB is what `{job}` in a role's name becomes, and which trust lets it in."""
    for job, files in WORKFLOWS.items():
        for file in files:
            said = [
                step["env"]["TIDEGATE_JOB"]
                for body in ours(file)["jobs"].values()
                for step in body.get("steps") or []
                if "TIDEGATE_AWS_ROLE" in (step.get("env") or {})
            ]
            assert str(job) in said, (file, job)
    for path in (TOP / ".github" / "workflows").glob("*.yml"):
        for body in ours(path.name)["jobs"].values():
            for step in body.get("steps") or []:
                env = step.get("env") or {}
                given = {key for key in env if key.startswith(("TIDEGATE_AWS", "TIDEGATE_GCP"))}
                if given or "TIDEGATE_JOB" in env:
                    assert env["TIDEGATE_JOB"] in set(Job)
                    assert path.name in WORKFLOWS[Job(env["TIDEGATE_JOB"])]
                    assert given == {
                        "TIDEGATE_AWS_ROLE", "TIDEGATE_AWS_REGION",
                        "TIDEGATE_GCP_PROVIDER", "TIDEGATE_GCP_SERVICE_ACCOUNT",
                    }  # fmt: skip
                    assert body["permissions"]["id-token"] == "write"


@pytest.mark.parametrize("name", sorted(INPUTS))
def test_doctor_knows_the_inputs_of_our_workflows(name: str) -> None:
    call = ours(name)["on"]["workflow_call"]
    assert set(call.get("inputs") or {}) == INPUTS[name]
    assert set(call.get("secrets") or {}) <= SECRETS


def test_doctor_knows_every_secret() -> None:
    declared: set[str] = set()
    for name in INPUTS:
        declared |= set(ours(name)["on"]["workflow_call"].get("secrets") or {})
    assert declared == SECRETS


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_every_call_gives_known_inputs_alone(template: Path) -> None:
    for call in flow(template.name, template.read_text()).calls:
        assert set(call.inputs) <= INPUTS[call.file]


def test_commands_offered_are_commands_taken() -> None:
    """The choice in the user's file is what our workflow says it takes."""
    options = parse((FOLDER / "mlops.yml").read_text()).data["on"]["workflow_dispatch"]["inputs"]
    offered = set(options["command"]["options"]) - {"tick"}
    described = ours("command.yml")["on"]["workflow_call"]["inputs"]["command"]["description"]
    assert offered == set(re.findall(r"promote|revert|hold|resume|release|retry", described))


def blocks() -> list[str]:
    page = (TOP / "docs" / "github.md").read_text()
    return re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def test_the_page_shows_what_init_writes() -> None:
    shown = blocks()
    written = starter.workflow(
        "main",
        training={"requirements": "requirements.txt"},
        operating={"operate-runner": "self-hosted"},
    )
    assert shown[0] == written
    assert starter.publisher() in shown


def test_every_block_of_the_page_is_whole() -> None:
    for block in blocks():
        assert {"on", "jobs"} <= set(parse(block).data) or "updates" in parse(block).data


def test_the_page_explains_every_input_and_secret() -> None:
    page = (TOP / "docs" / "github.md").read_text()
    named = set(re.findall(r"`([a-z-]+)`", page))
    assert set().union(*INPUTS.values(), SECRETS) <= named


def test_the_page_gives_the_defaults_that_our_workflows_have() -> None:
    page = (TOP / "docs" / "github.md").read_text()
    rows = {
        name: row.split("|")[3].strip().strip("`")
        for row in page.splitlines()
        if row.startswith("| `")
        for name in re.findall(r"`([a-z-]+)`", row.split("|")[1])
        if row.count("|") == 5
    }
    for file in INPUTS:
        for name, said in ours(file)["on"]["workflow_call"]["inputs"].items():
            default = str(said.get("default", ""))
            if default and default.lower() != "false":
                assert rows[name] == default, name


def test_the_table_of_permissions_is_what_is_asked_for() -> None:
    page = (TOP / "docs" / "permissions.md").read_text()
    rows = [
        [cell.strip() for cell in row.strip("|").split("|")]
        for row in page.splitlines()
        if re.match(r"\| (Scope|`[a-z-]+`) \|", row)
    ]
    columns = [f"{name}.yml" for name in rows[0][1:-1]]
    shown: dict[str, dict[str, str]] = {name: {} for name in columns}
    for scope, *levels, why in rows[1:]:
        assert why
        for name, level in zip(columns, levels, strict=True):
            if level:
                shown[name][scope.strip("`")] = level
    assert shown == {name: dict(needed) for name, needed in NEEDED.items()}


# --- the release they name ------------------------------------------------------------------


def test_every_pin_is_the_one_release() -> None:
    carriers = pin.carriers(TOP)
    found = {path.name: set(pin.pins(path.read_text())) for path in carriers}
    assert {"mlops.yml", "mlops-forks.yml"} <= {name for name, pins in found.items() if pins}
    assert set().union(*found.values()) <= {(pin.COMMIT, pin.VERSION), ("", pin.VERSION)}


def test_no_call_of_ours_escapes_the_pin() -> None:
    for path in pin.carriers(TOP):
        for line in path.read_text().splitlines():
            if re.search(rf"uses: +{pin.REPOSITORY}\b", line):
                assert pin.pins(line), f"{path.name}: {line}"


def checkout(root: Path) -> Path:
    (root / "src" / "tidegate").mkdir(parents=True)
    (root / "docs").mkdir()
    (root / "workflow-templates").mkdir()
    (root / "src/tidegate/pin.py").write_text((TOP / "src/tidegate/pin.py").read_text())
    call = f"uses: tidegate/tidegate/.github/workflows/x.yml@{'a' * 40} # v0.0.9"
    (root / "workflow-templates/a.yml").write_text(f"{call}\n")
    (root / "docs/a.md").write_text(
        f"{call}\nuses: tidegate/tidegate/.github/workflows/x.yml@v0.0.9\nactions/x@{'b' * 40} # v1\n"
        f"uses: not-tidegate/tidegate/x@{'c' * 40} # v3\n"
    )
    (root / "README.md").write_text(f"uses: tidegate/tidegate@{'a' * 40}  # v0.0.9\n")
    return root


def test_a_release_moves_every_pin_and_nothing_else(tmp_path: Path) -> None:
    root = checkout(tmp_path)
    new = "d" * 40
    changed = pin.stamp(root, new, "v1.2.3")
    assert {path.name for path in changed} == {"a.yml", "a.md", "README.md", "pin.py"}
    assert (root / "docs/a.md").read_text() == (
        f"uses: tidegate/tidegate/.github/workflows/x.yml@{new} # v1.2.3\n"
        f"uses: tidegate/tidegate/.github/workflows/x.yml@v1.2.3\nactions/x@{'b' * 40} # v1\n"
        f"uses: not-tidegate/tidegate/x@{'c' * 40} # v3\n"
    )
    scope: dict[str, Any] = {"__name__": "stamped"}
    exec((root / "src/tidegate/pin.py").read_text(), scope)
    assert (scope["COMMIT"], scope["VERSION"]) == (new, "v1.2.3")
    assert pin.stamp(root, new, "v1.2.3") == []


@pytest.mark.parametrize(
    ("commit", "version"),
    [("a" * 39, "v1.0.0"), ("main", "v1.0.0"), ("A" * 40, "v1.0.0"), ("a" * 40, "1.0.0"),
     ("a" * 40, "v1.0"), ("a" * 40, "v01.0.0"), ("a" * 40, "v1.0.0\n")],
)  # fmt: skip
def test_what_is_no_release_is_stamped_nowhere(tmp_path: Path, commit: str, version: str) -> None:
    root = checkout(tmp_path)
    before = {path: path.read_text() for path in root.rglob("*.*") if path.is_file()}
    with pytest.raises(ValueError, match="not a"):
        pin.stamp(root, commit, version)
    assert {path: path.read_text() for path in before} == before


def test_stamping_is_one_command() -> None:
    """As the release workflow runs it, in a checkout."""

    def stamped(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(TOP / "src" / "tidegate" / "pin.py"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert stamped().returncode == 2
    assert "COMMIT vX.Y.Z" in stamped().stderr
    done = stamped(pin.COMMIT, pin.VERSION)  # as it is: nothing to write
    assert (done.returncode, done.stdout) == (0, "")
