"""Talking with a CLI that reads stream-json: lines to its stdin, lines from its stdout.

Here stdout is a pipe, where a cold run has a memory file: each line has to be noticed when it is printed. Nothing is
lost by it as long as stdin stays open until the result has come (measured on CLI 2.1.197; with stdin closed before,
8 of 8 answers were cut).
"""

import asyncio
import contextlib
import fcntl
import os
import struct
import termios
from collections import deque
from typing import Protocol

_CHUNK_BYTES = 256 * 1024
# Of an ended CLI no more can be unread than its pipe holds; what comes after that is of somebody else who has it.
_UNREAD_CHUNKS_MAX = 4


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
        theirs: What the CLI gets for its stdin and stdout; `drop_theirs` closes it.
        said_bytes: How much has been said.

    Raises:
        OSError: No descriptor is left.
    """

    def __init__(self, line_max_bytes: int) -> None:
        stdin, self._input = os.pipe2(os.O_CLOEXEC)
        try:
            self._output, stdout = os.pipe2(os.O_CLOEXEC)
        except OSError:
            os.close(stdin)
            os.close(self._input)
            raise
        self.theirs: tuple[int, ...] = (stdin, stdout)
        self.said_bytes = 0
        self._written_bytes = 0
        self._line_max_bytes = line_max_bytes
        self._listener: Listener | None = None
        self._line = bytearray()
        self._unwritten: deque[memoryview] = deque()
        for ours in (self._input, self._output):
            os.set_blocking(ours, False)

    def listen(self, listener: Listener) -> None:
        """Listen from now on.

        Raises:
            OSError: The system cannot watch one more descriptor.
        """
        asyncio.get_running_loop().add_reader(self._output, self._read)
        self._listener = listener

    def drop_theirs(self) -> None:
        """Close the ends of the CLI that we hold, once it has its own."""
        for descriptor in self.theirs:
            os.close(descriptor)
        self.theirs = ()

    @property
    def read_bytes(self) -> int:
        """How much of what has been said the CLI has read; after `end_input`, how much it could have."""
        if self._input < 0:
            return self._written_bytes
        unread = fcntl.ioctl(self._input, termios.FIONREAD, struct.pack("i", 0))
        return self._written_bytes - int(struct.unpack("i", unread)[0])

    def say(self, line: bytes) -> None:
        """Write a line as fast as the CLI reads it; one that has ended reads nothing, and is noticed elsewhere."""
        self.said_bytes += len(line)
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
        self.drop_theirs()
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
        for _ in range(_UNREAD_CHUNKS_MAX):
            if self._listener is None or not self._read():
                return

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
        if self._listener is None:
            return
        self._line += piece
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
                self._written_bytes += written
                rest = self._unwritten.popleft()[written:]
                if rest:
                    self._unwritten.appendleft(rest)
        if self._unwritten:
            loop.add_writer(self._input, self._write)
        else:
            loop.remove_writer(self._input)
