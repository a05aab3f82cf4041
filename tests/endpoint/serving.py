"""What the endpoint's tests serve: a tiny trained pipeline, and a user's own server."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.core.model import Task
from tidegate.ports import Deployment

if TYPE_CHECKING:
    from collections.abc import Callable

_TRAIN = """
import sys, numpy as np, pandas as pd, mlflow
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
rng = np.random.default_rng(7)
n = 800
x = pd.DataFrame({
    "amount": rng.normal(size=n), "age": rng.integers(18, 90, n).astype(float),
    "region": rng.choice(["north", "south"], n), "rate": rng.normal(size=n).astype("float32"),
})
y = (x.amount + (x.region == "north") + rng.normal(size=n) > 0.5).astype(int)
encode = (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["region"])
model = make_pipeline(
    make_column_transformer(encode, remainder="passthrough"),
    HistGradientBoostingClassifier(max_iter=20, random_state=0),
).fit(x, y)
mlflow.sklearn.save_model(
    model, sys.argv[1], signature=mlflow.models.infer_signature(x, model.predict(x)),
    serialization_format="cloudpickle",
)
"""

# Answers x / 100; does what the row's text "do" says when it names the served version: "fail:2",
# "slow:2" (0.3 s), "hang:2". Standard library only: it starts in a twentieth of a second.
_SERVER = """
import asyncio, json, os, pathlib
me = (pathlib.Path(os.environ["TIDEGATE_MODEL_DIR"]) / "version.txt").read_text()
async def handle(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\\r\\n\\r\\n")).decode().lower()
            size = int(head.split("content-length:")[1].split("\\r\\n")[0])
            rows = json.loads(await reader.readexactly(size)).get("inputs", {"do": ["refuse:" + me]})
            what, _, who = (rows.get("do") or [""])[0].partition(":")
            status, answer = "200 OK", {"predictions": [x / 100 for x in rows.get("x", ())]}
            if who == me and what == "refuse":
                status, answer = "400 Bad", {"message": "no inputs"}
            if who == me and what == "fail":
                status, answer = "500 Bad", {"message": "told to fail"}
            if who == me and what == "slow":
                await asyncio.sleep(0.3)
            if who == me and what == "hang":
                await asyncio.sleep(30)
            body = json.dumps(answer).encode()
            writer.write(f"HTTP/1.1 {status}\\r\\ncontent-type: application/json\\r\\n"
                         f"content-length: {len(body)}\\r\\n\\r\\n".encode() + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def main():
    server = await asyncio.start_server(handle, "127.0.0.1", int(os.environ["TIDEGATE_PORT"]))
    await server.serve_forever()
asyncio.run(main())
"""


@functools.cache
def workshop() -> Path:
    """Return a folder for this test process, deleted at its end."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def trained() -> Path:
    """Return the folder of a small pipeline, saved by MLflow; trained once per process."""
    folder = workshop() / "model"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(_TRAIN), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=workshop(),
    )
    assert done.returncode == 0, done.stderr
    return folder


def own_server(version: str, *, digest: str | None = None) -> Deployment:
    """Return a variant served by the user's own command."""
    folder = workshop() / f"own-{version}"
    folder.mkdir(exist_ok=True)
    (folder / "version.txt").write_text(version)
    script = workshop() / "own_server.py"
    script.write_text(_SERVER)
    return Deployment(
        version=version,
        digest=digest or f"sha256:own-{version}",
        model_dir=folder,
        task=Task.BINARY,
        serve=f"exec {sys.executable} -S {script}",
    )


def mlflow_model(version: str) -> Deployment:
    """Return a variant that serves the trained pipeline."""
    return Deployment(
        version=version, digest=f"sha256:m-{version}", model_dir=trained(), task=Task.BINARY
    )


def free_port() -> int:
    """Return a port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(claim: Callable[[], object], *, seconds: float = 45.0) -> None:
    """Return once the claim holds."""
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.02)


def processes_of(folder: Path) -> list[str]:
    """Return the command lines of living processes that work for an endpoint."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            inside = (entry / "cwd").readlink().is_relative_to(folder)
            environment = (entry / "environ").read_bytes().decode(errors="replace")
        except (OSError, ProcessLookupError):
            continue
        mine = str(folder) in environment and "TIDEGATE_MODEL_DIR" in environment
        if (
            command
            and int(entry.name) != os.getpid()
            and (inside or str(folder) in command or mine)
        ):
            found.append(command)
    return found
