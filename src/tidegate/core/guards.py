"""A rollout's evidence: every guard's test, folded over closed minutes and label strata."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, assert_never

from tidegate.core.config import Canary, Guard, GuardMetric
from tidegate.core.sequential.counts import CountTest
from tidegate.core.sequential.losses import Losses, LossRule, LossTest
from tidegate.core.sequential.rules import CountRule
from tidegate.core.sequential.shares import Coverage, SampleRatio
from tidegate.errors import NotJudgedError

if TYPE_CHECKING:
    from tidegate.core.evidence import Arm, LabelArm, LabelStratum, Minute, Series


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What one closed minute was good for."""

    index: int
    observed: bool  # both arms were measured, if only as no requests
    two_armed: bool  # both arms had requests: evidence, and part of the bake
    baked: int  # two-armed minutes up to and with this one
    requests: int  # candidate requests in those


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """All evidence of one rollout. Immutable: ``add_minute`` and ``add_label`` return a new one.

    Minutes come in rising order, strata in the order in which they closed (:meth:`of` sorts a
    whole series that way): a running maximum is only one when late labels come late.
    """

    canary: Canary
    first_minute: int | None
    tests: tuple[CountTest | LossTest, ...]
    minutes: tuple[Seen, ...] = ()
    exposed: int = 0  # candidate requests so far
    sample_ratio: SampleRatio
    coverage: Coverage
    pending: tuple[tuple[int, int, int], ...] = ()  # minute, answers of candidate and champion
    strata: tuple[LabelStratum, ...] = ()  # of minutes that are still pending

    @staticmethod
    def start(
        canary: Canary, loss_center: float | None = None, first_minute: int | None = None
    ) -> Evidence:
        """Return no evidence yet.

        Args:
            canary: the policy, fixed for the rollout.
            loss_center: the champion's mean loss on the holdout, divided by the loss's bound.
            first_minute: minutes (and answers given in them) before this one are ignored: warm-up.
        """
        return Evidence(
            canary=canary,
            first_minute=first_minute,
            tests=tuple(_start(guard, canary, loss_center) for guard in canary.guards),
            sample_ratio=SampleRatio.start(),
            coverage=Coverage.start(),
        )

    @staticmethod
    def of(
        canary: Canary,
        series: Series,
        *,
        first_minute: int | None = None,
        loss_center: float | None = None,
    ) -> Evidence:
        """Fold a whole series in the order in which its minutes and strata closed."""
        evidence = Evidence.start(canary, loss_center, first_minute)
        for minute in sorted(series.minutes, key=lambda m: m.index):
            evidence = evidence.add_minute(minute)
        strata = sorted(series.labels, key=lambda s: (_closed_at(s, canary), s.minute, s.bucket))
        for stratum in strata:
            evidence = evidence.add_label(stratum)
        return evidence.settle(series.closed)

    def add_minute(self, minute: Minute) -> Evidence:
        """Return the evidence with one more closed minute.

        Raises:
            ValueError: the minute is not later than the last one.
            NotJudgedError: counts are negative, or more events than requests.
        """
        if self._early(minute.index):
            return self
        if self.minutes and minute.index <= self.minutes[-1].index:
            raise ValueError(f"minute {minute.index} after minute {self.minutes[-1].index}")
        candidate, champion = minute.candidate, minute.champion
        two_armed = bool(candidate and champion and candidate.requests and champion.requests)
        requests = candidate.requests if candidate else 0
        baked, in_bake = (
            (self.minutes[-1].baked, self.minutes[-1].requests) if self.minutes else (0, 0)
        )
        seen = Seen(
            index=minute.index,
            observed=candidate is not None and champion is not None,
            two_armed=two_armed,
            baked=baked + two_armed,
            requests=in_bake + requests * two_armed,
        )
        after = replace(self, minutes=(*self.minutes, seen), exposed=self.exposed + requests)
        if candidate is None or champion is None:
            return after
        ratio = self.sample_ratio
        if minute.share is not None:
            ratio = ratio.add(
                candidate=candidate.requests, champion=champion.requests, share=minute.share
            )
        labelled = any(guard.needs_labels for guard in self.canary.guards)
        answers = (minute.index, candidate.requests, champion.requests)
        return replace(
            after,
            sample_ratio=ratio,
            tests=tuple(
                _add_requests(guard, test, candidate, champion)
                for guard, test in zip(self.canary.guards, self.tests, strict=True)
            ),
            pending=(*self.pending, answers) if labelled else (),
        )

    def add_label(self, stratum: LabelStratum) -> Evidence:
        """Return the evidence with one more closed label stratum; one arm alone says nothing.

        Raises:
            NotJudgedError: the sums cannot come from losses between 0 and 1.
        """
        if self._early(stratum.minute):
            return self
        candidate, champion = stratum.candidate, stratum.champion
        after = replace(self, strata=(*self.strata, stratum))
        if candidate is None or champion is None:
            return after
        tests = tuple(
            _add_labels(guard, test, candidate, champion)
            for guard, test in zip(self.canary.guards, self.tests, strict=True)
        )
        return replace(after, tests=tests)

    def settle(self, closed: int) -> Evidence:
        """Judge the labelling of every minute older than ``labels.within``; each is judged once.

        Only labels that came within that time count, so that the judgement depends neither on
        the order of the calls nor on when somebody looked.
        """
        wait = self.canary.labels.within
        ready = closed * self.canary.interval - wait  # a minute that ended by then is due
        due = [n for n in self.pending if (n[0] + 1) * self.canary.interval <= ready]
        if not due:
            return self
        coverage, done = self.coverage, due[-1][0]
        arrived: dict[int, list[LabelStratum]] = {}
        for stratum in self.strata:
            in_time = _closed_at(stratum, self.canary) - wait
            if in_time <= (stratum.minute + 1) * self.canary.interval:
                arrived.setdefault(stratum.minute, []).append(stratum)
        for index, candidate, champion in due:
            strata = arrived.get(index, ())
            coverage = coverage.add(
                answers=(candidate, champion),
                labelled=(
                    sum(s.candidate.labelled for s in strata if s.candidate),
                    sum(s.champion.labelled for s in strata if s.champion),
                ),
            )
        return replace(
            self,
            coverage=coverage,
            pending=self.pending[len(due) :],
            strata=tuple(s for s in self.strata if s.minute > done),
        )

    def bake(self, since: int) -> tuple[int, int]:
        """Return (two-armed minutes, candidate requests in them) from minute ``since`` on."""
        if not self.minutes:
            return 0, 0
        at = bisect_left(self.minutes, since, key=lambda seen: seen.index)
        baked, requests = (
            (self.minutes[at - 1].baked, self.minutes[at - 1].requests) if at else (0, 0)
        )
        return self.minutes[-1].baked - baked, self.minutes[-1].requests - requests

    def observed(self, index: int) -> bool:
        """Whether both arms were measured in minute ``index``."""
        at = bisect_left(self.minutes, index, key=lambda seen: seen.index)
        return (
            at < len(self.minutes) and self.minutes[at].index == index and self.minutes[at].observed
        )

    def _early(self, index: int) -> bool:
        return self.first_minute is not None and index < self.first_minute


