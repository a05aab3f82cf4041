"""What loading an MLflow model may run, read from its MLmodel file without loading anything.

MLflow loads by ``python_function.loader_module`` and what that flavor's block says; so that is what is
looked at here, and whatever is not known to be harmless is not. Fields:
https://mlflow.org/docs/latest/ml/model/ and each flavor's ``_load_pyfunc``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidegate import yaml12
from tidegate.core.checks import check
from tidegate.core.config import Format
from tidegate.core.model import Cause, Outcome
from tidegate.errors import NotJudgedError
from tidegate.strict import bounded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tidegate.core.model import Finding

MLMODEL = "MLmodel"
_SKOPS = "skops"
# Flavors whose files are data, whatever their block says. Prophet's is JSON, CatBoost's its own binary.
_DATA = ("onnx", "catboost", "prophet")
# Flavors whose files are pickles, always or in the hands of some version. PyTorch's pt2 has had some inside.
_PICKLES = ("pytorch", "statsmodels", "pmdarima", "paddle", "spacy", "shap")
_XGBOOST_CLASSES = "xgboost."


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFormat:
    """What loading may run, and why, in words of ours: nothing of the file is quoted."""

    kind: Format
    why: str


def format_of(model: Path) -> ModelFormat | None:
    """Return the format of a model folder; None when it is no MLflow model.

    An MLmodel that cannot be read is not trusted: it counts as code.
    """
    path = model / MLMODEL
    if not path.exists() and not path.is_symlink():
        return None
    try:
        data = yaml12.parse(bounded(path, yaml12.MAX_BYTES)).data
    except (OSError, ValueError, RecursionError, yaml12.YamlError, NotJudgedError):
        return ModelFormat(kind=Format.CODE, why="its MLmodel file cannot be read")
    flavors = data.get("flavors") if isinstance(data, dict) else None
    if not isinstance(flavors, dict) or not all(isinstance(b, dict) for b in flavors.values()):
        return ModelFormat(kind=Format.CODE, why="its MLmodel file names no flavors")
    return _of_flavors(flavors)


def finding_of(model: Path, allowed: Sequence[Format]) -> Finding | None:
    """Return what the verdict says about a candidate's format; None when that is nothing.

    It decides only where ``model.formats`` does not allow the format. A folder that is no MLflow
    model is loaded by the user's own command, so any demand on the format rejects it.
    """
    found = format_of(model)
    if found is None:
        if set(allowed) == set(Format):
            return None
        found = ModelFormat(kind=Format.CODE, why="no MLmodel file says how it is loaded")
    if found.kind not in allowed:
        return check(Cause.FORMAT, 0, column=_shown(found), outcome=Outcome.REJECT)
    if found.kind is Format.SAFE:
        return None
    return check(Cause.FORMAT, 0, column=_shown(found), outcome=Outcome.INCONCLUSIVE, decides=False)


def _shown(found: ModelFormat) -> str:
    return f"{found.kind}: {found.why}"


def _of_flavors(flavors: Mapping[str, Mapping[str, Any]]) -> ModelFormat:
    if any(block.get("code") is not None for block in flavors.values()):
        return ModelFormat(kind=Format.CODE, why="Python files beside the model are imported")
    if any("model_code_path" in block for block in flavors.values()):
        return ModelFormat(kind=Format.CODE, why="a script defines the model")
    loader = flavors.get("python_function", {}).get("loader_module")
    name = loader.removeprefix("mlflow.") if isinstance(loader, str) else ""
    if loader == "mlflow.pyfunc.model":
        return ModelFormat(kind=Format.PICKLE, why="a Python object, pickled")
    if loader != f"mlflow.{name}" or name not in flavors:
        return ModelFormat(kind=Format.CODE, why="a loader that is none of MLflow's flavors")
    return _of_flavor(name, flavors[name])


def _of_flavor(name: str, block: Mapping[str, Any]) -> ModelFormat:
    if name in _DATA:
        return ModelFormat(kind=Format.SAFE, why=name)
    if name in _PICKLES:
        return ModelFormat(kind=Format.PICKLE, why=name)
    if name == "sklearn":
        return _serialized(name, block.get("serialization_format", "pickle"), block)
    if name == "lightgbm":
        if block.get("model_class", "lightgbm.basic.Booster") == "lightgbm.basic.Booster":
            return ModelFormat(kind=Format.SAFE, why=name)
        return _serialized(name, block.get("serialization_format", "cloudpickle"), block)
    if name == "xgboost":
        # The class is imported by this name and called.
        called = block.get("model_class", "xgboost.core.Booster")
        if isinstance(called, str) and called.startswith(_XGBOOST_CLASSES):
            return ModelFormat(kind=Format.SAFE, why=name)
        return ModelFormat(kind=Format.CODE, why="xgboost, with a class that is not its own")
    # Graphs and layers are programs (TensorFlow, Keras), agents and chains are code.
    return ModelFormat(kind=Format.CODE, why="a library whose models may hold code")


def _serialized(name: str, how: object, block: Mapping[str, Any]) -> ModelFormat:
    """Tell a skops file from a pickle. A list of trusted types is the model's own word for them."""
    if how != _SKOPS:
        return ModelFormat(kind=Format.PICKLE, why=f"{name}, pickled")
    if block.get("skops_trusted_types"):
        return ModelFormat(
            kind=Format.PICKLE, why=f"{name} as skops, with types that it trusts itself"
        )
    return ModelFormat(kind=Format.SAFE, why=f"{name} as skops")
