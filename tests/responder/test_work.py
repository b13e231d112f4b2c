"""A request on its way from one responder to another."""

import pytest

from contract import FrameKind, new_ulid, read_frame
from responder.callers import Incoming
from responder.work import Work, read_work

VICTIM = new_ulid()
ATTEMPT = "_INBOX.caller.t1"
HEADERS = {
    "Claude-Attend": "1",
    "Claude-Stream": "1",
    "traceparent": "00-1-2-01",
    "tracestate": "a=b",
}


def work(headers: dict[str, str] | None = None, body: bytes = b"{}") -> Work:
    """Give the work of a request that arrived at 100 s."""
    return Work.of(Incoming("claude.cli.execute", ATTEMPT, HEADERS if headers is None else headers, body, 100.0))


def test_there_and_back() -> None:
    """Reply subject, body, headers and age are the same at the thief, by its own clock."""
    headers, body = work(body=b"x" * 1000).message(VICTIM, 102.5, 3)
    read = read_work(headers, body, 7.0)
    assert read is not None
    assert (read.attempt, read.headers, read.body, read.victim) == (ATTEMPT, HEADERS, b"x" * 1000, VICTIM)
    assert (read.arrived_at, read.lease) == (4.5, 3)
    assert (read.session, read.is_attended) == ("_INBOX.caller", True)
    assert read.incoming("s") == Incoming("s", ATTEMPT, HEADERS, b"x" * 1000, 4.5)


def test_only_what_means_something_travels() -> None:
    """Headers of the caller's own, or such as would be frames, stay; a plain request is one there, too."""
    given = work({"Claude-Frame": "go", "Status": "503", "X-Mine": "1", "Claude-Instance": VICTIM})
    assert given.headers == {}
    assert not given.is_attended
    headers, _ = given.message(VICTIM, 100.0)
    frame = read_frame(headers, b"{}")
    assert frame is not None
    assert (frame.kind, frame.attempt, frame.instance, frame.age_ms) == (FrameKind.WORK, ATTEMPT, VICTIM, 0)


def test_an_age_is_never_negative() -> None:
    """A clock that is read late makes nobody younger than nought."""
    headers, body = work().message(VICTIM, 99.0)
    assert headers["Claude-Age-Ms"] == "0"
    assert read_work(headers, body, 50.0) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"Claude-Frame": "none"},
        {"Claude-Frame": "nonsense"},
        {"Claude-Attempt": ""},
        {"Claude-Instance": "x"},
        {"Claude-Age-Ms": "-1"},
    ],
)
def test_what_is_no_work(change: dict[str, str]) -> None:
    """A peer that has nothing, or says what cannot be read, has handed on nothing."""
    headers, body = work().message(VICTIM, 100.0)
    assert read_work(headers | change, body, 0.0) is None
    for missing in ("Claude-Frame", "Claude-Attempt", "Claude-Instance"):
        assert read_work({name: value for name, value in headers.items() if name != missing}, body, 0.0) is None


def test_what_one_message_carries() -> None:
    """The headers count, those of an age of a day among them."""
    limit = 2000
    sizes = [size for size in range(1000, 2000) if work(body=b"x" * size).fits(VICTIM, limit)]
    headers, _ = work().message(VICTIM, 100.0 + 86_400, 10**15 - 1)
    block = sum(len(name) + len(value) + 4 for name, value in headers.items()) + len("NATS/1.0\r\n\r\n")
    assert limit - block - 1 <= sizes[-1] <= limit - block
