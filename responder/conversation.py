"""Talking with a CLI that reads stream-json: lines to its stdin, lines from its stdout.

Here stdout is a pipe, where a cold run has a memory file: each line has to be noticed when it is printed. Nothing is
lost by it as long as stdin stays open until the result has come (measured on CLI 2.1.197; with stdin closed before,
8 of 8 answers were cut).
"""

import asyncio
import contextlib
import os
from collections import deque
from typing import Protocol

_CHUNK_BYTES = 256 * 1024


class Listener(Protocol):
    """Hears what the CLI prints."""

    def take_line(self, line: bytes) -> None:
        """Take a line, its end included."""

    def take_too_much(self) -> None:
        """A line is longer than allowed; nothing more is read."""


class Conversation:
    """Both pipes, from our side.

    Args:
        line_max_bytes: The longest line that is read.

    Attributes:
        theirs: What the CLI gets for its stdin and stdout; closed by `begin`.
    """

    def __init__(self, line_max_bytes: int) -> None:
        stdin, self._input = os.pipe2(os.O_CLOEXEC)
        self._output, stdout = os.pipe2(os.O_CLOEXEC)
        self.theirs = (stdin, stdout)
        self._line_max_bytes = line_max_bytes
        self._listener: Listener | None = None
        self._line = bytearray()
        self._unwritten: deque[memoryview] = deque()
        for ours in (self._input, self._output):
            os.set_blocking(ours, False)

    def begin(self, listener: Listener) -> None:
        """Listen from now on; the CLI has its own ends."""
        self.drop_theirs()
        self._listener = listener
        asyncio.get_running_loop().add_reader(self._output, self._read)

    def drop_theirs(self) -> None:
        """Close the ends of the CLI that we hold."""
        for descriptor in self.theirs:
            os.close(descriptor)
        self.theirs = (-1, -1)

    def say(self, line: bytes) -> None:
        """Write a line as fast as the CLI reads it; one that has ended reads nothing, and is noticed elsewhere."""
        self._unwritten.append(memoryview(line))
        if len(self._unwritten) == 1:
            self._write()

    def end_input(self) -> None:
        """Tell the CLI that nothing more comes: it ends by itself."""
        if self._input >= 0:
            self._unwritten.clear()
            asyncio.get_running_loop().remove_writer(self._input)
            os.close(self._input)
            self._input = -1

    def close(self) -> None:
        """Let go of both pipes."""
        self.end_input()
        self.stop_listening()
        if self._output >= 0:
            os.close(self._output)
            self._output = -1

    def stop_listening(self) -> None:
        """Read nothing more."""
        if self._output >= 0:
            asyncio.get_running_loop().remove_reader(self._output)
        self._listener = None

    def finish_reading(self) -> None:
        """Read what an ended CLI has printed before its end."""
        while self._listener is not None and self._read():
            pass

    def _read(self) -> bool:
        """Read what is there; says whether there may be more."""
        try:
            chunk = os.read(self._output, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not chunk:
            asyncio.get_running_loop().remove_reader(self._output)
            return False
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            self._take(chunk[start : end + 1], is_whole=True)
            start = end + 1
        self._take(chunk[start:], is_whole=False)
        return True

    def _take(self, piece: bytes, *, is_whole: bool) -> None:
        self._line += piece
        if self._listener is None:
            return
        if len(self._line) > self._line_max_bytes:
            self._listener.take_too_much()
            self.stop_listening()
        elif is_whole:
            line, self._line = bytes(self._line), bytearray()
            self._listener.take_line(line)

    def _write(self) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(BlockingIOError):
            while self._unwritten:
                try:
                    written = os.write(self._input, self._unwritten[0])
                except BrokenPipeError:
                    self._unwritten.clear()
                    break
                rest = self._unwritten.popleft()[written:]
                if rest:
                    self._unwritten.appendleft(rest)
        if self._unwritten:
            loop.add_writer(self._input, self._write)
        else:
            loop.remove_writer(self._input)
