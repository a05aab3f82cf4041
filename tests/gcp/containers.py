"""Containers, as processes with this Python."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.gcp import behaviour

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_REFERENCE = re.compile(r"\$\$|\$\((\w+)\)")


def free_port() -> int:
    """Return a port on which nobody listens, below those that outgoing connections are given."""
    while True:
        port = random.SystemRandom().randrange(12_000, 32_000)
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port


def environment(
    url: str, home: Path, own: Mapping[str, str], given: Sequence[Mapping[str, str]]
) -> dict[str, str]:
    """Return what a container's process is told: how it reaches the cloud, and no package index.

    Args:
        url: the stand-in's address.
        home: the container's folder.
        own: the cloud's variables (``AIP_...``).
        given: ``containerSpec.env``; later ones may refer to earlier ones as ``$(NAME)``.
    """
    behaviour.apply("no-install")
    host = url.removeprefix("http://")
    variables = {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",  # a container of one core
        "GCE_METADATA_HOST": host,
        "GCE_METADATA_IP": host,
        "STORAGE_EMULATOR_HOST": url,
        "PIP_NO_INDEX": "1",
        "TIDEGATE_SKIP_INSTALL": "1",
        **own,
    }
    for item in given:
        variables[item["name"]] = expanded(item.get("value", ""), variables)
    return variables


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """Return a text with ``$(NAME)`` replaced, as Kubernetes does it.

    >>> expanded("--port=$(PORT) $$(PORT) $(NONE)", {"PORT": "80"})
    '--port=80 $(PORT) $(NONE)'
    """
    return _REFERENCE.sub(lambda m: "$" if m[0] == "$$" else variables.get(m[1], m[0]), text)


def command_line(
    command: Sequence[str], args: Sequence[str], image: Sequence[str], variables: Mapping[str, str]
) -> list[str]:
    """Return what is run; ``image`` is what the image itself would run."""
    words = [expanded(word, variables) for word in [*(command or image), *args]]
    if words and words[0] in {"python", "python3"}:
        words[0] = sys.executable
    return words


class Container:
    """A process with its output; one that serves is asked whether it is healthy."""

    def __init__(
        self,
        argv: Sequence[str],
        variables: Mapping[str, str],
        home: Path,
        said: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.home = home
        self.failure = ""
        self.healthy = False
        self.predict_route = ""
        self.port = int(variables.get("AIP_HTTP_PORT", "0"))
        self._said = said
        self._process: subprocess.Popen[str] | None = None
        home.mkdir(parents=True, exist_ok=True)
        try:
            self._process = subprocess.Popen(
                list(argv),
                env=dict(variables),
                cwd=home,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except (OSError, IndexError) as error:
            self.failure = f"the container cannot be started: {error}"
            return
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with (self.home / "output.log").open("a", encoding="utf-8") as log:
            for line in self._process.stdout:
                log.write(line)
                log.flush()
                self._said(line.rstrip("\n"))
        self._process.stdout.close()

    def watch(self, route: str, patience: float) -> None:
        """Ask for a container's health, on a thread, until it is healthy or has failed."""
        threading.Thread(target=self._watch, args=(route, patience), daemon=True).start()

    def _watch(self, route: str, patience: float) -> None:
        end = time.monotonic() + patience
        while not self.failure and not self.healthy:
            status = self.ended
            if status is not None:
                self.failure = (
                    f"Model server exited unexpectedly ({status}): {self.output()[-600:]}"
                )
            elif time.monotonic() > end:
                self.failure = f"Model server never became ready: {self.output()[-600:]}"
                self.stop()
            else:
                self.healthy = self._asked(route)
                time.sleep(0.02)

    def _asked(self, route: str) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            try:
                connection.request("GET", route)
                return connection.getresponse().status == 200
            except (OSError, http.client.HTTPException):
                return False

    def ask(self, route: str, data: bytes, timeout: float = 60) -> tuple[int, bytes, str]:
        """Return status, bytes and content type of what a serving container answers.

        Raises:
            OSError: it does not answer.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            try:
                connection.request("POST", route, data, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                return answer.status, answer.read(), answer.headers.get("content-type", "")
            except http.client.HTTPException as error:
                raise OSError(str(error)) from error

    @property
    def ended(self) -> int | None:
        """Return the status that the process ended with; None: it runs."""
        return None if self._process is None else self._process.poll()

    def output(self) -> str:
        log = self.home / "output.log"
        return log.read_text(encoding="utf-8") if log.exists() else ""

    def drained(self) -> None:
        """Wait until all that an ended process wrote was read."""
        if self._process is not None:
            self._reader.join(5)

    def stop(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the process and its children; after a kill, wait."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        if number == signal.SIGKILL:
            self._process.wait(10)
            self.drained()
