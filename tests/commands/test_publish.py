"""tidegate publish: a stranger's run is shown as numbers, on its own pull request, or not at all."""

from __future__ import annotations

import copy
import json
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.github.hub import zipped
from tests.github.server import serve
from tests.test_archives import BAD_ZIPS
from tests.test_fail_open import table
from tidegate.adapters.ledger.git import GitLedger
from tidegate.book import Ledger
from tidegate.cli import main
from tidegate.core.anonymous import anonymous
from tidegate.core.events import Looked
from tidegate.core.gate import judge
from tidegate.core.model import Digests
from tidegate.git import git, text
from tidegate.load import loads
from tidegate.render.verdict import document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.github.hub import Hub

pytestmark = pytest.mark.real

SHA, RUN, FORK = "c" * 40, 4711, 2002
RULES = """\
version: 1
model: {name: NAME, task: binary}
data: {train: a.csv, holdout: b.csv, target: y, id: id}
train: {run: python train.py}
gate:
  rules:
    - {metric: roc_auc, at_least: 0.6, margin: 0.05}
  slices:
    - {by: [region], metric: roc_auc, margin: 0.05}
"""
CONFIGS = {name: loads("mlops.yaml", RULES.replace("NAME", name)).config for name in ("one", "two")}


def verdict(name: str = "one", *, good: bool = True) -> dict[str, Any]:
    """Return what an honest run leaves: a verdict whose names are the base's."""
    config = CONFIGS[name]
    predictions = table(4000, candidate=1.0 if good else 3.0)
    codes = np.arange(4000) % 3
    predictions = replace(predictions, slices={"region": (("<b>x</b>", "north", "@team"), codes)})
    digests = Digests(
        candidate="1" * 64, champion="2" * 64, holdout="3" * 64, rules=config.rules_digest, code=SHA
    )
    found = judge(predictions, config.gate, task=config.model.task, digests=digests)
    shown: dict[str, Any] = json.loads(json.dumps(document(anonymous(found, config))))
    return shown


GOOD, BAD = verdict(), verdict(good=False)


