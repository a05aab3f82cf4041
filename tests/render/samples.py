"""Reports of literal numbers, and what GitHub makes of a comment.

``python -m tests.render.samples`` writes the golden files anew; read the difference before you
commit it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path

import cmarkgfm
import numpy as np
import numpy.typing as npt
from cmarkgfm.cmark import Options

from tidegate.core.model import (
    Cause,
    Digests,
    Direction,
    Finding,
    Kind,
    Level,
    Margin,
    Outcome,
    Task,
    Verdict,
    worst,
)
from tidegate.core.pictures import Pictures, picture
from tidegate.core.table import Predictions
from tidegate.render.comment import comment
from tidegate.render.report import Report
from tidegate.run_record import RunRecord

GOLDEN = Path(__file__).parent / "golden"

AUC = Finding(
    metric="roc_auc",
    kind=Kind.MARGIN,
    level=Level.HEADLINE,
    outcome=Outcome.PASS,
    cause=Cause.SHOWN,
    n=28_456,
    direction=Direction.HIGHER,
    candidate=0.7421,
    champion=0.7389,
    difference=0.0032,
    lower=0.0011,
    upper=0.0053,
    margin=Margin(value=0.005),
)
FLOOR = replace(
    AUC, kind=Kind.FLOOR, margin=None, limit=0.7, lower=0.7365, upper=0.7477
)  # fmt: skip
ANCHOR = replace(
    AUC, kind=Kind.ANCHOR, champion=0.7301, difference=0.012, lower=0.0098, upper=0.0142
)
LOSS = replace(
    AUC,
    metric="log_loss",
    direction=Direction.LOWER,
    candidate=0.4711,
    champion=0.4752,
    difference=-0.0041,
    lower=-0.0063,
    upper=-0.0019,
    margin=Margin(value=0.01, relative=True),
)
LATENCY = replace(
    FLOOR,
    metric="latency_p95_ms",
    kind=Kind.CEILING,
    level=Level.SYSTEM,
    direction=Direction.LOWER,
    n=2000,
    candidate=12.4,
    champion=11.9,
    difference=0.5,
    lower=12.1,
    upper=12.8,
    limit=20.0,
)
NO_ANCHOR = Finding(
    metric="data",
    kind=Kind.CHECK,
    level=Level.DATA,
    outcome=Outcome.INCONCLUSIVE,
    cause=Cause.NO_ANCHOR,
    n=28_456,
    column="anchor",
    decides=False,
)
RUN = RunRecord(
    commit="3f2a9c1e" * 5,
    dirty=False,
    recipe="a1" * 32,
    config_digest="b2" * 32,
    rules_digest="c3" * 32,
    train_digest="d4" * 32,
    holdout_digest="e5" * 32,
    model_digest="c0ffee12" * 8,
    model_size_mb=1.8342,
    params={"max_iter": "200", "learning_rate": "0.08"},
    metrics={"train_auc": 0.81},
    environment={"python": "3.12.4"},
    started_at=1_700_000_000.0,
    duration=48.3,
)


def slices(count: int) -> list[Finding]:
    """Return findings of slices, every third one with too few rows to exclude harm."""
    found = []
    for i in range(count):
        quiet = i % 3 != 0
        found.append(
            replace(
                AUC,
                level=Level.SLICE,
                slice=f"airport=A{i:02d}",
                outcome=Outcome.PASS if quiet else Outcome.INCONCLUSIVE,
                cause=Cause.SHOWN if quiet else Cause.NOT_HARMED,
                n=400 + i,
                difference=0.001 * i,
                lower=0.001 * i - 0.02,
                upper=0.001 * i + 0.02,
                margin=Margin(value=0.03),
                p_harm=1.0,
                decides=False,
            )
        )
    return found


def verdict(*findings: Finding, first: bool = False) -> Verdict:
    """Return the verdict that these findings come to."""
    return Verdict(
        outcome=worst(f.outcome for f in findings if f.decides),
        findings=findings,
        confidence=0.95,
        n=28_456,
        digests=Digests(
            candidate="c0ffee12" * 8,
            champion=None if first else "badc0de5" * 8,
            holdout="e5" * 32,
            rules="c3" * 32,
            code="3f2a9c1e" * 5,
        ),
        first_release=first,
        holdout_uses=1 if first else 7,
    )


def reports() -> dict[str, Report]:
    """Return one report of each outcome."""
    harmed = replace(
        slices(1)[0],
        slice="airport=JFK",
        outcome=Outcome.REJECT,
        cause=Cause.HARMED,
        candidate=0.69,
        difference=-0.061,
        lower=-0.082,
        upper=-0.04,
        p_harm=0.00042,
        decides=True,
    )
    worse = replace(
        AUC, outcome=Outcome.REJECT, cause=Cause.VIOLATED, candidate=0.7209, difference=-0.018,
        lower=-0.0203, upper=-0.0157,
    )  # fmt: skip
    open_ = replace(
        AUC, outcome=Outcome.INCONCLUSIVE, cause=Cause.NOT_SHOWN, difference=-0.0012,
        candidate=0.7377, lower=-0.0071, upper=0.0047, rows_needed=61_000,
    )  # fmt: skip
    alone = replace(AUC, outcome=Outcome.INCONCLUSIVE, cause=Cause.NO_CHAMPION, champion=None,
                    difference=None, lower=None, upper=None, decides=False)  # fmt: skip
    unmeasured = replace(
        LATENCY, outcome=Outcome.ERROR, cause=Cause.MISSING_MEASUREMENT, candidate=None,
        champion=None, difference=None, lower=None, upper=None, n=0,
    )  # fmt: skip
    cases = {
        "pass": verdict(FLOOR, AUC, ANCHOR, LOSS, *slices(5), LATENCY),
        "reject": verdict(NO_ANCHOR, FLOOR, worse, LOSS, *slices(12), harmed, LATENCY),
        "inconclusive": verdict(FLOOR, open_, LOSS, LATENCY),
        "first_release": verdict(replace(FLOOR, champion=None, difference=None), alone, first=True),
        "error": verdict(FLOOR, AUC, unmeasured),
    }
    return {
        name: Report(
            model="flight-delays",
            verdict=judged,
            run=RUN,
            champion=None if judged.first_release else "4",
        )
        for name, judged in cases.items()
    }


def drawn(task: Task = Task.BINARY, name: str = "JFK", n: int = 600) -> Pictures:
    """Return pictures of random predictions; every name in them is ``name``."""
    rng = np.random.default_rng(0)
    truth = np.round(rng.random(n))

    def model(noise: float) -> npt.NDArray[np.float64]:
        ones = 1 / (1 + np.exp(-(2 * truth - 1 + noise * rng.normal(size=n))))
        return np.column_stack([1 - ones, ones]) if task is Task.MULTICLASS else ones

    table = Predictions(
        y_true=truth, candidate=model(1.0), champion=model(1.2),
        ids=np.array([f"{name}{i}" for i in range(n)], dtype=object),
        slices={name: ((name,), np.zeros(n, dtype=np.intp))},
    )  # fmt: skip
    found = picture(table, task, names=[name, name])
    assert found is not None
    return found


@dataclass
class Seen(HTMLParser):
    """What a browser would see: elements with attributes, text outside code, comments."""

    tags: list[tuple[str, tuple[tuple[str, str | None], ...]]] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    depth: int = 0

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(attrs)))
        if tag == "code":
            self.depth += 1
            self.codes.append("")

    def handle_endtag(self, tag: str) -> None:
        self.tags.append((f"/{tag}", ()))
        self.depth = max(self.depth - (tag == "code"), 0)

    def handle_data(self, data: str) -> None:
        if self.depth:
            self.codes[-1] += data
        else:
            self.outside.append(data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    @classmethod
    def page(cls, text: str) -> Seen:
        """Read HTML."""
        seen = cls()
        seen.feed(text)
        seen.close()
        return seen

    @classmethod
    def markdown(cls, text: str) -> Seen:
        """Read Markdown the way GitHub does, with raw HTML let through."""
        unsafe = Options.CMARK_OPT_UNSAFE
        return cls.page(cmarkgfm.github_flavored_markdown_to_html(text, options=unsafe))


if __name__ == "__main__":
    for name, report in reports().items():
        if name != "error":
            (GOLDEN / f"{name}.md").write_text(comment(report), encoding="utf-8")
