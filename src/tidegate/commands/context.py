"""What every command that touches the world needs: the configuration and the ports behind it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate.commands.sessions import Sessions
from tidegate.errors import ConfigError, OutsideError
from tidegate.git import GitError, text
from tidegate.home import Home
from tidegate.load import expand, load_fully
from tidegate.rules import agreed_at, judged_by
from tidegate.runner import Runner

if TYPE_CHECKING:
    import argparse

    from tidegate.book import Ledger
    from tidegate.core.config import Config
    from tidegate.core.state import State
    from tidegate.perform import SafeTarget, World
    from tidegate.ports import MetricSource, ObjectStore, Registry
    from tidegate.render.report import RuleChange
    from tidegate.rules import Agreed
    from tidegate.signing import Trust
    from tidegate.terminal import Terminal

BRANCH = "tidegate-ledger"
_TOKENS = ("TIDEGATE_GITHUB_TOKEN", "GITHUB_TOKEN", "GH_TOKEN")  # on a person's machine


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the configuration."""
    parser.add_argument(
        "--config", type=Path, default=Path("mlops.yaml"), help="the model's file (default: ./mlops.yaml)"
    )  # fmt: skip


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the switch between text and JSON."""
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")


def add_person(parser: argparse.ArgumentParser) -> None:
    """Add what a person's decision is recorded with."""
    parser.add_argument("--reason", required=True, help="why; it stands in the ledger for ever")
    parser.add_argument("--by", help="who decides (default: git's user.name)")


