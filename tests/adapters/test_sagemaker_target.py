"""The SageMaker target on an endpoint that is slow, fails, forgets, or is somebody else's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from tests.adapters.sagemaker_stage import BUCKET, NAME, Stage, stage, stubborn
from tests.contracts.target_contract import settled, until_ready
from tests.endpoint.serving import wait_for
from tidegate.adapters.cloud.aws import AwsError
from tidegate.adapters.target import sagemaker_images as images
from tidegate.adapters.target.sagemaker_names import Names, Wanted, short, variant
from tidegate.adapters.target.sagemaker_reading import UNSEEN
from tidegate.errors import ConfigError, NotJudgedError, OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tidegate.core.endpoint import Endpoint

pytestmark = pytest.mark.real


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with stage(tmp_path, monkeypatch) as built:
        yield built


def changes(scene: Stage) -> list[str]:
    """Return the calls so far that change something."""
    reading = ("Describe", "List", "Get", "Head", "Invoke")
    return [name for _, name, _ in scene.cloud.calls if not name.startswith(reading)]


# --- what is made, and what it is called --------------------------------------------------------


def test_the_archive_carries_its_hash_and_the_model_the_digest(scene: Stage) -> None:
    scene.up("1")
    deployment = scene.model("1")
    (request,) = scene.cloud.called("CreateModel")
    container = request["PrimaryContainer"]
    assert container["Environment"]["TIDEGATE_DIGEST"] == deployment.digest
    assert request["ExecutionRoleArn"] == "arn:aws:iam::123456789012:role/serving"
    assert container["ModelDataUrl"].startswith(f"s3://{BUCKET}/tidegate/{NAME}/v1-")
    key = container["ModelDataUrl"].removeprefix(f"s3://{BUCKET}/")
    head = scene.aws.call("s3", "head_object", Bucket=BUCKET, Key=key)
    assert head["Metadata"]["tidegate-sha256"][:16] == key.split("/")[-2]
    assert list((scene.work / "work").iterdir()) == [], "no archive stays behind"
    tags = scene.tags()
    assert tags["tidegate:endpoint"] == NAME
    assert scene.cloud.tags[scene.cloud.models[request["ModelName"]].arn] == {
        "tidegate:endpoint": NAME, "tidegate:generation": "1", "tidegate:version": "1",
    }  # fmt: skip


def test_requests_and_answers_are_captured_as_the_settings_say(scene: Stage) -> None:
    scene.target = scene.another(capture=0.25, kms_key="alias/acme")
    scene.up("1")
    capture = scene.describe()["DataCaptureConfig"]
    assert capture["CurrentSamplingPercentage"] == 25
    assert capture["DestinationS3Uri"] == f"s3://{BUCKET}/tidegate/captured"
    assert capture["KmsKeyId"] == "alias/acme"
    scene.target = scene.another(capture=0.0)
    scene.target.deploy(scene.model("2"), generation=scene.next())
    until_ready(scene.target, "2")
    assert "DataCaptureConfig" not in scene.describe(), "it follows the settings of the update"


@pytest.mark.parametrize("endpoint", ["a", "flights", "x" * 36, "x" * 37, "a-" * 31 + "a"])
def test_no_name_is_longer_than_aws_allows_nor_shared_by_two_endpoints(endpoint: str) -> None:
    names, other = Names(endpoint), Names(endpoint[:-1] + "z")
    model = names.model("1234567890abcd", "f" * 64)
    config = names.config(10**15, {"x": 1})
    for name in (model, config, names.schedule):
        assert len(name) <= 63
        assert "--" not in name
    assert names.generation_of(config) == 10**15
    assert names.is_model(model)
    assert not other.is_model(model)
    assert other.generation_of(config) is None
    assert names.model("1", "sha256:" + "f" * 64) == f"{names.stem}-v1-{'f' * 10}"


def test_a_name_that_sagemaker_cannot_have_is_refused_before_any_call(scene: Stage) -> None:
    for version in ("1.2", "", "-1", "123456789012345", "ü"):
        with pytest.raises(OutsideError, match="cannot name a variant"):
            variant(version)
    with pytest.raises(OutsideError, match="endpoint names"):
        Names("my_endpoint")
    assert short("sha256:abc") == "abc"
    assert Wanted.of("nonsense") is None


# --- states -------------------------------------------------------------------------------------


def test_every_state_is_busy_broken_or_neither(scene: Stage) -> None:
    scene.up("1", "2")
    before = changes(scene)
    busy = {"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"}
    for status in (*busy, "OutOfService", "Failed", "UpdateRollbackFailed"):
        scene.cloud.freeze(NAME, status, reason="because")
        endpoint = scene.target.read()
        assert (endpoint.busy is not None) == (status in busy), status
        assert (endpoint.broken is not None) == (status not in busy), status
        assert status in (endpoint.busy or endpoint.broken or "")
        generation = scene.next()
        with pytest.raises(OutsideError, match="cannot be changed now"):
            scene.target.deploy(scene.model("3"), generation=generation)
        with pytest.raises(OutsideError, match="cannot be changed now"):
            scene.target.route({"2": 1.0}, generation=generation)
        with pytest.raises(OutsideError, match="cannot be changed now"):
            scene.target.remove("2", generation=generation)
        with pytest.raises(OutsideError, match="cannot be changed now"):
            scene.target.tidy(generation=generation)
        scene.cloud.thaw(NAME)
    assert changes(scene) == before, "nothing was even tried"
    endpoint = scene.target.read()
    assert (endpoint.busy, endpoint.broken) == (None, None)
    assert endpoint.patience == 3600


def test_while_it_is_created_or_updated_the_new_variant_is_there_and_not_ready(
    scene: Stage,
) -> None:
    scene.cloud.speed = 0.4
    for version in ("1", "2"):
        scene.target.deploy(scene.model(version), generation=scene.next())
        seen = scene.target.read().variant(version)
        assert seen is not None
        assert (seen.ready, seen.share, seen.failed) == (False, 0.0, None)
        assert seen.digest == scene.model(version).digest
        until_ready(scene.target, version)
        if version == "1":
            assert scene.weights() == {"v1": 1.0}, "SageMaker has no endpoint without traffic"
            assert scene.target.read().traffic() == {}, "but nobody was sent there yet"
            scene.route(v1=1.0)
    assert scene.weights() == {"v1": 1.0, "v2": 0.0}


def test_an_update_that_was_taken_back_is_no_success(scene: Stage) -> None:
    scene.up("1")
    scene.target.deploy(scene.model("2", sick=True), generation=scene.next())
    endpoint = settled(scene.target)
    two = endpoint.variant("2")
    assert two is not None
    assert two.failed is not None
    assert "took the update back" in two.failed
    assert not two.ready
    assert endpoint.traffic() == {"1": 1.0}
    assert settled(scene.another()).variant("2") == two, "another process sees the same"

    scene.target.remove("2", generation=scene.next())
    assert settled(scene.target).variant("2") is None

    (scene.work / "model-2" / "sick").unlink()  # repaired, under the same number
    scene.target.deploy(scene.model("2"), generation=scene.next())
    until_ready(scene.target, "2")


def test_a_failed_rollback_needs_a_person(scene: Stage) -> None:
    scene.up("1")
    scene.cloud.rollback_fails = True
    scene.target.deploy(scene.model("2", sick=True), generation=scene.next())
    endpoint = settled(scene.target)
    assert "UpdateRollbackFailed" in (endpoint.broken or "")
    assert endpoint.traffic() == {"1": 1.0}


def test_a_first_release_that_fails_can_be_removed_and_made_again(scene: Stage) -> None:
    scene.target.deploy(scene.model("1", sick=True), generation=scene.next())
    endpoint = settled(scene.target)
    (one,) = endpoint.variants
    assert one.failed is not None
    assert "did not pass the ping health check" in one.failed
    assert endpoint.broken is None, "nothing that ever served is broken"
    scene.target.remove("1", generation=scene.next())
    assert settled(scene.target).variants == ()
    scene.up("2")
    scene.target.tidy(generation=scene.next())
    assert len(scene.names()) == 2, "the failed one's model and configuration are gone, too"


def test_an_endpoint_that_was_open_is_never_deleted(scene: Stage) -> None:
    scene.up("1")
    scene.cloud.endpoints[NAME].variants[0].weight = 0.0
    scene.cloud.endpoints[NAME].variants[0].desired_weight = 0.0
    assert scene.target.read().traffic() == {}
    with pytest.raises(OutsideError, match="last variant"):
        scene.target.remove("1", generation=scene.next())


def test_weights_that_still_move_are_busy(scene: Stage) -> None:
    scene.up("1", "2")
    scene.cloud.endpoints[NAME].variants[1].desired_weight = 0.5
    assert "weights are moving" in (scene.target.read().busy or "")


def test_an_old_answer_is_not_taken_for_the_truth(scene: Stage) -> None:
    scene.up("1", "2")
    scene.route(v1=0.9, v2=0.1)
    versions = scene.cloud.endpoints[NAME].versions
    old = next(
        back
        for back, row in enumerate(reversed(versions))
        if row["EndpointStatus"] == "InService"
        and row["ProductionVariants"][-1]["CurrentWeight"] == 0
    )
    scene.cloud.lag_reads(old)
    endpoint = scene.target.read()
    assert endpoint.traffic() == {"1": 1.0}, "as it was before the route"
    assert endpoint.busy is not None, endpoint
    with pytest.raises(OutsideError, match="older state"):
        scene.target.route({"1": 1.0}, generation=scene.next())
    scene.cloud.lag_reads(0)
    assert settled(scene.target).traffic() == pytest.approx({"1": 0.9, "2": 0.1})


def test_an_update_that_is_not_seen_yet_is_neither_failed_nor_asked_for_again(
    scene: Stage,
) -> None:
    scene.up("1")
    scene.cloud.speed = 1.0
    scene.target.deploy(scene.model("2"), generation=scene.next())
    scene.cloud.lag_reads(1, times=1)
    other = scene.another()  # another process, which has seen nothing newer
    endpoint = other.read()
    assert endpoint.busy is not None
    two = endpoint.variant("2")
    assert two is None or two.failed is None
    until_ready(scene.target, "2")


def test_who_died_before_asking_for_the_update_is_followed_by_one_who_asks(scene: Stage) -> None:
    scene.up("1")
    scene.cloud.fail_next("UpdateEndpoint", 1, None)
    with pytest.raises(OutsideError):
        scene.target.deploy(scene.model("2"), generation=scene.next())
    other = scene.another()
    assert "not seen yet" in (other.read().busy or "")
    scene.cloud.advance(UNSEEN + 1)
    assert other.read().busy is None
    assert other.read().variant("2") is None
    other.deploy(scene.model("2"), generation=scene.next())
    until_ready(other, "2")


def test_a_configuration_that_is_not_known_everywhere_yet_is_tried_again(scene: Stage) -> None:
    scene.cloud.stale_configs = 3
    scene.up("1")
    scene.cloud.stale_configs = 3
    scene.target.deploy(scene.model("2"), generation=scene.next())
    until_ready(scene.target, "2")
    scene.cloud.stale_configs = 100
    with pytest.raises(AwsError, match="Could not find endpoint configuration"):
        scene.target.deploy(scene.model("3"), generation=scene.next())


# --- what changes leave alone -------------------------------------------------------------------


def test_instance_counts_that_autoscaling_has_set_survive_every_change(scene: Stage) -> None:
    scene.up("1")
    scene.aws.call(
        "sagemaker", "update_endpoint_weights_and_capacities", EndpointName=NAME,
        DesiredWeightsAndCapacities=[{"VariantName": "v1", "DesiredInstanceCount": 4}],
    )  # fmt: skip
    settled(scene.target)
    scene.target.deploy(scene.model("2"), generation=scene.next())
    until_ready(scene.target, "2")
    scene.route(v1=0.75, v2=0.25)
    scene.target.deploy(scene.model("3"), generation=scene.next())
    until_ready(scene.target, "3")
    rows = {row["VariantName"]: row for row in scene.describe()["ProductionVariants"]}
    assert [rows[name]["CurrentInstanceCount"] for name in ("v1", "v2", "v3")] == [4, 1, 1]
    assert [rows[name]["CurrentWeight"] for name in ("v1", "v2", "v3")] == [0.75, 0.25, 0.0]
    assert all(
        "DesiredInstanceCount" not in wanted
        for call in scene.cloud.called("UpdateEndpointWeightsAndCapacities")[1:]
        for wanted in call["DesiredWeightsAndCapacities"]
    )
    assert all(call["RetainAllVariantProperties"] for call in scene.cloud.called("UpdateEndpoint"))


def test_a_route_names_every_variant_and_one_that_holds_already_asks_for_nothing(
    scene: Stage,
) -> None:
    scene.up("1", "2", "3")
    scene.route(v2=1.0)
    assert scene.weights() == {"v1": 0.0, "v2": 1.0, "v3": 0.0}
    before = len(scene.cloud.called("UpdateEndpointWeightsAndCapacities"))
    scene.route(v2=1.0)
    assert len(scene.cloud.called("UpdateEndpointWeightsAndCapacities")) == before


def test_alarms_watch_an_update_where_aws_lets_them(scene: Stage) -> None:
    scene.target = scene.another(alarms=("errors",))
    scene.up("1", "2")
    first, second = scene.cloud.called("UpdateEndpoint")
    assert first["DeploymentConfig"]["AutoRollbackConfiguration"] == {
        "Alarms": [{"AlarmName": "errors"}]
    }
    assert "DeploymentConfig" not in second, "other variant names: AWS refuses the alarms"


# --- somebody else's ----------------------------------------------------------------------------


def foreign(scene: Stage, *, tag: bool = False, **variant: Any) -> None:
    """Make an endpoint that Tidegate did not make."""
    scene.cloud.commands["other"] = scene.cloud.commands[scene.settings.image or ""]
    call = scene.aws.call
    call("sagemaker", "create_model", ModelName="theirs", PrimaryContainer={"Image": "other"},
         ExecutionRoleArn="arn:aws:iam::123456789012:role/theirs")  # fmt: skip
    request = {"VariantName": "AllTraffic", "ModelName": "theirs", **variant}
    if "ServerlessConfig" not in variant:
        request |= {"InstanceType": "ml.m5.large", "InitialInstanceCount": 2}
    call("sagemaker", "create_endpoint_config", EndpointConfigName="their-config",
         ProductionVariants=[request])  # fmt: skip
    tags = [{"Key": "tidegate:endpoint", "Value": NAME}] if tag else []
    call("sagemaker", "create_endpoint", EndpointName=NAME, EndpointConfigName="their-config",
         Tags=tags)  # fmt: skip
    wait_for(lambda: scene.describe()["EndpointStatus"] == "InService")


def test_an_endpoint_that_is_not_ours_is_shown_and_left_alone(scene: Stage) -> None:
    foreign(scene)
    endpoint = scene.target.read()
    assert endpoint.traffic() == {"AllTraffic": 1.0}
    before = changes(scene)
    with pytest.raises(OutsideError, match="was not made by Tidegate"):
        scene.target.deploy(scene.model("1"), generation=1)
    with pytest.raises(OutsideError, match="was not made by Tidegate"):
        scene.target.route({"AllTraffic": 1.0}, generation=1)
    with pytest.raises(OutsideError, match="was not made by Tidegate"):
        scene.target.remove("AllTraffic", generation=1)
    with pytest.raises(OutsideError, match="was not made by Tidegate"):
        scene.target.tidy(generation=1)
    assert changes(scene) == before


def test_one_that_was_handed_over_keeps_its_variant_and_loses_its_traffic_to_a_route(
    scene: Stage,
) -> None:
    foreign(scene, tag=True)
    scene.target.deploy(scene.model("1"), generation=scene.next())
    until_ready(scene.target, "1")
    with pytest.raises(OutsideError, match="not on the endpoint"):
        scene.target.route({"AllTraffic": 1.0}, generation=scene.next())
    scene.route(v1=1.0)
    assert scene.weights() == {"AllTraffic": 0.0, "v1": 1.0}
    assert [v.version for v in scene.target.read().variants] == ["1"], "nothing to sweep away"
    scene.target.tidy(generation=scene.next())
    assert {"theirs", "their-config"} <= set(scene.names())


def test_where_traffic_cannot_be_split_the_reason_is_told(scene: Stage) -> None:
    foreign(scene, tag=True, ServerlessConfig={"MemorySizeInMB": 2048, "MaxConcurrency": 5})
    with pytest.raises(OutsideError, match="serverless"):
        scene.target.deploy(scene.model("1"), generation=scene.next())


def test_tidying_leaves_no_orphan_and_deletes_nothing_foreign(scene: Stage) -> None:
    scene.up("1", "2", "3")
    scene.route(v3=1.0)
    for version in ("1", "2"):
        scene.target.remove(version, generation=scene.next())
        settled(scene.target)
    # Look-alikes of another owner, and what another endpoint of ours needs.
    call = scene.aws.call
    for name, owner in (
        (f"{NAME}-v9-0123456789", "them"),
        (f"{NAME}-b-v9-0123456789", f"{NAME}-b"),
    ):
        call("sagemaker", "create_model", ModelName=name,
             PrimaryContainer={"Image": scene.settings.image or ""},
             ExecutionRoleArn="arn:aws:iam::123456789012:role/x",
             Tags=[{"Key": "tidegate:endpoint", "Value": owner},
                   {"Key": "tidegate:generation", "Value": "1"}])  # fmt: skip
        call("sagemaker", "create_endpoint_config", EndpointConfigName=name.replace("v9", "g1")[:-2],
             ProductionVariants=[{"VariantName": "v9", "ModelName": name,
                                  "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}])  # fmt: skip
    scene.next()
    scene.target.route({"3": 1.0}, generation=scene.generation)
    fresh = scene.another()
    left = settled(fresh).leftovers
    assert sum(thing.startswith("model") for thing in left) == 2
    assert not any("v9" in thing or "0123" in thing for thing in left)
    with pytest.raises(OutsideError, match="out of date"):
        fresh.tidy(generation=1)
    fresh.tidy(generation=scene.next())
    assert settled(fresh).leftovers == ()
    assert settled(scene.another()).leftovers == (), "also for who remembers nothing"
    ours = [name for name in scene.names() if "012345" not in name]
    assert len(ours) == 2, ours
    assert scene.target.read().traffic() == {"3": 1.0}
    until_ready(scene.target, "3")


# --- two writers --------------------------------------------------------------------------------


def test_a_writer_that_fell_behind_is_told_and_what_it_did_is_seen(scene: Stage) -> None:
    scene.up("1", "2")
    stale, newer = scene.generation + 1, scene.generation + 2
    arn = scene.describe()["EndpointArn"]

    class Meanwhile:
        """The newer controller writes exactly between the older one's reading and its write."""

        def __init__(self) -> None:
            self.done = False

        def __call__(self, service: str, operation: str, /, **arguments: Any) -> dict[str, Any]:
            if operation == "update_endpoint_weights_and_capacities" and not self.done:
                self.done = True
                tags = [{"Key": "tidegate:generation", "Value": str(newer)}]
                plain("sagemaker", "add_tags", ResourceArn=arn, Tags=tags)
            return plain(service, operation, **arguments)

    plain = scene.aws.call
    scene.aws.call = Meanwhile()  # type: ignore[method-assign]
    with pytest.raises(OutsideError, match=f"Generation {newer} changed the endpoint"):
        scene.target.route({"1": 0.5, "2": 0.5}, generation=stale)
    scene.aws.call = plain  # type: ignore[method-assign]
    endpoint = settled(scene.another())
    assert endpoint.generation == newer
    assert endpoint.traffic() == pytest.approx({"1": 0.5, "2": 0.5}), "read back, not remembered"
    scene.target.route({"1": 1.0}, generation=newer + 1)
    assert settled(scene.target).traffic() == {"1": 1.0}


