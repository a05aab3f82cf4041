"""The model registry in MLflow: embedded SQLite, or any tracking server.

Exactly once: MLflow's registry numbers versions itself and its client repeats a create call whose
answer was lost, so one call can leave four versions. Here the create call is never repeated
blindly: its digest tag travels inside the call, an unknown outcome is looked up by that tag, the
lowest number wins, and any other is tagged as a duplicate.
API: https://mlflow.org/docs/latest/python_api/mlflow.client.html
"""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tidegate.errors import OutsideError
from tidegate.home import MODEL

logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tidegate.ports import Registration

_EXPERIMENT = "tidegate"
_DIGEST = "tidegate.digest"
_DUPLICATE = "tidegate.duplicate_of"
_HEAD = "tidegate.ledger_head"
_TRIES = 5


class MlflowRegistry:
    """One MLflow store as registry. ``artifacts`` is where an embedded store keeps its files."""

    def __init__(self, uri: str, *, artifacts: Path | None = None) -> None:
        self._artifacts = artifacts
        self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self._uri = uri

    def register(self, registration: Registration) -> str:
        """Return the version of these bytes: the one that is there, or a new one; never two.

        Raises:
            OutsideError: the registry cannot be reached, or keeps failing.
        """
        name, digest = registration.name, registration.digest
        with _outside("register the model"):
            self._ensure_model(name)
            if version := self._find(name, digest):
                return version
            run_id, source = self._upload(registration)
        for _ in range(_TRIES):
            try:
                with _no_retries():
                    self._client.create_model_version(
                        name=name,
                        source=source,
                        run_id=run_id,
                        tags={**registration.tags, _DIGEST: digest},
                    )
            except MlflowException as error:
                failure: MlflowException | None = error  # its answer may be lost, its effect not
            else:
                failure = None
            with _outside("look the new version up"):
                version = self._find(name, digest)
            if version:
                return version
        raise OutsideError(f"the registry did not create a version: {failure}") from failure

    def _ensure_model(self, name: str) -> None:
        try:
            with _no_retries():
                self._client.create_registered_model(name)
        except MlflowException:
            self._client.get_registered_model(name)  # it exists, or the registry is really broken

    def _find(self, name: str, digest: str) -> str | None:
        """Return the lowest version with this digest; tag the others as its duplicates."""
        found = self._client.search_model_versions(
            f"name = '{name}' and tags.`{_DIGEST}` = '{digest}'"
        )
        first, *others = sorted(found, key=lambda v: int(v.version)) or [None]
        for other in others:
            if _DUPLICATE not in other.tags:
                self._client.set_model_version_tag(name, other.version, _DUPLICATE, first.version)
        return str(first.version) if first else None

    def _upload(self, registration: Registration) -> tuple[str, str]:
        """Return run and artifact URI of the bundle, uploaded once per digest."""
        experiment = self._experiment()
        filters = f"tags.`{_DIGEST}` = '{registration.digest}' and attributes.status = 'FINISHED'"
        runs = self._client.search_runs([experiment], filters, max_results=1)
        if not runs:
            runs = [self._new_run(experiment, registration)]
        return runs[0].info.run_id, f"{runs[0].info.artifact_uri}/{MODEL}"

    def _new_run(self, experiment: str, registration: Registration) -> Any:
        tags = {**registration.tags, _DIGEST: registration.digest}
        run = self._client.create_run(experiment, tags=tags, run_name=registration.digest[:12])
        run_id = run.info.run_id
        for key, value in registration.params.items():
            self._client.log_param(run_id, key, value)
        for key, number in registration.metrics.items():
            self._client.log_metric(run_id, key, number)
        self._client.log_artifacts(run_id, str(registration.bundle))
        self._client.set_terminated(run_id)  # only a finished run is ever found again
        return run

    def _experiment(self) -> str:
        if found := self._client.get_experiment_by_name(_EXPERIMENT):
            return str(found.experiment_id)
        location = self._artifacts.as_uri() if self._artifacts else None
        return str(self._client.create_experiment(_EXPERIMENT, artifact_location=location))

    def fetch(self, name: str, version: str, into: Path) -> None:
        """Copy the bundle of a version to ``into``, which appears whole or not at all.

        Raises:
            OutsideError: no such version, or its files cannot be read.
        """
        with _outside(f"fetch version {version}"):
            source = self._client.get_model_version(name, version).source
            partial = into.with_name(f"{into.name}.part-{os.getpid()}")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            mlflow.artifacts.download_artifacts(
                artifact_uri=source.removesuffix(f"/{MODEL}"),
                dst_path=str(partial),
                tracking_uri=self._uri,
            )
        # The run's artifact folder arrives as one folder inside.
        inner = next((p.parent for p in partial.rglob(MODEL) if p.is_dir()), None)
        if inner is None:
            raise OutsideError(f"version {version} of {name} has no {MODEL} folder")
        shutil.rmtree(into, ignore_errors=True)
        inner.rename(into)
        shutil.rmtree(partial, ignore_errors=True)

    def publish(self, name: str, aliases: Mapping[str, str | None], chain: Sequence[str]) -> None:
        """Point the aliases at their versions and note the ledger's head, the last of ``chain``.

        Raises:
            OutsideError: the registry cannot be reached, or it remembers a head that is not in
                the chain; then nothing was changed.
        """
        with _outside("publish the aliases"):
            model = self._client.get_registered_model(name)
            before = model.tags.get(_HEAD)
            if before is not None and before not in chain:
                raise OutsideError(
                    "the registry remembers a ledger head that this ledger does not have",
                    remedy="The ledger branch was rewritten. Restore it, or look at who pushed to "
                    f"it; only then remove the tag {_HEAD} of {name}.",
                )
            for alias, version in aliases.items():
                if version is not None:
                    self._client.set_registered_model_alias(name, alias, version)
                elif alias in model.aliases:
                    self._client.delete_registered_model_alias(name, alias)
            self._client.set_registered_model_tag(name, _HEAD, chain[-1])

    def aliases(self, name: str) -> Mapping[str, str]:
        """Return alias -> version; a model that was never registered has none."""
        with _outside("read the aliases"):
            try:
                model = self._client.get_registered_model(name)
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return {}
                raise
            return {alias: str(version) for alias, version in model.aliases.items()}

    def annotate(self, name: str, version: str, tags: Mapping[str, str]) -> None:
        """Add tags to a version."""
        with _outside(f"annotate version {version}"):
            for key, value in tags.items():
                self._client.set_model_version_tag(name, version, key, value)


@contextmanager
def _outside(what: str) -> Iterator[None]:
    try:
        yield
    except (MlflowException, OSError) as error:
        raise OutsideError(
            f"the registry failed to {what}: {error}",
            remedy="Check registry.uri in mlops.yaml and that the registry answers.",
        ) from error


@contextmanager
def _no_retries() -> Iterator[None]:
    """Keep MLflow's HTTP client from repeating a create call whose answer was lost."""
    key = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    before = os.environ.get(key)
    os.environ[key] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[key]
        else:
            os.environ[key] = before
