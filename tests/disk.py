"""A world that survives its process: fakes on disk, the ledger on real git, and a kill switch."""

from __future__ import annotations

import os
import pickle
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.engine import Engine
from tests.fakes import FakeMetrics, FakeRegistry, FakeTarget
from tidegate.adapters.ledger.git import GitLedger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EFFECTS = {"write", "deploy", "route", "remove", "arm", "publish", "annotate", "observe"}


@dataclass
class Kept:
    """Keeps what it wraps in a file: loaded before each call, written after it."""

    file: Path
    fresh: Callable[[], Any]

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            thing = pickle.loads(self.file.read_bytes()) if self.file.exists() else self.fresh()
            result = getattr(thing, name)(*args, **kwargs)
            partial = self.file.with_suffix(".part")
            partial.write_bytes(pickle.dumps(thing))
            partial.replace(self.file)
            return result

        return call


@dataclass
class KillSwitch:
    """Ends the process at the n-th side effect, just before or just after it."""

    at: int | None
    after: bool
    count: int = 0

    def watch(self, port: Any) -> Any:
        return Watched(port, self)

    def effect(self, act: Callable[[], Any]) -> Any:
        self.count += 1
        mine = self.count == self.at
        if mine and not self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = act()
        if mine:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


@dataclass
class Watched:
    """A port whose side effects the kill switch counts."""

    port: Any
    switch: KillSwitch

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.port, name)
        if name not in EFFECTS:
            return method
        return lambda *a, **k: self.switch.effect(lambda: method(*a, **k))


@dataclass
class DiskEngine(Engine):
    """An engine whose world, clock included, is on disk."""

    switch: KillSwitch = field(default_factory=lambda: KillSwitch(None, after=False))

    @classmethod
    def open(
        cls, root: Path, switch: KillSwitch, rates: dict[str, tuple[float, float]]
    ) -> DiskEngine:
        return cls(
            root=root,
            store=switch.watch(GitLedger(root / "repo", "tidegate-ledger/m", remote=None)),
            target=switch.watch(Kept(root / "target.pickle", FakeTarget)),
            metrics=switch.watch(FakeMetrics(rates=rates)),
            registry=switch.watch(Kept(root / "registry.pickle", lambda: FakeRegistry(root))),
            switch=switch,
        )

    def wake(self) -> None:
        """Read the clock from disk."""
        clock = self.root / "clock"
        self.now = float(clock.read_text()) if clock.exists() else 1_000_000.0

    def live(self, limit: int) -> None:
        """Tick, a minute at a time, until nothing is left to do."""
        self.wake()
        for _ in range(limit):
            self.now += 60
            (self.root / "clock").write_text(str(self.now))
            if self.tick().wait.cause == "idle" and self.state.queue == ():
                return
        raise AssertionError("the rollout did not come to an end")
