"""The ledger on real git: in a repository, and at a bare origin."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.fakes import MemoryLedger
from tidegate.adapters.ledger.git import GitLedger
from tidegate.book import Ledger
from tidegate.commands.recording import record
from tidegate.core.events import Heartbeat
from tidegate.errors import LedgerMovedError, OutsideError
from tidegate.git import text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tidegate.ports import LedgerStore

pytestmark = pytest.mark.real

BRANCH = "tidegate-ledger/m"


def run(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True, capture_output=True)


@pytest.fixture
def clones(tmp_path: Path) -> tuple[Path, Path]:
    """Two clones of one bare origin."""
    origin = tmp_path / "origin.git"
    run("init", "--quiet", "--bare", str(origin))
    for name in ("one", "two"):
        run("clone", "--quiet", str(origin), str(tmp_path / name))
    return tmp_path / "one", tmp_path / "two"


Stores = tuple["LedgerStore", "LedgerStore"]


@pytest.fixture(params=["memory", "repository", "origin"])
def stores(request: pytest.FixtureRequest, clones: tuple[Path, Path]) -> Stores:
    """Two writers of the same ledger."""
    one, two = clones
    make: dict[str, Callable[[], Stores]] = {
        "memory": lambda: (memory := MemoryLedger(), memory),
        "repository": lambda: (
            GitLedger(one, BRANCH, remote=None),
            GitLedger(one, BRANCH, remote=None),
        ),
        "origin": lambda: (
            GitLedger(one, BRANCH, remote="origin"),
            GitLedger(two, BRANCH, remote="origin"),
        ),
    }
    return make[request.param]()


def test_a_new_ledger_is_empty(stores: Stores) -> None:
    assert stores[0].read().commit is None
    assert dict(stores[0].read().files) == {}


def test_one_writer_sees_what_the_other_wrote(stores: Stores) -> None:
    first = stores[0].write(stores[0].read(), {"a": b"1", "d/b": b"2"}, "one")
    stores[0].write(first, {"a": b"3"}, "two")
    assert dict(stores[1].read().files) == {"a": b"3", "d/b": b"2"}


def test_the_second_of_two_writers_over_one_base_loses_and_changes_nothing(stores: Stores) -> None:
    base = stores[0].write(stores[0].read(), {"a": b"0"}, "zero")
    late = stores[1].read()
    stores[0].write(base, {"a": b"1"}, "one")
    with pytest.raises(LedgerMovedError):
        stores[1].write(late, {"a": b"2"}, "two")
    assert stores[1].read().files["a"] == b"1"


def test_two_writers_of_the_very_first_commit_do_not_both_win(stores: Stores) -> None:
    nothing = stores[0].read(), stores[1].read()
    stores[0].write(nothing[0], {"a": b"1"}, "one")
    with pytest.raises(LedgerMovedError):
        stores[1].write(nothing[1], {"a": b"2"}, "two")


def test_concurrent_writers_lose_no_event(stores: Stores) -> None:
    def write(writer: int) -> None:
        ledger = Ledger(stores[writer % 2], lambda state, chain: "page\n")
        for number in range(4):
            beat = Heartbeat(rollout=f"r{writer}", closed=number)
            record(ledger, lambda _, beat=beat: beat, actor="t")  # type: ignore[misc]

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, range(3)))
    chain = Ledger(stores[0], lambda state, chain: "").read().chain
    written = {
        (e.payload.rollout, e.payload.closed) for e in chain if isinstance(e.payload, Heartbeat)
    }
    assert written == {(f"r{w}", n) for w in range(3) for n in range(4)}
    assert len(chain) == 12


def test_the_branch_is_an_orphan_and_no_work_tree_is_touched(clones: tuple[Path, Path]) -> None:
    one, _ = clones
    store = GitLedger(one, BRANCH, remote="origin")
    store.write(store.read(), {"events.jsonl": b"{}\n"}, "one")
    assert text(one, "rev-list", "--count", "refs/tidegate/" + BRANCH) == "1"
    assert text(one, "status", "--porcelain") == ""
    assert [p.name for p in one.iterdir()] == [".git"]


def test_an_unreachable_origin_is_an_outside_error(clones: tuple[Path, Path]) -> None:
    one, _ = clones
    run("-C", str(one), "remote", "set-url", "origin", str(one / "gone.git"))
    with pytest.raises(OutsideError, match="git ls-remote failed"):
        GitLedger(one, BRANCH, remote="origin").read()


def test_a_refused_push_is_not_taken_for_a_lost_race(clones: tuple[Path, Path]) -> None:
    one, _ = clones
    hook = one.parent / "origin.git" / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho protected >&2\nexit 1\n")
    hook.chmod(0o755)
    store = GitLedger(one, BRANCH, remote="origin")
    with pytest.raises(OutsideError, match="cannot be pushed") as caught:
        store.write(store.read(), {"a": b"1"}, "one")
    assert not isinstance(caught.value, LedgerMovedError)


def test_a_tampered_ledger_is_refused_with_the_line(stores: Stores) -> None:
    ledger = Ledger(stores[0], lambda state, chain: "")
    record(ledger, lambda _: Heartbeat(rollout="r1", closed=1), actor="t")
    snapshot = stores[0].read()
    edited = snapshot.files["events.jsonl"].replace(b'"closed": 1', b'"closed": 2')
    stores[0].write(snapshot, {"events.jsonl": edited}, "tamper")
    with pytest.raises(OutsideError, match=r"events\.jsonl line 1"):
        ledger.read()
