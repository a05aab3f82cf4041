"""Whatever stands in mlops.yaml, it loads or is refused with a place; it never crashes."""

from __future__ import annotations

import functools
import json
import random
import re
import time
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.real_repo import CONFIG
from tidegate.errors import ConfigError
from tidegate.load import load_fully
from tidegate.problems import BadConfigError
from tidegate.yaml12 import parse

if TYPE_CHECKING:
    from collections.abc import Callable

TOP = Path(__file__).parents[1]
FULL = """\
version: 1
model: {name: demand, task: regression}
data: {train: "${D}/a.csv", holdout: b.csv, target: y, id: id, time: t}
checks:
  - {run: pytest -q, timeout: 5m}
train: {run: "python train.py", timeout: 2h}
predict: {run: ./predict.sh, serve: ./serve.sh, timeout: 90s}
gate:
  confidence: 0.99
  rules:
    - {metric: rmse, at_most: 12.5, margin: 1%, on: point}
    - {metric: latency_p95_ms, at_most: 20}
  slices:
    - {by: [shop, day], metric: mae, margin: 3%, min_rows: 50, critical: true}
registry: {uri: "https://${HOST}/"}
release:
  target: local
  endpoint: shop
  local: {port: 9000, timeout: 2s}
  canary:
    interval: 1m
    warmup: 3m
    steps: [1%, 10%, 50%]
    bake: 1h
    deadline: 2d
    min_requests: 300
    on_expire: hold
    on_newer: queue
    false_revert_rate: 0.02
    false_promote_rate: 0.1
    labels: {from: labels.jsonl, within: 2h, every: 10m, required: true}
    probation: {for: 1d, holdback: 5%}
    guards:
      - {metric: error_rate, margin: 1.25x, negligible: 0.5%}
      - {metric: slow_requests, slower_than: 250ms, margin: 1.5x}
      - {metric: label_loss, margin: 5%, clip: 40}
"""
LINE = re.compile(r":\d+:\d+: [^\n]+: got [^\n]+, expected [^\n]+$|:\d+:\d+: \(top\): [^\n]+$")
ODD: list[Any] = [
    None, True, False, 0, -1, 1, 0.0, -0.0, 1e-300, 1e300, 10**39, -(10**39), 0.5, "", " ", "0", "1x",
    "0x", "1e5x", "99999999999999999999%", "-5%", "0%", "100%", "1.5.5x", "0s", "1e9d", "999999999999d",
    "0.0000001s", "٣%", "５m", "名", "\u0000", "\u202e", "\U0001f600" * 50, "${", "${}", "${X}${", "x" * 5000,
    [], {}, [[]], [None], {"a": {"b": {}}}, {"": 1}, {"\n": 1}, {"__class__": 1}, ["5%"] * 300,
]  # fmt: skip


@functools.cache
def good() -> tuple[str, ...]:
    examples = [path.read_text() for path in sorted((TOP / "examples").rglob("mlops.yaml"))]
    assert examples
    return (FULL, json.dumps(CONFIG, indent=1), *examples)


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every key and item."""
    children = (
        data.items()
        if isinstance(data, dict)
        else enumerate(data)
        if isinstance(data, list)
        else ()
    )
    found = []
    for key, value in children:
        found += [(*path, key), *places(value, (*path, key))]
    return found


def misspelt(rng: random.Random, key: str) -> str:
    index = rng.randrange(len(key) + 1)
    return key[:index] + rng.choice(["", "x", "_", "é", "\n", " ", "%"]) + key[index + 1 :]


def mutated(rng: random.Random, text: str) -> str:
    """Change the data in one to three places and write it as JSON, which is YAML."""
    data = deepcopy(parse(text).data)
    for _ in range(rng.randint(1, 3)):
        where = places(data)
        if not where:
            break
        *parents, key = rng.choice(where)
        here = data
        for part in parents:
            here = here[part]
        match rng.randrange(5):
            case 0:
                del here[key]
            case 1:
                here[key] = deepcopy(rng.choice(ODD))
            case 2:
                here[key] = [here[key]] if rng.random() < 0.5 else {"value": here[key]}
            case 3 if isinstance(here, dict):
                here[misspelt(rng, key)] = here.pop(key)
            case _ if isinstance(here, list):
                here.append(deepcopy(rng.choice(here)))
            case _:
                here[key] = deepcopy(rng.choice(list(here.values())))
    return json.dumps(data, ensure_ascii=rng.random() < 0.5)


def scrambled(rng: random.Random, text: str) -> str:
    """Change the text itself: characters in, out and double."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(text) + 1)
        piece = rng.choice(
            ["\t", "\n", ":", "- ", "{", "}", "[", "]", "&a ", "*a", "!t ", "<<: ", "|\n", ">", "%", "'",
             '"', "#", "?", "\x00", "\x85", "\u2028", "\ufeff", "\r", "1e999", "0o9", ".nan", "---\n", "é"]
        )  # fmt: skip
        text = text[:at] + piece + text[at + rng.choice([0, 0, 1, 20]) :]
    return text


