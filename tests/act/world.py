"""One small GitHub and one self-hosted runner, in a folder: repositories, people's clones, events and their runs."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.act import events, gitserver
from tests.act.act import Act, Result
from tests.act.events import Pull, Repository

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.act.house import House

WRITES, READS = "ghs_tidegateActWorldWrites0000000000000", "ghs_tidegateActWorldReads00000000000000"
MAIN = "refs/heads/main"
WORKFLOW = ".github/workflows/mlops.yml"
# What a runner's administrator would pass on: where packages come from, and which certificates hold.
_PASSED_ON = ("PIP_", "UV_", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "http_proxy", "https_proxy",
              "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY")  # fmt: skip


@dataclass
class World:
    """A repository on the small GitHub, and what happens to it."""

    folder: Path
    server: gitserver.Server
    house: House
    api: str  # of the loopback GitHub
    name: str = "ada/flights"
    env: dict[str, str] = field(default_factory=dict)  # of the runner, beside what it needs
    token: str = WRITES
    runs: list[Result] = field(default_factory=list)
    pulls: dict[int, Pull] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(7001))

    @classmethod
    @contextlib.contextmanager
    def made(cls, folder: Path, house: House, api: str, **more: Any) -> Iterator[World]:
        """Make a world with an empty repository of Ada's, and her clone of it."""
        with gitserver.serve(folder / "hosted", writers={WRITES}, readers={READS}) as server:
            world = cls(folder=folder, server=server, house=house, api=api, **more)
            world.host(world.name)
            (folder / "artifacts").mkdir()
            git(folder, "clone", "--quiet", str(world.bare), str(world.work))
            git(world.work, "symbolic-ref", "HEAD", MAIN)
            yield world

    # --- repositories -------------------------------------------------------------------------

    @property
    def bare(self) -> Path:
        """The repository as it is hosted."""
        return self.server.bare(self.name)

    @property
    def work(self) -> Path:
        """Ada's clone."""
        return self.folder / "work"

    @property
    def artifacts(self) -> Path:
        """The artifacts of all runs: ``<run id>/<name>/``."""
        return self.folder / "artifacts"

    @property
    def repository(self) -> Repository:
        """How payloads describe it."""
        return Repository(name=self.name, server=self.server.url, api=self.api)

    def host(self, name: str) -> Path:
        """Make an empty repository."""
        bare = self.server.bare(name)
        bare.mkdir(parents=True)
        git(bare, "init", "--quiet", "--bare", "--initial-branch", "main")
        return bare

    def commit(
        self, message: str, files: Mapping[str, str | bytes | None], *, clone: Path | None = None
    ) -> str:
        """Commit files (None: removed) in a clone, Ada's unless told otherwise; return the commit."""
        clone = clone or self.work
        for name, content in files.items():
            path = clone / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        git(clone, "add", "--all")
        git(
            clone,
            *_PERSON,
            "commit",
            "--quiet",
            "--allow-empty",
            "--cleanup=verbatim",
            "-m",
            message,
        )
        return git(clone, "rev-parse", "HEAD")

    def tip(self, ref: str = MAIN) -> str:
        """Return the commit of a ref as hosted; zeros if there is none."""
        found = git(self.bare, "for-each-ref", "--format=%(objectname)", ref)
        return found or events.ZERO

    # --- what people do, each with the run that follows ----------------------------------------

    def push(self, *, actor: str = "ada") -> Result:
        """Push Ada's main and run what the push starts."""
        before = self.tip()
        git(self.work, "push", "--quiet", "origin", "HEAD:main")
        after = self.tip()
        span = after if before == events.ZERO else f"{before}..{after}"
        commits = [
            {
                "id": sha,
                "message": git(self.work, "log", "-1", "--format=%B", sha),
                "distinct": True,
            }
            for sha in git(self.work, "rev-list", "--reverse", span).split()
        ]
        payload = events.push(
            self.repository, ref=MAIN, before=before, after=after, commits=commits, actor=actor
        )
        return self.run("push", payload, sha=after, ref=MAIN, actor=actor)

    def merge(self, pull: Pull, *, actor: str = "ada") -> Result:
        """Merge a pull request with a merge commit, and run what that push starts."""
        git(self.work, "fetch", "--quiet", str(self.bare), pull.head_sha)
        git(self.work, "checkout", "--quiet", "main")
        title = f"Merge pull request #{pull.number} from {pull.head.name.partition('/')[0]}/{pull.head_ref}"
        git(
            self.work,
            *_PERSON,
            "merge",
            "--quiet",
            "--no-ff",
            "-m",
            f"{title}\n\n{pull.title}",
            pull.head_sha,
        )
        return self.push(actor=actor)

    def fork(self, owner: str) -> Repository:
        """Fork the repository; the fork's clone is at ``folder/owner``."""
        name = f"{owner}/{self.name.partition('/')[2]}"
        shutil.copytree(self.bare, self.server.bare(name))
        git(self.folder, "clone", "--quiet", str(self.server.bare(name)), str(self.folder / owner))
        return Repository(name=name, server=self.server.url, api=self.api, number=5353, fork=True)

    def propose(
        self,
        number: int,
        branch: str,
        *,
        title: str,
        head: Repository | None = None,
        body: str = "",
        author: str = "grace",
    ) -> Pull:
        """Open a pull request, or take note of its new commits: push its branch and GitHub's merge of it.

        Pushes the head of the clone that belongs to ``head`` (Ada's, or the fork's).
        """
        head = head or self.repository
        clone = self.folder / head.name.partition("/")[0] if head.fork else self.work
        sha = git(clone, "rev-parse", "HEAD")
        git(
            clone,
            "push",
            "--quiet",
            "--force",
            str(self.server.bare(head.name)),
            f"{sha}:refs/heads/{branch}",
        )
        git(clone, "push", "--quiet", "--force", str(self.bare), f"{sha}:refs/pull/{number}/head")
        base = self.tip()
        pull = Pull(
            number=number, title=title, body=body, base=self.repository, base_ref="main", base_sha=base,
            head=head, head_ref=branch, head_sha=sha, merge_sha=self._merged(number, base, sha), author=author,
        )  # fmt: skip
        self.pulls[number] = pull
        return pull

    def _merged(self, number: int, base: str, head: str) -> str:
        """Make GitHub's test merge at ``refs/pull/N/merge``."""
        with self._checkout(base) as tree:
            git(tree, "fetch", "--quiet", str(self.bare), head)
            git(
                tree,
                *_GITHUB,
                "merge",
                "--quiet",
                "--no-ff",
                "-m",
                f"Merge {head} into {base}",
                head,
            )
            merged = git(tree, "rev-parse", "HEAD")
            git(
                tree,
                "push",
                "--quiet",
                "--force",
                str(self.bare),
                f"{merged}:refs/pull/{number}/merge",
            )
        return merged

    def check(self, pull: Pull, *, action: str = "opened", before: str | None = None) -> Result:
        """Run what a pull request starts; a fork's run gets a token that only reads."""
        payload = events.pull_request(pull, action=action, actor=pull.author, before=before)
        return self.run(
            "pull_request", payload, sha=pull.merge_sha, ref=f"refs/pull/{pull.number}/merge",
            actor=pull.author, token=READS if pull.head.fork else None,
        )  # fmt: skip

    def queue(self, pull: Pull, *, actor: str = "ada") -> Result:
        """Run what the merge queue asks for."""
        ref = f"refs/heads/gh-readonly-queue/main/pr-{pull.number}-{pull.base_sha}"
        git(self.bare, "update-ref", ref, pull.merge_sha)
        payload = events.merge_group(
            self.repository,
            head_sha=pull.merge_sha,
            head_ref=ref,
            base_sha=pull.base_sha,
            base_ref=MAIN,
            actor=actor,
        )
        return self.run("merge_group", payload, sha=pull.merge_sha, ref=ref, actor=actor)

    def tick(self) -> Result:
        """Run what the clock starts."""
        payload = events.schedule(self.repository, cron="23 * * * *")
        return self.run("schedule", payload, sha=self.tip(), ref=MAIN, actor="ada")

    def dispatch(self, *, actor: str = "ada", **inputs: str) -> Result:
        """Run a dispatch of the user's workflow, every input that it declares filled in as GitHub does."""
        import yaml

        declared = yaml.load(git(self.bare, "show", f"main:{WORKFLOW}"), Loader=yaml.BaseLoader)[
            "on"
        ]["workflow_dispatch"]["inputs"]
        if unknown := inputs.keys() - declared.keys():
            raise AssertionError(f"422: Unexpected inputs provided: {sorted(unknown)}")
        given = {key: inputs.get(key, about.get("default", "")) for key, about in declared.items()}
        payload = events.workflow_dispatch(
            self.repository, ref=MAIN, workflow=WORKFLOW, inputs=given, actor=actor
        )
        return self.run("workflow_dispatch", payload, sha=self.tip(), ref=MAIN, actor=actor)

    def followed(self, result: Result, pull: Pull, *, workflow: str) -> Result:
        """Run the ``workflow_run`` workflow after a pull request's run."""
        payload = events.workflow_run(
            self.repository, run_id=result.id, event=result.event, path=WORKFLOW, name="MLOps",
            conclusion="failure" if result.red else "success", head=pull.head, head_branch=pull.head_ref,
            head_sha=pull.head_sha, actor=pull.author,
        )  # fmt: skip
        return self.run(
            "workflow_run", payload, sha=self.tip(), ref=MAIN, actor=pull.author, workflow=workflow
        )

    # --- a run ----------------------------------------------------------------------------------

    def run(
        self, event: str, payload: dict[str, Any], *, sha: str, ref: str, actor: str, token: str | None = None,
        workflow: str = WORKFLOW,
    ) -> Result:  # fmt: skip
        """Run a workflow file of commit ``sha`` for an event."""
        run_id = str(next(self._numbers))
        github = {
            "ACTOR": actor, "TRIGGERING_ACTOR": actor, "REPOSITORY": self.name,
            "REPOSITORY_OWNER": self.name.partition("/")[0], "REPOSITORY_ID": str(self.repository.number),
            "REF": ref, "API_URL": self.api, "SERVER_URL": self.server.url, "GRAPHQL_URL": f"{self.api}/graphql",
            "RUN_NUMBER": run_id, "RUN_ATTEMPT": "1", "WORKFLOW_REF": f"{self.name}/{workflow}@{ref}",
            "WORKFLOW_SHA": sha,
        }  # fmt: skip
        with self._checkout(sha) as tree:
            act = Act(
                folder=self.folder / "runs", actions=self.house.stand_ins(tree),
                env=self._environment(),
            )  # fmt: skip
            result = act.run(
                event, payload, tree=tree, run_id=run_id, workflow=workflow, github=github,
                token=token or self.token,
            )  # fmt: skip
        self.runs.append(result)
        return result

    @contextlib.contextmanager
    def _checkout(self, sha: str) -> Iterator[Path]:
        tree = self.folder / f"tree-{sha[:12]}"
        git(self.folder, "clone", "--quiet", "--shared", "--no-checkout", str(self.bare), str(tree))
        try:
            git(tree, "fetch", "--quiet", "origin", "+refs/*:refs/hosted/*")
            git(tree, "checkout", "--quiet", "--detach", sha)
            yield tree
        finally:
            shutil.rmtree(tree)

    def _environment(self) -> dict[str, str]:
        """Return the runner's environment: a machine with Python and git, and caches that last."""
        passed = {key: value for key, value in os.environ.items() if key.startswith(_PASSED_ON)}
        path = [str(Path(sys.base_prefix) / "bin"), "/usr/local/bin", "/usr/bin", "/bin"]
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return {
            **passed, "PATH": ":".join(path), "LANG": "C.UTF-8", "ARTIFACT_STORE": str(self.artifacts),
            "UV_CACHE_DIR": str(os.environ.get("UV_CACHE_DIR") or cache / "uv"), "PIP_CACHE_DIR": str(cache / "pip"),
            **self.env,
        }  # fmt: skip


_PERSON = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
_GITHUB = ("-c", "user.name=GitHub", "-c", "user.email=noreply@github.com")


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder and return what it prints, without the last newline."""
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], check=False, capture_output=True, text=True,
        env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"},
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"git {' '.join(arguments)}: {done.stderr}")
    return done.stdout.rstrip("\n")
