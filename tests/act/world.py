"""One small GitHub and one self-hosted runner, in a folder: repositories, people, events and their runs."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.act import events, gitserver, packages
from tests.act.act import Act, Result
from tests.act.events import Pull, Repository
from tests.github.hub import Hub, now
from tests.github.server import running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.act.house import House

NAME, NUMBER, FORKED = "ada/flights", 4242, 5353
READ_ONLY = dict.fromkeys(
    ("actions", "checks", "contents", "deployments", "issues", "pull_requests"), "read"
)
MAIN = "refs/heads/main"
WORKFLOW = ".github/workflows/mlops.yml"
# What a runner's administrator would pass on: where packages come from, and which certificates hold.
_PASSED_ON = ("PIP_", "UV_", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "http_proxy",
              "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY")  # fmt: skip
_PERSON = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
_GITHUB = ("-c", "user.name=GitHub", "-c", "user.email=noreply@github.com")


@dataclass
class World:
    """A repository on the small GitHub, and what happens to it."""

    folder: Path
    server: gitserver.Server
    hub: Hub
    house: House
    env: dict[str, str] = field(default_factory=dict)  # of the runner, beside what it needs
    machine: str = "self-hosted"  # whose machine the runner says it is
    runs: list[Result] = field(default_factory=list)
    played: int = 0  # dispatches that were run
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(7001))

    @classmethod
    @contextlib.contextmanager
    def made(cls, folder: Path, house: House) -> Iterator[World]:
        """Make a world with an empty repository of Ada's, and her clone of it.

        Its runner has the packages of our engine at hand if ``house`` holds that.
        Fails at the end if anything said to the loopback GitHub broke its description.
        """
        hosted, artifacts = folder / "hosted", folder / "artifacts"
        bare = hosted / f"{NAME}.git"
        hub = Hub(repository=NAME, repository_id=NUMBER, bare=bare, artifacts=artifacts)
        with running(hub), gitserver.serve(hosted, hub.token) as server:
            world = cls(folder=folder, server=server, hub=hub, house=house)
            if house.real:
                world.env["UV_CACHE_DIR"] = str(packages.cached(world._environment()))
            bare.mkdir(parents=True)
            git(bare, "init", "--quiet", "--bare", "--initial-branch", "main")
            artifacts.mkdir()
            git(folder, "clone", "--quiet", str(bare), str(world.work))
            git(world.work, "symbolic-ref", "HEAD", MAIN)
            yield world
        assert hub.violations == []

    # --- repositories -------------------------------------------------------------------------

    @property
    def bare(self) -> Path:
        """The repository as it is hosted."""
        return self.server.bare(NAME)

    @property
    def work(self) -> Path:
        """Ada's clone."""
        return self.folder / "work"

    @property
    def artifacts(self) -> Path:
        """The artifacts of all runs: ``<run id>/<name>.zip``."""
        return self.folder / "artifacts"

    @property
    def repository(self) -> Repository:
        """How payloads describe it."""
        return Repository(name=NAME, number=NUMBER, server=self.server.url, api=self.hub.url)

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
        options = ("--quiet", "--allow-empty", "--cleanup=verbatim")
        git(clone, *_PERSON, "commit", *options, "-m", message)
        return git(clone, "rev-parse", "HEAD")

    def branch(self, name: str, *, clone: Path | None = None) -> None:
        """Go to a branch in a clone (Ada's unless told otherwise); a new one begins at the hosted main."""
        clone = clone or self.work
        if git(clone, "for-each-ref", f"refs/heads/{name}"):
            git(clone, "checkout", "--quiet", name)
        else:
            git(clone, "fetch", "--quiet", str(self.bare), "main")
            git(clone, "checkout", "--quiet", "--no-track", "-b", name, "FETCH_HEAD")

    def tip(self, ref: str = MAIN) -> str:
        """Return the commit of a ref as hosted; zeros if there is none."""
        found = git(self.bare, "for-each-ref", "--format=%(objectname)", ref)
        return found or events.ZERO

    def fork(self, owner: str) -> Repository:
        """Fork the repository; the fork's clone is ``folder/owner``."""
        name = f"{owner}/{NAME.partition('/')[2]}"
        shutil.copytree(self.bare, self.server.bare(name))
        git(self.folder, "clone", "--quiet", str(self.server.bare(name)), str(self.folder / owner))
        return Repository(
            name=name, number=FORKED, server=self.server.url, api=self.hub.url, fork=True
        )

    # --- what people do, each with the run that follows ----------------------------------------

    def push(self, *, actor: str = "ada") -> Result:
        """Push Ada's main and run what the push starts."""
        before = self.tip()
        git(self.work, "push", "--quiet", "origin", "main")
        after = self.tip()
        span = after if before == events.ZERO else f"{before}..{after}"
        commits = [
            {"id": sha, "message": git(self.work, "log", "-1", "--format=%B", sha)}
            for sha in git(self.work, "rev-list", "--reverse", span).split()
        ]
        payload = events.push(
            self.repository, ref=MAIN, before=before, after=after, commits=commits, actor=actor
        )
        return self.run("push", payload, sha=after, ref=MAIN, actor=actor)

    def merge(self, pull: Pull, *, actor: str = "ada") -> Result:
        """Merge a pull request with a merge commit, and run what that push starts."""
        git(self.work, "fetch", "--quiet", str(self.bare), f"refs/pull/{pull.number}/head")
        owner = pull.head.name.partition("/")[0]
        message = f"Merge pull request #{pull.number} from {owner}/{pull.head_ref}\n\n{pull.title}"
        self.branch("main")
        git(self.work, *_PERSON, "merge", "--quiet", "--no-ff", "-m", message, pull.head_sha)
        merged = git(self.work, "rev-parse", "HEAD")
        with self.hub.lock:
            row = next(row for row in self.hub.state.pulls if row["number"] == pull.number)
            row.update(state="closed", merged_at=now(), merge_commit_sha=merged)
        return self.push(actor=actor)

    def propose(
        self,
        branch: str,
        *,
        title: str = "A change",
        head: Repository | None = None,
        author: str = "grace",
    ) -> Pull:
        """Open a pull request, or take note of new commits: push the branch, and GitHub's merge of it.

        Pushes the head of the clone that belongs to ``head`` (Ada's, or the fork's).
        """
        head = head or self.repository
        clone = self.folder / head.name.partition("/")[0] if head.fork else self.work
        sha, base = git(clone, "rev-parse", "HEAD"), self.tip()
        hosted = str(self.server.bare(head.name))
        git(clone, "push", "--quiet", "--force", hosted, f"{sha}:refs/heads/{branch}")
        with self.hub.lock:
            row = next((r for r in self.hub.state.pulls if _is(r, head, branch)), None)
            if row is None:
                row = self.hub.add_pull(
                    head=branch, sha=sha, base_sha=base, head_repository=head.name,
                    head_repository_id=head.number, title=title, login=author,
                )  # fmt: skip
            row["head"]["sha"], number = sha, int(row["number"])
        git(clone, "push", "--quiet", "--force", str(self.bare), f"{sha}:refs/pull/{number}/head")
        return Pull(
            number=number, title=title, body=None, base=self.repository, base_ref="main", base_sha=base,
            head=head, head_ref=branch, head_sha=sha, merge_sha=self._merged(number, base, sha),
            author=author,
        )  # fmt: skip

    def _merged(self, number: int, base: str, head: str) -> str:
        """Make GitHub's test merge at ``refs/pull/N/merge``."""
        message = f"Merge {head} into {base}"
        with self._checkout(base) as tree:
            git(tree, *_GITHUB, "merge", "--quiet", "--no-ff", "-m", message, head)
            sha = git(tree, "rev-parse", "HEAD")
            ref = f"refs/pull/{number}/merge"
            git(tree, "push", "--quiet", "--force", str(self.bare), f"{sha}:{ref}")
        return sha

    def check(self, pull: Pull, *, action: str = "opened", before: str | None = None) -> Result:
        """Run what a pull request starts; in a fork's run the token only reads."""
        payload = events.pull_request(pull, action=action, actor=pull.author, before=before)
        return self.run(
            "pull_request", payload, sha=pull.merge_sha, ref=f"refs/pull/{pull.number}/merge",
            actor=pull.author, pull=pull,
        )  # fmt: skip

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

    def forged(self, pull: Pull, name: str, files: Mapping[str, str]) -> Result:
        """Return a run of a pull request that uploaded what its author liked."""
        number = next(self._numbers)
        with self.hub.lock:
            self.hub.add_run(
                number, sha=pull.head_sha, head_repository_id=pull.head.number, branch=pull.head_ref
            )  # fmt: skip
        folder = self.artifacts / str(number)
        folder.mkdir()
        with zipfile.ZipFile(folder / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path, content in files.items():
                archive.writestr(path, content)
        return Result(
            id=str(number), event="pull_request", code=0, seconds=0, jobs={}, complaint="", raw=""
        )

    def queue(self, pull: Pull, *, actor: str = "ada") -> Result:
        """Run what the merge queue asks for."""
        ref = f"refs/heads/gh-readonly-queue/main/pr-{pull.number}-{pull.base_sha}"
        git(self.bare, "update-ref", ref, pull.merge_sha)
        payload = events.merge_group(
            self.repository, head_sha=pull.merge_sha, head_ref=ref, base_sha=pull.base_sha,
            base_ref=MAIN, actor=actor,
        )  # fmt: skip
        return self.run("merge_group", payload, sha=pull.merge_sha, ref=ref, actor=actor)

    def tick(self) -> Result:
        """Run what the clock starts."""
        payload = events.schedule(self.repository, cron="23 * * * *")
        return self.run("schedule", payload, sha=self.tip(), ref=MAIN, actor="ada")

    def dispatch(self, *, actor: str = "ada", **inputs: str) -> Result:
        """Run a dispatch of the user's workflow, with the defaults of what is not given."""
        text = git(self.bare, "show", f"main:{WORKFLOW}")
        loaded = yaml.load(text, Loader=yaml.BaseLoader)
        declared = loaded["on"]["workflow_dispatch"]["inputs"]
        if unknown := inputs.keys() - declared.keys():
            raise AssertionError(f"422: Unexpected inputs provided: {sorted(unknown)}")
        given = {key: inputs.get(key, about.get("default", "")) for key, about in declared.items()}
        payload = events.workflow_dispatch(
            self.repository, ref=MAIN, workflow=WORKFLOW, inputs=given, actor=actor
        )
        return self.run("workflow_dispatch", payload, sha=self.tip(), ref=MAIN, actor=actor)

    def play_dispatches(self) -> list[Result]:
        """Run what our jobs have dispatched since the last time, and what that dispatches in turn."""
        results = []
        while self.played < len(self.hub.state.dispatches):
            row = self.hub.state.dispatches[self.played]
            self.played += 1
            if row["workflow"] != "mlops.yml" or row["ref"] not in {"main", MAIN}:
                raise AssertionError(f"404: no such workflow or branch: {row}")
            results.append(self.dispatch(actor="github-actions[bot]", **row["inputs"]))
        return results

    # --- a run ----------------------------------------------------------------------------------

    def run(
        self,
        event: str,
        payload: dict[str, Any],
        *,
        sha: str,
        ref: str,
        actor: str,
        pull: Pull | None = None,
        workflow: str = WORKFLOW,
    ) -> Result:
        """Run a workflow file of commit ``sha`` for an event; ``pull``: the pull request that has it."""
        number = next(self._numbers)
        api, server = self.hub.url, self.server.url
        github = {
            "ACTOR": actor, "TRIGGERING_ACTOR": actor, "REPOSITORY": NAME,
            "REPOSITORY_OWNER": NAME.partition("/")[0], "REPOSITORY_ID": str(NUMBER),
            "REF": ref, "API_URL": api, "SERVER_URL": server, "GRAPHQL_URL": f"{api}/graphql",
            "RUN_NUMBER": str(number), "RUN_ATTEMPT": "1", "WORKFLOW_SHA": sha,
            "WORKFLOW_REF": f"{NAME}/{workflow}@{ref}",
        }  # fmt: skip
        foreign = pull is not None and pull.head.fork
        with self.hub.lock:
            self.hub.add_run(
                number, sha=pull.head_sha if pull else sha,
                head_repository_id=pull.head.number if pull else NUMBER,
                branch=pull.head_ref if pull else ref.removeprefix("refs/heads/"),
            )  # fmt: skip
        with self._allowed(writes=not foreign), self._checkout(sha) as tree:
            actions = self.house.stand_ins(tree)
            act = Act(
                folder=self.folder / "runs", actions=actions, env=self._environment(),
                machine=self.machine,
            )  # fmt: skip
            result = act.run(
                event, payload, tree=tree, run_id=str(number), workflow=workflow, github=github,
                token=self.hub.token, heard=_Jobs(self.hub, number),
            )  # fmt: skip
        self.runs.append(result)
        return result

    @contextlib.contextmanager
    def _allowed(self, *, writes: bool) -> Iterator[None]:
        """Let the token of the run only read, or write too."""
        self.hub.grant(None if writes else READ_ONLY)
        self.server.writable = writes
        try:
            yield
        finally:
            self.hub.grant(None)
            self.server.writable = True

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
            "PIP_CACHE_DIR": str(cache / "pip"), **passed,
            "PATH": ":".join(path), "LANG": "C.UTF-8", "ARTIFACT_STORE": str(self.artifacts),
            "OMP_NUM_THREADS": "1",  # jobs run side by side on few cores: threads that spin starve them
            **self.env,
        }  # fmt: skip


