"""Measurements of the model as a program: one number, or samples of which a quantile counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.core.metrics.estimate import Floats

# Metrics whose samples are summarised by a quantile.
QUANTILES = {"latency_p50_ms": 0.5, "latency_p95_ms": 0.95, "latency_p99_ms": 0.99}


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """A measurement's value, and its one-sided bounds when it came as samples.

    A missing bound means that so few samples cannot give one.
    """

    value: float
    n: int
    lower: float | None
    upper: float | None


def measure(
    name: str, measurement: float | Sequence[float] | Floats, confidence: float
) -> Measured | None:
    """Summarise a measurement; None when it holds nothing, or not only finite numbers.

    Samples of a quantile metric get distribution-free bounds by order statistics; samples of any
    other metric count by their largest; a plain number is exact.
    Source: David and Nagaraja, Order Statistics (3rd ed., 2003), section 7.1.

    >>> measure("model_size_mb", 12.5, 0.95)
    Measured(value=12.5, n=1, lower=12.5, upper=12.5)
    >>> measure("latency_p95_ms", [float(i) for i in range(1, 101)], 0.95)
    Measured(value=95.0, n=100, lower=91.0, upper=99.0)
    """
    samples = np.sort(np.atleast_1d(np.asarray(measurement, dtype=np.float64)))
    if len(samples) == 0 or not np.isfinite(samples).all():
        return None
    n = len(samples)
    level = QUANTILES.get(name)
    if level is None or np.ndim(measurement) == 0:
        last = float(samples[-1])
        return Measured(value=last, n=n, lower=last, upper=last)
    at_most = _binomial_cdf(n, level)  # at_most[k] = P(at most k samples lie below the quantile)
    # The j-th smallest is under the quantile when at least j samples are: 1 - at_most[j - 1].
    below = _last_index(1.0 - at_most >= confidence)
    above = int(np.searchsorted(at_most, confidence))
    return Measured(
        value=float(samples[math.ceil(level * n) - 1]),
        n=n,
        lower=float(samples[below]) if below is not None else None,
        upper=float(samples[above]) if above < n else None,
    )


def _last_index(claims: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> int | None:
    found = np.flatnonzero(claims)
    return int(found[-1]) if len(found) else None


def _binomial_cdf(n: int, p: float) -> Floats:
    """Return P(Binomial(n, p) <= k) for k = 0 .. n, shape (n + 1,)."""
    k = np.arange(1, n + 1)
    log_choose = np.concatenate(([0.0], np.cumsum(np.log((n - k + 1) / k))))
    counts = np.arange(n + 1)
    log_pmf = log_choose + counts * math.log(p) + (n - counts) * math.log1p(-p)
    cdf: Floats = np.minimum(np.cumsum(np.exp(log_pmf)), 1.0)
    return cdf
