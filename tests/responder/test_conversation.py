"""Lines to and from a CLI, through real pipes of which the test holds the other ends."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from responder.conversation import Conversation
from tests.responder.limits import no_more_descriptors
from tests.responder.shell import open_descriptors
from tests.support.conditions import wait_until

pytestmark = pytest.mark.usefixtures("patience")
LINE_MAX_BYTES = 1_000_000
PIPE_BYTES = 64 * 1024


@dataclass
class Heard:
    """What was heard; a listener."""

    lines: list[bytes] = field(default_factory=list)
    too_much: int = 0

    def take_line(self, line: bytes) -> None:
        """Keep a line."""
        self.lines.append(line)

    def take_too_much(self) -> None:
        """Count how often it was too much."""
        self.too_much += 1


class Other:
    """The CLI's side.

    Args:
        conversation: Our side.
    """

    def __init__(self, conversation: Conversation) -> None:
        self.stdin, self.stdout = (os.dup(descriptor) for descriptor in conversation.theirs)
        conversation.drop_theirs()

    def print(self, data: bytes) -> None:
        """Print as much as the pipe takes, which has to be all of it."""
        assert os.write(self.stdout, data) == len(data)

    def read(self) -> bytes:
        """Read what is there."""
        return os.read(self.stdin, PIPE_BYTES)

    def close(self) -> None:
        """Let go of both."""
        for descriptor in {self.stdin, self.stdout} - {-1}:
            os.close(descriptor)
        self.stdin = self.stdout = -1

    def close_stdin(self) -> None:
        """Read nothing more."""
        os.close(self.stdin)
        self.stdin = -1


@pytest.fixture
async def heard() -> Heard:
    """Give a listener."""
    return Heard()


@pytest.fixture
async def conversation(heard: Heard) -> AsyncIterator[Conversation]:
    """Give our side, which leaves nothing open."""
    before = open_descriptors()
    with contextlib.closing(Conversation(LINE_MAX_BYTES)) as conversation:
        conversation.listen(heard)
        yield conversation
    assert open_descriptors() == before


@pytest.fixture
async def other(conversation: Conversation) -> AsyncIterator[Other]:
    """Give the other side."""
    with contextlib.closing(Other(conversation)) as other:
        yield other


async def test_lines_are_heard_whole(heard: Heard, other: Other) -> None:
    """A line is heard once it is whole, with its end, however it was cut on its way."""
    other.print(b"one\ntw")
    await wait_until(lambda: heard.lines == [b"one\n"], "the first line")
    other.print(b"o\n\nfour")
    await wait_until(lambda: len(heard.lines) > 1, "the rest")
    assert heard.lines == [b"one\n", b"two\n", b"\n"]


async def test_a_huge_line(heard: Heard, other: Other) -> None:
    """A line that is many times what the pipe holds is heard whole, and so is the one after it."""
    line = b"x" * (LINE_MAX_BYTES - 1) + b"\n"
    await asyncio.to_thread(write_all, other.stdout, line + b"next\n")
    await wait_until(lambda: len(heard.lines) == 2, "both lines")
    assert heard.lines == [line, b"next\n"]
    assert not heard.too_much


@pytest.mark.parametrize("end", [b"", b"\n"])
async def test_too_long_a_line(conversation: Conversation, heard: Heard, other: Other, end: bytes) -> None:
    """A line over the limit is told once, whether it has ended or not, and nothing is read after it."""
    writing = asyncio.create_task(asyncio.to_thread(write_all, other.stdout, b"x" * LINE_MAX_BYTES + b"y" + end))
    await wait_until(lambda: heard.too_much > 0, "too much")
    await writing
    other.print(b"later\n")
    conversation.finish_reading()
    assert (heard.lines, heard.too_much) == ([], 1)


async def test_a_prompt_larger_than_the_pipe(conversation: Conversation, other: Other) -> None:
    """Whoever reads slowly gets all of it in order, and nobody waits for him."""
    prompt = os.urandom(500_000).replace(b"\n", b" ") + b"\n"
    for line in (b"first\n", prompt, b"last\n"):
        conversation.say(line)
    read = b""
    while not read.endswith(b"last\n"):
        await asyncio.sleep(0)
        read += await asyncio.to_thread(other.read)
    assert read == b"first\n" + prompt + b"last\n"
    assert conversation.read_bytes == conversation.said_bytes == len(read)


async def test_what_has_been_read_is_known(conversation: Conversation, other: Other) -> None:
    """What still lies in the pipe has not been read, also when there is nobody left to read it."""
    conversation.say(b"read\n")
    other.read()
    conversation.say(b"unread\n")
    assert (conversation.read_bytes, conversation.said_bytes) == (5, 12)
    other.close_stdin()
    assert conversation.read_bytes == 5
    conversation.say(b"more\n")
    assert (conversation.read_bytes, conversation.said_bytes) == (5, 17)


@pytest.mark.parametrize("size", [10, 500_000])
async def test_nobody_reads(conversation: Conversation, other: Other, size: int) -> None:
    """What is said to one that has ended is dropped, whether it ended before or while it was being told."""
    conversation.say(b"x" * size)
    other.close_stdin()
    await asyncio.sleep(0)
    conversation.say(b"y" * size)
    await asyncio.sleep(0)
    assert not asyncio.get_running_loop().remove_writer(conversation._input)


async def test_the_end_of_the_input(conversation: Conversation, other: Other) -> None:
    """The other side reads an end of file when nothing more comes, and what was not written is dropped."""
    conversation.say(b"x" * PIPE_BYTES + b"y")
    conversation.end_input()
    conversation.end_input()
    assert other.read() == b"x" * PIPE_BYTES
    assert other.read() == b""


async def test_the_last_words(conversation: Conversation, heard: Heard, other: Other) -> None:
    """What was printed before the end is read at once; half a line is none."""
    other.print(b"last\nwor")
    other.close()
    conversation.finish_reading()
    assert heard.lines == [b"last\n"]


async def test_last_words_without_an_end(conversation: Conversation, heard: Heard, other: Other) -> None:
    """Whoever has inherited the pipe and prints for ever does not keep us reading."""

    def print_more() -> None:
        with contextlib.suppress(OSError):
            other.print(b"x\n" * (PIPE_BYTES // 4))

    class Endless(Heard):
        def take_line(self, line: bytes) -> None:
            super().take_line(line)
            if len(self.lines) % (PIPE_BYTES // 4) == 0:
                assert len(self.lines) < 100 * PIPE_BYTES, "for ever"
                print_more()

    endless = Endless()
    conversation.stop_listening()
    conversation.listen(endless)
    print_more()
    conversation.finish_reading()
    assert endless.lines
    assert heard.lines == []


async def test_closing_twice() -> None:
    """Both pipes are closed once, at whatever stage, and a second time does no harm."""
    before = open_descriptors()
    conversation = Conversation(LINE_MAX_BYTES)
    conversation.close()
    assert open_descriptors() == before
    conversation.close()
    conversation.drop_theirs()
    conversation.stop_listening()
    assert open_descriptors() == before


@pytest.mark.parametrize("left", range(4))
async def test_no_descriptor_is_left_for_it(left: int) -> None:
    """Where there are not enough descriptors for both pipes, none stays open."""
    before = open_descriptors()
    with no_more_descriptors(left), pytest.raises(OSError, match="Too many open files"):
        Conversation(LINE_MAX_BYTES)
    assert open_descriptors() == before


def write_all(descriptor: int, data: bytes) -> None:
    """Write as a child does: waiting for room."""
    unwritten = memoryview(data)
    while unwritten:
        unwritten = unwritten[os.write(descriptor, unwritten) :]
