"""Reading a SageMaker endpoint: what serves now, as AWS says, and what an update came to."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tidegate.adapters.cloud.aws import AwsError
from tidegate.adapters.target.sagemaker_names import (
    DIGEST,
    GENERATION,
    OPEN,
    OWNER,
    WANTED,
    Wanted,
    split_of,
    untag,
)
from tidegate.core.endpoint import Endpoint, Variant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tidegate.adapters.cloud.aws import Aws
    from tidegate.adapters.target.sagemaker_names import Names

PATIENCE = 3600.0  # seconds: an update provisions a whole new fleet
UNSEEN = 60.0  # seconds until an update that was asked for must be seen

_BUSY = {
    "Creating": "the endpoint is being created",
    "Updating": "an update is under way",
    "SystemUpdating": "AWS maintains the endpoint",
    "RollingBack": "AWS takes an update back",
    "Deleting": "the endpoint is being deleted",
}
_BROKEN = {
    "Failed": "the endpoint failed and can only be deleted",
    "UpdateRollbackFailed": "a rollback failed, and a mixture of two configurations serves",
    "OutOfService": "the endpoint is out of service",
}
_COMING_UP = {"Creating", "Failed"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """The endpoint at one moment. ``endpoint`` is the engine's view of it.

    Attributes:
        row: DescribeEndpoint's answer; None where there is no endpoint.
        tags: the endpoint's.
        config: the description of the configuration that serves.
        running: the variants that run -> their part of the configuration.
        names: version -> variant of what the engine is shown, foreign ones with traffic included.
    """

    endpoint: Endpoint
    row: Mapping[str, Any] | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    running: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    ours: bool = False

    @property
    def arn(self) -> str:
        """The endpoint's ARN; "" where there is none."""
        return "" if self.row is None else str(self.row["EndpointArn"])

    @property
    def status(self) -> str:
        """AWS's word for its state; "" where there is none."""
        return "" if self.row is None else str(self.row["EndpointStatus"])

    @property
    def modified(self) -> float:
        """When it changed last (epoch seconds, AWS's clock)."""
        return 0.0 if self.row is None else float(self.row["LastModifiedTime"].timestamp())

    @property
    def opened(self) -> bool:
        """Whether it was ever given traffic."""
        return OPEN in self.tags

    @property
    def asked(self) -> tuple[int, dict[str, float]]:
        """The generation and split of the last route."""
        return split_of(self.tags.get(OPEN, ""))

    def weight(self, variant: str) -> Mapping[str, Any]:
        """Return a running variant's summary."""
        assert self.row is not None
        rows = self.row.get("ProductionVariants", ())
        return next((row for row in rows if row["VariantName"] == variant), {})


