"""Write down what an action of others takes and gives: ``python -m tests.workflows.record actions/checkout v7.0.1``.

After Dependabot has moved an action, this moves its entry in ``actions.json``; the rules then judge every
``with:`` and every output against the new version. Only names are kept.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

RECORDS = Path(__file__).parent / "actions.json"


def record(source: str, version: str) -> dict[str, Any]:
    """Return the entry of the action at ``version`` (a tag) of the git repository ``source``.

    An input counts as required when it says so and has no default.
    """
    with tempfile.TemporaryDirectory() as folder:
        clone = ["git", "clone", "--quiet", "--depth=1", "--branch", version, source, folder]
        subprocess.run(clone, check=True, capture_output=True)
        head = ["git", "-C", folder, "rev-parse", "HEAD"]
        commit = subprocess.run(head, check=True, capture_output=True, text=True).stdout.strip()
        described = yaml.safe_load((Path(folder) / "action.yml").read_text("utf-8"))
    return {
        "commit": commit,
        "version": version,
        "inputs": {
            name: bool(value.get("required")) and "default" not in value
            for name, value in (described.get("inputs") or {}).items()
        },
        "outputs": list(described.get("outputs") or {}),
    }


def main(arguments: list[str]) -> int:
    """Move one entry."""
    name, version = arguments
    records = json.loads(RECORDS.read_text("utf-8"))
    records[name] = record(f"https://github.com/{name}", version)
    RECORDS.write_text(json.dumps(dict(sorted(records.items())), indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