def test_a_tag_that_a_stale_writer_lowered_is_raised_again(scene: Stage) -> None:
    scene.up("1", "2")
    newest = scene.generation + 5
    plain = scene.aws.call
    lowered: list[int] = []

    def call(service: str, operation: str, /, **arguments: Any) -> dict[str, Any]:
        answer = plain(service, operation, **arguments)
        if operation == "update_endpoint_weights_and_capacities" and not lowered:
            lowered.append(1)
            tags = [{"Key": "tidegate:generation", "Value": "1"}]
            plain("sagemaker", "add_tags", ResourceArn=scene.describe()["EndpointArn"], Tags=tags)
        return answer

    scene.aws.call = call  # type: ignore[method-assign]
    scene.target.route({"2": 1.0}, generation=newest)
    assert settled(scene.target).generation == newest


# --- the switch ---------------------------------------------------------------------------------


def test_the_switch_fires_by_itself_and_says_so_until_a_newer_route(scene: Stage) -> None:
    scene.up("1", "2")
    scene.route(v1=0.9, v2=0.1)
    until = scene.cloud.now() + 600
    scene.target.arm(until, {"1": 1.0}, generation=scene.generation)
    assert scene.target.read().tripped is None
    scene.cloud.advance(300)
    assert settled(scene.target).traffic() == pytest.approx({"1": 0.9, "2": 0.1})
    scene.cloud.advance(361)
    wait_for(lambda: scene.target.read().tripped is not None)
    endpoint = settled(scene.target)
    assert endpoint.tripped == pytest.approx(until, abs=1.0)
    assert endpoint.traffic() == {"1": 1.0}
    # A repetition of the route that was in force does not open the gate again.
    scene.target.route({"1": 0.9, "2": 0.1}, generation=scene.generation)
    assert settled(scene.target).traffic() == {"1": 1.0}
    endpoint = scene.route(v1=0.9, v2=0.1)
    assert endpoint.tripped is None
    assert endpoint.traffic() == pytest.approx({"1": 0.9, "2": 0.1})
    assert scene.cloud.schedules.items == {}


