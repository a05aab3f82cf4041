"""The state directory: everything Tidegate keeps on a machine, and where.

``TIDEGATE_HOME`` names it; otherwise it is ``.tidegate`` at the top of the repository.

    bundles/<commit>/         a candidate: model/, run.json, parity.parquet, predictions, verdict
    models/<digest>/          bundles fetched from the registry, verified by digest
    registry/                 the embedded MLflow registry
    endpoints/<name>/         the embedded endpoint's state
    environments/<key>/       what models recorded to run in; may be deleted, is built again
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

MODEL = "model"
RUN = "run.json"
PARITY = "parity.parquet"
PROFILE = "profile.json"  # of the rows that it was trained on
REFERENCE = "reference.json"  # the champion's profile, as it was when this was judged
PREDICTIONS = "predictions.parquet"
MEASUREMENTS = "measurements.json"
VERDICT = "verdict.json"
PICTURES = "pictures.json"  # what a report draws beside the verdict


@dataclass(frozen=True, slots=True)
class Home:
    """The state directory's layout."""

    root: Path

    @classmethod
    def find(cls, repository: Path) -> Home:
        """Return the state directory of a repository."""
        if configured := os.environ.get("TIDEGATE_HOME"):
            return cls(Path(configured).resolve())
        return cls(repository / ".tidegate")

    def bundle(self, commit: str) -> Path:
        """Return the folder of the candidate trained at ``commit``."""
        return self.root / "bundles" / commit[:12]

    def fetched(self, digest: str) -> Path:
        """Return the folder of a bundle fetched from the registry."""
        return self.root / "models" / digest[:24]

    @property
    def registry(self) -> Path:
        """The folder of the embedded registry."""
        return self.root / "registry"

    @property
    def environments(self) -> Path:
        """The folder of environments that were built for models."""
        return self.root / "environments"

    def endpoint(self, name: str) -> Path:
        """Return the folder of an embedded endpoint."""
        return self.root / "endpoints" / name
