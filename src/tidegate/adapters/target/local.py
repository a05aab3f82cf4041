"""The local target: Envoy in front of one model server per variant, on this machine.

Nothing here serves anything. The adapter writes down what is wanted and makes sure that the
endpoint's supervisor runs; the processes outlive whoever called.
"""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tidegate.core.config import Environment
from tidegate.core.endpoint import Endpoint, Variant
from tidegate.endpoint import asking, control, envoy, fleet, processes, spec, xds
from tidegate.endpoint.layout import Folder, key
from tidegate.endpoint.spec import Member, Spec
from tidegate.errors import OutsideError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    import pyarrow as pa

    from tidegate.core.endpoint import Traffic
    from tidegate.ports import Deployment

CHUNK = 500  # rows asked at once


class LocalTarget:
    """An endpoint whose state is the folder ``directory``. Implements Target and DeadMan.

    Args:
        directory: the endpoint's state folder; made when something is deployed.
        port: where Envoy listens.
        timeout: seconds after which an answer is an error (504).
        bind: the address Envoy listens on; loopback unless you mean it.
        patience: seconds Envoy may take to come up or to follow.
        environment: what MLflow models run in.
        environments: where built environments are kept; None: models run in the engine's.

    Every method raises OutsideError when the packages of ``tidegate[local]`` are missing or the
    endpoint's processes do not come up.
    """

    def __init__(  # noqa: PLR0913 (what an endpoint is made of)
        self,
        directory: Path,
        *,
        port: int,
        timeout: float,
        bind: str = "127.0.0.1",
        patience: float = 15.0,
        environment: Environment = Environment.ENGINE,
        environments: Path | None = None,
    ) -> None:
        self._folder = Folder(directory.absolute())
        self._port = port
        self._timeout = timeout
        self._bind = bind
        self._patience = patience
        self._environment = environment
        self._environments = environments

    def read(self) -> Endpoint:
        """Return the endpoint as it is: weights as Envoy has them, health as the servers answer."""
        wanted = spec.read(self._folder)
        if wanted is None:
            return Endpoint(variants=())
        self._ensure(wanted)
        shares = self._envoy_shares()
        wanted = spec.read(self._folder) or wanted
        versions = [*wanted.members, *(v for v in shares if v not in wanted.members)]
        with ThreadPoolExecutor(max_workers=8) as pool:
            ready = dict(zip(versions, pool.map(self._ready, versions), strict=True))
        variants = tuple(
            Variant(
                version=version,
                digest=wanted.members[version].digest if version in wanted.members else "",
                share=shares.get(version, 0.0),
                ready=ready[version],
                restarts=max(0, fleet.read_starts(self._folder, version) - 1),
            )
            for version in versions
        )
        return Endpoint(
            variants=variants,
            generation=wanted.generation,
            url=f"http://{wanted.bind}:{wanted.port}",
            tripped=wanted.tripped,
        )

    def deploy(self, deployment: Deployment, *, generation: int) -> None:
        """Bring a variant up with no traffic. Returns at once; :meth:`read` tells when it is ready.

        Raises:
            OutsideError: a newer generation was seen, the version is there with other bytes, the
                model folder cannot be copied, or the port is taken.
        """
        envoy.require()
        key(deployment.version)
        self._check_port()
        present = spec.read(self._folder)
        if present is not None:  # before copying gigabytes; again under the lock below
            spec.fence(present, generation)
        model = self._adopt(deployment)
        member = Member(
            version=deployment.version,
            digest=deployment.digest,
            model=model,
            task=deployment.task,
            classes=deployment.classes,
            serve=deployment.serve,
            cwd=None if deployment.serve is None else str(Path.cwd()),
            environment=str(self._environment),
            environments=str(self._environments.absolute()) if self._environments else None,
        )
        self._change(lambda before: spec.deployed(before, member, generation))
        self._adopt(deployment)  # a removal of the same version may just have deleted it
        control.ensure(self._folder)

    def route(self, traffic: Traffic, *, generation: int) -> None:
        """Give each version its share; returns when Envoy does so.

        Raises:
            OutsideError: a newer generation was seen, a version is not deployed, the shares do not
                sum to 1, or Envoy does not follow.
        """
        after = self._change(lambda before: spec.routed(before, traffic, generation))
        self._ensure(after)
        deadline = time.monotonic() + self._patience
        while True:
            wanted = spec.read(self._folder)
            if wanted is None or wanted.traffic != after.traffic:
                return  # somebody newer, or the dead-man's switch; the caller reads back anyway
            weights = {v: w / spec.TOTAL for v, w in spec.weights(after.traffic).items()}
            if self._envoy_shares() == weights:
                return
            if time.monotonic() > deadline:
                raise OutsideError(
                    f"Envoy did not take the weights {weights} within {self._patience:.0f} s.",
                    remedy=f"See {self._folder.logs}.",
                )
            time.sleep(0.02)

    def remove(self, version: str, *, generation: int) -> None:
        """Take a variant away. Returns at once; its server ends after its last answer.

        Raises:
            OutsideError: a newer generation was seen, or the variant has traffic or would get it
                from the dead-man's switch.
        """
        if spec.read(self._folder) is None:
            return
        self._change(lambda before: spec.removed(before, version, generation))
        control.ensure(self._folder)

    def tidy(self, *, generation: int) -> None:
        """Nothing is ever left over: a removed variant takes its files along."""

    def ask(self, version: str, rows: pa.Table) -> npt.NDArray[np.float64]:
        """Ask one variant directly: past the router, its counts and its log.

        Raises:
            OutsideError: its server does not answer.
            NotJudgedError: the model cannot answer these rows.
        """
        wanted = spec.read(self._folder)
        if wanted is None or version not in wanted.members:
            raise OutsideError(f"Version {version} is not on the endpoint.", remedy="Deploy it.")
        control.ensure(self._folder)
        parts = [
            asking.ask(self._folder, version, rows.slice(begin, CHUNK))
            for begin in range(0, rows.num_rows, CHUNK)
        ]
        return np.concatenate(parts) if parts else np.empty(0)

    def arm(self, until: float | None, fallback: Traffic, *, generation: int) -> None:
        """Let traffic become ``fallback`` at ``until`` (epoch seconds); None disarms.

        A call of an older generation than the newest one seen changes nothing.

        Raises:
            OutsideError: the fallback names a version that is not deployed.
        """
        if spec.read(self._folder) is None and until is None:
            return
        self._change(lambda before: spec.armed(before, until, fallback, generation))
        control.ensure(self._folder)

    def stop(self) -> None:
        """End every process of the endpoint; counts and wanted state stay."""
        control.stop(self._folder.path)

    def _change(self, alter: Callable[[Spec], Spec]) -> Spec:
        empty = Spec(port=self._port, bind=self._bind, timeout=self._timeout)
        return spec.change(
            self._folder,
            empty,
            lambda before: replace(
                alter(before), port=self._port, bind=self._bind, timeout=self._timeout
            ),
        )

    def _adopt(self, deployment: Deployment) -> str:
        return control.adopt_model(
            self._folder, deployment.model_dir, deployment.version, deployment.digest
        )

    def _ensure(self, wanted: Spec) -> None:
        """Have supervisor and Envoy up."""
        envoy.require()
        control.ensure(self._folder)
        deadline = time.monotonic() + self._patience
        while True:
            try:
                if envoy.ask(self._folder, "/listeners").strip():
                    return
            except OSError as error:
                problem: object = error
            else:
                problem = "it has no listener"
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        self._check_port()
        raise OutsideError(
            f"Envoy does not come up on {wanted.bind}:{wanted.port}: {problem}.",
            remedy=f"See {self._folder.logs / 'envoy.log'}.",
        )

    def _check_port(self) -> None:
        """Raise when somebody else listens on our port; Envoy itself may of course."""
        present = spec.read(self._folder)
        ours = present is not None and (present.bind, present.port) == (self._bind, self._port)
        if ours and processes.held(self._folder.envoy_lock) and self._listens():
            return
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self._bind, self._port))
            except OSError as error:
                raise OutsideError(
                    f"Cannot listen on {self._bind}:{self._port}: {error.strerror}.",
                    remedy="Another program uses the port. Choose another one in mlops.yaml "
                    "(release.local.port), or end that program.",
                ) from error

    def _listens(self) -> bool:
        try:
            return bool(envoy.ask(self._folder, "/listeners").strip())
        except OSError:
            return False

    def _envoy_shares(self) -> dict[str, float]:
        """Ask Envoy for its weights; it may just be on its way up again."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return xds.shares(envoy.dump(self._folder, "dynamic_route_configs"))
            except OSError as error:
                if time.monotonic() > deadline:
                    raise OutsideError(
                        f"Envoy does not answer: {error}", remedy=f"See {self._folder.logs}."
                    ) from error
            time.sleep(0.02)

    def _ready(self, version: str) -> bool:
        try:
            status, _ = envoy.over_socket(
                self._folder, self._folder.socket(version), "GET", "/ping", timeout=2.0
            )
        except OSError:
            return False
        return status == 200