def test_the_switch_tries_again_while_the_endpoint_is_busy(scene: Stage) -> None:
    scene.up("1", "2")
    scene.route(v1=0.9, v2=0.1)
    scene.target.arm(scene.cloud.now() + 60, {"1": 1.0}, generation=scene.generation)
    scene.cloud.freeze(NAME, "SystemUpdating")
    scene.cloud.advance(130)
    assert scene.cloud.schedules.items, "it has not given up"
    assert scene.target.read().tripped is None, "nothing has happened yet"
    scene.cloud.thaw(NAME)
    for _ in range(8):
        scene.cloud.advance(30)
    wait_for(lambda: settled(scene.target).tripped is not None)
    assert settled(scene.target).traffic() == {"1": 1.0}


def test_arming_is_fenced_moves_rarely_and_ends_without_a_trace(scene: Stage) -> None:
    scene.up("1", "2")
    scene.route(v1=0.9, v2=0.1)
    now = scene.cloud.now()
    arm, generation = scene.target.arm, scene.generation
    arm(None, {}, generation=generation)
    arm(now + 600, {"1": 1.0}, generation=generation)
    arm(now + 650, {"1": 1.0}, generation=generation)  # less than a minute
    arm(now + 900, {"2": 1.0}, generation=generation - 1)  # from the past
    arm(None, {}, generation=generation - 1)
    assert [changes(scene).count(name) for name in ("CreateSchedule", "UpdateSchedule")] == [1, 0]
    arm(now + 700, {"1": 1.0}, generation=generation)
    arm(now + 700, {"1": 0.5, "2": 0.5}, generation=generation)
    assert changes(scene).count("UpdateSchedule") == 2
    with pytest.raises(OutsideError, match="not on the endpoint"):
        arm(now + 700, {"7": 1.0}, generation=generation)
    (schedule,) = scene.cloud.schedules.items.values()
    target = schedule.request["Target"]
    assert target["RoleArn"] == scene.settings.scheduler_role
    assert "InstanceCount" not in target["Input"]
    assert f"generation {generation}" in schedule.request["Description"]
    arm(None, {}, generation=generation + 1)
    arm(None, {}, generation=generation + 1)
    assert scene.cloud.schedules.items == {}


