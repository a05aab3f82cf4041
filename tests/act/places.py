"""The flight-delays example with an endpoint in a cloud: an account on loopback, its roles, its passengers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from tests.act.flights import EXAMPLE, Flights
from tests.act.issuer import OWNER, Issuer
from tests.act.world import NAME, NUMBER, WORKFLOW, World
from tests.aws.server import serve as serve_aws
from tests.contracts.permitted import assert_permitted
from tests.gcp.server import serve as serve_google
from tidegate import policy
from tidegate.demo import data
from tidegate.demo.stage import ENDPOINT
from tidegate.grants import Cloud, Job
from tidegate.pin import REPOSITORY
from tidegate.policy_values import Values, values
from tidegate.render import starter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.aws.cloud import Cloud as AwsCloud
    from tests.gcp.cloud import Cloud as GoogleCloud

SCALE = 30.0  # a minute of the cloud's clock lasts two seconds
SPEED = 0.1  # seconds that the clouds' slow things take
QUIET, BUSY = 3.0, 40.0  # requests a second
BUCKET = "acme-models"
PLACE = "production-operate"  # the environment whose jobs are let in
_PINNED = re.compile(re.escape(REPOSITORY) + r"/\.github/workflows/deliver\.yml@([0-9a-f]{40})")

CANARY = """\
  canary:
    interval: 1m
    warmup: 1m
    steps: [50%]
    bake: 2m
    min_requests: 50
    deadline: 4h
    probation: {for: 2m, holdback: 10%}
    guards:
      - {metric: error_rate, margin: 2x, negligible: 5%}
"""


def pinned() -> str:
    """Return the commit of ours that the workflow of `tidegate init` names."""
    found = _PINNED.search(starter.workflow("main", training={}, operating={}))
    assert found is not None
    return found[1]


def caller(commit: str) -> policy.Caller:
    """Return whom the policies that `tidegate doctor --policy` prints let in."""
    return policy.Caller(
        slug=NAME, environment=PLACE, commits=(commit,), prefix=f"repo:{NAME}"
    )  # fmt: skip


class Place(Protocol):
    """A cloud as the story meets it."""

    config: str  # of mlops.yaml: registry and release
    training: str  # of mlops.yaml: what trains there
    known: Values  # what the policies are filled in with
    inputs: Mapping[str, str]  # of the user's workflow

    def env(self) -> dict[str, str]:
        """Return the runner's environment: where the cloud is, what time it is, and no credentials."""
        ...

    def trust(self, issuer: Issuer) -> None: ...
    def asking(self) -> list[str]:
        """Return the passengers' arguments."""
        ...

    def split(self) -> dict[str, float]:
        """Return the share of each version that is deployed, in per cent."""
        ...

    def left(self) -> list[str]:
        """Return what stands there beside what the endpoint serves with: nothing, when all is well."""
        ...

    def assert_permitted(self) -> None: ...
    def secrets(self) -> list[str]:
        """Return every credential that was given out."""
        ...


# --- AWS ------------------------------------------------------------------------------------


