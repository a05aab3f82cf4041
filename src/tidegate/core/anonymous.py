"""A verdict without names from outside: what a stranger's run may have published.

The numbers of a fork's verdict are advice, and its author could forge them. Its *names* would be
prose in a comment that we sign: so a slice is called by its number, a column only by a name that the
agreed configuration has, and a metric must be one of the agreed rules'.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from tidegate.core.model import Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate.core.config import Config
    from tidegate.core.model import Finding, Verdict

_GROUP = re.compile(r"group [1-9][0-9]{0,3}")
_HEX = re.compile(r"[0-9a-f]{40,64}")
_MOST_SLICES = 50
_TABLE = ("candidate", "champion", "anchor", "y_true", "id")


def anonymous(verdict: Verdict, config: Config) -> Verdict:
    """Return the verdict with every name replaced that the configuration does not have.

    Slices beyond the first 50 that decide nothing are left out: the artifact is small.
    """
    columns = _columns(config)
    numbers: dict[str, str] = {}
    findings: list[Finding] = []
    for finding in verdict.findings:
        if finding.slice is not None:
            known = finding.slice in numbers
            if not known and len(numbers) >= _MOST_SLICES and not finding.decides:
                continue
            label = numbers.setdefault(finding.slice, f"group {len(numbers) + 1}")
            finding = replace(finding, slice=label)  # noqa: PLW2901
        column = finding.column if finding.column in columns else None
        findings.append(replace(finding, column=column))
    return replace(verdict, findings=tuple(findings))


def strangers(verdict: Verdict, config: Config) -> Iterator[str]:
    """Yield what a verdict holds that the agreed configuration does not allow; nothing is shown then."""
    rules = {rule.metric for rule in config.gate.rules}
    sliced = {rule.metric for rule in config.gate.slices}
    gaps = {rule.metric for rule in config.gate.gaps}
    columns = _columns(config)
    for finding in verdict.findings:
        allowed = {
            Level.DATA: {"data"},
            Level.SLICE: sliced,
            Level.CRITICAL: sliced,
            Level.GAP: gaps,
        }
        if finding.metric not in allowed.get(finding.level, rules):
            yield "a metric that no rule of the base names"
        if finding.slice is not None and not _GROUP.fullmatch(finding.slice):
            yield "the name of a slice"
        if finding.column is not None and finding.column not in columns:
            yield "the name of a column that mlops.yaml does not have"
    digests = verdict.digests
    if digests.rules != config.rules_digest:
        yield "other rules than the base's"
    for digest in (
        digests.candidate,
        digests.champion,
        digests.anchor,
        digests.holdout,
        digests.code,
    ):
        if digest is not None and not _HEX.fullmatch(digest):
            yield "something else than a digest"


def _columns(config: Config) -> set[str]:
    by = set(config.gate.columns)
    data = config.data
    named = (data.id, data.target, data.time, data.group, data.weight)
    return {*_TABLE, *by, *(name for name in named if name)}
