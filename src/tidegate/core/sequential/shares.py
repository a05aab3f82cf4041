"""Is traffic split as configured, and are both arms labelled alike? Checks on the comparison."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from tidegate.core.sequential.hypergeometric import log_normalisers
from tidegate.core.sequential.mixture import Array, log_sum_exp

LEVEL = 0.001  # probability that a sound split, or sound labelling, is ever called unsound
_FACTORS = np.log(np.array([1.05, 1.15, 1.35, 1.75, 2.5, 5.0, 20.0]))
_LOG_ODDS = np.concatenate([-_FACTORS, _FACTORS])


@dataclass(frozen=True, kw_only=True)
class SampleRatio:
    """E-value of "each request goes to the candidate with the configured probability".

    Weights that were never applied, retries on one arm, a health checker that counts: all of them
    shift the share of requests, and make every other comparison doubtful.

    >>> check = SampleRatio.start()
    >>> for _ in range(20):
    ...     check = check.add(candidate=60, champion=540, share=0.05)
    >>> check.off
    True
    """

    products: Array
    log_e_max: float = 0.0

    @staticmethod
    def start() -> SampleRatio:
        """No requests yet."""
        return SampleRatio(products=np.zeros(len(_LOG_ODDS)))

    def add(self, *, candidate: int, champion: int, share: float) -> SampleRatio:
        """Return the check after one more minute; a share of 0 or 1 says nothing."""
        if not 0.0 < share < 1.0 or candidate + champion == 0:
            return self
        total = np.log1p(share * np.expm1(_LOG_ODDS))
        products = self.products + candidate * _LOG_ODDS - (candidate + champion) * total
        return replace(self, products=products, log_e_max=_running(self.log_e_max, products))

    @property
    def off(self) -> bool:
        """Whether the split was ever shown not to be the configured one."""
        return self.log_e_max >= -math.log(LEVEL)


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """E-value of "an answer gets its label with the same odds in both arms", either direction.

    The exact conditional count test on labelled against unlabelled answers of each minute.

    >>> check = Coverage.start()
    >>> for _ in range(9):
    ...     check = check.add(answers=(50, 950), labelled=(10, 700))
    >>> check.unequal
    True
    """

    products: Array
    log_e_max: float = 0.0

    @staticmethod
    def start() -> Coverage:
        """No answers yet."""
        return Coverage(products=np.zeros(len(_LOG_ODDS)))

    def add(self, *, answers: tuple[int, int], labelled: tuple[int, int]) -> Coverage:
        """Return the check after one minute; pairs are (candidate, champion)."""
        n_c, n_b = (np.array([float(max(n, x))]) for n, x in zip(answers, labelled, strict=True))
        if not n_c[0] or not n_b[0]:
            return self
        norm = log_normalisers(
            n_c, n_b, np.array([float(sum(labelled))]), np.append(_LOG_ODDS, 0.0)
        )[0]
        products = self.products + labelled[0] * _LOG_ODDS - (norm[:-1] - norm[-1])
        return replace(self, products=products, log_e_max=_running(self.log_e_max, products))

    @property
    def unequal(self) -> bool:
        """Whether unequal labelling was ever shown."""
        return self.log_e_max >= -math.log(LEVEL)


def _running(before: float, products: Array) -> float:
    return max(before, float(log_sum_exp(products - np.log(len(products)))))