@dataclass
class OnSageMaker:
    """An account with SageMaker, CloudWatch, S3, EventBridge Scheduler and STS."""

    cloud: AwsCloud
    inputs: Mapping[str, str] = field(init=False)
    known: Values = field(init=False)
    config: str = f"""\
registry: {{store: s3://{BUCKET}/registry}}
release:
  target: sagemaker
  sagemaker:
    execution_role: flights-serving
    scheduler_role: flights-dead-man
    bucket: s3://{BUCKET}/tidegate
    region: eu-west-1
  metrics: {{from: cloudwatch, delay: 60s}}
"""
    training: str = f"""\
  compute: sagemaker
  sagemaker:
    image: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/flights-train:1
    role: flights-training
    bucket: s3://{BUCKET}/training
    region: eu-west-1
"""

    def __post_init__(self) -> None:
        account, region = self.cloud.account, self.cloud.region
        self.inputs = {
            "aws-role": f"arn:aws:iam::{account}:role/tidegate-{{job}}",
            "aws-region": region,
        }
        self.known = values(
            {
                "account": account, "region": region, "endpoint": ENDPOINT, "model": ENDPOINT,
                "bucket": BUCKET, "prefix": "tidegate", "registry_prefix": "registry",
                "execution_role": "flights-serving", "scheduler_role": "flights-dead-man",
                "train_role": "flights-training", "train_prefix": "training",
                "train_image_account": account, "train_image": "flights-train",
                "repository_id": str(NUMBER), "owner_id": str(OWNER),
            }
        )  # fmt: skip

    def env(self) -> dict[str, str]:
        names = ("AWS_ENDPOINT_URL", "AWS_EC2_METADATA_DISABLED", "AWS_CONFIG_FILE",
                 "AWS_SHARED_CREDENTIALS_FILE")  # fmt: skip
        return {**{name: self.cloud.env[name] for name in names}, **self.cloud.clock()}

    def trust(self, issuer: Issuer) -> None:
        prefix = f"{policy.ISSUER}:"
        for job in Job:
            document = policy.aws_trust(caller(issuer.commit), job, self.known)
            (statement,) = document["Statement"]
            claims = {
                key.removeprefix(prefix): value if isinstance(value, str) else value[0]
                for key, value in statement["Condition"]["StringEquals"].items()
            }  # the first of our files: command.yml has no part in the story
            audience = claims.pop("aud")
            self.cloud.trust(
                self.inputs["aws-role"].replace("{job}", job), issuer=f"https://{policy.ISSUER}",
                audience=audience, claims=claims, secret=issuer.secret,
            )  # fmt: skip

    def asking(self) -> list[str]:
        return ["--cloud=sagemaker", f"--url={self.cloud.url}", f"--region={self.cloud.region}"]

    def split(self) -> dict[str, float]:
        with self.cloud.lock:
            variants = self.cloud.endpoints[ENDPOINT].describe(self.cloud)["ProductionVariants"]
        total = sum(row["CurrentWeight"] for row in variants)
        return {
            row["VariantName"].removeprefix("v"): round(100 * row["CurrentWeight"] / total)
            for row in variants
        }

    def left(self) -> list[str]:
        endpoint = self.cloud.endpoints[ENDPOINT]
        used = {variant.model for variant in endpoint.variants} | {endpoint.config}
        held = {*self.cloud.models, *self.cloud.configs}
        held |= {
            name
            for name, one in self.cloud.schedules.items.items()
            if one.request.get("State") != "DISABLED"
        }
        return sorted((held | set(self.cloud.endpoints)) - used - {ENDPOINT})

    def assert_permitted(self) -> None:
        job = None
        for call in self.cloud.calls:
            service, operation, parameters = call
            if operation == "AssumeRoleWithWebIdentity":
                job = Job(parameters["RoleArn"].rpartition("-")[2])
            elif service == "sagemaker-runtime" and "TargetVariant" not in parameters:
                continue  # a passenger
            elif job is not None:
                # Jobs of a run come one after the other: each call is the last role's.
                assert_permitted([call], Cloud.AWS, [job], known=self.known)
        assert job is Job.OPERATE

    def secrets(self) -> list[str]:
        import hashlib

        keys = list(self.cloud.sessions)
        made = [hashlib.sha256(key.encode()).hexdigest()[:40] for key in keys]
        return [*made, *(f'"session-{n}"' for n in range(1, len(keys) + 1))]


@contextlib.contextmanager
def sagemaker() -> Iterator[Place]:
    """Open an account with a bucket."""
    import boto3

    with serve_aws(time_scale=SCALE, speed=SPEED) as cloud:
        store = boto3.client(
            "s3", endpoint_url=cloud.url, region_name=cloud.region,
            aws_access_key_id="admin", aws_secret_access_key="admin",
        )  # fmt: skip
        # Another account of this process may have it: moto keeps one S3 for all.
        with contextlib.suppress(store.exceptions.BucketAlreadyOwnedByYou):
            where = {"LocationConstraint": cloud.region}
            store.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=cast("Any", where))
        yield OnSageMaker(cloud)


# --- Google Cloud ---------------------------------------------------------------------------


