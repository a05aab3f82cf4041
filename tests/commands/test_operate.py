"""What people do by hand: each verb ends in the right state, with a name and a reason."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.commands.test_register import prepare
from tests.real_repo import Repo, Stage, two_releases

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real

WHY = ("--reason", "why")


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return two_releases(tmp_path, monkeypatch)


def in_canary(stage: Stage, slope: float = 0.95) -> None:
    """Bring version 3 into its canary."""
    assert prepare(stage, slope) == 0
    assert stage.tidegate("register") == 0
    assert stage.tidegate("release", "--no-wait") == 0
    assert stage.tidegate("tick") == 0
    assert stage.target.read().traffic() == {"3": 0.5, "2": 0.5}


def champion(stage: Stage) -> str:
    assert stage.state.champion is not None
    return stage.state.champion.version


def test_revert_takes_a_live_candidate_back_and_quarantines_it(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    in_canary(stage)
    capfd.readouterr()
    assert stage.tidegate("revert", "--json", "--reason", "pager at night", "--by", "Grace") == 0
    json.loads(capfd.readouterr().out)
    assert stage.outcomes()[-1] == ("3", "reverted")
    assert champion(stage) == "2"
    assert stage.target.read().traffic() == {"2": 1.0}
    assert stage.state.past[-1].model.digest in stage.state.quarantined
    (order,) = [e for e in stage.repo.book.chain if e.type == "ordered"]
    assert (order.actor, order.human) == ("Grace", True)


def test_promote_gives_a_live_candidate_everything(stage: Stage) -> None:
    in_canary(stage)
    assert stage.tidegate("promote", *WHY) == 0
    assert stage.outcomes()[-1] == ("3", "promoted")
    assert champion(stage) == "3"
    assert stage.target.read().traffic() == {"3": 1.0}


def test_revert_without_a_rollout_goes_to_the_last_healthy_version(stage: Stage) -> None:
    bad = stage.state.champion
    assert bad is not None
    assert stage.tidegate("revert", *WHY) == 0
    assert champion(stage) == "1"
    assert stage.target.read().traffic() == {"1": 1.0}
    assert {bad.digest, bad.recipe} <= stage.state.quarantined
    assert [v.version for v in stage.target.read().variants] == ["1"]


def test_revert_refuses_when_there_is_nothing_to_go_back_to(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    assert stage.tidegate("revert", *WHY) == 0
    before = len(stage.repo.book.chain)
    capfd.readouterr()
    assert stage.tidegate("revert", *WHY, "--json") == 1
    captured = capfd.readouterr()
    assert "no earlier version served and was healthy" in captured.err
    assert captured.out == ""
    assert len(stage.repo.book.chain) == before
    assert stage.target.read().traffic() == {"1": 1.0}


def test_revert_refuses_when_nothing_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stage = Stage(Repo.make(tmp_path)).enter(monkeypatch)
    assert stage.tidegate("revert", *WHY) == 1
    assert "nothing serves" in capfd.readouterr().err
    assert stage.tidegate("promote", *WHY) == 2
    assert "no rollout is live" in capfd.readouterr().err
    assert stage.tidegate("hold", *WHY) == 0
    assert stage.tidegate("resume", *WHY) == 0


def test_revert_to_a_version_by_its_number(stage: Stage, capfd: pytest.CaptureFixture[str]) -> None:
    assert stage.tidegate("revert", "2", *WHY) == 1
    assert "version 2 serves already" in capfd.readouterr().err
    assert stage.tidegate("revert", "1", *WHY) == 0
    assert champion(stage) == "1"


def test_revert_to_a_version_does_not_wait_behind_a_live_canary(stage: Stage) -> None:
    in_canary(stage)
    assert stage.tidegate("revert", "1", *WHY) == 0
    assert champion(stage) == "1"
    assert stage.target.read().traffic() == {"1": 1.0}


def test_revert_to_a_version_does_not_wait_where_newer_candidates_queue(stage: Stage) -> None:
    config = json.loads(stage.repo.config.read_text())
    canary = {**config["release"]["canary"], "on_newer": "queue"}
    stage.repo.configure(release__canary=canary)
    in_canary(stage)
    assert stage.tidegate("revert", "1", *WHY) == 0
    assert champion(stage) == "1"
    assert stage.target.read().traffic() == {"1": 1.0}


def test_a_revert_that_is_not_carried_out_is_no_success(stage: Stage) -> None:
    stage.target.ready = False  # a server that does not come up
    assert stage.tidegate("revert", *WHY) == 5
    assert stage.target.read().traffic() == {"2": 1.0}
    stage.target.ready = True
    stage.target.variants["1"] = replace(stage.target.variants["1"], ready=True)
    assert stage.tidegate("tick") == 0
    assert champion(stage) == "1"
    assert stage.target.read().traffic() == {"1": 1.0}


def test_the_parity_check_bars_a_promotion_by_hand_and_never_the_way_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        type(stage.target), "ask", lambda _self, _version, rows: rows["x"].to_numpy()
    )
    assert stage.tidegate("promote", "1", *WHY) == 6
    assert stage.target.read().traffic() == {"2": 1.0}
    assert stage.tidegate("revert", *WHY) == 0
    assert stage.target.read().traffic() == {"1": 1.0}


def test_promote_an_old_version_by_hand_quarantines_nobody(stage: Stage) -> None:
    assert stage.tidegate("promote", "1", *WHY) == 0
    assert champion(stage) == "1"
    assert stage.state.quarantined == frozenset()
    assert stage.tidegate("promote", "2", *WHY) == 0
    assert champion(stage) == "2"
    assert stage.tidegate("promote", "2", *WHY) == 1
    assert stage.tidegate("promote", "42", *WHY) == 2


def test_a_hold_keeps_the_step_until_it_is_lifted(stage: Stage) -> None:
    in_canary(stage)
    assert stage.tidegate("hold", *WHY) == 0
    for _ in range(10):
        stage.clock.sleep(1)
        assert stage.tidegate("tick") == 0
    assert stage.target.read().traffic() == {"3": 0.5, "2": 0.5}
    assert stage.tidegate("resume", *WHY) == 0
    assert stage.tidegate("release", "--through-probation") == 0
    assert champion(stage) == "3"


def test_a_hold_for_a_time_ends_by_itself(stage: Stage) -> None:
    in_canary(stage)
    assert stage.tidegate("hold", "--for", "5m", *WHY) == 0
    assert stage.tidegate("release", "--through-probation") == 0
    assert champion(stage) == "3"
    chain = stage.repo.book.chain
    (held,) = [e for e in chain if e.type == "held"]
    moved = next(e for e in chain if e.type == "routing" and e.seq > held.seq)
    assert 300 <= moved.at - held.at <= 420


def test_a_hold_for_no_time_holds_nothing(stage: Stage) -> None:
    assert stage.tidegate("hold", "--for", "0s", *WHY) == 0
    assert stage.state.hold is not None
    assert not stage.state.hold.active(stage.clock.now)


def test_the_newest_events_of_the_log_are_as_many_as_asked_for(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    for wanted, shown in (("2", 2), ("0", 0), ("-1", 0), ("9999", len(stage.repo.book.chain))):
        assert stage.tidegate("log", "--all", "--json", "-n", wanted) == 0
        assert len(json.loads(capfd.readouterr().out)) == shown


def test_evidence_of_harm_reverts_under_a_hold_but_not_under_hands_off(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_canary(stage)
    stage.metrics.rates = {"2": (0.01, 0.0), "3": (0.5, 0.0)}
    other = stage.copy(tmp_path / "other")
    for each, options, share in ((stage, [], 0.0), (other, ["--hands-off"], 0.5)):
        each.enter(monkeypatch)
        assert each.tidegate("hold", *options, *WHY) == 0
        for _ in range(10):
            each.clock.sleep(1)
            assert each.tidegate("tick") == 0
        assert each.target.read().traffic().get("3", 0.0) == share


def test_the_anchor_moves_to_a_registered_version_alone(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    for version in ("2", "1"):
        assert stage.tidegate("anchor", version, *WHY) == 0
        assert stage.state.anchor is not None
        assert stage.state.anchor.version == version
    assert stage.tidegate("anchor", "9", *WHY) == 2
    assert "no registered version 9" in capfd.readouterr().err


def test_after_a_person_promoted_the_machine_waits_for_resume(stage: Stage) -> None:
    assert prepare(stage, 0.95) == 0
    assert stage.tidegate("register") == 0
    assert stage.tidegate("promote", "1", *WHY) == 0
    assert stage.tidegate("resume", *WHY) == 0
    assert stage.tidegate("release") == 1  # version 3 was judged against version 2
    assert champion(stage) == "1"


def test_a_reason_too_long_for_the_ledger_is_refused_and_nothing_is_written(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    before = len(stage.repo.book.chain)
    assert stage.tidegate("hold", "--reason", "x" * 5000) == 2
    assert "cannot be written into the ledger" in capfd.readouterr().err
    assert len(stage.repo.book.chain) == before


def test_hostile_reasons_and_names_stay_text(stage: Stage) -> None:
    from tidegate.git import text

    hostile = "</details>\n# pwned | ![x](http://example.org/x.png) `rm` \x1b[31m <script>"
    assert stage.tidegate("hold", "--reason", hostile, "--by", "Eve <eve@x>\n\nfoo") in (0, 2)
    origin = stage.repo.path.parent / "origin.git"
    page = text(origin, "show", "tidegate-ledger/coin:README.md")
    assert "\n# pwned" not in page
    assert "\x1b" not in page
