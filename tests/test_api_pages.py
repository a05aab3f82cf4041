"""Whoever reads an adapter finds the API's page of each call that a function makes in its docstring.

The function's own, its class's or its module's. For AWS the page of that very operation; for Google,
whose operations are addresses put together at run time, a page of an API's reference.
"""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ADAPTERS = Path(__file__).parents[1] / "src" / "tidegate" / "adapters"
FILES = sorted(ADAPTERS.rglob("*.py"))
_AWS = "https://docs.aws.amazon.com/"
PAGES = {
    "sagemaker": f"{_AWS}sagemaker/latest/APIReference/API_",
    "sagemaker-runtime": f"{_AWS}sagemaker/latest/APIReference/API_runtime_",
    "cloudwatch": f"{_AWS}AmazonCloudWatch/latest/APIReference/API_",
    "logs": f"{_AWS}AmazonCloudWatchLogs/latest/APIReference/API_",
    "scheduler": f"{_AWS}scheduler/latest/APIReference/API_",
    "s3": f"{_AWS}AmazonS3/latest/API/API_",
    "sts": f"{_AWS}STS/latest/APIReference/API_",
}
_GOOGLE = re.compile(r"https://cloud\.google\.com/\S*/(docs/reference|docs/json_api|api/ref_v3)/")
_VERBS = frozenset({"get", "post", "patch", "delete", "pages", "upload", "download"})
# Whoever they ask for carries the page: they only repeat, renew or page through what others call.
CARRIERS = {"cloud/aws.py", "cloud/google.py"}


@functools.cache
def operations(service: str) -> dict[str, str]:
    """Return boto3's method -> AWS's operation."""
    import botocore.session
    from botocore import xform_name

    model = botocore.session.get_session().get_service_model(service)
    return {xform_name(name): name for name in model.operation_names}


def functions(path: Path) -> Iterator[tuple[ast.FunctionDef, str]]:
    """Yield each function with the docstrings that speak for it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    module = ast.get_docstring(tree) or ""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            about = f"{module}\n{ast.get_docstring(node) or ''}"
            for one in node.body:
                if isinstance(one, ast.FunctionDef):
                    yield one, f"{about}\n{ast.get_docstring(one) or ''}"
        elif isinstance(node, ast.FunctionDef):
            yield node, f"{module}\n{ast.get_docstring(node) or ''}"


def texts(node: ast.AST) -> set[str]:
    return {
        one.value
        for one in ast.walk(node)
        if isinstance(one, ast.Constant) and isinstance(one.value, str)
    }


def aws_calls() -> Iterator[Any]:
    for path in FILES:
        found = texts(ast.parse(path.read_text(encoding="utf-8")))
        services = [service for service in PAGES if service in found]
        for function, told in functions(path):
            for service in services:
                for word in sorted(texts(function) & operations(service).keys()):
                    name = f"{path.relative_to(ADAPTERS)}:{function.name}:{word}"
                    yield pytest.param(told, PAGES[service] + operations(service)[word], id=name)


def google_calls() -> Iterator[Any]:
    for path in FILES:
        if path.relative_to(ADAPTERS).as_posix() in CARRIERS:
            continue
        for function, told in functions(path):
            if any(_asks_google(node) for node in ast.walk(function)):
                yield pytest.param(told, id=f"{path.relative_to(ADAPTERS)}:{function.name}")


def _asks_google(node: ast.AST) -> bool:
    """Whether this is ``google.get(...)``, ``self._google.post(...)`` and the like."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    whose = node.func.value
    name = whose.attr if isinstance(whose, ast.Attribute) else getattr(whose, "id", "")
    return node.func.attr in _VERBS and name.lstrip("_") == "google"


@pytest.mark.parametrize(("told", "page"), aws_calls())
def test_the_page_of_each_operation_of_aws_is_named(told: str, page: str) -> None:
    assert re.search(rf"{re.escape(page)}\.html", told), f"name {page}.html in a docstring"


@pytest.mark.parametrize("told", google_calls())
def test_a_page_of_googles_reference_is_named(told: str) -> None:
    assert _GOOGLE.search(told), "name the method's page of the reference in a docstring"


def test_the_calls_are_found_at_all() -> None:
    asked = {str(one.id).rpartition(":")[2] for one in aws_calls()}
    expected = {"update_endpoint", "create_endpoint", "get_metric_data", "create_training_job"}
    assert asked >= {*expected, "invoke_endpoint", "create_schedule", "put_object"}
    assert len(list(google_calls())) > 25
