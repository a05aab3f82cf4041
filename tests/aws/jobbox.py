"""A training job's container: its folder, its process, its data and its log.

Paths and variables: https://github.com/aws/sagemaker-training-toolkit/blob/master/ENVIRONMENT_VARIABLES.md
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from tests.aws.fleet import split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.aws.cloud import Cloud
    from tests.aws.routing import Row

ML = "/opt/ml"  # in the command and the variables, this stands for the job's folder
GROUP = "/aws/sagemaker/TrainingJobs"


class Box:
    def __init__(self, cloud: Cloud, name: str, arn: str, request: Row) -> None:
        self._cloud = cloud
        self._name = name
        self._arn = arn
        self._request = request
        self.root = Path(tempfile.mkdtemp(prefix="aws-job-")) / "ml"
        self.reason: str | None = None
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        for folder in ("model", "output/data", "input/config", "input/data", "code"):
            (self.root / folder).mkdir(parents=True)

    # --- data -----------------------------------------------------------------------------------

    def download(self) -> Iterator[None]:
        yield from self._aside(self._download)

    def upload(self, *, checkpoints_only: bool = False) -> Iterator[None]:
        yield from self._aside(self._checkpoints if checkpoints_only else self._upload)

    def _aside(self, work: Callable[[], None]) -> Iterator[None]:
        """Do something slow beside the clock's ticks."""

        def run() -> None:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - a bucket that is not there, and the like
                self.reason = f"ClientError: {error}"

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        while thread.is_alive():
            yield

    def _download(self) -> None:
        for channel in self._request.get("InputDataConfig", []):
            into = self.root / "input/data" / channel["ChannelName"]
            into.mkdir(parents=True, exist_ok=True)
            bucket, prefix = split(channel["DataSource"]["S3DataSource"]["S3Uri"])
            found = self._get(bucket, prefix, into, channel.get("CompressionType") == "Gzip")
            if not found:
                self.reason = (
                    "ClientError: Data download failed: No S3 objects found under S3 URL "
                    f'"s3://{bucket}/{prefix}" given in input data source.'
                )
                return
        checkpoint = self._request.get("CheckpointConfig")
        if checkpoint is not None:
            self._checkpoint_dir().mkdir(parents=True, exist_ok=True)
            self._get(*split(checkpoint["S3Uri"]), self._checkpoint_dir(), False)
        config = self.root / "input/config"
        resources = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "lo"}
        for name, content in (
            ("hyperparameters", self._request.get("HyperParameters", {})),
            ("resourceconfig", resources),
            ("inputdataconfig", {one["ChannelName"]: {"TrainingInputMode": "File"}
                                 for one in self._request.get("InputDataConfig", [])}),
        ):  # fmt: skip
            (config / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")

    def _get(self, bucket: str, prefix: str, into: Path, packed: bool) -> int:
        """Fetch every object below a prefix; return how many there were."""
        s3 = self._cloud.fleet.s3
        keys = [
            row["Key"]
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            for row in page.get("Contents", [])
            if not row["Key"].endswith("/")
        ]
        above = prefix if prefix.endswith("/") else prefix.rpartition("/")[0]
        for key in keys:
            name = key.removeprefix(above).lstrip("/")
            if not prefix.endswith("/") and key.startswith(f"{prefix}/"):
                name = key.removeprefix(f"{prefix}/")
            path = into / name
            path.parent.mkdir(parents=True, exist_ok=True)
            s3.download_file(bucket, key, str(path))
            if packed:
                path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        return len(keys)

    def _upload(self) -> None:
        base = self._request["OutputDataConfig"]["S3OutputPath"].rstrip("/")
        for folder, name in (("model", "model.tar.gz"), ("output/data", "output.tar.gz")):
            source = self.root / folder
            if not any(source.iterdir()):
                continue
            archive = self.root.parent / name
            with tarfile.open(archive, "w:gz") as tar:
                for path in sorted(source.iterdir()):
                    tar.add(path, arcname=path.name)
            bucket, prefix = split(f"{base}/{self._name}/output/{name}")
            self._cloud.fleet.s3.upload_file(str(archive), bucket, prefix)
        self._checkpoints()

    def _checkpoints(self) -> None:
        checkpoint = self._request.get("CheckpointConfig")
        if checkpoint is None:
            return
        bucket, prefix = split(checkpoint["S3Uri"])
        for path in self._checkpoint_dir().rglob("*"):
            if path.is_file():
                key = f"{prefix.rstrip('/')}/{path.relative_to(self._checkpoint_dir())}"
                self._cloud.fleet.s3.upload_file(str(path), bucket, key)

    def _checkpoint_dir(self) -> Path:
        local = self._request["CheckpointConfig"].get("LocalPath", f"{ML}/checkpoints")
        return Path(self._here(local))

    # --- the process ----------------------------------------------------------------------------

    def _here(self, text: str) -> str:
        return text.replace(ML, str(self.root))

    def _command(self) -> list[str]:
        algorithm = self._request["AlgorithmSpecification"]
        words = [
            *algorithm.get("ContainerEntrypoint", []),
            *algorithm.get("ContainerArguments", []),
        ]
        if "ContainerEntrypoint" not in algorithm:
            own = self._cloud.commands.get(algorithm["TrainingImage"])
            if own is None:
                raise ValueError("this image has no entrypoint here")
            words = [*own, *(words or ["train"])]
        return [self._here(word) for word in words]

    def _environment(self) -> dict[str, str]:
        channels = [one["ChannelName"] for one in self._request.get("InputDataConfig", [])]
        kept = ("LANG", "TMPDIR")
        given = {
            key: self._here(text) for key, text in self._request.get("Environment", {}).items()
        }
        hyper = self._request.get("HyperParameters", {})
        return {
            **{key: os.environ[key] for key in kept if key in os.environ},
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
            "HOME": str(self.root),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",  # a container of one core
            **self._cloud.env,
            "TIDEGATE_ML_ROOT": str(self.root),
            "SM_MODEL_DIR": str(self.root / "model"),
            "SM_OUTPUT_DATA_DIR": str(self.root / "output/data"),
            "SM_INPUT_DIR": str(self.root / "input"),
            "SM_INPUT_CONFIG_DIR": str(self.root / "input/config"),
            "SM_CHANNELS": json.dumps(sorted(channels)),
            **{f"SM_CHANNEL_{name.upper()}": str(self.root / "input/data" / name)
               for name in channels},
            "SM_HPS": json.dumps(hyper),
            **{f"SM_HP_{key.upper().replace('-', '_')}": text for key, text in hyper.items()},
            "SM_NUM_GPUS": "0",
            "SM_CURRENT_HOST": "algo-1",
            "SM_HOSTS": '["algo-1"]',
            "TRAINING_JOB_NAME": self._name,
            "TRAINING_JOB_ARN": self._arn,
            **given,
        }  # fmt: skip

    def start(self) -> None:
        """Start the command; a command that cannot start is a failure of the job."""
        try:
            self._process = subprocess.Popen(
                self._command(), cwd=self.root / "code", env=self._environment(), text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                start_new_session=True, errors="replace",
            )  # fmt: skip
        except (OSError, ValueError) as error:
            self.reason = f"AlgorithmError: the container could not be started: {error}"
            return
        stream = f"{self._name}/algo-1-{int(self._cloud.now())}"
        self._reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._reader.start()

    def _read(self, stream: str) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                with self._cloud.lock:
                    self._cloud.logs.write(GROUP, stream, line.rstrip("\n"))

    def running(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            return self._reader is not None and self._reader.is_alive()
        return True

    def succeeded(self) -> bool:
        """Return whether the command ended well, and keep why not."""
        if self._process is None:
            return False
        if self._process.returncode == 0:
            return True
        said = self.root / "output/failure"
        text = said.read_text(encoding="utf-8", errors="replace") if said.exists() else ""
        self.reason = f"AlgorithmError: {text[:900]}, exit code: {self._process.returncode}"
        return False

    def terminate(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """End the command and whatever it started."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, 9)
            self._process.wait(10)

    def close(self) -> None:
        self.kill()
        if self._reader is not None:
            self._reader.join(5)
        shutil.rmtree(self.root.parent, ignore_errors=True)
