"""Code and files that want more than they are given, through the real jobs."""

from __future__ import annotations

import re
from pathlib import Path


def trainer_names() -> list[str]:
    """Return the names of the training script's tricks."""
    found = Path(__file__).with_name("trainer.py").read_text()
    return re.findall(r"^def (t\d\d_\w+)", found, re.MULTILINE)
