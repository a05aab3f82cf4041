"""Rollouts that never happened: the canary's rules and its real tests on simulated traffic.

A vectorised twin of :func:`tidegate.core.canary.decide` for sound traffic (no gaps, nobody holds,
shares as configured). A test plays the same counts through both and demands equal answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from tidegate.core.config import Canary, Guard, GuardMetric
from tidegate.core.sequential.counts import CountTest
from tidegate.core.sequential.losses import Losses, LossRule, LossTest
from tidegate.core.sequential.rules import CountRule

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from tidegate.core.sequential.mixture import Array

    Flags: TypeAlias = npt.NDArray[np.bool_]

EXPIRED, PROMOTED, REVERTED = 0, 1, 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """What a rollout would meet.

    Args:
        per_minute: requests per minute of the whole endpoint.
        rates: base rate of each guard's events with the champion, as fractions.
        labelled: share of the answers that get a label.
    """

    per_minute: float
    rates: Mapping[GuardMetric, float]
    labelled: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Runs:
    """How ``B`` simulated rollouts ended; minutes are evidence intervals since the start."""

    outcome: Array  # (B,): EXPIRED, PROMOTED or REVERTED
    minute: Array  # (B,): when, in intervals; the deadline for those that expired
    exposed: Array  # (B,): requests the candidate answered until then
    passed: Array  # (B, steps): when each step was passed; infinite if never


def worse(rate: float, factor: Array, metric: GuardMetric) -> Array:
    """Return ``rate`` made worse by a factor on its odds (on its mean, for losses).

    >>> worse(0.5, np.array([3.0]), GuardMetric.ERROR_RATE).tolist()
    [0.75]
    """
    if metric is GuardMetric.LABEL_LOSS:
        mean: Array = np.minimum(rate * factor, 1.0)
        return mean
    odds = rate / max(1.0 - rate, 1e-12) * factor
    worsened: Array = odds / (1.0 + odds)
    return worsened


def simulate(
    canary: Canary,
    traffic: Traffic,
    factors: Mapping[GuardMetric, Array],
    rng: np.random.Generator,
    *,
    probation: bool = False,
) -> Runs:
    """Play ``B`` rollouts to their end or the deadline.

    With ``probation`` a promoted rollout goes on with the holdback's shares, and may still be
    reverted, until the deadline.

    Args:
        canary: the policy.
        traffic: requests and the champion's rates; a guard without a rate never sees an event.
        factors: how many times worse the candidate is, per guard, each of shape ``(B,)``; guards
            that are left out are not watched at all.
        rng: the randomness.
    """
    return _Game(canary, traffic, factors, rng).play(probation=probation)


class _Game:
    """The state of all rollouts; one pass of the loop is one closed minute in each."""

    def __init__(
        self,
        canary: Canary,
        traffic: Traffic,
        factors: Mapping[GuardMetric, Array],
        rng: np.random.Generator,
    ) -> None:
        self.canary, self.traffic, self.rng = canary, traffic, rng
        self.guards = tuple(g for g in canary.guards if g.metric in factors)
        self.batch = len(next(iter(factors.values())))
        base = {g.metric: traffic.rates.get(g.metric, 0.0) for g in self.guards}
        self.base = base
        self.bad = {
            g.metric: worse(base[g.metric], factors[g.metric], g.metric) for g in self.guards
        }
        self.tests = {g.metric: _start(g, canary, self.batch) for g in self.guards}
        self.waiting: list[tuple[Array, Array]] = []  # answers whose labels are on their way
        self.shares = np.array(canary.steps)
        self.step = np.zeros(self.batch, dtype=np.intp)  # one past the last: on probation
        self.baked = np.zeros(self.batch)
        self.requests = np.zeros(self.batch)
        self.exposed = np.zeros(self.batch)
        self.alive = np.ones(self.batch, dtype=bool)
        self.outcome = np.full(self.batch, float(EXPIRED))
        self.minute = np.full(self.batch, np.inf)
        self.passed = np.full((self.batch, len(canary.steps)), np.inf)

    def play(self, *, probation: bool) -> Runs:
        canary = self.canary
        if probation and canary.probation.duration > 0 and canary.probation.holdback > 0:
            self.shares = np.append(self.shares, 1.0 - canary.probation.holdback)
        interval = canary.interval
        warmup = math.ceil(canary.warmup / interval - 1e-9)
        deadline = math.ceil(canary.deadline / interval - 1e-9)
        per_interval = self.traffic.per_minute * interval / 60.0
        self.exposed += per_interval * canary.steps[0] * min(warmup, deadline)
        for index in range(warmup, deadline):
            total = self.rng.poisson(per_interval, self.batch) * self.alive
            at = np.minimum(self.step, len(self.shares) - 1)
            candidate = self.rng.binomial(total, self.shares[at]).astype(np.float64)
            self.observe(candidate, total - candidate)
            self.decide(index + 1)
            if not self.alive.any():
                break
        self.minute[self.alive & (self.outcome != PROMOTED)] = deadline
        return Runs(
            outcome=self.outcome, minute=self.minute, exposed=self.exposed, passed=self.passed
        )

    def observe(self, candidate: Array, champion: Array) -> None:
        both = (candidate > 0) & (champion > 0)
        self.exposed += candidate
        self.baked += both
        self.requests += candidate * both
        self.waiting.append(
            (self.labelled(candidate), self.labelled(champion))
            if any(g.needs_labels for g in self.guards)
            else (candidate, champion)
        )
        wait = math.ceil(self.canary.labels.within / self.canary.interval)
        late = self.waiting.pop(0) if len(self.waiting) > wait else None
        for guard in self.guards:
            if not guard.needs_labels:
                self.add(guard.metric, candidate, champion)
            elif late is not None:
                self.add(guard.metric, late[0] * self.alive, late[1] * self.alive)

    def labelled(self, answers: Array) -> Array:
        if self.traffic.labelled >= 1.0:
            return answers
        return self.rng.binomial(answers.astype(np.int64), self.traffic.labelled).astype(np.float64)

    def add(self, metric: GuardMetric, candidate: Array, champion: Array) -> None:
        bad, good = (
            self.rng.binomial(n.astype(np.int64), rate).astype(np.float64)
            for n, rate in ((candidate, self.bad[metric]), (champion, self.base[metric]))
        )
        test = self.tests[metric]
        if isinstance(test, LossTest):  # 0/1 losses: the largest variance a mean can have
            self.tests[metric] = test.add(
                candidate=Losses(n=candidate, total=bad, squares=bad),
                champion=Losses(n=champion, total=good, squares=good),
            )
        else:
            self.tests[metric] = test.add(
                candidate=candidate,
                candidate_events=bad,
                champion=champion,
                champion_events=good,
            )

    def decide(self, closed: int) -> None:
        harmed = np.zeros(self.batch, dtype=bool)
        for test in self.tests.values():
            harmed |= test.harmed > 0
        reverted = self.alive & harmed
        self.end(reverted, REVERTED, closed)
        bake = math.ceil(self.canary.bake / self.canary.interval - 1e-9)
        waiting = self.alive & (self.step < len(self.canary.steps))
        ready = waiting & (self.baked >= bake) & (self.requests >= self.canary.min_requests)
        if not ready.any():
            return
        last = self.step == len(self.canary.steps) - 1
        for null, here in ((0, last), (1, ~last & (self.step == 0)), (2, ~last & (self.step > 0))):
            if (ready & here).any():
                going = ready & here & self.shown(null)
                self.passed[going, self.step[going]] = closed
                if null == 0:
                    self.end(going, PROMOTED, closed)
                self.step[going] += 1
                self.baked[going] = self.requests[going] = 0.0
                ready &= ~going

    def shown(self, null: int) -> Flags:
        """Whether everything is shown that the null's stage asks for."""
        all_shown = np.ones(self.batch, dtype=bool)
        for guard in self.guards:
            if guard.needs_labels and not (null == 0 and self.canary.labels.required):
                continue
            test = self.tests[guard.metric]
            if isinstance(test, LossTest):
                evidence = test.log_not_worse()
            else:
                evidence = np.maximum(test.log_not_worse(null), test.log_not_worse(0))
            all_shown &= evidence >= test.rule.promote_boundary
        return all_shown

    def end(self, rows: Flags, outcome: int, closed: int) -> None:
        self.outcome[rows] = outcome
        self.minute[rows] = closed
        on_probation = outcome == PROMOTED and len(self.shares) > len(self.canary.steps)
        if not on_probation:
            self.alive &= ~rows


def _start(guard: Guard, canary: Canary, batch: int) -> CountTest | LossTest:
    if guard.metric is GuardMetric.LABEL_LOSS:
        return LossTest.start(LossRule.of(guard, canary), batch)
    return CountTest.start(CountRule.of(guard, canary), batch)
