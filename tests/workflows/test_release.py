"""What a release checks before it builds anything, and that CI's last job needs every other."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from typing import TYPE_CHECKING

import pytest

from tests.workflows.documents import ROOT, shipped

if TYPE_CHECKING:
    from types import ModuleType

PROJECT_TOML = '[project]\nname = "tidegate"\nversion = "1.2.3"\n'
CHANGELOG = """# Changelog

## [Unreleased]

## [1.2.3] - 2026-11-23

### Added

- A thing.

## [1.2.2] - 2026-11-01

- Another.
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = str(ROOT / ".ci/release-notes")
    loader = importlib.machinery.SourceFileLoader("release_notes", path)
    spec = importlib.util.spec_from_loader("release_notes", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_the_notes_are_the_changelogs_section(script: ModuleType) -> None:
    assert script.notes("v1.2.3", PROJECT_TOML, CHANGELOG) == "### Added\n\n- A thing."


@pytest.mark.parametrize(
    ("tag", "changelog", "said"),
    [
        ("v1.2.4", CHANGELOG, "the tag is v1.2.4, pyproject.toml says 1.2.3"),
        ("1.2.3", CHANGELOG, "the tag is 1.2.3"),
        ("v1.2.3", CHANGELOG.replace("[1.2.3]", "[1.2.30]"), "no section for 1.2.3"),
        ("v1.2.3", "## [1.2.3]\n\n## [1.2.2]\n- x\n", "no section for 1.2.3"),
    ],
)
def test_no_release_of_what_does_not_agree(
    script: ModuleType, tag: str, changelog: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        script.notes(tag, PROJECT_TOML, changelog)


def test_the_last_job_of_ci_needs_all_others() -> None:
    jobs = shipped().files[".github/workflows/ci.yml"].jobs
    assert set(jobs["all"]["needs"]) == set(jobs) - {"all"}
    assert jobs["all"]["if"] == "always()"


def test_nothing_is_public_before_it_was_tested_and_attested() -> None:
    jobs = shipped().files[".github/workflows/release.yml"].jobs

    def before(job: str) -> set[str]:
        needs = jobs[job].get("needs", [])
        direct = {needs} if isinstance(needs, str) else set(needs)
        return direct.union(*map(before, direct))

    for job in ("pypi", "publish", "major", "stamp"):
        assert {"build", "test", "attest", "draft"} <= before(job)
    assert {"publish", "verify"} <= before("major") & before("stamp")