def test_a_removal_neither_breaks_the_switch_nor_takes_what_it_needs(scene: Stage) -> None:
    scene.up("1", "2", "3")
    scene.route(v1=0.9, v2=0.1)
    scene.target.arm(scene.cloud.now() + 600, {"1": 1.0}, generation=scene.generation)
    scene.target.remove("3", generation=scene.next())
    settled(scene.target)
    (schedule,) = scene.cloud.schedules.items.values()
    wanted = json.loads(schedule.request["Target"]["Input"])["DesiredWeightsAndCapacities"]
    assert {one["VariantName"]: one["DesiredWeight"] for one in wanted} == {"v1": 1, "v2": 0}
    scene.route(v2=1.0)
    with pytest.raises(OutsideError, match="switch would send traffic"):
        scene.target.remove("1", generation=scene.next())
    scene.cloud.advance(661)
    wait_for(lambda: scene.weights() == {"v1": 1.0, "v2": 0.0})


def test_a_switch_that_only_repeats_what_was_asked_has_not_tripped(scene: Stage) -> None:
    scene.up("1", "2")
    scene.route(v1=0.9, v2=0.1)
    scene.target.arm(scene.cloud.now() + 60, {"1": 1.0}, generation=scene.generation)
    scene.route(v1=1.0)
    scene.cloud.advance(130)
    assert settled(scene.target).tripped is None


