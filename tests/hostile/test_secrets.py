"""Secrets in whatever the jobs leave, while each thing around them fails in turn: there are none."""

from __future__ import annotations

import contextlib
import http.server
import shutil
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.github.server import serve
from tests.hostile.job import Job, Play
from tests.hostile.secrets import ENCODINGS, leaks, lures
from tests.real_repo import Repo
from tidegate.adapters.host import api
from tidegate.adapters.registry.mlflow import MlflowRegistry
from tidegate.git import text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.github.hub import Hub

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("hostile")]
JUDGE = ".github/workflows/judge-model.yml"


class _Echo(http.server.BaseHTTPRequestHandler):
    """A registry that refuses, and quotes all that it was sent."""

    status = 401

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        body = f"refused: {dict(self.headers)} for {self.path}".encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PATCH = do_GET  # noqa: N815


@contextlib.contextmanager
def echo(status: int) -> Iterator[str]:
    """Serve the registry that refuses with a status; yield its host and port."""
    handler = type("Handler", (_Echo,), {"status": status})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Eve:
    """The moment before the job that decides, to be lived again and again."""

    root: Path
    play: Play
    hub: Hub
    secrets: dict[str, str]

    def again(self, root: Path, **variables: str) -> tuple[Play, Job]:
        """Return the job that decides, before its engine: a clone of a fresh copy of the origin."""
        shutil.copytree(self.root / "eve.git", root / "origin.git")
        play = replace(
            self.play, root=root / "run", origin=root / "origin.git", jobs={},
            variables={**self.play.variables, **variables},
        )  # fmt: skip
        job = play.checked_out("decide")
        shutil.copytree(self.play.jobs["decide"].temp / "given", job.temp / "given")
        return play, job


@pytest.fixture(scope="module")
def eve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Eve]:
    root = tmp_path_factory.mktemp("secrets")
    repo = Repo.make(root, slope=0.9, registry__uri="${REGISTRY}")
    text(repo.path, "push", "--quiet", "origin", "HEAD:refs/heads/main")
    known = dict(lures())
    with serve(bare=root / "origin.git") as hub:
        play = Play(
            root / "run", root / "origin.git", repo.head,
            {"repository": {"id": 1001, "default_branch": "main"}}, token=hub.token, api=hub.url,
            secrets={"registry-username": "robot", "registry-password": known["password"],
                     "registry-token": known["registry-token"],
                     "signing-key": known["signing"]},
            variables={"REGISTRY": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
                       "AWS_SECRET_ACCESS_KEY": known["cloud"],
                       "ACTIONS_ID_TOKEN_REQUEST_TOKEN": known["id-token"]},
        )  # fmt: skip

        def keep(job: Job) -> None:
            if job.name == "decide":
                shutil.copytree(root / "origin.git", root / "eve.git")

        play.before = keep
        play.run(JUDGE, {"model": "coin", "config": "mlops.yaml", "runner": "x",
                         "train-runner": "x", "score-runner": "x"})  # fmt: skip
        yield Eve(root, play, hub, {**known, "github": hub.token})


def test_without_a_registry_nothing_is_released_and_nothing_told(eve: Eve) -> None:
    """The first play itself: every step in a process of its own, the registry's port closed."""
    decided = eve.play.jobs["decide"]
    assert decided.engine.code == 3
    assert "the registry failed to" in decided.log
    assert decided.outputs["release"] in ("", "false")
    assert everything(eve.play, decided, decided.log, eve.hub) == {}


def everything(play: Play, job: Job, said: str, hub: Hub) -> dict[str, list[str]]:
    """Return the leaks, by place: what was said, files that travel, the origin, what GitHub shows."""
    known = {**lures(), "github": hub.token}
    places = {"log": said.encode()}
    for command in (
        "::add-mask::",
    ):  # these lines are for the runner's ears: it shows none of them
        lines = [line for line in said.splitlines() if not line.startswith(command)]
        places["log"] = "\n".join(lines).encode()
    for folder in (job.temp / "_runner_file_commands", job.temp / "decided", play.artifacts):
        for path in folder.rglob("*"):
            if path.is_file():
                places[str(path.name)] = places.get(str(path.name), b"") + path.read_bytes()
    places["github"] = repr(hub.snapshot()).encode().replace(b"_hub_token", b"")
    objects = text(play.origin, "cat-file", "--batch-all-objects", "--batch-check").splitlines()
    blobs = [line.split()[0] for line in objects if line.split()[1] in ("blob", "commit")]
    places["origin"] = "\n".join(
        text(play.origin, "cat-file", "-p", blob)
        for blob in blobs
        if int(next(x for x in objects if x.startswith(blob)).split()[2]) < 1_000_000
        and not _binary(play.origin, blob)
    ).encode()
    return {place: found for place, content in places.items() if (found := leaks(content, known))}


