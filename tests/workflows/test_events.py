"""What each event runs, and what each job then holds: written by hand, compared with GitHub's evaluator.

Under act permissions, environments and concurrency do not exist; these tables are where they are shown.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.workflows.copies import plain
from tests.workflows.documents import shipped
from tests.workflows.github import Event, Run, play

pytestmark = [pytest.mark.real, pytest.mark.workflows]

FILES = {name: plain(each.text) for name, each in shipped().files.items()}
STARTER = "workflow-templates/mlops.yml"
FORKS = "workflow-templates/mlops-forks.yml"

HOME = "shop/models"
MAIN = {"ref": "refs/heads/main", "ref_name": "main", "repository": HOME, "run_attempt": 1}
PUSH = {**MAIN, "event": {"before": "a" * 40}}
PULL = {
    **MAIN, "ref": "refs/pull/7/merge", "ref_name": "7/merge", "head_ref": "better",
    "event": {"pull_request": {"number": 7, "head": {"repo": {"full_name": HOME}}}},
}  # fmt: skip
FORKED = {
    **PULL,
    "event": {"pull_request": {"number": 7, "head": {"repo": {"full_name": "eve/models"}}}},
}
QUEUE = {
    **MAIN,
    "ref": "refs/heads/gh-readonly-queue/main/pr-7",
    "event": {"merge_group": {"base_sha": "b" * 40}},
}


def found(*models: str) -> dict[str, Any]:
    listed = [{"model": model, "config": f"{model}/mlops.yaml"} for model in models]
    return {"outputs": {"models": json.dumps(listed), "count": str(len(listed))}}


def prepared(
    *,
    work: str = "train",
    compute: str = "runner",
    champion: str = "c" * 64,
    anchor: str = "",
    measure: str = "false",
) -> dict[str, Any]:
    return {
        "outputs": {
            "work": work,
            **({"compute": compute} if work == "train" else {}),
            "case": "d" * 64,
            "champion": champion,
            "anchor": anchor,
            "code": "false",
            "measure": measure,
        }
    }


FAILED = {"result": "failure"}
CANCELLED = {"result": "cancelled"}
ONE = {"find": found("fraud"), "prepare": prepared()}
OWN = {**ONE, "prepare": prepared(measure="true")}
CLOUD = {**ONE, "prepare": prepared(compute="sagemaker", anchor="e" * 64)}
RELEASED = {**ONE, "decide": {"outputs": {"outcome": "pass", "version": "4", "release": "true"}}}
REJECTED = {
    **ONE,
    "decide": {"result": "failure", "outputs": {"outcome": "reject", "release": "false"}},
}
KEPT = {**ONE, "decide": {"outputs": {"outcome": "inconclusive", "release": "false"}}}


def at(prefix: str, *jobs: str) -> list[str]:
    return [f"{prefix}/{job}" for job in jobs]


CHECK = "check/model[fraud]"
JUDGE = "deliver/model[fraud]/judge"
JUDGED = ("prepare", "train", "candidate/score", "champion/score", "decide")
IN_CLOUD = (
    "prepare",
    "train-cloud",
    "candidate/score",
    "champion/score",
    "anchor/score",
    "decide",
)
MEASURED = (*JUDGED[:-1], "measure", "decide")
CHECKED = ["check/find", *at(CHECK, *JUDGED), "check/verdict"]
DELIVERED = ["deliver/find", *at(JUDGE, *JUDGED)]
WATCHED = ["deliver/model[fraud]/release", "deliver/model[fraud]/watch/pass"]

# name, event, what the jobs answer, the jobs that run
TABLE: list[tuple[str, Event, list[str]]] = [
    ("a pull request", Event(name="pull_request", github=PULL, answers=ONE), CHECKED),
    (
        "a fork's pull request",
        Event(name="pull_request", github=FORKED, answers=ONE, fork=True),
        CHECKED,
    ),
    ("the merge queue", Event(name="merge_group", github=QUEUE, answers=ONE), CHECKED),
    (
        "a pull request, again",
        Event(name="pull_request", github={**PULL, "run_attempt": 2}, answers=ONE),
        CHECKED,
    ),
    (
        "a pull request that touches no model",
        Event(name="pull_request", github=PULL, answers={"find": found()}),
        ["check/find", "check/verdict"],
    ),
    (
        "a first model, which has no champion",
        Event(name="pull_request", github=PULL, answers={**ONE, "prepare": prepared(champion="")}),
        [
            "check/find",
            *at(CHECK, "prepare", "train", "candidate/score", "decide"),
            "check/verdict",
        ],
    ),
    (
        "a champion and an anchor",
        Event(
            name="pull_request", github=PULL, answers={**ONE, "prepare": prepared(anchor="e" * 64)}
        ),
        [
            "check/find",
            *at(
                CHECK,
                "prepare",
                "train",
                "candidate/score",
                "champion/score",
                "anchor/score",
                "decide",
            ),
            "check/verdict",
        ],
    ),
    (
        "a metric of the user's own",
        Event(name="pull_request", github=PULL, answers=OWN),
        ["check/find", *at(CHECK, *MEASURED), "check/verdict"],
    ),
    (
        "a fork's, with a metric of the base's own",
        Event(name="pull_request", github=FORKED, answers=OWN, fork=True),
        ["check/find", *at(CHECK, *MEASURED), "check/verdict"],
    ),
    (
        "a metric of the user's own fails, and is decided on all the same",
        Event(name="pull_request", github=PULL, answers={**OWN, "measure": FAILED}),
        ["check/find", *at(CHECK, *MEASURED), "check/verdict"],
    ),
    (
        "nothing is measured of a model that does not answer",
        Event(
            name="pull_request", github=PULL, answers={**OWN, f"{CHECK}/candidate/score": FAILED}
        ),
        CHECKED,
    ),
    (
        "what does not answer beside it bars no measuring",
        Event(name="pull_request", github=PULL, answers={**OWN, f"{CHECK}/champion/score": FAILED}),
        ["check/find", *at(CHECK, *MEASURED), "check/verdict"],
    ),
    (
        "nothing to judge after all",
        Event(
            name="pull_request",
            github=PULL,
            answers={**ONE, "prepare": prepared(work="none", champion="")},
        ),
        ["check/find", f"{CHECK}/prepare", "check/verdict"],
    ),
    (
        "the models cannot be found",
        Event(name="pull_request", github=PULL, answers={"find": FAILED}),
        ["check/find", "check/verdict"],
    ),
    (
        "preparing fails",
        Event(name="pull_request", github=PULL, answers={**ONE, "prepare": FAILED}),
        ["check/find", *at(CHECK, "prepare", "decide"), "check/verdict"],
    ),
    (
        "training fails",
        Event(name="pull_request", github=PULL, answers={**ONE, "train": FAILED}),
        ["check/find", *at(CHECK, "prepare", "train", "decide"), "check/verdict"],
    ),
    (
        "a model does not answer",
        Event(
            name="pull_request", github=PULL, answers={**ONE, f"{CHECK}/candidate/score": FAILED}
        ),
        CHECKED,
    ),
    (
        "a pull request is cancelled in training",
        Event(name="pull_request", github=PULL, answers={**ONE, "train": CANCELLED}),
        ["check/find", *at(CHECK, "prepare", "train"), "check/verdict"],
    ),
    (
        "two models, one of which fails",
        Event(
            name="pull_request",
            github=PULL,
            answers={
                "find": found("fraud", "churn"),
                "prepare": prepared(),
                "check/model[churn]/train": FAILED,
            },
        ),
        [
            "check/find",
            *at(CHECK, *JUDGED),
            *at("check/model[churn]", "prepare", "train", "decide"),
            "check/verdict",
        ],
    ),
    (
        "a pull request that trains in a cloud",
        Event(name="pull_request", github=PULL, answers=CLOUD),
        ["check/find", *at(CHECK, *IN_CLOUD), "check/verdict"],
    ),
    (
        "a pull request that trains in the other cloud, a first model",
        Event(
            name="pull_request",
            github=PULL,
            answers={**ONE, "prepare": prepared(compute="vertex", champion="")},
        ),
        [
            "check/find",
            *at(CHECK, "prepare", "train-cloud", "candidate/score", "decide"),
            "check/verdict",
        ],
    ),
    (
        "a fork's pull request that would train in a cloud",
        Event(
            name="pull_request", github=FORKED, answers={**CLOUD, "train-cloud": FAILED}, fork=True
        ),
        ["check/find", *at(CHECK, "prepare", "train-cloud", "decide"), "check/verdict"],
    ),
    (
        "the merge queue, training in a cloud",
        Event(name="merge_group", github=QUEUE, answers=CLOUD),
        ["check/find", *at(CHECK, *IN_CLOUD), "check/verdict"],
    ),
    (
        "a pull request is cancelled in a cloud's training",
        Event(name="pull_request", github=PULL, answers={**CLOUD, "train-cloud": CANCELLED}),
        ["check/find", *at(CHECK, "prepare", "train-cloud"), "check/verdict"],
    ),
    (
        "one of two models trains in a cloud, and fails there",
        Event(
            name="pull_request",
            github=PULL,
            answers={
                "find": found("fraud", "churn"),
                "prepare": prepared(),
                "check/model[churn]/prepare": prepared(compute="vertex"),
                "train-cloud": FAILED,
            },
        ),
        [
            "check/find",
            *at(CHECK, *JUDGED),
            *at("check/model[churn]", "prepare", "train-cloud", "decide"),
            "check/verdict",
        ],
    ),
    ("a merge", Event(name="push", github=PUSH, answers=RELEASED), [*DELIVERED, *WATCHED]),
    (
        "a merge that trains in a cloud",
        Event(name="push", github=PUSH, answers={**RELEASED, "prepare": CLOUD["prepare"]}),
        ["deliver/find", *at(JUDGE, *IN_CLOUD), *WATCHED],
    ),
    (
        "a merge, again",
        Event(name="push", github={**PUSH, "run_attempt": 2}, answers=RELEASED),
        [*DELIVERED, *WATCHED],
    ),
    ("a merge that is rejected", Event(name="push", github=PUSH, answers=REJECTED), DELIVERED),
    (
        "a merge about which nothing can be told",
        Event(name="push", github=PUSH, answers=KEPT),
        DELIVERED,
    ),
    (
        "a verdict that failed after it said release",
        Event(
            name="push",
            github=PUSH,
            answers={**RELEASED, "decide": {**RELEASED["decide"], **FAILED}},
        ),
        DELIVERED,
    ),
    (
        "a merge that touches no model",
        Event(name="push", github=PUSH, answers={"find": found()}),
        ["deliver/find"],
    ),
    (
        "a merge whose training fails",
        Event(name="push", github=PUSH, answers={**ONE, "train": FAILED}),
        ["deliver/find", *at(JUDGE, "prepare", "train", "decide")],
    ),
    (
        "a merge is cancelled in training",
        Event(name="push", github=PUSH, answers={**RELEASED, "train": CANCELLED}),
        ["deliver/find", *at(JUDGE, "prepare", "train")],
    ),
    (
        "a merge is cancelled when it starts the rollout",
        Event(name="push", github=PUSH, answers={**RELEASED, "release": CANCELLED}),
        [*DELIVERED, "deliver/model[fraud]/release"],
    ),
    (
        "two models merged, one rejected",
        Event(
            name="push",
            github=PUSH,
            answers={
                **RELEASED,
                "find": found("fraud", "churn"),
                "deliver/model[churn]/judge/decide": REJECTED["decide"],
            },
        ),
        [*DELIVERED, *WATCHED, *at("deliver/model[churn]/judge", *JUDGED)],
    ),
    (
        "the clock, with a live rollout",
        Event(name="schedule", github={**MAIN, "event": {"schedule": "23 * * * *"}}, answers=ONE),
        ["watch/find", "watch/model[fraud]/pass"],
    ),
    (
        "the clock, with nothing live",
        Event(name="schedule", github=MAIN, answers={"find": found()}),
        ["watch/find"],
    ),
    (
        "the next pass",
        Event(
            name="workflow_dispatch",
            github=MAIN,
            inputs={"command": "tick", "model": "fraud"},
            answers=ONE,
        ),
        ["watch/find", "watch/model[fraud]/pass"],
    ),
    *(
        (
            f"somebody's {command}",
            Event(
                name="workflow_dispatch", github=MAIN, inputs={"command": command, "reason": "x"}
            ),
            ["command/command"],
        )
        for command in ("promote", "revert", "hold", "resume", "release", "retry")
    ),
]

# What each job holds, by the end of its path. "write" anywhere else is an error of this table.
OURS = {"checks": "write", "contents": "write", "pull-requests": "write"}
OPERATE = {
    "actions": "write", "contents": "write", "deployments": "write", "id-token": "write",
    "issues": "write", "pull-requests": "write",
}  # fmt: skip
HOLDS: dict[str, dict[str, str]] = {
    "find": {"contents": "read"},
    "prepare": {"actions": "read", "contents": "read", "id-token": "write"},
    "train": {"contents": "read"},
    "train-cloud": {"contents": "read", "id-token": "write"},
    "score": {"contents": "read"},
    "measure": {"contents": "read"},
    "decide": {"actions": "read", "id-token": "write", **OURS},
    "verdict": {},
    "release": {"contents": "write"},
    "pass": OPERATE,
    "command": OPERATE,
    "publish": {"actions": "read", **OURS},
}
FROM_A_FORK = {
    "prepare": {"actions": "read", "contents": "read", "id-token": "none"},
    "train-cloud": {"contents": "read", "id-token": "none"},
    "decide": {**dict.fromkeys(("actions", *OURS), "read"), "id-token": "none"},
}

# The environment each job passes on the default branch; on a pull request only one has any.
PASSES = {
    "prepare": "production-operate",
    "train-cloud": "training",
    "decide": "production-operate",
    "release": "production",
    "pass": "production-operate",
    "command": "production-operate",
}


@pytest.fixture(scope="module")
def runs() -> dict[str, Run]:
    events = [event for _, event, _ in TABLE]
    return dict(zip([name for name, _, _ in TABLE], play(FILES, STARTER, events), strict=True))


@pytest.mark.parametrize(("name", "expected"), [(name, jobs) for name, _, jobs in TABLE])
def test_what_runs(name: str, expected: list[str], runs: dict[str, Run]) -> None:
    assert runs[name].errors == ()
    assert sorted(runs[name].ran) == sorted(expected)


@pytest.mark.parametrize(("name", "event"), [(name, event) for name, event, _ in TABLE])
def test_what_each_job_holds(name: str, event: Event, runs: dict[str, Run]) -> None:
    expected = HOLDS | FROM_A_FORK if event.fork else HOLDS
    held = {path: runs[name].job(path).permissions for path in runs[name].ran}
    assert held == {path: expected[path.rpartition("/")[2]] for path in held}


@pytest.mark.parametrize(("name", "event"), [(name, event) for name, event, _ in TABLE])
def test_which_environment_each_job_passes(name: str, event: Event, runs: dict[str, Run]) -> None:
    advice = event.name in {"pull_request", "merge_group"}
    passed = {path: runs[name].job(path).environment or "" for path in runs[name].ran}
    expected = {"train-cloud": "training"} if advice else PASSES
    assert passed == {path: expected.get(path.rpartition("/")[2], "") for path in passed}


@pytest.mark.parametrize("name", [name for name, _, _ in TABLE])
def test_only_a_pass_waits_in_a_queue_and_only_behind_its_own_model(
    name: str, runs: dict[str, Run]
) -> None:
    run = runs[name]
    queued = {job.path: job.concurrency for job in run.jobs if job.concurrency}
    assert run.concurrency == {}
    for path, group in queued.items():
        model = path.partition("[")[2].partition("]")[0]
        assert path.endswith("/pass")
        assert group == {"group": f"tidegate-{model}", "cancel-in-progress": False, "queue": "max"}


def test_on_a_pull_request_an_identity_is_of_the_training_environment_or_of_none(
    runs: dict[str, Run],
) -> None:
    """A cloud's trust names an environment: a token without one is let in nowhere."""
    for name, event, _ in TABLE:
        if event.name in {"pull_request", "merge_group"}:
            held = {
                job.path.rpartition("/")[2]: job.environment
                for job in runs[name].jobs
                if job.permissions.get("id-token") == "write" and job.result != "called"
            }
            assert set(held) <= {"prepare", "train-cloud", "decide"}, name
            assert all(
                place == ("training" if job == "train-cloud" else "") for job, place in held.items()
            )


