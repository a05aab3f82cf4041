"""A stranger's verdict: the numbers stay, the names go, and what is published is checked again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.test_fail_open import table
from tests.test_load import GOOD
from tidegate.core.anonymous import anonymous, strangers
from tidegate.core.gate import judge
from tidegate.core.model import Digests, Level, Verdict
from tidegate.load import loads

if TYPE_CHECKING:
    from tidegate.core.config import Config

RULES = GOOD + "  slices:\n    - {by: [region], metric: roc_auc, margin: 0.05}\n"
CONFIG = loads("mlops.yaml", RULES).config


def verdict(names: tuple[str, ...], config: Config = CONFIG, *, critical: bool = False) -> Verdict:
    n = 200 * len(names)
    codes = np.arange(n) % len(names)
    predictions = replace(table(n, candidate=2.0), slices={"region": (names, codes)})
    gate = config.gate
    if critical:
        gate = replace(gate, slices=tuple(replace(s, critical=True) for s in gate.slices))
    digests = Digests(candidate="1" * 64, champion="2" * 64, rules=config.rules_digest)
    return judge(predictions, gate, task=config.model.task, digests=digests)


NAMES = ("north", "<script>", "a=b, c=d", "x\ny", "")


def test_every_slice_gets_a_number_and_keeps_its_numbers() -> None:
    before, after = verdict(NAMES), anonymous(verdict(NAMES), CONFIG)
    labels = {f.slice for f in after.findings}
    assert labels == {None, *(f"group {i}" for i in range(1, len(NAMES) + 1))}
    assert [replace(f, slice=None, column=None) for f in before.findings] == [
        replace(f, slice=None, column=None) for f in after.findings
    ]
    assert after.outcome is before.outcome


def test_one_slice_has_one_number_in_all_its_findings() -> None:
    more = replace(CONFIG, gate=replace(CONFIG.gate, slices=CONFIG.gate.slices * 2))
    after = anonymous(verdict(NAMES, more), more)
    found = [f.slice for f in after.findings if f.slice]
    assert found[: len(found) // 2] == found[len(found) // 2 :]


def test_slices_that_decide_nothing_are_cut_after_fifty_and_those_that_decide_are_kept() -> None:
    many = tuple(f"r{i}" for i in range(80))
    loose = anonymous(verdict(many), CONFIG)
    deciding = [f for f in verdict(many).findings if f.slice and f.decides]
    assert len({f.slice for f in loose.findings} - {None}) <= 50 + len(deciding)
    assert len([f for f in loose.findings if f.slice and f.decides]) == len(deciding)
    strict = verdict(many, critical=True)
    kept = anonymous(strict, CONFIG)
    decides = [f for f in strict.findings if f.decides]
    assert [f.outcome for f in kept.findings if f.decides] == [f.outcome for f in decides]


def test_what_was_made_anonymous_has_nothing_strange() -> None:
    for names in (NAMES, ("a",)):
        assert list(strangers(anonymous(verdict(names), CONFIG), CONFIG)) == []


def test_a_column_that_the_configuration_does_not_have_loses_its_name() -> None:
    known = verdict(NAMES)
    first, *rest = known.findings
    for column, kept in (
        ("region", "region"),
        ("y", "y"),
        ("candidate", "candidate"),
        ("see me", None),
    ):
        changed = replace(known, findings=(replace(first, column=column), *rest))
        assert anonymous(changed, CONFIG).findings[0].column == kept


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"slice": "north"}, "the name of a slice"),
        ({"slice": "group 0"}, "the name of a slice"),
        ({"slice": "group 12345"}, "the name of a slice"),
        ({"slice": "group 1 "}, "the name of a slice"),
        ({"column": "https://x"}, "the name of a column"),
        ({"metric": "accuracy"}, "a metric that no rule"),
        ({"metric": "data"}, "a metric that no rule"),
        ({"level": Level.DATA}, "a metric that no rule"),
    ],
)
def test_a_name_from_outside_is_a_stranger(change: dict[str, object], says: str) -> None:
    known = anonymous(verdict(NAMES), CONFIG)
    headline = next(f for f in known.findings if f.level is Level.HEADLINE)
    changed = replace(known, findings=(*known.findings, replace(headline, **change)))  # type: ignore[arg-type]
    assert says in next(strangers(changed, CONFIG))


@pytest.mark.parametrize("name", ["candidate", "champion", "anchor", "holdout", "code"])
@pytest.mark.parametrize(
    "value", ["", "1" * 39, "1" * 65, "g" * 64, "A" * 64, "1" * 64 + "\n", "see me"]
)
def test_a_digest_is_hexadecimal_or_a_stranger(name: str, value: str) -> None:
    known = anonymous(verdict(NAMES), CONFIG)
    changed = replace(known, digests=replace(known.digests, **{name: value}))
    assert list(strangers(changed, CONFIG)) == ["something else than a digest"]


@pytest.mark.parametrize("rules", [None, "4" * 64])
def test_other_rules_are_strange(rules: str | None) -> None:
    known = anonymous(verdict(NAMES), CONFIG)
    changed = replace(known, digests=replace(known.digests, rules=rules))
    assert "other rules than the base's" in list(strangers(changed, CONFIG))
