"""The cloud roles that the user's workflow names, and those it ought to: pure, from the files alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidegate.core.clouds import Where
from tidegate.doctor.flow import Call, hosted
from tidegate.doctor.result import Result, bad, good, warning
from tidegate.grants import Cloud, Job
from tidegate.roles import PLACE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tidegate.core.config import Config

_ROLE = re.compile(r"arn:(aws|aws-cn|aws-us-gov):iam::\d{12}:role/(?:[\w+=,.@/-]|\{job\}){1,512}")
_PROVIDER = re.compile(
    r"projects/\d+/locations/global/workloadIdentityPools/[a-z0-9-]{4,32}"
    r"/providers/(?:[a-z0-9-]|\{job\}){4,32}"
)
_ACCOUNT = re.compile(r"(?:[a-z0-9-]|\{job\}){4,40}@[a-z0-9.:-]+\.iam\.gserviceaccount\.com")
_KEYS = {
    Cloud.AWS: ("aws-role", "aws-region"),
    Cloud.GCP: ("gcp-provider", "gcp-service-account"),
}
_SHAPES: Mapping[Cloud, Mapping[str, re.Pattern[str]]] = {
    Cloud.AWS: {"aws-role": _ROLE},
    Cloud.GCP: {"gcp-provider": _PROVIDER, "gcp-service-account": _ACCOUNT},
}
_CLOUD_OF = {
    "sagemaker": Cloud.AWS, "vertex": Cloud.GCP, "s3": Cloud.AWS, "gs": Cloud.GCP,
}  # fmt: skip
# Which of our workflows hold a job that takes the role.
_TAKING = {
    Job.DECIDE: ("deliver.yml",),
    Job.OPERATE: ("deliver.yml", "watch.yml", "command.yml"),
    Job.TRAIN: ("check.yml", "deliver.yml"),
}
# job -> the runner's input, the environment's input and its default
_PLACES = {
    Job.DECIDE: ("runner", "operate-environment", "production-operate"),
    Job.OPERATE: ("operate-runner", "operate-environment", "production-operate"),
    Job.TRAIN: ("runner", "train-environment", "training"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """A role that a job must take for what ``mlops.yaml`` says."""

    cloud: Cloud
    job: Job
    key: str  # of mlops.yaml: why


def needs(config: Config) -> tuple[Need, ...]:
    """Return the roles that the configuration asks for."""
    found = []
    if cloud := _CLOUD_OF.get(config.release.target):
        found.append(Need(cloud=cloud, job=Job.OPERATE, key="release.target"))
    store = (config.registry.store or "").partition("://")
    if store[1] and (cloud := _CLOUD_OF.get(store[0])):
        found.append(Need(cloud=cloud, job=Job.DECIDE, key="registry.store"))
        found.append(Need(cloud=cloud, job=Job.OPERATE, key="registry.store"))
    if config.train.compute is not Where.RUNNER:
        cloud = _CLOUD_OF[config.train.compute]
        found.append(Need(cloud=cloud, job=Job.TRAIN, key="train.compute"))
    return tuple(found)


def environment(call: Call, job: Job) -> str:
    """Return the environment in which a call's job takes its role."""
    _, key, default = _PLACES[job]
    return call.inputs.get(key) or default


def look(calls: Sequence[Call], config: Config, slug: str) -> Iterator[Result]:
    """Look at the roles in the inputs: there, well spelt, and one for each job."""
    wanted = needs(config)
    for cloud in Cloud:
        using = [call for call in calls if any(key in call.inputs for key in _KEYS[cloud])]
        here = [need for need in wanted if need.cloud is cloud]
        if using or here:
            what = f"{cloud} role"
            yield (
                _misspelt(what, cloud, using)
                or _absent(what, calls, here)
                or _shared(what, using, here)
                or good(what, _trust(cloud, slug, using, {need.job for need in here}))
            )


def _misspelt(what: str, cloud: Cloud, using: Sequence[Call]) -> Result | None:
    print_it = f"`tidegate doctor --policy {cloud}` prints the trust that it needs."
    for call in using:
        if absent := [key for key in _KEYS[cloud] if key not in call.inputs]:
            return bad(
                what,
                f"{call.where}: {', '.join(absent)} is missing beside the other",
                "Give both, or none of them.",
            )
        for key, shape in _SHAPES[cloud].items():
            value = call.inputs[key]
            if "${{" not in value and not shape.fullmatch(value):
                return bad(what, f"{call.where}: {key} is not spelt like one: {value}", print_it)
        if call.grants("id-token") != "write":
            return bad(
                what,
                f"{call.where}: has a cloud role but no id-token: write to ask for it with",
                "Grant id-token: write to that job.",
            )
    return None


def _absent(what: str, calls: Sequence[Call], here: Sequence[Need]) -> Result | None:
    """A job on GitHub's machine has no credentials but a role's; another machine may have its own."""
    alone = []
    for need in here:
        for call in calls:
            if call.file not in _TAKING[need.job] or _KEYS[need.cloud][0] in call.inputs:
                continue
            labels = call.runner(_PLACES[need.job][0])
            if hosted(labels) is False:
                alone.append(f"{call.where} ({need.job})")
                continue
            keys = ", ".join(_KEYS[need.cloud])
            return bad(
                what,
                f"{call.where}: {need.key} asks for a role, and {keys} are not given",
                f"`tidegate doctor --policy {need.cloud}` prints the roles and the lines to add.",
            )
    if alone:
        return warning(
            what,
            f"none is given: {', '.join(dict.fromkeys(alone))} would use its machine's own credentials, "
            "which every job there shares",
            f"Give the jobs roles of their own: `tidegate doctor --policy {here[0].cloud}`.",
        )
    return None


def _shared(what: str, using: Sequence[Call], here: Sequence[Need]) -> Result | None:
    """One role for several jobs can do what each of them may."""
    jobs = {need.job for need in here}
    both = _environments(using, Job.OPERATE) & _environments(using, Job.TRAIN)
    if Job.TRAIN in jobs and both:
        return bad(
            what,
            f"training and traffic share the environment {', '.join(sorted(both))}: "
            "a pull request that may train may move traffic",
            "Give train-environment an environment of its own.",
        )
    cloud = Cloud(what.partition(" ")[0])
    for call in using:
        for key in _SHAPES[cloud]:
            value = call.inputs[key]
            if len(jobs) > 1 and "${{" not in value and PLACE not in value:
                return warning(
                    what,
                    f"{call.where}: {key} is one for {', '.join(sorted(jobs))}: each may do what all may",
                    f"Write {PLACE} where the job's name belongs: "
                    f"`tidegate doctor --policy {cloud}` makes one role for each.",
                )
    return None


def _environments(using: Sequence[Call], job: Job) -> set[str]:
    return {environment(call, job) for call in using if call.file in _TAKING[job]}


def _trust(cloud: Cloud, slug: str, using: Sequence[Call], jobs: set[Job]) -> str:
    """Say what the roles' trust must hold; nobody can look at it from here."""
    places = set().union(*(_environments(using, job) for job in jobs or {Job.OPERATE}))
    subjects = ", ".join(f"repo:{slug}:environment:{name}" for name in sorted(places))
    return f"spelt as a role; its trust must name {subjects}: `tidegate doctor --policy {cloud}`"
