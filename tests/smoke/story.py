"""The story: a first release, a canary with traffic, its counts, the switch, the way back, the end."""

from __future__ import annotations

import io
import math
import tarfile
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.smoke.models import Version, train
from tidegate.bundles import TOLERANCE, differs
from tidegate.core.model import Task
from tidegate.errors import NotJudgedError, OutsideError
from tidegate.ports import Measure, TrainingJob

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.smoke.bill import Bill
    from tests.smoke.journal import Journal
    from tests.smoke.places import Place, Time
    from tidegate.core.endpoint import Endpoint
    from tidegate.perform import SafeTarget

SHARE = 0.1  # of the canary
UNLIKELY = 1e-6  # a split that a fair coin would show less often is none
MEASURE = Measure(
    interval=60.0,
    slower_than=2.0,
    task=Task.BINARY,
    clip=None,
    label_source=None,
    label_every=600.0,
)
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
    generation: int = 0
    last: float = 0.0  # when the last request was sent

    def play(self) -> None:
        """Raises OutsideError where the cloud, or what it does, is not as it must be."""
        step = self.journal.step
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
            self._only("1", 20)
        self._probe("it serves")
        with step("canary: version 2 comes up without traffic"):
            self.bill.run(3 if self.place.overlap else 2 + self.place.beside)
            self._deploy("2")
            self.bill.run(2 + self.place.beside)
        with step("parity check of version 2"):
            self._parity("2")
            self._only("1", 20)
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
            first, end, sent = self._requests()
        with step("the cloud's own counts"):
            self._counted(first, end, sent)
        if self.options.dead_man:
            with step("nobody ticks: the dead-man's switch fires"):
                self._fires()
        with step("revert: version 1 gets all traffic, the switch is disarmed"):
            self._route({"1": 1.0})
            self.target.arm(None, {}, generation=self._next())
            self._only("1", 20)
        with step("version 2 is removed"):
            self.bill.run(3 if self.place.overlap else 2)
            self.target.remove("2", generation=self._next())
            self._until("version 2 goes", lambda e: e.variant("2") is None)
            self.bill.run(1)
        with step("what is left of it is deleted"):
            self.target.tidy(generation=self._next())
            seen = self._until("it is tidied", lambda e: not e.leftovers)
            _see(seen.traffic() == {"1": 1.0}, f"version 1 has not all traffic: {seen.traffic()}")
            self._only("1", 10)

    # --- steps --------------------------------------------------------------------------------

    def _train(self) -> None:
        for version in ("1", "2"):
            self.versions[version] = train(version, self.work)
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
        self.last = self.time.now()
        _see(worst <= TOLERANCE, f"version {version} answers otherwise than offline, by {worst:g}")
        self.journal.facts.setdefault("parity", {})[version] = worst
        self.journal.say(f"    {one.rows.num_rows} rows, largest difference {worst:.2g}")

    def _route(self, traffic: Mapping[str, float]) -> None:
        self.target.route(traffic, generation=self._next())
        if len(traffic) > 1:
            self._probe("weights were asked for")
        self._until(
            "weights move",
            lambda e: e.busy is None and _same(e.traffic(), traffic) and e.tripped is None,
        )

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
        self._probe("the switch has fired", at=at, seen=now)
        self._only("1", 20)
        self.journal.facts["dead_man"] = {"seconds_late": round(now - at, 1)}

    def _only(self, version: str, number: int) -> None:
        """Every request is answered by this version, as it answered offline."""
        seen = self._send(number)
        _see(
            set(seen) == {version},
            f"only version {version} has traffic, and answered: {dict(seen)}",
        )

    def _send(self, number: int) -> Counter[str]:
        seen: Counter[str] = Counter()
        begin = self.time.now()
        for index in range(number):
            row = index % self.versions["1"].rows.num_rows
            table = self.versions["1"].rows.slice(row, 1).to_pylist()[0]
            answer = self.place.send(table, self.digests)
            self.last = self.time.now()
            offline = (
                self.versions[answer.version].offline if answer.version in self.versions else None
            )
            told = np.array([answer.prediction])
            own = self._offline(answer.version, row) if offline is not None else told
            _see(
                differs(own, told) <= TOLERANCE,
                f"version {answer.version} answered {answer.prediction} instead of {own[0]}",
            )
            seen[answer.version] += 1
            if self.options.rate:
                due = begin + (index + 1) / self.options.rate
                self.time.sleep(max(0.0, due - self.time.now()))
            if index % 50 == 49:
                self.bill.check()
                self.journal.waiting(f"{index + 1} of {number}: {dict(seen)}")
        return seen

    def _offline(self, version: str, row: int) -> Any:
        """Return what a version answers offline to a row of version 1."""
        if not hasattr(self, "_scored"):
            self._scored: dict[str, Any] = {}
        if version not in self._scored:
            from tidegate.endpoint.scorer import load

            model = self.versions[version].deployment.model_dir
            self._scored[version] = load(model, Task.BINARY).score(self.versions["1"].rows)
        return self._scored[version][row : row + 1]

    def _requests(self) -> tuple[int, int, Counter[str]]:
        """Send the canary's requests in minutes of their own: (first, end, who answered)."""
        begin = math.ceil((self.last + 60) / 60) * 60
        while (rest := begin + 0.5 - self.time.now()) > 0:
            self.journal.waiting("a quiet minute, so that the counts are of these requests alone")
            self.time.sleep(min(rest, self.options.poll))
        sent = self._send(self.options.requests)
        _see(set(sent) <= {"1", "2"}, f"nobody knows who answered: {dict(sent)}")
        self.journal.facts["answered"] = dict(sent)
        share, total = sent["2"] / sent.total(), sent.total()
        chance = _chance(sent["2"], total)
        seen = f"version 2 answered {sent['2']} of {total} ({share:.1%}); as far off by chance: {chance:.2g}"
        self.journal.say(f"    {seen}")
        row = "routing" if self.place.overlap else "random-split"
        self.journal.check(row, seen, agrees=chance >= UNLIKELY)
        _see(chance >= UNLIKELY, f"the split is not 90 to 10: {seen}")
        return begin // 60, math.floor(self.last / 60) + 1 + self.place.blur, sent

    def _counted(self, first: int, end: int, sent: Counter[str]) -> None:
        """Wait until the cloud's own counts are those of the answers."""
        counts, deadline = self.place.counts(self.digests), self.last + self.options.counting
        found: dict[str, int] = {}
        told, slow, errors = 0.0, 0, 0
        while True:
            try:
                arms = counts.counts(("1", "2"), first, end, MEASURE)
            except NotJudgedError:
                raise
            except OutsideError as error:
                arms = {}
                self.journal.waiting(str(error))
            found = {
                version: sum(arm.requests for (_, one), arm in arms.items() if one == version)
                for version in sent
            }
            measured = [arm.slow for arm in arms.values()]
            if found == dict(sent) and None not in measured:
                told, slow = self.time.now() - self.last, sum(one or 0 for one in measured)
                errors = sum(arm.errors for arm in arms.values())
                break
            if self.time.now() > deadline:
                raise OutsideError(
                    f"After {self.options.counting:.0f} s the cloud counts {found}, and "
                    f"{dict(sent)} were answered; slow answers: {measured}."
                )
            self._pause(f"counted so far: {found} of {dict(sent)}")
        whole = (
            f"complete {told:.0f} s after the last request ({self.place.late:.0f} s are assumed)"
        )
        self.journal.say(f"    {found} requests, {errors} errors, {slow} slow; {whole}")
        self.journal.facts["counted"] = {
            **found,
            "errors": errors,
            "slow": slow,
            "seconds": round(told),
        }
        late, latency = (
            ("metrics-late", "trimmed-count") if self.place.overlap
            else ("metric-delay", "latency-distribution")
        )  # fmt: skip
        self.journal.check(late, whole, agrees=told <= self.place.late + 2 * self.options.poll)
        seen = f"{slow} of {sum(found.values())} answers took longer than {MEASURE.slower_than:g} s"
        self.journal.check(latency, seen, agrees=0 <= slow <= sum(found.values()))
        _see(errors == 0, f"{errors} errors are counted, and every request was answered")
        self._probe("counts are there", since=(first - 1) * 60, until=first * 60)

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


def _chance(number: int, total: int) -> float:
    """Return the chance that a split of `SHARE` is at least as far off: binomial, two-sided."""
    lower = sum(_binomial(k, total) for k in range(number + 1))
    upper = sum(_binomial(k, total) for k in range(number, total + 1))
    return min(1.0, 2 * min(lower, upper))


def _binomial(k: int, n: int) -> float:
    log = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(log + k * math.log(SHARE) + (n - k) * math.log(1 - SHARE))
