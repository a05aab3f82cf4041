"""The files that ``tidegate init`` writes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from tidegate.resources import resource
from tidegate.signing import PRIVATE_KEY
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
_BRANCH = "$default-branch"  # GitHub's own placeholder in an organisation's templates
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")
LEDGER_RULES = {
    "name": "tidegate-ledger",
    "target": "branch",
    "enforcement": "active",
    "conditions": {
        "ref_name": {
            "include": ["refs/heads/tidegate-ledger/*", "refs/heads/tidegate-ledger/**/*"],
            "exclude": [],
        }
    },
    "rules": [{"type": "deletion"}, {"type": "non_fast_forward"}],
    "bypass_actors": [],
}  # importable in Settings > Rules > Rulesets: what is in the ledger stays in it


def mlops_yaml(
    name: str, guesses: Mapping[str, Guess], *, store: bool = False, public_key: str | None = None
) -> str:
    """Return the starter ``mlops.yaml``; what is only a placeholder says so on its line."""

    def note(guess: Guess) -> str:
        return "" if guess.sure else f"  # CHANGE THIS: {guess.why.splitlines()[0]}"

    values = {key: replace(guess, value=_scalar(guess.value)) for key, guess in guesses.items()}
    template = _FILES.get_template("mlops.yaml.j2")
    return template.render(
        name=_scalar(name), note=note, store=store, public_key=public_key, **values
    )


def workflow(branch: str, inputs: Mapping[str, str], *, signed: bool = False) -> str:
    """Return ``.github/workflows/mlops.yml``: the template, with this repository's own values.

    ``inputs`` go to the jobs that train and score; ``signed`` gives the one that registers the key.
    """
    text = resource("workflow-templates/mlops.yml").read_text()
    text = text.replace(_BRANCH, branch if _plain(branch) else json.dumps(branch))
    if given := ", ".join(f"{key}: {_flow(value)}" for key, value in inputs.items()):
        text = _below(text, "check|deliver", f"with: {{{given}}}")
    if signed:
        secret = f"${{{{ secrets.{PRIVATE_KEY} }}}}"
        text = _below(text, "deliver", f'secrets: {{signing-key: "{secret}"}}')
    return text


def _below(text: str, calls: str, line: str) -> str:
    """Add a line to the jobs that call one of these workflows."""
    call = re.compile(rf"^    uses: \S+/(?:{calls})\.yml@.*$", re.MULTILINE)
    return call.sub(lambda match: f"{match[0]}\n    {line}", text)


def publisher() -> str:
    """Return ``.github/workflows/mlops-forks.yml``."""
    return resource("workflow-templates/mlops-forks.yml").read_text()


def _plain(text: str) -> bool:
    """Whether YAML reads the text back as the same text, everywhere."""
    return bool(_PLAIN.fullmatch(text)) and parse(f"key: {text}").data == {"key": text}


def _flow(text: str) -> str:
    return text if _plain(text) else json.dumps(text, ensure_ascii=False)


def _scalar(text: str) -> str:
    """Return text as YAML: as it is where that is read back as the same text, else quoted."""
    try:
        plain = parse(f"key: {text}").data == {"key": text}
    except YamlError:
        plain = False
    return text if plain else json.dumps(text, ensure_ascii=False)
