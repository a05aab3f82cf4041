"""What a run costs: told before, counted while it goes, and stopped at a ceiling."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tidegate.core.prices import cost
from tidegate.errors import ConfigError, OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SWEEPING = 1200.0  # seconds in which everything is taken down, kept back from the ceiling
OTHER = (
    0.02  # US dollars for requests, logs, metrics and storage: some thousands of each, generously
)


class CeilingError(OutsideError):
    """The run would cost more than it may."""


@dataclass(frozen=True)
class Part:
    """So many machines for so many minutes, at most, as far as anybody can tell before."""

    what: str
    minutes: float
    machines: int

    def cost(self, price: float) -> float:
        return cost(self.minutes * 60, price * self.machines) or 0.0


def expected(parts: Sequence[Part], price: float, more: float) -> float:
    """Return US dollars of a run; ``more``: what is spent beside the endpoint's machines."""
    return sum(part.cost(price) for part in parts) + more + OTHER


@dataclass
class Bill:
    """The running bill of one run. ``price``: US dollars an hour of a machine of the endpoint."""

    price: float
    ceiling: float
    clock: Callable[[], float]
    machines: int = 0
    settled: float = OTHER
    since: float = field(default=0.0)

    @property
    def total(self) -> float:
        """US dollars so far, counted from when a machine was asked for."""
        running = (cost(self.clock() - self.since, self.price) or 0.0) * self.machines
        return self.settled + running

    def run(self, machines: int) -> None:
        """From now on so many machines are paid for."""
        self.settled, self.since, self.machines = self.total, self.clock(), machines

    def add(self, dollars: float) -> None:
        self.settled += dollars

    def check(self) -> None:
        """See that what is spent, and taking everything down, stays below the ceiling.

        Raises:
            CeilingError: it does not.
        """
        sweeping = (cost(SWEEPING, self.price) or 0.0) * self.machines
        if self.total + sweeping > self.ceiling:
            raise CeilingError(
                f"${self.total:.2f} are spent and ${sweeping:.2f} kept back to take everything down: "
                f"more than the ceiling of ${self.ceiling:.2f}.",
                remedy="Everything is deleted now. Raise --ceiling and begin again.",
            )


def priced(listed: float | None, given: str | None, machine: str) -> float:
    """Return the price of a machine.

    Raises:
        ConfigError: nobody knows it: no ceiling can be kept.
    """
    try:
        price = listed if given is None else float(given)
    except ValueError:
        price = None
    if price is None or not 0 < price < 10_000:
        raise ConfigError(
            f"no price is known for {machine}, so no ceiling can be kept",
            remedy="Set `price` (TIDEGATE_SMOKE_PRICE), in US dollars an hour.",
        )
    return price
