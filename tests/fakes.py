"""Small worlds for tests: a ledger in memory, an endpoint, a registry. Same contracts, no IO."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence  # noqa: TC003 (dataclass fields)
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from tidegate import bundles
from tidegate.core.endpoint import Endpoint, Traffic, Variant
from tidegate.core.evidence import Arm, LabelArm, LabelStratum, Minute, Series
from tidegate.errors import LedgerMovedError, OutsideError
from tidegate.home import MODEL
from tidegate.ports import Snapshot

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    import pyarrow as pa

    from tidegate.ports import Deployment, Measure, Registration, Window


@dataclass
class MemoryLedger:
    """A branch of files with compare-and-swap, in memory."""

    snapshot: Snapshot = field(default_factory=lambda: Snapshot(commit=None, files={}))
    commits: int = 0

    def read(self) -> Snapshot:
        return self.snapshot

    def write(self, base: Snapshot, files: Mapping[str, bytes], message: str) -> Snapshot:
        if base.commit != self.snapshot.commit:
            raise LedgerMovedError("another writer came first")
        self.commits += 1
        self.snapshot = Snapshot(
            commit=f"{self.commits:040x}", files={**self.snapshot.files, **files}
        )
        return self.snapshot


@dataclass
class FakeTarget:
    """An endpoint that is ready at once, fences by generation, and can be tampered with."""

    variants: dict[str, Variant] = field(default_factory=dict)
    generation: int = 0
    tripped: float | None = None
    armed: tuple[float | None, Traffic] = (None, {})
    answers: Callable[[str, pa.Table], npt.NDArray[np.float64]] | None = None
    ready: bool = True
    routed: list[dict[str, float]] = field(default_factory=list)
    busy: str | None = None
    broken: str | None = None
    leftovers: tuple[str, ...] = ()
    asked: tuple[int, dict[str, float]] = (-1, {})  # generation and split of the last route

    def read(self) -> Endpoint:
        return Endpoint(
            variants=tuple(self.variants.values()),
            generation=self.generation,
            url="http://127.0.0.1:0",
            tripped=self.tripped,
            busy=self.busy,
            broken=self.broken,
            leftovers=self.leftovers,
        )

    def deploy(self, deployment: Deployment, *, generation: int) -> None:
        self._check(generation)
        present = self.variants.get(deployment.version)
        if present is not None and present.digest != deployment.digest:
            raise OutsideError("the version is there with other bytes")
        self.generation = generation
        self.variants.setdefault(
            deployment.version,
            Variant(
                version=deployment.version, digest=deployment.digest, share=0.0, ready=self.ready
            ),
        )

    def route(self, traffic: Traffic, *, generation: int) -> None:
        self._check(generation)
        wanted = {version: share for version, share in traffic.items() if share}
        if abs(sum(wanted.values()) - 1) > 1e-6 or not wanted.keys() <= self.variants.keys():
            raise OutsideError("these are no shares of what is deployed")
        if generation == self.asked[0] and wanted != self.asked[1]:
            raise OutsideError("this generation asked for another split before")
        self.asked, self.generation = (generation, wanted), generation
        self.tripped = None
        self.variants = {
            name: replace(variant, share=traffic.get(name, 0.0))
            for name, variant in self.variants.items()
        }
        self.routed.append(dict(traffic))

    def meddle(self, traffic: Traffic) -> None:
        """Move traffic by hand, past the fence: what somebody does in a cloud's console."""
        self.tripped = None
        self.variants = {
            name: replace(variant, share=traffic.get(name, 0.0))
            for name, variant in self.variants.items()
        }

    def remove(self, version: str, *, generation: int) -> None:
        self._check(generation)
        if version in self.armed[1]:
            raise OutsideError("the dead-man's switch would send traffic to it")
        if version in self.variants and self.variants[version].share > 0:
            raise OutsideError("it still has traffic")
        self.generation = generation if self.variants else self.generation
        self.variants.pop(version, None)

    def tidy(self, *, generation: int) -> None:
        self._check(generation)
        self.generation = generation if self.variants else self.generation
        self.leftovers = ()

    def ask(self, version: str, rows: pa.Table) -> npt.NDArray[np.float64]:
        if self.answers is not None:
            return self.answers(version, rows)
        return np.asarray(rows["x"].to_numpy(), dtype=np.float64)

    def arm(self, until: float | None, fallback: Traffic, *, generation: int) -> None:
        if generation >= self.generation:
            self.armed = (until, fallback)

    def _check(self, generation: int) -> None:
        if self.busy or self.broken:
            raise OutsideError("nothing can be changed now")
        if generation < self.generation:
            raise OutsideError("a newer generation was seen")


