"""Every expected error, with the exit code it ends in and what the reader should do about it.

One place raises none of these and catches all of them: :mod:`tidegate.cli`. Whatever is not a
:class:`TidegateError` is a bug and ends in exit code 4.
"""

from __future__ import annotations

import os
from enum import IntEnum

from tidegate.redact import redact


class Exit(IntEnum):
    """What the process's exit code tells the caller."""

    OK = 0  # passed, promoted, done
    REJECTED = 1  # the gate rejected the model, or the canary took it back
    USAGE = 2  # mlops.yaml or the command line is wrong
    OUTSIDE = 3  # an outside system (git, registry, endpoint, network) failed
    BUG = 4  # our fault
    INCONCLUSIVE = 5  # inconclusive, held, expired or superseded
    NOT_JUDGED = 6  # training, prediction or the judgement itself failed
    INTERRUPTED = 130


class TidegateError(Exception):
    """An expected failure: what happened, and what to do about it.

    Its text is shown to people, in public, too: no secret of the environment stands in it, and no
    password of an address.

    Attributes:
        exit_code: the exit code of the process when nobody handles it.
        remedy: one or two sentences telling the reader how to go on; may be empty.
    """

    exit_code = Exit.BUG

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(redact(message, os.environ))
        self.remedy = redact(remedy, os.environ)


class ConfigError(TidegateError):
    """``mlops.yaml``, an argument or an input table's columns are not what they must be."""

    exit_code = Exit.USAGE


class OutsideError(TidegateError):
    """Something that Tidegate does not own (git, registry, endpoint, disk) failed or is missing."""

    exit_code = Exit.OUTSIDE


class NotJudgedError(TidegateError):
    """Training, a check or a prediction failed, so there is nothing to judge."""

    exit_code = Exit.NOT_JUDGED


class RefusedError(TidegateError):
    """A rule forbids what was asked: no passing verdict, a quarantined model, another champion."""

    exit_code = Exit.REJECTED


class LedgerMovedError(OutsideError):
    """Somebody else appended to the ledger first. Read again, decide again; nothing was written."""