@pytest.mark.parametrize(
    ("name", "ref"),
    [("push", "other"), ("push", "tidegate-ledger/fraud"), ("issue_comment", "main")],
)
def test_other_events_start_nothing(name: str, ref: str) -> None:
    event = Event(name=name, github={**MAIN, "ref": f"refs/heads/{ref}", "ref_name": ref})
    assert not play(FILES, STARTER, [event])[0].triggered


def after(name: str, started_by: str, conclusion: str) -> Event:
    run = {"name": name, "event": started_by, "conclusion": conclusion, "id": 5}
    return Event(name="workflow_run", github={**MAIN, "event": {"workflow_run": run}})


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (after("MLOps", "pull_request", "success"), ["publish/publish"]),
        (after("MLOps", "pull_request", "failure"), ["publish/publish"]),
        (after("MLOps", "push", "success"), []),
        (after("MLOps", "schedule", "failure"), []),
        (after("Other", "pull_request", "success"), []),
    ],
    ids=["pull request", "failed pull request", "merge", "clock", "another workflow"],
)
def test_what_runs_after_a_run(event: Event, expected: list[str]) -> None:
    [run] = play(FILES, FORKS, [event])
    assert (run.ran, run.errors) == (expected, ())
    assert all(run.job(path).permissions == HOLDS["publish"] for path in expected)


