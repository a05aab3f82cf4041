"""The table of docs/gate-metrics.md, from the catalogue; ``python -m tests.core.metrics_page`` writes it."""

from __future__ import annotations

from pathlib import Path

from tidegate.core.catalog import CATALOG, Entry
from tidegate.core.metrics.formulas import FORMULAS
from tidegate.core.metrics.kinds import Cells, Kind, Quantile, Queried, Ranked, Smooth
from tidegate.core.metrics.table import find
from tidegate.core.model import Task

PAGE = Path(__file__).parents[2] / "docs" / "gate-metrics.md"
_B, _M, _R, _Q, _G = Task.BINARY, Task.MULTICLASS, Task.REGRESSION, Task.RANKING, Task.GENERIC
_CONFUSION = "Sokolova and Lapalme 2009"
_MANNING = "Manning, Raghavan and Schütze 2008"

# What it is, and the source of the definition; the formulas' docstrings have the whole citations.
WORDS: dict[tuple[str, Task], tuple[str, str]] = {
    ("roc_auc", _B): ("area under the ROC curve, ties half", "DeLong et al. 1988"),
    ("average_precision", _B): (
        "area under precision and recall, by steps",
        "Boyd et al. 2013; scikit-learn",
    ),
    ("ks", _B): (
        "largest excess of class 0 among the lower scores",
        "Raghavachari 1973",
    ),
    ("recall_at_precision", _B): (
        "largest recall of a threshold with that precision",
        "scikit-learn's `precision_recall_curve`",
    ),
    ("recall_at_top", _B): (
        "recall when that share of the rows is taken, highest scores first",
        "Beach and Davidson 1983",
    ),
    ("log_loss", _B): ("mean negative log-likelihood", "Good 1952"),
    ("log_loss", _M): ("mean negative log-likelihood", "Good 1952"),
    ("brier", _B): ("mean squared distance of probability and truth", "Brier 1950"),
    ("brier", _M): ("the same, summed over the classes", "Brier 1950"),
    ("ece", _B): (
        "expected calibration error: 15 bins of equal width",
        "Naeini et al. 2015; Guo et al. 2017",
    ),
    ("brier_reliability", _B): (
        "squared calibration error: the same bins",
        "Murphy 1973",
    ),
    ("accuracy", _B): ("share of rows on the right side of 0.5", "scikit-learn"),
    ("accuracy", _M): ("share of rows whose most probable class is true", "scikit-learn"),
    ("balanced_accuracy", _B): ("mean recall of the two classes", "Brodersen et al. 2010"),
    ("balanced_accuracy", _M): ("mean recall of the classes", "Brodersen et al. 2010"),
    ("precision", _B): ("share of true ones among the decided, at 0.5", _CONFUSION),
    ("recall", _B): ("share of the class 1 that is found, at 0.5", _CONFUSION),
    ("specificity", _B): ("share of the class 0 that is left alone, at 0.5", _CONFUSION),
    ("f1", _B): ("harmonic mean of precision and recall, at 0.5", "van Rijsbergen 1979"),
    ("fbeta", _B): ("the same, recall counting BETA times as much", "van Rijsbergen 1979"),
    ("macro_f1", _M): ("mean F1 of the classes", "Sokolova and Lapalme 2009; Takahashi et al. 2022"),
    ("weighted_f1", _M): ("mean F1 of the classes, by their rows", "scikit-learn"),
    ("micro_f1", _M): ("F1 of all decisions together: accuracy", _CONFUSION),
    ("mcc", _B): ("correlation of truth and decision, at 0.5", "Matthews 1975"),
    ("mcc", _M): ("correlation of truth and decision", "Gorodkin 2004"),
    ("top_k_accuracy", _M): (
        "share of rows whose true class is among the K most probable",
        "Russakovsky et al. 2015",
    ),
    ("roc_auc_ovr", _M): ("mean over the classes of the AUC against the rest", "Fawcett 2006"),
    ("mae", _R): ("mean absolute error", "scikit-learn"),
    ("mse", _R): ("mean squared error", "scikit-learn"),
    ("rmse", _R): ("root of the mean squared error", "scikit-learn"),
    ("medae", _R): ("median absolute error", "scikit-learn"),
    ("mape", _R): ("mean absolute error as a fraction of the truth; no truth of 0", "Hyndman and Koehler 2006"),
    ("smape", _R): ("the same, of the mean of truth and prediction", "Makridakis 1993"),
    ("wape", _R): ("sum of the absolute errors over the sum of the truth", "Kolassa and Schütz 2007"),
    ("r2", _R): ("share of the truth's variance that is explained", "scikit-learn"),
    ("pinball", _R): ("mean pinball loss of a predicted quantile", "Koenker and Bassett 1978"),
    ("abs_bias", _R): ("size of the mean error", "Schuirmann 1987"),
    ("coverage", _R): (
        "share of rows whose truth is between lower and upper (predictions of shape (n, 3))",
        "Christoffersen 1998",
    ),
    ("ndcg", _Q): ("discounted cumulative gain of the first K over the best possible", "Järvelin and Kekäläinen 2002"),
    ("map", _Q): ("mean average precision of the first K", _MANNING),
    ("mrr", _Q): ("mean of 1 / rank of the first relevant row", "Voorhees 1999"),
    ("recall", _Q): ("share of the relevant rows among the first K", _MANNING),
    ("mean", _G): ("mean of the rows' scores", "–"),
    ("pass_rate", _G): ("share of marks that are 1", "–"),
    ("pass_at", _G): ("pass@k: chance that one of K repeats passes", "Chen et al. 2021"),
    ("pass_all", _G): ("pass^k: chance that K repeats all pass", "Yao et al. 2024"),
}  # fmt: skip