@dataclass
class SlowTarget(FakeTarget):
    """An endpoint like a cloud's: a change is accepted, takes some reads, and may come to nothing."""

    takes: int = 3  # reads for which a change is under way
    doomed: frozenset[str] = frozenset()  # versions whose containers do not come up
    _left: int = 0
    _then: dict[str, Variant] = field(default_factory=dict)

    def read(self) -> Endpoint:
        if self.busy:
            self._left -= 1
            if self._left <= 0:
                self.busy, self.variants = None, self._then
        return super().read()

    def deploy(self, deployment: Deployment, *, generation: int) -> None:
        super().deploy(deployment, generation=generation)
        name = deployment.version
        ending = replace(self.variants[name], ready=True)
        if name in self.doomed:
            ending = replace(ending, ready=False, failed="its container stopped")
        self._change({**self.variants, name: ending}, name)

    def route(self, traffic: Traffic, *, generation: int) -> None:
        before = self.variants
        super().route(traffic, generation=generation)
        after, self.variants = self.variants, before
        self._change(after)

    def remove(self, version: str, *, generation: int) -> None:
        before = self.variants.copy()
        super().remove(version, generation=generation)
        if version not in before:
            return
        after, self.variants = self.variants, before
        self.leftovers = (version,)
        self._change(after)

    def _change(self, then: dict[str, Variant], new: str | None = None) -> None:
        if new is not None:
            self.variants[new] = replace(self.variants[new], ready=False)
        self.busy, self._left, self._then = "updating", self.takes, then


@dataclass
class FakeMetrics:
    """Counts from two rates: (error rate, mean loss) per version; 600 requests a minute."""

    rates: dict[str, tuple[float, float]] = field(default_factory=dict)
    requests: int = 600
    filled: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def observe(self, measure: Measure) -> None: ...

    def read(self, window: Window, now: float) -> Series:
        interval = window.measure.interval
        first, closed = int(-(-window.since // interval)), int(now // interval)
        minutes, labels = [], []
        for index in range(first, closed):
            at = index * interval
            share = next((s for t, s in reversed(window.shares) if t <= at), None)
            if share is None or not 0 < share < 1:
                continue
            counts = {
                window.candidate: round(self.requests * share),
                window.champion: round(self.requests * (1 - share)),
            }
            arms = {v: self._arm(v, n) for v, n in counts.items()}
            minutes.append(
                Minute(
                    index=index,
                    champion=arms[window.champion],
                    candidate=arms[window.candidate],
                    share=share,
                )
            )
            known = {v: self._labels(v, n) for v, n in counts.items()}
            labels.append(
                LabelStratum(
                    minute=index,
                    bucket=int(at // window.measure.label_every),
                    champion=known[window.champion],
                    candidate=known[window.candidate],
                )
            )
        return Series(minutes=tuple(minutes), labels=tuple(labels), closed=closed)

    def recent(self, measure: Measure, now: float) -> tuple[int, Arm] | None:
        return None

    def fill(self, version: str) -> Mapping[str, tuple[int, int]]:
        return self.filled

    def _arm(self, version: str, requests: int) -> Arm | None:
        if requests == 0:
            return None
        return Arm(requests=requests, errors=round(requests * self.rates.get(version, (0, 0))[0]))

    def _labels(self, version: str, n: int) -> LabelArm | None:
        if n == 0:
            return None
        mean = self.rates.get(version, (0.0, 0.0))[1]
        return LabelArm(
            labelled=n, mistakes=0, loss_sum=mean * n, loss_sum_sq=mean * n * (mean + 0.05)
        )


@dataclass
class FakeRegistry:
    """A registry that keeps the bundle of version 3 in the folder ``v3``."""

    root: Path
    alias: dict[str, str] = field(default_factory=dict)
    head: str | None = None
    tags: dict[str, dict[str, str]] = field(default_factory=dict)

    def register(self, registration: Registration) -> str:
        raise NotImplementedError

    def fetch(self, name: str, version: str, into: Path) -> None:
        import shutil

        shutil.copytree(self.root / f"v{version}", into, dirs_exist_ok=True)

    def publish(self, name: str, aliases: Mapping[str, str | None], chain: Sequence[str]) -> None:
        if self.head is not None and self.head not in chain:
            raise OutsideError("the ledger was rewritten")
        self.head = chain[-1]
        self.alias = {k: v for k, v in {**self.alias, **aliases}.items() if v is not None}

    def aliases(self, name: str) -> Mapping[str, str]:
        return self.alias

    def annotate(self, name: str, version: str, tags: Mapping[str, str]) -> None:
        self.tags.setdefault(version, {}).update(tags)


def make_bundle(folder: Path, content: str) -> Path:
    """Write a bundle whose model answers the column ``x``."""
    import pyarrow as pa

    (folder / MODEL).mkdir(parents=True)
    (folder / MODEL / "model.txt").write_text(content)
    rows = pa.table({"x": [0.1, 0.5, 0.9]})
    bundles.save_parity(folder, rows, np.array([0.1, 0.5, 0.9]))
    return folder
