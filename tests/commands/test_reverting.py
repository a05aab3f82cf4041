"""The branch that takes a commit back: for a person to merge, or none."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from tidegate.commands.reverting import push_revert
from tidegate.errors import OutsideError
from tidegate.git import GitError, text
from tidegate.render.issue import branch_of

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.render.issue import TakenBack

pytestmark = pytest.mark.real
BRANCH = branch_of("coin", "r7")


@dataclass
class Place:
    """A clone in which the job runs, and its origin."""

    work: Path
    origin: Path

    def commit(self, **files: str) -> str:
        for name, content in files.items():
            (self.work / name).write_text(content)
        text(self.work, "add", "--all")
        text(self.work, "commit", "--quiet", "--allow-empty", "-m", "change")
        return text(self.work, "rev-parse", "HEAD")

    def push(self) -> None:
        text(self.work, "push", "--quiet", "origin", "HEAD:main")

    def revert(self, commit: str) -> str | None:
        story = SimpleNamespace(rollout=SimpleNamespace(id="r7"))
        case = SimpleNamespace(model="coin", story=story, base="main", commit=commit)
        return push_revert(self.work, cast("TakenBack", case))

    def pushed(self) -> dict[str, str]:
        lines = text(self.origin, "for-each-ref", "--format=%(refname:short) %(objectname)")
        return dict(line.split(" ") for line in lines.splitlines())

    def shows(self, name: str, ref: str = BRANCH) -> str | None:
        try:
            return text(self.origin, "show", f"{ref}:{name}")
        except GitError:
            return None


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path / "work", tmp_path / "origin.git")
    text(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(place.origin))
    text(tmp_path, "clone", "--quiet", str(place.origin), str(place.work))
    text(place.work, "checkout", "--quiet", "-b", "main")
    text(place.work, "config", "user.name", "Ada")
    text(place.work, "config", "user.email", "ada@example.org")
    place.commit(a="1", b="1")
    place.push()
    return place


def untouched(place: Place, head: str) -> bool:
    """Whether the job's own checkout is as it was."""
    clean = not text(place.work, "status", "--porcelain")
    trees = text(place.work, "worktree", "list").splitlines()
    return clean and len(trees) == 1 and text(place.work, "rev-parse", "HEAD") == head


def test_the_branch_is_the_newest_default_branch_without_the_commit(place: Place) -> None:
    bad = place.commit(a="bad")
    newest = place.commit(c="later")
    place.push()
    text(place.work, "checkout", "--quiet", "--detach", bad)  # the job's checkout is behind
    assert place.revert(bad) == BRANCH
    assert (place.shows("a"), place.shows("c")) == ("1", "later")
    assert text(place.origin, "rev-parse", f"{BRANCH}^") == newest
    assert text(place.origin, "log", "-1", "--format=%an", BRANCH) == "tidegate"
    assert place.pushed()["main"] == newest
    assert untouched(place, bad)


def test_asked_again_the_same_branch_is_found_and_left_as_it_is(place: Place) -> None:
    bad = place.commit(a="bad")
    place.push()
    assert place.revert(bad) == BRANCH
    before = place.pushed()
    place.commit(d="later")
    place.push()
    assert place.revert(bad) == BRANCH
    assert place.pushed()[BRANCH] == before[BRANCH]


def test_a_merge_is_taken_back_as_a_whole(place: Place) -> None:
    text(place.work, "checkout", "--quiet", "-b", "topic")
    place.commit(a="bad")
    place.commit(e="more")
    text(place.work, "checkout", "--quiet", "main")
    place.commit(c="meanwhile")
    text(place.work, "merge", "--quiet", "--no-ff", "-m", "merge", "topic")
    merge = text(place.work, "rev-parse", "HEAD")
    place.push()
    assert place.revert(merge) == BRANCH
    assert (place.shows("a"), place.shows("c"), place.shows("e")) == ("1", "meanwhile", None)


def test_a_conflict_is_no_branch_and_leaves_nothing(place: Place) -> None:
    bad = place.commit(a="bad")
    newest = place.commit(a="built upon the bad one")
    place.push()
    assert place.revert(bad) is None
    assert set(place.pushed()) == {"main"}
    assert untouched(place, newest)


@pytest.mark.parametrize("commit", ["f" * 40, "main~99"])
def test_a_commit_that_is_not_there_is_no_branch(place: Place, commit: str) -> None:
    assert place.revert(commit) is None
    assert set(place.pushed()) == {"main"}


def test_a_commit_that_is_taken_back_already_is_no_branch(place: Place) -> None:
    bad = place.commit(a="bad")
    text(place.work, "revert", "--no-edit", bad)
    place.push()
    assert place.revert(bad) is None
    assert set(place.pushed()) == {"main"}


def test_a_push_that_is_forbidden_is_told_with_what_the_server_said(place: Place) -> None:
    bad = place.commit(a="bad")
    place.push()
    hook = place.origin / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'refusing to allow: workflows permission' >&2\nexit 1\n")
    hook.chmod(hook.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(OutsideError, match="workflows permission") as caught:
        place.revert(bad)
    assert "which this token may not" in caught.value.remedy
    assert set(place.pushed()) == {"main"}
    assert untouched(place, bad)


def test_a_remote_that_is_gone_is_an_outside_error(place: Place) -> None:
    bad = place.commit(a="bad")
    text(place.work, "remote", "set-url", "origin", str(place.origin.with_name("gone.git")))
    with pytest.raises(OutsideError):
        place.revert(bad)
    assert untouched(place, bad)


def test_hooks_and_editors_of_the_machine_do_not_hold_it_up(place: Place) -> None:
    text(place.work, "config", "core.editor", "false")
    bad = place.commit(a="bad")
    place.push()
    assert place.revert(bad) == BRANCH
