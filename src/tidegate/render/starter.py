"""The files that ``tidegate init`` writes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from tidegate.yaml12 import YamlError, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate.detect import Guess

_FILES = Environment(
    loader=PackageLoader("tidegate.render"),
    undefined=StrictUndefined,
    autoescape=False,  # noqa: S701 (YAML, from our own guesses; `init` loads it again at once)
    trim_blocks=True,
)


def mlops_yaml(name: str, guesses: Mapping[str, Guess]) -> str:
    """Return the starter ``mlops.yaml``; what is only a placeholder says so on its line."""

    def note(guess: Guess) -> str:
        return "" if guess.sure else f"  # CHANGE THIS: {guess.why.splitlines()[0]}"

    values = {key: replace(guess, value=_scalar(guess.value)) for key, guess in guesses.items()}
    return _FILES.get_template("mlops.yaml.j2").render(name=_scalar(name), note=note, **values)


def _scalar(text: str) -> str:
    """Return text as YAML: as it is where that is read back as the same text, else quoted."""
    try:
        plain = parse(f"key: {text}").data == {"key": text}
    except YamlError:
        plain = False
    return text if plain else json.dumps(text, ensure_ascii=False)