@dataclass(frozen=True, kw_only=True)
class Context:
    """One model in one repository on one machine."""

    config: Config
    folder: Path  # of mlops.yaml; the user's commands run here
    repository: Path
    home: Home
    terminal: Terminal
    actor: str
    own_rules: tuple[RuleChange, ...] = ()  # what a pull request changed, and is not judged by
    agreed: Agreed | None = None  # where the functions of own metrics stand; None: in the work tree
    sessions: Sessions = field(default_factory=Sessions, compare=False, repr=False)

    @classmethod
    def of(
        cls, args: argparse.Namespace, terminal: Terminal, *, base: str | None = None
    ) -> Context:
        """Build the context that the arguments describe; ``base``: the commit whose rules judge.

        Raises:
            ConfigError: ``mlops.yaml`` is wrong, or not in a git repository.
        """
        path: Path = args.config
        loaded = load_fully(path)
        folder = path.resolve().parent
        try:
            repository = Path(text(folder, "rev-parse", "--show-toplevel"))
        except GitError:
            raise ConfigError(
                f"{folder} is not in a git repository",
                remedy="Run `git init` and commit your files: the ledger lives in git.",
            ) from None
        actor = getattr(args, "by", None) or _user(repository)
        config, changes = judged_by(repository, path.resolve(), loaded, base)
        agreed = None
        if base is not None and config.gate.own:
            agreed = agreed_at(repository, path.resolve(), config.model.name, base)
        return cls(
            config=config, folder=folder, repository=repository, home=Home.find(repository),
            terminal=terminal, actor=actor, own_rules=changes, agreed=agreed,
        )  # fmt: skip

    def value(self, raw: str, key: str) -> str:
        """Resolve ``${VAR}`` in a value of the configuration."""
        return expand(raw, os.environ, key=key)

    def path(self, raw: str, key: str) -> Path:
        """Resolve a path of the configuration, relative to ``mlops.yaml``."""
        return self.folder / self.value(raw, key)

    @property
    def head(self) -> str:
        """The commit that is checked out.

        Raises:
            ConfigError: there is no commit yet.
        """
        try:
            return text(self.repository, "rev-parse", "HEAD")
        except GitError:
            raise ConfigError(
                "the repository has no commit", remedy="Commit your files first."
            ) from None

    @property
    def bundle(self) -> Path:
        """Where the candidate of the checked-out commit is built."""
        return self.home.bundle(self.head)

    def ledger(self) -> Ledger:
        """Return the model's ledger: at the remote ``origin`` if there is one, else in this repository."""
        from tidegate.adapters.ledger.git import GitLedger
        from tidegate.book import Ledger
        from tidegate.render.ledger import page

        remotes = text(self.repository, "remote").split()
        remote = os.environ.get("TIDEGATE_REMOTE") or ("origin" if "origin" in remotes else None)
        name = self.config.model.name
        store = GitLedger(self.repository, f"{BRANCH}/{name}", remote=remote)
        return Ledger(store, lambda state, chain: page(name, state, chain))

    def registry(self) -> Registry:
        """Return the registry: the repository's releases, an MLflow server, or the embedded store.

        Raises:
            ConfigError: the embedded store, on a machine that dies with the job.
            OutsideError: releases, and no token or no repository on GitHub.
        """
        store = self.config.registry.store
        if store == "github-releases":
            return self._releases()
        if store is not None:
            from tidegate.adapters.registry.buckets import BucketRegistry

            return BucketRegistry(self.store(store))
        from tidegate.adapters.registry.mlflow import MlflowRegistry

        if self.config.registry.uri:
            return MlflowRegistry(self.value(self.config.registry.uri, "registry.uri"))
        if (runner := Runner.find()) is not None and runner.hosted:
            raise ConfigError(
                "the embedded registry would die with this job, and every version with it",
                remedy="Write `registry: {store: github-releases}` into mlops.yaml, which needs "
                "nothing else, or `registry: {uri: ...}` with the address of your MLflow server.",
            )
        folder = self.home.registry
        folder.mkdir(parents=True, exist_ok=True)
        return MlflowRegistry(f"sqlite:///{folder / 'mlflow.db'}", artifacts=folder / "artifacts")

    def store(self, uri: str) -> ObjectStore:
        """Return a folder of a bucket, in the account that the rest of the configuration names.

        Raises:
            OutsideError: the cloud's packages are missing, or it cannot be reached.
        """
        from tidegate.adapters.stores import open_store

        if uri.startswith("s3://"):
            settings = self.config.release.sagemaker or self.config.train.sagemaker
            region = settings.region if settings else None
            where = self.value(region, "region") if region else None
            return open_store(uri, aws=self.sessions.aws(where))
        cloud = self.config.release.vertex or self.config.train.vertex
        project = self.value(cloud.project, "project") if cloud else ""
        return open_store(uri, google=self.sessions.google(project))

    def _releases(self) -> Registry:
        from tidegate.adapters.host.api import Api
        from tidegate.adapters.registry.releases import ReleasesRegistry, site_of
        from tidegate.detect import origin

        runner = Runner.find()
        api = os.environ.get("GITHUB_API_URL") or "https://api.github.com"
        names = ("TIDEGATE_GITHUB_TOKEN",) if runner else _TOKENS
        token = next((value for name in names if (value := os.environ.get(name))), None)
        if token is None:
            raise OutsideError(
                "registry.store is github-releases, and there is no token for GitHub",
                remedy=f"Set {names[0]} to a token that may write the repository's contents"
                + ("." if runner else ": `export GH_TOKEN=$(gh auth token)`."),
            )
        if runner is not None:
            return ReleasesRegistry(Api(api, token), runner.repository)
        found = origin(self.repository)
        if found is None or found.host != site_of(api):
            raise OutsideError(
                f"registry.store is github-releases, and `origin` is not at {site_of(api)}",
                remedy="Push the repository there and set its remote `origin`, or name your "
                "GitHub Enterprise Server in GITHUB_API_URL (https://HOST/api/v3).",
            )
        return ReleasesRegistry(Api(api, token), found.slug)

    def trust(self, state: State) -> Trust:
        """Return which versions may serve, as mlops.yaml asks and the ledger proves."""
        from tidegate.signing import Trust

        return Trust(public_key=self.config.registry.public_key, signatures=state.signatures)

    def target(self) -> SafeTarget:
        """Return the endpoint."""
        from tidegate.commands.endpoints import target_of

        return target_of(self)

    @property
    def labels(self) -> Path | None:
        """The file in which the truth arrives; None: the endpoint's own, or a folder of a bucket."""
        source = self.config.release.canary.labels.source
        if source is None or "://" in source:
            return None
        return self.path(source, "release.canary.labels.from")

    def metrics(self) -> MetricSource:
        """Return where the endpoint's counts come from."""
        from tidegate.commands.counting import metrics_of

        return metrics_of(self)

    def world(self) -> World:
        """Return everything that a pass touches."""
        from tidegate.perform import World

        return World(
            name=self.config.model.name,
            ledger=self.ledger(),
            target=self.target(),
            metrics=self.metrics(),
            registry=self.registry(),
            home=self.home,
            task=self.config.model.task,
            classes=self.config.model.classes,
            labels=self.labels,
            serve=self.config.predict.serve,
            public_key=self.config.registry.public_key,
            tell=self.terminal.progress,
            fading=lambda: self.sessions.fading,
        )


def _user(repository: Path) -> str:
    if (runner := Runner.find()) is not None:
        return runner.actor
    try:
        return text(repository, "config", "user.name")
    except (GitError, OutsideError):
        return os.environ.get("USER") or "somebody"
