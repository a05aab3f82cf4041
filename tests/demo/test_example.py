"""What a newcomer copies works: the configuration loads, and each of the story's scripts trains."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.demo.test_data import FLIGHTS, WEATHER
from tidegate.core.model import Task
from tidegate.demo.chapters import CHAPTERS, Chapter
from tidegate.demo.data import ID, TARGET, TIME, features, summer_timetable
from tidegate.endpoint.scorer import load
from tidegate.errors import NotJudgedError
from tidegate.load import load_fully
from tidegate.resources import resource

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = resource("examples/flight-delays")


def test_the_configuration_loads_without_warnings() -> None:
    loaded = load_fully(EXAMPLE / "mlops.yaml")

    assert loaded.warnings == ()
    assert (loaded.config.data.id, loaded.config.data.target) == (ID, TARGET)
    assert loaded.config.data.time == TIME


def test_every_push_changes_the_script_and_has_a_subject_of_its_own() -> None:
    scripts = [(EXAMPLE / (c.overlay or "") / "train.py").read_text() for c in CHAPTERS]

    assert len(set(scripts)) == len({c.message for c in CHAPTERS}) == 5


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "data"
    folder.mkdir()
    rows = features(FLIGHTS, WEATHER).slice(0, 2)
    pq.write_table(pa.concat_tables([rows] * 40), folder / "train.parquet")
    pq.write_table(summer_timetable(FLIGHTS), folder / "routes.parquet")
    return folder


@pytest.mark.real
@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda c: c.name)
def test_each_script_trains_a_model_that_answers(
    chapter: Chapter, sample: Path, tmp_path: Path
) -> None:
    shutil.copytree(sample, tmp_path / "data")
    shutil.copyfile(EXAMPLE / (chapter.overlay or "") / "train.py", tmp_path / "train.py")
    run = [sys.executable, "train.py"]
    store = {"MLFLOW_TRACKING_URI": "sqlite:///runs.db", "MLFLOW_DISABLE_TELEMETRY": "true"}
    subprocess.run(run, cwd=tmp_path, env=store, check=True, capture_output=True, timeout=120)
    model = next(path.parent for path in tmp_path.rglob("MLmodel"))
    rows = features(FLIGHTS, WEATHER)

    answers = load(model, Task.BINARY).score(rows.slice(0, 2))
    assert len(answers) == 2
    new_route = rows.slice(0, 1).set_column(
        rows.column_names.index("dest"), "dest", pa.array(["HDN"])
    )
    if chapter.name == "brittle":
        with pytest.raises(NotJudgedError, match="KeyError"):
            load(model, Task.BINARY).score(new_route)
    else:
        assert len(load(model, Task.BINARY).score(new_route)) == 1
