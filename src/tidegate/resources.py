"""Files that ship with the package: schemas, examples and workflow templates."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def resource(name: str) -> Path:
    """Return the path of a shipped file or folder, from an installed wheel or a checkout.

    The wheel carries ``schemas``, ``examples`` and ``workflow-templates`` inside the package; in a checkout they stand at
    the top, where people look for them.
    """
    for root in (_PACKAGE, _PACKAGE.parent.parent):
        if (path := root / name).exists():
            return path
    raise FileNotFoundError(name)
