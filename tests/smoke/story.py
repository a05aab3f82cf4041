"""The story: a first release, a canary with traffic, its counts, the switch, the way back, the end."""

from __future__ import annotations

import io
import math
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.smoke.asking import UNLIKELY, Asker, chance
from tests.smoke.counting import MEASURE, Span, wait_for
from tests.smoke.models import Version, train
from tidegate.bundles import TOLERANCE, differs
from tidegate.errors import OutsideError
from tidegate.ports import TrainingJob

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.smoke.bill import Bill
    from tests.smoke.journal import Journal
    from tests.smoke.places import Place, Time
    from tidegate.core.endpoint import Endpoint
    from tidegate.perform import SafeTarget

SHARE = 0.1  # of the canary
TRAIN = """
import json, os, pathlib
from sklearn.linear_model import LogisticRegression
lines = pathlib.Path(os.environ["TIDEGATE_TRAIN"]).read_text().split()[1:]
rows = [[float(value) for value in line.split(",")] for line in lines]
model = LogisticRegression().fit([row[:2] for row in rows], [row[2] for row in rows])
print("coefficients", model.coef_.tolist())
path = pathlib.Path(os.environ["TIDEGATE_MODEL_DIR"], "model.json")
path.write_text(json.dumps({"coefficients": model.coef_.tolist()}))
"""


@dataclass(frozen=True)
class Options:
    """How long, how often, how much."""

    requests: int = 600
    rate: float = 10.0  # requests a second; 0: as fast as they are answered
    poll: float = 15.0  # seconds between two looks
    counting: float = 1200.0  # seconds after which counts must be complete
    dead_man: bool = False
    train: bool = False