# --- asking -------------------------------------------------------------------------------------


def test_a_variant_is_asked_past_the_weights_in_chunks_exactly(scene: Stage) -> None:
    scene.up("1", "2")
    values = np.random.default_rng(1).normal(size=1201)
    answers = scene.target.ask("2", pa.table({"x": values, "region": ["north"] * 1201}))
    assert (answers == values / 100).all()
    calls = scene.cloud.called("InvokeEndpoint")
    assert len(calls) == 3
    assert {call["TargetVariant"] for call in calls} == {"v2"}
    assert {call["InferenceId"] for call in calls} == {"tidegate-ask"}
    assert scene.target.ask("2", pa.table({"x": pa.array([], pa.float64())})).size == 0
    wide = pa.table({"x": values[:400], "text": ["é" * 8000] * 400})
    assert (scene.target.ask("1", wide) == values[:400] / 100).all(), "split by its size, too"


def test_whose_fault_a_missing_answer_is(scene: Stage) -> None:
    scene.up("1")
    with pytest.raises(NotJudgedError):
        scene.target.ask("1", pa.table({"y": [1.0]}))
    with pytest.raises(OutsideError):
        scene.target.ask("2", pa.table({"x": [1.0]}))


# --- an unreliable cloud ------------------------------------------------------------------------


