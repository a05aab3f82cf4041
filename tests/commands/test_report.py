"""``tidegate report`` from a bundle and a ledger in real git to what people read."""

from __future__ import annotations

import argparse
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fakes import FakeRegistry, make_bundle
from tests.render.samples import AUC, RUN, Seen, drawn, verdict
from tidegate import pictures
from tidegate.cli import main
from tidegate.commands.context import Context
from tidegate.commands.report import SUMMARY, gather, report_for
from tidegate.core.events import (
    Deployed,
    Judged,
    Mode,
    Overridden,
    Phase,
    Registered,
    Requested,
    Routed,
    Routing,
)
from tidegate.core.evidence import Arm, Minute, Series
from tidegate.core.model import Cause, Outcome, VersionRef
from tidegate.digests import folder_digest
from tidegate.errors import Exit, NotJudgedError, OutsideError
from tidegate.home import MODEL, PICTURES, VERDICT
from tidegate.render.comment import comment
from tidegate.render.report import Override
from tidegate.render.verdict import document
from tidegate.run_record import save
from tidegate.terminal import Terminal

if TYPE_CHECKING:
    from tidegate.core.events import Payload
    from tidegate.core.model import Verdict
    from tidegate.core.pictures import Pictures

pytestmark = pytest.mark.real

_CONFIG = """\
version: 1
model: {name: flight-delays, task: binary}
data: {train: t.parquet, holdout: h.parquet, target: y, id: id}
train: {run: python train.py}
gate: {rules: [{metric: roc_auc, margin: 0.005}]}
"""
_NEW = VersionRef(version="2", digest=RUN.model_digest, recipe=RUN.recipe, commit=RUN.commit)
_OLD = VersionRef(version="1", digest="badc0de5" * 8, recipe="0" * 64, commit="1" * 40)


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A repository with one commit and nothing judged."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIDEGATE_HOME", raising=False)
    monkeypatch.delenv("TIDEGATE_REMOTE", raising=False)
    Path("mlops.yaml").write_text(_CONFIG)
    for command in (
        "git init -q -b main",
        "git config user.name ada",
        "git config user.email ada@example.com",
        "git add mlops.yaml",
        "git commit -q -m first",
    ):
        subprocess.run(command.split(), check=True)
    args = argparse.Namespace(config=Path("mlops.yaml"))
    return Context.of(args, Terminal())


def _write(context: Context, judged: Verdict) -> Path:
    context.bundle.mkdir(parents=True)
    path = context.bundle / VERDICT
    path.write_text(json.dumps(document(judged)))
    save(context.bundle, RUN)
    return path


def _append(context: Context, *payloads: Payload, evidence: Series | None = None) -> None:
    ledger = context.ledger()
    for i, payload in enumerate(payloads):
        book = ledger.read()
        last = evidence if i == len(payloads) - 1 else None
        at = 1_700_000_000.0 + 60 * len(book.chain)
        ledger.append(book, payload, at=at, actor="tidegate", evidence=last)


def _taken_back(context: Context) -> None:
    """Write the story of a candidate that was taken back from a quarter of the traffic."""
    _append(context, Registered(model=_OLD), Registered(model=_NEW))
    _append(context, _requested(_OLD, Mode.DIRECT), *_turn("r3", Phase.PROMOTED, {"1": 1.0}))
    _append(
        context,
        Judged(outcome="pass", candidate=_NEW.digest, champion=_OLD.digest, holdout="e5" * 32, rules="c3" * 32,
               recipe=_NEW.recipe, commit=_NEW.commit),
        _requested(_NEW, Mode.CANARY),
        Deployed(rollout="r7"),
        *_turn("r7", Phase.CANARY, {"1": 0.75, "2": 0.25}),
    )  # fmt: skip
    minutes = tuple(
        Minute(index=i, champion=Arm(requests=300, errors=1), candidate=Arm(requests=100, errors=9))
        for i in range(4)
    )
    intent, done = _turn("r7", Phase.REVERTED, {"1": 1.0})
    _append(context, intent, evidence=Series(minutes=minutes, labels=(), closed=4))
    _append(context, done)


def _requested(model: VersionRef, mode: Mode) -> Requested:
    return Requested(
        model=model, mode=mode, judged_against=None, policy={}, task="binary", loss_center=None
    )


