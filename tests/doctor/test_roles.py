"""What doctor says of cloud roles: those that mlops.yaml asks for are given, well spelt, one for each job."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tidegate.doctor import roles
from tidegate.doctor.flow import flow
from tidegate.doctor.result import Result, State
from tidegate.load import load
from tidegate.render import starter

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.core.config import Config

SAGEMAKER = """\
version: 1
model: {name: credit, task: binary}
data: {train: a.parquet, holdout: b.parquet, target: y, id: id}
train:
  run: python train.py
  compute: sagemaker
  sagemaker: {image: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/train:1, role: train-run}
gate: {rules: [{metric: roc_auc, at_least: 0.75, margin: 0.005}]}
release:
  target: sagemaker
  sagemaker: {execution_role: serve-run, scheduler_role: switch}
registry: {store: s3://acme-models/tidegate}
"""
AWS = {
    "aws-role": "arn:aws:iam::123456789012:role/tidegate-{job}",
    "aws-region": "eu-west-1",
}
GCP = {
    "gcp-provider": "projects/12/locations/global/workloadIdentityPools/tidegate/providers/tidegate-{job}",
    "gcp-service-account": "tidegate-{job}@acme-ml.iam.gserviceaccount.com",
}


def config(folder: Path, text: str = SAGEMAKER) -> Config:
    (folder / "mlops.yaml").write_text(text)
    return load(folder / "mlops.yaml")


def written(given: dict[str, str], **more: str) -> str:
    """The starter's file with the same roles in every call, as the page says."""
    training = {**given, **{k.replace("_", "-"): v for k, v in more.items() if "train" in k}}
    text = starter.workflow("main", training=training, operating=given)
    # deliver gets them twice, which a person would not write
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("    with: {") and lines[-1].find("/deliver.yml@") > 0:
            pairs = dict.fromkeys(line.removeprefix("    with: {").removesuffix("}").split(", "))
            lines.append(f"    with: {{{', '.join(pairs)}}}")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def look(config: Config, text: str) -> dict[str, Result]:
    calls = flow("mlops.yml", text).calls
    return {result.what: result for result in roles.look(calls, config, "acme/credit")}


def test_a_repository_without_a_cloud_is_asked_for_nothing(tmp_path: Path) -> None:
    local = config(
        tmp_path,
        "version: 1\nmodel: {name: c, task: binary}\n"
        "data: {train: a.csv, holdout: b.csv, target: y, id: id}\ntrain: {run: x}\n"
        "gate: {rules: [{metric: roc_auc, at_least: 0.75}]}\nregistry: {store: github-releases}\n",
    )
    assert roles.needs(local) == ()
    assert look(local, starter.workflow("main", training={}, operating={})) == {}


def test_a_role_for_each_job_is_in_order_and_its_trusts_are_told(tmp_path: Path) -> None:
    found = look(config(tmp_path), written(AWS))
    assert [(what, result.state) for what, result in found.items()] == [("aws role", State.OK)]
    assert (
        "repo:acme/credit:environment:production-operate, repo:acme/credit:environment:training"
        in found["aws role"].found
    )


def test_googles_names_may_hold_the_job(tmp_path: Path) -> None:
    found = look(config(tmp_path), written({**AWS, **GCP}))
    assert {what: result.state for what, result in found.items()} == {
        "aws role": State.OK,
        "gcp role": State.OK,
    }


@pytest.mark.parametrize(
    ("job", "file"), [("check", "check.yml"), ("deliver", "deliver.yml"), ("watch", "watch.yml"), ("command", "command.yml")],
)  # fmt: skip
def test_a_call_without_the_role_that_its_job_takes_is_found(
    tmp_path: Path, job: str, file: str
) -> None:
    lines = written(AWS).splitlines()
    number = next(n for n, line in enumerate(lines) if f"/{file}@" in line) + 1
    lines[number] = lines[number].replace("aws-role", "x-role").replace("aws-region", "x-region")
    result = look(config(tmp_path), "\n".join(lines))["aws role"]
    assert result.state is State.FAILED
    assert f"{job}: " in result.found
    assert "aws-role, aws-region are not given" in result.found
    assert "doctor --policy aws" in result.remedy


def test_no_role_at_all_on_a_hosted_machine_is_found(tmp_path: Path) -> None:
    text = starter.workflow("main", training={}, operating={})
    result = look(config(tmp_path), text)["aws role"]
    assert (result.state, "release.target asks for a role" in result.found) == (State.FAILED, True)


def test_a_machine_with_credentials_of_its_own_is_warned_of(tmp_path: Path) -> None:
    boxed = {"runner": "self-hosted"}
    text = written(boxed)
    result = look(config(tmp_path), text)["aws role"]
    assert (result.state, "its machine's own credentials" in result.found) == (State.WARNING, True)


def test_one_role_for_several_jobs_is_warned_of(tmp_path: Path) -> None:
    shared = {**AWS, "aws-role": "arn:aws:iam::123456789012:role/tidegate"}
    result = look(config(tmp_path), written(shared))["aws role"]
    assert (result.state, "each may do what all may" in result.found) == (State.WARNING, True)
    alone = config(
        tmp_path,
        SAGEMAKER.replace("  compute: sagemaker\n  sagemaker: {image: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/train:1, role: train-run}\n", "")
        .replace("s3://acme-models/tidegate", "github-releases")
        .replace("scheduler_role: switch", "scheduler_role: switch, bucket: s3://acme-models/tidegate"),
    )  # fmt: skip
    assert look(alone, written(shared))["aws role"].state is State.OK


def test_training_where_traffic_is_moved_is_found(tmp_path: Path) -> None:
    text = written(AWS, train_environment="production-operate")
    result = look(config(tmp_path), text)["aws role"]
    assert (result.state, "share the environment production-operate" in result.found) == (
        State.FAILED,
        True,
    )


@pytest.mark.parametrize(
    "role",
    [
        "arn:aws:iam::1:role/tidegate-{job}",
        "arn:aws:iam::123456789012:role/tidegate-{jobs}",
        "arn:aws:iam::123456789012:role/tidegate-*",
        "tidegate-{job}",
    ],
)
def test_a_role_that_is_none_is_found(tmp_path: Path, role: str) -> None:
    result = look(config(tmp_path), written({**AWS, "aws-role": role}))["aws role"]
    assert (result.state, "not spelt like one" in result.found) == (State.FAILED, True)
