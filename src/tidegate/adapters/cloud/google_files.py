"""What a resumable upload has sent and has yet to send.

https://cloud.google.com/storage/docs/performing-resumable-uploads
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO

from tidegate.errors import OutsideError


class Sending:
    """A file or bytes on their way; ``start`` is how much has arrived for certain."""

    def __init__(self, source: Path | bytes) -> None:
        self._source = source
        try:
            self.size = source.stat().st_size if isinstance(source, Path) else len(source)
        except OSError as error:
            raise OutsideError(f"{source!s}: {error.strerror}") from None
        self.start = 0

    def open(self) -> IO[bytes]:
        """Return a stream of what has yet to arrive; its length is known to requests.

        Raises:
            OutsideError: the file cannot be read, or changed meanwhile.
        """
        if not isinstance(self._source, Path):
            return io.BytesIO(self._source[self.start :])
        try:
            file = self._source.open("rb")
            size = file.seek(0, io.SEEK_END)
            file.seek(min(self.start, size))
        except OSError as error:
            raise OutsideError(f"{self._source}: {error.strerror}") from None
        if size != self.size:
            file.close()
            raise OutsideError(f"{self._source} changed while it was uploaded")
        return file

    def range(self) -> str:
        """Return the ``Content-Range`` of what :meth:`open` gives."""
        if self.start == self.size:
            return f"bytes */{self.size}"
        return f"bytes {self.start}-{self.size - 1}/{self.size}"

    def question(self) -> str:
        """Return the ``Content-Range`` that asks what has arrived."""
        return f"bytes */{self.size}"