def _turn(rollout: str, phase: Phase, traffic: dict[str, float]) -> tuple[Routing, Routed]:
    cause = "harm" if phase is Phase.REVERTED else "start"
    intent = Routing(rollout=rollout, phase=phase, step=0, traffic=traffic, cause=cause)
    return intent, Routed(rollout=rollout)


def _draw(context: Context, judged: Verdict) -> Pictures:
    """Leave pictures beside the verdict, of the very model and rows."""
    digests = judged.digests
    found = replace(drawn(), n=judged.n, candidate=digests.candidate, holdout=digests.holdout)
    pictures.save(context.bundle, found)
    return found


def test_pictures_are_shown_beside_the_verdict_that_they_are_of(context: Context) -> None:
    judged = verdict(AUC)
    path = _write(context, judged)
    assert gather(context, path).pictures is None  # an older bundle
    found = _draw(context, judged)
    assert gather(context, path).pictures == found
    for other in ({"candidate": "0" * 64}, {"holdout": None}, {"n": 7}):
        pictures.save(context.bundle, replace(found, **other))
        assert gather(context, path).pictures is None
    (context.bundle / PICTURES).write_text("{}")
    with pytest.raises(NotJudgedError, match=PICTURES):
        gather(context, path)


@pytest.mark.parametrize("rule", ["1", "roc_auc"])
def test_a_stored_verdicts_rule_is_explained_and_nothing_is_judged_again(
    context: Context, capsys: pytest.CaptureFixture[str], rule: str
) -> None:
    judged = verdict(replace(AUC, outcome=Outcome.REJECT, cause=Cause.VIOLATED))
    path = _write(context, judged)
    _draw(context, judged)
    before = path.read_bytes()
    assert main(["gate", "--explain", rule, "--html", "page.html"]) == Exit.REJECTED
    said = capsys.readouterr().out
    assert said.startswith("1. roc_auc no more than 0.005 below the champion: ✗ reject\n")
    assert "DeLong's variance" in said
    assert " of class 1; holdout e5e5e5e5e5e5; decision 7 of this holdout" in said
    assert "<h3>ROC curve</h3>" in Path("page.html").read_text()
    assert path.read_bytes() == before
    assert not context.ledger().read().chain
    assert main(["gate", "--explain", "nothing"]) == Exit.USAGE


def test_without_a_verdict_there_is_nothing_to_explain(context: Context) -> None:
    assert main(["gate", "--explain", "roc_auc"]) == Exit.NOT_JUDGED


def test_the_bundle_of_the_commit_is_reported(
    context: Context, capsys: pytest.CaptureFixture[str]
) -> None:
    _write(context, verdict(AUC))
    assert main(["report", "--format", "comment"]) == Exit.OK
    marker, box, line, *_ = capsys.readouterr().out.splitlines()
    assert (marker, box) == ("<!-- tidegate:flight-delays -->", "> [!TIP]")
    assert line.startswith("> **`flight-delays`: passed.** The one rule is shown at 95% confidence")


def test_the_ledger_adds_versions_and_the_rollout(
    context: Context, capsys: pytest.CaptureFixture[str]
) -> None:
    _write(context, verdict(AUC))
    _taken_back(context)
    assert main(["report", "--format", "summary"]) == Exit.OK
    out = capsys.readouterr().out
    assert "> [!CAUTION]\n> **`flight-delays`: passed, then taken back.**" in out
    assert "Production is version `1`. The candidate is version `2`." in out
    assert "**Taken back after 2 min and at least 400 requests at up to 25 %**" in out
    assert "- trained in 48 s; the model is 1.834 MB" in out
    report = gather(context, context.bundle / VERDICT)
    assert report.story is not None
    assert [turn.share for turn in report.story.turns] == [0.25, 0.0]


def test_a_page_is_written_where_it_is_asked_for(
    context: Context, capsys: pytest.CaptureFixture[str]
) -> None:
    _write(context, verdict(AUC))
    assert main(["report", "--format", "html", "--output", "r.html"]) == Exit.OK
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "wrote r.html" in captured.err
    assert " Passed" in Seen.page(Path("r.html").read_text(encoding="utf-8")).outside
    assert main(["report", "--output", "no/such/folder.md"]) == Exit.OUTSIDE


