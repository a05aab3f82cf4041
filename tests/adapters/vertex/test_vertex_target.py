"""The Vertex AI target against a project on loopback: conflicts, losses, failures, the switch, orphans."""

from __future__ import annotations

import contextlib
import json
import threading
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from tests.adapters.vertex_world import (
    ENDPOINTS,
    MODELS,
    did,
    key,
    rows,
    settled,
    small,
    split,
    up,
)
from tidegate.adapters.target import vertex_names as names
from tidegate.errors import ConfigError, NotJudgedError, OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.gcp.cloud import Cloud
    from tidegate.adapters.target.vertex import VertexTarget

pytestmark = pytest.mark.real


# --- deploying --------------------------------------------------------------------------------


def test_a_version_is_a_model_deployed_under_its_own_id_without_traffic(
    target: VertexTarget, cloud: Cloud
) -> None:
    target.deploy(small("1"), generation=1)
    coming = target.read()
    assert [(v.version, v.ready) for v in coming.variants] == [("1", False)]
    assert coming.busy is not None
    one = settled(target).variant("1")
    assert one is not None
    assert (one.ready, one.share, one.digest) == (True, 0.0, small("1").digest)
    assert [model["id"] for model in cloud.endpoint("flights")["deployedModels"]] == [key("1")]
    assert split(cloud) == {}
    assert all("trafficSplit" not in call.body for call in did(cloud, f"{ENDPOINTS}.deployModel"))


def test_the_key_zero_is_never_sent(target: VertexTarget, cloud: Cloud) -> None:
    up(target, "1", "2")
    target.route({"1": 0.99, "2": 0.01}, generation=3)
    target.route({"1": 1.0}, generation=4)
    target.remove("2", generation=5)
    settled(target)
    target.tidy(generation=6)
    assert not any('"0":' in json.dumps(call.body) for call in cloud.calls)


def test_what_exists_is_neither_packed_nor_uploaded_again(
    target: VertexTarget, cloud: Cloud
) -> None:
    up(target, "1", "2")
    target.remove("2", generation=3)
    settled(target)
    target.deploy(small("2"), generation=4)
    assert [v.ready for v in settled(target).variants] == [True, True]
    assert len(did(cloud, f"{MODELS}.upload")) == 2


def test_a_model_that_cannot_be_loaded_is_failed_with_its_reason_until_it_is_removed(
    target: VertexTarget, cloud: Cloud
) -> None:
    up(target, "1")
    target.deploy(small("dead"), generation=3)
    dead = settled(target).variant("dead")
    assert dead is not None
    assert dead.failed is not None
    assert "cannot be loaded" in dead.failed
    assert not dead.ready
    with pytest.raises(OutsideError, match="cannot be loaded"):
        target.deploy(small("dead"), generation=3)
    target.remove("dead", generation=4)
    after = target.read()
    assert after.variant("dead") is None
    assert after.traffic() == {"1": 1.0}
    target.deploy(small("dead"), generation=5)
    assert target.read().variant("dead") is not None, "it may be tried again"


def test_an_operation_that_fails_in_the_cloud_is_told(target: VertexTarget, cloud: Cloud) -> None:
    cloud.fail_operation("deployModel", "no quota for n1-standard-2", "RESOURCE_EXHAUSTED")
    target.deploy(small("1"), generation=1)
    one = settled(target).variant("1")
    assert one is not None
    assert one.failed is not None
    assert "no quota" in one.failed


def test_an_operation_that_never_ends_is_busy_and_then_needs_a_person(
    target: VertexTarget, cloud: Cloud
) -> None:
    up(target, "1")
    cloud.freeze("deployModel")
    target.deploy(small("2"), generation=3)
    assert target.read().busy is not None
    changes: list[Callable[[], None]] = [
        lambda: target.route({"1": 1.0}, generation=4),
        lambda: target.remove("1", generation=4),
        lambda: target.deploy(small("3"), generation=4),
        lambda: target.tidy(generation=4),
    ]
    for change in changes:
        with pytest.raises(OutsideError, match="busy"):
            change()
    target.deploy(small("2"), generation=3)
    cloud.advance(3 * 3600)
    stuck = target.read()
    assert stuck.busy is None
    assert stuck.broken is not None
    assert "cancel it" in stuck.broken
    assert stuck.traffic() == {"1": 1.0}
    cloud.thaw()
    settled(target)


