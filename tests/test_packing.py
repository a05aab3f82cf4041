"""What a cloud's container gets: the judged bytes, the code that judged them, and nothing else."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from tests.endpoint.serving import free_port, trained
from tidegate import packing
from tidegate.core.model import Task
from tidegate.digests import folder_digest
from tidegate.endpoint.asking import columns_of as ascolumns_of
from tidegate.endpoint.scorer import load
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Iterator


def folder(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / "m" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "m"


def pack(model: Path, into: Path) -> Path:
    return packing.pack_sagemaker(model, folder_digest(model), Task.BINARY, into)


def unpack(archive: Path, into: Path) -> Path:
    with tarfile.open(archive) as tar:
        tar.extractall(into, filter="data")
    return into


def test_the_same_model_gives_the_same_bytes_wherever_and_whenever(tmp_path: Path) -> None:
    model = folder(tmp_path, {"MLmodel": "x: 1\n", "deep/w.bin": "ü" * 5000, "a b/ö": "1"})
    first = pack(model, tmp_path / "one")
    shutil.copytree(model, tmp_path / "elsewhere")
    os.utime(tmp_path / "elsewhere" / "MLmodel", (1, 1))
    (tmp_path / "elsewhere" / "MLmodel").chmod(0o600)
    second = packing.pack_vertex(
        tmp_path / "elsewhere", folder_digest(model), Task.BINARY, tmp_path / "two"
    )
    assert first.read_bytes() == second.read_bytes()
    assert folder_digest(unpack(first, tmp_path / "u") / "model") == folder_digest(model)


def test_only_what_was_judged_is_packed(tmp_path: Path) -> None:
    model = folder(tmp_path, {"MLmodel": "x: 1\n"})
    with pytest.raises(OutsideError, match="not what was judged"):
        packing.pack_sagemaker(model, "0" * 64, Task.BINARY, tmp_path / "out")
    (model / "link").symlink_to("MLmodel")
    with pytest.raises(OutsideError, match="regular files"):
        packing.pack_sagemaker(model, "0" * 64, Task.BINARY, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_copied_modules_are_those_of_this_package_and_all_that_they_import(
    tmp_path: Path,
) -> None:
    archive = pack(folder(tmp_path, {"MLmodel": "x: 1\n"}), tmp_path)
    code = unpack(archive, tmp_path / "u") / "code"
    package = Path(packing.__file__).parent
    for name in packing.MODULES:
        assert (code / "tidegate" / name).read_bytes() == (package / name).read_bytes()
    program = (
        f"import sys; sys.path.insert(0, {str(code)!r}); import tidegate.container.answering, json;"
        "print(json.dumps([m.__file__ for n, m in sys.modules.items() if n.split('.')[0] =="
        "'tidegate'] + sorted({n.split('.')[0] for n in sys.modules} - sys.stdlib_module_names)))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    )
    loaded = json.loads(done.stdout)
    ours = {str(code / "tidegate" / name) for name in packing.MODULES}
    assert {path for path in loaded if path.endswith(".py")} == ours
    others = {name for name in loaded if not name.endswith(".py")}
    assert not others & {"yaml", "jinja2", "jsonschema", "requests", "cryptography", "sklearn"}


@pytest.mark.parametrize(
    ("given", "added"),
    [
        ("mlflow==3.1\nnumpy<3\npandas\npyarrow\n", []),
        ("mlflow-skinny==3.1\nNumPy==2.0 ; python_version > '3'\n", ["pandas", "pyarrow"]),
        ("scikit_learn[x]==1.9\n", ["mlflow==3.17.2", "numpy", "pandas", "pyarrow"]),
        (None, ["mlflow==3.17.2", "numpy", "pandas", "pyarrow"]),
    ],
)
def test_what_the_scoring_code_needs_is_added_where_the_model_does_not_ask_for_it(
    tmp_path: Path, given: str | None, added: list[str]
) -> None:
    files = {"MLmodel": "flavors: {}\nmlflow_version: 3.17.2\n"}
    if given is not None:
        files["requirements.txt"] = given
    lines = packing.requirements(folder(tmp_path, files)).splitlines()
    assert lines == [*(given or "").splitlines(), *added]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("packed")
    return unpack(pack(trained(), root), root / "u")


def rows(count: int) -> pa.Table:
    rng = np.random.default_rng(3)
    return pa.table(
        {
            "amount": rng.normal(size=count),
            "age": rng.integers(18, 90, count).astype(float),
            "region": rng.choice(["north", "south"], count),
            "rate": rng.normal(size=count).astype("float32"),
        }
    )


@contextmanager
def served(unpacked: Path, **extra: str) -> Iterator[int]:
    port = free_port()
    env = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "TIDEGATE_BIND": "127.0.0.1"}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", str(unpacked / "code" / "server.py"), "serve"],
        env={**env, "AIP_HTTP_PORT": str(port), **extra},
        cwd=unpacked,
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                assert get(port, "/ping") == 200
                break
            except OSError:
                assert process.poll() is None, "the server ended"
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


def get(port: int, path: str) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status


def post(
    port: int, body: object, path: str = "/invocations", **headers: str
) -> tuple[int, dict[str, object]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("POST", path, data, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


@pytest.mark.real
def test_the_server_answers_both_shapes_as_the_scorer_does_bit_for_bit(unpacked: Path) -> None:
    table = rows(50)
    offline = load(trained(), Task.BINARY).score(table)
    columns = ascolumns_of(table)
    data = [list(row) for row in zip(*columns.values(), strict=True)]
    split = {"columns": list(columns), "data": data}
    instances = [dict(zip(columns, row, strict=True)) for row in data]
    with served(unpacked, AIP_HEALTH_ROUTE="/h", AIP_PREDICT_ROUTE="/v1/predict") as port:
        status, answer = post(port, {"dataframe_split": split})
        assert status == 200
        assert answer == {"predictions": offline.tolist()}
        # Vertex AI sends `parameters` along when its caller did.
        body = {"instances": instances, "parameters": {"x": 1}}
        assert post(port, body, "/v1/predict") == (status, answer)
        for path, wanted in (("/ping", 200), ("/h", 200), ("/h?x=1", 200), ("/", 404)):
            assert get(port, path) == wanted, path


@pytest.mark.real
def test_the_servers_refusals_tell_whose_fault_it_is(unpacked: Path) -> None:
    good = {"inputs": ascolumns_of(rows(2))}
    with served(unpacked) as port:
        assert post(port, b"{")[0] == 400
        assert post(port, {"neither": 1})[0] == 400
        assert post(port, {"inputs": {**good["inputs"], "amount": ["much", "more"]}})[0] == 500
        assert post(port, good, "/elsewhere")[0] == 404
        assert post(port, good)[0] == 200
        # In parallel, over connections that stay open.
        statuses: list[int] = []
        crowd = [
            threading.Thread(target=lambda: statuses.extend(post(port, good)[0] for _ in range(5)))
            for _ in range(16)
        ]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join()
        assert statuses == [200] * 80


@pytest.mark.real
def test_a_container_does_not_come_up_with_other_bytes(unpacked: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(unpacked, broken)
    (broken / "model" / "added.py").write_text("1")
    for place, env in ((broken, {}), (unpacked, {"TIDEGATE_DIGEST": "0" * 64})):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(place / "code" / "server.py")],
            env={"PATH": os.environ["PATH"], "AIP_HTTP_PORT": str(free_port()), **env},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode != 0
        assert "is not what was judged" in done.stderr


# Both toolkits' calls, as their transformers make them; neither can be installed beside our numpy.
_HOOKS = """
import json, sys, types, inspect
from pathlib import Path
code, model = sys.argv[1], sys.argv[2]
sys.path.insert(0, code)  # the toolkits put the folder, or a copy of inference.py, on the path
import inference
assert len(inspect.signature(inference.model_fn).parameters) == 1
assert len(inspect.signature(inference.transform_fn).parameters) == 4
assert not any(n.split(".")[0] == "tidegate" for n in sys.modules)
loaded = inference.model_fn(model)
body = sys.stdin.read()
answer, kind = inference.transform_fn(loaded, body, "application/json", "application/json")
assert (answer, kind) == inference.transform_fn(loaded, body.encode(), "text/csv", "*/*")
assert kind == "application/json"
worker = types.SimpleNamespace(Response=lambda **given: given)
framework = types.ModuleType("sagemaker_containers.beta.framework")
framework.worker = worker
for name in ("sagemaker_containers", "sagemaker_containers.beta"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["sagemaker_containers.beta.framework"] = framework
refused = inference.transform_fn(loaded, b"{", "application/json", "*/*")
assert refused["status"] == 400 and refused["mimetype"] == "application/json", refused
errors = types.ModuleType("sagemaker_inference.errors")
class BaseInferenceToolkitError(Exception):
    def __init__(self, status_code, message, phrase): self.status_code = status_code
errors.BaseInferenceToolkitError = BaseInferenceToolkitError
sys.modules["sagemaker_inference"] = types.ModuleType("sagemaker_inference")
sys.modules["sagemaker_inference.errors"] = errors
try:
    inference.transform_fn(loaded, b"{", "application/json", "*/*")
except BaseInferenceToolkitError as error:
    assert error.status_code == 400
else:
    raise AssertionError("not refused")
try:
    inference.transform_fn(loaded, b'{"inputs": {"amount": ["much"]}}', "application/json", "*/*")
except BaseInferenceToolkitError:
    raise AssertionError("the model's fault was called the client's")
except Exception as error:
    assert type(error).__name__ == "NotJudgedError"
print(answer)
"""


@pytest.mark.real
@pytest.mark.parametrize("copied", [False, True], ids=["in-place", "copied-elsewhere"])
def test_the_hooks_do_what_both_of_awss_toolkits_call(
    unpacked: Path, tmp_path: Path, copied: bool
) -> None:
    table = rows(20)
    code = unpacked / "code"
    if copied:
        shutil.copy(code / "inference.py", tmp_path)
        code = tmp_path
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-I", "-c", _HOOKS, str(code), str(unpacked)],
        input=json.dumps({"inputs": ascolumns_of(table)}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "predictions": load(trained(), Task.BINARY).score(table).tolist()
    }
    assert not list((unpacked / "model").rglob("__pycache__"))