def doubled(rng: random.Random, text: str) -> str:
    """Repeat a line."""
    lines = text.splitlines(keepends=True)
    index = rng.randrange(len(lines))
    return "".join([*lines[:index], lines[index], *lines[index:]])


def nested(rng: random.Random, text: str) -> str:
    depth = rng.choice([1, 31, 32, 33, 40, 3000])
    return text + f"more: {'[' * depth}{rng.choice(['', ']' * depth])}\n"


MUTANTS: list[Callable[[random.Random, str], str]] = [mutated, mutated, scrambled, doubled, nested]


def survives(path: Path, content: bytes) -> bool:
    """Load the content; return whether it was good. A refusal must tell the place."""
    path.write_bytes(content)
    try:
        load_fully(path)
    except BadConfigError as error:
        for line in error.lines:
            assert line.startswith(f"{path}:"), line
            assert LINE.match(line.removeprefix(str(path))), line
            assert line.isprintable(), ascii(line)
            assert len(line) < 2000, line
        return False
    except ConfigError as error:
        raise AssertionError(f"no place: {error}") from error
    return True


def fuzz(path: Path, cases: int, seed: int) -> tuple[int, float]:
    """Return how many cases were good files, and the processor time of the slowest."""
    rng = random.Random(seed)
    accepted, slowest = 0, 0.0
    for case in range(cases):
        text = rng.choice(MUTANTS)(rng, rng.choice(good()))
        began = time.process_time()
        try:
            accepted += survives(path, text.encode(errors="surrogatepass"))
        except BaseException:
            print(f"case {case} of seed {seed}:\n{text}")
            raise
        slowest = max(slowest, time.process_time() - began)
    return accepted, slowest


def test_all_the_good_files_load(tmp_path: Path) -> None:
    for text in good():
        assert survives(tmp_path / "mlops.yaml", text.encode())


def test_500_mutants_load_or_are_refused_with_a_place(tmp_path: Path) -> None:
    accepted, slowest = fuzz(tmp_path / "mlops.yaml", 500, seed=1)
    assert 10 < accepted < 400, "the mutants test nothing"
    assert slowest < 1.0


def test_a_file_that_ends_at_any_byte_loads_or_is_refused_with_a_place(tmp_path: Path) -> None:
    content = FULL.replace("shop", "läden").encode()
    for end in range(0, len(content), 3):
        survives(tmp_path / "mlops.yaml", content[:end])


@pytest.mark.parametrize("value", ODD, ids=lambda value: ascii(value)[:20])
def test_an_odd_value_anywhere_is_refused_with_a_place(tmp_path: Path, value: object) -> None:
    for where in places(parse(FULL).data):
        data = parse(FULL).data
        here = data
        for part in where[:-1]:
            here = here[part]
        here[where[-1]] = value
        survives(tmp_path / "mlops.yaml", json.dumps(data).encode())


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(10))
def test_100_000_mutants(tmp_path: Path, seed: int) -> None:
    _, slowest = fuzz(tmp_path / "mlops.yaml", 10_000, seed=100 + seed)
    assert slowest < 2.0


@pytest.mark.heavy
def test_every_good_file_cut_at_every_byte(tmp_path: Path) -> None:
    for text in good():
        content = text.encode()
        for end in range(len(content)):
            survives(tmp_path / "mlops.yaml", content[:end])
