"""What the CLI prints, handed on as it comes; each byte once and in order, whatever is lost on the way."""

import codecs
from collections.abc import Callable


class OutputFollower:
    """Hands on the output of one attempt.

    Args:
        on_output: Is given the text, piece by piece; all of it together is what was printed.
    """

    def __init__(self, on_output: Callable[[str], None]) -> None:
        self._on_output = on_output
        self._offset = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def take(self, offset: int, body: bytes) -> None:
        """Take a piece; what follows a gap waits for the result, which has everything."""
        if offset <= self._offset < offset + len(body):
            fresh = body[self._offset - offset :]
            self._offset += len(fresh)
            self._give(fresh)

    def finish(self, printed: bytes) -> None:
        """Take the result: what has not been handed on of it follows."""
        self.take(0, printed)

    def _give(self, fresh: bytes) -> None:
        text = self._decoder.decode(fresh)
        if text:
            self._on_output(text)
