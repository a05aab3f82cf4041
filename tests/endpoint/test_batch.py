"""Micro-batches: scored together, failing alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from tidegate.core.model import Task
from tidegate.endpoint.batch import Asked, Batcher
from tidegate.endpoint.protocol import Rows
from tidegate.endpoint.scorer import Scorer
from tidegate.errors import NotJudgedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt


def run(
    values: Sequence[Any], *, columns: tuple[str, ...] | None = ("x",)
) -> tuple[list[object], list[int], list[str | None]]:
    """Score one request per value, all at once; return results, batch sizes and logged ids."""
    sizes: list[int] = []
    logged: list[str | None] = []

    def predict(frame: Any) -> npt.NDArray[np.float64]:
        sizes.append(len(frame))
        if (frame["x"] == 13).any():
            raise RuntimeError("thirteen")
        return np.asarray(frame["x"] * 2.0)

    def record(answered: Sequence[tuple[Asked, npt.NDArray[np.float64]]]) -> None:
        logged.extend(asked.id for asked, _ in answered)

    scorer = Scorer(
        predict, columns=columns, types={"x": pa.float64()}, matrix=None, task=Task.REGRESSION
    )

    async def main() -> list[object]:
        batcher = Batcher(scorer, record)
        requests = (batcher.score(Rows({"x": [v]}, 1), str(v), 0.0) for v in values)
        return list(await asyncio.gather(*requests, return_exceptions=True))

    answers = asyncio.run(main())
    results: list[object] = [a if isinstance(a, Exception) else float(a[0]) for a in answers]  # type: ignore[index]
    return results, sizes, logged


def test_waiting_requests_are_scored_in_one_call() -> None:
    results, sizes, logged = run([1, 2, 3.5])
    assert results == [2.0, 4.0, 7.0]
    assert sizes == [3]
    assert logged == ["1", "2", "3.5"]


@pytest.mark.parametrize("bad", [13, "text", float("inf")])
def test_one_bad_row_fails_only_its_own_request(bad: object) -> None:
    results, _, logged = run([1, bad, 3])
    assert results[0] == 2.0
    assert isinstance(results[1], NotJudgedError)
    assert results[2] == 6.0
    assert logged == ["1", "3"], "an answer that was not given is not logged"


def test_a_large_crowd_is_scored_in_pieces() -> None:
    results, sizes, _ = run(list(range(20, 620)))
    assert len(results) == 600
    assert max(sizes) == 256


def test_a_model_without_column_names_gets_each_request_alone() -> None:
    _, sizes, _ = run([1, 2, 3], columns=None)
    assert sizes == [1, 1, 1]
