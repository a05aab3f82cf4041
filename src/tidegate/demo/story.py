"""Five pushes, told while they happen; each must end as it should, or the story fails."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from tidegate import hook
from tidegate.adapters.ledger.git import GitLedger
from tidegate.book import Book, Ledger
from tidegate.commands.context import BRANCH
from tidegate.core.events import Phase
from tidegate.demo import ending, pages
from tidegate.demo.chapters import CHAPTERS, Chapter
from tidegate.demo.stage import ENDPOINT, Stage, environment
from tidegate.errors import NotJudgedError, OutsideError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate.terminal import Terminal

CANARY_RATE, QUIET_RATE = 1000.0, 25.0  # requests a second
LONGEST = 900.0  # seconds the replay runs at most
_PUSH = 420.0  # seconds a push may take
_PROBATION = 90.0
_CALM = 3.0  # seconds between two lines about the same step
_REFS = re.compile(r"-> main$")
_STAMP = re.compile(r"^\[ *[\d.]+s\] ")


@dataclass(kw_only=True)
class Story:
    """The story as far as it has been told."""

    stage: Stage
    terminal: Terminal
    pushed: dict[Chapter, str] = field(default_factory=dict)
    endings: dict[Chapter, ending.Ending] = field(default_factory=dict)

    @property
    def book(self) -> Book:
        """The ledger now."""
        store = GitLedger(self.stage.origin, f"{BRANCH}/{ENDPOINT}", remote=None)
        return Ledger(store, lambda _state, _chain: "").read()

    def play(self) -> None:
        """Play all chapters.

        Raises:
            NotJudgedError: a push did not end as it must.
            OutsideError: git, the box or the endpoint failed.
        """
        first, *others = CHAPTERS
        self._chapter(first)
        with self.stage.passengers(rate=QUIET_RATE, seconds=LONGEST), self._pacing():
            for chapter in others:
                if chapter.phase is Phase.REVERTED:
                    self._wait_for_probation()
                self._chapter(chapter)
            self._wait_for_probation()

    def _chapter(self, chapter: Chapter) -> None:
        say = self.terminal.say
        say(f"\n=== Push {chapter.number} of {len(CHAPTERS)}: {chapter.message} ===")
        say(f"\n{chapter.before}\n\n  |")
        commit = self.stage.commit(chapter.message, chapter.overlay)
        self.pushed[chapter] = commit
        began = time.monotonic()
        code = self._push(chapter, commit)
        if chapter.phase is Phase.REVERTED:
            time.sleep(3.5)  # until the endpoint has counted the last answers of the candidate
        book = self.book
        end = self.endings[chapter] = ending.read(self.stage, book, commit, code)
        if wrong := ending.problems(chapter, end, book.state):
            raise NotJudgedError(
                "the story did not end as it must: " + "; ".join(wrong),
                remedy=f"Everything is in {self.stage.folder}: see home/pushes/*/log.",
            )
        say(f"\n{chapter.after}")
        if end.rule and end.requests:
            say(
                f"It answered {end.requests:,} requests in {end.seconds:.0f} s, "
                f"{end.errors:,} of them with an error."
            )
        say(f"({time.monotonic() - began:.0f} s; exit code {code}, as it must be)")

    # --- one push -----------------------------------------------------------------------------

    def _push(self, chapter: Chapter, commit: str) -> int:
        place = self.stage.box.place(commit)
        if place.code is not None and place.code != chapter.code:
            place.forget()  # of an earlier, unlucky run of the story: once more
        if place.code is None:
            self._show(self._command(commit))
        else:
            self.terminal.say("  (pushed and decided before)")
        code = place.code
        if code is None:
            raise OutsideError(
                f"push {chapter.number} ended without a decision",
                remedy=f"Run the demo again with --dir {self.stage.folder}: it goes on from here.",
            )
        return code

    def _command(self, commit: str) -> list[str]:
        """Return the push; or, when origin has the commit already, what its hook would run."""
        there = subprocess.run(
            ["git", "-C", str(self.stage.origin), "merge-base", "--is-ancestor", commit, "main"],
            check=False, capture_output=True,
        )  # fmt: skip
        if there.returncode != 0:
            return [
                "git",
                "-C",
                str(self.stage.work),
                "push",
                "origin",
                f"{commit}:refs/heads/main",
            ]
        return hook.again(self.stage.box, commit)

    def _show(self, command: list[str]) -> None:
        """Run a push and show what the box prints, a calm selection of it."""
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", env=environment(),
        )  # fmt: skip
        guard = threading.Timer(_PUSH, process.kill)
        guard.start()
        try:
            assert process.stdout is not None
            for line in calm(process.stdout):
                self.terminal.say(f"  | {line}")
            process.wait()
        finally:
            guard.cancel()
            if process.poll() is None:
                process.kill()
                process.wait()

    # --- between pushes -----------------------------------------------------------------------

    def _wait_for_probation(self) -> None:
        deadline = time.monotonic() + _PROBATION
        told = False
        while (live := self.book.state.rollout) is not None:
            if not told:
                told = True
                self.terminal.say(
                    f"\nWaiting for version {live.model.version}'s probation to end ..."
                )
            if time.monotonic() > deadline:
                raise OutsideError(
                    f"the rollout of version {live.model.version} does not end",
                    remedy=f"See {self.stage.home.root}/pushes/*/ticks.log.",
                )
            time.sleep(0.5)
        if told:
            self.terminal.say("It is over: the new version has all traffic.")

    def _pacing(self) -> _Pacing:
        return _Pacing(self)

    def document(self) -> dict[str, object]:
        """Return the story as data."""
        return {
            "folder": str(self.stage.folder),
            "pushes": [
                {"number": c.number, "name": c.name, **asdict(e)} for c, e in self.endings.items()
            ],
            "traffic": asdict(self.stage.replay),
        }


class _Pacing:
    """Sends more passengers while a canary is watched, fewer while models train.

    Two cores cannot do everything at once, and evidence is what a canary waits for.
    """

    def __init__(self, story: Story) -> None:
        self._story = story
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.7):
            try:
                live = self._story.book.state.rollout
            except OutsideError:
                continue  # somebody writes the ledger right now
            watched = live is not None and live.phase is Phase.CANARY
            self._story.stage.pace(CANARY_RATE if watched else QUIET_RATE)


def calm(lines: Iterator[str]) -> Iterator[str]:
    """Yield what a person wants to follow: everything once, a waiting canary every few seconds."""
    last, kind = 0.0, ""
    for raw in lines:
        line = raw.rstrip().removeprefix("remote: ").rstrip()
        plain = _STAMP.sub("", line)
        if not plain or plain.startswith(("To ", "remote:")) or _REFS.search(plain):
            continue
        now, same = time.monotonic(), plain.split(":")[0]
        if same == kind and " canary at " in same and now - last < _CALM:
            continue
        last, kind = now, same
        yield line


def play(stage: Stage, terminal: Terminal, *, keep: bool) -> Story:
    """Set the stage, play the story, write its pages, and end what was started."""
    os.environ["TIDEGATE_HOME"] = str(stage.home.root)
    story = Story(stage=stage, terminal=terminal)
    try:
        terminal.progress("building the data: 336,776 flights of 2013 out of New York")
        stage.prepare()
        story.play()
        _end(story)
    finally:
        if not keep:
            terminal.progress("ending the endpoint and everything else that was started")
            stage.stop(list(story.pushed.values()))
    return story


def _end(story: Story) -> None:
    say, stage = story.terminal.say, story.stage
    say("\n=== What was seen of the bad models ===")
    for chapter, end in story.endings.items():
        if chapter.code != 0:
            say(
                f"push {chapter.number} ({chapter.name}): {end.requests:,} requests in {end.seconds:.0f} s"
            )
            say(f"    stopped by {end.rule}")
    where = pages.write(stage, story.pushed, story.terminal)
    say("\n=== tidegate status ===\n\n" + where["tidegate status"].read_text())
    say("=== tidegate log ===\n\n" + where["tidegate log"].read_text())
    say("=== Worth reading ===\n")
    for what, path in where.items():
        say(f"{what:24} {path}")
