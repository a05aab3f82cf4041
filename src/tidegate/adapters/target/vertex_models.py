"""A version's model on Vertex AI: packed, in the bucket, uploaded; once.

https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.models/upload
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.adapters.target import vertex_names as names
from tidegate.adapters.target.vertex_bodies import Packed, model_body
from tidegate.adapters.target.vertex_images import image, python_of
from tidegate.adapters.target.vertex_seen import DIGEST
from tidegate.errors import OutsideError
from tidegate.packing import pack_vertex

if TYPE_CHECKING:
    from tidegate.adapters.target.vertex_calls import Calls
    from tidegate.adapters.target.vertex_files import Files
    from tidegate.core.clouds import Vertex
    from tidegate.ports import Deployment

_UPLOADED = 900.0  # seconds that Vertex AI may take to copy a model's files


class Models:
    """The models of one endpoint; archives on their way stand in the folder ``work``."""

    def __init__(
        self, calls: Calls, files: Files, settings: Vertex, endpoint: str, work: Path
    ) -> None:
        self._calls = calls
        self._files = files
        self._settings = settings
        self._endpoint = endpoint
        self._work = work

    def have(self, deployment: Deployment) -> str:
        """Have the version's model, and return its id. Where it exists, nothing is packed.

        Raises:
            OutsideError: it is there with other bytes, or the model folder cannot be packed.
        """
        version, digest = deployment.version, deployment.digest
        identity = names.model_id(self._endpoint, version, digest)
        row = self._calls.model(identity)
        if row is None:
            body = model_body(self._packed(deployment), self._endpoint)
            row = self._calls.upload_model(identity, body, _UPLOADED)
        env = (row.get("containerSpec") or {}).get("env") or []
        owner = (row.get("labels") or {}).get(names.OWNER)
        if {"name": DIGEST, "value": digest} not in env or owner != self._endpoint:
            raise OutsideError(
                f"Model {identity} is there with other bytes, or is not Tidegate's.",
                remedy="A version's name stands for one model. Delete it if it is nobody's.",
            )
        return identity

    def _packed(self, deployment: Deployment) -> Packed:
        """Pack the model and have its archive in the bucket."""
        version, digest = deployment.version, deployment.digest
        python = python_of(deployment.model_dir)
        folder = names.folder(version, digest)
        self._work.mkdir(parents=True, exist_ok=True)
        # A folder of its own: two passes on one machine may pack the same model.
        with tempfile.TemporaryDirectory(dir=self._work, prefix="pack-") as into:
            archive = pack_vertex(
                deployment.model_dir, digest, deployment.task, Path(into), deployment.classes
            )
            sha256 = self._files.put(folder, archive)
        return Packed(
            version=version,
            digest=digest,
            archive=sha256,
            uri=self._files.uri(folder),
            image=self._settings.image or image(self._settings.region),
            python=python,
        )