def test_a_verdict_of_another_model_takes_no_run_and_no_rollout(context: Context) -> None:
    """A reject leaves the champion's bundle where it is; its numbers are not the candidate's."""
    other = replace(verdict(AUC), digests=replace(verdict(AUC).digests, candidate="9" * 64))
    path = _write(context, other)
    _taken_back(context)
    report = gather(context, path)
    assert (report.run, report.candidate, report.story) == (None, None, None)
    assert report.champion == "1"


def test_a_verdict_on_a_ready_made_table_needs_no_ledger(
    context: Context, capsys: pytest.CaptureFixture[str]
) -> None:
    judged = verdict(replace(AUC, outcome=Outcome.REJECT, cause=Cause.VIOLATED))
    bare = replace(judged, digests=replace(judged.digests, candidate=None))
    Path("v.json").write_text(json.dumps(document(bare, ["no mlops.yaml"])))
    assert main(["report", "--verdict", "v.json"]) == Exit.OK
    out = capsys.readouterr().out
    assert out.startswith("> [!CAUTION]\n")
    assert "\n`no mlops.yaml`\n" in out


@pytest.mark.parametrize("content", [None, "{}", "not json"])
def test_without_a_verdict_it_says_what_to_do(
    context: Context, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        Path("v.json").write_text(content)
    assert main(["report", "--verdict", "v.json"]) == Exit.NOT_JUDGED
    message, remedy = capsys.readouterr().err.splitlines()
    assert message.startswith("tidegate: v.json: ")
    assert "Run `tidegate " in remedy


# --- after the merge, on another machine ----------------------------------------------------


def _registered(
    context: Context, monkeypatch: pytest.MonkeyPatch, judged: Verdict | None
) -> VersionRef:
    """Put version 2 into a registry, with what was judged in its bundle, and its story told."""
    shelf = context.folder / "registry"
    bundle = make_bundle(shelf / "v2", "model 2")
    model = replace(_NEW, digest=folder_digest(bundle / MODEL))
    if judged is not None:
        digests = replace(judged.digests, candidate=model.digest)
        (bundle / VERDICT).write_text(json.dumps(document(replace(judged, digests=digests))))
    monkeypatch.setattr(Context, "registry", lambda _: FakeRegistry(shelf))
    _append(
        context, Registered(model=_OLD), Registered(model=model),
        Judged(outcome="pass", candidate=model.digest, champion=_OLD.digest, holdout="e5" * 32, rules="c3" * 32,
               recipe=model.recipe, commit=model.commit),
        _requested(_OLD, Mode.DIRECT), *_turn("r4", Phase.PROMOTED, {"1": 1.0}),
        _requested(model, Mode.CANARY), Deployed(rollout="r7"),
        *_turn("r7", Phase.CANARY, {"1": 0.75, "2": 0.25}),
    )  # fmt: skip
    return model


def test_a_registered_version_brings_its_verdict_along(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _registered(context, monkeypatch, verdict(AUC))
    report = report_for(context, context.ledger().read(), model)
    assert report is not None
    assert (report.candidate, report.champion, report.commit) == ("2", "1", model.commit)
    assert report.story is not None
    assert report.story.rollout.phase is Phase.CANARY
    assert "**`flight-delays`: passed, now in canary at 25 %.**" in comment(report)


def test_a_version_registered_without_a_verdict_has_no_report(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _registered(context, monkeypatch, None)
    assert report_for(context, context.ledger().read(), model) is None


def test_a_verdict_that_the_ledger_does_not_know_is_not_shown(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    worse = replace(AUC, outcome=Outcome.REJECT, cause=Cause.VIOLATED)
    model = _registered(context, monkeypatch, verdict(worse))
    book = context.ledger().read()
    with pytest.raises(NotJudgedError, match="is not what the ledger says"):
        report_for(context, book, model)
    with pytest.raises(OutsideError, match="is not what was judged"):
        report_for(context, book, replace(model, digest="9" * 64))


def test_who_let_a_model_through_is_told(context: Context) -> None:
    path = _write(context, verdict(replace(AUC, outcome=Outcome.REJECT, cause=Cause.VIOLATED)))
    _append(context, Overridden(candidate=_NEW.digest, reason="a known bad holdout"))
    assert gather(context, path).override == Override(by="tidegate", reason="a known bad holdout")


def test_the_help_says_the_same_as_the_command() -> None:
    from tidegate.cli import VERBS

    assert VERBS["report"] == SUMMARY
