"""A client as Tidegate's is: google-auth's session, with real addresses led to the stand-in."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from google.auth.transport.requests import AuthorizedSession
from google.oauth2.credentials import Credentials

if TYPE_CHECKING:
    import requests

    from tests.gcp.cloud import Cloud

Row = dict[str, Any]


class Client:
    """Somebody with a token; ``vertex`` is where the project's resources are."""

    def __init__(self, cloud: Cloud, credentials: Any = None) -> None:
        self.cloud = cloud
        token, _ = cloud.identity.mint(cloud.identity.ambient)
        self.session = AuthorizedSession(credentials or Credentials(token))
        place = f"projects/{cloud.project}/locations/{cloud.region}"
        self.vertex = f"https://{cloud.region}-aiplatform.googleapis.com/v1/{place}"

    def ask(self, method: str, url: str, **arguments: Any) -> requests.Response:
        """Send a request to a real address."""
        url = url.replace("https:/", self.cloud.url, 1)
        answer: requests.Response = self.session.request(
            method, url, allow_redirects=False, **arguments
        )
        return answer

    def did(self, method: str, url: str, body: Any = None, **query: Any) -> Row:
        """Return what a call answers; it must succeed."""
        answer = self.ask(method, url, json=body, params=query)
        assert answer.status_code < 300, answer.text
        decoded: Row = answer.json()
        return decoded

    def refused(self, method: str, url: str, body: Any = None, **query: Any) -> tuple[int, str]:
        """Return status and reason of a call that must fail."""
        answer = self.ask(method, url, json=body, params=query)
        assert answer.status_code >= 400, answer.text
        error = answer.json()["error"]
        return answer.status_code, error.get("status") or error["errors"][0]["reason"]

    def ended(self, operation: Row, seconds: float = 20) -> Row:
        """Poll an operation until it is done."""
        host = f"https://{self.cloud.region}-aiplatform.googleapis.com/v1"
        end = time.monotonic() + seconds
        while not operation.get("done"):
            assert time.monotonic() < end, operation
            time.sleep(0.01)
            operation = self.did("GET", f"{host}/{operation['name']}")
        return operation

    def made(self, method: str, url: str, body: Any = None, **query: Any) -> Row:
        """Return the response of an operation that must succeed."""
        operation = self.ended(self.did(method, url, body, **query))
        assert "error" not in operation, operation
        response: Row = operation["response"]
        return response

    # --- what many tests need -----------------------------------------------------------------

    def endpoint(self, name: str = "churn", **fields: Any) -> str:
        """Create an endpoint; return its address."""
        body = {"displayName": name, **fields}
        self.made("POST", f"{self.vertex}/endpoints", body, endpointId=name)
        return f"{self.vertex}/endpoints/{name}"

    def model(self, name: str, answer: Any = 1, **fields: Any) -> str:
        """Upload a model whose container always predicts ``answer``; return its name."""
        spec = {
            "imageUri": "europe-docker.pkg.dev/acme/serving/python:1",
            "command": ["python", "-c", SERVER],
            "args": [str(answer)],
            "healthRoute": "/health",
            "predictRoute": "/predict",
        }
        model = {"displayName": name, "containerSpec": spec | fields.pop("spec", {}), **fields}
        body = {"model": model, "modelId": name}
        return str(self.made("POST", f"{self.vertex}/models:upload", body)["model"])

    def deploying(self, endpoint: str, model: str, name: str, **split: int) -> Row:
        """Ask for a model to be deployed; return the operation. ``_0`` is the key "0"."""
        resources = {"machineSpec": {"machineType": "n1-standard-2"}, "minReplicaCount": 1}
        deployed = {"id": name, "model": model, "dedicatedResources": resources}
        shares = {key.removeprefix("_"): share for key, share in split.items()}
        body = {"deployedModel": deployed, "trafficSplit": shares}
        return self.did("POST", f"{endpoint}:deployModel", body)

    def deployed(self, endpoint: str, model: str, name: str, **split: int) -> None:
        operation = self.ended(self.deploying(endpoint, model, name, **split))
        assert "error" not in operation, operation


# A model server in a few lines: the last argument is what it predicts; "crash" ends it at once,
# "silent" never becomes healthy, a number over 399 is a status to answer with.
SERVER = """
import http.server, json, os, sys
word = sys.argv[-1]
if word == "crash":
    sys.exit("no such model")
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def do_GET(self):
        well = self.path == os.environ["AIP_HEALTH_ROUTE"] and word != "silent"
        self.answer(200 if well else 503, {})
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != os.environ["AIP_PREDICT_ROUTE"]:
            self.answer(404, {})
        elif word.isdigit() and int(word) > 399:
            self.answer(int(word), {"error": "so it was wanted"})
        elif word == "nonsense":
            self.answer(200, [1, 2])
        elif word == "environment":
            self.answer(200, {"predictions": [dict(os.environ)]})
        else:
            self.answer(200, {"predictions": [word for _ in body["instances"]]})
    def log_message(self, *_):
        pass
port = int(os.environ["AIP_HTTP_PORT"])
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""
