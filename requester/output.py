"""What the CLI prints, handed on as it comes; each byte once and in order, whatever is lost on the way."""

from collections.abc import Callable, Sequence

from requester.reply import output_format


def streaming_args(args: Sequence[str] | None) -> list[str]:
    """Give arguments with which the CLI prints each event when it happens, unless they name another format."""
    given = list(args or ())
    if not any(arg.partition("=")[0] == "--output-format" for arg in given):
        given += ["--output-format", "stream-json"]
    if output_format(given) == "stream-json" and "--verbose" not in given:
        given.append("--verbose")  # without it the CLI refuses the format
    return given


class OutputFollower:
    """Hands on the output of a run.

    Args:
        on_output: Is given the text in whole lines; all of it together is what was printed.
    """

    def __init__(self, on_output: Callable[[str], None]) -> None:
        self._on_output = on_output
        self.begin()

    def begin(self) -> None:
        """Follow another run: what was printed of the one before is not continued."""
        self._offset = 0
        self._unended: list[bytes] = []

    def take(self, offset: int, body: bytes) -> None:
        """Take a piece; what follows a gap waits for the result, which has everything."""
        if offset <= self._offset < offset + len(body):
            fresh = body[self._offset - offset :]
            self._offset += len(fresh)
            lines, end, rest = fresh.rpartition(b"\n")
            if end:
                self._give(lines + end)
            self._unended.append(rest)

    def finish(self, printed: bytes) -> None:
        """Take the result: what has not been handed on of it follows."""
        self.take(0, printed)
        self._give(b"")

    def _give(self, body: bytes) -> None:
        text = b"".join([*self._unended, body]).decode(errors="replace")
        self._unended.clear()
        if text:
            self._on_output(text)
