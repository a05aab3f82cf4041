"""What the cloud policies are made of, from the workflow, the configuration and GitHub."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tidegate.doctor.asked import asked
from tidegate.doctor.flow import FOLDER, Flow, flow
from tidegate.errors import ConfigError, TidegateError
from tidegate.git import GitError, text
from tidegate.pin import FULL
from tidegate.policy import Caller
from tidegate.policy_values import Values, values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tidegate.adapters.host.reading import GitHubReader
    from tidegate.commands.context import Context
    from tidegate.doctor.flow import Call
    from tidegate.grants import Cloud

_OPERATING = ("deliver.yml", "watch.yml", "command.yml")
_TRAINING = ("check.yml", "deliver.yml")
_ENVIRONMENT, _TRAINING_ENVIRONMENT = "production-operate", "training"
_ROLE = re.compile(r"arn:(?P<partition>[a-z-]+):iam::(?P<account>\d{12}):role/.+")
_PROVIDER = re.compile(
    r"projects/(?P<project_number>\d+)/.*/workloadIdentityPools/(?P<pool>[\w-]+)/.*"
)
_ACCOUNT = re.compile(r"[^@]+@(?P<project>[a-z0-9-]+)\.iam\.gserviceaccount\.com")

_REGION = re.compile(r"(?P<region>[a-z0-9-]+)")


def caller(repository: Path, slug: str, flows: Sequence[Flow]) -> Caller:
    """Return who is to be let in: the pins of this tree, and those that the default branch still has.

    Raises:
        ConfigError: no workflow calls ours by commit, or its jobs name several environments.
    """
    calls = [call for each in (*flows, *_published(repository)) for call in each.calls]
    operating = [call for call in calls if call.file in _OPERATING]
    training = [call for call in calls if call.file in _TRAINING]
    # A pull request trains at the commit that its check names, too.
    pins = dict.fromkeys(c.pin for c in (*operating, *training) if FULL.fullmatch(c.pin))
    return Caller(
        slug=slug,
        environment=_one(operating, "operate-environment", _ENVIRONMENT),
        training=_one(training, "train-environment", _TRAINING_ENVIRONMENT),
        commits=tuple(pins),
    )


def _one(calls: Sequence[Call], key: str, default: str) -> str:
    """Return the environment that some calls name."""
    named = {call.inputs.get(key) or default for call in calls}
    if len(named) > 1:
        raise ConfigError(
            f"the jobs name several environments: {', '.join(sorted(named))}",
            remedy=f"Let all of them name the same {key}: a role trusts one.",
        )
    return next(iter(named), default)


def _published(repository: Path) -> list[Flow]:
    """Return the workflows of origin's default branch, as far as this clone knows them."""
    try:
        paths = text(repository, "ls-tree", "--name-only", "origin/HEAD", f"{FOLDER}/").splitlines()
    except GitError:
        return []
    found = []
    for path in paths:
        if path.endswith((".yml", ".yaml")):
            try:
                found.append(flow(path, text(repository, "show", f"origin/HEAD:{path}")))
            except TidegateError:
                continue  # not one of ours, or one that this tree repairs
    return found


def known(
    cloud: Cloud,
    context: Context,
    flows: Sequence[Flow],
    reader: GitHubReader | None,
    given: Mapping[str, str],
) -> Values:
    """Return what is known of the cloud account; what a person says wins."""
    parts, found = asked(cloud, context)
    for call in (call for each in flows for call in each.calls):
        found = _parts(_ROLE, call.inputs.get("aws-role")) | found
        found |= _parts(_PROVIDER, call.inputs.get("gcp-provider"))
        found = _parts(_ACCOUNT, call.inputs.get("gcp-service-account")) | found
        found = _parts(_REGION, call.inputs.get("aws-region")) | found
    seen = reader.settings().repository if reader else None
    if seen is not None:
        found["repository_id"] = str(seen["id"])
        found["owner_id"] = str(seen["owner"]["id"])
    return values({**found, **given}, parts)


def _parts(shape: re.Pattern[str], text: str | None) -> dict[str, str]:
    match = shape.fullmatch(text or "")
    return match.groupdict() if match else {}
