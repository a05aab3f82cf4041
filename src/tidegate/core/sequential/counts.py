"""Two arms' counts of errors, slow requests or mistakes, compared minute by minute.

Harm: the null is "in every minute the candidate's odds are at most ``margin`` times the
champion's". Each minute contributes the exact conditional likelihood at odds ``theta`` over the
likelihood at the margin (Fisher's noncentral hypergeometric distribution given the minute's
totals); likelihoods are monotone in the odds, so the margin is the null's worst case. Products
over minutes are taken for each theta, and the mixture over those products. (Products of
per-minute mixtures are valid too, and weak.)

Two additions keep the mean at most one. Each minute's log-evidence is cut off at half the
boundary, so that one stalled minute of one process cannot decide alone. And a tenth of the prior
is spread over *later starts*: a product that begins at minute s has mean one as well, so a model
that goes bad after a healthy day is not protected by its past (cf. Shiryaev-Roberts; Shafer et
al. 2011 for mixtures of starts).

Not worse: the null is "odds at least the margin *and* rate at least ``negligible``"; the average
of the same test toward smaller odds and of a binomial test of the candidate's own rate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from tidegate.core.sequential.hypergeometric import log_normalisers
from tidegate.core.sequential.mixture import Array, add_starts, log_sum_exp

if TYPE_CHECKING:
    from tidegate.core.sequential.rules import CountRule

Counts: TypeAlias = Array | float
"""Whole numbers of shape ``(B,)``, or one number for all of the batch."""

EPISODE_EVENTS = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Totals:
    """Sums over the minutes that carried evidence; arrays of shape ``(B,)``."""

    candidate: Array
    candidate_events: Array
    champion: Array
    champion_events: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class CountTest:
    """The running evidence of one count guard; start with :meth:`start`, go on with :meth:`add`.

    >>> from tidegate.core.sequential.rules import CountRule
    >>> test = CountTest.start(CountRule(margin=1.0, harm_level=0.05))
    >>> for _ in range(3):
    ...     test = test.add(candidate=30, candidate_events=6, champion=570, champion_events=6)
    >>> bool(test.harm_max[0] >= test.rule.boundary)
    True
    """

    rule: CountRule
    totals: Totals
    looks: Array  # minutes with evidence so far
    harm: Array  # log products per alternative, all starts together, (B, H)
    harm_max: Array  # running maximum of the log e-value for harm
    harmed: Array  # 1 once the boundary was reached with the rate above negligible
    odds: tuple[Array, ...]  # log products per null of rule.nulls, each (B, P)
    rate: Array  # log products of the binomial test, (B, Q)
    growth: Array  # log-evidence an equal model would have gained on average, (B, nulls)
    mantel_haenszel: Array  # (2, B): the common odds ratio's numerator and denominator
    episode: Array  # (3, B): a cusum toward harm; requests and events since it was last zero

    @staticmethod
    def start(rule: CountRule, batch: int = 1) -> CountTest:
        """No evidence yet, for ``batch`` independent rollouts."""
        zero = np.zeros(batch)
        return CountTest(
            rule=rule,
            totals=Totals(
                candidate=zero, candidate_events=zero, champion=zero, champion_events=zero
            ),
            looks=zero,
            harm=np.full((batch, len(rule.harm.points)), -np.inf),
            harm_max=zero,
            harmed=zero,
            odds=tuple(np.zeros((batch, len(grid.points))) for grid in rule.nulls),
            rate=np.zeros((batch, len(rule.rates))),
            growth=np.zeros((batch, len(rule.nulls))),
            mantel_haenszel=np.zeros((2, batch)),
            episode=np.zeros((3, batch)),
        )

    def add(
        self,
        *,
        candidate: Counts,
        candidate_events: Counts,
        champion: Counts,
        champion_events: Counts,
    ) -> CountTest:
        """Return the evidence after one more closed minute.

        Rows in which an arm had no requests are left as they are: one arm is no comparison.
        """
        batch = len(self.looks)
        n_c, x_c, n_b, x_b = (
            np.broadcast_to(np.asarray(value, dtype=np.float64), (batch,))
            for value in (candidate, candidate_events, champion, champion_events)
        )
        both = (n_c > 0) & (n_b > 0)
        n_c, x_c, n_b, x_b = (np.where(both, value, 0.0) for value in (n_c, x_c, n_b, x_b))
        return self._add(likelihoods(self.rule, n_c, x_c, n_b, x_b), n_c, x_c, n_b, x_b)

    def _add(
        self, minute: Likelihoods, n_c: Array, x_c: Array, n_b: Array, x_b: Array
    ) -> CountTest:
        both = n_c > 0
        harm = np.where(both[:, None], add_starts(self.harm, self.looks) + minute.harm, self.harm)
        log_harm = log_sum_exp(harm + self.rule.harm.log_weights)
        harm_max = np.maximum(self.harm_max, log_harm)
        totals = Totals(
            candidate=self.totals.candidate + n_c,
            candidate_events=self.totals.candidate_events + x_c,
            champion=self.totals.champion + n_b,
            champion_events=self.totals.champion_events + x_b,
        )
        episode = _episode(self.episode, minute.cusum, n_c, x_c)
        negligible, boundary = self.rule.negligible, self.rule.boundary
        crossed = (harm_max >= boundary) & (totals.candidate_events > negligible * totals.candidate)
        # After a long healthy past the overall rate lags behind: then the rate since harm began
        # counts, where it rests on more than a few events.
        recent = (episode[2] >= EPISODE_EVENTS) & (episode[2] > negligible * episode[1])
        crossed |= (log_harm >= boundary) & recent
        size = np.maximum(n_c + n_b, 1.0)
        pairs = np.stack([x_c * (n_b - x_b) / size, x_b * (n_c - x_c) / size])
        return replace(
            self,
            totals=totals,
            looks=self.looks + both,
            harm=harm,
            harm_max=harm_max,
            harmed=np.maximum(self.harmed, crossed),
            odds=tuple(old + new for old, new in zip(self.odds, minute.odds, strict=True)),
            rate=self.rate + minute.rate,
            growth=self.growth + minute.growth,
            mantel_haenszel=self.mantel_haenszel + pairs,
            episode=episode,
        )

    def log_not_worse(self, null: int = 0) -> Array:
        """Log e-value against "odds at least the null's margin and rate not negligible".

        ``null`` counts through ``rule.nulls``: the margin, 4x, 2x.
        """
        odds = self.log_odds_part(null)
        if self.rule.negligible <= 0:
            return odds
        either: Array = np.logaddexp(odds, self.log_rate_part()) - np.log(2.0)
        return either

    def log_odds_part(self, null: int = 0) -> Array:
        """Log e-value against "odds at least the null's margin"."""
        return log_sum_exp(self.odds[null] + self.rule.nulls[null].log_weights)

    def log_rate_part(self) -> Array:
        """Log e-value against "the candidate's own rate is at least negligible"."""
        return log_sum_exp(self.rate + self.rule.rate_log_weights)


@dataclass(frozen=True, kw_only=True, eq=False)
class Likelihoods:
    """One minute's log-likelihood ratios against each null, cut off at half a boundary."""

    harm: Array  # (B, H)
    cusum: Array  # (B,): harm at about twice the margin, not cut off
    odds: tuple[Array, ...]  # (B, P) each
    rate: Array  # (B, Q)
    growth: Array  # (B, nulls)


