"""What actions/checkout does, by git, over HTTP, from GITHUB_SERVER_URL."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

COMMIT = re.compile(r"[0-9a-f]{40}")


def main() -> None:
    """Check out."""
    inputs = json.loads(os.environ["INPUTS"])
    server, own = os.environ["GITHUB_SERVER_URL"], os.environ["GITHUB_REPOSITORY"]
    workspace = Path(os.environ["GITHUB_WORKSPACE"]).resolve()
    folder = (workspace / inputs["path"]).resolve()
    if not folder.is_relative_to(workspace):
        sys.exit(f"Repository path '{folder}' is not under '{workspace}'")
    if inputs["lfs"] == "true":
        sys.exit("the stand-in has no LFS")
    repository = inputs["repository"]
    wanted = inputs["ref"]
    if not wanted and repository == own:
        wanted = os.environ["GITHUB_REF"]
        exact = os.environ["GITHUB_SHA"]
    else:
        wanted = wanted or "HEAD"
        exact = wanted if COMMIT.fullmatch(wanted) else ""

    secret = base64.b64encode(f"x-access-token:{inputs['token']}".encode()).decode()
    header = f"AUTHORIZATION: basic {secret}"

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-c", f"http.{server}/.extraheader={header}", *arguments],
            cwd=folder, check=True, stdout=subprocess.PIPE, text=True,
        ).stdout.strip()  # fmt: skip

    if folder.exists() and inputs["clean"] == "true":
        for entry in folder.iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    git("init", "--quiet", ".")
    git("remote", "add", "origin", f"{server}/{repository}")
    depth, tags = int(inputs["fetch-depth"]), inputs["fetch-tags"] == "true"
    options = ["--quiet", "--tags" if tags or not depth else "--no-tags"]
    if depth:
        options.append(f"--depth={depth}")
    if inputs["filter"] or inputs["sparse-checkout"]:
        options.append(f"--filter={inputs['filter'] or 'blob:none'}")
    if depth:
        git("fetch", *options, "origin", exact or wanted)
        found = "FETCH_HEAD"
    else:
        git("fetch", *options, "origin", "+refs/heads/*:refs/remotes/origin/*", exact or wanted)
        found = exact or "FETCH_HEAD"
        if not exact:
            git("fetch", "--quiet", "origin", wanted)
    commit = git("rev-parse", f"{found}^{{commit}}")
    if patterns := inputs["sparse-checkout"].split():
        cone = "--cone" if inputs["sparse-checkout-cone-mode"] == "true" else "--no-cone"
        git("sparse-checkout", "set", cone, *patterns)
    if wanted.startswith("refs/heads/"):
        branch = wanted.removeprefix("refs/heads/")
        git("checkout", "--quiet", "--force", "-B", branch, commit)
    else:
        git("checkout", "--quiet", "--force", "--detach", commit)
    if inputs["persist-credentials"] == "true":
        git("config", f"http.{server}/.extraheader", header)
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as file:
        file.write(f"ref={wanted}\ncommit={commit}\n")
    sys.stdout.write(f"{repository} at {commit}\n")


main()
