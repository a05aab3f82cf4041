# ruff: noqa: DTZ001 (local clocks, as in the data)
"""The flights as rows: features, truth, timetable."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa
import pytest

from tidegate.demo.data import features, summer_timetable
from tidegate.demo.questions import autumn, questions

FLIGHTS = pa.table(
    {
        "year": [2013, 2013, 2013, 2013],
        "month": [1, 1, 9, 1],
        "day": [2, 1, 1, 1],
        "sched_dep_time": [600, 2300, 905, 700],
        "sched_arr_time": [745, 110, 1105, 800],
        "dep_delay": [3.0, -4.0, 20.0, None],
        "arr_delay": [16.0, 15.0, -3.0, None],
        "carrier": ["UA", "B6", "UA", "AA"],
        "flight": [7, 20, 7, 1],
        "origin": ["EWR", "JFK", "EWR", "LGA"],
        "dest": ["IAH", "BQN", "IAH", "ORD"],
        "distance": [1400.0, 1576.0, 1400.0, 733.0],
        "hour": [6, 23, 9, 7],
        "minute": [0, 0, 5, 0],
        "time_hour": ["a", "b", "c", "d"],
    }
)
WEATHER = pa.table(
    {
        "origin": ["EWR", "JFK"],
        "time_hour": ["a", "b"],
        **{name: [1.5, 2.5] for name in ("temp", "dewp", "humid", "wind_dir", "wind_speed")},
        **{name: [None, 2.5] for name in ("wind_gust", "precip", "pressure", "visib")},
    }
)


def test_one_row_per_flight_that_arrived_in_time_order_with_the_weather_at_its_origin() -> None:
    rows = features(FLIGHTS, WEATHER).to_pylist()

    assert [row["flight_id"] for row in rows] == ["B620-JFK-0101", "UA7-EWR-0102", "UA7-EWR-0901"]
    assert rows[1] == {
        "flight_id": "UA7-EWR-0102",
        "scheduled": datetime(2013, 1, 2, 6, 0),
        "month": 1, "day": 2, "weekday": 2, "hour": 6, "minute": 0,
        "carrier": "UA", "flight": 7, "origin": "EWR", "dest": "IAH", "distance": 1400.0,
        "temp": 1.5, "dewp": 1.5, "humid": 1.5, "wind_dir": 1.5, "wind_speed": 1.5,
        "wind_gust": None, "precip": None, "pressure": None, "visib": None,
        "dep_delay": 3.0, "late": 1,
    }  # fmt: skip
    assert rows[2]["temp"] is None, "an hour without a report"


def test_late_is_more_than_fifteen_minutes() -> None:
    late = {row["flight_id"]: row["late"] for row in features(FLIGHTS, WEATHER).to_pylist()}

    assert late == {"B620-JFK-0101": 0, "UA7-EWR-0102": 1, "UA7-EWR-0901": 0}


def test_the_summer_timetable_knows_routes_and_weekdays_up_to_july_and_counts_over_midnight() -> (
    None
):
    assert summer_timetable(FLIGHTS).to_pylist() == [
        {"carrier": "AA", "origin": "LGA", "dest": "ORD", "weekday": 1, "planned_minutes": 60.0},
        {"carrier": "B6", "origin": "JFK", "dest": "BQN", "weekday": 1, "planned_minutes": 130.0},
        {"carrier": "UA", "origin": "EWR", "dest": "IAH", "weekday": 2, "planned_minutes": 105.0},
    ]


def test_a_question_carries_what_is_known_when_a_flight_is_scheduled() -> None:
    question = next(questions(features(FLIGHTS, WEATHER).slice(1), "~2"))
    head, body = question.request.split(b"\r\n\r\n")

    assert (question.id, question.label) == ("UA7-EWR-0102~2", 1)
    assert b"x-request-id: UA7-EWR-0102~2" in head
    assert b'"carrier":"UA"' in body
    assert b'"wind_gust":null' in body
    for hidden in (b"dep_delay", b"late", b"scheduled", b"flight_id"):
        assert hidden not in body


def test_no_id_is_asked_twice_when_the_flights_run_out() -> None:
    source = questions(features(FLIGHTS, WEATHER), "", start=1)

    assert [next(source).id for _ in range(4)] == [
        "UA7-EWR-0102", "UA7-EWR-0901", "B620-JFK-0101+1", "UA7-EWR-0102+1",
    ]  # fmt: skip


@pytest.mark.parametrize(("month", "asked"), [(8, 0), (9, 1), (11, 1), (12, 0)])
def test_the_replay_is_of_autumn(month: int, asked: int) -> None:
    live = pa.table({"scheduled": pa.array([datetime(2013, month, 1)], pa.timestamp("ms"))})

    assert autumn(live).num_rows == asked
