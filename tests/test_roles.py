"""One value per cloud, one role per job: and never another job's."""

from __future__ import annotations

import pytest

from tidegate.errors import ConfigError
from tidegate.grants import Job
from tidegate.roles import role_for

ROLE = "TIDEGATE_AWS_ROLE"
PATTERN = "arn:aws:iam::123456789012:role/tidegate-{job}"


@pytest.mark.parametrize("job", list(Job))
def test_each_job_takes_its_own_role(job: Job) -> None:
    env = {ROLE: PATTERN, "TIDEGATE_JOB": str(job)}
    assert role_for(env, ROLE) == f"arn:aws:iam::123456789012:role/tidegate-{job}"


def test_a_name_without_the_place_is_every_jobs() -> None:
    for job in ({}, {"TIDEGATE_JOB": "train"}, {"TIDEGATE_JOB": "nonsense"}):
        assert role_for({ROLE: "arn:x", **job}, ROLE) == "arn:x"


def test_an_account_gets_the_job_wherever_it_stands() -> None:
    env = {"A": "{job}-x@{job}.iam", "TIDEGATE_JOB": "decide"}
    assert role_for(env, "A") == "decide-x@decide.iam"


@pytest.mark.parametrize("env", [{}, {ROLE: ""}, {ROLE: "", "TIDEGATE_JOB": "train"}])
def test_what_is_not_given_is_no_role(env: dict[str, str]) -> None:
    assert role_for(env, ROLE) is None


@pytest.mark.parametrize(
    "job", [None, "", "Decide", "decide ", "{job}", "operate\n", "score", "*", "train,decide"]
)
def test_a_job_that_takes_no_role_gets_none(job: str | None) -> None:
    env = {ROLE: PATTERN} | ({} if job is None else {"TIDEGATE_JOB": job})
    with pytest.raises(ConfigError, match="TIDEGATE_JOB") as error:
        role_for(env, ROLE)
    assert "decide, operate, train" in error.value.remedy


def test_sessions_ask_for_the_jobs_own_role() -> None:
    """Nothing is called yet: what a session would ask for stands in it, or it is refused here."""
    from tidegate.adapters.cloud.aws import connect as connect_aws
    from tidegate.adapters.cloud.google import connect as connect_google

    job = {"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "acme/credit", "GITHUB_RUN_ID": "1"}
    aws = {**job, ROLE: PATTERN, "TIDEGATE_AWS_REGION": "eu-west-1"}
    google = {
        **job,
        "TIDEGATE_GCP_PROVIDER": "projects/1/locations/global/workloadIdentityPools/tidegate/providers/tidegate-{job}",
        "TIDEGATE_GCP_SERVICE_ACCOUNT": "tidegate-{job}@acme-ml.iam.gserviceaccount.com",
    }
    for connect, env in ((connect_aws, aws), (connect_google, google)):
        with pytest.raises(ConfigError, match="TIDEGATE_JOB"):
            connect(None if connect is connect_aws else "", env=env)  # type: ignore[arg-type]
        connect(None if connect is connect_aws else "", env={**env, "TIDEGATE_JOB": "train"})  # type: ignore[arg-type]
