"""From schema-checked data to :class:`tidegate.core.config.Gate`, with the rules between its keys. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tidegate.build_metrics import limit_problems, metric_of
from tidegate.build_own import own_metric, own_metrics
from tidegate.core.catalog import AT_LEAST, AT_MOST, IMPROVES_BY, MARGIN, PROPORTIONS, is_system
from tidegate.core.config import Adaptivity, Checks, Exact, GapRule, Gate, Rule, SliceRule
from tidegate.core.model import Margin
from tidegate.problems import Problem, show
from tidegate.units import fraction

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tidegate.core.catalog import Entry
    from tidegate.core.model import Task
    from tidegate.yaml12 import Path

_LIMITS = (AT_LEAST, AT_MOST, MARGIN, IMPROVES_BY)


def build_gate(data: Mapping[str, Any], task: Task) -> tuple[Gate, list[Problem]]:
    """Build the gate's rules; with problems, an empty gate that judges nothing."""
    own, problems = own_metrics(data.get("metrics", ()), task)
    seen: set[tuple[str, float | None]] = set()
    for index, rule in enumerate(data["rules"]):
        path = ("gate", "rules", index)
        entry, found = metric_of(rule["metric"], task, (*path, "metric"), own)
        problems += found
        if entry is None:
            continue
        problems += _rule_problems(rule, entry, path)
        if (entry.base, entry.value) in seen:
            problems.append(
                Problem(
                    path=(*path, "metric"),
                    got=f"a second rule for {rule['metric']}",
                    expected="one rule per metric, with all its limits",
                )
            )
        seen.add((entry.base, entry.value))
    for index, rule in enumerate(data.get("slices", ())):
        problems += _group_problems(rule, task, ("gate", "slices", index), own)
    for index, rule in enumerate(data.get("gaps", ())):
        problems += _group_problems(rule, task, ("gate", "gaps", index), own)
        problems += _gap_problems(rule, ("gate", "gaps", index))
    problems += _guarantee_problems(data)
    if problems:
        return Gate(rules=()), problems
    gate = Gate(
        rules=tuple(_rule(rule) for rule in data["rules"]),
        slices=tuple(
            SliceRule(**{**s, "by": tuple(s["by"]), "margin": _margin(s["margin"])})
            for s in data.get("slices", ())
        ),
        gaps=tuple(GapRule(**{**g, "by": tuple(g["by"])}) for g in data.get("gaps", ())),
        confidence=data.get("confidence", 0.95),
        budget=data.get("budget"),
        exact=_exact(data["exact"]) if "exact" in data else None,
        checks=Checks(**data.get("checks", {})),
        own=tuple(own_metric(metric) for metric in data.get("metrics", ())),
    )
    return gate, []


def gate_warnings(gate: Gate) -> Iterator[Problem]:
    """Yield what is allowed but will surprise its owner."""
    for index, rule in enumerate(gate.rules):
        if rule.margin is not None and rule.margin.value == 0:
            yield Problem(
                path=("gate", "rules", index, MARGIN),
                got="0",
                expected="a margin above 0, because a model that is just as good cannot be shown to "
                "keep it",
                fix="improves_by: 0 demands a better one",
            )
    if not any(rule.compares for rule in gate.rules):
        yield Problem(
            path=("gate", "rules"),
            got="absolute limits only",
            expected="at least one margin, because nothing here compares the candidate with what serves",
            fix="add margin: to a rule",
        )


def _rule(data: Mapping[str, Any]) -> Rule:
    margins = {key: _margin(data.get(key)) for key in (MARGIN, IMPROVES_BY)}
    return Rule(**{**data, **margins})


def _margin(value: float | str | None) -> Margin | None:
    if value is None:
        return None
    if isinstance(value, str):
        return Margin(value=fraction(value), relative=True)
    return Margin(value=float(value))


def _exact(data: Mapping[str, Any]) -> Exact:
    return Exact(
        decisions=data["decisions"],
        disagreement=fraction(data.get("disagreement", "10%")),
        adaptivity=Adaptivity(data.get("adaptivity", Adaptivity.FULL)),
    )