def story(scene: Stage) -> None:
    """A first release, a canary and its end, as passes do it: again, until it worked.

    Whoever fails is followed by a process that remembers nothing.
    """
    target = scene.target

    def until(reached: Callable[[Endpoint], bool], act: Callable[[int], None]) -> None:
        nonlocal target
        generation = scene.next()
        for _ in range(60):
            try:
                seen = settled(target)
                assert not any(variant.failed for variant in seen.variants), seen
                if reached(seen):
                    return
                act(generation)
            except OutsideError:
                target = scene.another()
                scene.cloud.advance(UNSEEN + 1)
        raise AssertionError

    def ready(version: str) -> Callable[[Endpoint], bool]:
        return lambda seen: any(v.version == version and v.ready for v in seen.variants)

    def deploy(version: str) -> None:
        deployment = scene.model(version)
        until(ready(version), lambda g: target.deploy(deployment, generation=g))

    def route(traffic: dict[str, float]) -> None:
        until(
            lambda seen: seen.traffic() == pytest.approx(traffic),
            lambda g: target.route(traffic, generation=g),
        )

    deploy("1")
    route({"1": 1.0})
    deploy("2")
    late = scene.cloud.now() + 100_000
    stubborn(lambda: scene.another().arm(late, {"1": 1.0}, generation=scene.next()))
    route({"1": 0.9, "2": 0.1})
    route({"1": 1.0})
    stubborn(lambda: scene.another().arm(None, {}, generation=scene.next()))
    until(lambda seen: seen.variant("2") is None, lambda g: target.remove("2", generation=g))
    until(lambda seen: seen.leftovers == (), lambda g: target.tidy(generation=g))


