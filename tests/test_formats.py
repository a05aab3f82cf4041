"""What loading a model may run is read from its MLmodel file, and what is not known is not harmless."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tidegate.core.config import Format
from tidegate.core.model import Cause, Outcome
from tidegate.formats import ModelFormat, finding_of, format_of

if TYPE_CHECKING:
    from pathlib import Path

ALL = tuple(Format)


def model(folder: Path, loader: object, **flavors: dict[str, Any]) -> Path:
    pyfunc = {"loader_module": loader, **flavors.pop("pyfunc", {})}
    text = json.dumps({"flavors": {"python_function": pyfunc, **flavors}, "mlflow_version": "3.1"})
    (folder / "MLmodel").write_text(text)
    return folder


TABLE: dict[str, tuple[Format, object, dict[str, dict[str, Any]]]] = {
    "skops": (Format.SAFE, "mlflow.sklearn", {"sklearn": {"serialization_format": "skops", "code": None}}),
    "skops, trusting": (Format.PICKLE, "mlflow.sklearn", {"sklearn": {"serialization_format": "skops", "skops_trusted_types": ["os.system"]}}),
    "skops, trusting text": (Format.PICKLE, "mlflow.sklearn", {"sklearn": {"serialization_format": "skops", "skops_trusted_types": "os.system"}}),
    "cloudpickle": (Format.PICKLE, "mlflow.sklearn", {"sklearn": {"serialization_format": "cloudpickle"}}),
    "pickle by default": (Format.PICKLE, "mlflow.sklearn", {"sklearn": {}}),
    "skops in capitals": (Format.PICKLE, "mlflow.sklearn", {"sklearn": {"serialization_format": "SKOPS"}}),
    "sklearn without its block": (Format.CODE, "mlflow.sklearn", {}),
    "onnx": (Format.SAFE, "mlflow.onnx", {"onnx": {"data": "model.onnx"}}),
    "catboost": (Format.SAFE, "mlflow.catboost", {"catboost": {}}),
    "prophet": (Format.SAFE, "mlflow.prophet", {"prophet": {}}),
    "xgboost": (Format.SAFE, "mlflow.xgboost", {"xgboost": {"model_class": "xgboost.sklearn.XGBClassifier"}}),
    "xgboost before classes": (Format.SAFE, "mlflow.xgboost", {"xgboost": {"data": "model.xgb"}}),
    "xgboost that calls another class": (Format.CODE, "mlflow.xgboost", {"xgboost": {"model_class": "evil.Class"}}),
    "xgboost, like": (Format.CODE, "mlflow.xgboost", {"xgboost": {"model_class": "xgboost_evil.Class"}}),
    "lightgbm": (Format.SAFE, "mlflow.lightgbm", {"lightgbm": {"model_class": "lightgbm.basic.Booster"}}),
    "lightgbm, sklearn's": (Format.PICKLE, "mlflow.lightgbm", {"lightgbm": {"model_class": "lightgbm.sklearn.LGBMClassifier"}}),
    "lightgbm, skops": (Format.SAFE, "mlflow.lightgbm", {"lightgbm": {"model_class": "lightgbm.sklearn.LGBMClassifier", "serialization_format": "skops"}}),
    "pytorch": (Format.PICKLE, "mlflow.pytorch", {"pytorch": {"serialization_format": "pt2"}}),
    "statsmodels": (Format.PICKLE, "mlflow.statsmodels", {"statsmodels": {}}),
    "tensorflow": (Format.CODE, "mlflow.tensorflow", {"tensorflow": {}}),
    "langchain": (Format.CODE, "mlflow.langchain", {"langchain": {}}),
    "a Python object": (Format.PICKLE, "mlflow.pyfunc.model", {}),
    "a script": (Format.CODE, "mlflow.pyfunc.loaders.code_model", {"pyfunc": {"model_code_path": "m.py"}}),
    "a chat model": (Format.CODE, "mlflow.pyfunc.loaders.chat_model", {}),
    "a loader of its own": (Format.CODE, "my.loader", {"my.loader": {}, "sklearn": {"serialization_format": "skops"}}),
    "code beside it": (Format.CODE, "mlflow.onnx", {"pyfunc": {"code": "code"}, "onnx": {}}),
    "code of the flavor": (Format.CODE, "mlflow.onnx", {"onnx": {"code": "code"}}),
    "no loader": (Format.CODE, None, {"sklearn": {"serialization_format": "skops"}}),
    "a loader that is a list": (Format.CODE, ["mlflow.onnx"], {"onnx": {}}),
    "a flavor nobody knows": (Format.CODE, "mlflow.tomorrow", {"tomorrow": {}}),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_what_loading_may_run(tmp_path: Path, name: str) -> None:
    kind, loader, flavors = TABLE[name]
    found = format_of(model(tmp_path, loader, **flavors))
    assert found is not None
    assert found.kind is kind


BROKEN: dict[str, bytes] = {
    "empty": b"",
    "not YAML": b"flavors: [",
    "not UTF-8": b"\xff\xfe",
    "a tag": b"flavors: !!python/object/apply:os.system ['true']\n",
    "a list": b"- flavors\n",
    "no flavors": b"mlflow_version: 3.1\n",
    "flavors of text": b"flavors: {python_function: mlflow.sklearn}\n",
    "twice": b"flavors: {}\nflavors: {}\n",
    "too large": b"#" * 3_000_000,
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_read_counts_as_code(tmp_path: Path, name: str) -> None:
    (tmp_path / "MLmodel").write_bytes(BROKEN[name])
    found = format_of(tmp_path)
    assert found is not None
    assert found.kind is Format.CODE


def test_a_folder_or_a_link_in_its_place_counts_as_code(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "MLmodel").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "MLmodel").symlink_to("nowhere")
    unreadable = ModelFormat(kind=Format.CODE, why="its MLmodel file cannot be read")
    assert format_of(tmp_path / "a") == format_of(tmp_path / "b") == unreadable


def test_the_finding_decides_only_where_the_format_is_not_allowed(tmp_path: Path) -> None:
    pickled = model(tmp_path, "mlflow.sklearn", sklearn={})
    shown = finding_of(pickled, ALL)
    assert shown is not None
    assert (shown.cause, shown.decides, shown.column) == (
        Cause.FORMAT, False, "pickle: sklearn, pickled",
    )  # fmt: skip
    rejected = finding_of(pickled, [Format.SAFE, Format.CODE])
    assert rejected is not None
    assert (rejected.decides, rejected.outcome) == (True, Outcome.REJECT)
    safe = model(tmp_path, "mlflow.onnx", onnx={})
    assert finding_of(safe, ALL) is None
    assert finding_of(safe, [Format.SAFE]) is None
    assert finding_of(safe, [Format.CODE]) is not None


def test_what_is_no_mlflow_model_keeps_no_demand_on_its_format(tmp_path: Path) -> None:
    assert finding_of(tmp_path, ALL) is None
    rejected = finding_of(tmp_path, [Format.SAFE])
    assert rejected is not None
    assert rejected.outcome is Outcome.REJECT
    assert finding_of(tmp_path, [Format.SAFE, Format.PICKLE]) is not None


def test_nothing_that_the_file_says_is_quoted(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>"
    found = format_of(model(tmp_path, name, **{name: {}}))
    assert found is not None
    assert name not in found.why
