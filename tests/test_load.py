"""``mlops.yaml``: what loads, what does not, and what the reader is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tidegate.build_canary import build_canary
from tidegate.core.catalog import CATALOG, names_for
from tidegate.core.config import GuardMetric
from tidegate.core.model import Margin, Task
from tidegate.errors import ConfigError, Exit
from tidegate.load import expand, load, load_fully
from tidegate.problems import BadConfigError

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """\
version: 1
model: {name: credit-risk, task: binary}
data: {train: a.parquet, holdout: b.parquet, target: y, id: id}
train: {run: python train.py}
gate:
  rules:
    - {metric: roc_auc, at_least: 0.75, margin: 0.005}
"""


def problems(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "mlops.yaml"
    path.write_text(text)
    with pytest.raises(BadConfigError) as caught:
        load(path)
    assert caught.value.exit_code == Exit.USAGE
    return [line.removeprefix(f"{path}:") for line in caught.value.lines]


def test_a_short_file_gets_defaults_that_are_safe_for_production(tmp_path: Path) -> None:
    path = tmp_path / "mlops.yaml"
    path.write_text(GOOD)
    config = load(path)
    canary = config.release.canary
    assert canary.steps == (0.05, 0.25, 0.5)
    assert (canary.warmup, canary.bake, canary.deadline) == (180, 1800, 86_400)
    assert [guard.metric for guard in canary.guards] == [GuardMetric.ERROR_RATE]
    assert config.gate.rules[0].margin == Margin(value=0.005)
    assert config.release.endpoint == "credit-risk"


def test_the_digest_ignores_comments_and_order_but_not_content(tmp_path: Path) -> None:
    path = tmp_path / "mlops.yaml"

    def digest(text: str) -> str:
        path.write_text(text)
        return load(path).digest

    reordered = "\n".join(["# hello", *reversed(GOOD.split("\ngate:", maxsplit=1)[0].splitlines())])
    assert digest(GOOD) == digest(reordered + "\ngate:" + GOOD.split("\ngate:")[1])
    assert digest(GOOD) != digest(GOOD.replace("0.005", "0.006"))


BINARY = ", ".join(names_for(Task.BINARY))
CASES = {
    "unknown-key": (
        GOOD + "gat: 1\n",
        "8:1: gat: got an unknown key 'gat', expected one of checks, data, gate, model, predict, "
        "registry, release, train, version; did you mean 'gate'?",
    ),
    "misspelt-metric": (
        GOOD.replace("roc_auc", "roc_acu"),
        "7:16: gate.rules[0].metric: got 'roc_acu', expected one of "
        f"{BINARY}; did you mean 'roc_auc'?",
    ),
    "rule-without-a-limit": (
        GOOD.replace(", at_least: 0.75, margin: 0.005", ""),
        "7:7: gate.rules[0]: got a rule for roc_auc without a limit, expected at_least, at_most, "
        "margin or improves_by",
    ),
    "no-rule": (
        GOOD.split("    - ", maxsplit=1)[0].replace("rules:", "rules: []"),
        "6:10: gate.rules: got a list, expected at least 1 item(s)",
    ),
    "wrong-direction": (
        GOOD.replace("at_least", "at_most"),
        "7:34: gate.rules[0].at_most: got at_most for roc_auc, which is better higher, expected "
        "at_least",
    ),
    "impossible-limit": (
        GOOD.replace("0.75", "75"),
        "7:35: gate.rules[0].at_least: got 75, expected a value roc_auc can take (0 to 1)",
    ),
    "text-for-a-number": (
        GOOD.replace("0.75", "high"),
        "7:35: gate.rules[0].at_least: got 'high', expected a number",
    ),
    "two-rules-for-one-metric": (
        GOOD + "    - {metric: roc_auc, margin: 0.1}\n",
        "8:16: gate.rules[1].metric: got a second rule for roc_auc, expected one rule per metric, "
        "with all its limits",
    ),
    "duplicate-key": (
        GOOD + "version: 1\n",
        "8:1: (top): got the key 'version' a second time (first on line 1), expected strict YAML 1.2",
    ),
    "alias": (
        GOOD.replace("id: id}", "id: *x}"),
        "3:61: (top): got an alias (*name): write the value out, expected strict YAML 1.2",
    ),
    "anchor": (
        GOOD.replace("id: id}", "id: &x id}"),
        "3:61: (top): got an anchor (&name): write the value out, expected strict YAML 1.2",
    ),
    "not-a-number": (
        GOOD.replace("0.75", ".nan"),
        "7:35: (top): got .nan: numbers must be finite, expected strict YAML 1.2",
    ),
    "second-document": (
        GOOD + "---\na: 1\n",
        "8:1: (top): got a second document: one file describes one model, expected strict YAML 1.2",
    ),
    "missing-section": (
        GOOD.replace("train: {run: python train.py}\n", ""),
        "1:1: train: got nothing, expected the key 'train'",
    ),
    "missing-target": (
        GOOD.replace("target: y, ", ""),
        "3:7: data.target: got nothing, expected the column that holds the truth (task binary)",
    ),
    "metric-of-another-task": (
        GOOD.replace("roc_auc, at_least: 0.75", "rmse"),
        "7:16: gate.rules[0].metric: got rmse, which is for task regression, expected one of "
        + BINARY,
    ),
    "metric-without-its-parameter": (
        GOOD.replace("roc_auc", "fbeta"),
        "7:16: gate.rules[0].metric: got fbeta, expected a number above 0 for fbeta, for example "
        "fbeta@2",
    ),
    "metric-with-a-parameter-too-many": (
        GOOD.replace("roc_auc", "roc_auc@2"),
        "7:16: gate.rules[0].metric: got 'roc_auc@2', expected roc_auc, which takes no parameter",
    ),
    "metric-with-a-bad-parameter": (
        GOOD.replace("roc_auc", "recall_at_top@5"),
        "7:16: gate.rules[0].metric: got 'recall_at_top@5', expected a percentage between 0% and "
        "100% after the @ of recall_at_top, for example recall_at_top@5%",
    ),
    "misspelt-metric-with-a-parameter": (
        GOOD.replace("roc_auc", "f_beta@2"),
        "7:16: gate.rules[0].metric: got 'f_beta@2', expected one of "
        f"{BINARY}; did you mean 'fbeta'?",
    ),
    "two-rules-for-one-parameter": (
        GOOD.replace("roc_auc", "fbeta@2") + "    - {metric: fbeta@2.0, margin: 0.1}\n",
        "8:16: gate.rules[1].metric: got a second rule for fbeta@2.0, expected one rule per metric, "
        "with all its limits",
    ),
    "margin-of-what-has-no-regular-difference": (
        GOOD.replace("roc_auc, at_least: 0.75", "ece"),
        "7:29: gate.rules[0].margin: got margin for ece, expected at_most: near 0 the difference of "
        "two models' ece has no reliable bound",
    ),
    "metric-of-groups-without-groups": (
        GOOD.replace("binary", "generic").replace("roc_auc", "pass_at@3"),
        "7:16: gate.rules[0].metric: got pass_at@3 without data.group, expected data.group: the column "
        "that says which rows are of one query or item",
    ),
    "gap-of-what-has-no-regular-difference": (
        GOOD + "  gaps: [{by: [sex], metric: ece, at_most: 0.1}]\n",
        "8:30: gate.gaps[0].metric: got ece, expected another metric: near 0 the difference of two "
        "groups' ece has no reliable bound",
    ),
    "margin-of-a-target": (
        GOOD.replace("task: binary", "task: regression").replace("roc_auc", "coverage"),
        "7:50: gate.rules[0].margin: got margin for coverage, expected at_least and at_most: "
        "neither more nor less of it is better",
    ),
    "loss-guard-with-a-factor": (
        GOOD + "release: {canary: {guards: [{metric: label_loss, margin: 1.1x}]}}\n",
        "8:58: release.canary.guards[0].margin: got '1.1x', expected a percentage of the "
        "champion's mean loss (5%)",
    ),
    "factor-below-one": (
        GOOD + "release: {canary: {guards: [{metric: error_rate, margin: 0.9x}]}}\n",
        "8:58: release.canary.guards[0].margin: got '0.9x', expected 1x or more: a factor below 1 "
        "would demand an improvement",
    ),
    "slow-guard-without-a-limit": (
        GOOD + "release: {canary: {guards: [{metric: slow_requests, margin: 1.1x}]}}\n",
        "8:29: release.canary.guards[0].slower_than: got nothing, expected the key 'slower_than'",
    ),
    "steps-that-fall": (
        GOOD + "release: {canary: {steps: [50%, 5%]}}\n",
        "8:27: release.canary.steps: got shares out of order, expected shares that rise from step "
        "to step",
    ),
    "deadline-before-the-bakes-are-over": (
        GOOD + "release: {canary: {deadline: 1h}}\n",
        "8:30: release.canary.deadline: got 3600s, expected at least warm-up and bakes together "
        "(5580s)",
    ),
    "required-labels-without-a-guard": (
        GOOD + "release: {canary: {labels: {required: true}}}\n",
        "8:28: release.canary.labels: got required: true without a label guard, expected a "
        "label_error or label_loss guard, or required: false",
    ),
    "two-registries": (
        GOOD + "registry: {uri: 'http://x', store: github-releases}\n",
        "8:29: registry.store: got a store beside registry.uri, expected one of the two, because a "
        "version has one home; remove the line of the registry that you do not use",
    ),
    "store-misspelt": (
        GOOD + "registry: {store: github-release}\n",
        "8:19: registry.store: got 'github-release', expected github-releases (one "
        "release of this repository a version), s3://BUCKET/FOLDER or gs://BUCKET/FOLDER: where "
        "versions and their bytes live, instead of uri",
    ),
    "public-key": (
        GOOD + "registry: {public_key: 'AAAA'}\n",
        "8:24: registry.public_key: got 'AAAA', expected an Ed25519 public key in base64 (44 "
        "characters): only versions signed with its private key may serve",
    ),
    "half-a-variable": (
        GOOD + "registry: {uri: '${MLFLOW'}\n",
        "8:17: registry.uri: got '${MLFLOW', expected variables written as ${NAME}",
    ),
    "control-characters": (
        GOOD.replace("credit-risk", '"a\\u0007b"'),
        "2:15: model.name: got 'a\\x07b', expected lower-case letters, digits and inner hyphens, "
        "at most 50: it names registry entry, ledger branch and endpoint",
    ),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES.keys())
def test_a_bad_file_says_where_what_and_how_to_fix(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert expected in problems(tmp_path, text)


def test_all_problems_are_told_at_once_in_order_of_place(tmp_path: Path) -> None:
    text = GOOD.replace("binary", "binry").replace("run:", "runn:").replace("0.75", "x")
    lines = problems(tmp_path, text)
    assert [int(line.split(":")[0]) for line in lines] == [2, 4, 4, 7]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[" * 40, "nesting deeper than 32"),
        (b"a: [", "not valid YAML"),
        (b"a: \x00b", "not valid YAML"),
        (b"x" * 300_000, "over 256 KiB"),
        (b"&a [*a]", "anchor"),
        (b"? [a]\n: b", "a key that is not plain text"),
        (b"<<: {a: 1}", "merge key"),
        (b"!!python/object:os.system x", "a tag"),
        (b"a: 1e999", "finite"),
        (b"- 1", "a mapping"),
        (b"null", "a mapping"),
    ],
)
def test_what_is_no_strict_yaml_is_refused_with_its_place(
    tmp_path: Path, content: bytes, says: str
) -> None:
    path = tmp_path / "mlops.yaml"
    path.write_bytes(content)
    with pytest.raises(BadConfigError, match=says) as caught:
        load(path)
    assert caught.value.lines[0].startswith(f"{path}:")


def test_yaml_follows_version_1_2(tmp_path: Path) -> None:
    path = tmp_path / "mlops.yaml"
    path.write_text(GOOD.replace("name: credit-risk", "name: no").replace("0.005", "5e-3"))
    config = load(path)
    assert config.model.name == "no"
    assert config.gate.rules[0].margin == Margin(value=0.005)


def test_a_missing_file_tells_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "none.yaml")
    assert "tidegate init" in caught.value.remedy


def test_variables_are_found_and_resolved_only_when_used(tmp_path: Path) -> None:
    path = tmp_path / "mlops.yaml"
    path.write_text(GOOD + "registry: {uri: '${MLFLOW_URI}'}\n")
    loaded = load_fully(path)
    assert loaded.variables == (("registry.uri", "MLFLOW_URI"),)
    assert loaded.config.registry.uri == "${MLFLOW_URI}"
    with pytest.raises(ConfigError, match="MLFLOW_URI is not set"):
        expand("${MLFLOW_URI}", {}, key="registry.uri")


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            GOOD + "release: {canary: {guards: [{metric: error_rate, margin: 1.0x}]}}\n",
            "an equal model cannot be promoted on it",
        ),
        (GOOD.replace("margin: 0.005", "margin: 0"), "just as good cannot be shown"),
        (GOOD.replace(", margin: 0.005", ""), "nothing here compares the candidate"),
        (GOOD + "predict: {run: ./predict}\n", "the local endpoint serves MLflow models only"),
    ],
    ids=["odds-margin-1", "margin-0", "absolute-only", "batch-only"],
)
def test_what_is_unwise_loads_with_a_warning(tmp_path: Path, text: str, warning: str) -> None:
    path = tmp_path / "mlops.yaml"
    path.write_text(text)
    (found,) = load_fully(path).warnings
    assert warning in found


def test_a_recorded_policy_is_read_by_the_same_road() -> None:
    canary, found = build_canary({"steps": ["10%"], "bake": "1m", "deadline": "1h"}, Task.BINARY)
    assert not found
    assert canary.steps == (0.1,)


def test_the_catalog_and_the_formulas_are_the_same_metrics() -> None:
    from tidegate.core.metrics.formulas import FORMULAS

    assert {(e.base, task) for e in CATALOG for task in e.tasks} == set(FORMULAS)


def with_paths(paths: str) -> str:
    return GOOD.replace("train: {run: python train.py}", f"train: {{run: x, paths: {paths}}}")


def test_what_else_a_model_is_made_of_is_a_list_of_globs(tmp_path: Path) -> None:
    path = tmp_path / "mlops.yaml"
    path.write_text(GOOD)
    assert load(path).train.paths == ()
    path.write_text(with_paths('["lib/**", "a b/é.py", "..hidden/x", "a/..b"]'))
    assert load(path).train.paths == ("lib/**", "a b/é.py", "..hidden/x", "a/..b")


@pytest.mark.parametrize(
    "paths",
    [
        '["/etc/**"]', '[":(top)x"]', '[":!lib"]', '["../other/**"]', '["a/../b"]', '["a/.."]', '[".."]',
        '[""]', '["a\\nb"]', '["\\nb"]', '["\\0"]', '["a", "a"]', "lib", "{a: b}", "[1]", "[null]",
        str(["x" * 501]), str([f"a{i}" for i in range(101)]),
    ],
)  # fmt: skip
def test_a_glob_stays_in_the_repository_and_is_no_magic_of_gits(tmp_path: Path, paths: str) -> None:
    (line,) = problems(tmp_path, with_paths(paths))
    assert "train.paths" in line
