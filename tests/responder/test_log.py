"""The log: when lines are written."""

import io
import logging
from collections.abc import Iterator

import pytest

from responder.log import LinesHandler
from tests.support.conditions import wait_until


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def log(stream: io.StringIO) -> Iterator[logging.Logger]:
    """Give a logger of its own that writes to the stream."""
    logger, handler = logging.getLogger("tests.responder.log"), LinesHandler(stream)
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield logger
    logger.removeHandler(handler)


async def test_lines_are_written_together(log: logging.Logger, stream: io.StringIO) -> None:
    """What tells of nothing wrong is written a moment later, every line of it and in order."""
    for number in range(3):
        log.info("line %d", number)
    assert stream.getvalue() == ""
    await wait_until(lambda: stream.getvalue() == "line 0\nline 1\nline 2\n", "they are written")
    log.info("later")
    await wait_until(lambda: stream.getvalue().endswith("later\n"), "the next one too")


async def test_a_warning_is_written_at_once(log: logging.Logger, stream: io.StringIO) -> None:
    """A warning is there when the call returns, after what came before it."""
    log.info("before")
    log.warning("now")
    assert stream.getvalue() == "before\nnow\n"


def test_without_a_loop_lines_are_written_at_once(log: logging.Logger, stream: io.StringIO) -> None:
    """Before and after the event loop, and in a thread, nothing would write a line later."""
    log.info("now")
    assert stream.getvalue() == "now\n"


async def test_the_end_writes_what_waits(log: logging.Logger, stream: io.StringIO) -> None:
    """A program that ends has written every line: `logging` flushes its handlers then."""
    log.info("last")
    for handler in log.handlers:
        handler.flush()
    assert stream.getvalue() == "last\n"


def test_what_cannot_be_logged_ends_nothing(stream: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    """A line whose arguments do not fit is told by `logging`, and the next one is written."""
    handler = LinesHandler(stream)
    for text in ("%d", "%s"):
        handler.handle(logging.LogRecord("x", logging.WARNING, "x", 1, text, ("fine",), None))
    assert stream.getvalue() == "fine\n"
    assert "TypeError" in capsys.readouterr().err
