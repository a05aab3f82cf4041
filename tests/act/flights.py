"""The flight-delays example as a repository on the small GitHub, and its passengers."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

from tests.act.world import WORKFLOW, World
from tidegate.adapters.ledger.git import GitLedger
from tidegate.book import Book, Ledger
from tidegate.commands.context import BRANCH
from tidegate.demo import data
from tidegate.demo.stage import ENDPOINT, Stage
from tidegate.demo.story import LONGEST, QUIET_RATE, Story
from tidegate.endpoint import control
from tidegate.render import starter
from tidegate.resources import resource
from tidegate.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate.core.state import State

EXAMPLE = resource("examples/flight-delays")
# The story's model differs from the example in where versions are kept, and in how long canaries take:
# on two cores with act beside them, every second of one is paid for.
_CHANGED = (
    ("release:\n", "registry: {store: github-releases}\nrelease:\n"),
    ("warmup: 2s", "warmup: 1s"),
    ("steps: [5%, 25%, 50%]", "steps: [20%, 50%]"),
    ("bake: 4s", "bake: 3s"),
    ("deadline: 4m", "deadline: 12m"),  # the machine may be busy with another story
    ("probation: {for: 12s,", "probation: {for: 6s,"),
)
# Of this world alone: two stories that begin at once would both find the example's port free.
_PORT = 8920 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
FORKS = ".github/workflows/mlops-forks.yml"


@dataclass
class Flights:
    """The user's side: files to push, what serves, what the ledger says."""

    world: World

    @classmethod
    def begun(cls, world: World) -> Flights:
        """Lay out what the demo's stage expects, and build the data."""
        flights = cls(world)
        data.build(flights.stage.folder / "data")
        (world.folder / "origin.git").symlink_to(world.bare)
        return flights

    @property
    def stage(self) -> Stage:
        """The demo's stage over this world: its traffic and its ledger."""
        return Stage(self.world.folder)

    def first(self) -> dict[str, str | bytes | None]:
        """Return the first push: what ``tidegate init`` writes, the example's files and the data."""
        self.stage._begin(EXAMPLE)  # writes them into Ada's clone
        config = self.world.work / "mlops.yaml"
        text = config.read_text()
        for old, new in _CHANGED:
            assert text.count(old) == 1
            text = text.replace(old, new)
        return {
            "mlops.yaml": text.replace(f"port: {self.stage.port}", f"port: {_PORT}"),
            WORKFLOW: starter.workflow(
                "main",
                training={},
                operating={"home": str(self.stage.home.root), "operate-runner": "self-hosted"},
            ),
            FORKS: starter.publisher(),
            "README.md": "# Flights\n",
        }

    def overlay(self, name: str) -> dict[str, str | bytes | None]:
        """Return what a push of the example's story changes."""
        return {path.name: path.read_bytes() for path in (EXAMPLE / "story" / name).iterdir()}

    @property
    def book(self) -> Book:
        """The ledger as pushed."""
        store = GitLedger(self.world.bare, f"{BRANCH}/{ENDPOINT}", remote=None)
        return Ledger(store, lambda _state, _chain: "").read()

    def settled(self) -> State:
        """Let the clock start runs until no rollout is live; return what the ledger comes to."""
        for _ in range(6):
            if self.book.state.rollout is None:
                break
            result = self.world.tick()
            assert not result.red, result.failures()
        return self.book.state

    def check(self, commit: str) -> dict[str, Any]:
        """Return the one check of a commit."""
        rows = [row for row in self.world.hub.state.checks if row["head_sha"] == commit]
        assert [row["name"] for row in rows] == ["tidegate/flight-delays"]
        return rows[0]

    def comments(self, number: int) -> list[dict[str, Any]]:
        """Return the comments of a pull request."""
        return [row for row in self.world.hub.state.comments if row["_number"] == number]

    def statuses(self, commit: str) -> list[str]:
        """Return the states of a commit's deployment, oldest first."""
        state = self.world.hub.state
        mine = [row["id"] for row in state.deployments if row["sha"] == commit]
        assert len(mine) == 1
        return [row["state"] for row in state.statuses if row["_deployment"] == mine[0]]

    def environments(self) -> list[bytes]:
        """Return the environments of everything that serves."""
        found = []
        for process in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if str(self.stage.endpoint).encode() in (process / "cmdline").read_bytes():
                    found.append((process / "environ").read_bytes())
        return found

    def ask(self) -> Any:
        """Ask the endpoint one question."""
        body = {"dataframe_records": [{"carrier": "UA", "origin": "EWR", "hour": 17}]}
        request = Request(
            f"http://127.0.0.1:{self.stage.port}/invocations", json.dumps(body).encode(),
            {"content-type": "application/json"},
        )  # fmt: skip
        with urlopen(request, timeout=10) as answer:
            return json.load(answer)

    @contextlib.contextmanager
    def passengers(self) -> Iterator[None]:
        """Replay flights while the block runs: many while a canary is watched, few otherwise."""
        story = Story(stage=self.stage, terminal=Terminal())
        with self.stage.passengers(rate=QUIET_RATE, seconds=LONGEST), story._pacing():
            yield

    def keep(self, name: str, text: str) -> None:
        """Keep what people were shown in the folder ``TIDEGATE_KEEP_PAGES``, if there is one."""
        if folder := os.environ.get("TIDEGATE_KEEP_PAGES"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            (Path(folder) / f"{name}.md").write_text(text, encoding="utf-8")

    def end(self) -> None:
        """End the endpoint."""
        control.stop(self.stage.endpoint)