def test_other_bytes_are_refused_and_so_is_a_server_of_ones_own(target: VertexTarget) -> None:
    up(target, "1")
    with pytest.raises(OutsideError, match="other bytes"):
        target.deploy(small("1", digest="0" * 64), generation=3)
    with pytest.raises(OutsideError, match="not what was judged"):
        target.deploy(small("2", digest="0" * 64), generation=3)


def test_settings_reach_the_cloud(connect: Callable[..., VertexTarget], cloud: Cloud) -> None:
    target = connect(
        machine_type="n2-standard-4",
        replicas=2,
        max_replicas=5,
        service_account="serve@acme-ml.iam.gserviceaccount.com",
        image="europe-docker.pkg.dev/acme/serve/own:1",
        log_table="bq://acme-ml.logs.flights",
        log_share=0.25,
        dedicated=True,
    )
    target.deploy(small("1"), generation=1)
    endpoint = settled(target)
    row = cloud.endpoint("flights")
    deployed = row["deployedModels"][0]
    assert deployed["dedicatedResources"]["machineSpec"] == {"machineType": "n2-standard-4"}
    assert deployed["dedicatedResources"]["minReplicaCount"] == 2
    assert deployed["dedicatedResources"]["maxReplicaCount"] == 5
    assert deployed["serviceAccount"] == "serve@acme-ml.iam.gserviceaccount.com"
    assert row["predictRequestResponseLoggingConfig"]["samplingRate"] == 0.25
    assert endpoint.url is not None
    assert endpoint.url.startswith(
        f"https://{row['dedicatedEndpointDns'].removeprefix('https://')}/"
    )
    beside = cloud.endpoint("flights-parity")["deployedModels"][0]["dedicatedResources"]
    assert (beside["minReplicaCount"], beside["maxReplicaCount"]) == (1, 1)
    assert "predictRequestResponseLoggingConfig" not in cloud.endpoint("flights-parity")
    (model,) = cloud.state.models.rows.values()
    assert model["containerSpec"]["imageUri"] == "europe-docker.pkg.dev/acme/serve/own:1"


def test_a_bucket_that_is_none_is_refused(connect: Callable[..., VertexTarget]) -> None:
    with pytest.raises(ConfigError, match="no place"):
        connect(bucket="s3://acme")


# --- traffic ----------------------------------------------------------------------------------


def test_splits_are_whole_per_cents(target: VertexTarget, cloud: Cloud) -> None:
    up(target, "1", "2")
    target.route({"1": 0.99, "2": 0.01}, generation=3)
    assert split(cloud) == {key("1"): 99, key("2"): 1}
    for shares in ({"1": 0.995, "2": 0.005}, {"1": 0.875, "2": 0.125}):
        with pytest.raises(OutsideError, match="whole per cents") as refused:
            target.route(shares, generation=4)
        assert "1 %" in refused.value.remedy
    assert split(cloud) == {key("1"): 99, key("2"): 1}


def test_a_conflict_is_read_again_and_decided_again(target: VertexTarget, cloud: Cloud) -> None:
    up(target, "1", "2")
    cloud.fail_next(f"{ENDPOINTS}.patch", status=409)
    target.route({"1": 0.5, "2": 0.5}, generation=3)
    assert split(cloud) == {key("1"): 50, key("2"): 50}


def test_every_change_of_the_endpoint_carries_its_etag(target: VertexTarget, cloud: Cloud) -> None:
    up(target, "1", "2")
    assert did(cloud, f"{ENDPOINTS}.patch")
    assert all(call.body.get("etag") for call in did(cloud, f"{ENDPOINTS}.patch"))
    assert all(call.body.get("etag") for call in did(cloud, f"{MODELS}.patch"))


