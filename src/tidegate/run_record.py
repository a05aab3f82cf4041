"""``run.json``: how a model was trained. Written by the training job, schema-checked by readers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tidegate.errors import NotJudgedError
from tidegate.home import RUN
from tidegate.load import violations
from tidegate.strict import bounded, strict_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


_MOST_BYTES = 32_000_000  # the user's code may have written it


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """One training run. Durations in seconds, sizes in megabytes (10**6 bytes).

    The last four are of a service that trained; None where the runner did. A cost of None is one that is
    not known.
    """

    commit: str
    dirty: bool  # the work tree differed from the commit
    recipe: str
    config_digest: str
    rules_digest: str
    train_digest: str
    holdout_digest: str
    model_digest: str
    model_size_mb: float
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    environment: Mapping[str, str]
    started_at: float
    duration: float
    compute: str | None = None  # "sagemaker ml.m5.large"
    job: str | None = None
    billed_seconds: float | None = None
    cost_usd: float | None = None  # estimated, from a price list


def save(bundle: Path, record: RunRecord) -> None:
    """Write the record into a bundle."""
    told = {key: value for key, value in asdict(record).items() if value is not None}
    (bundle / RUN).write_text(json.dumps({"version": 1, **told}, indent=2) + "\n")


def read(bundle: Path) -> RunRecord:
    """Read a bundle's record.

    Raises:
        NotJudgedError: there is none, or it is not what ``schemas/run.schema.json`` demands.
    """
    path = bundle / RUN
    try:
        data = strict_json(bounded(path, _MOST_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise NotJudgedError(
            f"{path}: {error}", remedy="Run `tidegate train` for this commit first."
        ) from None
    if found := violations(data, "run.schema.json"):
        raise NotJudgedError(f"{path}: {found[0]}")
    data.pop("version")
    return RunRecord(**data)
