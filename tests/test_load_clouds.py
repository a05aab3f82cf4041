"""The clouds' keys of ``mlops.yaml``: what loads, and which combinations are told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.test_load import GOOD, problems
from tidegate.core.clouds import SageMaker, Source, TrainOnSageMaker, Vertex, Where
from tidegate.load import load, load_fully

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.core.config import Config

SAGEMAKER = "sagemaker: {execution_role: model, scheduler_role: switch, bucket: s3://ours/models}"
VERTEX = "vertex: {project: p, region: europe-west1, scheduler_account: s@p.iam, bucket: gs://ours}"
LABELS = "guards: [{metric: label_error, margin: 1.1x}]"


def release(*lines: str) -> str:
    return GOOD + "release:\n" + "".join(f"  {line}\n" for line in lines)


def train(more: str) -> str:
    return GOOD.replace("run: python train.py}", f"run: python train.py, {more}}}")


def loaded(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "mlops.yaml"
    path.write_text(text)
    return load(path)


def test_a_sagemaker_endpoint_loads_with_its_defaults(tmp_path: Path) -> None:
    found = loaded(tmp_path, release("target: sagemaker", SAGEMAKER)).release
    assert found.sagemaker == SageMaker(
        execution_role="model", scheduler_role="switch", bucket="s3://ours/models"
    )
    assert found.vertex is None
    assert found.metrics is not None
    assert (found.metrics.source, found.metrics.delay) == (Source.CLOUDWATCH, None)


def test_a_vertex_endpoint_loads_with_everything(tmp_path: Path) -> None:
    more = VERTEX.replace(
        "}", ", replicas: 2, max_replicas: 4, log_table: 'bq://p.d.t', log_share: 20%}"
    )
    metrics = "metrics: {from: prometheus, url: http://p, requests: a, errors: b, delay: 2m}"
    found = loaded(tmp_path, release("target: vertex", more, metrics)).release
    assert found.vertex == Vertex(
        project="p", region="europe-west1", scheduler_account="s@p.iam", bucket="gs://ours",
        replicas=2, max_replicas=4, log_table="bq://p.d.t", log_share=0.2,
    )  # fmt: skip
    assert found.metrics is not None
    assert (found.metrics.source, found.metrics.delay) == (Source.PROMETHEUS, 120)


def test_the_bucket_is_the_registrys_where_none_is_named(tmp_path: Path) -> None:
    text = release("target: sagemaker", SAGEMAKER.replace(", bucket: s3://ours/models", ""))
    found = loaded(tmp_path, text + "registry: {store: s3://theirs/m}\n")
    assert found.release.sagemaker is not None
    assert found.release.sagemaker.bucket == "s3://theirs/m"


def test_training_elsewhere_loads(tmp_path: Path) -> None:
    block = "compute: sagemaker, sagemaker: {image: i, role: r, bucket: s3://bbb, spot: true, max_wait: 3h}"
    found = loaded(tmp_path, train(block)).train
    assert found.compute is Where.SAGEMAKER
    assert found.sagemaker == TrainOnSageMaker(
        image="i", role="r", bucket="s3://bbb", spot=True, max_wait=10_800
    )
    assert loaded(tmp_path, GOOD).train.compute is Where.RUNNER


@pytest.mark.parametrize("store", ["github-releases", "s3://our-models/prod", "gs://our_models"])
def test_models_are_kept_in_releases_or_in_a_buckets_folder(tmp_path: Path, store: str) -> None:
    assert loaded(tmp_path, GOOD + f"registry: {{store: {store}}}\n").registry.store == store


CASES = {
    "no block": (release("target: sagemaker"), "sagemaker, and nothing about it"),
    "a block that nothing reads": (
        release(SAGEMAKER), "release.sagemaker: got settings of sagemaker, expected release.target to be",
    ),
    "the other cloud's block": (
        release("target: vertex", VERTEX, SAGEMAKER), "got settings of sagemaker",
    ),
    "no bucket": (
        release("target: sagemaker", SAGEMAKER.replace(", bucket: s3://ours/models", "")),
        "release.sagemaker: got no bucket, expected bucket: s3://BUCKET/FOLDER, or registry.store there",
    ),
    "the other cloud's bucket": (
        release("target: sagemaker", SAGEMAKER.replace("s3:", "gs:")), "release.sagemaker.bucket",
    ),
    "half a per cent on Vertex AI": (
        release("target: vertex", VERTEX, "canary: {steps: [0.5%, 5%]}"),
        "release.canary.steps[0]: got 0.005, expected a whole per cent",
    ),
    "half a per cent held back": (
        release("target: vertex", VERTEX, "canary: {probation: {for: 1h, holdback: 2.5%}}"),
        "release.canary.probation.holdback",
    ),
    "short minutes": (
        release("target: sagemaker", SAGEMAKER, "canary: {interval: 10s}"),
        "release.canary.interval: got 10s, expected whole minutes: cloudwatch counts by the minute",
    ),
    "labels from nowhere": (
        release("target: sagemaker", SAGEMAKER, f"canary: {{{LABELS}}}"),
        "got a guard that needs labels, and no place where they arrive",
    ),
    "labels of nothing": (
        release("target: vertex", VERTEX, f"canary: {{{LABELS}, labels: {{from: l.jsonl}}}}"),
        "got a guard that needs labels, and no answers are kept, expected release.vertex.log_table",
    ),
    "captures switched off": (
        release("target: sagemaker", SAGEMAKER.replace("}", ", capture: 0%}"),
                f"canary: {{{LABELS}, labels: {{from: l.jsonl}}}}"),
        "no answers are kept, expected release.sagemaker.capture",
    ),
    "the other cloud's counts": (
        release("target: vertex", VERTEX, "metrics: {from: cloudwatch}"),
        "release.metrics.from: got 'cloudwatch', expected monitoring, prometheus or command",
    ),
    "counts of the local endpoint": (
        release("metrics: {from: command, run: x}"), "the embedded endpoint counts by itself",
    ),
    "half a Prometheus": (
        release("target: vertex", VERTEX, "metrics: {from: prometheus, url: u, requests: r}"),
        "got prometheus without errors",
    ),
    "a slow guard without its counter": (
        release("target: vertex", VERTEX, "metrics: {from: prometheus, url: u, requests: r, errors: e}",
                "canary: {guards: [{metric: slow_requests, slower_than: 1s, margin: 2x}]}"),
        "got prometheus without slow",
    ),
    "another source's key": (
        release("target: vertex", VERTEX, "metrics: {from: command, run: x, url: u}"),
        "release.metrics.url: got url for command",
    ),
    "fewer replicas than replicas": (
        release("target: vertex", VERTEX.replace("}", ", replicas: 3, max_replicas: 2}")),
        "release.vertex.max_replicas: got 2",
    ),
    "a serverless instance": (
        release("target: sagemaker", SAGEMAKER.replace("}", ", instance_type: serverless}")),
        "release.sagemaker.instance_type",
    ),
    "training nowhere": (train("compute: vertex"), "train.compute: got vertex, and nothing about it"),
    "waiting without spot": (
        train("compute: sagemaker, sagemaker: {image: i, role: r, bucket: s3://bbb, max_wait: 3h}"),
        "train.sagemaker.max_wait: got 10800s, expected spot: true beside it",
    ),
    "waiting less than training": (
        train("compute: sagemaker, sagemaker: {image: i, role: r, bucket: s3://bbb, spot: true, max_wait: 1h}"),
        "train.sagemaker.max_wait: got 3600s, expected at least train.timeout",
    ),
    "a command where an image serves": (
        release("target: sagemaker", SAGEMAKER) + "predict: {serve: ./serve}\n",
        "predict.serve: got a command of your own, and an endpoint on sagemaker, expected release.sagemaker.image",
    ),
    "a store of another kind": (GOOD + "registry: {store: ftp://x/y}\n", "registry.store"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES.keys())
def test_what_does_not_go_together_is_told(tmp_path: Path, text: str, expected: str) -> None:
    (line, *_) = [line for line in problems(tmp_path, text) if expected in line]
    assert line[0].isdigit()


def test_a_command_beside_the_role_that_moves_traffic_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "mlops.yaml"
    path.write_text(
        release("target: sagemaker", SAGEMAKER, "metrics: {from: command, run: ./count}")
    )
    (warning,) = load_fully(path).warnings
    assert "the job that moves traffic" in warning