def ended_well(scene: Stage) -> None:
    endpoint = settled(scene.another())
    assert endpoint.traffic() == {"1": 1.0}
    assert [variant.version for variant in endpoint.variants] == ["1"]
    assert endpoint.leftovers == ()
    assert scene.cloud.schedules.items == {}
    assert len(scene.names()) == 2, scene.names()


CHANGING = (
    "CreateModel", "CreateEndpointConfig", "CreateEndpoint", "UpdateEndpoint", "AddTags",
    "UpdateEndpointWeightsAndCapacities", "CreateSchedule", "DeleteSchedule", "DeleteModel",
    "DeleteEndpointConfig",
)  # fmt: skip


@pytest.mark.parametrize("apply", [False, True], ids=["not-done", "done"])
@pytest.mark.parametrize("operation", CHANGING)
def test_an_answer_that_gets_lost_changes_nothing_in_the_end(
    scene: Stage, operation: str, apply: bool
) -> None:
    scene.cloud.fail_next(operation, 1, None, apply=apply)
    story(scene)
    assert scene.cloud.faults.planned[0].times == 0, "it was lost"
    ended_well(scene)
    assert changes(scene).count("CreateEndpoint") <= 2


def test_throttling_and_failures_end_in_the_same_world_with_few_more_calls(
    scene: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "calm").mkdir()
    with stage(tmp_path / "calm", monkeypatch) as calm:
        story(calm)
        ended_well(calm)
        needed = len(changes(calm))
    for key, value in scene.cloud.env.items():
        monkeypatch.setenv(key, value)
    scene.cloud.throttle(0.3, seed=5, services=["sagemaker", "scheduler", "s3"])
    story(scene)
    scene.cloud.throttle(0.0)
    ended_well(scene)
    assert scene.cloud.faults.thrown > 20
    assert len(changes(scene)) <= 3 * needed