class _Jobs:
    """What the small GitHub lists of a run's jobs while it goes on, under the names that GitHub gives them."""

    def __init__(self, hub: Hub, run: int) -> None:
        self._hub, self._run = hub, run
        self._rows: dict[str, dict[str, Any]] = {}

    def __call__(self, entry: Mapping[str, Any]) -> None:
        """Take a line of act's log."""
        path = str(entry.get("job", "")).strip()
        with self._hub.lock:
            if path and path not in self._rows and entry.get("stage"):
                name = re.sub(
                    r"\[([^]]*)\]|/",
                    lambda m: f" ({m[1].replace(',', ', ')})" if m[1] else " / ",
                    path,
                )
                self._rows[path] = self._hub.add_job(self._run, name, entry["time"], None)
            elif (result := entry.get("jobResult")) and path in self._rows:
                self._rows[path].update(
                    status="completed", conclusion=result, completed_at=entry["time"]
                )


def _is(row: Mapping[str, Any], head: Repository, branch: str) -> bool:
    side = row["head"]
    return (row["state"], side["ref"], side["repo"]["full_name"]) == ("open", branch, head.name)


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder and return what it prints, without the last newline."""
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], check=False, capture_output=True, text=True,
        env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"},
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"git {' '.join(arguments)}: {done.stderr}")
    return done.stdout.rstrip("\n")
