"""Start a packed model in any image that has a Python: fetch, verify, install, serve.

Its text is the container's command (``python3 -c``), so it runs on what an image happens to have:
the standard library of Python 3.8 or newer, and no dollar signs (Vertex AI expands some). Vertex AI
copies a model's artifacts to a bucket of its own, which AIP_STORAGE_URI names:
https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements

TIDEGATE_ARCHIVE: sha256 of model.tar.gz.
TIDEGATE_PYTHON: the Python that the model was made with, as 3.12.
TIDEGATE_SKIP_INSTALL: set where the image brings all that the model needs.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

ARCHIVE = "model.tar.gz"
TRIES = 5
PASSING = (408, 429, 500, 502, 503, 504)


def opened(url: str, headers: dict[str, str]) -> Any:
    """Open an address; passing faults are tried again."""
    for attempt in range(1, TRIES):
        try:
            return _open(url, headers)
        except urllib.error.HTTPError as error:
            if error.code not in PASSING:
                raise
        except OSError:
            pass
        time.sleep(0.5 * 2**attempt)
    return _open(url, headers)


def _open(url: str, headers: dict[str, str]) -> Any:
    return urllib.request.urlopen(  # noqa: S310 (https, or the machine's own metadata)
        urllib.request.Request(url, headers=headers), timeout=60  # noqa: S310
    )  # fmt: skip


def token() -> str:
    """Ask the metadata server for a token of the container's service account.

    https://cloud.google.com/compute/docs/access/authenticate-workloads#applications
    """
    host = os.environ.get("GCE_METADATA_HOST", "metadata.google.internal")
    url = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/token"
    with opened(url, {"Metadata-Flavor": "Google"}) as answer:
        return str(json.load(answer)["access_token"])


def fetch(source: str, into: Path) -> str:
    """Copy an object (gs://bucket/name) to a file; return its sha256.

    https://cloud.google.com/storage/docs/json_api/v1/objects/get
    """
    bucket, _, name = source[len("gs://") :].partition("/")
    base = os.environ.get("STORAGE_EMULATOR_HOST", "https://storage.googleapis.com")
    url = f"{base}/storage/v1/b/{bucket}/o/{urllib.parse.quote(name, safe='')}?alt=media"
    total = hashlib.sha256()
    with opened(url, {"Authorization": f"Bearer {token()}"}) as answer, into.open("wb") as file:
        for block in iter(lambda: answer.read(1 << 20), b""):
            total.update(block)
            file.write(block)
    return total.hexdigest()


def interpreter(folder: Path) -> str:
    """Return the Python to serve with: this one where it is the model's, else one of its own.

    https://docs.astral.sh/uv/concepts/python-versions/
    """
    wanted = os.environ.get("TIDEGATE_PYTHON", "")
    mine = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if os.environ.get("TIDEGATE_SKIP_INSTALL") or wanted in ("", mine):
        return sys.executable
    sys.stderr.write(f"this image has Python {mine}, the model was made with {wanted}\n")
    run(sys.executable, "-m", "pip", "install", "--no-input", "--quiet", "uv")
    place = folder / "python"
    run(sys.executable, "-m", "uv", "venv", "--seed", "--python", wanted, str(place))
    return str(place / "bin" / "python")


def run(*command: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True)


def main() -> None:
    """Fetch and verify the archive, then become its server."""
    folder = Path(tempfile.mkdtemp(prefix="tidegate-"))
    archive = folder / ARCHIVE
    found = fetch(f"{os.environ['AIP_STORAGE_URI'].rstrip('/')}/{ARCHIVE}", archive)
    if found != os.environ["TIDEGATE_ARCHIVE"]:
        sys.exit(f"the archive is not what was uploaded: its sha256 is {found}")
    with tarfile.open(archive) as packed:
        packed.extractall(folder)  # noqa: S202 (these bytes are the ones that were packed)
    archive.unlink()
    python = interpreter(folder)
    install = [] if os.environ.get("TIDEGATE_SKIP_INSTALL") else ["--install"]
    os.execv(python, [python, str(folder / "code" / "server.py"), *install])  # noqa: S606


if __name__ == "__main__":
    main()
