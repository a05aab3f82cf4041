"""The files that ``tidegate init`` writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

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

    return _FILES.get_template("mlops.yaml.j2").render(name=name, note=note, **guesses)
