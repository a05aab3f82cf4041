"""Names that a stranger chooses, and a repository with two models: small data, the real workflows."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.act.house import House
from tests.act.world import WORKFLOW, World, git
from tidegate.render import starter

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.workflows,
    pytest.mark.timeout(400),
    pytest.mark.xdist_group("act-hostile"),
]

# What a shell, a workflow expression, Markdown or the runner's protocol would act on.
HOSTILE = (
    "$(touch {harm}) `touch {harm}` ${{{{ github.token }}}} ; touch {harm} # "
    "<img src=x> | ::set-output name=verdict::pass %0A::error::x"
)

TRAIN = """
import mlflow, numpy as np, pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

rows = pd.read_parquet("data/train.parquet")
x = rows[["x"]]
model = LogisticRegression().fit(x, rows["y"])
print("::set-output name=model::forged")
mlflow.sklearn.log_model(model, name="model", signature=infer_signature(x, rows["y"]),
                         pip_requirements=["scikit-learn", "pandas"])
"""


def table(seed: int, column: str, value: str, rows: int = 3000) -> bytes:
    """Return rows with one useful column and one of a stranger's name and values."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=rows)
    columns = {
        "id": [f"{seed}-{n}" for n in range(rows)],
        "x": x,
        "y": (draw.normal(size=rows) < x).astype("int8"),
        column: [value, "plain"] * (rows // 2),
    }
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def model(name: str, folder: str, column: str, value: str) -> dict[str, str | bytes | None]:
    """Return the files of a model."""
    quoted = column.replace("'", "''")
    config = f"""version: 1
model: {{name: {name}, task: binary}}
data: {{train: data/train.parquet, holdout: data/holdout.parquet, target: y, id: id}}
train: {{run: python train.py, timeout: 5m}}
gate:
  rules: [{{metric: roc_auc, at_least: 0.6}}]
  slices: [{{by: ['{quoted}'], metric: roc_auc, margin: 0.1, min_rows: 100}}]
registry: {{store: github-releases}}
release: {{local: {{port: 8911}}}}
"""
    return {
        f"{folder}mlops.yaml": config,
        f"{folder}train.py": TRAIN,
        f"{folder}data/train.parquet": table(1, column, value),
        f"{folder}data/holdout.parquet": table(2, column, value),
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("hostile")
    text = HOSTILE.format(harm=folder / "harm")
    with World.made(folder, House.copy(folder / "house")) as made:
        made.commit(
            "Two models",
            {
                **model("one", "one/", text, text),
                **model("two", "two/", "group", "a"),
                WORKFLOW: starter.workflow("main", training={}, operating={}),
            },
        )
        git(made.work, "push", "--quiet", "origin", "main")
        yield made


def test_only_the_model_that_is_touched_runs_and_hostile_names_stay_text(world: World) -> None:
    harm = world.folder / "harm"
    title = HOSTILE.format(harm=harm)
    world.branch("x$(touch${IFS}harm)`id`;${{github.token}}")
    world.commit(title, {"one/train.py": f"{TRAIN}\n"})
    pull = world.propose("x$(touch${IFS}harm)`id`;${{github.token}}", title=title)
    result = world.check(pull)
    assert not result.red, result.failures()
    trained = [job for job in result.ran if job.endswith("/train")]
    assert trained == ["check/model[one,one/mlops.yaml]/train"]
    (comment,) = world.hub.state.comments
    (check,) = world.hub.state.checks
    assert check["conclusion"] == "success"
    for said in (comment["body"], check["output"]["summary"]):
        assert "<img" not in said
        assert world.hub.token not in said
    decided = result.job("check/model[one,one/mlops.yaml]/decide")
    assert decided.outputs["decide"]["verdict"] == "pass"
    assert not harm.exists()
    assert not list(world.folder.glob("runs/**/harm"))
    assert world.hub.token not in result.raw


def test_in_the_merge_queue_the_other_model_is_judged_by_the_bases_rules(world: World) -> None:
    world.branch("queued")
    config = str(model("two", "two/", "group", "a")["two/mlops.yaml"])
    world.commit(
        "Raise the bar", {"two/mlops.yaml": config.replace("at_least: 0.6", "at_least: 1")}
    )
    comments = len(world.hub.state.comments)
    pull = world.propose("queued", title="Raise the bar")
    result = world.queue(pull)
    assert not result.red, result.failures()  # the base asks for 0.6 only
    trained = [job for job in result.ran if job.endswith("/train")]
    assert trained == ["check/model[two,two/mlops.yaml]/train"]
    check = world.hub.state.checks[-1]
    assert (check["head_sha"], check["conclusion"]) == (pull.merge_sha, "success")
    assert len(world.hub.state.comments) == comments  # which pull request it is, is not said there


def test_a_hostile_models_or_metrics_name_is_an_error_and_nothing_runs(world: World) -> None:
    harm = world.folder / "harm"
    text = HOSTILE.format(harm=harm)
    world.branch("named")
    quoted = json.dumps(text)
    metric = str(model("one", "one/", "group", "a")["one/mlops.yaml"]).replace("roc_auc", quoted)
    name = str(model("two", "two/", "group", "a")["two/mlops.yaml"]).replace(
        "name: two", f"name: {quoted}"
    )
    world.commit("Named", {"one/mlops.yaml": metric, "two/mlops.yaml": name})
    comments = len(world.hub.state.comments)
    result = world.check(world.propose("named", title="Named"))
    assert result.red
    assert {job.path: job.result for job in result.jobs.values()}["check/verdict"] == "failure"
    find = result.job("check/find")
    assert find.result == "failure"
    assert "one/mlops.yaml:6:20: gate.rules[0].metric: got" in find.log
    assert "two/mlops.yaml:2:15: model.name: got" in find.log
    assert [level for level, _ in find.annotations if level == "error"]
    assert not find.outputs["find"]["verdict"]  # what the name said is no command
    assert not [job for job in result.ran if "model" in job]
    assert not harm.exists()
    assert len(world.hub.state.comments) == comments


def test_the_token_is_in_no_artifact_and_no_log(world: World) -> None:
    token = world.hub.token.encode()
    secrets = [token, base64.b64encode(token), base64.b64encode(b"x-access-token:" + token)]
    seen = 0
    for path in sorted(world.artifacts.glob("*/*.zip")):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                seen += 1
                content = archive.read(name)
                assert not [s for s in secrets if s in content], f"{path}: {name}"
    assert seen > 5
    for job in (job for run in world.runs for job in run.jobs.values()):
        told = "".join([job.log, job.summary, *(text for _, text in job.annotations)]).encode()
        assert not [s for s in secrets if s in told], job.path
