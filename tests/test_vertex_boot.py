"""The container's first lines on Vertex AI: fetch, verify, and find the model's Python."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import tidegate.container
from tests.gcp.server import serve
from tidegate.adapters.target import vertex_images
from tidegate.container import vertex_boot
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.gcp.cloud import Cloud

BOOT = Path(tidegate.container.__file__).with_name("vertex_boot.py")
SERVER = b"import sys; print('serving with', *sys.argv[1:])\n"


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with serve(anonymous=True) as cloud:
        yield cloud


@cache
def packed() -> bytes:
    """Return an archive: once, because gzip writes down the second in which it was made."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        info = tarfile.TarInfo("code/server.py")
        info.size = len(SERVER)
        tar.addfile(info, io.BytesIO(SERVER))
    return stream.getvalue()


def put(cloud: Cloud, name: str, data: bytes) -> None:
    import requests

    answer = requests.post(
        f"{cloud.url}/storage.googleapis.com/upload/storage/v1/b/acme-models/o",
        params={"uploadType": "media", "name": name},
        data=data,
        timeout=10,
    )
    assert answer.ok, answer.text


def booted(cloud: Cloud, archive: str, tmp_path: Path, **more: str) -> tuple[int, str]:
    """Run the boot script as the container's command does: as text."""
    done = subprocess.run(
        [sys.executable, "-c", BOOT.read_text(encoding="utf-8")],
        env={
            **cloud.env,
            "PATH": os.environ["PATH"],
            "TMPDIR": str(tmp_path),
            "AIP_STORAGE_URI": "gs://acme-models/flights/v1",
            "TIDEGATE_ARCHIVE": archive,
            **more,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.real
def test_it_becomes_the_server_of_the_archive_that_was_packed(cloud: Cloud, tmp_path: Path) -> None:
    put(cloud, "flights/v1/model.tar.gz", packed())
    wanted = hashlib.sha256(packed()).hexdigest()
    assert booted(cloud, wanted, tmp_path) == (0, "serving with --install\n")
    assert booted(cloud, wanted, tmp_path, TIDEGATE_SKIP_INSTALL="1") == (0, "serving with\n")


@pytest.mark.real
def test_other_bytes_are_not_even_unpacked(cloud: Cloud, tmp_path: Path) -> None:
    put(cloud, "flights/v1/model.tar.gz", packed())
    status, said = booted(cloud, "0" * 64, tmp_path)
    assert status == 1
    assert "not what was uploaded" in said
    assert not list(tmp_path.rglob("server.py"))


@pytest.mark.real
def test_a_storage_that_stumbles_is_asked_again(cloud: Cloud, tmp_path: Path) -> None:
    put(cloud, "flights/v1/model.tar.gz", packed())
    cloud.fail_next("storage.objects.get", 2)
    status, _ = booted(cloud, hashlib.sha256(packed()).hexdigest(), tmp_path)
    assert status == 0


def test_an_image_with_another_python_gets_the_models_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(vertex_boot, "run", lambda *command: ran.append(command))
    monkeypatch.setenv("TIDEGATE_PYTHON", f"{sys.version_info[0]}.{sys.version_info[1]}")
    assert vertex_boot.interpreter(tmp_path) == sys.executable
    assert ran == []
    monkeypatch.setenv("TIDEGATE_PYTHON", "3.99")
    assert vertex_boot.interpreter(tmp_path) == str(tmp_path / "python" / "bin" / "python")
    assert [command[2] for command in ran] == ["pip", "uv"]
    assert "3.99" in ran[1]


def test_its_text_holds_nothing_that_the_platform_would_expand() -> None:
    assert "$" not in BOOT.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "text", "python"),
    [
        ("python_env.yaml", "python: 3.12.4\nbuild_dependencies:\n- pip==24\n", "3.12"),
        ("MLmodel", "flavors:\n  python_function:\n    python_version: 3.11.7\n", "3.11"),
        ("notes.txt", "python: 3.8\n", f"{sys.version_info[0]}.{sys.version_info[1]}"),
    ],
)
def test_the_models_python_is_the_one_it_names(
    tmp_path: Path, name: str, text: str, python: str
) -> None:
    (tmp_path / name).write_text(text)
    assert vertex_images.python_of(tmp_path) == python


def test_a_python_that_the_scoring_code_does_not_know_is_refused(tmp_path: Path) -> None:
    (tmp_path / "python_env.yaml").write_text("python: 3.9.1\n")
    with pytest.raises(OutsideError, match=r"3\.9"):
        vertex_images.python_of(tmp_path)


@pytest.mark.parametrize(
    ("region", "near"),
    [("us-central1", "us"), ("europe-west4", "europe"), ("asia-east1", "asia"),
     ("australia-southeast1", "asia"), ("southamerica-east1", "us"), ("moon-1", "us")],
)  # fmt: skip
def test_the_image_comes_from_nearby(region: str, near: str) -> None:
    assert vertex_images.image(region).startswith(f"{near}-docker.pkg.dev/vertex-ai/prediction/")
