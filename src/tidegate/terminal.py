"""Where commands talk: results to stdout (text or JSON), progress to stderr."""

from __future__ import annotations

import json
import sys
import time
from typing import TextIO

from tidegate.runner import Runner


class Terminal:
    """A command's voice. With ``json`` on, stdout carries exactly one JSON document."""

    def __init__(
        self, *, as_json: bool = False, out: TextIO | None = None, err: TextIO | None = None
    ) -> None:
        self.as_json = as_json
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._began = time.monotonic()
        self.runner = Runner.find()  # None away from GitHub

    def emit(self, document: object) -> None:
        """Write the command's JSON document; does nothing when text was asked for."""
        if self.as_json:
            self._out.write(json.dumps(document, indent=2, allow_nan=False) + "\n")
            self._out.flush()

    def say(self, text: str) -> None:
        """Write text for a person; does nothing when JSON was asked for."""
        if not self.as_json:
            self._out.write(text.rstrip("\n") + "\n")
            self._out.flush()

    def outputs(self, **values: str) -> None:
        """Set outputs of the workflow's step; does nothing away from a GitHub runner."""
        if self.runner is not None:
            for name, value in values.items():
                self.runner.output(name.replace("_", "-"), value)

    def progress(self, text: str) -> None:
        """Tell a waiting person what is being done, with the seconds since the start."""
        self._err.write(f"[{time.monotonic() - self._began:6.1f}s] {text}\n")
        self._err.flush()
