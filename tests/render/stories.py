"""Rollouts played on the fake engine, for comments, issues and announcements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.engine import POLICY, Engine
from tests.render.samples import AUC, FLOOR, LATENCY, LOSS, RUN, reports, slices, verdict
from tidegate.core import story as stories
from tidegate.render.issue import TakenBack
from tidegate.render.report import Override, Report, RuleChange, Step, Unjudged

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.core.canary import Decision
    from tidegate.core.events import Phase
    from tidegate.core.model import VersionRef

RUN_URL = "https://github.com/acme/churn/actions/runs/17"
ARTIFACT = f"{RUN_URL}/artifacts/99"


@dataclass
class Play:
    """An engine with version 1 serving, and version 2 asked for."""

    engine: Engine
    candidate: VersionRef

    @classmethod
    def begin(cls, root: Path, *, bad: bool = False, policy: dict[str, Any] | None = None) -> Play:
        engine = Engine.make(root)
        engine.serving()
        engine.metrics.rates = {"1": (0.05, 0.0), "2": (0.2 if bad else 0.05, 0.0)}
        engine.metrics.requests = 600 if bad else 20_000
        candidate = engine.version(2)
        engine.request(candidate, policy or {**POLICY, "steps": ["5%", "25%"]})
        return cls(engine, candidate)

    def until(self, phase: Phase, *, step: int = 0, most: int = 120) -> Decision | None:
        """Make passes until the candidate's rollout is in a phase; return the newest decision."""
        for _ in range(most):
            done = self.engine.tick(1)
            rollout = stories.find(done.book.state, self.candidate.digest)
            assert rollout is not None
            if rollout.phase is phase and rollout.step >= step and rollout.applied:
                return done.wait.decision
        raise AssertionError(f"never {phase}")

    def report(self, **known: Any) -> Report:
        """Return the report of the candidate."""
        book = self.engine.ledger.read()
        rollout = stories.find(book.state, self.candidate.digest)
        story = None
        if rollout is not None:
            series = book.frozen(rollout.id)
            story = stories.tell(rollout, book.chain, series, book.state.tenures)
        facts: dict[str, Any] = {
            "model": "m", "verdict": verdict(FLOOR, AUC, LOSS, *slices(4), LATENCY), "run": RUN,
            "candidate": "2", "champion": "1", "story": story,
        }  # fmt: skip
        return Report(**{**facts, **known})

    def taken_back(self, **known: Any) -> TakenBack:
        """Return the candidate's end, as the issue tells it."""
        story = self.report().story
        assert story is not None
        facts: dict[str, Any] = {
            "model": "m", "story": story, "serving": self.engine.state.champion,
            "web": "https://github.com/acme/churn", "pull": 12,
            "ledger": "https://github.com/acme/churn/tree/tidegate-ledger/m",
        }  # fmt: skip
        return TakenBack(**{**facts, **known})


CHANGES = (
    RuleChange(key="gate.rules[roc_auc].margin", before="0.005", after="0.05"),
    RuleChange(key="gate.rules[log_loss]", before="margin: 1%", after=None),
    RuleChange(key="gate.confidence", before=None, after="0.9"),
)


def pull_requests() -> dict[str, Report]:
    """Return a report of every kind that a pull request can get."""
    known: dict[str, Any] = {
        "run_url": RUN_URL, "report_url": ARTIFACT, "commit": "3f2a9c1e" * 5, "seconds": 312.0,
        "cost": "11 runner minutes",
    }  # fmt: skip
    made = reports()

    def extended(name: str, **more: Any) -> Report:
        old = made[name]
        facts: dict[str, Any] = {
            key: getattr(old, key) for key in ("model", "verdict", "notes", "run", "champion")
        }
        return Report(**{**facts, **known, **more})

    return {
        "pass": extended("pass"),
        "reject": extended("reject"),
        "fork": extended("inconclusive", fork=True),
        "fork_alone": extended("first_release", fork=True),
        "own_rules": extended("pass", own_rules=CHANGES),
        "override": extended("reject", override=Override(by="ada", reason="a known bad holdout")),
        "unjudged": Report.without_verdict(
            model="flight-delays", unjudged=Unjudged(step=Step.TRAIN, exit_code=137),
            own_rules=CHANGES, **known,
        ),
    }  # fmt: skip
