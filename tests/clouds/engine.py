"""The release engine on a cloud's stand-in: fakes for registry and ledger, the cloud itself real."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.engine import Engine
from tests.fakes import FakeMetrics, FakeRegistry, FakeTarget, MemoryLedger, make_bundle
from tidegate import bundles
from tidegate.core.events import Registered
from tidegate.core.model import Task, VersionRef
from tidegate.digests import folder_digest
from tidegate.errors import OutsideError
from tidegate.home import MODEL, PARITY, Home
from tidegate.perform import Pass, World, run_pass

if TYPE_CHECKING:
    from pathlib import Path

    from tests.clouds.places import Place
    from tidegate.core.endpoint import Endpoint

POLICY: dict[str, Any] = {
    "steps": ["50%"],
    "warmup": "1m",
    "bake": "2m",
    "deadline": "4h",
    "probation": {"for": "2m", "holdback": "10%"},
    "guards": [{"metric": "error_rate", "margin": "2x"}],
}
UNDER_WAY = ("updating", "starting")


@dataclass
class CloudEngine(Engine):
    """An engine whose target and counts are a cloud's; ``rates``: version -> share of errors."""

    place: Place = None  # type: ignore[assignment] # always given by `begin`
    rates: dict[str, float] = field(default_factory=dict)
    traffic: int = 2000  # requests a minute
    failed: list[OutsideError] = field(default_factory=list)  # passes that were made again
    _world: World | None = None

    @classmethod
    def begin(cls, root: Path, place: Place) -> CloudEngine:
        return cls(
            root, MemoryLedger(), FakeTarget(), FakeMetrics(), FakeRegistry(root), place=place,
            now=place.now(),
        )  # fmt: skip

    @property
    def world(self) -> World:
        if self._world is None:
            self._world = World(
                name="m",
                ledger=self.ledger,
                target=self.place.target(),
                metrics=self.place.metrics(),
                registry=self.registry,
                home=Home(self.root / "home"),
                task=Task.BINARY,
                clock=self.place.now,
            )
        return self._world

    def reborn(self) -> None:
        """Forget everything that the process knew."""
        self._world = None

    def version(self, number: int, *, offset: float = 0.0, sick: bool = False) -> VersionRef:
        """Register version ``number``.

        With an ``offset`` it answers otherwise than it did offline; a ``sick`` one does not come up.
        """
        folder = make_bundle(self.root / f"v{number}", f"model {number}")
        (folder / MODEL / "MLmodel").write_text("mlflow_version: 3.17.2\n")
        if sick:
            self.place.doom(folder / MODEL)
        rows, _ = bundles.load_parity(folder)
        (folder / PARITY).unlink()
        bundles.save_parity(folder, rows, np.asarray(rows["x"].to_numpy()) / 100 + offset)
        model = VersionRef(
            version=str(number),
            digest=folder_digest(folder / MODEL),
            recipe=f"{number:064x}",
            commit=f"{number:040x}",
        )
        self.place.digests[model.version] = model.digest
        self.now = self.place.now()
        self.append(Registered(model=model))
        return model

    def serve_requests(self) -> None:
        """Let the present minute have its traffic, split as the endpoint does it."""
        for variant in self.look().variants:
            requests = round(self.traffic * variant.share)
            if requests:
                errors = round(requests * self.rates.get(variant.version, 0.01))
                self.place.count(variant.version, self.place.now(), requests, errors)

    def look(self) -> Endpoint:
        """Return the endpoint, however often it takes to see it."""
        for _ in range(20):
            try:
                return self.world.target.read()
            except OutsideError as error:
                self.failed.append(error)
        raise AssertionError(self.failed)

    def settle(self, seconds: float = 60.0) -> Pass:
        """Make passes until what the cloud is doing is done."""
        until = time.monotonic() + seconds
        while True:
            self.now, cause = self.place.now(), "failing"
            try:
                done = run_pass(self.world)
                cause = done.wait.cause
            except OutsideError as error:  # as `tidegate watch` does: the pass is made again
                self.failed.append(error)
            else:
                if cause not in UNDER_WAY:
                    return done
            assert time.monotonic() < until, f"still {cause}: {self.failed[-1:]}"
            time.sleep(0.01)
            self.place.advance(5)  # a watch waits 15 s between two passes

    def minutes(self, number: int) -> Pass:
        """Let minutes with traffic pass, and make passes in each."""
        for _ in range(number):
            self.serve_requests()
            self.place.advance(60)
            done = self.settle()
        return done

    def until_rest(self, most: int = 60) -> Pass:
        """Let minutes pass until no rollout is live and the endpoint is tidy."""
        for _ in range(most):
            done = self.minutes(1)
            if done.wait.settled:
                return done
        raise AssertionError(f"never at rest: {done.wait.cause} {self.state.rollout}")

    def serving_first(self) -> VersionRef:
        """Bring a first release up."""
        first = self.version(1)
        self.request(first, POLICY)
        self.settle()
        return first

    def end_state(self) -> dict[str, Any]:
        """What must be the same however it went: all but the times."""
        endpoint = self.place.target().read()
        return {
            "champion": self.state.champion,
            "past": [(r.model.version, r.phase, r.cause) for r in self.state.past],
            "quarantined": self.state.quarantined,
            "traffic": endpoint.traffic(),
            "variants": sorted(variant.version for variant in endpoint.variants),
            "aliases": self.registry.alias,
            "orphans": self.place.orphans(),
        }
