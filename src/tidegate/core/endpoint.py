"""What an endpoint is, seen from outside: variants with traffic shares. Read back, never remembered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

Traffic: TypeAlias = Mapping[str, float]
"""Version -> share of the requests; shares are fractions that sum to 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One model version on the endpoint."""

    version: str
    digest: str
    share: float  # what the router really does now
    ready: bool  # answers its health check
    restarts: int = 0  # how often it died and was started again
    failed: str | None = None  # why it will not come up, however long one waits


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """The endpoint as it is. ``generation`` is the newest ledger sequence number it has accepted.

    ``busy`` and ``broken`` say why nothing can be changed: for now, and until a person has repaired it.
    """

    variants: tuple[Variant, ...]
    generation: int = 0
    url: str | None = None
    tripped: float | None = None  # when the dead-man's switch fired (epoch seconds), if it did
    busy: str | None = None
    broken: str | None = None
    patience: float = 600.0  # seconds that a new variant may take to come up here
    leftovers: tuple[str, ...] = ()  # what we made there and nothing uses any more

    def variant(self, version: str) -> Variant | None:
        """Return the variant that serves ``version``, if it is there."""
        return next((v for v in self.variants if v.version == version), None)

    def traffic(self) -> dict[str, float]:
        """Return the shares of the variants that get any traffic."""
        return {v.version: v.share for v in self.variants if v.share > 0}
