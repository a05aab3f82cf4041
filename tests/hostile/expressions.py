"""GitHub's expressions, as far as the workflows that are played here use them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<call>[A-Za-z]+)\(|(?P<name>[A-Za-z_][\w.-]*)"
    r"|(?P<number>\d+)|(?P<sign>&&|\|\||==|!=|!|\(|\)|,))"
)
_SIGNS = {"&&": " and ", "||": " or ", "!": " not "}
_WORDS = {"true": "True", "false": "False"}
STATUS = re.compile(r"\b(?:always|cancelled|failure|success)\(")


class Values:
    """The contexts (``inputs``, ``needs``, ...), looked up by dotted names; a missing one is ''."""

    def __init__(self, contexts: Mapping[str, Any]) -> None:
        self._contexts = contexts

    def look(self, name: str) -> Any:
        """Return the value of a name."""
        here: Any = self._contexts
        for part in name.split("."):
            here = here.get(part) if hasattr(here, "get") else None
        return "" if here is None else here

    def value(self, expression: str) -> Any:
        """Evaluate one expression, as Python with GitHub's names.

        Raises:
            ValueError: it holds something that is not known here.
        """
        out, at = "", 0
        while at < len(expression.rstrip()):
            found = _TOKEN.match(expression, at)
            if found is None:
                raise ValueError(f"not understood: {expression[at:]!r}")
            at = found.end()
            if found["text"]:
                out += repr(found["text"][1:-1].replace("''", "'"))
            elif found["number"]:
                out += found["number"]
            elif found["call"]:
                out += f"F[{found['call']!r}]("
            elif found["name"]:
                out += _WORDS.get(found["name"]) or f"look({found['name']!r})"
            else:
                out += _SIGNS.get(found["sign"], found["sign"])
        functions = {
            "startsWith": lambda text, start: str(text).startswith(start),
            "fromJSON": json.loads,
            "cancelled": lambda: False,
            "always": lambda: True,
        }
        return eval(out.strip(), {"__builtins__": {}, "F": functions, "look": self.look})

    def text(self, raw: Any) -> str:
        """Fill ``${{ }}`` into a value of a workflow."""

        def shown(match: re.Match[str]) -> str:
            value = self.value(match[1])
            return str(value).lower() if isinstance(value, bool) else str(value)

        if isinstance(raw, bool):
            return str(raw).lower()
        return re.sub(r"\$\{\{(.*?)\}\}", shown, str(raw), flags=re.DOTALL)

    def typed(self, raw: Any) -> Any:
        """Fill, and keep the type where the whole is one expression."""
        whole = re.fullmatch(r"\s*\$\{\{([^}]*)\}\}\s*", raw) if isinstance(raw, str) else None
        if whole:
            return self.value(whole[1])
        return self.text(raw) if isinstance(raw, str) else raw

    def holds(self, condition: Any, *, so_far: bool) -> bool:
        """Evaluate an ``if``; where it asks for no status, what came before must be well."""
        if condition is None:
            return so_far
        inner = re.sub(r"^\s*\$\{\{|\}\}\s*$", "", str(condition))
        if not STATUS.search(inner) and not so_far:
            return False
        return bool(self.value(inner))
