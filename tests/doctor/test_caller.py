"""What the cloud policies are made of: pins of two trees, one environment, what inputs tell."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.real_repo import Repo
from tidegate.doctor.caller import caller, known
from tidegate.doctor.flow import flows
from tidegate.errors import ConfigError
from tidegate.git import text
from tidegate.grants import Cloud, Job, Part
from tidegate.pin import COMMIT
from tidegate.policy import holders
from tidegate.render import starter

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real

OTHER = "f" * 40
ROLE = "arn:aws-us-gov:iam::123456789012:role/ml/tidegate"


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    repo = Repo.make(tmp_path)
    (repo.path / ".github" / "workflows").mkdir(parents=True)
    return repo


def write(repo: Repo, *, pin: str = COMMIT, **inputs: str) -> None:
    operating = {key.replace("_", "-"): value for key, value in inputs.items()}
    content = starter.workflow("main", training={}, operating=operating).replace(COMMIT, pin)
    repo.write(".github/workflows/mlops.yml", content)


def publish(repo: Repo) -> None:
    """Make what is committed the default branch of origin, as this clone knows it."""
    repo.commit()
    text(repo.path, "push", "--quiet", "origin", "main")
    text(repo.path, "remote", "set-head", "origin", "main")


def who(repo: Repo) -> Any:
    return caller(repo.path, "acme/coin", flows(repo.path))


def test_the_pin_of_the_workflow_is_trusted(repo: Repo) -> None:
    write(repo)
    assert (who(repo).commits, who(repo).environment) == ((COMMIT,), "production-operate")


def test_while_a_pin_moves_the_default_branchs_is_trusted_too(repo: Repo) -> None:
    write(repo)
    publish(repo)
    write(repo, pin=OTHER)
    assert who(repo).commits == (OTHER, COMMIT)
    publish(repo)
    assert who(repo).commits == (OTHER,)


def test_a_workflow_of_the_default_branch_that_cannot_be_read_adds_nothing(repo: Repo) -> None:
    repo.write(".github/workflows/mlops.yml", f"on: [ # tidegate/tidegate/x@{OTHER}")
    publish(repo)
    write(repo)
    assert who(repo).commits == (COMMIT,)


def test_a_tag_is_trusted_by_nobody(repo: Repo) -> None:
    write(repo, pin="v1")
    with pytest.raises(ConfigError, match="names no commit"):
        who(repo)


def test_no_workflow_is_no_trust(repo: Repo) -> None:
    with pytest.raises(ConfigError, match="names no commit"):
        who(repo)


def test_the_environment_is_the_one_that_the_jobs_name(repo: Repo) -> None:
    write(repo, operate_environment="live")
    assert who(repo).environment == "live"


def test_two_environments_are_refused(repo: Repo) -> None:
    write(repo, operate_environment="live")
    path = repo.path / ".github/workflows/mlops.yml"
    path.write_text(path.read_text().replace("operate-environment: live", "home: /srv", 1))
    with pytest.raises(ConfigError, match="live, production-operate"):
        who(repo)


def test_the_inputs_tell_the_account_and_a_person_wins(repo: Repo) -> None:
    write(repo, aws_role=ROLE, aws_region="us-gov-west-1")
    found = known(Cloud.AWS, repo.context(), flows(repo.path), None, {"region": "us-gov-east-1"})
    assert dict(found) == {
        "endpoint": "coin",
        "model": "coin",
        "partition": "aws-us-gov",
        "account": "123456789012",
        "region": "us-gov-east-1",
    }


def test_googles_inputs_tell_project_and_pool(repo: Repo) -> None:
    write(
        repo,
        gcp_provider="projects/4711/locations/global/workloadIdentityPools/tide/providers/operate",
        gcp_service_account="tidegate-operate@acme-ml.iam.gserviceaccount.com",
    )
    found = known(Cloud.AWS, repo.context(), flows(repo.path), None, {})
    assert {key: found[key] for key in ("project_number", "pool", "project")} == {
        "project_number": "4711",
        "pool": "tide",
        "project": "acme-ml",
    }


def test_a_variable_in_an_input_stays_a_placeholder(repo: Repo) -> None:
    write(repo, aws_role="${{ vars.ROLE }}", aws_region="${{ vars.REGION }}")
    found = known(Cloud.AWS, repo.context(), flows(repo.path), None, {})
    assert (found["account"], found["region"]) == ("ACCOUNT", "REGION")


def test_training_has_an_environment_of_its_own(repo: Repo) -> None:
    write(repo)
    assert who(repo).training == "training"
    write(repo, train_environment="cloud")
    path = repo.path / ".github/workflows/mlops.yml"
    assert "train-environment: cloud" in path.read_text()
    with pytest.raises(ConfigError, match="cloud, training"):  # check has none
        who(repo)


SAGEMAKER = {
    "registry": {"store": "s3://acme-registry/tg"},
    "release": {
        "target": "sagemaker",
        "sagemaker": {
            "execution_role": "arn:aws:iam::210987654321:role/ml/serve",
            "scheduler_role": "switch",
            "bucket": "s3://acme-models",
            "region": "eu-west-1",
            "image": "210987654321.dkr.ecr.eu-west-1.amazonaws.com/team/serve:1.2",
            "alarms": ["a-5xx", "a-slow"],
            "kms_key": "${KMS_ID}",
        },
    },
}


def add(repo: Repo, what: dict[str, Any]) -> None:
    file = repo.path / "mlops.yaml"
    file.write_text(json.dumps(json.loads(file.read_text()) | what))


def test_mlops_yaml_tells_what_it_asks_for(repo: Repo) -> None:
    write(repo)
    add(repo, SAGEMAKER)
    found = known(Cloud.AWS, repo.context(), flows(repo.path), None, {})
    assert found.parts == {Part.REGISTRY, Part.TARGET}
    assert {key: found[key] for key in ("account", "region", "bucket", "prefix")} == {
        "account": "210987654321", "region": "eu-west-1", "bucket": "acme-models", "prefix": "",
    }  # fmt: skip
    assert (found["execution_role"], found["scheduler_role"]) == ("ml/serve", "switch")
    assert (found["registry_bucket"], found["registry_prefix"]) == ("acme-registry", "tg")
    assert (found["image_account"], found["image_repository"]) == ("210987654321", "team/serve")
    assert found["alarms"] == "a-5xx,a-slow"
    assert "key" not in found  # a variable that is not set here
    assert Job.TRAIN not in holders(Cloud.AWS, found)


def test_of_the_other_cloud_everything_is_shown(repo: Repo) -> None:
    write(repo)
    add(repo, SAGEMAKER)
    found = known(Cloud.GCP, repo.context(), flows(repo.path), None, {})
    assert found.parts == set(Part)
    assert found["bucket"] == "BUCKET"
