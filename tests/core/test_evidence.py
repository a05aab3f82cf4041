"""A minute's evidence is stratified by the share that was configured in it."""

from __future__ import annotations

import pytest

from tidegate.core.evidence import configured_share


@pytest.mark.parametrize(
    ("shares", "moving", "share"),
    [
        pytest.param((), (), None, id="never told"),
        pytest.param(((50.0, 0.05),), (), 0.05, id="since long ago"),
        pytest.param(((50.0, 0.05), (101.0, 0.25)), (), None, id="changed within"),
        pytest.param(
            ((50.0, 0.05), (99.8, 0.25)), (), None, id="changed just before: not in force yet"
        ),
        pytest.param(((50.0, 0.05), (80.0, 0.25), (120.0, 0.5)), (), 0.25, id="changed around"),
        pytest.param(((50.0, 0.05), (105.0, 0.05)), (), 0.05, id="told again"),
        pytest.param(((50.0, 0.05),), ((90.0, 95.0),), 0.05, id="moved before"),
        pytest.param(((50.0, 0.05),), ((90.0, 105.0),), None, id="was moving as it began"),
        pytest.param(((50.0, 0.05),), ((90.0, 120.0),), None, id="was moving throughout"),
        pytest.param(((50.0, 0.05),), ((110.2, 120.0),), None, id="moved just after"),
        pytest.param(((105.0, 0.05),), (), None, id="began within"),
    ],
)
def test_a_minutes_share_is_known_when_it_did_not_change(
    shares: tuple[tuple[float, float], ...],
    moving: tuple[tuple[float, float], ...],
    share: float | None,
) -> None:
    assert configured_share(shares, moving, 100.0, 110.0, blur=0.5) == share
