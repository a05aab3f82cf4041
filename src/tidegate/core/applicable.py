"""Whether rules can be applied at all: what ``mlops.yaml`` refuses, refused again for whoever calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidegate.core.catalog import AT_LEAST, AT_MOST, CATALOG, IMPROVES_BY, MARGIN, PROPORTIONS
from tidegate.core.metrics.table import find, is_system
from tidegate.errors import ConfigError

if TYPE_CHECKING:
    from tidegate.core.catalog import Entry
    from tidegate.core.config import Gate, Rule
    from tidegate.core.model import Task

_ENTRIES = {entry.name: entry for entry in CATALOG}


def check_rules(gate: Gate, task: Task) -> None:
    """Refuse rules that nothing could be judged by.

    Raises:
        ConfigError: an unknown metric, one of another task, or a rule without a limit or with two
            that contradict each other.
    """
    for rule in gate.rules:
        if is_system(rule.metric):
            _check_system(rule)
        if rule.margin is not None and rule.improves_by is not None:
            raise ConfigError(f"the rule for {rule.metric} has both margin and improves_by")
        if rule.at_least is None and rule.at_most is None and not rule.compares:
            raise ConfigError(f"the rule for {rule.metric} has no limit: it would pass anything")
    _check_quality(gate, task)
    if any(rule.at_most is None and rule.margin is None for rule in gate.gaps):
        raise ConfigError("a rule of gaps has no limit: it would pass anything")
    if gate.exact is not None:
        _check_exact(gate)


def _check_quality(gate: Gate, task: Task) -> None:
    entries = {m: find(m, task, gate.own).entry for m in sorted(gate.metrics) if not is_system(m)}
    for rule in gate.rules:
        if rule.metric in entries:
            _check_limits(rule, entries[rule.metric])
    compared = {rule.metric for rule in gate.slices} | {rule.metric for rule in gate.gaps}
    for name in sorted(compared & set(entries)):
        if entries[name].ceiling_only:
            raise ConfigError(f"{name} takes at_most, in gate.rules, and nothing else")


def check_grouped(gate: Gate, task: Task) -> None:
    """Refuse metrics of groups of rows, for a table without groups.

    Raises:
        ConfigError: a mean over queries, or over items with repeats.
    """
    for metric in sorted(gate.metrics):
        if not is_system(metric) and find(metric, task, gate.own).entry.grouped:
            raise ConfigError(
                f"{metric} is a mean over groups of rows, and the table has no groups",
                remedy="Add the column group: which query, or which item, a row belongs to.",
            )


def _check_limits(rule: Rule, entry: Entry) -> None:
    given = {
        AT_LEAST: rule.at_least,
        AT_MOST: rule.at_most,
        MARGIN: rule.margin,
        IMPROVES_BY: rule.improves_by,
    }
    wrong = [key for key, limit in given.items() if limit is not None and key not in entry.limits]
    if wrong:
        raise ConfigError(
            f"{entry.name} takes {' and '.join(sorted(entry.limits))}, not {' or '.join(wrong)}"
        )


def _check_system(rule: Rule) -> None:
    limits = _ENTRIES[rule.metric].limits
    wrong = rule.at_least is not None or rule.improves_by is not None
    if wrong or (rule.margin is not None and MARGIN not in limits):
        raise ConfigError(
            f"{rule.metric} is a measurement: it takes {' and '.join(sorted(limits))}, nothing else"
        )


def _check_exact(gate: Gate) -> None:
    others = [
        r.metric for r in gate.rules if not is_system(r.metric) and r.metric not in PROPORTIONS
    ]
    relative = any(
        m is not None and m.relative for r in gate.rules for m in (r.margin, r.improves_by)
    )
    pointed = any(rule.on == "point" for rule in gate.rules if not is_system(rule.metric))
    if others or relative or pointed or gate.slices or gate.gaps or gate.budget is not None:
        raise ConfigError(
            "guarantee: exact is about shares of rows that are right (accuracy), over all rows, with "
            "margins in their own units, and with decisions of its own in place of a budget"
        )
