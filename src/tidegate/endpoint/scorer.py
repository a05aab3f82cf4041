"""Load an MLflow model once and score rows with it: the same code offline and online.

Rows travel as Arrow tables. Both the gate's offline scoring and the model server call
:meth:`Scorer.score`, so the casts, the column order and the model call cannot differ between
them. Model folders: https://mlflow.org/docs/latest/ml/model/
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from tidegate.core.classes import label
from tidegate.core.model import Task
from tidegate.errors import NotJudgedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt
    import pandas as pd

# An MLflow DataType's name -> the Arrow type its values are cast to.
_ARROW: Mapping[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "integer": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
    "datetime": pa.timestamp("ns"),
}


class _Raw(Protocol):
    """What is used of a scikit-learn estimator."""

    def predict_proba(self, frame: object, /) -> npt.NDArray[np.float64]: ...


class Scorer:
    """A loaded model.

    Attributes:
        columns: the input columns the model asks for, in its order; None when neither its
            signature nor its estimator names them, and every column given is passed on.
    """

    def __init__(  # noqa: PLR0913 (a model, and what it is asked and answers)
        self,
        predict: Callable[[Any], object],
        *,
        columns: tuple[str, ...] | None,
        types: Mapping[str, pa.DataType],
        matrix: np.dtype[Any] | None,
        task: Task,
        classes: Sequence[str] = (),
        own: Sequence[str] | None = None,
    ) -> None:
        self.columns = columns
        self._predict = predict
        self._types = types
        self._matrix = matrix
        self._task = task
        self._classes = tuple(classes)
        self._own = own  # the classes as the model orders them; None: as `classes` does

    def score(self, rows: pa.Table | pd.DataFrame) -> npt.NDArray[np.float64]:
        """Return one number per row: a probability, a value or a score, by task.

        Multiclass: shape (n, K), a probability of each class in the order of ``classes``; a class that
        the model has never seen has none. A regression may answer with shape (n, 3): the point and the
        interval's ends. Columns the model does not ask for are ignored, missing ones become null.

        Raises:
            NotJudgedError: a value does not fit the signature without loss, the model raised, or
                its answer is not one number per row, or not a probability of each class.
        """
        table = rows if isinstance(rows, pa.Table) else _from_pandas(rows)
        frame = self._frame(table)
        try:
            answer = self._predict(frame)
        except Exception as error:
            raise NotJudgedError(
                f"The model failed on {table.num_rows} rows: {type(error).__name__}: {error}",
                remedy="Load the model folder with mlflow.pyfunc.load_model and predict the same rows.",
            ) from error
        if self._task is Task.MULTICLASS:
            own = _named(answer, self._classes) or self._own
            return _probabilities(answer, table.num_rows, self._classes, own)
        return _one_number_per_row(answer, table.num_rows, self._task)

    def _frame(self, table: pa.Table) -> object:
        names = table.column_names if self.columns is None else self.columns
        have = set(table.column_names)
        columns = [
            _cast(table.column(name), self._types.get(name), name)
            if name in have
            else pa.nulls(table.num_rows, self._types.get(name, pa.float64()))
            for name in names
        ]
        frame = pa.Table.from_arrays(columns, names=list(names)).to_pandas()
        return frame if self._matrix is None else frame.to_numpy(dtype=self._matrix)


def load(model_dir: Path, task: Task, classes: Sequence[str] = ()) -> Scorer:
    """Load the MLflow model folder ``model_dir``.

    Models of two or more ``classes`` that offer ``predict_proba`` (scikit-learn and what imitates it)
    answer with it: binary ones with the probability of class 1, multiclass ones with that of each
    class; everything else answers with what ``mlflow.pyfunc`` predicts.

    Raises:
        NotJudgedError: the folder holds no loadable MLflow model, or one of other classes.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        model = _load_pyfunc(model_dir)
    except Exception as error:
        raise NotJudgedError(
            f"Cannot load the model in {model_dir}: {type(error).__name__}: {error}",
            remedy="The folder must hold a model saved by MLflow (a file named MLmodel), and the "
            "packages it was trained with must be installed.",
        ) from error
    raw = _raw(model)
    columns, types, matrix = _inputs(model, raw)
    predict = model.predict
    own = None
    if task in (Task.BINARY, Task.MULTICLASS) and hasattr(raw, "predict_proba"):
        predict = raw.predict_proba
        own = _own_classes(raw, classes) if task is Task.MULTICLASS else None
    return Scorer(
        predict, columns=columns, types=types, matrix=matrix, task=task, classes=classes, own=own
    )