def test_of_two_writers_the_newer_one_stays(
    target: VertexTarget, connect: Callable[..., VertexTarget], cloud: Cloud
) -> None:
    up(target, "1", "2")
    for turn in range(5):
        old, new = 10 * turn + 10, 10 * turn + 11
        writers = [
            threading.Thread(target=_try, args=(connect(), {"1": 0.5, "2": 0.5}, old)),
            threading.Thread(target=_try, args=(connect(), {"1": 1.0}, new)),
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert split(cloud) == {key("1"): 100}
        assert target.read().generation == new


def _try(target: VertexTarget, traffic: dict[str, float], generation: int) -> None:
    with contextlib.suppress(OutsideError):
        target.route(traffic, generation=generation)


def test_labels_and_models_of_others_stay_as_they_are(target: VertexTarget, cloud: Cloud) -> None:
    up(target, "1")
    name = cloud.name_of("endpoints", "flights")
    with cloud.lock:
        row = dict(cloud.state.endpoints[name])
        row["labels"] = {**row["labels"], "team": "blue"}
        cloud.state.endpoints.put(name, row)
    target.deploy(small("2"), generation=3)
    settled(target)
    assert cloud.endpoint("flights")["labels"]["team"] == "blue"


def test_somebody_elses_model_is_shown_while_it_has_traffic_and_never_touched(
    target: VertexTarget, cloud: Cloud
) -> None:
    up(target, "1")
    name = cloud.name_of("endpoints", "flights")
    with cloud.lock:
        row = dict(cloud.state.endpoints[name])
        foreign = {"id": "42", "model": cloud.name_of("models", "theirs"), "displayName": "theirs"}
        row["deployedModels"] = [*row["deployedModels"], foreign]
        row["trafficSplit"] = {key("1"): 80, "42": 20}
        cloud.state.endpoints.put(name, row)
    assert target.read().traffic() == pytest.approx({"1": 0.8, "foreign:42": 0.2})
    target.route({"1": 1.0}, generation=3)
    target.remove("foreign:42", generation=4)
    target.tidy(generation=5)
    assert [v.version for v in target.read().variants] == ["1"]
    assert "42" in [model["id"] for model in cloud.endpoint("flights")["deployedModels"]]


# --- the parity check -------------------------------------------------------------------------


def test_a_candidate_is_asked_beside_the_endpoint_and_in_none_of_its_counts(
    target: VertexTarget, cloud: Cloud
) -> None:
    up(target, "1")
    target.deploy(small("2"), generation=3)
    settled(target)
    answers = target.ask("2", rows(*range(1200)))
    np.testing.assert_array_equal(answers, np.arange(1200))
    asked = [call.parameters for call in did(cloud, f"{ENDPOINTS}.predict")]
    assert len(asked) == 3
    assert all("flights-parity" in str(parameters) for parameters in asked)
    assert split(cloud) == {key("1"): 100}, "nothing of it reached the endpoint"


def test_the_replica_for_the_check_is_gone_when_traffic_comes(
    target: VertexTarget, cloud: Cloud
) -> None:
    up(target, "1", "2")
    assert "2" in [v.version for v in target.read().variants if v.ready]
    target.route({"1": 0.9, "2": 0.1}, generation=3)
    cloud.wait_idle()
    assert "deployedModels" not in cloud.endpoint("flights-parity")
    with pytest.raises(OutsideError, match="parity check"):
        target.ask("2", rows(1.0))
    target.route({"1": 1.0}, generation=4)
    two = target.read().variant("2")
    assert two is not None
    assert two.ready, "a version that had traffic may get it back"


def test_a_version_is_ready_when_it_can_be_asked(target: VertexTarget, cloud: Cloud) -> None:
    up(target, "1")
    cloud.fail_operation("deployModel", "no machine for the check")
    target.deploy(small("2"), generation=3)
    two = settled(target).variant("2")
    assert two is not None
    assert two.failed is not None
    assert "no machine for the check" in two.failed
    assert not two.ready


def test_a_model_that_fails_on_its_rows_is_not_judged(target: VertexTarget) -> None:
    up(target, "1", "2")
    with pytest.raises((NotJudgedError, OutsideError)):
        target.ask("2", pa.table({"y": [1.0]}))


def test_without_an_endpoint_there_is_nothing_to_disarm_remove_or_tidy(
    target: VertexTarget, cloud: Cloud
) -> None:
    target.arm(None, {}, generation=1)
    target.remove("1", generation=1)
    target.tidy(generation=1)
    with pytest.raises(OutsideError, match="no endpoint"):
        target.arm(cloud.clock.time() + 600, {"1": 1.0}, generation=1)
    with pytest.raises(OutsideError, match="no endpoint"):
        target.route({"1": 1.0}, generation=1)
    assert not [call for call in cloud.calls if call.method.split(".")[-1] not in ("get", "list")]


# --- leftovers --------------------------------------------------------------------------------


def test_tidy_leaves_no_orphan_and_deletes_nothing_foreign(
    target: VertexTarget, connect: Callable[..., VertexTarget], cloud: Cloud
) -> None:
    bucket = cloud.state.buckets["acme-models"]
    up(target, "1", "2")
    neighbour = connect(name="flights-eu")
    up(neighbour, "1")
    others = {name: bucket[name] for name in bucket if "/flights-eu/" in name}
    for name in ("notes/readme.txt", "v9-0123456789/model.tar.gz"):
        target._google.upload(
            "https://storage.googleapis.com/upload/storage/v1/b/acme-models/o",
            b"left here",
            name=f"tidegate/flights/{name}",
        )
    assert target.read().leftovers == ("endpoint flights-parity",)
    target.remove("2", generation=3)
    cloud.wait_idle()
    left = target.read().leftovers
    assert names.model_id("flights", "2", small("2").digest) in " ".join(left)

    target.tidy(generation=4)
    target.tidy(generation=4)
    assert target.read().leftovers == ()
    assert cloud.name_of("endpoints", "flights-parity") not in cloud.state.endpoints
    kept = sorted(name for name in bucket if name.startswith("tidegate/flights/"))
    one = names.folder("1", small("1").digest)
    assert kept == ["tidegate/flights/notes/readme.txt", f"tidegate/flights/{one}/model.tar.gz"]
    assert {name: bucket[name] for name in others} == others
    assert cloud.name_of("endpoints", "flights-eu-parity") in cloud.state.endpoints
    assert len(neighbour.read().variants) == 1
    with pytest.raises(OutsideError, match="out of date"):
        target.tidy(generation=3)


def test_a_model_that_somebody_else_deployed_is_no_leftover(
    target: VertexTarget, cloud: Cloud
) -> None:
    up(target, "1", "2")
    theirs = cloud.name_of("endpoints", "theirs")
    model = cloud.name_of("models", names.model_id("flights", "2", small("2").digest))
    with cloud.lock:
        used = {"id": "7", "model": model, "modelVersionId": "1"}
        cloud.state.endpoints.put(theirs, {"name": theirs, "deployedModels": [used]})
    target.remove("2", generation=3)
    assert not [text for text in settled(target).leftovers if text.startswith("model")]
    target.tidy(generation=4)
    assert model in cloud.state.models


def test_an_endpoint_of_the_checks_name_that_is_not_ours_is_left_alone(
    target: VertexTarget, cloud: Cloud
) -> None:
    name = cloud.name_of("endpoints", "flights-parity")
    with cloud.lock:
        cloud.state.endpoints.put(name, {"name": name, "displayName": "theirs"})
    with pytest.raises(OutsideError, match="not Tidegate's"):
        target.deploy(small("1"), generation=1)
    assert target.read().leftovers == (
        f"model {names.model_id('flights', '1', small('1').digest)}",
    )
    target.tidy(generation=2)
    assert name in cloud.state.endpoints


def test_a_number_that_is_googles_to_give_is_used_and_never_made(
    connect: Callable[..., VertexTarget], cloud: Cloud
) -> None:
    target = connect(name="8234567890123456789")
    with pytest.raises(OutsideError, match="Google's to give"):
        target.deploy(small("1"), generation=1)
    name = cloud.name_of("endpoints", "8234567890123456789")
    with cloud.lock:
        cloud.state.endpoints.put(name, {"name": name, "displayName": "made by hand"})
    target.deploy(small("1"), generation=1)
    assert [v.ready for v in settled(target).variants] == [True]


@pytest.mark.parametrize(
    ("name", "version", "digest"),
    [
        ("flights", "1", "0" * 64),
        ("f" * 63, "123456789", "abcdef" * 10),
        ("Flight Delays (EU)", "1.0-rc/2", "sha256:x"),
        ("123", "x" * 100, ""),
    ],
)
def test_names_keep_the_rules_of_ids(name: str, version: str, digest: str) -> None:
    import re

    endpoint = names.endpoint_id(name)
    for made in (endpoint, names.parity_id(endpoint)):
        assert re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?|[1-9][0-9]{0,8}", made)
    assert re.fullmatch(r"[a-z_][a-z0-9_-]{0,62}", names.model_id(endpoint, version, digest))
    assert re.fullmatch(r"[0-9]{10}", names.deployed_id(version, digest))
    assert re.fullmatch(r"[a-z0-9_-]{1,63}", names.slug(version))
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,500}", names.job_id(endpoint))
    assert names.deployed_id(version, digest) != names.deployed_id(version, f"{digest}0")
