"""predict.environment and model.formats: read, judged by a pull request's base, and told in the verdict."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from tests.models import probe
from tests.test_rules import GOOD, Repository
from tidegate.cases import MOST_NOTE, plain
from tidegate.commands.conditions import conditions
from tidegate.core.config import Environment, Format
from tidegate.core.model import Cause, Outcome
from tidegate.errors import ConfigError
from tidegate.load import loads
from tidegate.render.verdict import reason

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.commands.evaluate import Evaluation
    from tidegate.core.config import Config

SAFE = GOOD.replace("task: binary}", "task: binary, formats: [safe]}")


def evaluated(**notes: str) -> Evaluation:
    return cast("Evaluation", SimpleNamespace(environments=notes))


def config(text: str) -> Config:
    return loads("mlops.yaml", text).config


def test_what_is_not_written_is_every_format_and_the_recorded_environment_where_it_can_be_had() -> (
    None
):
    read = config(GOOD)
    assert read.predict.environment is Environment.AUTO
    assert read.model.formats == (Format.SAFE, Format.PICKLE, Format.CODE)
    assert (
        config(GOOD + "predict: {environment: recorded}\n").predict.environment
        is Environment.RECORDED
    )
    assert config(SAFE).model.formats == (Format.SAFE,)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD + "predict: {environment: recoded}\n", "predict.environment: got 'recoded'"),
        (GOOD.replace("task: binary}", "task: binary, formats: [save]}"), "got 'save'"),
        (GOOD.replace("task: binary}", "task: binary, formats: []}"), "model.formats"),
        (GOOD.replace("task: binary}", "task: binary, formats: safe}"), "model.formats"),
    ],
)  # fmt: skip
def test_anything_else_does_not_load(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loads("mlops.yaml", text)
    assert says in str(caught.value)


def test_formats_are_rules_of_the_base_and_another_verdicts_rules() -> None:
    assert config(SAFE).rules_digest != config(GOOD).rules_digest
    assert (
        config(GOOD + "predict: {environment: engine}\n").rules_digest == config(GOOD).rules_digest
    )


@pytest.mark.real
def test_a_request_that_allows_more_formats_is_judged_by_its_bases(tmp_path: Path) -> None:
    repository = Repository.make(tmp_path / "r")
    repository.commit(mlops_yaml=SAFE)
    repository.commit(mlops_yaml=GOOD)
    judged, changes = repository.judged()
    assert judged.model.formats == (Format.SAFE,)
    assert list(changes) == ["model.formats"]


def test_a_verdict_says_what_loading_runs_and_where_a_model_ran(tmp_path: Path) -> None:
    probe(tmp_path / "model")
    found = list(conditions(tmp_path, config(GOOD), evaluated(champion="numpy==1.0, here 2.0")))
    assert [(f.cause, f.decides) for f in found] == [
        (Cause.FORMAT, False),
        (Cause.ENVIRONMENT, False),
    ]
    assert [reason(f, 0.95) for f in found] == [
        "loading the model runs code that it carries (code: Python files beside the model are imported)",
        "scored in another environment than the model recorded (champion: numpy==1.0, here 2.0)",
    ]
    (rejected,) = conditions(tmp_path, config(SAFE), evaluated())
    assert (rejected.outcome, rejected.decides) == (Outcome.REJECT, True)
    assert reason(rejected, 0.95) == (
        "loading the model may run what model.formats does not allow "
        "(code: Python files beside the model are imported)"
    )
    (long,) = conditions(tmp_path / "none", config(GOOD), evaluated(candidate="x" * 1000))
    assert long.column is not None
    assert len(long.column) == 300


def test_a_note_is_one_bounded_line_of_printable_characters() -> None:
    assert plain("a\n\tb\x00\x1b[31m\u2028c\ud800") == "a b[31m c"
    assert len(plain("x" * 5000)) == MOST_NOTE
