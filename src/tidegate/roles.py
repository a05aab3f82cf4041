"""Which role in a cloud this job takes: one name with ``{job}`` in it stands for one role per job.

A repository gives one value per cloud (``arn:aws:iam::123456789012:role/tidegate-{job}``); each job that
may take a role says in TIDEGATE_JOB which one it is. A value without ``{job}`` is everybody's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.errors import ConfigError
from tidegate.grants import Job

if TYPE_CHECKING:
    from collections.abc import Mapping

PLACE = "{job}"
VARIABLE = "TIDEGATE_JOB"


def role_for(env: Mapping[str, str], name: str) -> str | None:
    """Return a variable's value for this job; None where it is not set.

    >>> role_for({"TIDEGATE_AWS_ROLE": "role/tidegate-{job}", "TIDEGATE_JOB": "train"}, "TIDEGATE_AWS_ROLE")
    'role/tidegate-train'

    Args:
        env: the environment.
        name: TIDEGATE_AWS_ROLE, TIDEGATE_GCP_PROVIDER or TIDEGATE_GCP_SERVICE_ACCOUNT.

    Raises:
        ConfigError: it holds ``{job}``, and TIDEGATE_JOB names none of the jobs that take a role.
    """
    value = env.get(name)
    if not value:
        return None
    if PLACE not in value:
        return value
    job = env.get(VARIABLE, "")
    if job not in set(Job):
        known = ", ".join(Job)
        raise ConfigError(
            f"{name} holds {PLACE}, and {VARIABLE} is {job!r}",
            remedy=f"Set {VARIABLE} to one of {known}, or write the role's name out.",
        )
    return value.replace(PLACE, job)