def _bound(name: str, kind: Kind) -> str:
    """Say how a metric's bounds are made."""
    match kind:
        case Smooth() | Cells() if kind.marks and name not in {"brier", "mean"}:
            return "proportion: Agresti-Coull, pairs by a likelihood ratio"
        case Smooth() if kind.marks:
            return "delta method; a proportion where all rows count 0 or 1"
        case Smooth():
            return "delta method"
        case Cells():
            return "delta method on the confusion matrix"
        case Ranked():
            return "influence of the ranks"
        case Quantile():
            return "influence of the quantile, its density by a difference quotient"
        case Queried():
            return "mean over the queries"
        case _:
            raise AssertionError(f"{name}: how are its bounds made?")


def _range(entry: Entry) -> str:
    if entry.low is None:
        return "any" if entry.high is None else f"up to {entry.high:g}"
    return f"from {entry.low:g}" if entry.high is None else f"{entry.low:g} to {entry.high:g}"


def _limits(entry: Entry) -> str:
    allowed = [f"`{key}`" for key in ("at_least", "at_most", "margin") if key in entry.limits]
    return ", ".join(allowed)


def _least(name: str, task: Task) -> str:
    formula = FORMULAS[name, task]
    words = {Task.RANKING: "queries"}.get(task, "rows")
    if name in {"pass_at", "pass_all"}:
        words = "items"
    of_class = f", {formula.min_per_class} of a class" if formula.min_per_class else ""
    return f"{formula.min_rows} {words}{of_class}"


def table() -> str:
    """Return the table: a row for every metric and task, in the catalogue's order within a task."""
    lines = [
        "| Metric | What it is | Better | Range | Limits | Bounds | Decides from | Source |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for task in Task:
        lines.append(f"| **{task}** | | | | | | | |")
        for entry in (e for e in CATALOG if task in e.tasks):
            what, source = WORDS[entry.base, task]
            kind = find(entry.example, task).kind
            better = "inside" if entry.target else str(entry.direction)
            lines.append(
                f"| `{entry.example}` | {what} | {better} | {_range(entry)} | {_limits(entry)} "
                f"| {_bound(entry.base, kind)} | {_least(entry.base, task)} | {source} |"
            )
    return "\n".join(lines)


def page(text: str) -> str:
    """Return the page with its table made anew."""
    before, _, rest = text.partition("<!-- table -->\n")
    _, _, after = rest.partition("\n<!-- end of table -->")
    return f"{before}<!-- table -->\n{table()}\n<!-- end of table -->{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
