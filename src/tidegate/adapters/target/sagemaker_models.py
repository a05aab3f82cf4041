"""A version's model on SageMaker: its archive in the bucket, and the model that points at it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidegate import packing
from tidegate.adapters.cloud.aws import AwsError
from tidegate.adapters.stores.base import Place
from tidegate.adapters.stores.s3 import S3Store
from tidegate.adapters.target import sagemaker_images as images
from tidegate.adapters.target.sagemaker_names import (
    DIGEST,
    GENERATION,
    OWNER,
    VERSION,
    role_arn,
    short,
    tags,
    variant,
)
from tidegate.adapters.target.sagemaker_reading import container, missing
from tidegate.digests import file_digest
from tidegate.errors import ConfigError, OutsideError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tidegate.adapters.cloud.aws import Aws
    from tidegate.adapters.target.sagemaker_names import Names
    from tidegate.adapters.target.sagemaker_reading import Reader
    from tidegate.core.clouds import SageMaker
    from tidegate.ports import Deployment

_CODE = "TIDEGATE_CODE"  # the digest of what is packed beside the model


@dataclass(frozen=True, slots=True)
class Models:
    """Makes models. ``work`` is a folder for archives on their way."""

    aws: Aws
    names: Names
    settings: SageMaker
    reader: Reader
    work: Path

    def make(self, deployment: Deployment, generation: int, used: Collection[str]) -> str:
        """Return the name of the version's model, made if it is not there.

        One of the same name that was made otherwise (another image, role or scoring code) is made
        anew, unless a variant uses it (``used``).

        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeModel.html
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModel.html
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DeleteModel.html
        Uploads as :meth:`tidegate.adapters.stores.s3.S3Store.put` says.

        Raises:
            ConfigError: no public image fits the model, and none is named.
            OutsideError: the model folder is not what was judged, or AWS refuses.
        """
        name = self.names.model(deployment.version, deployment.digest)
        request = self._request(deployment)
        present = self._describe(name)
        if present is not None:
            if _same(present, request) or name in used:
                self._check(present, deployment, name)
                return name
            self.delete(name)
        request["PrimaryContainer"]["ModelDataUrl"] = self._upload(deployment)
        marks = {
            OWNER: self.names.endpoint,
            GENERATION: str(generation),
            VERSION: deployment.version,
        }
        try:
            self.aws.call(
                "sagemaker", "create_model", repeat=True,
                ModelName=name, Tags=tags(marks), **request,
            )  # fmt: skip
        except AwsError as error:
            present = self._describe(name) if "already exist" in str(error) else None
            if present is None:
                raise
            self._check(present, deployment, name)
        return name

    def delete(self, name: str) -> None:
        """Delete a model; nothing there is fine.

        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DeleteModel.html
        """
        try:
            self.aws.call("sagemaker", "delete_model", repeat=True, ModelName=name)
        except AwsError as error:
            if not missing(error):
                raise
        self.reader.forget(name)

    def _request(self, deployment: Deployment) -> dict[str, Any]:
        settings, aws = self.settings, self.aws
        if deployment.serve is not None and settings.image is None:
            raise ConfigError(
                "A server of your own (release.serve) needs an image on SageMaker.",
                remedy="Name the image that holds it: release.sagemaker.image.",
            )
        image = settings.image or images.choose(
            deployment.model_dir, aws.region, settings.instance_type
        )
        role = role_arn(settings.execution_role, partition=aws.partition, account=aws.account)
        return {
            "ExecutionRoleArn": role,
            "PrimaryContainer": {
                "Image": image,
                "Environment": {
                    "SAGEMAKER_PROGRAM": "inference.py",
                    "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
                    "MLFLOW_DISABLE_TELEMETRY": "true",
                    DIGEST: deployment.digest,
                    _CODE: packing.code_digest()[:16],
                },
            },
        }

    def _describe(self, name: str) -> dict[str, Any] | None:
        """https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DescribeModel.html"""
        try:
            return self.aws.call("sagemaker", "describe_model", ModelName=name)
        except AwsError as error:
            if not missing(error):
                raise
            return None

    @staticmethod
    def _check(present: Mapping[str, Any], deployment: Deployment, name: str) -> None:
        found = container(present).get("Environment", {}).get(DIGEST)
        if found != deployment.digest:
            raise OutsideError(
                f"The model {name} on SageMaker holds other bytes ({found}) than version "
                f"{deployment.version} ({deployment.digest}).",
                remedy="Delete that model, if nobody uses it.",
            )

    def _upload(self, deployment: Deployment) -> str:
        """Put the archive into the bucket, under its own hash, and return its address."""
        version = f"{variant(deployment.version)}-{short(deployment.digest)}"
        self.work.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.work, prefix="pack-") as folder:
            archive = packing.pack_sagemaker(
                deployment.model_dir, deployment.digest, deployment.task, Path(folder),
                deployment.classes,
            )  # fmt: skip
            sha256, size = file_digest(archive), archive.stat().st_size
            key = f"{self.names.endpoint}/{version}/{sha256[:16]}/{archive.name}"
            place = Place.of(self.settings.bucket)
            store = S3Store(self.aws, place)
            present = store.head(key)
            if present is None or (present.sha256, present.size) != (sha256, size):
                store.put(key, archive, sha256=sha256)
                present = store.head(key)
        if present is None or (present.sha256, present.size) != (sha256, size):
            raise OutsideError(f"{place}{key} is not what was uploaded just now.")
        return f"{place}{key}"


def _same(present: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Whether a model was made from the same image, role, code and bytes."""
    is_, wanted = container(present), request["PrimaryContainer"]
    return bool(
        present.get("ExecutionRoleArn") == request["ExecutionRoleArn"]
        and is_.get("Image") == wanted["Image"]
        and is_.get("Environment", {}) == wanted["Environment"]
    )
