"""The SageMaker target: one real-time endpoint, one production variant per version, weights.

Traffic is what DescribeEndpoint says. SageMaker has no compare-and-swap, so the fence is a tag: the
newest generation that was accepted, written before a change and read again before and after it.
Between that reading and AWS's own acceptance lies a window of one call in which a controller that
fell behind can still be heard; it is told afterwards (OutsideError), and as traffic is always read
back, the next pass of the newer one sees what it did and sets it right.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from tidegate.adapters.target.sagemaker_asking import Asker
from tidegate.adapters.target.sagemaker_configs import Configs
from tidegate.adapters.target.sagemaker_fence import Fence
from tidegate.adapters.target.sagemaker_leftovers import Leftovers
from tidegate.adapters.target.sagemaker_models import Models
from tidegate.adapters.target.sagemaker_names import (
    GENERATION,
    OPEN,
    OWNER,
    WANTED,
    Names,
    Wanted,
    split_text,
    variant,
)
from tidegate.adapters.target.sagemaker_reading import Reader, Seen
from tidegate.adapters.target.sagemaker_switch import Switch
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from tidegate.adapters.cloud.aws import Aws
    from tidegate.adapters.target.sagemaker_switch import Schedule
    from tidegate.core.clouds import SageMaker
    from tidegate.core.endpoint import Endpoint, Traffic
    from tidegate.ports import Deployment

_SAME = 1e-6  # shares this close are the same


class SageMakerTarget:
    """An endpoint in one account and region. Implements Target and DeadMan.

    Args:
        aws: the session.
        settings: ``release.sagemaker``.
        endpoint: its name.
        clock: returns the time in epoch seconds.
        sleep: waits that many seconds.
        work: a folder for archives on their way; made when it is needed.

    Every method raises OutsideError where AWS refuses or does not answer. Whether a change was made
    whose answer got lost, the next :meth:`read` tells.
    """

    def __init__(  # noqa: PLR0913 (what it acts with, what it acts on)
        self,
        aws: Aws,
        settings: SageMaker,
        endpoint: str,
        *,
        work: Path,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._aws = aws
        self._clock = clock
        self._names = Names(endpoint)
        self._reader = Reader(aws, self._names, clock)
        self._fence = Fence(aws, self._names, self._reader)
        self._models = Models(aws, self._names, settings, self._reader, work)
        self._configs = Configs(aws, self._names, settings, sleep)
        self._leftovers = Leftovers(aws, self._names, self._reader, self._models)
        self._switch = Switch(aws, self._names, settings.scheduler_role, clock)

    def read(self) -> Endpoint:
        """Return the endpoint as it is; without traffic until the first route.

        Another's variants are shown while they have traffic, and never removed. A variant whose
        update was taken back is ``failed``.

        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpointConfig.html
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeModel.html
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListTags.html
        https://docs.aws.amazon.com/scheduler/latest/APIReference/API_GetSchedule.html
        and, once for every configuration that serves:
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListEndpointConfigs.html
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListModels.html
        """
        seen = self._reader.look()
        schedule = self._switch.read() if seen.opened and seen.ours else None
        return replace(
            seen.endpoint,
            tripped=self._tripped(seen, schedule),
            leftovers=self._leftovers.find(seen),
        )

    def deploy(self, deployment: Deployment, *, generation: int) -> None:
        """Bring a variant up with no traffic. Returns when AWS has begun; :meth:`read` tells the rest.

        The archive is uploaded, the model made, and the endpoint created, or updated by a
        configuration that holds every variant of now as it is, and the new one.

        https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModel.html
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DeleteModel.html
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_AddTags.html
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpoint.html
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpoint.html
        and what :meth:`read` calls.

        Raises:
            ConfigError: no public image fits the model.
            OutsideError: a newer generation was seen, the version is there with other bytes, the
                endpoint is busy, broken, not ours, or of a kind whose traffic cannot be split.
        """
        name = variant(deployment.version)
        seen = self._fence.writable(generation, made=True)
        if seen.row is not None:
            if self._there(seen, deployment):
                self._fence.claim(seen, generation)
                return
            self._configs.refuse(seen)
        used = {str(one.get("ModelName")) for one in seen.running.values()}
        model = self._models.make(deployment, generation, used)
        seen = self._fence.writable(generation, made=True)  # uploading took its time
        config = self._configs.make(seen, self._configs.added(seen, name, model), generation)
        if seen.row is None:
            self._configs.create(config, {OWNER: self._names.endpoint, GENERATION: str(generation)})
        else:
            self._update(seen, config, generation)

    def route(self, traffic: Traffic, *, generation: int) -> None:
        """Give each version its share, all at once; every other variant gets none.

        Instance counts are left alone. A switch that fired is cleared.

        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_AddTags.html
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpointWeightsAndCapacities.html
        https://docs.aws.amazon.com/scheduler/latest/APIReference/API_DeleteSchedule.html
        and what :meth:`read` calls.

        Raises:
            OutsideError: a newer generation was seen, this one asked for another split before, a
                version is not deployed, the shares are no shares, or the endpoint is busy, broken
                or not ours.
        """
        seen = self._fence.writable(generation)
        wanted = self._checked(seen, traffic)
        schedule = self._switch.read() if seen.opened else None
        tripped = self._tripped(seen, schedule) is not None
        routed, asked = seen.asked
        if generation == routed:
            if asked != wanted:
                raise OutsideError(
                    f"Generation {generation} has already routed {asked}, now it asks for {wanted}.",
                    remedy="Two controllers share a generation: only one of them may go on.",
                )
            if tripped:
                return  # the switch fired after this route: a repetition does not undo it
        self._fence.claim(seen, generation, {OPEN: split_text(generation, wanted)})
        weights = dict.fromkeys(seen.running, 0.0)
        weights |= {variant(version): share for version, share in wanted.items()}
        if not _is(seen, weights):
            self._aws.call(
                "sagemaker",
                "update_endpoint_weights_and_capacities",
                EndpointName=self._names.endpoint,
                DesiredWeightsAndCapacities=[
                    {"VariantName": name, "DesiredWeight": weight}
                    for name, weight in weights.items()
                ],
            )
            self._reader.expect(seen)
        if tripped:
            self._switch.delete()
        self._fence.confirm(seen.arn, generation, f"routed {wanted}")

    def remove(self, version: str, *, generation: int) -> None:
        """Take a variant away; AWS lets it answer what it has begun.

        An endpoint that never had traffic goes with its last variant: SageMaker has no empty ones.

        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_AddTags.html
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateEndpoint.html
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DeleteEndpoint.html
        https://docs.aws.amazon.com/scheduler/latest/APIReference/API_UpdateSchedule.html
        and what :meth:`read` calls.

        Raises:
            OutsideError: a newer generation was seen, the variant is not ours, has traffic or would
                get it from the dead-man's switch, or the endpoint is busy, broken or not ours.
        """
        seen = self._fence.writable(generation, made=True)
        if seen.row is None:
            return
        present, name = seen.endpoint.variant(version), variant(version)
        if present is not None and present.share > 0:
            raise OutsideError(
                f"Version {version} still has {present.share:.2%} of the traffic.",
                remedy="Route its share elsewhere before removing it.",
            )
        schedule = self._switch.read() if seen.opened else None
        armed = schedule is not None and schedule.at > self._clock() and schedule.enabled
        if schedule is not None and armed and schedule.weights.get(name, 0.0) > 0:
            raise OutsideError(
                f"The dead-man's switch would send traffic to version {version}.",
                remedy="Arm it with another fallback, or disarm it, before removing the version.",
            )
        if present is None:
            self._fence.claim(seen, generation)
            return
        if name not in seen.running and seen.status == "InService":
            self._fence.claim(
                seen, generation, {WANTED: ""}
            )  # its update was taken back: nothing runs
            return
        if len(seen.running) <= 1:
            self._delete(seen, generation)
            return
        if schedule is not None and armed and name in schedule.weights:
            # AWS refuses weights for a variant that is gone: the switch would no longer work.
            others = [other for other in seen.running if other != name]
            fallback = schedule.fallback()
            self._switch.set(schedule, schedule.at, fallback, others, generation)
        kept = self._configs.kept(seen, without=name)
        self._update(seen, self._configs.make(seen, kept, generation), generation)

    def tidy(self, *, generation: int) -> None:
        """Delete our configurations and models that nothing uses any more; tags say that they are ours.

        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DeleteEndpointConfig.html
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DeleteModel.html
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_AddTags.html
        and what :meth:`read` calls.

        Raises:
            OutsideError: a newer generation was seen, or the endpoint is busy, broken or not ours.
        """
        seen = self._fence.writable(generation, made=True)
        if seen.row is not None:
            self._fence.claim(seen, generation)
            self._leftovers.delete(seen, generation)

    def ask(self, version: str, rows: pa.Table) -> npt.NDArray[np.float64]:
        """Ask one variant directly, past the weights. CloudWatch counts these requests, too.

        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html

        Raises:
            OutsideError: the endpoint does not answer.
            NotJudgedError: the model cannot answer these rows.
        """
        return Asker(self._aws, self._names.endpoint).ask(version, rows)

    def arm(self, until: float | None, fallback: Traffic, *, generation: int) -> None:
        """Let traffic become ``fallback`` at ``until`` (epoch seconds), or within a minute after.

        None disarms. A call of an older generation than the newest one seen changes nothing.

        https://docs.aws.amazon.com/scheduler/latest/APIReference/API_GetSchedule.html
        https://docs.aws.amazon.com/scheduler/latest/APIReference/API_CreateSchedule.html
        https://docs.aws.amazon.com/scheduler/latest/APIReference/API_UpdateSchedule.html
        https://docs.aws.amazon.com/scheduler/latest/APIReference/API_DeleteSchedule.html
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeEndpoint.html
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListTags.html

        Raises:
            OutsideError: the fallback names a version that is not deployed.
        """
        schedule = self._switch.read()
        if until is None and schedule is None:
            return
        seen = self._reader.look()
        newest = max(seen.endpoint.generation, schedule.generation if schedule else 0)
        if generation < newest:
            return
        if until is None:
            self._switch.delete()
        else:
            self._switch.set(
                schedule, until, self._checked(seen, fallback), seen.running, generation
            )

    # --- changing ---------------------------------------------------------------------------

    def _update(self, seen: Seen, config: str, generation: int) -> None:
        wanted = Wanted(config, seen.modified, self._clock())
        self._fence.claim(seen, generation, {WANTED: str(wanted)})
        self._configs.update(config)
        self._reader.expect(seen)
        self._fence.confirm(seen.arn, generation, f"asked for the configuration {config}")

    def _delete(self, seen: Seen, generation: int) -> None:
        """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DeleteEndpoint.html"""
        if seen.opened:
            raise OutsideError(
                f"The last variant of {self._names.endpoint} is not removed.",
                remedy="Delete the endpoint by hand, if nobody asks it any more.",
            )
        self._fence.claim(seen, generation)
        self._aws.call("sagemaker", "delete_endpoint", EndpointName=self._names.endpoint)
        self._reader.expect(seen)

    @staticmethod
    def _there(seen: Seen, deployment: Deployment) -> bool:
        """Whether the version runs; one whose update was taken back may be tried again."""
        present = seen.endpoint.variant(deployment.version)
        running = variant(deployment.version) in seen.running
        found = present.digest if present is not None else None
        if found != deployment.digest and (present is not None or running):
            raise OutsideError(
                f"Version {deployment.version} is on the endpoint with other bytes "
                f"({found or 'not ours'}, not {deployment.digest}).",
                remedy="A version's name stands for one model. Remove it first.",
            )
        if seen.status == "Failed":
            raise OutsideError(
                "The endpoint failed before it served, and can only be deleted.",
                remedy="Remove the version; the endpoint goes with it.",
            )
        return running

    # --- smaller things ---------------------------------------------------------------------

    def _checked(self, seen: Seen, traffic: Traffic) -> dict[str, float]:
        wanted = {version: float(share) for version, share in traffic.items() if share != 0}
        if not wanted or min(wanted.values()) < 0 or abs(sum(wanted.values()) - 1) > 1e-6:
            raise OutsideError(
                f"These shares do not sum to 1: {dict(traffic)}.",
                remedy="Give every version a share between 0 and 1, together 1.",
            )
        there = {v for v, name in seen.names.items() if name in seen.running and name == f"v{v}"}
        for version in wanted:
            if version not in there:
                raise OutsideError(
                    f"Version {version} is not on the endpoint (there: {', '.join(sorted(there))}).",
                    remedy="Deploy it before giving it traffic.",
                )
        return wanted

    def _tripped(self, seen: Seen, schedule: Schedule | None) -> float | None:
        """Return when the switch fired: its time has passed, and traffic is what it makes."""
        if schedule is None or not schedule.weights or schedule.at > self._clock():
            return None
        fallback = schedule.fallback()
        fired = _same(seen.endpoint.traffic(), fallback) and not _same(seen.asked[1], fallback)
        return schedule.at if fired else None


def _is(seen: Seen, weights: Mapping[str, float]) -> bool:
    """Whether the split is so already."""
    now = {name: float(seen.weight(name).get("CurrentWeight", 0.0)) for name in weights}
    total = sum(now.values())
    return total > 0 and _same({name: weight / total for name, weight in now.items()}, weights)


def _same(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    return all(abs(one.get(key, 0.0) - other.get(key, 0.0)) < _SAME for key in {*one, *other})
