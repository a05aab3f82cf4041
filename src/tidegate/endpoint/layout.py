"""Where an endpoint keeps what: one folder per endpoint, every name in one place.

The processes run with this folder as their working directory and name their sockets relative to
it, because a Unix socket's path may have only 107 bytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from pathlib import Path


def key(version: str) -> str:
    """Return the name of a version that is safe for files, sockets and clusters; reversible.

    >>> key("7"), version_of(key("a/b"))
    ('v-7', 'a/b')
    """
    name = "v-" + quote(version, safe="")
    if len(name) > 64:
        raise OutsideError(
            f"The version name {version!r} is too long for a socket's path.",
            remedy="Use a version name of at most 60 plain characters.",
        )
    return name


def version_of(name: str) -> str:
    """Return the version that :func:`key` made ``name`` of."""
    return unquote(name.removeprefix("v-"))


def _short(text: str) -> str:
    """A name for folders whose path somebody may take for a URL: no per cent signs."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Folder:
    """The state folder of one endpoint."""

    path: Path

    @property
    def spec(self) -> Path:
        """What is wanted: the one file that adapters write."""
        return self.path / "spec.json"

    @property
    def spec_lock(self) -> Path:
        """Held by whoever changes the spec."""
        return self.path / "spec.lock"

    @property
    def measure(self) -> Path:
        """How traffic is to be counted."""
        return self.path / "measure.json"

    @property
    def stopped(self) -> Path:
        """There while the endpoint has been stopped on purpose: nobody starts anything."""
        return self.path / "stopped"

    @property
    def store(self) -> Path:
        """The counts, answers and offsets (SQLite)."""
        return self.path / "store.sqlite"

    @property
    def labels(self) -> Path:
        """Where the user's process appends the truth unless told otherwise."""
        return self.path / "labels.jsonl"

    @property
    def models(self) -> Path:
        """Copies of the model folders, so that a restart needs nobody's workspace."""
        return self.path / "models"

    @property
    def run(self) -> Path:
        """Process locks, sockets and start counts."""
        return self.path / "run"

    @property
    def logs(self) -> Path:
        """What the processes print."""
        return self.path / "logs"

    @property
    def xds(self) -> Path:
        """Envoy's listeners, clusters and routes, which it watches."""
        return self.path / "xds"

    @property
    def access(self) -> Path:
        """Envoy's access log, in numbered segments."""
        return self.path / "access"

    @property
    def answers(self) -> Path:
        """The model servers' answers, a folder per variant, in segments."""
        return self.path / "answers"

    @property
    def supervisor_lock(self) -> Path:
        """Held by the supervisor for as long as it lives."""
        return self.run / "supervisor.lock"

    @property
    def envoy_lock(self) -> Path:
        """Held by Envoy for as long as it lives."""
        return self.run / "envoy.lock"

    @property
    def admin_socket(self) -> str:
        """Envoy's administration socket, relative to the folder."""
        return "run/admin.sock"

    def server_lock(self, version: str) -> Path:
        """Held by the variant's model server for as long as it lives."""
        return self.run / f"{key(version)}.lock"

    def starts(self, version: str) -> Path:
        """How often the variant's server has been started."""
        return self.run / f"{key(version)}.starts"

    def socket(self, version: str) -> str:
        """The variant's socket, relative to the folder."""
        return f"run/{key(version)}.sock"

    def server_log(self, version: str) -> Path:
        """What the variant's server and the user's own server print."""
        return self.logs / f"{key(version)}.log"

    def model(self, version: str, digest: str) -> str:
        """The copy of a variant's model, relative to the folder."""
        return f"models/{_short(version)}-{_short(digest)}"

    def model_pattern(self, version: str) -> str:
        """What the names of all copies of a version match (glob)."""
        return f"{_short(version)}-*"

    def servers(self) -> list[str]:
        """Return the versions that have (or had) a model server here."""
        return sorted(version_of(path.name[: -len(".lock")]) for path in self.run.glob("v-*.lock"))

    def make(self) -> None:
        """Create the folder tree, private to the user: predictions and labels live here."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.run, self.logs, self.xds, self.access, self.answers, self.models):
            folder.mkdir(mode=0o700, exist_ok=True)