@dataclass(slots=True)
class Reader:
    """Reads one endpoint. What cannot change, configurations and models, is read once."""

    aws: Aws
    names: Names
    clock: Callable[[], float]
    _configs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _digests: dict[str, str | None] = field(default_factory=dict)
    _newest: float = 0.0  # LastModifiedTime of the newest answer
    _expected: tuple[float, float] = (0.0, 0.0)  # a change came after this; when we made it

    def expect(self, seen: Seen) -> None:
        """Take for old whatever says that the endpoint is as it was in ``seen``: we changed it."""
        self._expected = (seen.modified, self.clock())

    def look(self) -> Seen:
        """Return the endpoint as it is.

        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListTags.html
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpointConfig.html
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeModel.html
        """
        try:
            row = self.aws.call("sagemaker", "describe_endpoint", EndpointName=self.names.endpoint)
        except AwsError as error:
            if not missing(error):
                raise
            return Seen(endpoint=Endpoint(variants=(), patience=PATIENCE))
        seen = self._seen(row, self.tags(row["EndpointArn"]))
        if seen.endpoint.busy is None and seen.endpoint.broken is None and self._is_old(seen):
            busy = "AWS answers with an older state of the endpoint"
            seen = replace(seen, endpoint=replace(seen.endpoint, busy=busy))
        self._newest = max(self._newest, seen.modified)
        return seen

    def _is_old(self, seen: Seen) -> bool:
        """Whether an answer lies behind what we know: reads are only eventually consistent."""
        before, when = self._expected
        late = self.clock() - when < UNSEEN and seen.modified <= before
        return late or seen.modified < self._newest

    def tags(self, arn: str) -> dict[str, str]:
        """Return a resource's tags.

        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListTags.html
        """
        return untag(self.aws.pages("sagemaker", "list_tags", "Tags", ResourceArn=arn))

    def config(self, name: str) -> Mapping[str, Any]:
        """Return a configuration's description; empty where somebody deleted it.

        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpointConfig.html
        """
        if name not in self._configs:
            try:
                self._configs[name] = self.aws.call(
                    "sagemaker", "describe_endpoint_config", EndpointConfigName=name
                )
            except AwsError as error:
                if not missing(error):
                    raise
                return {}
        return self._configs[name]

    def digest(self, model: str) -> str | None:
        """Return the digest that a model of ours carries; None where it is none of ours.

        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeModel.html
        """
        if model not in self._digests:
            try:
                row = self.aws.call("sagemaker", "describe_model", ModelName=model)
            except AwsError as error:
                if not missing(error):
                    raise
                return None
            self._digests[model] = container(row).get("Environment", {}).get(DIGEST)
        return self._digests[model]

    def forget(self, model: str) -> None:
        """Read a model anew next time: it was deleted."""
        self._digests.pop(model, None)

    def _seen(self, row: Mapping[str, Any], tags: Mapping[str, str]) -> Seen:
        ours = tags.get(OWNER) == self.names.endpoint
        current = self.config(str(row["EndpointConfigName"]))
        running = {one["VariantName"]: one for one in row.get("ProductionVariants", ())}
        coming, trouble = self._coming(row, tags, running)
        requests = {
            **{one["VariantName"]: one for one in coming},
            **{one["VariantName"]: one for one in current.get("ProductionVariants", ())},
        }
        closed = ours and OPEN not in tags
        total = math.fsum(float(one.get("CurrentWeight", 0.0)) for one in running.values())
        variants, names = [], {}
        for name, summary in running.items():
            weight = 0.0 if closed or total <= 0 else float(summary.get("CurrentWeight", 0.0))
            share = weight / total if weight else 0.0
            version, digest = self._identity(name, requests.get(name, {}))
            if digest is None and share == 0:
                continue  # somebody else's, and no part of the traffic: nobody may sweep it
            variants.append(
                Variant(
                    version=version,
                    digest=digest or "",
                    share=share,
                    ready=row["EndpointStatus"] not in _BROKEN and _serves(summary),
                    failed=trouble if row["EndpointStatus"] == "Failed" else None,
                )
            )
            names[version] = name
        for request in coming:
            name = request["VariantName"]
            version, digest = self._identity(name, request)
            if digest is None or name in running:
                continue
            variants.append(
                Variant(version=version, digest=digest, share=0.0, ready=False, failed=trouble)
            )
            names[version] = name
        endpoint = Endpoint(
            variants=tuple(variants),
            generation=generation_of(tags),
            url=self._url(),
            busy=self._busy(row, tags),
            broken=self._broken(row, closed=closed),
            patience=PATIENCE,
        )
        return Seen(
            endpoint=endpoint,
            row=row,
            tags=tags,
            config=current,
            running={name: requests.get(name, {}) for name in running},
            names=names,
            ours=ours,
        )

    def _coming(
        self, row: Mapping[str, Any], tags: Mapping[str, str], running: Mapping[str, Any]
    ) -> tuple[list[Mapping[str, Any]], str | None]:
        """Return variants that do not run (yet), and why they never will, if that is so."""
        status, current = str(row["EndpointStatus"]), str(row["EndpointConfigName"])
        reason = str(row.get("FailureReason") or "")
        if status == "Deleting":
            return [], None
        if status in _COMING_UP and not (running and status == "Creating"):
            failed = (reason or "SageMaker could not create it") if status == "Failed" else None
            return list(self.config(current).get("ProductionVariants", ())), failed
        wanted = Wanted.of(tags.get(WANTED, ""))
        pending = row.get("PendingDeploymentSummary", {}).get("EndpointConfigName")
        name = pending or (wanted.config if wanted else current)
        if name == current:
            return [], None
        found = list(self.config(name).get("ProductionVariants", ()))
        if status in _BUSY or wanted is None:
            return found, None
        if _begun(row, wanted):
            return found, f"SageMaker took the update back: {reason or 'it gives no reason'}"
        return [], None  # not begun: not seen yet, or whoever wanted it died before asking

    def _busy(self, row: Mapping[str, Any], tags: Mapping[str, str]) -> str | None:
        status = str(row["EndpointStatus"])
        if status in _BUSY:
            return f"{_BUSY[status]} ({status})"
        if status != "InService":
            return None
        if any(
            abs(float(one.get("DesiredWeight", 0.0)) - float(one.get("CurrentWeight", 0.0))) > 1e-9
            for one in row.get("ProductionVariants", ())
        ):
            return "weights are moving (DesiredWeight is not CurrentWeight)"
        wanted = Wanted.of(tags.get(WANTED, ""))
        if wanted is None or wanted.config == row["EndpointConfigName"] or _begun(row, wanted):
            return None
        late = self.clock() - wanted.asked < UNSEEN
        return "an update was asked for and is not seen yet" if late else None

    @staticmethod
    def _broken(row: Mapping[str, Any], *, closed: bool) -> str | None:
        status = str(row["EndpointStatus"])
        if status not in _BROKEN or (status == "Failed" and closed):
            return None  # what never served can be deleted and made again
        reason = str(row.get("FailureReason") or "")
        return f"{_BROKEN[status]} ({status}){f': {reason}' if reason else ''}"

    def _identity(self, name: str, request: Mapping[str, Any]) -> tuple[str, str | None]:
        """Return a variant's version and digest; its name and None where it is not ours."""
        model = request.get("ModelName")
        digest = self.digest(str(model)) if model else None
        if digest is None or not name.startswith("v"):
            return name, None
        return name.removeprefix("v"), digest

    def _url(self) -> str:
        region = self.aws.region
        suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        return (
            f"https://runtime.sagemaker.{region}.{suffix}/endpoints/"
            f"{self.names.endpoint}/invocations"
        )


def generation_of(tags: Mapping[str, str]) -> int:
    """Return the newest generation that was accepted."""
    text = tags.get(GENERATION, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def container(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the container that a model serves with."""
    found: Mapping[str, Any] = model.get("PrimaryContainer") or next(
        iter(model.get("Containers", ())), {}
    )
    return found


def missing(error: AwsError) -> bool:
    """Whether AWS says that there is no such thing: SageMaker has no code for that."""
    text = str(error)
    return error.code == "ResourceNotFoundException" or (
        error.code == "ValidationException"
        and ("Could not find" in text or "does not exist" in text)
    )


def _begun(row: Mapping[str, Any], wanted: Wanted) -> bool:
    """Whether the endpoint changed since a configuration was asked for (by AWS's clock alone)."""
    return bool(row["LastModifiedTime"].timestamp() > wanted.modified + 0.0005)


def _serves(summary: Mapping[str, Any]) -> bool:
    states = {one.get("Status") for one in summary.get("VariantStatus", ())}
    instances = int(summary.get("CurrentInstanceCount", 1))
    return instances > 0 and not states & {"Creating", "Deleting"}
