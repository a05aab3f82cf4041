"""The smoke run's Vertex AI: an endpoint of its own and the one beside it, a folder of the bucket."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.gcp.behaviour import RULES
from tests.smoke.bill import Part, priced
from tests.smoke.places import Answered, Time
from tidegate.adapters.cloud.google import GoogleError, connect
from tidegate.adapters.compute.vertex import train_on_vertex
from tidegate.adapters.metrics.monitoring import DELAY, Monitoring
from tidegate.adapters.stores.base import Place as Folder
from tidegate.adapters.stores.gcs import GcsStore
from tidegate.adapters.target import vertex_names as names
from tidegate.adapters.target.vertex import VertexTarget
from tidegate.adapters.target.vertex_calls import Calls
from tidegate.adapters.target.vertex_seen import address
from tidegate.core import prices
from tidegate.core.clouds import TrainOnVertex, Vertex
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tests.smoke.journal import Journal
    from tidegate.perform import SafeTarget
    from tidegate.ports import Compute, Counts


class OnVertex:
    """Implements Place."""

    beside, overlap, late, blur = 1, False, DELAY, 1

    def __init__(self, given: Mapping[str, str], name: str, time: Time) -> None:
        self.name = name
        self._time = time
        self._given = given
        self._google = connect(given["project"])
        self._folder = f"{given['bucket'].rstrip('/')}/{name}"
        self._store = GcsStore(self._google, Folder.of(self._folder))
        self._settings = Vertex(
            project=given["project"],
            region=given["region"],
            bucket=self._folder,
            scheduler_account=given["scheduler_account"],
            service_account=given.get("service_account"),
            image=given.get("image"),
        )
        if "machine_type" in given:
            self._settings = replace(self._settings, machine_type=given["machine_type"])
        machine = self._settings.machine_type
        self.price = priced(prices.hosting("vertex", machine), given.get("price"), machine)
        self._calls = Calls(self._google, given["project"], given["region"], time.sleep)
        self._endpoints = (name, names.parity_id(name))
        self._job = (
            f"https://cloudscheduler.googleapis.com/v1/{self._calls.parent}/jobs/"
            f"{names.job_id(name)}"
        )
        self._url = ""

    def rules(self) -> dict[str, str]:
        return {name: rule.says for name, rule in RULES.items()}

    def creates(self) -> Sequence[str]:
        machine = f"{self._settings.machine_type}, ${self.price:g} an hour"
        return (
            f"the endpoints {' and '.join(self._endpoints)} in {self._given['project']}, "
            f"{self._given['region']}: one replica a version ({machine}), and one more until a "
            "version gets traffic",
            "two models, a job of Cloud Scheduler",
            f"objects below {self._folder}/",
        )

    def parts(self, *, dead_man: bool) -> Sequence[Part]:
        return (
            Part("the endpoint comes up, with the one beside it", 30, 2),
            Part("the canary comes up, with its replica for the parity check", 30, 3),
            Part("requests, and their counts", 30, 2),
            *([Part("the dead-man's switch fires", 15, 2)] if dead_man else []),
            Part("the canary goes", 20, 2),
            Part("everything is deleted", 20, 1),
        )

    def target(self, work: Path) -> SafeTarget:
        return VertexTarget(
            self._google, self._settings, self.name, work=work, clock=self._time.now
        )

    def counts(self, digests: Mapping[str, str]) -> Counts:
        return Monitoring(
            self._google, project=self._settings.project, region=self._settings.region,
            endpoint=self.name, deployed=lambda version: names.deployed_id(version, digests[version]),
        )  # fmt: skip

    def send(self, row: Mapping[str, float], digests: Mapping[str, str]) -> Answered:
        self._url = self._url or address(self._row())
        answer = self._google.post(self._url, {"instances": [dict(row)]})
        deployed = str(answer.get("deployedModelId"))
        known = {names.deployed_id(version, digest): version for version, digest in digests.items()}
        return Answered(known.get(deployed, deployed), float(answer["predictions"][0]))

    def compute(self) -> tuple[Compute, float]:
        settings = TrainOnVertex(
            image=self._given["train_image"], project=self._given["project"],
            region=self._given["region"], bucket=f"{self._folder}/training",
            service_account=self._given.get("service_account"),
        )  # fmt: skip
        machine = settings.machine_type
        price = priced(prices.training("vertex", machine), self._given.get("train_price"), machine)
        store = GcsStore(self._google, Folder.of(settings.bucket))
        return train_on_vertex(settings, self._google, store), price

    # --- what the stand-in assumes ------------------------------------------------------------

    def probe(self, moment: str, journal: Journal, known: Mapping[str, Any]) -> None:
        """Look at the rules of the table that can be looked at now."""
        if moment == "it has had no split yet":
            journal.probe("no-split", self._no_split)
            journal.probe("project-number", self._number)
        elif moment == "it serves":
            journal.probe("endpoint-exists", self._exists)
            journal.probe("etag-conflict", self._stale)
            journal.probe("patch-answers-endpoint", self._patched)
            journal.probe("split-sum", self._split)
        elif moment == "a version comes up":
            journal.probe("operation", self._operation)
        elif moment == "the switch has fired":
            late = known["seen"] - known["at"]
            job = self._google.get(self._job)
            seen = f"seen {late:.0f} s after its time, last attempt {job.get('lastAttemptTime')}"
            journal.probe(
                "fires",
                lambda: (seen, -1 <= late <= 60 + known["slack"] and "lastAttemptTime" in job),
            )

    def _row(self) -> dict[str, Any]:
        row = self._calls.endpoint(self.name)
        if row is None:
            raise OutsideError(f"There is no endpoint {self.name}.")
        return row

    @staticmethod
    def _refusal(call: Callable[[], object]) -> tuple[int, str, str]:
        try:
            call()
        except GoogleError as error:
            return error.status, error.reason, str(error)
        return 200, "", "it was accepted"

    def _no_split(self) -> tuple[str, bool]:
        url = address(self._row())
        status, reason, text = self._refusal(
            lambda: self._google.post(url, {"instances": [{"x": 0.0, "z": 0.0}]})
        )
        return f"{status} {reason}: {text}", reason == "FAILED_PRECONDITION"

    def _number(self) -> tuple[str, bool]:
        project = str(self._row()["name"]).split("/")[1]
        return f"projects/{project}", project.isdigit()

    def _exists(self) -> tuple[str, bool]:
        url = self._calls.url("endpoints")
        body = {"displayName": self.name, "labels": {names.OWNER: self.name}}
        status, reason, text = self._refusal(
            lambda: self._google.post(url, body, endpointId=self.name)
        )
        return f"{status} {reason}: {text}", (status, reason) == (409, "ALREADY_EXISTS")

    def _patch(self, **fields: Any) -> dict[str, Any]:
        """Patch without changing what the target rests on."""
        url = self._calls.url("endpoints", self.name)
        mask = ",".join(key for key in fields if key != "etag")
        return self._google.patch(url, fields, updateMask=mask)

    def _stale(self) -> tuple[str, bool]:
        old = self._row()
        self._patch(description="one", etag=old["etag"])
        status, reason, text = self._refusal(
            lambda: self._patch(description="two", etag=old["etag"])
        )
        return f"{status} {reason}: {text}", (status, reason) == (409, "ABORTED")

    def _patched(self) -> tuple[str, bool]:
        answer = self._patch(description="three", etag=self._row()["etag"])
        return f"keys {sorted(answer)[:8]}", answer.get("description") == "three"

    def _split(self) -> tuple[str, bool]:
        row = self._row()
        split = {key: int(value) - 1 for key, value in row["trafficSplit"].items()}
        status, reason, text = self._refusal(
            lambda: self._patch(trafficSplit=split, etag=row["etag"])
        )
        return f"{status} {reason}: {text}", status == 400

    def _operation(self) -> tuple[str, bool]:
        pages = self._google.pages(
            self._calls.url("endpoints", self.name, "operations"), "operations"
        )
        rows = [row for row in pages if not row.get("done")]
        kinds = [str((row.get("metadata") or {}).get("@type")).rpartition(".")[2] for row in rows]
        return f"under way: {kinds}", "DeployModelOperationMetadata" in kinds

    # --- the end ----------------------------------------------------------------------------

    def sweep(self, tell: Callable[[str], None], patience: float) -> None:
        """Delete everything of this name, whatever state it is in; what fails is seen by `left`."""
        end = self._time.now() + patience
        with contextlib.suppress(GoogleError):
            self._google.delete(self._job)
        waiting = list(self._endpoints)
        while waiting and self._time.now() < end:
            waiting = [endpoint for endpoint in waiting if not self._is_gone(endpoint, tell)]
            if waiting:
                tell(f"still there: {', '.join(waiting)}")
                self._time.sleep(10)
        for model in self._models():
            try:
                self._calls.delete_model(model)
            except OutsideError as error:
                tell(str(error))
        for key in list(self._store.list("")):
            self._store.delete(key)

    def _is_gone(self, endpoint: str, tell: Callable[[str], None]) -> bool:
        """Take one more step towards an endpoint's end."""
        row = self._calls.endpoint(endpoint)
        if row is None:
            return True
        deployed = [one["id"] for one in row.get("deployedModels") or ()]
        try:
            if row.get("trafficSplit"):
                self._calls.change_endpoint(
                    endpoint,
                    lambda now: {"trafficSplit": {}} if now.get("trafficSplit") else None,
                )
            for one in deployed:
                self._calls.undeploy(endpoint, one)
            if not deployed:
                self._calls.delete_endpoint(endpoint)
                return True
        except OutsideError as error:  # what is under way goes on: look again
            tell(str(error))
        return False

    def _models(self) -> list[str]:
        rows = self._calls.models(names.OWNER, self.name)
        return [str(row["name"]).rpartition("/")[2].partition("@")[0] for row in rows]

    def left(self) -> list[str]:
        """Return what there still is of this name."""
        found = [f"endpoint {one}" for one in self._endpoints if self._calls.endpoint(one)]
        found += [f"model {model}" for model in self._models()]
        try:
            self._google.get(self._job)
            found.append(f"job {names.job_id(self.name)} of Cloud Scheduler")
        except GoogleError as error:
            if error.status != 404:
                raise
        return found + [f"{self._folder}/{key}" for key in self._store.list("")]
