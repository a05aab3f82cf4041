"""Requests through the endpoint, and who answered them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tidegate.bundles import TOLERANCE, differs
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.smoke.bill import Bill
    from tests.smoke.journal import Journal
    from tests.smoke.models import Version
    from tests.smoke.places import Place, Time

FOLLOWED = 180.0  # seconds in which a changed split must be followed by every request
UNLIKELY = 1e-6  # a split that chance would show less often is none


@dataclass
class Asker:
    """Sends rows one by one. ``rate``: requests a second; 0: as fast as they are answered."""

    place: Place
    journal: Journal
    bill: Bill
    time: Time
    rate: float
    versions: Mapping[str, Version] = field(default_factory=dict)
    last: float = 0.0  # when the last request was sent
    failed: int = 0  # requests without an answer, since the last `send`

    def send(self, number: int) -> Counter[str]:
        """Return how many requests each version has answered, each as it did offline.

        Raises:
            OutsideError: an answer is not the version's own, or one request in fifty has none.
        """
        seen: Counter[str] = Counter()
        self.failed = 0
        begin = self.time.now()
        digests = {name: one.deployment.digest for name, one in self.versions.items()}
        for index in range(number):
            rows = self.versions["1"].rows
            row = index % rows.num_rows
            self.last = self.time.now()
            try:
                answer = self.place.send(rows.slice(row, 1).to_pylist()[0], digests)
            except OutsideError as error:
                self.failed += 1
                self.journal.say(f"    no answer: {error}")
                if self.failed > max(3, number // 50):
                    raise
            else:
                seen[answer.version] += 1
                self._check(answer.version, row, answer.prediction)
            if self.rate:
                due = begin + (index + 1) / self.rate
                self.time.sleep(max(0.0, due - self.time.now()))
            if index % 50 == 49:
                self.bill.check()
                self.journal.waiting(f"{index + 1} of {number}: {dict(seen)}")
        self.last = self.time.now()
        return seen

    def only(self, version: str, number: int, *, at_once: bool = False) -> None:
        """See that all of some requests are answered by this version; a new split may take its time.

        Raises:
            OutsideError: they are not.
        """
        begin = self.time.now()
        while True:
            seen = self.send(number)
            if set(seen) == {version} and not self.failed:
                break
            passed = self.time.now() - begin
            if at_once or passed > FOLLOWED:
                raise OutsideError(
                    f"version {version} alone has traffic, and who answered: {dict(seen)}, "
                    f"{self.failed} without an answer"
                )
            self.journal.waiting(f"the split is not followed yet: {dict(seen)}")
            self.time.sleep(2)
        followed = self.time.now() - begin
        self.journal.facts.setdefault("followed_seconds", []).append(round(followed, 1))

    def _check(self, version: str, row: int, prediction: float) -> None:
        one = self.versions.get(version)
        if one is None:
            raise OutsideError(f"Nobody knows the version {version} that answered.")
        own = one.shared[row : row + 1]
        if differs(own, own * 0 + prediction) > TOLERANCE:
            raise OutsideError(f"Version {version} answered {prediction} instead of {own[0]}.")


def chance(number: int, total: int, share: float) -> float:
    """Return the chance that a fair split is at least as far off: binomial, two-sided.

    >>> round(chance(10, 100, 0.1), 3), chance(40, 100, 0.1) < 1e-6
    (1.0, True)
    """
    lower = sum(_binomial(k, total, share) for k in range(number + 1))
    upper = sum(_binomial(k, total, share) for k in range(number, total + 1))
    return min(1.0, 2 * min(lower, upper))


def _binomial(k: int, n: int, share: float) -> float:
    log = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(log + k * math.log(share) + (n - k) * math.log(1 - share))