def _closed_at(stratum: LabelStratum, canary: Canary) -> float:
    bucket = (stratum.bucket + 1) * canary.labels.every
    return max(bucket, (stratum.minute + 1) * canary.interval)


def _start(guard: Guard, canary: Canary, loss_center: float | None) -> CountTest | LossTest:
    if guard.metric is GuardMetric.LABEL_LOSS:
        return LossTest.start(LossRule.of(guard, canary, loss_center))
    return CountTest.start(CountRule.of(guard, canary))


def _add_requests(
    guard: Guard, test: CountTest | LossTest, candidate: Arm, champion: Arm
) -> CountTest | LossTest:
    match guard.metric:
        case GuardMetric.ERROR_RATE:
            events = (candidate.errors, champion.errors)
        case GuardMetric.SLOW_REQUESTS:
            if candidate.slow is None or champion.slow is None:
                return test
            events = (candidate.slow, champion.slow)
        case GuardMetric.LABEL_ERROR | GuardMetric.LABEL_LOSS:
            return test
        case _:
            assert_never(guard.metric)
    return _add_counts(test, (candidate.requests, champion.requests), events)


def _add_labels(
    guard: Guard, test: CountTest | LossTest, candidate: LabelArm, champion: LabelArm
) -> CountTest | LossTest:
    match guard.metric:
        case GuardMetric.ERROR_RATE | GuardMetric.SLOW_REQUESTS:
            return test
        case GuardMetric.LABEL_ERROR:
            if candidate.mistakes is None or champion.mistakes is None:
                return test
            events = (candidate.mistakes, champion.mistakes)
            return _add_counts(test, (candidate.labelled, champion.labelled), events)
        case GuardMetric.LABEL_LOSS:
            arms = [_losses(arm) for arm in (candidate, champion)]
            if not isinstance(test, LossTest) or arms[0] is None or arms[1] is None:
                return test
            return test.add(candidate=arms[0], champion=arms[1])
        case _:
            assert_never(guard.metric)


def _losses(arm: LabelArm) -> Losses | None:
    if arm.loss_sum is None or arm.loss_sum_sq is None:
        return None
    return Losses(n=arm.labelled, total=arm.loss_sum, squares=arm.loss_sum_sq)


def _add_counts(
    test: CountTest | LossTest, requests: tuple[int, int], events: tuple[int, int]
) -> CountTest | LossTest:
    for n, x in zip(requests, events, strict=True):
        if not 0 <= x <= n:
            raise NotJudgedError(
                f"A closed minute counts {x} events among {n} requests.",
                remedy="The metric source is wrong: events are at least 0 and at most all requests.",
            )
    assert isinstance(test, CountTest)
    return test.add(
        candidate=requests[0],
        candidate_events=events[0],
        champion=requests[1],
        champion_events=events[1],
    )
