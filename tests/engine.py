"""A whole release engine over fakes, with a clock in hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.fakes import FakeMetrics, FakeRegistry, FakeTarget, MemoryLedger, make_bundle
from tidegate.book import Ledger
from tidegate.core.events import Judged, Mode, Registered, Requested
from tidegate.core.model import Task, VersionRef
from tidegate.digests import folder_digest
from tidegate.home import MODEL, Home
from tidegate.perform import Pass, World, run_pass

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.core.events import Payload
    from tidegate.core.state import State

POLICY: dict[str, Any] = {
    "steps": ["5%", "50%"],
    "warmup": "2m",
    "bake": "5m",
    "deadline": "20h",
    "probation": {"for": "30m", "holdback": "5%"},
    "guards": [{"metric": "error_rate", "margin": "1.5x"}],
}


@dataclass
class Engine:
    """Fakes, a clock, and the verbs a test needs."""

    root: Path
    store: MemoryLedger
    target: FakeTarget
    metrics: FakeMetrics
    registry: FakeRegistry
    now: float = 1_000_000.0
    fading: bool = False

    @classmethod
    def make(cls, root: Path) -> Engine:
        return cls(root, MemoryLedger(), FakeTarget(), FakeMetrics(), FakeRegistry(root))

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.store, lambda state, chain: f"{len(chain)} events\n")

    @property
    def world(self) -> World:
        return World(
            name="m",
            ledger=self.ledger,
            target=self.target,
            metrics=self.metrics,
            registry=self.registry,
            home=Home(self.root / "home"),
            task=Task.BINARY,
            clock=lambda: self.now,
            fading=lambda: self.fading,
        )

    @property
    def state(self) -> State:
        return self.ledger.read().state

    def append(self, *payloads: Payload, human: bool = False) -> None:
        actor = "ada" if human else "tidegate"
        self.ledger.append(self.ledger.read(), *payloads, at=self.now, actor=actor, human=human)

    def version(self, number: int) -> VersionRef:
        """Register version ``number``: a bundle of its own in the registry."""
        folder = make_bundle(self.root / f"v{number}", f"model {number}")
        model = VersionRef(
            version=str(number),
            digest=folder_digest(folder / MODEL),
            recipe=f"{number:064x}",
            commit=f"{number:040x}",
        )
        self.append(Registered(model=model))
        return model

    def request(self, model: VersionRef, policy: dict[str, Any] | None = None) -> None:
        champion = self.state.champion
        self.append(
            Judged(
                outcome="pass", candidate=model.digest, champion=None, holdout="d" * 64, rules="e" * 64,
                recipe=model.recipe, commit=model.commit,
            ),
            Requested(
                model=model,
                mode=Mode.CANARY if champion else Mode.DIRECT,
                judged_against=champion.digest if champion else None,
                policy=policy or POLICY,
                task="binary",
                loss_center=None,
            ),
        )  # fmt: skip

    def tick(self, minutes: float = 0.0) -> Pass:
        """Let time pass, then make one pass."""
        self.now += 60 * minutes
        return run_pass(self.world)

    def run(self, minutes: int) -> Pass:
        """Make one pass a minute."""
        for _ in range(minutes):
            done = self.tick(1)
        return done

    def serving(self, number: int = 1) -> VersionRef:
        """Bring a first release up."""
        model = self.version(number)
        self.request(model)
        self.tick()
        return model