@dataclass
class Story:
    """One run. Everything that costs is made after `begin`, and taken away by the place's sweep."""

    place: Place
    journal: Journal
    bill: Bill
    time: Time
    work: Path
    options: Options
    versions: dict[str, Version] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    target: SafeTarget = field(init=False)
    asker: Asker = field(init=False)
    generation: int = 0
    moved: float = 0.0  # seconds that the last change of weights took

    def play(self) -> None:
        """Raises OutsideError where the cloud, or what it does, is not as it must be."""
        step, options = self.journal.step, self.options
        self.asker = Asker(
            self.place, self.journal, self.bill, self.time, options.rate, self.versions
        )
        with step("two models are trained and answer offline"):
            self._train()
        self.target = self.place.target(self.work / "uploads")
        self._probe("nothing is there")
        if self.options.train:
            with step("a training job"):
                self._training_job()
        with step("first release: version 1 comes up"):
            self.bill.run(1 + self.place.beside)
            self._deploy("1")
        with step("parity check of version 1"):
            self._parity("1")
        with step("version 1 gets all traffic"):
            self._route({"1": 1.0})
            self.bill.run(1)
            self.asker.only("1", 20)
        self._probe("it serves")
        with step("canary: version 2 comes up without traffic"):
            self.bill.run(3 if self.place.overlap else 2 + self.place.beside)
            self._deploy("2")
            self.bill.run(2 + self.place.beside)
        with step("parity check of version 2"):
            self._parity("2")
            self.asker.only("1", 20, at_once=True)
            row = "weight-zero" if self.place.overlap else "split-absent"
            self.journal.check(
                row, "version 2 is up, and answered none of 20 requests", agrees=True
            )
        with step("the dead-man's switch is armed, version 2 gets a tenth"):
            self._arm(1800.0)
            self._probe("the switch is armed")
            self._route({"1": 1 - SHARE, "2": SHARE})
            self.bill.run(2)
        with step(f"{self.options.requests} requests through the endpoint"):
            span = self._requests()
        with step("the cloud's own counts"):
            self._counted(span)
        if self.options.dead_man:
            with step("nobody ticks: the dead-man's switch fires"):
                self._fires()
        with step("revert: version 1 gets all traffic, the switch is disarmed"):
            self._route({"1": 1.0})
            self.target.arm(None, {}, generation=self._next())
            self.asker.only("1", 20)
        with step("version 2 is removed"):
            self.bill.run(3 if self.place.overlap else 2)
            self.target.remove("2", generation=self._next())
            self._until("version 2 goes", lambda e: e.variant("2") is None)
            self.bill.run(1)
        with step("what is left of it is deleted"):
            self.target.tidy(generation=self._next())
            seen = self._until("it is tidied", lambda e: not e.leftovers)
            _see(seen.traffic() == {"1": 1.0}, f"version 1 has not all traffic: {seen.traffic()}")
            self.asker.only("1", 10)

    # --- steps --------------------------------------------------------------------------------

    def _train(self) -> None:
        for version in ("1", "2"):
            first = self.versions.get("1")
            self.versions[version] = train(version, self.work, first.rows if first else None)
            self.digests[version] = self.versions[version].deployment.digest

    def _training_job(self) -> None:
        folder = self.work / "training"
        folder.mkdir()
        code, rows = folder / "code.tar", folder / "rows.csv"
        with tarfile.open(code, "w") as archive:
            info = tarfile.TarInfo("train.py")
            info.size = len(TRAIN.encode())
            archive.addfile(info, io.BytesIO(TRAIN.encode()))
        lines = [f"{i % 7},{i % 5},{int(i % 7 > i % 5)}" for i in range(200)]
        rows.write_text("\n".join(["x,z,y", *lines]))
        compute, price = self.place.compute()
        job = TrainingJob(
            name=f"{self.place.name}-training", code=code, folder=".", checks=(),
            run="python3 train.py", train=rows, timeout=1800.0, environment={},
        )  # fmt: skip
        try:
            done = compute.train(job, folder / "out", self.journal.waiting)
        except BaseException:
            compute.cancel(job)
            raise
        cost = done.cost if done.cost is not None else done.billed_seconds / 3600 * price
        self.bill.add(cost)
        _see((done.folder / "model" / "model.json").is_file(), "the job's model did not come back")
        self.journal.facts["training"] = {
            "job": done.job, "machine": done.machine, "seconds": done.seconds,
            "billed_seconds": done.billed_seconds, "dollars": cost,
        }  # fmt: skip

    def _deploy(self, version: str) -> None:
        deployment = self.versions[version].deployment
        self.target.deploy(deployment, generation=self._next())
        if version == "2":
            self._probe("a version comes up")

        def ready(endpoint: Endpoint) -> bool:
            found = endpoint.variant(version)
            if found is not None and found.failed:
                raise OutsideError(f"Version {version} does not come up: {found.failed}")
            return found is not None and found.ready and endpoint.busy is None

        endpoint = self._until(f"version {version} comes up", ready)
        share = (endpoint.variant(version) or endpoint.variants[0]).share
        _see(
            share == 0, f"version {version} has {share:.0%} of the traffic before it was given any"
        )
        if version == "1":
            self._probe("it has had no split yet")

    def _parity(self, version: str) -> None:
        one = self.versions[version]
        worst = differs(one.offline, self.target.ask(version, one.rows))
        self.asker.last = self.time.now()
        _see(worst <= TOLERANCE, f"version {version} answers otherwise than offline, by {worst:g}")
        self.journal.facts.setdefault("parity", {})[version] = worst
        self.journal.say(f"    {one.rows.num_rows} rows, largest difference {worst:.2g}")

    def _route(self, traffic: Mapping[str, float]) -> None:
        self.target.route(traffic, generation=self._next())
        if len(traffic) > 1:
            self._probe("weights were asked for")
        begin = self.time.now()
        self._until(
            "weights move",
            lambda e: e.busy is None and _same(e.traffic(), traffic) and e.tripped is None,
        )
        self.moved = self.time.now() - begin

    def _arm(self, seconds: float) -> float:
        at = self.time.now() + seconds
        self.target.arm(at, {"1": 1.0}, generation=self._next())
        return at

    def _fires(self) -> None:
        at = self._arm(120.0)
        until = at + 900
        seen = self._until(
            "the switch is waited for",
            lambda e: e.tripped is not None and e.busy is None,
            patience=until - self.time.now(),
        )
        now = self.time.now()
        _see(_same(seen.traffic(), {"1": 1.0}), f"it fired, and traffic is {seen.traffic()}")
        slack = self.moved + 2 * self.options.poll
        self._probe("the switch has fired", at=at, seen=now, slack=slack)
        self.asker.only("1", 20)
        self.journal.facts["dead_man"] = {"seconds_late": round(now - at, 1)}

    def _requests(self) -> Span:
        """Send the canary's requests, in minutes of their own."""
        begin = math.ceil((self.asker.last + 60) / 60) * 60
        while (rest := begin + 5 - self.time.now()) > 0:  # a clock may be some seconds wrong
            self.journal.waiting("a quiet minute, so that the counts are of these requests alone")
            self.time.sleep(min(rest, self.options.poll))
        sent = self.asker.send(self.options.requests)
        self.journal.facts["answered"] = dict(sent)
        luck = chance(sent["2"], sent.total(), SHARE)
        seen = (
            f"version 2 answered {sent['2']} of {sent.total()} ({sent['2'] / sent.total():.1%}); "
            f"as far off by chance: {luck:.2g}"
        )
        self.journal.say(f"    {seen}")
        row = "routing" if self.place.overlap else "random-split"
        self.journal.check(row, seen, agrees=luck >= UNLIKELY)
        _see(luck >= UNLIKELY, f"the split is not 90 to 10: {seen}")
        end = math.floor(self.asker.last / 60) + 2 + self.place.blur
        return Span(begin // 60, end, sent, self.asker.failed)

    def _counted(self, span: Span) -> None:
        """See that the cloud's own counts are those of the answers."""
        last, most = self.asker.last, self.options.counting
        found = wait_for(
            self.place.counts(self.digests),
            span,
            self._pause,
            lambda: self.time.now() > last + most,
        )
        told = self.time.now() - last
        whole = f"complete {told:.0f} s after the last request; {self.place.late:.0f} s are assumed"
        self.journal.say(
            f"    {dict(found.requests)}, {found.errors} errors, {found.slow} slow; {whole}"
        )
        self.journal.facts["counted"] = {
            **found.requests, "errors": found.errors, "slow": found.slow, "seconds": round(told)
        }  # fmt: skip
        late, latency = (
            ("metrics-late", "trimmed-count") if self.place.overlap
            else ("metric-delay", "latency-distribution")
        )  # fmt: skip
        self.journal.check(late, whole, agrees=told <= self.place.late + 2 * self.options.poll)
        seen = f"{found.slow} answers of more than {MEASURE.slower_than:g} s (None: not told)"
        self.journal.check(latency, seen, agrees=found.slow is not None)
        _see(
            found.errors <= span.failed,
            f"{found.errors} errors are counted, {span.failed} were seen",
        )
        self._probe("counts are there", since=(span.first - 1) * 60, until=span.first * 60)

    # --- waiting ------------------------------------------------------------------------------

    def _until(
        self, what: str, true: Callable[[Endpoint], bool], *, patience: float | None = None
    ) -> Endpoint:
        """Read the endpoint until something is true of it.

        Raises:
            OutsideError: it takes longer than this endpoint may, is broken, or cannot be read.
        """
        begin, failed = self.time.now(), 0
        while True:
            try:
                endpoint = self.target.read()
            except OutsideError as error:
                failed += 1
                if failed > 5:
                    raise
                self._pause(f"{what}: {error}")
                continue
            failed = 0
            if endpoint.broken:
                raise OutsideError(f"The endpoint is broken: {endpoint.broken}")
            if true(endpoint):
                return endpoint
            waited = self.time.now() - begin
            if waited > (endpoint.patience if patience is None else patience):
                raise OutsideError(f"{what}: not after {waited:.0f} s ({endpoint})")
            self._pause(f"{what}: {endpoint.busy or 'not yet'}")

    def _pause(self, why: str) -> None:
        self.bill.check()
        self.journal.waiting(why)
        self.time.sleep(self.options.poll)

    def _probe(self, moment: str, **known: Any) -> None:
        self.place.probe(moment, self.journal, known)

    def _next(self) -> int:
        self.generation += 1
        return self.generation


def _see(true: bool, otherwise: str) -> None:
    if not true:
        raise OutsideError(otherwise, remedy="See the lines above; the run ends here.")


def _same(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    return all(abs(one.get(key, 0.0) - other.get(key, 0.0)) < 1e-6 for key in {*one, *other})
