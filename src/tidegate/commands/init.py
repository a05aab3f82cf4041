"""``tidegate init``: write the two files that a repository owns, and say what they rest on."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate import detect
from tidegate.commands.context import add_json
from tidegate.detect import Guess, Origin
from tidegate.errors import ConfigError, Exit
from tidegate.git import GitError, text
from tidegate.load import load
from tidegate.pin import REPOSITORY
from tidegate.render.starter import LEDGER_RULES, mlops_yaml, publisher, workflow
from tidegate.signing import PRIVATE_KEY, new_pair

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from tidegate.terminal import Terminal

SUMMARY = "write mlops.yaml and the GitHub workflow, and say what was found"

_IGNORED = ".tidegate/"
_MODEL = ("run", "train", "holdout", "id", "target", "task")  # what mlops.yaml is made of


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the files go."""

    folder: Path  # of mlops.yaml
    top: Path  # of the repository; the folder itself where there is none
    origin: Origin | None

    @property
    def workflows(self) -> Path:
        """The folder that GitHub reads workflows from."""
        return self.top / ".github" / "workflows"

    def name(self, path: Path) -> str:
        """Return a path as a person in the folder would write it."""
        inside = path.is_relative_to(self.folder)
        return str(path.relative_to(self.folder if inside else self.top))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_json(parser)
    parser.add_argument("--name", help="the model's name (default: the folder's)")
    parser.add_argument("--run", metavar="COMMAND", help="the command that trains")
    parser.add_argument("--train", metavar="FILE", help="the training table")
    parser.add_argument("--holdout", metavar="FILE", help="the holdout table")
    parser.add_argument("--target", metavar="COLUMN", help="the column with the truth")
    parser.add_argument("--id", metavar="COLUMN", help="the column that names a row")
    parser.add_argument("--force", action="store_true", help="overwrite files that are there")
    parser.add_argument(
        "--forks", action="store_true", help="also publish verdicts on pull requests from forks"
    )
    parser.add_argument(
        "--operate-runner",
        metavar="LABEL",
        help="your own machine, by its runner label, where the model serves (the local target)",
    )
    parser.add_argument(
        "--signing-key",
        action="store_true",
        help="make a key pair: nothing serves that was not signed; shows the secret half once",
    )
    parser.add_argument(
        "--no-workflow", action="store_true", help="no GitHub workflow: mlops.yaml alone"
    )
    parser.add_argument(
        "--hook",
        metavar="ORIGIN.git",
        type=Path,
        help="one box without GitHub: make pushes to this bare repository run the pipeline here",
    )


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Write the files (and the hook)."""
    place = _place()
    guesses = _guesses(args, place)
    pair = _new_pair() if args.signing_key else None
    written = dict(_files(args, place, guesses, pair[1] if pair else None))
    if not written and not args.hook and not pair:
        raise ConfigError(
            f"{place.folder / 'mlops.yaml'} and the workflow are there already",
            remedy="Use --force to write them anew.",
        )
    if _ignore(place.top):
        written[place.name(place.top / ".gitignore")] = f"keeps {_IGNORED} (local state) out of git"
    if args.hook:
        written[str(_hook(args.hook, place.folder))] = "a push to that repository runs the pipeline"
    shown = _shown(guesses, written)
    document: dict[str, object] = {
        "written": list(written),
        "guesses": {key: asdict(guess) for key, guess in guesses.items()},
        "change": [key for key in shown if not guesses[key].sure],
    }
    if _flow_written(written):
        document["ruleset"] = LEDGER_RULES
    if pair:
        document["public_key"] = pair[1]
    terminal.emit(document)
    for file, why in written.items():
        terminal.say(f"wrote {file}: {why}")
    for key in shown:
        advice = "" if guesses[key].sure else "CHANGE THIS: "
        terminal.say(f"  {key:<12} {guesses[key].value:<28} {advice}{guesses[key].why}")
    if pair:
        _hand_over(*pair, terminal, written)
    for line in _next(args, place, written):
        terminal.say(line)
    return Exit.OK


def _place() -> Place:
    folder = Path.cwd().resolve()
    try:
        top = Path(text(folder, "rev-parse", "--show-toplevel")).resolve()
    except GitError:
        return Place(folder=folder, top=folder, origin=None)
    return Place(folder=folder, top=top, origin=detect.origin(top))


# --- the files ------------------------------------------------------------------------------


def _files(
    args: argparse.Namespace, place: Place, guesses: dict[str, Guess], public_key: str | None
) -> Iterator[tuple[str, str]]:
    """Write what is missing; yield each file written and what it is for."""
    name = args.name or _name(place.folder)
    path = place.folder / "mlops.yaml"
    if args.force or not path.exists():
        model = {key: guesses[key] for key in _MODEL}
        store = "store" in guesses
        _write(path, mlops_yaml(name, model, store=store, public_key=public_key))
        yield place.name(path), "the model: how it is trained, judged and released"
    if args.no_workflow or args.hook:
        return
    path = place.workflows / "mlops.yml"
    if _wanted(path, "deliver.yml", force=args.force):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_workflow(args, guesses, signed=public_key is not None))
        yield place.name(path), "what runs on GitHub: one job per class of event"
    path = place.workflows / "mlops-forks.yml"
    if args.forks and _wanted(path, "publish.yml", force=args.force):
        path.write_text(publisher())
        yield place.name(path), "tells a fork's pull request its verdict, without running its code"


def _wanted(path: Path, call: str, *, force: bool) -> bool:
    """Whether to write a workflow: a second one that calls the same would do everything twice."""
    ours = f"{REPOSITORY}/.github/workflows/{call}@"
    others = (each for each in path.parent.glob("*.y*ml") if each != path)
    if any(ours in each.read_text(errors="replace") for each in others):
        return False
    return force or not path.exists()


def _workflow(args: argparse.Namespace, guesses: dict[str, Guess], *, signed: bool) -> str:
    training = {key: guesses[key].value for key in ("requirements",) if key in guesses}
    operating = {"operate-runner": args.operate_runner} if args.operate_runner else {}
    branch = guesses["branch"].value
    return workflow(branch, training=training, operating=operating, signed=signed)


def _flow_written(written: Iterable[str]) -> bool:
    return any(file.endswith("/mlops.yml") for file in written)


def _has_workflow(place: Place) -> bool:
    return any(
        REPOSITORY in each.read_text(errors="replace") for each in place.workflows.glob("*.y*ml")
    )


def _name(folder: Path) -> str:
    return re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-")[:50].strip("-") or "model"


def _write(path: Path, content: str) -> None:
    """Write a file that loads, or none: a name or a column may be one that no rule allows."""
    before = path.read_bytes() if path.exists() else None
    path.write_text(content)
    try:
        load(path)
    except ConfigError:
        path.unlink() if before is None else path.write_bytes(before)
        raise


def _ignore(folder: Path) -> bool:
    """Keep the state directory out of git."""
    path = folder / ".gitignore"
    lines = path.read_text().splitlines() if path.exists() else []
    if _IGNORED in lines:
        return False
    path.write_text("\n".join([*lines, _IGNORED]) + "\n")
    return True


# --- what they rest on ----------------------------------------------------------------------


def _guesses(args: argparse.Namespace, place: Place) -> dict[str, Guess]:
    folder = place.folder
    train, holdout = detect.data_files(folder)
    train, holdout = _told(args.train, train), _told(args.holdout, holdout)
    table = holdout if (folder / holdout.value).exists() else train
    name, target, task = detect.columns(folder / table.value)
    found = {
        "run": _told(args.run, detect.training_script(folder)),
        "train": train,
        "holdout": holdout,
        "id": _told(args.id, name),
        "target": _told(args.target, target),
        "task": task,
    }
    if args.no_workflow or args.hook:
        return found
    found["branch"] = detect.default_branch(place.top)
    if packages := detect.requirements(folder, place.top):
        found["requirements"] = packages
    if place.origin and place.origin.github:
        why = "origin is on github.com: model bytes become release assets, no server to run"
        found["store"] = Guess(value="github-releases", why=why)
    return found


def _told(value: str | None, guess: Guess) -> Guess:
    return Guess(value=value, why="as you said") if value else guess


def _shown(guesses: dict[str, Guess], written: dict[str, str]) -> list[str]:
    """Return the guesses that went into a file just written."""
    model, flow = "mlops.yaml" in written, _flow_written(written)
    return [
        key
        for key in guesses
        if (model if key in (*_MODEL, "store") else flow and key in ("branch", "requirements"))
    ]


# --- the signing key ------------------------------------------------------------------------

_TERMINAL = Path("/dev/tty")


def _new_pair() -> tuple[str, str]:
    """Make a key pair, where there is a terminal to show the private half on."""
    try:
        with _TERMINAL.open("w"):
            return new_pair()
    except OSError:
        raise ConfigError(
            "--signing-key shows a secret once, on a terminal, and there is none",
            remedy="Run it by hand, in a terminal. Nothing was written.",
        ) from None


def _hand_over(private: str, public: str, terminal: Terminal, written: dict[str, str]) -> None:
    """Show the private key on the terminal alone: no pipe, file or log of ours gets it."""
    if "mlops.yaml" not in written:
        terminal.say(f"add to mlops.yaml, under registry:  public_key: {public}")
    if not _flow_written(written):
        secret = f'"${{{{ secrets.{PRIVATE_KEY} }}}}"'
        terminal.say(f"add to the deliver job:  secrets: {{signing-key: {secret}}}")
    with _TERMINAL.open("w") as person:
        person.write(f"the private key, shown this once: {private}\n")
        person.write(f"keep it as a secret (paste it when asked):  gh secret set {PRIVATE_KEY}\n")


# --- what to do next ------------------------------------------------------------------------


def _next(args: argparse.Namespace, place: Place, written: dict[str, str]) -> Iterator[str]:
    if args.hook:
        yield f"a push to {args.hook} now runs the pipeline on this machine; to look at it"
        yield f"from a clone: export TIDEGATE_HOME={_home(args.hook)}"
        return
    if not _has_workflow(place):
        yield "next: `tidegate doctor`, then commit, then `tidegate run` (what a push runs)"
        return
    if _flow_written(written) and not args.operate_runner:
        yield "the local target serves on a machine of yours (GitHub's own die with the job): make it a"
        yield "  self-hosted runner and give deliver, watch and command  with: {operate-runner: LABEL}"
    yield "next: `GH_TOKEN=$(gh auth token) tidegate doctor`, then commit and push"
    if place.origin and _flow_written(written):
        yield "protect the ledger against rewriting (or import the JSON in Settings > Rules > Rulesets):"
        yield f"gh api --method POST repos/{place.origin.slug}/rulesets --input - <<'JSON'"
        yield json.dumps(LEDGER_RULES)
        yield "JSON"


def _home(bare: Path) -> Path:
    """Return the state directory of a box: beside the repository it serves."""
    return bare.resolve().with_suffix(".tidegate")


def _hook(bare: Path, folder: Path) -> Path:
    from tidegate.hook import install

    try:
        top = Path(text(folder, "rev-parse", "--show-toplevel"))
    except GitError:
        raise ConfigError("not in a git repository", remedy="Run `git init` first.") from None
    home = _home(bare)
    return install(bare.resolve(), runner=home / "runner" / top.name, home=home)
