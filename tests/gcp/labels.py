"""What Google takes as a label."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.gcp.routing import refuse

if TYPE_CHECKING:
    from tests.gcp.routing import Row

_ALLOWED = re.compile(r"[a-z0-9_\-]*")


def check_labels(row: Row) -> None:
    """Refuse labels that Google would refuse."""
    labels = row.get("labels") or {}
    bad = [
        f"{key}={value}"
        for key, value in labels.items()
        if not key[:1].isalpha()
        or max(len(key), len(value)) > 64
        or not _ALLOWED.fullmatch(key + value)
    ]
    if bad or len(labels) > 64:
        raise refuse("INVALID_ARGUMENT", f"Invalid labels: {', '.join(bad)[:300]}", rule="labels")
