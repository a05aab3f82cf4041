"""The column contract: what today's rows break of what the champion knew, and what that decides."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from tidegate.core.contract import bounded, broken
from tidegate.core.model import Cause, Finding, Outcome
from tidegate.core.profile import Profile, TableSketch
from tidegate.render.verdict import reason

THEN = pa.table(
    {
        "amount": [float(i) for i in range(101)],
        "region": ["north", "south"] * 50 + ["north"],
        "age": [None, *range(100)],
        "y": [0, 1] * 50 + [0],
    }
)


def known(reads: tuple[str, ...] | None = None) -> Profile:
    sketch = TableSketch(THEN.column_names, target="y", discrete=True)
    sketch.update(THEN)
    return replace(sketch.finish(), reads=reads)


def found(
    table: pa.Table, severity: str | None = None, reads: tuple[str, ...] | None = ("amount",)
) -> list[Finding]:
    profile = known(reads)
    names = [name for name in table.column_names if name in profile.columns]
    sketch = TableSketch(names, target="y", discrete=True, known=profile)
    sketch.update(table)
    return broken(profile, sketch, severity=severity)


def changed(column: str, values: pa.Array) -> pa.Table:
    return THEN.set_column(THEN.column_names.index(column), column, values)


GONE = THEN.drop_columns(["amount"])
KIND = changed("amount", pa.array(["1"] * 101))
NULLS = changed("amount", pa.array([None, *range(100)]))
MORE_NULLS = changed("age", pa.array([None] * 30 + list(range(71))))
FAR = changed("amount", pa.array([-11.0, 111.0, 500.0, *range(98)]))
NEW = changed("region", pa.array(["east"] * 3 + ["north"] * 98))
CLASS = changed("y", pa.array([2] + [0, 1] * 50))
LABELS = changed("y", pa.array(["0", "1"] * 50 + ["0"]))


@pytest.mark.parametrize(
    ("table", "cause", "text", "decides"),
    [
        (GONE, Cause.COLUMN_GONE, "column amount: the champion had it, and it is gone", True),
        (
            KIND,
            Cause.KIND_CHANGED,
            "column amount (was number, is text): holds another kind of value than under the champion",
            True,
        ),
        (
            NULLS,
            Cause.NULLS,
            "column amount: 1 values are missing, 0.9901% of the rows and 0% under the champion",
            False,
        ),
        (
            MORE_NULLS,
            Cause.NULLS,
            "column age: 30 values are missing, 29.7% of the rows and 0.9901% under the champion",
            False,
        ),
        (
            FAR,
            Cause.OUT_OF_BOUNDS,
            "column amount: 3 values far outside the champion's 0 to 100, up to 500",
            False,
        ),
        (
            NEW,
            Cause.NEW_CATEGORY,
            "column region: 3 rows have a value that the champion's rows did not have",
            False,
        ),
        (
            CLASS,
            Cause.NEW_CATEGORY,
            "column y: 1 rows have a value that the champion's rows did not have",
            False,
        ),
        (
            LABELS,
            Cause.KIND_CHANGED,
            "column y (was number, is text): holds another kind of value than under the champion",
            True,
        ),
    ],
)
def test_each_break_is_one_finding_with_its_numbers(
    table: pa.Table, cause: Cause, text: str, decides: bool
) -> None:
    (finding,) = found(table)
    assert (finding.cause, reason(finding, 0.95)) == (cause, text)
    assert (finding.decides, finding.outcome is Outcome.ERROR) == (decides, decides)
    (strict,) = found(table, "error")
    assert (strict.decides, strict.outcome) == (True, Outcome.ERROR)
    (lax,) = found(table, "told")
    assert (lax.decides, lax.outcome) == (False, Outcome.INCONCLUSIVE)


@pytest.mark.parametrize("reads", [None, (), ("region",)])
@pytest.mark.parametrize("table", [GONE, KIND])
def test_a_column_that_the_champion_does_not_say_it_reads_is_told(
    table: pa.Table, reads: tuple[str, ...] | None
) -> None:
    assert [finding.decides for finding in found(table, reads=reads)] == [False]


@pytest.mark.parametrize(
    "table",
    [
        THEN,
        THEN.append_column("more", pa.nulls(101)),
        THEN.select(["y", "region", "age", "amount"]),
        changed("amount", pa.array([-10.0, 110.0, *range(99)])),  # within a tenth of the range
        changed("amount", pa.array(range(101), pa.int16())),
        changed("age", pa.array([None, None, *range(99)])),  # 2 of 101 where 1 was
        changed("region", pa.array(["south"] * 101).dictionary_encode()),
        THEN.slice(0, 0),
    ],
)
def test_what_keeps_the_contract_is_no_finding(table: pa.Table) -> None:
    assert found(table, "error") == []


def test_a_column_without_any_value_is_all_nulls_and_of_no_other_kind() -> None:
    causes = [finding.cause for finding in found(changed("amount", pa.nulls(101)))]
    assert causes == [Cause.NULLS]


def test_infinity_is_outside() -> None:
    (finding,) = found(changed("amount", pa.array([float("inf"), *range(100)])))
    assert reason(finding, 0.95) == (
        "column amount: 1 values far outside the champion's 0 to 100, up to -"
    )


def test_of_what_is_told_the_first_five_of_a_cause_are_kept_and_all_that_decides() -> None:
    told = found(NEW)
    many = [replace(told[0], n=n) for n in range(1, 10)]
    deciding = [replace(told[0], n=n, decides=True) for n in range(1, 10)]
    assert [f.n for f in bounded([*many, *deciding])] == [*range(9, 0, -1), 9, 8, 7, 6, 5]
