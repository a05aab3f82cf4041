"""What actions/download-artifact does, from ARTIFACT_STORE."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import sys
import zipfile
from pathlib import Path


def main() -> None:
    """Download."""
    inputs = json.loads(os.environ["INPUTS"])
    run = inputs["run-id"]
    if run != os.environ["GITHUB_RUN_ID"] and not inputs["github-token"]:
        sys.exit("Artifact of another run: github-token is needed")
    store = Path(os.environ["ARTIFACT_STORE"]) / run
    path = Path(inputs["path"] or os.environ["GITHUB_WORKSPACE"]).expanduser().resolve()
    present = sorted(entry.stem for entry in store.glob("*.zip"))
    if inputs["name"] and inputs["artifact-ids"]:
        sys.exit("Inputs 'name' and 'artifact-ids' cannot be used together.")
    if inputs["name"]:
        if inputs["name"] not in present:
            sys.exit(f"Artifact not found for name: {inputs['name']}")
        chosen = [inputs["name"]]
    elif inputs["artifact-ids"]:
        ids = {part.strip() for part in inputs["artifact-ids"].split(",") if part.strip()}
        chosen = [name for name in present if number(run, name) in ids]
        if not chosen:
            sys.exit("None of the provided artifact IDs were found")
    else:
        chosen = [n for n in present if fnmatch.fnmatchcase(n, inputs["pattern"] or "*")]
    flat = bool(inputs["name"]) or inputs["merge-multiple"] == "true" or len(chosen) == 1
    path.mkdir(parents=True, exist_ok=True)
    for name in chosen:
        with zipfile.ZipFile(store / f"{name}.zip") as archive:
            archive.extractall(path if flat else path / name)
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as out:
        out.write(f"download-path={path}\n")
    sys.stdout.write(f"Total of {len(chosen)} artifact(s) downloaded: {', '.join(chosen)}\n")


def number(run: str, name: str) -> str:
    """Return an artifact's number."""
    return str(int(hashlib.sha256(f"{run}/{name}".encode()).hexdigest()[:8], 16))


main()
