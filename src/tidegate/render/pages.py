"""Markdown pages from our own templates. Whatever comes from outside goes through ``code`` in them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

if TYPE_CHECKING:
    from collections.abc import Mapping


def template(name: str, *, filters: Mapping[str, Any], functions: Mapping[str, Any]) -> Any:
    """Return a template with what it may call; a name that is not given is an error."""
    pages = Environment(
        loader=PackageLoader("tidegate.render"),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 (Markdown; whatever comes from outside goes through `code`)
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters.update(filters)
    pages.globals.update(functions)
    return pages.get_template(name)


def tidied(text: str) -> str:
    """Return the text without runs of empty lines; nothing from outside holds a line's end."""
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n") + "\n"