def likelihoods(rule: CountRule, n_c: Array, x_c: Array, n_b: Array, x_b: Array) -> Likelihoods:
    """Return the exact conditional log-likelihood ratios of one minute, shape ``(B, ...)``."""
    log_odds = rule.all_log_odds
    scores = np.zeros((len(n_c), len(log_odds)))
    at = np.flatnonzero(x_c + x_b)  # without an event every likelihood is one
    if len(at):
        norms = log_normalisers(n_c[at], n_b[at], x_c[at] + x_b[at], log_odds)
        scores[at] = x_c[at, None] * log_odds - norms

    harm, *odds = (scores[:, part][:, 1:] - scores[:, part][:, :1] for part in rule.columns)
    expected = n_c * (x_c + x_b) / np.maximum(n_c + n_b, 1.0)  # of x_c, had the models been equal
    edges = [part.start for part in rule.columns[1:]]
    growth = scores[:, :1] - scores[:, edges] + np.outer(x_c - expected, log_odds[edges])
    cap = 0.5 * rule.promote_boundary
    return Likelihoods(
        harm=np.minimum(harm, 0.5 * rule.boundary),
        cusum=harm[:, rule.harm_twice],
        odds=tuple(np.minimum(ratio, cap) for ratio in odds),
        rate=np.minimum(_binomial(rule, n_c, x_c), cap),
        growth=growth,
    )


def _binomial(rule: CountRule, n: Array, x: Array) -> Array:
    """Log-likelihood of each rate below ``negligible`` over that of ``negligible`` itself."""
    if rule.negligible <= 0:
        return np.zeros((len(n), len(rule.rates)))
    with np.errstate(divide="ignore", invalid="ignore"):
        hits = np.where(x[:, None] > 0, x[:, None] * np.log(rule.rates / rule.negligible), 0.0)
    misses = (n - x)[:, None] * (np.log1p(-rule.rates) - np.log1p(-rule.negligible))
    ratios: Array = hits + misses
    return ratios


def _episode(before: Array, gain: Array, n: Array, x: Array) -> Array:
    """Advance the cusum; its last zero is the likeliest moment at which harm began."""
    level = np.maximum(before[0] + gain, 0.0)
    inside = level > 0
    return np.stack([level, (before[1] + n) * inside, (before[2] + x) * inside])
