"""Compute the user's own metrics: ``python -P -m tidegate.own_runner WORK CODE``, by :mod:`tidegate.own_metrics`.

WORK holds request.json and the columns as .npy files, CODE the files of the functions. Nothing is held
here that anybody could steal; the last line of what goes wrong is what the user is told.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tidegate.core.own import bootstrap

if TYPE_CHECKING:
    from collections.abc import Callable

VALUES = "measured.f64"


def main(arguments: list[str]) -> int:
    """Compute what is asked for; return the exit code."""
    work, code = Path(arguments[0]), Path(arguments[1])
    request = json.loads((work / "request.json").read_text())
    # After our own imports: a numpy.py of the user's beside the function is the function's.
    sys.path.insert(0, str(code))
    sys.dont_write_bytecode = True
    wanted = {metric for metric, _ in request["items"]}
    functions = {
        name: _function(code, *place)
        for name, place in request["functions"].items()
        if name in wanted
    }
    columns = {path.stem: np.load(path, allow_pickle=False) for path in work.glob("*.npy")}
    found = [
        _item(functions[metric], columns, columns.get(f"rows-{number}"), request, metric)
        for metric, number in request["items"]
    ]
    np.asarray(found, dtype="<f8").tofile(work / VALUES)
    return 0


def _item(
    function: Callable[..., Any],
    columns: dict[str, Any],
    rows: Any,
    request: dict[str, Any],
    metric: str,
) -> Any:
    def of(name: str) -> Any:
        values = columns.get(name)
        return values if values is None or rows is None else values[rows]

    models = [of(name) for name in ("candidate", "champion", "anchor") if name in columns]
    try:
        return bootstrap(
            function,
            of("y_true"),
            models,
            weight=of("weight"),
            cluster=of("group"),
            seed=request["seed"],
            resamples=request["resamples"],
        )
    except Exception as error:
        raise SystemExit(f"{metric}: {type(error).__name__}: {error}") from error


def _function(code: Path, file: str, name: str) -> Callable[..., Any]:
    spec = importlib.util.spec_from_file_location(Path(file).stem, code / file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SystemExit(f"{file}: {type(error).__name__}: {error}") from error
    function: Callable[..., Any] | None = getattr(module, name, None)
    if not callable(function):
        raise SystemExit(f"{file}: there is no function {name}")
    return function


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
