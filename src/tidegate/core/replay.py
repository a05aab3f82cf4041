"""The canary's rules over recorded minutes: what would have been decided, and when."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from tidegate.core.canary import Action, Decision, Progress, decide
from tidegate.core.guards import Evidence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.core.config import Canary
    from tidegate.core.evidence import LabelStratum, Minute


def replay(
    canary: Canary,
    minutes: Sequence[Minute],
    strata: Sequence[LabelStratum] = (),
    loss_center: float | None = None,
) -> tuple[Decision, ...]:
    """Decide after every minute from the first to the last one; stop at the terminal decision.

    The rollout starts with the earliest minute, so warm-up and deadline count from there. Minutes
    that are missing in between are closed without data. The shares recorded are taken as they
    are, whatever step the rules have reached. A stratum's labels are taken to have arrived in
    its ``bucket``, counted in minutes.

    >>> from tidegate.core.config import Canary
    >>> from tidegate.core.evidence import Arm, Minute
    >>> good, bad = Arm(requests=570, errors=6), Arm(requests=30, errors=9)
    >>> rollout = [Minute(index=i, champion=good, candidate=bad) for i in range(60)]
    >>> last = replay(Canary(), rollout)[-1]
    >>> last.action, last.minute
    (<Action.REVERT: 'revert'>, 5)
    """
    if not minutes:
        return ()
    canary = replace(canary, labels=replace(canary.labels, every=canary.interval))
    at = {minute.index: minute for minute in minutes}
    labels: dict[int, list[LabelStratum]] = {}
    for stratum in strata:
        labels.setdefault(stratum.bucket, []).append(stratum)
    start, end = min(at), max(at)
    first = start + math.ceil(canary.warmup / canary.interval - 1e-9)
    progress = Progress(
        first_minute=first,
        step=0,
        step_minute=first,
        deadline_minute=start + math.ceil(canary.deadline / canary.interval - 1e-9),
    )
    evidence = Evidence.start(canary, loss_center, first)
    decisions: list[Decision] = []
    for index in range(start, end + 1):
        for stratum in labels.get(index, ()):
            evidence = evidence.add_label(stratum)
        if index in at:
            evidence = evidence.add_minute(at[index])
        evidence = evidence.settle(index + 1)
        decision = decide(canary, progress, evidence, index + 1)
        decisions.append(decision)
        match decision.action:
            case Action.HOLD:
                continue
            case Action.STEP_UP:
                progress = replace(progress, step=progress.step + 1, step_minute=index + 1)
            case Action.PROMOTE | Action.REVERT | Action.EXPIRE:
                break
    return tuple(decisions)
