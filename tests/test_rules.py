"""Whose rules judge a pull request: its base's, wherever the request moves or breaks its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tidegate.errors import ConfigError, OutsideError
from tidegate.git import text
from tidegate.load import load_fully
from tidegate.rules import agreed_at, judged_by

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate.core.config import Config
    from tidegate.render.report import RuleChange

pytestmark = pytest.mark.real

GOOD = """\
version: 1
model: {name: churn, task: binary}
data: {train: a.csv, holdout: b.csv, target: y, id: id}
train: {run: python train.py}
gate:
  rules:
    - {metric: roc_auc, at_least: 0.75, margin: 0.005}
"""
LOWER = GOOD.replace("0.75", "0.5")


@dataclass
class Repository:
    """A repository in which a base and a pull request's commit are made."""

    path: Path
    base: str = field(default="", init=False)

    @classmethod
    def make(cls, path: Path) -> Repository:
        path.mkdir()
        text(path, "init", "--quiet")
        text(path, "config", "user.name", "Ada")
        text(path, "config", "user.email", "ada@example.org")
        return cls(path)

    def commit(self, **files: str | None) -> str:
        for name, content in files.items():
            path = self.path / name.replace("__", "/").replace("_yaml", ".yaml").replace(
                "_csv", ".csv"
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.unlink()
            else:
                path.write_text(content)
        text(self.path, "add", "--all")
        text(self.path, "commit", "--quiet", "--allow-empty", "-m", "change")
        self.base, new = text(self.path, "rev-parse", "HEAD~1") if self.base else "first", "HEAD"
        return text(self.path, "rev-parse", new)

    def judged(
        self, base: str | None = "HEAD^1", *, file: str = "mlops.yaml"
    ) -> tuple[Config, dict[str, tuple[str | None, str | None]]]:
        path = self.path / file
        config, changes = judged_by(self.path, path.resolve(), load_fully(path), base)
        return config, told(changes)


def told(changes: tuple[RuleChange, ...]) -> dict[str, tuple[str | None, str | None]]:
    found = {change.key: (change.before, change.after) for change in changes}
    assert len(found) == len(changes)
    return found


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repository = Repository.make(tmp_path / "r")
    repository.commit(mlops_yaml=GOOD, b_csv="id,y\n1,1\n", a_csv="x\n")
    return repository


def floor(config: Config) -> float | None:
    return config.gate.rules[0].at_least


def test_a_lowered_threshold_does_not_help_and_is_named(repository: Repository) -> None:
    repository.commit(mlops_yaml=LOWER)
    config, changes = repository.judged()
    assert floor(config) == 0.75
    assert changes == {
        "gate.rules[roc_auc]": (
            '{"at_least": 0.75, "margin": 0.005}', '{"at_least": 0.5, "margin": 0.005}',
        )
    }  # fmt: skip
    own = load_fully(repository.path / "mlops.yaml").config
    assert config.digest == own.digest  # it was trained with its own file
    assert config.rules_digest != own.rules_digest


def test_nothing_changed_is_nothing_told(repository: Repository) -> None:
    repository.commit(mlops_yaml=f"# a comment\n{GOOD}")
    config, changes = repository.judged()
    assert (floor(config), changes) == (0.75, {})


def test_without_a_base_the_files_own_rules_hold(repository: Repository) -> None:
    repository.commit(mlops_yaml=LOWER)
    config, changes = repository.judged(None)
    assert (floor(config), changes) == (0.5, {})


def test_a_model_that_is_new_has_no_rules_but_its_own(repository: Repository) -> None:
    repository.commit(new__mlops_yaml=LOWER.replace("churn", "credit"))
    config, changes = repository.judged(file="new/mlops.yaml")
    assert (floor(config), changes) == (0.5, {})


def test_a_model_that_moves_takes_its_rules_along(repository: Repository) -> None:
    repository.commit(mlops_yaml=None, models__mlops_yaml=LOWER)
    config, changes = repository.judged(file="models/mlops.yaml")
    assert floor(config) == 0.75
    assert changes["the path of mlops.yaml"] == ("mlops.yaml", "models/mlops.yaml")


def test_a_copy_beside_the_first_file_is_judged_like_it(repository: Repository) -> None:
    repository.commit(copy__mlops_yaml=LOWER)
    assert floor(repository.judged(file="copy/mlops.yaml")[0]) == 0.75


@pytest.mark.parametrize(
    "base", ["f" * 40, "HEAD~99", "--output=x", "HEAD:mlops.yaml", "", "no such"]
)
def test_a_base_that_is_not_here_is_no_leave_to_judge_by_ones_own_rules(
    repository: Repository, base: str
) -> None:
    with pytest.raises(OutsideError, match="the commit whose rules judge is not here"):
        repository.judged(base)
    assert not (repository.path / "x").exists()


@pytest.mark.parametrize(
    "before", ["version: 7\n", "{", "\0", ""], ids=["old", "no YAML", "NUL", "empty"]
)
def test_a_base_whose_file_does_not_load_is_named(tmp_path: Path, before: str) -> None:
    repository = Repository.make(tmp_path / "r")
    repository.commit(mlops_yaml=before)
    repository.commit(mlops_yaml=LOWER)
    config, changes = repository.judged()
    assert floor(config) == 0.5
    assert changes == {"mlops.yaml": ("does not load", "loads: its own rules")}


def test_another_task_is_a_clear_error(repository: Repository) -> None:
    other = GOOD.replace("task: binary", "task: regression").replace(
        "roc_auc, at_least", "rmse, at_most"
    )
    repository.commit(mlops_yaml=other)
    with pytest.raises(
        ConfigError, match=r"model\.task is regression here and binary before"
    ) as caught:
        repository.judged()
    assert "a model of its own" in caught.value.remedy


def test_other_holdout_rows_are_named(repository: Repository) -> None:
    repository.commit(b_csv="id,y\n1,0\n")
    ((key, (before, after)),) = repository.judged()[1].items()
    assert key == "the rows of b.csv"
    assert before != after


def test_a_holdout_that_becomes_a_link_to_easier_rows_is_named(repository: Repository) -> None:
    (repository.path / "b.csv").unlink()
    (repository.path / "b.csv").symlink_to("easy.csv")
    repository.commit(easy_csv="id,y\n1,1\n2,1\n")
    assert "the rows of b.csv" in repository.judged()[1]


def test_another_holdout_file_is_named_by_its_key(repository: Repository) -> None:
    repository.commit(mlops_yaml=GOOD.replace("b.csv", "c.csv"), c_csv="id,y\n")
    assert repository.judged()[1] == {"data.holdout": ('"b.csv"', '"c.csv"')}


@pytest.mark.parametrize(
    ("after", "keys"),
    [
        (GOOD.replace("name: churn", "name: credit"), {"model.name"}),
        (GOOD.replace("target: y", "target: z"), {"data.target"}),
        (GOOD + "  confidence: 0.6\n", {"gate.confidence"}),
        (GOOD + "predict: {run: cheat.sh}\n", {"predict.run"}),
        (
            GOOD + "  slices:\n    - {by: [region], metric: roc_auc, margin: 0.5}\n",
            {"gate.slices[roc_auc by region]"},
        ),
        (GOOD.replace("roc_auc", "brier").replace("at_least", "at_most"), {"gate.rules[roc_auc]", "gate.rules[brier]"}),
        (GOOD.replace("python train.py", "python other.py"), set()),
    ],
    ids=["name", "target", "confidence", "predict", "slices", "metric", "training"],
)  # fmt: skip
def test_what_bears_on_the_judgement_is_named(
    repository: Repository, after: str, keys: set[str]
) -> None:
    repository.commit(mlops_yaml=after)
    config, changes = repository.judged()
    assert set(changes) == keys
    assert (config.gate.rules[0].metric, floor(config)) == ("roc_auc", 0.75)
    assert config.gate.confidence == 0.95


def test_two_rules_of_one_metric_do_not_hide_each_other(tmp_path: Path) -> None:
    both = GOOD.replace(", margin: 0.005}", "}\n    - {metric: roc_auc, margin: 0.005}")
    repository = Repository.make(tmp_path / "r")
    repository.commit(mlops_yaml=both)
    repository.commit(mlops_yaml=both.replace("0.75", "0.5"))
    try:
        changes = repository.judged()[1]
    except ConfigError:  # where the file may not say so at all
        return
    assert changes == {"gate.rules[roc_auc]": ('{"at_least": 0.75}', '{"at_least": 0.5}')}


# --- the functions of own metrics -----------------------------------------------------------

OWN = GOOD.replace(
    "gate:\n",
    'gate:\n  metrics: [{name: profit, run: "m.py:profit", direction: higher}]\n',
    1,
).replace("rules:\n", "rules:\n    - {metric: profit, margin: 1}\n", 1)


@pytest.mark.parametrize(
    ("change", "file", "folder"),
    [
        ({"mlops_yaml": OWN + "# more\n"}, "mlops.yaml", ""),
        ({"mlops_yaml": None, "new__mlops_yaml": OWN}, "new/mlops.yaml", ""),
        ({"new__mlops_yaml": OWN.replace("churn", "credit")}, "new/mlops.yaml", None),
    ],
    ids=["the same place", "moved", "a new model"],
)
def test_functions_are_taken_from_where_the_agreed_rules_stand(
    repository: Repository, change: dict[str, str | None], file: str, folder: str | None
) -> None:
    repository.commit(mlops_yaml=OWN)
    repository.commit(**change)
    path = (repository.path / file).resolve()
    found = agreed_at(repository.path, path, load_fully(path).config.model.name, "HEAD^1")
    assert (None if found is None else found.folder) == folder
    if found is not None:
        assert found.commit == text(repository.path, "rev-parse", "HEAD^1")


def test_rules_that_did_not_load_before_leave_the_functions_that_are_there(
    repository: Repository,
) -> None:
    repository.commit(mlops_yaml="broken")
    repository.commit(mlops_yaml=OWN)
    path = (repository.path / "mlops.yaml").resolve()
    assert agreed_at(repository.path, path, "churn", "HEAD^1") is None


def test_a_changed_function_is_named(repository: Repository) -> None:
    repository.commit(mlops_yaml=OWN)
    (repository.path / "m.py").write_text("first")
    repository.commit()
    (repository.path / "m.py").write_text("second")
    repository.commit()
    (key,) = repository.judged()[1]
    assert key == "the functions of m.py"
    (repository.path / "m.py").unlink()
    repository.commit()
    assert repository.judged()[1]["the functions of m.py"][1] is None