def _binary(origin: Path, blob: str) -> bool:
    from tidegate.git import git

    return b"\0" in git(origin, "cat-file", "-p", blob)


def refuse_pushes(play: Play, eve: Eve) -> None:
    hook = play.origin / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(
        f"#!/bin/sh\necho 'no pushes for x-access-token:{eve.secrets['github']}'\nexit 1\n"
    )
    hook.chmod(0o755)


def broken(where: type, name: str, eve: Eve) -> Callable[..., None]:
    def raising(*_: Any, **__: Any) -> None:
        raise RuntimeError(f"a bug, with {' and '.join(eve.secrets.values())} in its words")

    return raising


USER = "robot:" + quote(lures()["password"], safe="")
GITHUB = [
    (401, "Bad credentials {}"),
    (403, "not accessible by {}"),
    (422, "{} is invalid"),
    (500, "{}"),
]
REGISTRY = [401, 403, 404, 500]


def decide(play: Play, job: Job, eve: Eve, capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run the engine's step in this process, in the environment that the action's file makes."""
    step = eve.play.jobs["decide"].engine
    given = {
        key: value.replace(str(eve.play.jobs["decide"].root), str(job.root))
        for key, value in step.given.items()
    }
    done = play.inside(job, given, step.env, capfd)
    return done.code, done.log


@pytest.mark.parametrize("status", REGISTRY)
def test_a_registry_that_quotes_what_it_was_sent(
    eve: Eve, status: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with echo(status) as host:
        play, job = eve.again(tmp_path, REGISTRY=f"http://{host}")
        code, said = decide(play, job, eve, capfd)
    assert code == 3
    assert "the registry failed to" in said or "refused" in said
    assert everything(play, job, said, eve.hub) == {}


def test_a_registry_that_is_down_with_a_password_in_its_address(
    eve: Eve, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    play, job = eve.again(tmp_path, REGISTRY=f"http://{USER}@127.0.0.1:9")
    code, said = decide(play, job, eve, capfd)
    assert code == 3
    assert "***@127.0.0.1" in said or "127.0.0.1" in said
    assert everything(play, job, said, eve.hub) == {}


@pytest.mark.parametrize(("status", "message"), GITHUB)
def test_a_github_that_quotes_the_token(
    eve: Eve, status: int, message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(api, "BACKOFF", (0.0,))
    monkeypatch.setattr(MlflowRegistry, "register", lambda *_: "1")
    play, job = eve.again(tmp_path)
    for method in ("GET", "POST", "PATCH"):
        eve.hub.fail_next(
            method, "", status=status, message=message.format(eve.secrets["github"]), times=9
        )
    try:
        code, said = decide(play, job, eve, capfd)
    finally:
        eve.hub._faults.clear()
    assert code == 0  # what GitHub shows decides nothing
    assert "could not be written" in said
    assert everything(play, job, said, eve.hub) == {}


def test_a_push_that_is_refused_with_the_token_in_its_words(
    eve: Eve, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    play, job = eve.again(tmp_path)
    refuse_pushes(play, eve)
    code, said = decide(play, job, eve, capfd)
    assert code == 3
    assert "no pushes for" in said
    assert everything(play, job, said, eve.hub) == {}


def test_a_remote_with_a_password_in_its_address(
    eve: Eve, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    play, job = eve.again(tmp_path, TIDEGATE_REMOTE=f"http://{USER}@127.0.0.1:9/x.git")
    code, said = decide(play, job, eve, capfd)
    assert code == 3
    assert "127.0.0.1" in said
    assert everything(play, job, said, eve.hub) == {}


STEPS = [
    "tidegate.commands.decide._judge", "tidegate.commands.decide.collect", "tidegate.commands.decide.register",
    "tidegate.commands.decide.gather", "tidegate.commands.decide.html", "tidegate.commands.decide.tell",
    "tidegate.commands.context.Context.of",
]  # fmt: skip


@pytest.mark.parametrize("where", STEPS)
def test_a_bug_of_ours_with_every_secret_in_its_words(
    eve: Eve, where: str, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(MlflowRegistry, "register", lambda *_: "1")
    monkeypatch.setattr(where, broken(object, where, eve))
    play, job = eve.again(tmp_path)
    code, said = decide(play, job, eve, capfd)
    assert code == 4
    assert "a bug, with ***" in said
    assert everything(play, job, said, eve.hub) == {}


def test_the_search_finds_each_form_of_each_secret() -> None:
    """Else nothing above could fail."""
    for secret in lures().values():
        for name, encode in ENCODINGS.items():
            assert leaks(encode(max(secret.splitlines(), key=len)).encode(), lures()), name
    assert leaks(b"nothing of that kind", lures()) == []
