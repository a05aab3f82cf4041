"""What goes wrong on purpose."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass
class Fault:
    """``code`` None resets the connection; ``apply``: only after the call had its effect."""

    operation: str
    code: str | None
    status: int
    times: int
    apply: bool


@dataclass
class Faults:
    planned: list[Fault] = field(default_factory=list)
    rate: float = 0.0
    services: frozenset[str] = frozenset()
    dice: random.Random = field(default_factory=lambda: random.Random(0))
    thrown: int = 0  # how many calls were throttled

    def take(self, service: str, operation: str) -> Fault | None:
        """Return what this call has to suffer, if anything."""
        for fault in self.planned:
            if fault.operation in {operation, "*"} and fault.times > 0:
                fault.times -= 1
                return fault
        if self.rate and (not self.services or service in self.services):
            if self.dice.random() >= self.rate:
                return None
            self.thrown += 1
            code, status = self.dice.choice(
                [("ThrottlingException", 400), ("ServiceUnavailable", 503)]
            )
            if service == "s3":
                code, status = "SlowDown", 503
            return Fault(operation, code, status, 1, apply=False)
        return None
