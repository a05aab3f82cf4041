"""What ``mlops.yaml`` says of clouds: the packages for them, and names that no cloud would take. No call is made."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tidegate.core.clouds import Where
from tidegate.doctor.result import Result, bad, good, unseen
from tidegate.errors import TidegateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tidegate.commands.context import Context

_AWS = (("boto3",), "sagemaker")  # modules, and the extra that installs them
_GOOGLE = (("google.auth",), "vertex")
_MOST = 5.75 * 3600  # seconds: what GitHub leaves a job, less what comes before and after training
_ROLE = re.compile(r"arn:[a-z-]+:iam::\d{12}:role/[\w+=,.@/-]{1,512}|[\w+=,.@-]{1,64}", re.ASCII)
_ACCOUNT = re.compile(r"[a-z0-9-]{1,64}@[a-z0-9.:-]{1,128}\.gserviceaccount\.com", re.ASCII)
_REGION = {
    "aws": re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d"),
    "gcp": re.compile(r"[a-z]+-[a-z]+\d+"),
}
_PROJECT = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")


def looks(context: Context, installed: Callable[[str], bool]) -> Iterator[Result]:
    """Look at what is said of clouds; nothing where nothing is."""
    config = context.config
    store = (config.registry.store or "").partition("://")[0]
    aws = bool(config.release.sagemaker or config.train.sagemaker or store == "s3")
    google = bool(config.release.vertex or config.train.vertex or store == "gs")
    if not aws and not google:
        return
    wanted = [*([_AWS] if aws else []), *([_GOOGLE] if google else [])]
    extras = [extra for modules, extra in wanted if not all(map(installed, modules))]
    if extras:
        yield bad(
            "cloud packages",
            f"not installed: {', '.join(extras)}",
            f'pip install "tidegate[{",".join(extras)}]"',
        )
    else:
        yield good("cloud packages", ", ".join(extra for _, extra in wanted))
    yield _names(context)
    if config.train.compute is not Where.RUNNER:
        yield _time(context)


def endpoint(context: Context) -> Result:
    """Say that the endpoint was not looked at: only the jobs are let in."""
    release = context.config.release
    return unseen(
        "endpoint",
        f"{release.target}: {release.endpoint} asks for a role, which the jobs have",
        "`tidegate status`, with credentials of your own, shows it.",
    )


def registry(store: str) -> Result:
    """Say that the bucket was not looked at."""
    return unseen(
        "registry",
        f"{store}: asks for a role, which the jobs have",
        "`tidegate log`, with credentials of your own, reads the ledger beside it.",
    )


def _time(context: Context) -> Result:
    config = context.config
    seconds = config.train.timeout + sum(check.timeout for check in config.checks)
    if seconds > _MOST:
        return bad(
            "cloud training",
            f"may take {seconds / 3600:.1f} hours, with its checks",
            "GitHub ends a job after six, and the training is then stopped: "
            "set train.timeout so that both fit.",
        )
    return good("cloud training", f"ends within {seconds / 3600:.1f} hours, GitHub's job within 6")


def _names(context: Context) -> Result:
    wrong = []
    for where, raw, shape in _named(context):
        try:
            text = context.value(raw, where)
        except TidegateError:
            continue  # a variable that only the jobs have
        if not shape(text):
            wrong.append(f"{where}: {text}")
    if wrong:
        return bad("cloud names", f"no such names: {'; '.join(wrong)}", "Correct mlops.yaml.")
    return good("cloud names", "spelt as their clouds want them")


def _named(context: Context) -> Iterator[tuple[str, str, Callable[[str], object]]]:
    """Yield key, value and what a value must be like."""
    config = context.config
    blocks = (
        ("release.sagemaker", config.release.sagemaker),
        ("train.sagemaker", config.train.sagemaker),
        ("release.vertex", config.release.vertex),
        ("train.vertex", config.train.vertex),
    )
    for where, block in blocks:
        if block is None:
            continue
        cloud = "aws" if where.endswith("sagemaker") else "gcp"
        shapes: dict[str, Callable[[str], object]] = {
            **dict.fromkeys(("execution_role", "scheduler_role", "role"), _ROLE.fullmatch),
            **dict.fromkeys(("scheduler_account", "service_account"), _ACCOUNT.fullmatch),
            "region": _REGION[cloud].fullmatch,
            "project": _PROJECT.fullmatch,
            "bucket": _bucket,
        }
        for key, shape in shapes.items():
            value = getattr(block, key, None)
            if value is not None:
                yield f"{where}.{key}", value, shape
    store = config.registry.store
    if store is not None and "://" in store:
        yield "registry.store", store, _bucket
    if config.release.sagemaker is not None:
        yield "release.endpoint", config.release.endpoint, _endpoint


def _bucket(text: str) -> bool:
    from tidegate.adapters.stores.base import Place

    try:
        Place.of(text)
    except TidegateError:
        return False
    return True


def _endpoint(text: str) -> bool:
    from tidegate.adapters.target.sagemaker_names import Names

    try:
        Names(text)
    except TidegateError:
        return False
    return True