def _load_pyfunc(model_dir: Path) -> Any:
    # MLflow warns about every package whose version moved a little; the parity check judges what
    # that does to the predictions, so the noise is dropped.
    logger = logging.getLogger("mlflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import mlflow.pyfunc  # costs two seconds; only who scores pays for it

            # As a URI, because MLflow decodes the per cent signs of a bare path.
            return mlflow.pyfunc.load_model(model_dir.absolute().as_uri())
    finally:
        logger.setLevel(level)


def _raw(model: Any) -> Any:
    try:
        return model.get_raw_model()
    except Exception:  # noqa: BLE001 (flavors without a raw model raise what they like)
        return None


def _inputs(
    model: Any,
    raw: Any,
) -> tuple[tuple[str, ...] | None, dict[str, pa.DataType], np.dtype[Any] | None]:
    """Which columns the model wants, of which types, and whether as one matrix."""
    signature = model.metadata.signature
    schema = None if signature is None else signature.inputs
    if schema is not None and schema.is_tensor_spec():
        return _estimator_columns(raw), {}, np.dtype(schema.inputs[0].type)
    if schema is not None and schema.has_input_names():
        types = {
            spec.name: _ARROW[spec.type.name]
            for spec in schema.inputs
            if getattr(spec.type, "name", None) in _ARROW
        }
        return tuple(schema.input_names()), types, None
    return _estimator_columns(raw), {}, None


def _estimator_columns(raw: Any) -> tuple[str, ...] | None:
    names = getattr(raw, "feature_names_in_", None)
    return None if names is None else tuple(str(name) for name in names)


def _from_pandas(frame: pd.DataFrame) -> pa.Table:
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except pa.ArrowException as error:
        raise NotJudgedError(f"The rows hold mixed types in one column: {error}") from error


def _cast(column: pa.ChunkedArray, wanted: pa.DataType | None, name: str) -> pa.ChunkedArray:
    given = column.type
    if pa.types.is_dictionary(given):
        column = column.cast(given.value_type)
        given = given.value_type
    if wanted is None or given == wanted:
        return column
    try:
        if not _compatible(given, wanted):
            raise pa.ArrowTypeError("these are different kinds of values")
        if pa.types.is_timestamp(wanted):
            return _to_timestamp(column)
        return column.cast(wanted)
    except pa.ArrowException as error:
        raise NotJudgedError(
            f"Column {name!r} is {given} and the model's signature wants {wanted}: {error}",
            remedy="Send the type the model was trained with, or log the model with a signature "
            "that covers these values.",
        ) from error


def _compatible(given: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a cast keeps the meaning; Arrow alone would parse numbers out of text."""
    kinds = pa.types
    if kinds.is_null(given):
        return True
    if kinds.is_floating(wanted) or kinds.is_integer(wanted):
        return bool(
            kinds.is_integer(given)
            or kinds.is_floating(given)
            or kinds.is_boolean(given)
            or kinds.is_decimal(given)
        )
    text = kinds.is_string(given) or kinds.is_large_string(given) or kinds.is_string_view(given)
    if kinds.is_string(wanted):
        return bool(text)
    if kinds.is_timestamp(wanted):
        return bool(text or kinds.is_timestamp(given) or kinds.is_date(given))
    return bool(kinds.is_binary(wanted) and kinds.is_large_binary(given))


def _to_timestamp(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Naive UTC nanoseconds, the only datetime MLflow's signatures know."""
    naive = pa.timestamp("ns")
    if not pa.types.is_string(column.type):
        return column.cast(naive)
    try:
        return column.cast(naive)
    except pa.ArrowInvalid:  # the text names its zone
        return column.cast(pa.timestamp("ns", "UTC")).cast(naive)


def _own_classes(raw: Any, classes: Sequence[str]) -> tuple[str, ...] | None:
    """Return an estimator's classes in its order; None when it does not name them.

    Raises:
        NotJudgedError: it knows one that is none of ``classes``.
    """
    named = getattr(raw, "classes_", None)
    if named is None:
        return None
    own = tuple(label(value) for value in np.asarray(named).tolist())
    if strange := [name for name in own if name not in classes]:
        raise NotJudgedError(
            f"The model's classes are {', '.join(own[:10])}; {strange[0]!r} is none of "
            f"{', '.join(classes[:10])}.",
            remedy="Train it on the labels that stand in the data (not on numbers for them), or name "
            "its classes in mlops.yaml: model.classes.",
        )
    return own


def _named(answer: object, classes: Sequence[str]) -> tuple[str, ...] | None:
    """Return the classes that name the columns of a data frame; None where they do not."""
    columns = getattr(answer, "columns", None)
    if columns is None:
        return None
    try:
        names = tuple(label(name) for name in columns)
    except ValueError:
        return None
    return names if set(names) <= set(classes) else None


def _probabilities(
    answer: object, rows: int, classes: Sequence[str], own: Sequence[str] | None
) -> npt.NDArray[np.float64]:
    """Return the answer in the order of ``classes``, shape (rows, K)."""
    values = _numeric(answer)
    there = classes if own is None else own
    if values.shape != (rows, len(there)):
        raise NotJudgedError(
            f"The model answered {rows} rows with an array of shape {values.shape}, expected "
            f"({rows}, {len(there)}).",
            remedy="A multiclass model answers with a probability of each class "
            f"({', '.join(classes[:10])}), not with labels: log one that has predict_proba.",
        )
    ordered = np.zeros((rows, len(classes)))
    ordered[:, [classes.index(name) for name in there]] = values
    return ordered


def _numeric(answer: object) -> npt.NDArray[np.float64]:
    try:
        return np.asarray(answer, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise NotJudgedError(
            f"The model's answer is not numeric: {type(answer).__name__}: {error}",
            remedy="Predict numbers: probabilities, a value, or a score per row.",
        ) from error


def _one_number_per_row(answer: object, rows: int, task: Task) -> npt.NDArray[np.float64]:
    values = _numeric(answer)
    if values.ndim == 2 and values.shape[1] == 3 and task is Task.REGRESSION:
        return np.ascontiguousarray(values)  # the point and its interval
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    elif values.ndim == 2 and values.shape[1] == 2 and task is Task.BINARY:
        values = values[:, 1]
    if values.shape != (rows,):
        raise NotJudgedError(
            f"The model answered {rows} rows with an array of shape {values.shape}.",
            remedy="A binary model has two classes, and every row needs exactly one number.",
        )
    return np.ascontiguousarray(values)
