"""What the tests of both training services share: a small job, and its output read back."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tidegate.adapters.compute import attempts, parcels
from tidegate.ports import TrainingJob

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

NAME = "tidegate-coin-0123abcd-0123456789ab"
SAVES = 'echo "training on $TIDEGATE_TRAIN"; cp "$TIDEGATE_TRAIN" "$TIDEGATE_MODEL_DIR/model.csv"'


def job(folder: Path, run: str = SAVES, **more: Any) -> TrainingJob:
    """Return a job whose model is a copy of the training rows."""
    folder.mkdir(parents=True, exist_ok=True)
    code, train = folder / "code.tar", folder / "rows and more.csv"
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        info = tarfile.TarInfo("models/coin/mlops.yaml")
        archive.addfile(info, io.BytesIO(b""))
    code.write_bytes(made.getvalue())
    train.write_text("x,y\n1,2\n")
    given: dict[str, Any] = {
        "name": NAME, "code": code, "folder": "models/coin", "checks": (), "run": run,
        "train": train, "timeout": 60.0, "environment": {}, **more,
    }  # fmt: skip
    return TrainingJob(**given)


def quick(patch: pytest.MonkeyPatch) -> None:
    """Look often, and let jobs open no MLflow store, which takes seconds."""
    patch.setattr(attempts, "_FIRST", 0.05)
    patch.setattr(attempts, "_LONGEST", 0.2)
    patch.setattr(attempts, "_DRAIN", 2.0)
    main = b"""import sys
import tidegate.container.training as training
training.open_tracking = lambda folder, opened: {}
sys.exit(training.main())
"""
    patch.setattr(parcels, "_MAIN", main)


@dataclass
class Heard:
    """What was told."""

    lines: list[str] = field(default_factory=list)

    def __call__(self, line: str) -> None:
        self.lines.append(line)

    def __contains__(self, text: str) -> bool:
        return any(text in line for line in self.lines)
