"""What doctor says of clouds in mlops.yaml: packages, names and times, without asking anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.real_repo import Repo
from tidegate.doctor import clouds, machine
from tidegate.doctor.result import Result, State

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real

SAGEMAKER = {
    "execution_role": "serve", "scheduler_role": "arn:aws:iam::123456789012:role/ops/switch",
    "bucket": "s3://acme-models/tidegate", "region": "eu-west-1", "image": "acme/serve:1",
}  # fmt: skip
TRAINS = {
    "image": "1.dkr.ecr.eu-west-1.amazonaws.com/t:1", "role": "train", "bucket": "s3://acme-train"
}  # fmt: skip
VERTEX = {
    "project": "acme-ml", "region": "europe-west1", "bucket": "gs://acme-models", "image": "acme/serve:1",
    "scheduler_account": "dead-man@acme-ml.iam.gserviceaccount.com",
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    return Repo.make(tmp_path_factory.mktemp("clouds"))


@pytest.fixture
def repo(made: Repo, tmp_path: Path) -> Repo:
    return made.copy(tmp_path / "copy")


def look(repo: Repo, *, missing: str = "") -> dict[str, Result]:
    found = clouds.looks(repo.context(), lambda module: module != missing)
    return {result.what: result for result in found}


def release(**changes: Any) -> dict[str, Any]:
    return {"target": "sagemaker", "sagemaker": {**SAGEMAKER, **changes}}


def test_where_no_cloud_is_named_nothing_is_said(repo: Repo) -> None:
    assert look(repo) == {}


def test_names_that_fit_are_in_order(repo: Repo) -> None:
    repo.configure(release=release())
    assert {what: result.state for what, result in look(repo).items()} == {
        "cloud packages": State.OK,
        "cloud names": State.OK,
    }
    repo.configure(release={"target": "vertex", "vertex": VERTEX})
    assert look(repo)["cloud names"].state is State.OK


@pytest.mark.parametrize(
    "changes",
    [
        {"execution_role": "arn:aws:iam::1:role/x"},
        {"scheduler_role": "my role"},
        {"region": "eu-west"},
        {"region": "europe-west1"},
    ],
)
def test_a_name_that_no_cloud_takes_is_found(repo: Repo, changes: dict[str, str]) -> None:
    repo.configure(release=release(**changes))
    result = look(repo)["cloud names"]
    [(key, value)] = changes.items()
    assert (result.state, f"release.sagemaker.{key}: {value}" in result.found) == (
        State.FAILED,
        True,
    )


def test_a_variable_that_only_the_jobs_have_is_no_wrong_name(repo: Repo) -> None:
    repo.configure(release=release(execution_role="${NOT_SET_HERE_ROLE}"))
    assert look(repo)["cloud names"].state is State.OK


def test_a_package_that_is_not_there_is_named_with_its_extra(repo: Repo) -> None:
    repo.configure(release=release())
    result = look(repo, missing="boto3")["cloud packages"]
    assert (result.state, result.remedy) == (
        State.FAILED,
        'pip install "tidegate[sagemaker]"',
    )
    assert look(repo, missing="google.auth")["cloud packages"].state is State.OK
    assert not machine._installed("no_such_package.inside")


@pytest.mark.parametrize(("timeout", "state"), [("5h", State.OK), ("6h", State.FAILED)])
def test_training_that_outlives_githubs_job_is_found(
    repo: Repo, timeout: str, state: State
) -> None:
    repo.configure(
        train={"run": "x", "timeout": timeout, "compute": "sagemaker", "sagemaker": TRAINS}
    )
    assert look(repo)["cloud training"].state is state


def test_nobody_is_asked_and_nothing_is_said_to_be_in_order(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.commands.context.Context.target", None)
    monkeypatch.setattr("tidegate.commands.context.Context.registry", None)
    repo.configure(release=release(), registry={"store": "s3://acme-models/registry"})
    context = repo.context()
    for found in (machine._endpoint(context), machine._registry(context)):
        assert found.state is State.UNSEEN
