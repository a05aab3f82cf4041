"""What runs in a model's container: the documented part of SageMaker's inference toolkit.

https://github.com/aws/sagemaker-inference-toolkit (README): ``model_fn`` once, then ``transform_fn``
or ``input_fn``, ``predict_fn``, ``output_fn`` per request. Standard library only, run as a script.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import threading
import time
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

TEXT = {"application/json", "text/csv"}


def load(model_dir: Path) -> tuple[ModuleType, Any]:
    """Return the user's module and the model it loaded."""
    program = os.environ.get("SAGEMAKER_PROGRAM", "inference.py")
    code = Path(os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY", "/opt/ml/model/code"))
    if str(code).startswith("/opt/ml/model"):  # the container's own path
        code = model_dir / code.relative_to("/opt/ml/model")
    sys.path.insert(0, str(code))
    spec = importlib.util.spec_from_file_location(Path(program).stem, code / program)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module, module.model_fn(str(model_dir))


def transform(module: ModuleType, model: Any, body: bytes, kind: str, accept: str) -> Any:
    """Return what the user's functions answer: data, or (data, content type)."""
    data: Any = body.decode() if kind.partition(";")[0].strip() in TEXT else body
    if hasattr(module, "transform_fn"):
        return module.transform_fn(model, data, kind, accept)
    if hasattr(module, "input_fn"):
        data = module.input_fn(data, kind)
    elif kind.partition(";")[0].strip() == "application/json":
        data = json.loads(data)
    answer = module.predict_fn(data, model)
    if hasattr(module, "output_fn"):
        return module.output_fn(answer, accept)
    return json.dumps(answer), "application/json"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    module: ModuleType
    model: Any

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.send(200 if self.path == "/ping" else 404, b"", "text/plain")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        kind = self.headers.get("content-type") or "application/json"
        accept = self.headers.get("accept") or "application/json"
        if accept == "*/*":
            accept = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "application/json")
        try:
            answer = transform(self.module, self.model, body, kind, accept)
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything
            traceback.print_exc()
            # The toolkit's own errors carry a status_code; all others are 500.
            status = getattr(error, "status_code", 500)
            self.send(status, str(error).encode(), "text/plain")
            return
        data, sent = answer if isinstance(answer, tuple) else (answer, accept)
        self.send(200, data if isinstance(data, bytes) else str(data).encode(), str(sent))

    def send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def end_with(parent: int) -> None:
    """Exit when the stand-in is gone, however it went."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def main() -> None:
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    model_dir, port_file = Path(sys.argv[1]), Path(sys.argv[2])
    module, model = load(model_dir)
    attributes = {"module": module, "model": model}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), attributes))
    server.daemon_threads = True
    part = port_file.with_suffix(".part")
    part.write_text(str(server.server_address[1]), encoding="utf-8")
    part.replace(port_file)
    server.serve_forever()


if __name__ == "__main__":
    main()
