"""Endpoint-hours of a rollout: told from the ledger alone, at every moment of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine import POLICY, Engine
from tidegate.core.events import Mode, Phase, Requested
from tidegate.core.spending import spent
from tidegate.render.ledger import page
from tidegate.render.spending import words

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.core.state import Rollout


def started(tmp_path: Path, **bill: Any) -> Engine:
    """A canary of version 2 that costs what ``bill`` says."""
    engine = Engine.make(tmp_path)
    first = engine.serving()
    second = engine.version(2)
    engine.request(second)  # judged, and asked for: its request is replaced by the next
    engine.append(
        Requested(
            model=second, mode=Mode.CANARY, judged_against=first.digest, policy=POLICY, task="binary",
            loss_center=None, **bill,
        )
    )  # fmt: skip
    engine.run(2)
    return engine


def live(engine: Engine) -> Rollout:
    assert engine.state.rollout is not None
    return engine.state.rollout


BILL: dict[str, Any] = {"machine": "2 x ml.m5.large", "hourly": 0.23}


def test_a_canary_costs_from_the_minute_its_variant_is_up(tmp_path: Path) -> None:
    engine = started(tmp_path, **BILL)
    begun = live(engine).deployed_at
    assert begun is not None
    now = spent(live(engine), begun + 5400)
    assert now is not None
    assert (now.canary, now.holdback) == (1.5, 0.0)
    assert now.dollars == pytest.approx(1.5 * 0.23)


def test_the_holdback_costs_from_the_promotion_to_the_end(tmp_path: Path) -> None:
    engine = started(tmp_path, **BILL)
    while live(engine).phase is not Phase.PROBATION or not live(engine).applied:
        engine.tick(1)
    rollout, promoted = live(engine), engine.now
    assert rollout.promoted_at == promoted
    engine.run(60)
    ended = engine.state.past[-1]
    total = spent(ended, engine.now + 1e6)
    assert total is not None
    assert ended.ended_at is not None
    assert ended.deployed_at is not None
    assert total.canary == pytest.approx((promoted - ended.deployed_at) / 3600)
    assert total.holdback == pytest.approx((ended.ended_at - promoted) / 3600)
    assert 0.5 <= total.holdback < 0.6, "the probation of this policy is half an hour"


def test_an_unknown_price_is_said_and_is_not_nothing(tmp_path: Path) -> None:
    engine = started(tmp_path, machine="1 x ml.q9.huge", hourly=None)
    spending = spent(live(engine), engine.now + 3600)
    assert spending is not None
    assert spending.dollars is None
    assert words(spending).endswith("at an unknown price")


def test_what_comes_alone_or_is_not_billed_costs_nothing_more(tmp_path: Path) -> None:
    engine = started(tmp_path)
    assert spent(live(engine), engine.now) is None, "a machine of one's own"
    engine = started(tmp_path / "billed", **BILL)
    assert spent(engine.state.past[0], engine.now) is None, "the first release"
    assert spent(replace(live(engine), deployed_at=None), engine.now) is None, "nothing is up yet"


def test_the_ledgers_page_tells_it_live_and_in_the_end(tmp_path: Path) -> None:
    engine = started(tmp_path, **BILL)
    book = engine.ledger.read()
    shown = page("m", book.state, book.chain)
    assert "Cost so far: one more variant (`2 x ml.m5.large`): " in shown
    engine.run(240)
    book = engine.ledger.read()
    shown = page("m", book.state, book.chain)
    assert "| took | cost |" in shown
    (row,) = [line for line in shown.splitlines() if "of holdback" in line]
    assert row.count("|") == 8
    assert "about $0." in row
