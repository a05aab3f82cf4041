"""A rule explained: the words to the letter, and numbers that are true when they are tried."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.render.samples import ANCHOR, AUC, FLOOR, LATENCY, LOSS, NO_ANCHOR, reports, verdict
from tidegate.cli import main
from tidegate.core.config import Gate, Rule
from tidegate.core.gate import judge
from tidegate.core.model import Cause, Finding, Kind, Level, Margin, Outcome, Task
from tidegate.core.pictures import picture
from tidegate.core.table import Predictions
from tidegate.errors import ConfigError, Exit
from tidegate.render.explain import Explanation, Known, document, explain, select, text

if TYPE_CHECKING:
    from pathlib import Path

_BINARY = Known(task=Task.BINARY)


def _one(finding: Finding, known: Known = _BINARY) -> Explanation:
    (found,) = explain(verdict(finding), "1", known)
    return found


def _table(n: int = 3000, noise: float = 1.05) -> Predictions:
    rng = np.random.default_rng(0)
    truth = (rng.random(n) < 0.3).astype(np.float64)
    candidate, champion = (
        1 / (1 + np.exp(-(2 * truth - 1.5 + each * rng.normal(size=n)))) for each in (noise, 1.0)
    )
    return Predictions(y_true=truth, candidate=candidate, champion=champion, ids=np.arange(n))


def test_a_margin_in_plain_words() -> None:
    undecided = replace(
        AUC, outcome=Outcome.INCONCLUSIVE, cause=Cause.NOT_SHOWN, difference=-0.0012,
        candidate=0.7377, lower=-0.0071, upper=0.0047, rows_needed=61_000,
    )  # fmt: skip
    table = _table()
    found = _one(undecided, Known(task=Task.BINARY, pictures=picture(table, Task.BINARY)))
    assert text([found]).splitlines() == [
        "1. roc_auc no more than 0.005 below the champion: ? inconclusive",
        "   tested   Is the candidate's roc_auc worse than the champion's by less than 0.005? Higher is "
        "better. To pass, the 95% lower bound of the difference has to show it.",
        "   on       28,456 holdout rows; 2,106 of class 0, 894 of class 1; holdout e5e5e5e5e5e5; decision 7 "
        "of this holdout; the 95% confidence is each decision's own, not that of all together.",
        "   how      Both models answered the same rows, so that the bounds are of the paired difference. "
        "DeLong's variance of the area under the curve, Student's quantile (one-sided bounds, each at 95%).",
        "   result   roc_auc: 0.7377 against the champion's 0.7389, not shown to keep the margin (difference "
        "-0.0012, 95% bounds -0.0071 to +0.0047, margin 0.005); about 61,000 rows would settle it.",
        "   change   Rows: about 61,000 such rows would settle it (there are 28,456), if the truth is what "
        "was seen.",
        "            Margin: it would pass with any margin above about 0.0071 (it is 0.005); choose it for what "
        "a loss costs, not to pass.",
        "            Value: it would pass at about 0.7398 (it is 0.7377), with bounds as far from the value as now.",
    ]


@pytest.mark.parametrize(
    ("finding", "margin", "value"),
    [
        pytest.param(AUC, 0.0, 0.7389 - 0.005 + 0.0021, id="passes even with margin 0"),
        pytest.param(ANCHOR, 0.0, 0.7301 - 0.005 + 0.0022, id="anchor"),
        pytest.param(LOSS, 0.0, 0.4752 * 1.01 - 0.0022, id="less is better, relative"),
        pytest.param(FLOOR, None, 0.7 + 0.0056, id="floor"),
        pytest.param(LATENCY, None, 20.0 - 0.4, id="ceiling"),
        pytest.param(
            replace(AUC, kind=Kind.IMPROVES), None, 0.7389 + 0.005 + 0.0021, id="improves"
        ),
        pytest.param(NO_ANCHOR, None, None, id="no numbers"),
        pytest.param(replace(AUC, lower=None), None, None, id="no bound"),
    ],
)
def test_what_would_pass(finding: Finding, margin: float | None, value: float | None) -> None:
    found = _one(finding)
    assert found.margin_that_passes == (None if margin is None else pytest.approx(margin))
    assert found.value_that_passes == (None if value is None else pytest.approx(value))


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss", "accuracy"])
@pytest.mark.parametrize("relative", [False, True])
def test_the_margin_that_is_named_passes_and_a_smaller_one_does_not(
    metric: str, relative: bool
) -> None:
    table = _table(noise=1.15)

    def tried(size: float) -> Finding:
        rule = Rule(metric=metric, margin=Margin(value=size, relative=relative))
        judged = judge(table, Gate(rules=(rule,)), task=Task.BINARY)
        (finding,) = (f for f in judged.findings if f.kind is Kind.MARGIN)
        return finding

    least = _one(tried(0.001)).margin_that_passes
    assert least is not None
    spare = 0.1 if relative else 1e-6  # a relative one is told as "about"
    assert tried(least * (1 + spare)).outcome is Outcome.PASS
    assert tried(least * (1 - spare)).outcome is not Outcome.PASS


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("2", [2]),
        ("roc_auc", [2, 3]),
        ("log_loss", [4]),
        ("data", [1]),
        ("roc_auc@airport=JFK", [17]),
    ],
)
def test_a_rule_is_found_by_number_metric_or_slice(name: str, numbers: list[int]) -> None:
    judged = reports()["reject"].verdict
    assert [n for n, _ in select(judged, name)] == numbers
    json.dumps(document(judged, explain(judged, name, _BINARY)), allow_nan=False)


def test_an_unknown_rule_is_an_error_that_lists_what_there_is() -> None:
    with pytest.raises(
        ConfigError, match="no rule 'roc_acu' in this verdict; did you mean 'roc_auc'"
    ) as found:
        select(verdict(AUC, LATENCY), "roc_acu")
    assert found.value.remedy == "A number from 1 to 2, or one of: roc_auc, latency_p95_ms."
    for name in ("0", "3", "-1", "", "roc_auc@", "\x1b[31m"):
        with pytest.raises(ConfigError, match="no rule"):
            select(verdict(AUC, LATENCY), name)


@pytest.mark.parametrize("kind", Kind)
def test_every_finding_can_be_explained(kind: Kind) -> None:
    pairs = [*product([Level.HEADLINE], Outcome, Cause), *product(Level, Outcome, [Cause.SHOWN])]
    for level, outcome, cause in pairs:
        bare = Finding(metric="m", kind=kind, level=level, outcome=outcome, cause=cause, n=1)
        for finding in (bare, replace(AUC, kind=kind, level=level, outcome=outcome, cause=cause)):
            found = _one(finding, Known())
            assert found.change
            assert "None" not in text([found])


def test_hostile_names_do_not_reach_the_terminal_as_codes() -> None:
    slice_ = replace(AUC, level=Level.SLICE, slice="g=\x1b[31m\u202e\nred", metric="a\x07")
    said = text([_one(slice_)])
    assert not {c for c in said if unicodedata.category(c).startswith("C")} - {"\n"}


# --- through the command line ---------------------------------------------------------------


@pytest.fixture
def predictions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    table = _table()
    columns = {"id": table.ids, "y_true": table.y_true, "candidate": table.candidate,
               "champion": table.champion}  # fmt: skip
    pq.write_table(pa.table(columns), "p.parquet")
    return tmp_path / "p.parquet"


def test_a_ready_table_is_explained_with_its_verdicts_exit_code(
    predictions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["gate", "--predictions", str(predictions), "--explain", "roc_auc", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == Exit.INCONCLUSIVE  # never 0: in a workflow it is a gate, too
    assert found["outcome"] == "inconclusive"
    assert [each["number"] for each in found["explained"]] == [2]
    assert found["explained"][0]["on"] == "3,000 holdout rows; 2,106 of class 0, 894 of class 1."
    assert main(["gate", "--predictions", str(predictions), "--explain", "nothing"]) == Exit.USAGE


def test_a_ready_table_has_a_page_of_its_own(predictions: Path) -> None:
    page = predictions.parent / "page.html"
    assert main(["gate", "--predictions", str(predictions), "--html", str(page)]) == 5
    written = page.read_text(encoding="utf-8")
    assert "? inconclusive" in written
    assert "<h3>ROC curve</h3>" in written
    assert "<h2>Worst rows</h2>" in written
    missing = str(predictions / "no" / "page.html")
    assert main(["gate", "--predictions", str(predictions), "--html", missing]) == Exit.OUTSIDE
