"""profile.json and tables in parts: what is written is read back, and what is wrong is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tidegate import profiles
from tidegate.core.profile import Profile, TableSketch
from tidegate.errors import ConfigError, NotJudgedError
from tidegate.parts import Parts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TABLE = pa.table({"x": [0.5, 1.5, None, 2.5], "t": ["a", "b", "a", None], "y": [0, 1, 1, 1]})


def made() -> Profile:
    sketch = TableSketch(["x", "t", "y"], edges={"x": (0.5, 1.5)}, target="y", discrete=True)
    sketch.update(TABLE)
    return sketch.finish()


def test_what_is_written_is_read_back_and_the_same_profile_is_the_same_bytes(
    tmp_path: Path,
) -> None:
    for name in ("a.json", "b.json"):
        profiles.save(tmp_path / name, made())
    assert profiles.read(tmp_path / "a.json") == made()
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def _set(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data["columns"][0].update(changes)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_set(nulls=5), "the counts of column 'x' do not add up"),
        (_set(edges=[1.5, 0.5]), "the counts of column 'x' do not add up"),
        (_set(bins=[1, 2]), "the counts of column 'x' do not add up"),
        (_set(bins=[1, 2, 9]), "the counts of column 'x' do not add up"),
        (_set(kind="numbr"), "columns[0].kind: got 'numbr', expected one of number, text"),
        (_set(bins=[-1, 1, 1]), "columns[0].bins[0]: got -1, expected"),
        (_set(more=1), "an unknown key 'more'"),
        (lambda data: data.update(version=2), "version: got 2, expected 1"),
        (lambda data: data.pop("reads"), "expected the key 'reads'"),
    ],
)
def test_a_profile_that_is_none_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], says: str
) -> None:
    path = tmp_path / "profile.json"
    profiles.save(path, made())
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(NotJudgedError) as caught:
        profiles.read(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", '{"version": NaN}', "[" * 100_000])
def test_what_is_no_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "profile.json").write_text(text)
    with pytest.raises(NotJudgedError, match=r"profile\.json"):
        profiles.read(tmp_path / "profile.json")


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_tables_parts_are_the_table(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows.{suffix}"
    table = pa.table({"a": range(300_000), "b": [str(i) for i in range(300_000)]})
    if suffix == "csv":
        from pyarrow import csv

        csv.write_csv(table, path)
    else:
        pq.write_table(table, path, row_group_size=70_000)
    parts = Parts.of(path)
    assert parts.names == ("a", "b")
    found = list(parts.each(["a"]))
    assert max(part.num_rows for part in found) <= 1 << 17
    assert [part.column_names for part in found] == [["a"]] * len(found)
    assert pa.concat_tables(found)["a"].to_pylist() == list(range(300_000))
    sample = parts.sample(["a"])["a"].to_pylist()
    assert 60_000 <= len(sample) <= 1 << 16
    assert (sample[0], sample[-1]) == (0, 299_999)


def test_a_table_without_rows_has_none_to_sample(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(TABLE.slice(0, 0), path)
    assert Parts.of(path).sample(["x"]).num_rows == 0
    assert sum(part.num_rows for part in Parts.of(path).each(["x"])) == 0


@pytest.mark.parametrize("content", [b"", b"PAR1", b"x" * 400])
def test_what_is_no_table_says_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"rows\.parquet: "):
        Parts.of(path)


def test_a_file_cut_off_in_the_middle_says_so(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": range(10_000)}), path, compression="none", use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[4:60_000] = b"\xff" * (60_000 - 4)  # the footer stays
    path.write_bytes(bytes(data))
    with pytest.raises(ConfigError, match="not a readable Parquet or CSV file"):
        list(Parts.of(path).each(["a"]))


def test_bins_are_inherited_so_that_versions_can_be_compared(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(TABLE, path)
    parts = Parts.of(path)
    assert profiles.edges(parts, ["x", "t"], None) == {"x": (0.5, 1.5, 2.5)}
    assert profiles.edges(parts, ["x", "y"], made()) == {"x": (0.5, 1.5), "y": (0.0, 1.0)}
    assert profiles.edges(parts, [], made()) == {"x": (0.5, 1.5)}
