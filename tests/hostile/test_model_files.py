"""A model whose loading runs code, through every verb that may hold a credential: none of them loads it."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from tests.jobs import Jobs, hand_over
from tests.real_repo import Repo, training
from tidegate import verdicts
from tidegate.core.model import Cause, Outcome
from tidegate.git import text

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real

MLMODEL = {
    "flavors": {
        "python_function": {"loader_module": "mlflow.sklearn", "model_path": "model.pkl"},
        "sklearn": {"pickled_model": "model.pkl", "serialization_format": "cloudpickle", "code": "code"},
    }
}  # fmt: skip


def baited(root: Path, trap: Path, **changes: Any) -> Jobs:
    """Return the jobs of a push whose model is a good one, with traps in every file that loads."""
    repo = Repo.make(root / "repo", **changes)
    bait = f"cos\nsystem\n(S'touch {trap}'\ntR."
    spring = f"open({str(trap)!r}, 'w')\n"
    files = {
        "MLmodel": json.dumps(MLMODEL), "model.pkl": bait, "requirements.txt": "tidegate-trap==1\n",
        "python_env.yaml": "python: 3.11.1\n", "code/sitecustomize.py": spring, "code/sklearn.py": spring,
    }  # fmt: skip
    lines = [training(0.9), 'mkdir -p "$TIDEGATE_MODEL_DIR/code"\n']
    for name, content in files.items():
        lines.append(f'cat > "$TIDEGATE_MODEL_DIR/{name}" <<"END"\n{content}\nEND\n')
    commit = repo.commit("".join(lines))
    text(repo.path, "push", "--quiet", "origin", "HEAD:main")
    return Jobs(root / "run", repo, commit)


def test_no_verb_that_may_hold_a_credential_loads_a_model(tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    jobs = baited(tmp_path, trap)
    given = hand_over(jobs)
    job = jobs.job()
    assert job.tidegate("decide", *given.arguments(job.temp / "decided")) == 0  # judged, registered
    for verb in (["doctor"], ["status"], ["report"], ["register"], ["log"]):
        job.tidegate(*verb)
    assert not trap.exists()
    verdict, _ = verdicts.read(job.temp / "decided" / "page" / "verdict.json")
    found = [f for f in verdict.findings if f.cause is Cause.FORMAT]
    assert [(f.column, f.decides) for f in found] == [
        ("code: Python files beside the model are imported", False)
    ]
    assert verdict.outcome is Outcome.PASS
    # The trap is one: whoever loads the model springs it.
    (pickled,) = given.candidate.rglob("model.pkl")
    pickle.loads(pickled.read_bytes())
    assert trap.exists()


def test_a_format_that_is_not_allowed_is_rejected_whatever_the_numbers(tmp_path: Path) -> None:
    jobs = baited(tmp_path, tmp_path / "sprung", model__formats=["safe", "pickle"])
    given, job = hand_over(jobs), jobs.job()
    assert job.tidegate("decide", *given.arguments(job.temp / "decided")) == 1
    assert job.outputs["outcome"] == "reject"
    verdict, _ = verdicts.read(job.temp / "decided" / "page" / "verdict.json")
    assert [f.cause for f in verdict.findings if f.decides and f.outcome is Outcome.REJECT] == [
        Cause.FORMAT
    ]
    assert not (tmp_path / "sprung").exists()
