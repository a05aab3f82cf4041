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


def workflow(
    branch: str, *, training: Mapping[str, str], operating: Mapping[str, str], signed: bool = False
) -> str:
    """Return ``.github/workflows/mlops.yml``: the template, with this repository's own values.

    Args:
        branch: the default branch.
        training: inputs of the jobs that train and score.
        operating: inputs of the jobs that move traffic.
        signed: give the job that registers the signing key.
    """
    text = resource("workflow-templates/mlops.yml").read_text()
    text = text.replace(_BRANCH, branch if _plain(branch) else json.dumps(branch))
    for file, inputs in (
        ("check", training),
        ("deliver", {**training, **operating}),
        ("watch", operating),
        ("command", operating),
    ):
        for key, value in reversed(tuple(inputs.items())):
            text = _with(text, file, f"{key}: {_flow(value)}")
    if signed:
        secret = f"${{{{ secrets.{PRIVATE_KEY} }}}}"
        text = _below(text, "deliver", f'    secrets: {{signing-key: "{secret}"}}')
    return text


def _with(text: str, file: str, pair: str) -> str:
    """Give the job that calls ``file`` one more input, in front of those it has."""
    has = re.compile(rf"(/{file}\.yml@.*\n    with: {{)")
    if has.search(text):
        return has.sub(lambda match: f"{match[1]}{pair}, ", text)
    return _below(text, file, f"    with: {{{pair}}}")


def _below(text: str, file: str, line: str) -> str:
    """Add a line below the call of ``file``."""
    return re.sub(rf"/{file}\.yml@.*\n", lambda match: f"{match[0]}{line}\n", text)


def publisher() -> str:
    """Return ``.github/workflows/mlops-forks.yml``."""
    return resource("workflow-templates/mlops-forks.yml").read_text()


def _plain(text: str) -> bool:
    """Whether YAML reads the text back as the same text, everywhere."""
    return bool(_PLAIN.fullmatch(text)) and parse(f"key: {text}").data == {"key": text}


def _flow(text: str) -> str:
    if _plain(text):
        return text
    if text.isprintable() and "'" not in text:
        return f"'{text}'"
    return json.dumps(text, ensure_ascii=False)


def _scalar(text: str) -> str:
    """Return text as YAML: as it is where that is read back as the same text, else quoted."""
    try:
        plain = parse(f"key: {text}").data == {"key": text}
    except YamlError:
        plain = False
    return text if plain else json.dumps(text, ensure_ascii=False)