@dataclass
class OnVertex:
    """A project with Vertex AI, Cloud Monitoring, Cloud Storage, Cloud Scheduler and federation."""

    cloud: GoogleCloud
    inputs: Mapping[str, str] = field(init=False)
    known: Values = field(init=False)
    config: str = field(init=False)
    training: str = field(init=False)

    def __post_init__(self) -> None:
        project, number, region = self.cloud.project, self.cloud.number, self.cloud.region
        pool = f"projects/{number}/locations/global/workloadIdentityPools/tidegate"
        self.inputs = {
            "gcp-provider": f"{pool}/providers/tidegate-{{job}}",
            "gcp-service-account": f"tidegate-{{job}}@{project}.iam.gserviceaccount.com",
        }
        accounts = {
            name: f"flights-{name}@{project}.iam.gserviceaccount.com"
            for name in ("serving", "dead-man", "training")
        }
        self.known = values(
            {
                "project": project, "project_number": number, "region": region,
                "endpoint": ENDPOINT, "model": ENDPOINT, "bucket": BUCKET, "prefix": "tidegate",
                "registry_prefix": "registry", "runner_account": accounts["serving"],
                "scheduler_account": accounts["dead-man"], "train_account": accounts["training"],
                "train_prefix": "training", "repository_id": str(NUMBER),
                "owner_id": str(OWNER),
            }
        )  # fmt: skip
        self.config = f"""\
registry: {{store: gs://{BUCKET}/registry}}
release:
  target: vertex
  vertex:
    project: {project}
    region: {region}
    bucket: gs://{BUCKET}/tidegate
    scheduler_account: {accounts["dead-man"]}
    service_account: {accounts["serving"]}
  metrics: {{from: monitoring, delay: 60s}}
"""
        self.training = f"""\
  compute: vertex
  vertex:
    image: {region}-docker.pkg.dev/{project}/train/flights:1
    project: {project}
    region: {region}
    bucket: gs://{BUCKET}/training
    service_account: {accounts["training"]}
"""

    def env(self) -> dict[str, str]:
        # The same clock: now = origin + (real - origin) * scale.
        real, there = time.time(), self.cloud.clock.time()
        origin = (SCALE * real - there) / (SCALE - 1)
        return {
            "TIDEGATE_GOOGLE_URL": self.cloud.url, "CLOUDSDK_CONFIG": "/nonexistent",
            "FAKE_TIME_ORIGIN": repr(origin), "FAKE_TIME_SCALE": repr(SCALE),
            "FAKE_TIME_OFFSET": "0",
        }  # fmt: skip

    def trust(self, issuer: Issuer) -> None:
        who = caller(issuer.commit)
        for job in Job:
            # The stand-in knows no CEL: the terms of the printed condition, one by one.
            provider = policy.gcp_provider(who, job, self.known)
            claims = {
                "repository_id": str(NUMBER), "sub": who.subjects(job, self.known)[0],
                "job_workflow_ref": who.workflows(job)[0],
            }  # fmt: skip
            for key, value in claims.items():
                assert f"assertion.{key} " in provider["attributeCondition"]
                assert json.dumps(value) in provider["attributeCondition"]
            account = policy.gcp_account(job, self.known)
            made = self.cloud.identity.trust(
                claims, service_accounts=(account,), pool="tidegate", provider=f"tidegate-{job}"
            )
            assert made == provider["name"]

    def asking(self) -> list[str]:
        with self.cloud.lock:
            token, _ = self.cloud.identity.mint("passengers", life=3600)
        return [
            "--cloud=vertex", f"--url={self.cloud.url}", f"--region={self.cloud.region}",
            f"--project={self.cloud.project}", f"--token={token}",
        ]  # fmt: skip

    def split(self) -> dict[str, float]:
        endpoint = self.cloud.endpoint(ENDPOINT)
        shares = endpoint.get("trafficSplit", {})
        models = {}
        for row in endpoint.get("deployedModels", ()):
            version = row["model"].rpartition("/")[2].removeprefix(f"{ENDPOINT}-v")
            models[version.partition("-")[0]] = float(shares.get(row["id"], 0))
        return models

    def left(self) -> list[str]:
        with self.cloud.lock:
            endpoints = {name.rpartition("/")[2] for name in self.cloud.state.endpoints.rows}
            models = {name.rpartition("/")[2] for name in self.cloud.state.models.rows}
            switches = {
                name
                for name, row in self.cloud.state.schedules.items()
                if row.get("state") == "ENABLED"
            }
        rows = self.cloud.endpoint(ENDPOINT).get("deployedModels", ())
        used = {row["model"].rpartition("/")[2].partition("@")[0] for row in rows}
        return sorted((endpoints - {ENDPOINT}) | (models - used) | switches)

    def assert_permitted(self) -> None:
        holders = {policy.gcp_account(job, self.known): job for job in Job}
        seen = set()
        for call in list(self.cloud.calls):
            job = holders.get(call.principal)
            if job is not None:
                seen.add(job)
                assert_permitted([call], Cloud.GCP, [job], known=self.known)
        assert seen == set(Job)

    def secrets(self) -> list[str]:
        return ["ya29.loopback-"]