# --- images -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("python", "flavor", "region", "machine", "image"),
    [
        ("3.12.4", "sklearn", "eu-west-1", "ml.m5.large",
         "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn:1.4-2-py312-cpu-py3"),
        ("3.12.4", "xgboost", "us-east-1", "ml.m5.large",
         "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.2-0-cpu-py3"),
        ("3.12.4", "pytorch", "eu-west-1", "ml.g5.xlarge",
         "763104351884.dkr.ecr.eu-west-1.amazonaws.com/pytorch-inference:2.6.0-gpu-py312"),
        ("3.11.7", "sklearn", "cn-north-1", "ml.m5.large",
         "727897471807.dkr.ecr.cn-north-1.amazonaws.com.cn/pytorch-inference:2.5.1-cpu-py311"),
        ("3.13.0", "sklearn", "eu-west-1", "ml.m5.large", None),
        ("3.9.1", "sklearn", "eu-west-1", "ml.m5.large", None),
        ("3.12.1", "sklearn", "eu-west-1", "ml.m7g.large", None),
        ("3.12.1", "sklearn", "mars-north-1", "ml.m5.large", None),
        ("", "sklearn", "eu-west-1", "ml.m5.large", None),
    ],
)  # fmt: skip
def test_the_public_image_fits_the_models_python_and_flavor_or_one_is_asked_for(
    tmp_path: Path, python: str, flavor: str, region: str, machine: str, image: str | None
) -> None:
    line = f"    python_version: {python}\n" if python else ""
    (tmp_path / "MLmodel").write_text(
        f"flavors:\n  python_function:\n{line}  {flavor}:\n    a: 1\n"
    )
    if image is not None:
        assert images.choose(tmp_path, region, machine) == image
        return
    with pytest.raises(ConfigError) as caught:
        images.choose(tmp_path, region, machine)
    assert "release.sagemaker.image" in caught.value.remedy
