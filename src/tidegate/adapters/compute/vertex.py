"""Custom jobs of Vertex AI, with the user's image.

Google names jobs itself and would start two of the same display name: attempts are found by that name,
and of two that were started at once, the older one counts and the other is cancelled. The output
goes to ``jobs/<job>/output/<attempt>/model`` of the bucket's folder, ``AIP_MODEL_DIR`` there.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate.adapters.cloud.google import GoogleError
from tidegate.adapters.compute.attempts import Attempts, Standing, State
from tidegate.adapters.compute.logs import CloudLoggingLines, time_of
from tidegate.adapters.compute.parcels import MANIFEST, MOST_BYTES, OUTPUT, GoneError
from tidegate.core import prices
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tidegate.adapters.cloud.google import Google
    from tidegate.adapters.compute.parcels import Parcel
    from tidegate.core.clouds import TrainOnVertex
    from tidegate.ports import Compute, ObjectStore, TrainingJob

_STATES = {
    "JOB_STATE_QUEUED": State.WAITING,
    "JOB_STATE_PENDING": State.WAITING,
    "JOB_STATE_PAUSED": State.WAITING,
    "JOB_STATE_RUNNING": State.RUNNING,
    "JOB_STATE_UPDATING": State.RUNNING,
    "JOB_STATE_CANCELLING": State.STOPPING,
    "JOB_STATE_SUCCEEDED": State.SUCCEEDED,
    "JOB_STATE_FAILED": State.FAILED,
    "JOB_STATE_PARTIALLY_SUCCEEDED": State.FAILED,
    "JOB_STATE_CANCELLED": State.STOPPED,
    "JOB_STATE_EXPIRED": State.TIMED_OUT,
}
_LIVE = frozenset({State.WAITING, State.RUNNING, State.STOPPING})
_MOST_FAILURE = 1 << 20  # bytes
_DEADLINE_EXCEEDED = 4  # https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
# Fetches the program that runs the job, and runs it if it is the one that was sent. It knows no
# more than that: tidegate.container.training does the rest.
BOOTSTRAP = """
import hashlib, json, os, runpy, sys, tempfile, urllib.parse, urllib.request as web
meta = os.environ.get("GCE_METADATA_HOST") or "metadata.google.internal"
ask = web.Request("http://" + meta + "/computeMetadata/v1/instance/service-accounts/default/token",
    headers={"Metadata-Flavor": "Google"})
token = json.load(web.urlopen(ask, timeout=60))["access_token"]
base = os.environ.get("STORAGE_EMULATOR_HOST") or "https://storage.googleapis.com"
base = (base if "://" in base else "http://" + base).rstrip("/")
bucket, _, name = (os.environ["TIDEGATE_JOB"] + "job.zip")[5:].partition("/")
url = base + "/storage/v1/b/" + bucket + "/o/" + urllib.parse.quote(name, safe="") + "?alt=media"
data = web.urlopen(web.Request(url, headers={"Authorization": "Bearer " + token})).read()
if hashlib.sha256(data).hexdigest() != os.environ["TIDEGATE_PROGRAM"]:
    raise RuntimeError("job.zip is not what was sent")
path = os.path.join(tempfile.mkdtemp(), "job.zip")
with open(path, "wb") as file:
    file.write(data)
sys.argv = [path]
runpy.run_path(path, run_name="__main__")
"""


def train_on_vertex(settings: TrainOnVertex, google: Google, store: ObjectStore) -> Compute:
    """Return the service as `Compute`; ``store`` is the settings' bucket."""
    return Attempts(CustomJobs(settings, google, store), store, settings.bucket.rstrip("/"))