def test_each_kind_of_job_goes_to_the_runner_it_was_given() -> None:
    called = "deliver.yml@"
    lines = FILES[STARTER].splitlines()
    number = next(index for index, line in enumerate(lines) if called in line)
    given = """    with: {runner: small, train-runner: '["self-hosted", "gpu"]', score-runner: gpu, operate-runner: box}"""
    text = "\n".join([*lines[: number + 1], given, *lines[number + 1 :]])
    event = Event(name="push", github=PUSH, answers=RELEASED)
    [run] = play({**FILES, STARTER: text}, STARTER, [event])
    assert run.errors == ()
    assert {path.rpartition("/")[2]: run.job(path).runs_on for path in run.ran} == {
        "find": "small", "prepare": "small", "train": ["self-hosted", "gpu"], "score": "gpu", "decide": "small",
        "release": "small", "pass": "box",
    }  # fmt: skip
    cloud = Event(name="push", github=PUSH, answers={**RELEASED, "prepare": CLOUD["prepare"]})
    [run] = play({**FILES, STARTER: text}, STARTER, [cloud])
    assert run.job(f"{JUDGE}/train-cloud").runs_on == "small"  # it waits: no GPU for that


TAG = {**MAIN, "ref": "refs/tags/v1.2.3", "ref_name": "v1.2.3", "sha": "c" * 40, "event": {}}
BUILT = ["build", "test", "attest", "draft", "pypi", "publish", "verify", "major", "stamp"]


