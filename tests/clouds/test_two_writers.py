"""Two controllers on one rollout: the ledger is the lock, the endpoint knows the newest."""

from __future__ import annotations

import threading
import time
import traceback
from typing import TYPE_CHECKING

import pytest

from tests.clouds.engine import POLICY, CloudEngine
from tests.fakes import MemoryLedger
from tidegate.core.events import Routing
from tidegate.errors import OutsideError
from tidegate.perform import run_pass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.clouds.places import Place
    from tidegate.ports import Snapshot

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]


class LockedLedger(MemoryLedger):
    """The fake ledger, whose compare-and-swap holds between threads as git's does."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def write(self, base: Snapshot, files: Mapping[str, bytes], message: str) -> Snapshot:
        with self._lock:
            return super().write(base, files, message)


@pytest.mark.parametrize(("errors", "serves"), [(0.01, "2"), (0.4, "1")], ids=["promote", "revert"])
def test_two_controllers_at_once_end_where_one_does(
    place: Place, engine: CloudEngine, errors: float, serves: str
) -> None:
    engine.store = LockedLedger()
    engine.serving_first()
    engine.until_rest()
    engine.rates = {"2": errors}
    engine.request(engine.version(2), POLICY)
    over = threading.Event()
    bugs: list[str] = []

    def second() -> None:
        other = CloudEngine.begin(engine.root, place)
        other.store, other.registry = engine.store, engine.registry
        while not over.is_set():
            try:
                run_pass(other.world)
            except OutsideError:
                pass  # it came too late: it reads again
            except Exception as error:  # noqa: BLE001 (shown in the main thread)
                bugs.append("".join(traceback.format_exception(error)))
                return
            time.sleep(0.02)

    thread = threading.Thread(target=second)
    thread.start()
    try:
        engine.until_rest()
    finally:
        over.set()
        thread.join()
    engine.until_rest()
    assert bugs == []
    end = engine.end_state()
    assert (end["traffic"], end["variants"], end["orphans"]) == ({serves: 1.0}, [serves], [])
    moves = [e.payload for e in engine.ledger.read().chain if isinstance(e.payload, Routing)]
    steps = [(m.rollout, m.phase, m.step) for m in moves]
    assert len(set(steps)) == len(steps), "no step was made twice"
