"""The action's install step: where the environment stands, and for how long."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

INSTALL = Path(__file__).parent.parent / ".github" / "actions" / "engine" / "install.py"


@pytest.fixture(scope="module")
def install() -> dict[str, Any]:
    return runpy.run_path(str(INSTALL))


def installed(
    install: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **env: str
) -> tuple[dict[str, str], list[tuple[Path, bool]]]:
    """Run the step with the making of environments noted, not done; return outputs and what was made."""
    made: list[tuple[Path, bool]] = []

    def make(folder: Path, *, copied: bool) -> None:
        folder.mkdir(parents=True)
        (folder / "complete").touch()
        made.append((folder, copied))

    runner = {
        "RUNNER_TEMP": str(tmp_path / "temp"), "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_REPOSITORY": "acme/churn", "RUNNER_ENVIRONMENT": "self-hosted", "HOME": str(tmp_path),
    }  # fmt: skip
    for name in ("TIDEGATE_HOME", "TIDEGATE_COMMAND", "TIDEGATE_REQUIREMENTS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (runner | env).items():
        monkeypatch.setenv(name, value)
    main = install["main"]
    monkeypatch.setitem(main.__globals__, "make", make)
    (tmp_path / "output").write_text("")
    main()
    lines = (tmp_path / "output").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines), made


@pytest.mark.parametrize(
    ("env", "home"),
    [
        ({"RUNNER_ENVIRONMENT": "github-hosted"}, "temp/tidegate"),
        ({}, ".tidegate/acme/churn"),
        ({"TIDEGATE_HOME": "/data/state"}, "/data/state"),
    ],
)
def test_state_ends_with_a_hosted_job_and_stays_on_a_machine_of_ones_own(
    install: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    env: dict[str, str], home: str,
) -> None:  # fmt: skip
    outputs, _ = installed(install, monkeypatch, tmp_path, **env)
    assert outputs["home"] == str(tmp_path / home)


@pytest.mark.parametrize(
    "command", ["watch", "promote", "revert", "hold", "resume", "release", "retry"]
)
def test_what_an_endpoint_runs_from_outlives_the_job(
    install: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    outputs, made = installed(install, monkeypatch, tmp_path, TIDEGATE_COMMAND=command)
    ((folder, copied),) = made
    assert folder.parent == tmp_path / ".tidegate" / "acme" / "churn" / "engine"
    assert copied
    assert outputs["python"] == str(folder / "bin" / "python")
    _, again = installed(install, monkeypatch, tmp_path, TIDEGATE_COMMAND=command)
    assert again == []


@pytest.mark.parametrize(
    "env",
    [
        {"TIDEGATE_COMMAND": "train"},
        {"TIDEGATE_COMMAND": "score"},
        {"TIDEGATE_COMMAND": "decide"},
        {"TIDEGATE_COMMAND": "watch", "RUNNER_ENVIRONMENT": "github-hosted"},
    ],
)
def test_every_other_environment_ends_with_its_job(
    install: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, env: dict[str, str]
) -> None:
    _, ((folder, copied),) = installed(install, monkeypatch, tmp_path, **env)
    assert folder.parent == tmp_path / "temp"
    assert not copied
