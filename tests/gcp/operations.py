"""Long-running operations: https://cloud.google.com/vertex-ai/docs/general/long-running-operations"""

from __future__ import annotations

import itertools
import time
import traceback
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from tests.gcp import behaviour
from tests.gcp.clock import stamp
from tests.gcp.description import description
from tests.gcp.routing import CODE, RefusedError, Request, method, missing, page, refuse, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.gcp.cloud import Cloud
    from tests.gcp.routing import Row

_AIPLATFORM = "aiplatform.projects.locations"
_TYPE = "type.googleapis.com/google.cloud.aiplatform.v1."
_EMPTY = "type.googleapis.com/google.protobuf.Empty"


def _always() -> bool:
    return True


def _nothing() -> None:
    pass


class Operations:
    """All operations; each ends when its time has come and what it waits for is there."""

    def __init__(self, cloud: Cloud) -> None:
        self.rows: dict[str, Row] = {}
        self.frozen: set[str] = set()
        self.doomed: list[tuple[str, str, str]] = []
        self._cloud = cloud
        self._ids = itertools.count(7_000_000_000_000_000_001)

    def start(
        self,
        under: str,
        kind: str,
        finish: Callable[[], tuple[str, Row]],
        *,
        ready: Callable[[], bool] = _always,
        undo: Callable[[], None] = _nothing,
    ) -> Row:
        """Begin an operation of a resource.

        Args:
            under: the resource's name.
            kind: the method's last word, for ``freeze`` and ``fail_operation``.
            finish: does the work, returns the response's type ("" for empty) and fields; or
                raises what becomes the operation's error.
            ready: whether the work can be finished.
            undo: frees what the operation held, when it ends without its work.
        """
        now = stamp(self._cloud.clock.time())
        title = kind[:1].upper() + kind[1:]
        row: Row = {
            "name": f"{under}/operations/{next(self._ids)}",
            "metadata": {
                "@type": f"{_TYPE}{title}OperationMetadata",
                "genericMetadata": {"createTime": now, "updateTime": now},
            },
            "_kind": kind,
            "_due": time.monotonic() + self._cloud.speed,
            "_finish": finish,
            "_ready": ready,
            "_undo": undo,
        }
        self.rows[row["name"]] = row
        behaviour.apply("operation")
        return shown(row)

    def waiting(self) -> list[str]:
        """Return the names of the operations that are not done."""
        return [name for name, row in self.rows.items() if not row.get("done")]

    def settle(self) -> None:
        """End what is due."""
        for row in list(self.rows.values()):
            held = any(fnmatchcase(row["_kind"], kind) for kind in self.frozen)
            if not row.get("done") and not held and time.monotonic() >= row["_due"]:
                try:
                    self._end(row)
                except Exception:  # noqa: BLE001 - a broken stand-in must show, not hang
                    said = traceback.format_exc()
                    self._cloud.violations.append(said)
                    self._fail(row, "INTERNAL", said)

    def _end(self, row: Row) -> None:
        for doom in self.doomed:
            if fnmatchcase(row["_kind"], doom[0]):
                self.doomed.remove(doom)
                self._fail(row, doom[1], doom[2])
                return
        if not row["_ready"]():
            return
        try:
            kind, response = row["_finish"]()
        except RefusedError as refused:
            error = refused.body["error"]
            self._fail(row, error["status"], error["message"])
            return
        row["done"] = True
        if kind:
            schema = f"GoogleCloudAiplatformV1{kind}"
            self._cloud.violations += description().schema_problems(
                "aiplatform.v1", schema, response
            )
        row["response"] = {"@type": f"{_TYPE}{kind}" if kind else _EMPTY, **response}

    @staticmethod
    def _fail(row: Row, reason: str, message: str) -> None:
        row["_undo"]()
        row |= {"done": True, "error": {"code": CODE[reason], "message": message}}

    def cancel(self, name: str) -> None:
        if name not in self.rows:
            raise missing(name)
        if not self.rows[name].get("done"):
            behaviour.apply("operation-cancelled")
            self._fail(self.rows[name], "CANCELLED", "The operation was cancelled.")


def _get(cloud: Cloud, request: Request) -> Any:
    if request.name not in cloud.operations.rows:
        raise missing(request.name)
    return shown(cloud.operations.rows[request.name])


def _cancel(cloud: Cloud, request: Request) -> Any:
    cloud.operations.cancel(request.name)
    return {}


for _under in ("", "endpoints.", "models.", "customJobs."):
    method(f"{_AIPLATFORM}.{_under}operations.get")(_get)
    if _under != "customJobs.":
        method(f"{_AIPLATFORM}.{_under}operations.cancel")(_cancel)


@method(f"{_AIPLATFORM}.endpoints.operations.list")
@method(f"{_AIPLATFORM}.operations.list")
def _list(cloud: Cloud, request: Request) -> Any:
    if request.one("filter"):
        raise refuse("UNIMPLEMENTED", "The stand-in lists operations without a filter.")
    rows = [
        shown(row) for name, row in cloud.operations.rows.items() if name.startswith(request.parent)
    ]
    return page(request, "operations", rows, 50, 100)