@dataclass
class Town:
    """A repository on GitHub, a stranger's pull request, and the job that publishes."""

    hub: Hub
    root: Path
    base: str
    patch: pytest.MonkeyPatch
    run: dict[str, Any] = field(default_factory=dict)

    def pull(self, **more: Any) -> int:
        wanted: dict[str, Any] = {
            "head": "main", "sha": SHA, "base_sha": self.base, "head_repository": "mallory/churn",
            "head_repository_id": FORK, "login": "mallory",
        }  # fmt: skip
        return int(self.hub.add_pull(**(wanted | more))["number"])

    def leave(self, what: dict[str, Any] | bytes, *, name: str = "one", run: int = RUN) -> None:
        """Let the stranger's run leave an artifact: a verdict, or these very bytes."""
        if not isinstance(what, bytes):
            what = zipped([("verdict.json", json.dumps(what).encode())])
        self.hub.add_run(run, head_repository_id=FORK, branch="main", sha=SHA)
        self.hub._keep_artifact(run, f"tidegate-result-{name}", what)

    def publish(self, **more: Any) -> int:
        event = {
            "repository": {"id": self.hub.repository_id, "default_branch": "main"},
            "workflow_run": {
                "id": RUN, "event": "pull_request", "head_sha": SHA, "head_branch": "main",
                "head_repository": {"id": FORK, "owner": {"login": "mallory"}},
                **more,
            },
        }  # fmt: skip
        (self.root / "event.json").write_text(json.dumps(event))
        return main(["publish", f"--run={RUN}", "--json"])

    @property
    def looks(self) -> list[Looked]:
        remote = self.root / "acme" / "churn.git"
        found: list[Looked] = []
        for name in CONFIGS:
            store = GitLedger(remote, f"tidegate-ledger/{name}", remote=None)
            chain = Ledger(store, lambda _s, _c: "").read().chain
            found += [e.payload for e in chain if isinstance(e.payload, Looked)]
        return found

    @property
    def untouched(self) -> bool:
        state = self.hub.state
        return not (state.comments or state.checks or self.looks)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A bare repository with two models, below a folder that stands for the server."""
    root = tmp_path_factory.mktemp("server")
    work = root / "work"
    work.mkdir()
    text(work, "init", "--quiet", "--initial-branch=main")
    for name in CONFIGS:
        (work / name).mkdir()
        (work / name / "mlops.yaml").write_text(RULES.replace("NAME", name))
    (work / "broken").mkdir()
    (work / "broken" / "mlops.yaml").write_text("version: 9")
    text(work, "add", "--all")
    text(work, "-c", "user.name=A", "-c", "user.email=a@b", "commit", "--quiet", "-m", "x")
    (root / "acme").mkdir()
    text(root, "clone", "--quiet", "--bare", str(work), str(root / "acme" / "churn.git"))
    return root, text(work, "rev-parse", "HEAD")


@pytest.fixture
def town(
    origin: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Town]:
    root, base = origin
    bare = root / "acme" / "churn.git"
    for name in CONFIGS:
        git(bare, "update-ref", "-d", f"refs/heads/tidegate-ledger/{name}")
    with serve(bare=bare) as hub:
        (tmp_path / "empty").mkdir()
        monkeypatch.chdir(tmp_path / "empty")
        for name, value in {
            "GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "acme/churn", "GITHUB_API_URL": hub.url,
            "GITHUB_SERVER_URL": f"file://{root}", "GITHUB_EVENT_PATH": str(root / "event.json"),
            "GITHUB_EVENT_NAME": "workflow_run", "GITHUB_RUN_ID": "1", "GITHUB_SHA": base,
            "TIDEGATE_GITHUB_TOKEN": hub.token, "RUNNER_TEMP": str(tmp_path),
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        yield Town(hub, root, base, monkeypatch)
        assert list((tmp_path / "empty").iterdir()) == []  # nothing was checked out


def test_a_strangers_verdict_is_published_once_and_counted_once(
    town: Town, capfd: pytest.CaptureFixture[str]
) -> None:
    town.pull(head="other", sha="d" * 40)
    number = town.pull()
    town.leave(GOOD)
    for _ in range(2):
        capfd.readouterr()
        assert town.publish() == 0
        assert json.loads(capfd.readouterr().out) == {
            "published": ["one"], "refused": [], "pull": number,
        }  # fmt: skip
    (comment,) = town.hub.state.comments
    assert comment["_number"] == number
    assert "tidegate:one" in comment["body"]
    assert "group 1" in comment["body"]
    assert not any(word in comment["body"] for word in ("north", "<b>", "@team"))
    assert {(c["name"], c["head_sha"], c["conclusion"]) for c in town.hub.state.checks} == {
        ("tidegate/one", SHA, "success")
    }
    (look,) = town.looks
    assert (look.candidate, look.rules, look.pull) == (
        "1" * 64, CONFIGS["one"].rules_digest, number,
    )  # fmt: skip


def test_a_second_run_edits_the_same_comment(town: Town) -> None:
    town.pull()
    town.leave(GOOD)
    assert town.publish() == 0
    first = town.hub.state.comments[0]["body"]
    town.leave(BAD)
    assert town.publish() == 0
    (comment,) = town.hub.state.comments
    assert comment["body"] != first
    assert "ejected" in comment["body"]


@pytest.mark.parametrize(
    "pull",
    [
        {"sha": "d" * 40}, {"head_repository_id": 3003}, {"head_repository": "eve/churn"},
        {"head": "dev"}, {"merge_commit": "e" * 40}, None,
    ],
    ids=["newer commit", "other id", "same branch of another fork", "other branch", "closed", "none"],
)  # fmt: skip
def test_without_its_own_open_pull_request_nothing_is_published(
    town: Town, pull: dict[str, Any] | None
) -> None:
    if pull is not None:
        town.pull(**pull)
    town.leave(GOOD)
    assert town.publish() == 0
    assert town.untouched


@pytest.mark.parametrize(
    "run",
    [
        {"event": "push"}, {"event": "pull_request_target"}, {"id": RUN + 1},
        {"head_repository": {"id": 1001, "owner": {"login": "acme"}}},
    ],
    ids=["push", "target", "other run", "own branch"],
)  # fmt: skip
def test_only_a_forks_pull_request_is_published(town: Town, run: dict[str, Any]) -> None:
    town.pull()
    town.leave(GOOD)
    assert town.publish(**run) == 0
    assert town.untouched
    assert town.hub.requests == []


@pytest.mark.parametrize(
    "run",
    [{"head_repository": None}, {"head_sha": None}, {"id": "x"}, {"head_repository": {"id": 1}}],
)
def test_an_event_that_describes_no_run_publishes_nothing(town: Town, run: dict[str, Any]) -> None:
    town.pull()
    town.leave(GOOD)
    assert town.publish(**run) in (0, 3)
    assert town.untouched


def test_only_the_artifact_of_that_very_run_counts(town: Town) -> None:
    town.pull()
    town.leave(GOOD, run=RUN + 1)
    town.leave(GOOD, name="one-more")
    town.leave(GOOD, name="three")  # no model of the base
    assert town.publish() == 0
    assert town.untouched


def test_of_two_models_the_good_one_is_published_and_the_other_told(
    town: Town, capfd: pytest.CaptureFixture[str]
) -> None:
    town.pull()
    town.leave({**GOOD, "notes": ["free iPhone"]})
    town.leave(verdict("two"), name="two")
    assert town.publish() == 1
    captured = capfd.readouterr()
    assert json.loads(captured.out)["published"] == ["two"]
    assert "refused: one" in captured.err
    (comment,) = town.hub.state.comments
    assert "tidegate:two" in comment["body"]
    assert "iPhone" not in comment["body"]
    assert len(town.looks) == 1


def test_a_failure_to_tell_one_model_does_not_silence_the_other(town: Town) -> None:
    town.pull()
    town.leave(GOOD)
    town.leave(verdict("two"), name="two")
    town.hub.fail_next("POST", r"/check-runs", status=403)
    assert town.publish() in (1, 3)
    assert "tidegate:two" in "".join(c["body"] for c in town.hub.state.comments)


def test_bytes_other_than_those_uploaded_are_not_shown(town: Town) -> None:
    town.pull()
    town.leave(GOOD)
    (row,) = town.hub.state.artifacts
    other = zipped([("verdict.json", json.dumps(BAD).encode())])
    town.hub.blobs[row["digest"].removeprefix("sha256:")] = other
    assert town.publish() == 1
    assert town.untouched


# --- what is refused ------------------------------------------------------------------------


def change(**more: Any) -> Callable[[dict[str, Any]], None]:
    return lambda said: said.update(more)


def finding(level: str, **more: Any) -> Callable[[dict[str, Any]], None]:
    def act(said: dict[str, Any]) -> None:
        next(f for f in said["findings"] if f["level"] == level).update(more)

    return act


def digest(**more: Any) -> Callable[[dict[str, Any]], None]:
    return lambda said: said["digests"].update(more)


REFUSED: dict[str, Callable[[dict[str, Any]], None]] = {
    "notes": change(notes=["See https://evil.example"]),
    "other rules": digest(rules="4" * 64),
    "no rules": digest(rules=None),
    "two's rules": digest(rules=CONFIGS["two"].rules_digest + "0"),
    "candidate that is none": digest(candidate="see https://evil.example"),
    "code that is none": digest(code="@everyone"),
    "holdout that is none": digest(holdout="1" * 63 + "\n"),
    "slice": finding("slice", slice="region=<img src=x>"),
    "slice with a line": finding("slice", slice="group 1\n"),
    "slice of another name": finding("slice", slice="group one"),
    "column": finding("headline", column="https://evil.example"),
    "metric": finding("headline", metric="click here"),
    "metric of no rule": finding("headline", metric="f1"),
    "metric of slices": finding("slice", metric="data"),
    "headline": change(outcome="inconclusive"),
    "unknown key": change(extra=1),
    "unknown outcome": change(outcome="great"),
    "unknown cause": finding("headline", cause="because"),
    "no findings": change(findings=[]),
    "rows as text": change(n="many"),
    "infinite": finding("headline", candidate=float("inf")),
    "not a number": finding("headline", difference=float("nan")),
    "huge": finding("headline", rows_needed=10**30),
    "many": lambda said: said.update(findings=said["findings"] * 2000),
}


@pytest.mark.parametrize("how", REFUSED)
def test_an_artifact_that_ours_would_never_be_is_not_shown_at_all(
    town: Town, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    said = copy.deepcopy(GOOD)
    REFUSED[how](said)
    town.pull()
    town.leave(said)
    assert town.publish() == 1
    assert town.untouched
    assert "refused: one" in capfd.readouterr().err


ZIPS: dict[str, bytes] = {
    **{f"zip: {what}": data for what, data in BAD_ZIPS.items()},
    "another name": zipped([("other.json", json.dumps(GOOD).encode())]),
    "two files": zipped([("verdict.json", json.dumps(GOOD).encode()), ("x", b"")]),
    "a page beside it": zipped([("verdict.json", b"{}"), ("report.html", b"<script>")]),
    "bomb": zipped([("verdict.json", b"[" * 200_000)]),
    "zeros": zipped([("verdict.json", bytes(10_000_000))]),
    "not UTF-8": zipped([("verdict.json", b"\xff\xfe")]),
    "too large": zipped([("verdict.json", random.Random(1).randbytes(80_000))]),
}


def test_no_hostile_zip_is_shown(town: Town) -> None:
    town.pull()
    shown = []
    for number, (what, data) in enumerate(ZIPS.items(), start=RUN + 1):
        town.leave(data, run=number)
        event_id = {"id": number}
        town.patch.setattr(f"{__name__}.RUN", number)
        if town.publish(**event_id) != 1 or not town.untouched:
            shown.append(what)
    assert shown == []


def test_whatever_numbers_it_holds_it_is_refused_or_rendered_and_never_a_crash(town: Town) -> None:
    """Every field of every finding set to everything that its type may be."""
    values = [
        None,
        0,
        -1.5,
        1e308,
        -1e308,
        5e-324,
        0.5,
        1,
        2**62,
        True,
        "",
        "margin",
        "lower",
        "error",
    ]
    from tidegate.core.anonymous import strangers
    from tidegate.errors import TidegateError
    from tidegate.load import violations
    from tidegate.render.check import check
    from tidegate.render.comment import comment
    from tidegate.render.report import Report
    from tidegate.verdicts import _verdict

    rng, rendered = random.Random(5), 0
    for _ in range(2000):
        said = copy.deepcopy(GOOD)
        for _ in range(rng.randint(1, 4)):
            where = rng.choice(said["findings"])
            where[rng.choice(list(where))] = rng.choice(values)
        if violations(said, "verdict.schema.json"):
            continue
        try:
            found = _verdict(said)
        except (ValueError, TidegateError):
            continue
        if next(strangers(found, CONFIGS["one"]), None):
            continue
        report = Report(model="one", verdict=found, commit=SHA, run_url="https://x/1", fork=True)
        assert comment(report)
        assert check(report).summary
        rendered += 1
    assert rendered > 150