@contextlib.contextmanager
def vertex() -> Iterator[Place]:
    """Open a project with a bucket."""
    with serve_google(time_scale=SCALE, speed=SPEED, buckets=[BUCKET]) as cloud:
        yield OnVertex(cloud)


# --- the user's side ------------------------------------------------------------------------


@dataclass
class CloudFlights(Flights):
    """The example, released to a cloud."""

    place: Place = field(kw_only=True)
    issuer: Issuer = field(kw_only=True)

    def first(self) -> dict[str, str | bytes | None]:
        """Return the first push: what `tidegate init` writes, the example's files and the data."""
        example = (EXAMPLE / "mlops.yaml").read_text()
        head = "".join(
            line
            for line in example.partition("release:\n")[0].splitlines(keepends=True)
            if "$schema" not in line
        )
        files: dict[str, str | bytes | None] = {
            f"data/{name}": (self.stage.folder / "data" / name).read_bytes()
            for name in data.HISTORY
        }
        return {
            **files,
            "mlops.yaml": f"{head}{self.place.config}{CANARY}",
            "train.py": (EXAMPLE / "train.py").read_bytes(),
            WORKFLOW: starter.workflow("main", training={}, operating=self.place.inputs),
        }

    @classmethod
    def told(cls, world: World, place: Place, issuer: Issuer) -> CloudFlights:
        """Lay out what the stage expects, and build the data."""
        flights = cls(world, place=place, issuer=issuer)
        data.build(flights.stage.folder / "data")
        return flights

    @property
    def tally(self) -> dict[str, Any]:
        """What became of the passengers' requests so far, in this or the last block."""
        found: dict[str, Any] = json.loads((self.world.folder / "passengers.json").read_text())
        return found

    def trained_there(self) -> dict[str, str | bytes | None]:
        """Return what a push changes so that the cloud trains."""
        config = (self.world.work / "mlops.yaml").read_text()
        before = "  timeout: 10m\n"
        assert config.count(before) == 1
        # Hours, because the cloud's clock is the fast one.
        return {"mlops.yaml": config.replace(before, f"  timeout: 4h\n{self.place.training}")}

    def overlay(self, name: str) -> dict[str, str | bytes | None]:
        """Return what a push of the example's story changes, with fewer trees: training takes seconds."""
        files = super().overlay(name)
        text = cast("bytes", files["train.py"])
        assert text.count(b"max_iter=60") == 1
        return {**files, "train.py": text.replace(b"max_iter=60", b"max_iter=20")}

    @contextlib.contextmanager
    def passengers(self) -> Iterator[None]:
        """Ask the endpoint while the block runs: often while traffic is split, else now and then."""
        self.stage.pace(QUIET)
        ended = threading.Event()

        def pacing() -> None:
            before = QUIET
            while not ended.wait(0.2):
                split = [share for share in self.place.split().values() if share]
                rate = BUSY if len(split) > 1 else QUIET
                if rate != before:
                    self.stage.pace(rate)
                before = rate

        watcher = threading.Thread(target=pacing)
        with self._asking():
            watcher.start()
            try:
                yield
            finally:
                ended.set()
                watcher.join()

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        status = self.world.folder / "passengers.json"
        status.unlink(missing_ok=True)
        command = [
            sys.executable, "-m", "tests.act.passengers", *self.place.asking(), f"--endpoint={ENDPOINT}",
            f"--data={self.stage.folder / 'data'}", f"--status={status}",
            f"--rate-file={self.stage.rate}",
        ]  # fmt: skip
        with (self.world.folder / "passengers.log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=Path(__file__).parents[2], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "PYTHONPATH": "."},
            )  # fmt: skip
        try:
            deadline = time.monotonic() + 30
            while not status.exists():
                assert process.poll() is None, (self.world.folder / "passengers.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait(70)
