"""The counts file: what is read, and every way in which it can be wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tidegate.core.evidence import Arm, LabelArm, LabelStratum, Minute
from tidegate.counts import read_counts
from tidegate.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "minute,variant,requests,errors\n"
FULL = "minute,variant,requests,errors,slow,labelled,mistakes,loss_sum,loss_sum_sq\n"


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "counts.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_csv_becomes_minutes_in_order(tmp_path: Path) -> None:
    text = HEAD + "1,candidate,30,0\n0,candidate,29,1\n0,champion,570,6\n"
    counts = read_counts(write(tmp_path, text))
    assert counts.minutes == (
        Minute(index=0, candidate=Arm(requests=29, errors=1), champion=Arm(requests=570, errors=6)),
        Minute(index=1, candidate=Arm(requests=30, errors=0), champion=None),
    )
    assert counts.strata == ()
    assert counts.columns == {"minute", "variant", "requests", "errors"}


def test_optional_columns_become_strata_and_empty_cells_are_not_measured(tmp_path: Path) -> None:
    text = FULL + "4,candidate,30,0,2,10,3,2.5,1.25\n4,champion,570,6,,,,,\n"
    counts = read_counts(write(tmp_path, text))
    label = LabelArm(labelled=10, mistakes=3, loss_sum=2.5, loss_sum_sq=1.25)
    assert counts.strata == (LabelStratum(minute=4, bucket=4, champion=None, candidate=label),)
    minute = counts.minutes[0]
    assert minute.candidate == Arm(requests=30, errors=0, slow=2)
    assert minute.champion == Arm(requests=570, errors=6, slow=None)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_spreadsheets_may_have_saved_it(tmp_path: Path, encoding: str, end: str) -> None:
    text = (HEAD + "0, candidate ,30,0\n\n").replace("\n", end)
    assert len(read_counts(write(tmp_path, text, encoding)).minutes) == 1


def test_parquet_is_recognised_by_its_content(tmp_path: Path) -> None:
    table = pa.table(
        {
            "minute": [0, 0],
            "variant": ["champion", "candidate"],
            "requests": pa.array([570.0, 30.0]),
            "errors": [6, 0],
            "slow": pa.array([None, 3], pa.int64()),
            "comment": ["a", "b"],
        }
    )
    pq.write_table(table, tmp_path / "counts.csv")
    (minute,) = read_counts(tmp_path / "counts.csv").minutes
    assert minute.candidate == Arm(requests=30, errors=0, slow=3)
    assert minute.champion == Arm(requests=570, errors=6)


WRONG = {
    "empty": ("", ":1: column 'minute' is missing."),
    "no-rows": (HEAD, "has no rows"),
    "missing-column": ("minute,variant,requests\n", ":1: column 'errors' is missing."),
    "misspelt-column": (
        "minute,variant,requests,eror\n", ":1: column 'errors' is missing. Did you mean it by 'eror'?",
    ),
    "column-twice": ("minute,variant,requests,errors,errors\n", ":1: column 'errors' appears twice."),
    "half-of-the-losses": (
        "minute,variant,requests,errors,labelled,loss_sum\n", "'loss_sum' needs 'loss_sum_sq'",
    ),
    "mistakes-of-how-many": (
        "minute,variant,requests,errors,mistakes\n", "need a column 'labelled'",
    ),
    "unknown-variant": (
        HEAD + "0,canditate,1,0\n",
        ":2: variant: got 'canditate', expected champion or candidate. Fix: write candidate.",
    ),
    "duplicate": (HEAD + "0,champion,1,0\n0,champion,1,0\n", ":3: minute 0 of 'champion' appears twice"),
    "negative": (HEAD + "0,champion,-1,0\n", ":2: requests: got '-1', expected a number of at least 0"),
    "text": (HEAD + "0,champion,many,0\n", ":2: requests: got 'many', expected a number"),
    "nan": (HEAD + "0,champion,10,nan\n", ":2: errors: got 'nan', expected a number"),
    "infinite": (HEAD + "0,champion,inf,0\n", ":2: requests: got 'inf', expected a number"),
    "fraction": (HEAD + "0,champion,1.5,0\n", ":2: requests: got '1.5', expected a whole number"),
    "empty-cell": (HEAD + "0,champion,,0\n", ":2: requests: is empty"),
    "short-row": (HEAD + "0,champion\n", ":2: requests: is empty"),
    "more-errors-than-requests": (
        HEAD + "0,champion,5,6\n", ":2: errors: got 6, expected at most requests (5)",
    ),
    "more-slow-than-requests": (FULL + "0,champion,5,0,6,,,,\n", ":2: slow: got 6, expected at most"),
    "more-mistakes-than-labels": (
        FULL + "0,champion,5,0,0,3,4,,\n", ":2: mistakes: got 4, expected at most labelled (3)",
    ),
    "unbounded-losses": (
        FULL + "0,champion,5,0,0,3,1,2,40\n", "loss_sum_sq: got 40 with loss_sum 2 of 3 labelled",
    ),
    "losses-of-none": (FULL + "0,champion,5,0,0,,1,,\n", ":2: labelled: is empty"),
    "one-loss-sum": (FULL + "0,champion,5,0,0,3,1,2,\n", "expected both or neither"),
    "minutes-far-apart": (
        HEAD + "0,champion,1,0\n29000000,champion,1,0\n", "minutes run from 0 to 29000000",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "told"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_with_file_and_line(tmp_path: Path, text: str, told: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_counts(path)
    assert str(caught.value).startswith(str(path))
    assert told in str(caught.value)
    assert caught.value.remedy


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + "0,champion,-1,0\n" * 30)
    with pytest.raises(ConfigError) as caught:
        read_counts(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "... and 10 more."


@pytest.mark.parametrize("content", [b"PAR1 and nothing else", b"\xff\xfe\x00"])
def test_bytes_that_are_no_table_are_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "counts.parquet"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"counts\.parquet: is "):
        read_counts(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_counts(tmp_path / "nothing.csv")
