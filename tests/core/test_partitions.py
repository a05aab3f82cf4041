"""Sums over partitions that another engine deals out: the numbers of the one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from benchmarks import partitions
from benchmarks.gate import write

from tidegate.core.model import Task
from tidegate.predictions import read

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("dealt", [1, 5])
def test_merged_partitions_give_the_tables_numbers(tmp_path: Path, dealt: int) -> None:
    whole = tmp_path / "whole.parquet"
    write(whole, 60_000)
    table = read(whole, task=Task.BINARY, by=["region"])
    parts = partitions.split(whole, dealt)
    found, off = partitions.merged(table, parts, partitions._pyarrow)
    assert found > 400
    assert off < 1e-9