class CustomJobs:
    """Vertex AI's custom jobs, known by their display names."""

    name = "Vertex AI"

    def __init__(self, settings: TrainOnVertex, google: Google, store: ObjectStore) -> None:
        self._settings = settings
        self._google = google
        self._store = store
        self._bucket = settings.bucket.rstrip("/")
        host = f"https://{settings.region}-aiplatform.googleapis.com/v1"
        self._host = host
        self._jobs = f"{host}/projects/{settings.project}/locations/{settings.region}/customJobs"
        beside = (
            f" + {settings.accelerators} {settings.accelerator}" if settings.accelerator else ""
        )
        self.machine = settings.machine_type + beside + (" spot" if settings.spot else "")
        self.price = settings.price
        if settings.price is None and not settings.spot:  # spot prices change by the day
            self.price = prices.training(
                prices.Cloud.VERTEX, settings.machine_type,
                accelerator=settings.accelerator, accelerators=settings.accelerators,
            )  # fmt: skip

    def patience(self, job: TrainingJob) -> float:
        """Return the seconds that preempted machines may add."""
        return job.timeout if self._settings.spot else 0.0

    def look(self, attempt: str) -> Standing | None:
        """Return how an attempt stands."""
        found = self._find(attempt)
        if found is None:
            return None
        standing = _standing(found)
        if standing.state is State.FAILED and (why := self._why(found)):
            return replace(standing, reason=why, by_code=True)
        return standing

    def _find(self, attempt: str) -> dict[str, Any] | None:
        """Return the job that counts as this attempt: succeeded before live before ended, then by age.

        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.customJobs/list
        """
        jobs = self._google.pages(self._jobs, "customJobs", filter=f'display_name="{attempt}"')
        ranked = sorted(
            (job for job in jobs if job.get("displayName") == attempt),
            key=lambda job: (_rank(job), job.get("createTime", ""), job["name"]),
        )
        return ranked[0] if ranked else None

    def start(self, attempt: str, job: TrainingJob, parcel: Parcel) -> None:
        """Start an attempt.

        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.customJobs/create
        """
        made = self._google.post(self._jobs, self._request(attempt, job, parcel))
        counts = self._find(attempt)
        if counts is not None and counts["name"] != made["name"]:
            self._cancel(made["name"])  # somebody else was faster

    def _request(self, attempt: str, job: TrainingJob, parcel: Parcel) -> dict[str, Any]:
        settings = self._settings
        machine: dict[str, Any] = {"machineType": settings.machine_type}
        if settings.accelerator is not None:
            machine["acceleratorType"] = settings.accelerator
            machine["acceleratorCount"] = settings.accelerators
        scheduling = {"timeout": f"{job.timeout:.0f}s"}
        if settings.spot:
            scheduling["strategy"] = "SPOT"
        environment = {
            "TIDEGATE_JOB": f"{self._bucket}/{parcel.code}",
            "TIDEGATE_PROGRAM": parcel.program,
        }
        output = f"{self._bucket}/{self._output(attempt, job.name)}"
        spec: dict[str, Any] = {
            "workerPoolSpecs": [
                {
                    "machineSpec": machine,
                    "replicaCount": "1",
                    "diskSpec": {"bootDiskSizeGb": settings.disk_gb},
                    "containerSpec": {
                        "imageUri": settings.image,
                        "command": ["python3", "-c", BOOTSTRAP],
                        "env": [{"name": k, "value": v} for k, v in environment.items()],
                    },
                }
            ],
            "scheduling": scheduling,
            "baseOutputDirectory": {"outputUriPrefix": output},
        }
        if settings.service_account is not None:
            spec["serviceAccount"] = settings.service_account
        return {
            "displayName": attempt,
            "jobSpec": spec,
            "labels": {"tidegate-job": job.name.lower()},
        }

    @staticmethod
    def _output(attempt: str, job: str) -> str:
        return f"jobs/{job}/output/{attempt}/"

    def stop(self, attempt: str) -> None:
        """Cancel an attempt if it runs."""
        found = self._find(attempt)
        if found is not None and _standing(found).state in _LIVE:
            self._cancel(found["name"])

    def _cancel(self, name: str) -> None:
        """Cancel a job.

        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.customJobs/cancel
        """
        try:
            self._google.post(f"{self._host}/{name}:cancel", {}, repeat=True)
        except GoogleError as error:
            if error.status not in {400, 404, 409}:  # it has ended meanwhile
                raise

    def log(self, attempt: str) -> Callable[[], Iterable[str]]:
        """Return a reader of the attempt's lines."""
        return CloudLoggingLines(
            self._google, self._settings.project, lambda: self._identity(attempt)
        ).lines

    def _identity(self, attempt: str) -> str:
        """Return the number by which Google's log knows an attempt."""
        found = self._find(attempt)
        if found is None:
            raise OutsideError(f"Vertex AI job {attempt} is not there yet")
        return str(found["name"]).rpartition("/")[2]

    def output(self, attempt: str, into: Path) -> tuple[Path, Path, str]:
        """Copy what the container left; return output, manifest and their address.

        Raises:
            GoneError: it is not in the bucket any more.
        """
        found = self._find(attempt)
        if found is None:
            raise GoneError(f"Vertex AI job {attempt} is not there any more")
        folder = self._folder(found)
        for name in (MANIFEST, OUTPUT):
            if self._store.head(f"{folder}/{name}") is None:
                raise GoneError(f"{self._bucket}/{folder}/{name} is not there any more")
            self._store.get(f"{folder}/{name}", into / name, MOST_BYTES)
        return into / OUTPUT, into / MANIFEST, f"{self._bucket}/{folder}/{OUTPUT}"

    def _folder(self, found: dict[str, Any]) -> str:
        """Return the folder that was AIP_MODEL_DIR, as a key."""
        spec = found.get("jobSpec") or {}
        base = str((spec.get("baseOutputDirectory") or {}).get("outputUriPrefix", ""))
        if not base.startswith(f"{self._bucket}/"):
            raise OutsideError(f"Vertex AI job {found['name']} writes elsewhere: {base!r}")
        return f"{base.removeprefix(f'{self._bucket}/').rstrip('/')}/model"

    def _why(self, found: dict[str, Any]) -> str:
        """Return what our script said of its failure; empty where it had no time to."""
        key = f"{self._folder(found)}/failure"
        if self._store.head(key) is None:
            return ""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "failure")
            self._store.get(key, path, _MOST_FAILURE)
            return path.read_text(encoding="utf-8", errors="replace")


def _rank(job: dict[str, Any]) -> int:
    state = _STATES.get(job.get("state", ""))
    return 0 if state is State.SUCCEEDED else 1 if state in _LIVE else 2


def _standing(found: dict[str, Any]) -> Standing:
    told = str(found.get("state", ""))
    if told not in _STATES:
        raise OutsideError(f"Vertex AI says {told!r} of a custom job, which is not known here")
    state, error = _STATES[told], found.get("error") or {}
    seconds = _seconds(found)
    reason = str(error.get("message", ""))
    spec = found.get("jobSpec") or {}
    limit = float(str((spec.get("scheduling") or {}).get("timeout", "604800s")).rstrip("s"))
    late = error.get("code") == _DEADLINE_EXCEEDED or (seconds is not None and seconds >= limit)
    if state in {State.FAILED, State.STOPPED} and late:
        state = State.TIMED_OUT
    return Standing(
        state=state,
        detail=told.removeprefix("JOB_STATE_").lower(),
        reason=reason,
        by_code="exited with a non-zero status" in reason,
        billed=seconds,
    )


def _seconds(found: dict[str, Any]) -> float | None:
    """Return the seconds in which machines ran; None before the end."""
    if "startTime" not in found or "endTime" not in found:
        return None
    return max(0.0, (time_of(found["endTime"]) - time_of(found["startTime"])).total_seconds())
