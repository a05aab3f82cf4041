"""The Vertex AI target: one endpoint of deployed models, changed by compare-and-swap.

A version is a model resource of its own, deployed under an id made of version and digest, so that
whatever is done twice collides with itself. What is under way is known by the ids of operations in
the model's labels, which any later process finds. Every write that can be conditional is (etag).
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from tidegate.adapters.target import vertex_names as names
from tidegate.adapters.target import vertex_parity as parity
from tidegate.adapters.target import vertex_rules as rules
from tidegate.adapters.target.vertex_asking import ask, turned
from tidegate.adapters.target.vertex_bodies import (
    deployed_body,
    endpoint_body,
    logging_body,
)
from tidegate.adapters.target.vertex_calls import Calls
from tidegate.adapters.target.vertex_files import Files
from tidegate.adapters.target.vertex_models import Models
from tidegate.adapters.target.vertex_seen import (
    Stage,
    generation,
    look,
    number,
    shares,
    told,
)
from tidegate.adapters.target.vertex_switch import Armed, Switch
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from tidegate.adapters.cloud.google import Google
    from tidegate.adapters.target.vertex_calls import Row
    from tidegate.adapters.target.vertex_seen import Member, Seen
    from tidegate.core.clouds import Vertex
    from tidegate.core.endpoint import Endpoint, Traffic
    from tidegate.ports import Deployment


class VertexTarget:
    """An endpoint of Vertex AI. Implements Target and DeadMan.

    Args:
        google: the session.
        settings: ``release.vertex``, its variables resolved.
        endpoint: ``release.endpoint``: an id to make the endpoint under, or of one that exists.
        clock: the time now (epoch seconds).
        work: a folder of this machine, for archives on their way.

    Every method raises OutsideError where Google refuses or does not answer. After an answer that was
    lost, the same call again finds what was done.
    """

    def __init__(
        self,
        google: Google,
        settings: Vertex,
        endpoint: str,
        *,
        clock: Callable[[], float] = time.time,
        work: Path,
    ) -> None:
        self._google = google
        self._settings = settings
        self._name = endpoint
        self._id = names.endpoint_id(endpoint)
        self._clock = clock
        self._calls = Calls(google, settings.project, settings.region)
        self._files = Files(google, settings.bucket, self._id)
        self._models = Models(self._calls, self._files, settings, self._id, work)
        self._switch = Switch(self._calls, self._id, settings.scheduler_account)

    def read(self) -> Endpoint:
        """Return the endpoint as it is: what is deployed, its split, what is under way or has failed.

        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/get
        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.models/list
        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints.operations/get
        https://cloud.google.com/scheduler/docs/reference/rest/v1/projects.locations.jobs/get
        """
        seen = look(self._calls, self._id)
        tripped = None
        if seen.endpoint is not None:
            tripped = _unanswered(self._switch.read(), seen.endpoint)
        return told(seen, tripped, self._clock())

    def deploy(self, deployment: Deployment, *, generation: int) -> None:
        """Bring a version up with no traffic, and beside it for the parity check.

        Endpoint and model are there when this returns, deploying has begun; :meth:`read` tells when
        it is done. The model is asked for once: where it exists, nothing is packed or uploaded.

        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/create
        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/patch
        https://cloud.google.com/storage/docs/json_api/v1/objects/insert
        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.models/upload
        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.models/patch
        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints.operations/list
        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/deployModel

        Raises:
            OutsideError: a newer generation was seen, the version is there with other bytes, the
                endpoint is busy with another one, or what there is cannot run on Vertex AI.
        """
        if deployment.serve is not None:
            raise OutsideError(
                "A server command of one's own (release.serve) cannot run on Vertex AI.",
                remedy="Take it away; the MLflow model is served, in release.vertex.image if set.",
            )
        seen = look(self._calls, self._id)
        version, digest = deployment.version, deployment.digest
        if seen.endpoint is not None:
            rules.fence(seen.endpoint, generation)
            rules.same_bytes(seen, version, digest)
        there = seen.serving(version)
        if there is None or there.main.stage is Stage.GOING:
            rules.idle(seen, self._clock())
        elif there.main.stage is Stage.FAILED:
            raise OutsideError(
                f"Version {version} cannot be deployed: {there.main.reason}",
                remedy="Remove it, repair what is wrong, and release it again.",
            )
        self._accept(seen.endpoint, generation)
        if there is not None:
            return
        model = self._models.have(deployment)
        for member in look(self._calls, self._id).members:
            if member.model == model:
                self._bring_up(member)

    def route(self, traffic: Traffic, *, generation: int) -> None:
        """Give each version its share, in whole per cents, and answer a fired dead-man's switch.

        One conditional write holds the split and the fence. What has traffic needs its replica for
        the parity check no more.

        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/get
        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/patch
        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/undeployModel

        Raises:
            OutsideError: a newer generation was seen, this one asked for another split before, a
                version is not deployed, the shares are no whole per cents that sum to 100, or the
                endpoint is busy.
        """
        seen = self._standing()
        rules.fence(self._row(seen), generation)
        rules.idle(seen, self._clock())
        wanted = rules.split(seen, traffic)
        armed = self._switch.read()

        def alter(row: Row) -> Row | None:
            return rules.routed(row, wanted, generation, _unanswered(armed, row))

        self._calls.change_endpoint(self._id, alter)
        for member in seen.members:
            if member.main.deployed in wanted and member.main.stage is Stage.UP:
                with contextlib.suppress(OutsideError):  # only money; tidy() comes to it again
                    parity.release(self._calls, self._id, member)

    def remove(self, version: str, *, generation: int) -> None:
        """Take a version without traffic away; one that failed is forgotten. Files stay for tidy().

        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/patch
        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/undeployModel
        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.models/patch

        Raises:
            OutsideError: a newer generation was seen, the version has traffic or would get it from
                the dead-man's switch, or the endpoint is busy.
        """
        seen = look(self._calls, self._id)
        if seen.endpoint is None:
            return
        rules.fence(seen.endpoint, generation)
        mine = [member for member in seen.members if member.version == version]
        if any(member.main.stage is Stage.GOING for member in mine):
            return  # asked before, and on its way
        rules.idle(seen, self._clock())
        armed = self._switch.read()
        fallback = armed.threat if armed is not None else {}

        def alter(row: Row) -> Row | None:
            for member in mine:
                rules.removable(row, version, member.main.deployed, fallback)
            return rules.accepted(row, generation)

        self._calls.change_endpoint(self._id, alter)
        for member in mine:
            if member.main.stage is Stage.UP:
                down = self._calls.undeploy(self._id, member.main.deployed)
                self._calls.relabel(member.model, {names.DOWN: down})
            elif member.main.stage is Stage.FAILED:
                self._calls.relabel(member.model, {names.DOWN: names.NO_OPERATION})
            parity.release(self._calls, self._id, member)

    def tidy(self, *, generation: int) -> None:
        """Delete models that nothing serves, their files, and the endpoint beside; nothing foreign.

        It waits until what was up for a parity check is down, which takes minutes.

        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/undeployModel
        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/delete
        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.models/delete
        https://cloud.google.com/storage/docs/json_api/v1/objects/list
        https://cloud.google.com/storage/docs/json_api/v1/objects/delete

        Raises:
            OutsideError: a newer generation was seen, or the endpoint is busy.
        """
        seen = look(self._calls, self._id)
        if seen.endpoint is None:
            return
        rules.fence(seen.endpoint, generation)
        rules.idle(seen, self._clock())
        self._calls.change_endpoint(self._id, lambda row: rules.accepted(row, generation))
        seen = parity.close(self._calls, self._id)
        for member in seen.unneeded:
            # Files first: without them the model is still found, without it they would not be.
            self._files.delete(names.folder(member.version, member.digest))
            self._calls.delete_model(member.model)
        used = [names.folder(m.version, m.digest) for m in seen.members if not m.unused]
        self._files.sweep(used)

    def ask(self, version: str, rows: pa.Table) -> npt.NDArray[np.float64]:
        """Ask a version that has had no traffic yet, on the endpoint beside.

        Why there: :mod:`tidegate.adapters.target.vertex_parity`.

        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/patch
        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/predict

        Raises:
            OutsideError: it is not up there, or does not answer.
            NotJudgedError: the model cannot answer these rows.
        """
        seen = self._standing()
        member = seen.serving(version)
        if member is None or member.parity.stage is not Stage.UP:
            raise OutsideError(
                f"Version {version} is not up for a parity check on {names.parity_id(self._id)}.",
                remedy="It is there from its deployment until it gets traffic. Release it anew.",
            )
        row = turned(self._calls, names.parity_id(self._id), member.parity.deployed)
        return ask(self._google, row, member.parity.deployed, rows)

    def arm(self, until: float | None, fallback: Traffic, *, generation: int) -> None:
        """Let traffic become ``fallback`` at the first whole minute from ``until`` on; None disarms.

        A call of an older generation than the newest one seen changes nothing. Cloud Scheduler knows
        no compare-and-swap: two callers at the same moment may both write, the last one stays.

        https://cloud.google.com/scheduler/docs/reference/rest/v1/projects.locations.jobs/create
        https://cloud.google.com/scheduler/docs/reference/rest/v1/projects.locations.jobs/patch
        https://cloud.google.com/scheduler/docs/reference/rest/v1/projects.locations.jobs/delete

        Raises:
            OutsideError: the fallback names a version that is not deployed.
        """
        armed = self._switch.read()
        if until is None:
            if armed is not None and generation >= self._newest(
                self._calls.endpoint(self._id), armed
            ):
                self._switch.disarm()
            return
        seen = self._standing()
        row = self._row(seen)
        if generation < self._newest(row, armed):
            return
        wanted = Armed(
            generation=generation,
            split=rules.split(seen, fallback),
            tripped=_unanswered(armed, row),
        )
        self._switch.arm(armed, wanted, until=until, now=self._clock())

    # --- steps --------------------------------------------------------------------------------

    def _standing(self) -> Seen:
        seen = look(self._calls, self._id)
        self._row(seen)
        return seen

    def _row(self, seen: Seen) -> Row:
        if seen.endpoint is None:
            raise OutsideError(
                f"There is no endpoint {self._id} in {self._calls.parent}.",
                remedy="Deploy a version first.",
            )
        return seen.endpoint

    @staticmethod
    def _newest(row: Row | None, armed: Armed | None) -> int:
        return max(generation(row) if row else 0, armed.generation if armed else 0)

    def _accept(self, row: Row | None, mine: int) -> None:
        """Have the endpoint, with our fence and as the settings want it captured."""
        if row is None:
            if not names.creatable(self._id):
                raise OutsideError(
                    f"There is no endpoint {self._id} in {self._calls.parent}, and a number as "
                    "long as this one is Google's to give.",
                    remedy="Name release.endpoint with a letter first.",
                )
            body = endpoint_body(self._settings, self._id, self._name, mine)
            self._calls.create_endpoint(self._id, body)

        def alter(row: Row) -> Row | None:
            fields = dict(rules.accepted(row, mine) or {})
            logging = logging_body(self._settings)
            if logging is not None and row.get("predictRequestResponseLoggingConfig") != logging:
                fields["predictRequestResponseLoggingConfig"] = logging
            return fields or None

        self._calls.change_endpoint(self._id, alter)

    def _bring_up(self, member: Member) -> None:
        """Begin to deploy a model beside and on the endpoint, where that has not begun.

        Beside first: what is on its way on the endpoint is then on its way beside, too.
        """
        model = f"{self._calls.parent}/models/{member.model}"
        title = f"{self._id} version {member.version}"

        def begin(endpoint: str, *, one: bool) -> str:
            identity = names.deployed_id(member.version, member.digest)
            body = deployed_body(self._settings, model, identity, title, one=one)
            return self._calls.deploy(endpoint, body)

        if member.parity.stage is Stage.ABSENT:
            up = begin(parity.ensure(self._calls, self._id), one=True)
            self._calls.relabel(member.model, {names.PARITY_UP: up, names.PARITY_DOWN: None})
        if member.main.stage is Stage.ABSENT:
            up = begin(self._id, one=False)
            self._calls.relabel(member.model, {names.UP: up, names.DOWN: None})


def _unanswered(armed: Armed | None, row: Row) -> float | None:
    """Return when the dead-man's switch fired, if no route has answered that since."""
    split = {key: round(share * 100) for key, share in shares(row).items()}
    fired = armed.fired(split) if armed is not None else None
    if fired is None or rules.milliseconds(fired) <= number(row, names.CLEARED, -1):
        return None
    return fired
