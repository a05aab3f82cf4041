"""The calls to Vertex AI that the target makes, as functions: endpoints, models, operations.

https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints
https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.models
https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.operations
"""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any, TypeAlias

from tidegate.adapters.cloud.google_errors import GoogleError
from tidegate.adapters.target.vertex_names import NO_OPERATION
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tidegate.adapters.cloud.google import Google

Row: TypeAlias = dict[str, Any]
"""A resource as its API answers it."""

_DEPLOY, _UNDEPLOY = "deploy", "undeploy"
_TRIES = 5  # times that a compare-and-swap is tried before somebody else is believed to be stuck
_LISTED = 2000  # operations that are looked through for one whose name was lost


class Calls:
    """One project and region of Vertex AI.

    Every method raises GoogleError where Google refuses or does not answer.
    """

    def __init__(
        self, google: Google, project: str, region: str, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.google = google
        self.parent = f"projects/{project}/locations/{region}"
        self.root = f"https://{region}-aiplatform.googleapis.com/v1"
        self.pause = sleep  # waits that many seconds
        self._named: set[str] = set()  # operations that a label names: nobody has lost them

    def url(self, *parts: str) -> str:
        """Return the address of something in the region: ``url("models", "m")``."""
        return "/".join((self.root, self.parent, *parts))

    # --- endpoints ----------------------------------------------------------------------------

    def endpoint(self, endpoint: str) -> Row | None:
        """endpoints.get; None where there is none."""
        return self._found(self.url("endpoints", endpoint))

    def create_endpoint(self, endpoint: str, body: Mapping[str, Any]) -> Row:
        """endpoints.create; the one that is there where somebody was faster."""
        url = self.url("endpoints")
        return self._made(lambda: self.google.post(url, body, repeat=True, endpointId=endpoint),
                          lambda: self.endpoint(endpoint), f"endpoint {endpoint}")  # fmt: skip

    def change_endpoint(self, endpoint: str, alter: Callable[[Row], Row | None]) -> Row:
        """endpoints.get, then endpoints.patch with its etag: read, decide, compare and swap.

        Args:
            endpoint: its id.
            alter: from the endpoint as it is to the fields that are to change; None: none are.

        Returns:
            The endpoint as it is then.

        Raises:
            OutsideError: there is no such endpoint, or it changes faster than we can.
        """
        return self._change(self.url("endpoints", endpoint), f"endpoint {endpoint}", alter)

    def delete_endpoint(self, endpoint: str) -> None:
        """endpoints.delete, and wait until it is gone; none there is fine."""
        self._gone(self.url("endpoints", endpoint))

    def deploy(self, endpoint: str, deployed: Mapping[str, Any]) -> str:
        """endpoints.deployModel without a split; returns the operation's id.

        An operation whose name was lost on the way is found again by endpoints.operations.list.
        """
        return self._begun(endpoint, _DEPLOY, deployed["id"], {"deployedModel": dict(deployed)})

    def undeploy(self, endpoint: str, deployed: str) -> str:
        """endpoints.undeployModel without a split; returns the operation's id."""
        return self._begun(endpoint, _UNDEPLOY, deployed, {"deployedModelId": deployed})

    # --- models -------------------------------------------------------------------------------

    def models(self, label: str, value: str) -> list[Row]:
        """models.list of those that carry a label."""
        pages = self.google.pages(
            self.url("models"), "models", filter=f"labels.{label}={value}", pageSize=100
        )
        rows = [row for row in pages if (row.get("labels") or {}).get(label) == value]
        self._named.update(*((row.get("labels") or {}).values() for row in rows))
        return rows

    def model(self, model: str) -> Row | None:
        """models.get; None where there is none."""
        return self._found(self.url("models", model))

    def upload_model(self, model: str, body: Mapping[str, Any], patience: float) -> Row:
        """models.upload, and wait until the model is there."""
        url = f"{self.url('models')}:upload"
        asked = {"modelId": model, "model": dict(body)}
        return self._made(lambda: self.google.post(url, asked, repeat=True),
                          lambda: self.model(model), f"model {model}", patience)  # fmt: skip

    def relabel(self, model: str, labels: Mapping[str, str | None]) -> None:
        """models.patch of some labels, with its etag; None takes a label away."""

        def alter(row: Row) -> Row | None:
            before = row.get("labels") or {}
            after = {**before, **labels}
            kept = {key: value for key, value in after.items() if value is not None}
            return None if kept == before else {"labels": kept}

        self._change(self.url("models", model), f"model {model}", alter)

    def delete_model(self, model: str) -> None:
        """models.delete, and wait until it is gone; none there is fine."""
        self._gone(self.url("models", model))

    # --- operations ---------------------------------------------------------------------------

    def operation(self, endpoint: str, operation: str) -> Row | None:
        """endpoints.operations.get; None where nobody remembers it."""
        return self._found(self.url("endpoints", endpoint, "operations", operation))

    def wait(self, operation: Row, patience: float) -> Row:
        """Poll an operation until it is done.

        Raises:
            OutsideError: it failed, or is not done after ``patience`` seconds.
        """
        end = time.monotonic() + patience
        pause = 0.05
        while not operation.get("done"):
            if time.monotonic() > end:
                raise OutsideError(
                    f"{operation['name']} is not done after {patience:.0f} s.",
                    remedy="The next pass looks again and goes on.",
                )
            self.pause(pause)
            pause = min(5.0, pause * 1.5)
            operation = self.google.get(f"{self.root}/{operation['name']}")
        if error := operation.get("error"):
            raise OutsideError(f"{operation['name']} failed: {error.get('message', error)}")
        return operation

    # --- how ----------------------------------------------------------------------------------

    def _found(self, url: str) -> Row | None:
        try:
            return self.google.get(url)
        except GoogleError as error:
            if error.status == 404:
                return None
            raise

    def _change(self, url: str, what: str, alter: Callable[[Row], Row | None]) -> Row:
        """Read, decide and write back with the etag that was read, until nobody comes between."""
        for attempt in range(_TRIES):
            row = self._found(url)
            if row is None:
                raise OutsideError(f"There is no {what}.", remedy="Deploy a version first.")
            fields = alter(row)
            if fields is None:
                return row
            if not row.get("etag"):  # a write without one would overwrite whatever is there
                raise OutsideError(f"Vertex AI gives no etag for {what}.")
            try:
                # With the etag, a second try of the same write cannot change anything twice.
                return self.google.patch(
                    url, {**fields, "etag": row["etag"]}, repeat=True, updateMask=",".join(fields)
                )
            except GoogleError as error:
                if not _raced(error):
                    raise
            self.pause(0.05 * 2**attempt)
        raise OutsideError(
            f"The {what} changes faster than it can be read.",
            remedy="Somebody else writes to it all the time. Run again later.",
        )

    def _made(
        self,
        make: Callable[[], Row],
        find: Callable[[], Row | None],
        what: str,
        patience: float = 120.0,
    ) -> Row:
        """Make something that has a name of ours, and return it when it is there."""
        try:
            self.wait(make(), patience)
        except GoogleError as error:
            if error.status != 409 and not error.unknown:
                raise
        except OutsideError:  # the operation failed: perhaps against one that made the same
            if find() is None:
                raise
        # Somebody else, or a call of ours whose answer was lost, may be making it right now.
        end = time.monotonic() + patience
        for pause in itertools.count(1):
            if (row := find()) is not None:
                return row
            if time.monotonic() > end:
                break
            self.pause(min(5.0, 0.1 * pause))
        raise OutsideError(f"The {what} does not appear.", remedy="The next pass tries again.")

    def _gone(self, url: str) -> None:
        try:
            operation = self.google.delete(url)
        except GoogleError as error:
            if error.status == 404:
                return
            raise
        self.wait(operation, 120.0)

    def _is_deployed(self, endpoint: str, deployed: str) -> bool:
        entries = (self.endpoint(endpoint) or {}).get("deployedModels") or ()
        return any(entry["id"] == deployed for entry in entries)

    def _begun(self, endpoint: str, kind: str, deployed: str, body: Row) -> str:
        """Begin an operation on an endpoint, and return its id.

        One of its kind that is under way and that no label names was begun by somebody who died, or
        whose answer was lost: it is taken over.
        """
        url = f"{self.url('endpoints', endpoint)}:{kind}Model"
        operation = self._running(endpoint, kind)
        if operation is None:
            try:
                # A second one collides with the first by the deployed model's id.
                operation = self.google.post(url, body, repeat=True)
            except GoogleError:
                operation = self._running(endpoint, kind)
                if operation is None:
                    if self._is_deployed(endpoint, deployed) is (kind == _DEPLOY):
                        return NO_OPERATION  # it is as it was to be: an earlier try has done it
                    raise
        identity = str(operation["name"]).rpartition("/")[2]
        self._named.add(identity)
        return identity

    def _running(self, endpoint: str, kind: str) -> Row | None:
        """endpoints.operations.list: the operation of a kind that nobody has named, if any.

        Without a filter: which ones the service takes is not documented.
        """
        url = self.url("endpoints", endpoint, "operations")
        pages = self.google.pages(url, "operations", pageSize=100)
        try:
            for row in itertools.islice(pages, _LISTED):
                done, metadata = row.get("done"), row.get("metadata") or {}
                word = str(metadata.get("@type", "")).rpartition(".")[2]
                place, _, identity = row["name"].rpartition("/operations/")
                lost = place.endswith(f"/endpoints/{endpoint}") and identity not in self._named
                if not done and lost and word == f"{kind.title()}ModelOperationMetadata":
                    return dict(row)
        except GoogleError as error:
            if error.status not in {400, 404, 501}:
                raise  # 501 UNIMPLEMENTED: nothing can be listed; a repeat collides by its id
        return None


def _raced(error: GoogleError) -> bool:
    """Whether a write may have met somebody else's, or its own earlier try: read again."""
    stale = error.status in {409, 412} or (error.status == 400 and "etag" in str(error).lower())
    return stale or error.unknown