@pytest.mark.parametrize(
    ("workflow", "event", "expected"),
    [
        (
            "ci",
            Event(name="push", github={**PUSH, "sha": "c" * 40}),
            ["test[3.11]", "test[3.13]", "all"],
        ),
        (
            "ci",
            Event(name="pull_request", github=PULL, answers={"test[3.11]": FAILED}),
            ["test[3.11]", "test[3.13]", "all"],
        ),
        ("release", Event(name="push", github=TAG), BUILT),
        ("release", Event(name="push", github=TAG, answers={"test": FAILED}), BUILT[:2]),
        ("release", Event(name="push", github=TAG, answers={"pypi": FAILED}), BUILT[:5]),
        ("release", Event(name="push", github=TAG, answers={"verify": FAILED}), BUILT[:7]),
        (
            "release",
            Event(name="push", github={**TAG, "ref": "refs/tags/v1", "ref_name": "v1"}),
            [],
        ),
        (
            "release",
            Event(name="push", github={**TAG, "ref": "refs/tags/v12", "ref_name": "v12"}),
            [],
        ),
        ("release", Event(name="push", github=PUSH), []),
    ],
)
def test_what_our_own_repository_runs(workflow: str, event: Event, expected: list[str]) -> None:
    [run] = play(FILES, f".github/workflows/{workflow}.yml", [event])
    assert run.errors == ()
    assert sorted(run.ran) == sorted(expected)


