"""``tidegate report``: a verdict, and how its rollout went, for people to read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tidegate import run_record, verdicts
from tidegate.commands.context import Context, add_config
from tidegate.core import story as stories
from tidegate.errors import Exit, OutsideError
from tidegate.home import RUN, VERDICT
from tidegate.render.comment import comment, job_summary
from tidegate.render.html import html
from tidegate.render.report import Report

if TYPE_CHECKING:
    import argparse

    from tidegate.book import Book
    from tidegate.core.model import Verdict
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
    name, candidate = context.config.model.name, verdict.digests.candidate
    if candidate is None:  # of a ready-made table: no ledger can know what it is about
        return Report(model=name, verdict=verdict, notes=notes)
    book = context.ledger().read()
    return Report(
        model=name,
        verdict=verdict,
        notes=notes,
        run=_trained(path.parent, verdict),
        candidate=_version(book.state, candidate),
        champion=_version(book.state, verdict.digests.champion),
        story=_story(book, candidate),
    )


def _trained(bundle: Path, verdict: Verdict) -> RunRecord | None:
    """Return the training run beside the verdict, if it is of the same model."""
    if not (bundle / RUN).exists():
        return None
    record = run_record.read(bundle)
    return record if record.model_digest == verdict.digests.candidate else None


def _version(state: State, digest: str | None) -> str | None:
    found = (model.version for model in reversed(state.versions) if model.digest == digest)
    return next(found, None)


def _story(book: Book, candidate: str) -> Story | None:
    rollout = stories.find(book.state, candidate)
    return stories.tell(rollout, book.chain, book.frozen(rollout.id)) if rollout else None
