"""The script that runs on accounts runs here, unchanged, on the stand-ins: only variables differ."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from tests.aws.server import serve as serve_aws
from tests.gcp.server import serve as serve_google
from tests.smoke import story
from tests.smoke.bill import SWEEPING, Bill, CeilingError
from tests.smoke.journal import Journal
from tests.smoke.models import Version
from tests.smoke.places import Time
from tidegate.core.endpoint import Endpoint, Variant
from tidegate.core.model import Task
from tidegate.ports import Deployment

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]
SCALE = 60.0  # a minute of the cloud's is a second here
SWITCH = "switch@acme-ml.iam.gserviceaccount.com"
GIVEN = {
    "sagemaker": {
        "EXECUTION_ROLE": "serving", "SCHEDULER_ROLE": "switch", "BUCKET": "s3://acme-smoke/here",
        "TRAIN_ROLE": "training", "TRAIN_IMAGE": "python:3",
    },
    "vertex": {
        "PROJECT": "acme-ml", "REGION": "europe-west1", "BUCKET": "gs://acme-models/here",
        "SCHEDULER_ACCOUNT": SWITCH, "TRAIN_IMAGE": "python:3",
    },
}  # fmt: skip


@contextmanager
def account(cloud: str) -> Iterator[tuple[Any, dict[str, str]]]:
    """Open an account whose minutes are seconds; yield it, and the environment of the script."""
    given = {f"TIDEGATE_SMOKE_{key}": value for key, value in GIVEN[cloud].items()}
    if cloud == "sagemaker":
        with serve_aws(time_scale=SCALE, speed=0.3) as aws:
            aws.metrics_delay = 60.0
            aws.fleet.s3.create_bucket(
                Bucket="acme-smoke", CreateBucketConfiguration={"LocationConstraint": aws.region}
            )
            yield aws, {**given, **aws.env, **aws.clock()}
    else:
        with serve_google(time_scale=SCALE, speed=0.3) as google:
            google.metric_delay = 120.0
            now = time.time()
            clock = {"ORIGIN": now, "SCALE": SCALE, "OFFSET": google.clock.time() - now}
            times = {f"FAKE_TIME_{key}": repr(value) for key, value in clock.items()}
            yield google, {**given, **google.env, **times}


def script(cloud: str, environment: dict[str, str], *more: str) -> subprocess.Popen[str]:
    clean = {
        key: value for key, value in os.environ.items()
        if not key.startswith(("AWS_", "TIDEGATE_", "GOOGLE_"))
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "tests.smoke", cloud, "--yes", "--poll", "30", "--rate", "0", *more],
        cwd=ROOT, env={**clean, **environment, "OMP_NUM_THREADS": "1"}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def there(cloud: str, account: Any) -> list[str]:
    """Return what stands in the account, by itself and not as the script tells it."""
    if cloud == "sagemaker":
        objects = account.fleet.s3.list_objects_v2(Bucket="acme-smoke").get("Contents", [])
        keys = [row["Key"] for row in objects]
        return [
            *account.endpoints,
            *account.configs,
            *account.models,
            *account.schedules.items,
            *keys,
        ]
    state = account.state
    objects = list(state.buckets["acme-models"])
    return [*state.endpoints.rows, *state.models.rows, *state.schedules, *objects]


CHECKED = {
    "sagemaker": {
        "missing-is-validation", "duplicate-refused", "pending-summary", "busy-refused", "weight-zero",
        "universal-target", "routing", "metrics-late", "trimmed-count", "no-traffic-no-point",
        "capture-path", "schedule-precision", "schedule-ends",
    },
    "vertex": {
        "no-split", "project-number", "endpoint-exists", "etag-conflict", "patch-answers-endpoint",
        "split-sum", "operation", "split-absent", "random-split", "metric-delay",
        "latency-distribution", "fires",
    },
}  # fmt: skip


# SageMaker's is played by every run of the story under act; here every run plays the other one.
@pytest.mark.parametrize("cloud", [pytest.param("sagemaker", marks=pytest.mark.heavy), "vertex"])
def test_the_whole_story_ends_well_and_leaves_nothing(cloud: str) -> None:
    more = ("--requests", "300", "--dead-man", "--train", "--json", "--ceiling", "9")
    with account(cloud) as (place, environment):
        with script(cloud, environment, *more) as run:
            out, told = run.communicate(timeout=220)
        assert run.returncode == 0, told
        result = json.loads(out)
        assert there(cloud, place) == []
    assert result["ok"] is True
    assert result["left"] == []
    assert result["answered"] == {key: result["counted"][key] for key in result["answered"]}
    assert sum(result["answered"].values()) == 300
    assert result["training"]["dollars"] > 0
    assert {step["ended"] for step in result["steps"]} == {"done"}
    agreed = {check["row"] for check in result["checks"] if check["agrees"]}
    assert agreed >= CHECKED[cloud], told
    assert 0 < result["dollars"] < 9


@pytest.mark.heavy
@pytest.mark.parametrize("cloud", GIVEN)
def test_interrupted_in_the_middle_it_takes_everything_down(cloud: str) -> None:
    with account(cloud) as (place, environment):
        with script(cloud, environment) as run:
            assert run.stderr is not None
            lines = []
            for line in run.stderr:
                lines.append(line)
                if "canary: version 2 comes up" in line:
                    time.sleep(0.5)  # the update is under way
                    run.send_signal(signal.SIGINT)
                    break
            lines += list(run.stderr)
        assert run.returncode == 1
        assert "interrupted\n" in lines
        assert there(cloud, place) == [], "".join(lines)


def test_it_does_not_begin_above_the_ceiling() -> None:
    with account("sagemaker") as (place, environment):
        dear = {**environment, "TIDEGATE_SMOKE_PRICE": "100"}
        with script("sagemaker", dear) as run:
            told = run.communicate(timeout=60)[1]
        assert run.returncode == 2
        assert "more than the ceiling of $2.00" in told
        assert place.calls == []


@dataclass
class Slow:
    """An account in which nothing ever comes up; its time passes when somebody sleeps."""

    now: float = 0.0
    swept: int = 0
    name, price, beside, overlap, late, blur = "slow", 4.0, 0, True, 180.0, 0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def target(self, work: Path) -> Slow:
        return self

    def deploy(self, deployment: Any, *, generation: int) -> None:
        """It is on its way, for ever."""

    def read(self) -> Endpoint:
        coming = Variant(version="1", digest="d", share=0.0, ready=False)
        return Endpoint(variants=(coming,), busy="it is being created", patience=1e9)

    def probe(self, moment: str, journal: Any, known: Any) -> None:
        """Nothing can be looked at."""

    def sweep(self, tell: Any, patience: float) -> None:
        self.swept += 1

    def left(self) -> list[str]:
        return []


@pytest.mark.heavy
def test_it_ends_itself_before_the_ceiling_is_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(version: str, into: Path, requests: Any = None) -> Any:
        one = Deployment(version=version, digest="d", model_dir=into, task=Task.BINARY)
        return Version(one, pa.table({"x": [1.0]}), np.array([0.5]), np.array([0.5]))

    monkeypatch.setattr(story, "train", trained)
    slow = Slow()
    times = Time(lambda: slow.now, slow.sleep)
    bill = Bill(slow.price, 2.0, times.now)
    told = Journal({}, bill, times.now)
    place: Any = slow
    with pytest.raises(CeilingError, match=r"the ceiling of \$2.00"):
        story.Story(place, told, bill, times, tmp_path, story.Options(poll=60)).play()
    assert bill.total + SWEEPING / 3600 * slow.price > 2.0
    assert bill.total < 2.0, "what taking everything down costs is kept back"


def test_everything_that_is_missing_is_told_at_once() -> None:
    with script("sagemaker", {"TIDEGATE_SMOKE_BUCKET": "s3://b"}, "--train") as run:
        told = run.communicate(timeout=60)[1]
    assert run.returncode == 2
    for name in ("EXECUTION_ROLE", "SCHEDULER_ROLE", "REGION", "TRAIN_ROLE", "TRAIN_IMAGE"):
        assert f"TIDEGATE_SMOKE_{name} " in told
    assert "TIDEGATE_SMOKE_BUCKET" not in told


def test_settings_come_from_a_file_and_the_environment_wins(tmp_path: Path) -> None:
    from tests.smoke.settings import read
    from tidegate.errors import ConfigError

    path = tmp_path / "smoke.toml"
    path.write_text(
        '[vertex]\nproject = "p"\nregion = "r"\nbucket = "gs://bbb"\nscheduler_account = "s@p"\n'
    )
    found = read("vertex", path, {"TIDEGATE_SMOKE_REGION": "other"}, train=False)
    assert found == {
        "project": "p",
        "region": "other",
        "bucket": "gs://bbb",
        "scheduler_account": "s@p",
    }
    path.write_text('[vertex]\nprojekt = "p"\n')
    with pytest.raises(ConfigError, match="projekt"):
        read("vertex", path, {}, train=False)
