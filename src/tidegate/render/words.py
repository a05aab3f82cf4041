"""Times, durations, shares and causes in words."""

from __future__ import annotations

from datetime import UTC, datetime

CAUSES = {
    "start": "the canary begins",
    "first_release": "the first release: there was nothing to compare with",
    "shown": "every guard that counts at this step is shown not worse than the step allows",
    "harm": "a guard shows harm beyond its margin",
    "unproven": "promoted unproven: the deadline passed and on_expire says promote",
    "deadline": "the deadline passed without a decision",
    "not_fresh": "the deadline passed and the evidence does not allow a promotion",
    "probation_over": "the probation is over without a finding",
    "human": "a person decided",
    "newer": "a newer candidate was accepted",
    "lowered_outside": "somebody lowered its traffic from outside",
    "raised_outside": "somebody raised its traffic from outside",
    "changed_outside": "somebody changed the traffic from outside",
    "parity": "the served model does not answer as it did offline",
    "not_ready": "it never became ready to answer",
    "another_champion": "it was judged against another champion than the one that serves",
    "starting": "a variant is starting",
    "updating": "the endpoint is being changed",
    "session_ending": "our credentials end soon and cannot be renewed: nothing new is begun",
    "endpoint_broken": "the endpoint is in a state that only a person can repair",
    "pinned": "a person decided; `tidegate resume` hands back to the machine",
    "held": "held by a person",
    "idle": "nothing to do",
    "alerted": "what serves is not what it should be; `tidegate resume` when that is right",
    "warmup": "warm-up: no evidence yet",
    "no_data": "no data: waiting for requests on both sides",
    "sample_ratio": "realised traffic is not what was configured",
    "tick_gap": "nobody watched for too long: the step bakes again",
    "baking": "baking",
    "few_requests": "too few requests in this step so far",
    "not_shown": "not shown yet",
    "labels_unequal": "labels arrive unequally for the two models",
    "labels_missing": "waiting for labels",
    "hands_off": "harm is shown, but a person said hands off",
    "probation": "probation: the old version keeps its holdback, evidence can still revert",
}


def cause(code: str) -> str:
    """Return a cause in words; a person's own words stay as they are."""
    return CAUSES.get(code, code)


def when(at: float) -> str:
    """Return a time to the second, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def lasting(seconds: float) -> str:
    """Return a duration in its largest two units.

    >>> lasting(75), lasting(7200), lasting(0.4)
    ('1 min 15 s', '2 h', '0.4 s')
    """
    if seconds < 10:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    left = round(seconds)
    parts = []
    for name, size in units:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2])


def share(part: float) -> str:
    """Return a share of traffic.

    >>> share(0.05), share(0.005)
    ('5 %', '0.5 %')
    """
    return f"{part * 100:.4g} %"
