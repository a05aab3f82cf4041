"""What a verdict says about how the models were loaded and run, beside what they answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.core.checks import check
from tidegate.core.model import Cause, Outcome
from tidegate.formats import finding_of
from tidegate.home import MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tidegate.commands.evaluate import Evaluation
    from tidegate.core.config import Config
    from tidegate.core.model import Finding

_MOST = 300  # characters of a reason that stand in a finding


def conditions(bundle: Path, config: Config, evaluation: Evaluation) -> Iterator[Finding]:
    """Yield the findings; loads nothing of any model.

    What the candidate's format may run decides where ``model.formats`` forbids it. Where a model ran is
    shown: who wants it to decide writes ``predict.environment: recorded``, and scoring fails.
    """
    if (found := finding_of(bundle / MODEL, config.model.formats)) is not None:
        yield found
    for role, note in evaluation.environments.items():
        column = f"{role}: {note}"
        yield check(
            Cause.ENVIRONMENT,
            0,
            column=column if len(column) <= _MOST else column[: _MOST - 3] + "...",
            outcome=Outcome.INCONCLUSIVE,
            decides=False,
        )