CALLED = (
    "check", "deliver", "judge-model", "score-model", "release-model", "watch", "watch-model", "command",
)  # fmt: skip
# Looked at only once a call was made, which a cancelled run does not: only here to not be `success()`.
ONCE_CALLED = 'if: "!cancelled()"'
CONDITIONS = [
    (path, line)
    for path in (STARTER, *(f".github/workflows/{name}.yml" for name in CALLED))
    for line in FILES.get(path, "").splitlines()
    if line.startswith("    if: ")
]


@pytest.mark.parametrize(
    ("path", "line"), CONDITIONS, ids=[f"{path}: {line.strip()}" for path, line in CONDITIONS]
)
@pytest.mark.parametrize("instead", ["always()", "success()", "false"])
def test_each_condition_is_held_by_the_table(path: str, line: str, instead: str) -> None:
    """Broken on purpose, some row of the table notices."""
    if line.strip() == f"if: {instead}":
        return
    if line.strip().startswith(ONCE_CALLED) and instead == "always()":
        return
    broken = {**FILES, path: FILES[path].replace(line, f"    if: {instead}")}
    played = play(broken, STARTER, [event for _, event, _ in TABLE])
    assert any(
        run.errors or sorted(run.ran) != sorted(expected)
        for run, (_, _, expected) in zip(played, TABLE, strict=True)
    )
