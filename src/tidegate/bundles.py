"""Bundles: a model folder with what was measured when it was judged, verified before use.

model/            the model's bytes; their digest is the bundle's identity
run.json          how it was trained (schemas/run.schema.json)
parity.parquet    a sample of holdout rows, with what the model answered offline
profile.json      what the columns of its training rows held (schemas/profile.schema.json); the ledger names its digest
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tidegate.columns import is_list, lists
from tidegate.digests import folder_digest
from tidegate.errors import OutsideError
from tidegate.home import MODEL, PARITY, REFERENCE
from tidegate.score import column

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from tidegate.core.model import VersionRef
    from tidegate.home import Home
    from tidegate.ports import Registry
    from tidegate.signing import Trust

ANSWER = "tidegate_answer"  # the column of parity.parquet that holds the offline prediction
SAMPLE = 300
_CLASSES = b"tidegate.classes"  # the sample's own metadata
TOLERANCE = 1e-6  # of an answer that travelled as JSON, relative to max(1, |answer|)


def fetch(home: Home, registry: Registry, name: str, model: VersionRef, trust: Trust) -> Path:
    """Return the bundle of a registered version, from this machine or the registry.

    Raises:
        OutsideError: the registry fails, its bytes are not those that were judged, or they do
            not carry the signature that ``trust`` asks for.
    """
    trust.check(name, model)
    folder = home.fetched(model.digest)
    if not (folder / MODEL).is_dir():
        registry.fetch(name, model.version, folder)
    if (found := folder_digest(folder / MODEL)) != model.digest:
        raise OutsideError(
            f"version {model.version} of {name} is not what was judged: "
            f"digest {found[:12]}, ledger {model.digest[:12]}",
            remedy=f"Somebody changed its bytes. Remove {folder} and check the registry.",
        )
    return folder


def save_parity(
    bundle: Path,
    rows: pa.Table,
    answers: npt.NDArray[np.float64],
    classes: Sequence[str] = (),
) -> None:
    """Keep an evenly spread sample of rows with their offline answers, and the classes' order."""
    picked = np.unique(np.linspace(0, rows.num_rows - 1, SAMPLE).astype(np.int64))
    table = rows.take(pa.array(picked)).append_column(ANSWER, column(answers[picked]))
    if classes:
        table = table.replace_schema_metadata({_CLASSES: json.dumps(classes)})
    pq.write_table(table, bundle / PARITY)


def keep_reference(profile: Path | None, folder: Path) -> None:
    """Put the champion's profile, where there is one, beside what is judged against the champion."""
    (folder / REFERENCE).unlink(missing_ok=True)
    if profile is not None and profile.is_file():
        shutil.copyfile(profile, folder / REFERENCE)


def load_parity(bundle: Path) -> tuple[pa.Table, npt.NDArray[np.float64]]:
    """Return the sample's rows and the offline answers.

    Raises:
        OutsideError: the bundle carries no sample.
    """
    try:
        table = pq.ParquetFile(bundle / PARITY).read()
    except (OSError, pa.ArrowInvalid) as error:
        raise OutsideError(f"{bundle / PARITY}: {error}") from None
    answers = table[ANSWER]
    if is_list(answers.type):
        width = answers.type.list_size
        what = "what the model answered offline"
        return table.drop_columns([ANSWER]), lists(bundle / PARITY, answers, ANSWER, width, what)
    return table.drop_columns([ANSWER]), answers.to_numpy()


def classes(bundle: Path) -> tuple[str, ...]:
    """Return the classes in the order in which the model answered offline; empty if it has none.

    Raises:
        OutsideError: they cannot be read.
    """
    path = bundle / PARITY
    if not path.is_file():
        return ()
    try:
        told = (pq.read_schema(path).metadata or {}).get(_CLASSES, b"[]")
        return tuple(str(name) for name in json.loads(told))
    except (OSError, ValueError, TypeError) as error:  # Arrow's errors are ValueErrors, too
        raise OutsideError(f"{path}: {error}") from None


def filled(rows: pa.Table) -> dict[str, float]:
    """Return the share of rows in which each column has a value."""
    return {
        name: 1 - column.null_count / max(rows.num_rows, 1)
        for name, column in zip(rows.column_names, rows.columns, strict=True)
    }


def differs(offline: npt.NDArray[np.float64], served: npt.NDArray[np.float64]) -> float:
    """Return the largest difference, relative to max(1, |answer|); NaN counts as infinite.

    So does an answer of another shape: another number of rows, or of classes.
    """
    if offline.shape != served.shape:
        return float("inf")
    gap = np.abs(offline - served) / np.maximum(1.0, np.abs(offline))
    return float(np.nan_to_num(gap, nan=np.inf).max(initial=0.0))
