"""``tidegate report``: a verdict, and how its rollout went, for people to read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tidegate import bundles, pictures, run_record, verdicts
from tidegate.commands.context import Context, add_config
from tidegate.core import story as stories
from tidegate.core.events import Overridden
from tidegate.errors import Exit, NotJudgedError, OutsideError
from tidegate.home import RUN, VERDICT
from tidegate.render.comment import comment, job_summary
from tidegate.render.html import html
from tidegate.render.report import Override, Report
from tidegate.signing import Trust

if TYPE_CHECKING:
    import argparse

    from tidegate.book import Book
    from tidegate.core.canary import Decision
    from tidegate.core.model import Verdict, VersionRef
    from tidegate.core.pictures import Pictures
    from tidegate.core.state import State
    from tidegate.core.story import Story
    from tidegate.run_record import RunRecord
    from tidegate.terminal import Terminal

SUMMARY = "a verdict as a pull-request comment, a job summary or an HTML page"

FORMATS = {"comment": comment, "summary": job_summary, "html": html}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command line."""
    add_config(parser)
    parser.add_argument(
        "--format", choices=tuple(FORMATS), default="summary",
        help="comment: Markdown that begins with the marker by which it is found and updated; "
        "summary: the same without (default); html: one self-contained page",
    )  # fmt: skip
    parser.add_argument(
        "--verdict", type=Path, metavar="FILE",
        help="verdict.json (default: that of the checked-out commit)",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write it there (default: standard output)"
    )


def run(args: argparse.Namespace, terminal: Terminal) -> Exit:
    """Render a verdict.

    Raises:
        NotJudgedError: there is no verdict, or it is not one.
        OutsideError: the ledger cannot be read, or the output cannot be written.
    """
    context = Context.of(args, terminal)
    path: Path = args.verdict or context.bundle / VERDICT
    text = FORMATS[args.format](gather(context, path))
    output: Path | None = args.output
    if output is None:
        terminal.say(text)
        return Exit.OK
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutsideError(f"{output}: {error.strerror}") from None
    terminal.progress(f"wrote {output}")
    return Exit.OK


def gather(context: Context, path: Path) -> Report:
    """Return the verdict in ``path`` with its training run and what the ledger knows of both models.

    Raises:
        NotJudgedError: the file is missing or not a verdict.
        OutsideError: the ledger cannot be read.
    """
    verdict, notes = verdicts.read(path)
    name = context.config.model.name
    if verdict.digests.candidate is None:  # of a ready-made table: no ledger can know what it is
        drawn = _pictures(path.parent, verdict)
        return Report(model=name, verdict=verdict, notes=notes, pictures=drawn)
    return told(name, verdict, notes, path.parent, context.ledger().read())


def report_for(
    context: Context, book: Book, model: VersionRef, *, decision: Decision | None = None
) -> Report | None:
    """Return the report of a registered version, by the verdict that its bundle carries.

    Args:
        context: of the model.
        book: the ledger; the rollout is told from it.
        model: the version.
        decision: how the live rollout stood at the newest pass; used if it is this version's.

    Returns:
        None when the bundle carries no verdict: it was registered without one.

    Raises:
        NotJudgedError: the verdict is not one, or not the one the ledger knows of this model.
        OutsideError: the registry fails, or its bytes are not those that were judged.
    """
    name = context.config.model.name
    folder = context.home.fetched(model.digest)
    if not (folder / VERDICT).is_file():  # the bytes are verified where they are fetched and served
        anyone = Trust(public_key=None)  # nothing serves from here
        folder = bundles.fetch(context.home, context.registry(), name, model, anyone)
    if not (folder / VERDICT).is_file():
        return None
    verdict, notes = verdicts.read(folder / VERDICT)
    _check_known(verdict, book.state, model)
    report = told(name, verdict, notes, folder, book)
    live = book.state.rollout is not None and book.state.rollout.model.digest == model.digest
    return replace(report, commit=model.commit, decision=decision if live else None)


def _check_known(verdict: Verdict, state: State, model: VersionRef) -> None:
    """Refuse a verdict that the ledger does not know: what a registry holds may have been changed."""
    if verdict.digests.candidate != model.digest:
        raise NotJudgedError(f"the verdict kept with version {model.version} is of another model")
    known = state.verdicts.get(model.digest)
    if known is not None and known.rules == verdict.digests.rules:
        same = (known.outcome, known.holdout) == (str(verdict.outcome), verdict.digests.holdout)
        if not same:
            raise NotJudgedError(
                f"the verdict kept with version {model.version} is not what the ledger says"
            )


def told(name: str, verdict: Verdict, notes: tuple[str, ...], bundle: Path, book: Book) -> Report:
    """Return a verdict with the training run in its bundle and what ``book`` knows of both models.

    Raises:
        NotJudgedError: the bundle's ``run.json`` or ``pictures.json`` is none.
    """
    candidate = verdict.digests.candidate
    assert candidate is not None
    return Report(
        model=name,
        verdict=verdict,
        notes=notes,
        run=_trained(bundle, verdict),
        candidate=_version(book.state, candidate),
        champion=_version(book.state, verdict.digests.champion),
        story=_story(book, candidate),
        override=_override(book, candidate),
        pictures=_pictures(bundle, verdict),
    )


def _override(book: Book, candidate: str) -> Override | None:
    """Return who let the model through, and why."""
    for event in reversed(book.chain):
        match event.payload:
            case Overridden(candidate=digest, reason=reason) if digest == candidate:
                return Override(by=event.actor, reason=reason)
            case _:
                pass
    return None


def _trained(bundle: Path, verdict: Verdict) -> RunRecord | None:
    """Return the training run beside the verdict, if it is of the same model."""
    if not (bundle / RUN).exists():
        return None
    record = run_record.read(bundle)
    return record if record.model_digest == verdict.digests.candidate else None


def _pictures(bundle: Path, verdict: Verdict) -> Pictures | None:
    """Return the pictures beside the verdict, if they are of the same model and rows."""
    found, digests = pictures.read(bundle), verdict.digests
    if found is None:
        return None
    drawn = (found.candidate, found.holdout, found.n)
    return found if drawn == (digests.candidate, digests.holdout, verdict.n) else None


def _version(state: State, digest: str | None) -> str | None:
    found = (model.version for model in reversed(state.versions) if model.digest == digest)
    return next(found, None)


def _story(book: Book, candidate: str) -> Story | None:
    rollout = stories.find(book.state, candidate)
    if rollout is None:
        return None
    return stories.tell(rollout, book.chain, book.frozen(rollout.id), book.state.tenures)