def _rule_problems(rule: Mapping[str, Any], entry: Entry, path: Path) -> list[Problem]:
    if not any(key in rule for key in _LIMITS):
        return [
            Problem(
                path=path,
                got=f"a rule for {entry.name} without a limit",
                expected="at_least, at_most, margin or improves_by",
            )
        ]
    problems = limit_problems(rule, entry, path)
    if MARGIN in rule and IMPROVES_BY in rule:
        problems.append(
            Problem(
                path=(*path, IMPROVES_BY),
                at_key=True,
                got="improves_by beside margin",
                expected="one of the two: a model cannot be allowed to be worse and have to be better",
            )
        )
    if "negligible" in rule and not (entry.system and MARGIN in rule):
        problems.append(
            Problem(
                path=(*path, "negligible"),
                at_key=True,
                got=f"negligible in a rule for {entry.name}",
                expected="it beside the margin of a measurement, such as latency_p95_ms",
            )
        )
    return problems


def _group_problems(
    rule: Mapping[str, Any], task: Task, path: Path, own: Mapping[str, Entry]
) -> list[Problem]:
    entry, problems = metric_of(rule["metric"], task, (*path, "metric"), own)
    if entry is not None and entry.system:
        problems.append(
            Problem(
                path=(*path, "metric"),
                got=show(rule["metric"]),
                expected="a metric of predictions; this one has no rows to slice",
            )
        )
    elif entry is not None and path[1] == "slices":
        problems += limit_problems(rule, entry, path)
    elif entry is not None and entry.ceiling_only:
        problems.append(
            Problem(
                path=(*path, "metric"),
                got=entry.name,
                expected="another metric: near 0 the difference of two groups' "
                f"{entry.name} has no reliable bound",
            )
        )
    return problems


def _gap_problems(rule: Mapping[str, Any], path: Path) -> list[Problem]:
    if AT_MOST in rule or MARGIN in rule:
        return []
    return [
        Problem(
            path=path,
            got=f"a rule for gaps of {rule['metric']} without a limit",
            expected="at_most or margin",
        )
    ]


def _guarantee_problems(gate: Mapping[str, Any]) -> Iterator[Problem]:
    wanted = gate.get("guarantee", "asymptotic") == "exact"
    if "exact" in gate and not wanted:
        yield Problem(
            path=("gate", "exact"),
            at_key=True,
            got="settings of a guarantee that is not asked for",
            expected="guarantee: exact beside them",
        )
    if not wanted:
        return
    if "exact" not in gate:
        yield Problem(
            path=("gate", "exact"),
            got="nothing",
            expected="how many decisions the holdout is to serve, such as exact: {decisions: 32}",
        )
    for index, rule in enumerate(gate["rules"]):
        yield from _exact_problems(rule, ("gate", "rules", index))
    for key, instead in (
        (
            "slices",
            "remove them: what is shown of one slice after the other has no joint guarantee",
        ),
        ("gaps", "remove them: what is shown of one group after the other has no joint guarantee"),
        ("budget", "say exact: {decisions: ...} instead"),
    ):
        if key in gate:
            yield Problem(
                path=("gate", key),
                at_key=True,
                got=f"{key} under guarantee: exact",
                expected="rules for accuracy over all rows only",
                fix=instead,
            )


def _exact_problems(rule: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    name = str(rule["metric"])
    system = is_system(name)
    if name not in PROPORTIONS and not system:
        yield Problem(
            path=(*path, "metric"),
            got=f"{name} under guarantee: exact",
            expected="accuracy (or mean, of scores 0 and 1): the only metrics with bounds that hold for "
            "every n",
            fix="remove the rule, or the guarantee",
        )
    if rule.get("on") == "point" and not system:
        yield Problem(
            path=(*path, "on"),
            got="point under guarantee: exact",
            expected="bound: a plain number guarantees nothing",
        )
    for key in (MARGIN, IMPROVES_BY):
        if isinstance(rule.get(key), str) and not system:
            yield Problem(
                path=(*path, key),
                got=f"{rule[key]} under guarantee: exact",
                expected="a difference in the metric's own units, such as 0.01",
            )
