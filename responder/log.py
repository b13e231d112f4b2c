"""The log on stderr: a line for each request is not written for each request."""

import asyncio
import contextlib
import logging
import sys
from typing import TextIO

_MOMENT_S = 0.1


class LinesHandler(logging.Handler):
    """Writes lines that tell of nothing wrong a moment later, together; from a warning on at once, with all before it.

    Each write wakes whoever reads: with a line for each request, that was a tenth of the responder's time.

    Args:
        stream: Where to; None for stderr.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = sys.stderr if stream is None else stream
        self._lines: list[str] = []
        self._is_due = False

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record."""
        try:
            self._lines.append(f"{self.format(record)}\n")
            if record.levelno >= logging.WARNING or not self._is_flushed_later():
                self.flush()
        except Exception:  # noqa: BLE001 # as in every handler: what cannot be logged must not end what logs
            self.handleError(record)

    def flush(self) -> None:
        """Write what was taken."""
        with self.lock or contextlib.nullcontext():
            lines, self._lines, self._is_due = self._lines, [], False
            if lines:
                self._stream.write("".join(lines))
                self._stream.flush()

    def _is_flushed_later(self) -> bool:
        """See to it that what was taken is written a moment later, if there is a loop here; says so."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        if not self._is_due:
            self._is_due = True
            loop.call_later(_MOMENT_S, self.flush)
        return True
