"""The smoke run's SageMaker: an endpoint of its own, a folder of its own in the bucket."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tests.aws.behaviour import TABLE
from tests.smoke.bill import Part, priced
from tests.smoke.places import Answered, Time
from tidegate.adapters.cloud.aws import AwsError, connect
from tidegate.adapters.compute.sagemaker import train_on_sagemaker
from tidegate.adapters.metrics.cloudwatch import DELAY, CloudWatch
from tidegate.adapters.stores.base import Place as Folder
from tidegate.adapters.stores.s3 import S3Store
from tidegate.adapters.target.sagemaker import SageMakerTarget
from tidegate.adapters.target.sagemaker_reading import missing
from tidegate.core import prices
from tidegate.core.clouds import SageMaker, TrainOnSageMaker
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tests.smoke.journal import Journal
    from tidegate.perform import SafeTarget
    from tidegate.ports import Compute, Counts

_CAPTURE = re.compile(r"captured/[^/]+/v[12]/\d{4}/\d\d/\d\d/\d\d/[^/]+\.jsonl")


class OnSageMaker:
    """Implements Place."""

    beside, overlap, late, blur = 0, True, DELAY, 0

    def __init__(self, given: Mapping[str, str], name: str, time: Time) -> None:
        self.name = name
        self._time = time
        self._given = given
        self._aws = connect(given["region"])
        self._folder = f"{given['bucket'].rstrip('/')}/{name}"
        self._store = S3Store(self._aws, Folder.of(self._folder))
        self._settings = SageMaker(
            execution_role=given["execution_role"],
            scheduler_role=given["scheduler_role"],
            bucket=self._folder,
            region=given["region"],
            image=given.get("image"),
        )
        if "instance_type" in given:
            self._settings = replace(self._settings, instance_type=given["instance_type"])
        machine = self._settings.instance_type
        self.price = priced(prices.hosting("sagemaker", machine), given.get("price"), machine)

    def rules(self) -> dict[str, str]:
        return {row.name: row.rule for row in TABLE}

    def creates(self) -> Sequence[str]:
        machine = f"{self._settings.instance_type}, ${self.price:g} an hour"
        return (
            f"the endpoint {self.name} in {self._given['region']}: one instance ({machine}), two as "
            "a canary runs, up to four for the minutes of an update",
            "two models, three endpoint configurations, a schedule of EventBridge Scheduler",
            f"objects below {self._folder}/, a log group of the endpoint",
        )

    def parts(self, *, dead_man: bool) -> Sequence[Part]:
        return (
            Part("the endpoint comes up", 15, 1),
            Part("the canary comes up: the old fleet and the new one", 20, 3),
            Part("requests, and their counts", 25, 2),
            *([Part("the dead-man's switch fires", 15, 2)] if dead_man else []),
            Part("the canary goes: the old fleet and the new one", 25, 3),
            Part("everything is deleted", 10, 1),
        )

    def target(self, work: Path) -> SafeTarget:
        return SageMakerTarget(
            self._aws, self._settings, self.name, work=work, clock=self._time.now,
            sleep=self._time.sleep,
        )  # fmt: skip

    def counts(self, digests: Mapping[str, str]) -> Counts:
        return CloudWatch(self._aws, self.name)

    def send(self, row: Mapping[str, float], digests: Mapping[str, str]) -> Answered:
        body = {"dataframe_split": {"columns": list(row), "data": [list(row.values())]}}
        answer = self._aws.call(
            "sagemaker-runtime", "invoke_endpoint", EndpointName=self.name,
            ContentType="application/json", Body=json.dumps(body).encode(),
        )  # fmt: skip
        value = json.loads(answer["Body"].read())["predictions"][0]
        return Answered(answer["InvokedProductionVariant"].removeprefix("v"), float(value))

    def compute(self) -> tuple[Compute, float]:
        settings = TrainOnSageMaker(
            image=self._given["train_image"], role=self._given["train_role"],
            bucket=f"{self._folder}/training", region=self._given["region"],
        )  # fmt: skip
        machine = settings.instance_type
        price = priced(
            prices.training("sagemaker", machine), self._given.get("train_price"), machine
        )
        store = S3Store(self._aws, Folder.of(settings.bucket))
        return train_on_sagemaker(settings, self._aws, store), price

    # --- what the stand-in assumes ------------------------------------------------------------

    def probe(self, moment: str, journal: Journal, known: Mapping[str, Any]) -> None:
        """Look at the rows of the table that can be looked at now."""
        if moment == "nothing is there":
            journal.probe("missing-is-validation", self._missing)
        elif moment == "it serves":
            journal.probe("duplicate-refused", self._duplicate)
            journal.probe("missing-is-validation", self._missing_config)
        elif moment == "a version comes up":
            journal.probe("pending-summary", self._pending)
            journal.probe("busy-refused", self._busy)
        elif moment == "weights were asked for":
            journal.probe("weights-lag", self._lag)
        elif moment == "the switch is armed":
            journal.probe("universal-target", self._armed)
        elif moment == "the switch has fired":
            at = self._schedule()
            late = known["seen"] - known["at"]
            journal.probe(
                "schedule-precision",
                lambda: (f"seen {late:.0f} s after its time", -1 <= late <= 60 + known["slack"]),
            )
            journal.probe("schedule-ends", lambda: (f"it is {'there' if at else 'gone'}", bool(at)))
        elif moment == "counts are there":
            journal.probe(
                "no-traffic-no-point", lambda: self._quiet(known["since"], known["until"])
            )
            journal.probe("capture-path", self._captured)

    def _refusal(self, operation: str, **request: Any) -> tuple[str, str]:
        try:
            self._aws.call("sagemaker", operation, **request)
        except AwsError as error:
            return error.code, str(error)
        return "", "it was accepted"

    def _missing(self) -> tuple[str, bool]:
        code, text = self._refusal("describe_endpoint", EndpointName=self.name)
        return f"{code}: {text}", code == "ValidationException" and "Could not find" in text

    def _missing_config(self) -> tuple[str, bool]:
        name = f"{self.name}-none"
        code, text = self._refusal("describe_endpoint_config", EndpointConfigName=name)
        return f"{code}: {text}", code == "ValidationException" and "Could not find" in text

    def _duplicate(self) -> tuple[str, bool]:
        name = str(self._row()["EndpointConfigName"])
        present = self._aws.call("sagemaker", "describe_endpoint_config", EndpointConfigName=name)
        variants = present["ProductionVariants"]
        code, text = self._refusal(
            "create_endpoint_config", EndpointConfigName=name, ProductionVariants=variants
        )
        return f"{code}: {text}", code == "ValidationException" and "already exist" in text

    def _updating(self) -> Mapping[str, Any]:
        row = self._row()
        if row["EndpointStatus"] != "Updating":
            raise OutsideError(f"the endpoint is {row['EndpointStatus']} already")
        return row

    def _lag(self) -> tuple[str, bool]:
        weights = [
            (one["VariantName"], one.get("DesiredWeight"), one.get("CurrentWeight"))
            for one in self._updating()["ProductionVariants"]
        ]
        seen = ", ".join(f"{name} is {now}, wanted {then}" for name, then, now in weights)
        return f"Updating: {seen}", any(now != then for _, then, now in weights)

    def _pending(self) -> tuple[str, bool]:
        row = self._updating()
        names = [one["VariantName"] for one in row.get("ProductionVariants", ())]
        pending = row.get("PendingDeploymentSummary", {}).get("EndpointConfigName")
        seen = f"{row['EndpointStatus']}, serving {names} by {row['EndpointConfigName']}, pending {pending}"
        return seen, names == ["v1"] and pending not in (None, row["EndpointConfigName"])

    def _busy(self) -> tuple[str, bool]:
        self._updating()
        wanted = [{"VariantName": "v1", "DesiredWeight": 1.0}]  # as it is: no harm if it is taken
        code, text = self._refusal(
            "update_endpoint_weights_and_capacities", EndpointName=self.name,
            DesiredWeightsAndCapacities=wanted,
        )  # fmt: skip
        return f"{code}: {text}", code == "ValidationException" and "in-progress" in text

    def _schedule(self) -> Mapping[str, Any] | None:
        try:
            return self._aws.call("scheduler", "get_schedule", Name=f"{self.name}-dead-man")
        except AwsError as error:
            if error.code != "ResourceNotFoundException":
                raise
            return None

    def _armed(self) -> tuple[str, bool]:
        row = self._schedule() or {}
        arn = str(row.get("Target", {}).get("Arn"))
        return f"{row.get('State')}, target {arn}", row.get("State") == "ENABLED"

    def _quiet(self, since: float, until: float) -> tuple[str, bool]:
        """Read the first minutes of v2, in which it had no request but those of its parity check."""
        query = {
            "Id": "q", "ReturnData": True,
            "MetricStat": {
                "Metric": {
                    "Namespace": "AWS/SageMaker", "MetricName": "Invocations",
                    "Dimensions": [
                        {"Name": "EndpointName", "Value": self.name},
                        {"Name": "VariantName", "Value": "v2"},
                    ],
                },
                "Period": 60, "Stat": "Sum",
            },
        }  # fmt: skip
        rows = self._aws.pages(
            "cloudwatch", "get_metric_data", "MetricDataResults",
            MetricDataQueries=[query], StartTime=since, EndTime=until,
        )  # fmt: skip
        values = [value for row in rows for value in row["Values"]]
        return f"values {values} in {(until - since) / 60:.0f} quiet minutes", values == []

    def _captured(self) -> tuple[str, bool]:
        keys = list(self._store.list("captured/"))
        good = [key for key in keys if _CAPTURE.fullmatch(key)]
        if not keys:
            raise OutsideError("no captured requests have arrived yet")
        return f"{len(keys)} file(s), the first {keys[0]}", len(good) == len(keys)

    # --- the end ----------------------------------------------------------------------------

    def sweep(self, tell: Callable[[str], None], patience: float) -> None:
        """Delete everything of this name, whatever state it is in; what fails is seen by `left`."""
        end = self._time.now() + patience
        self._gone("scheduler", "delete_schedule", Name=f"{self.name}-dead-man")
        while self._time.now() < end:
            try:
                row = self._row()
            except AwsError as error:
                if missing(error):
                    break
                raise
            tell(f"the endpoint is {row['EndpointStatus']}")
            if row["EndpointStatus"] != "Deleting":
                try:
                    self._aws.call("sagemaker", "delete_endpoint", EndpointName=self.name)
                except AwsError as error:  # busy: until it is not
                    tell(str(error))
            self._time.sleep(5)
        for name in self._named("list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"):
            self._gone("sagemaker", "delete_endpoint_config", EndpointConfigName=name)
        for name in self._named("list_models", "Models", "ModelName"):
            self._gone("sagemaker", "delete_model", ModelName=name)
        try:
            group = f"/aws/sagemaker/Endpoints/{self.name}"
            self._gone("logs", "delete_log_group", logGroupName=group)
        except OutsideError as error:
            tell(f"the endpoint's log group stays, delete it by hand: {error}")
        for key in list(self._store.list("")):
            self._store.delete(key)

    def left(self) -> list[str]:
        """Return what there still is of this name."""
        found = []
        try:
            found.append(f"endpoint {self.name} ({self._row()['EndpointStatus']})")
        except AwsError as error:
            if not missing(error):
                raise
        for operation, rows, key in (
            ("list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"),
            ("list_models", "Models", "ModelName"),
        ):
            found += [f"{key} {name}" for name in self._named(operation, rows, key)]
        if self._schedule() is not None:
            found.append(f"schedule {self.name}-dead-man")
        return found + [f"{self._folder}/{key}" for key in self._store.list("")]

    def _row(self) -> Mapping[str, Any]:
        return self._aws.call("sagemaker", "describe_endpoint", EndpointName=self.name)

    def _named(self, operation: str, rows: str, key: str) -> list[str]:
        pages = self._aws.pages("sagemaker", operation, rows, NameContains=self.name)
        return [str(row[key]) for row in pages if str(row[key]).startswith(f"{self.name}-")]

    def _gone(self, service: str, operation: str, **which: Any) -> None:
        try:
            self._aws.call(service, operation, repeat=True, **which)
        except AwsError as error:
            if not missing(error):
                raise
