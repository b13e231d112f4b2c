"""A caller that just waits: it gives its request, and takes one reply."""

import asyncio

import pytest

from contract import ErrorCode, RequestError
from responder.callers import ANYBODY, PlainCaller
from responder.execution import NOBODY
from responder.slots import Slots
from tests.responder.parts import INBOX, MAX_PAYLOAD, Outlet, incoming


async def test_a_plain_caller() -> None:
    """It has given all with its one message, follows nothing, need not be asked, and takes what fits one message."""
    outlet = Outlet()
    caller = PlainCaller(incoming(b"a request", 0.0), outlet)
    assert await caller.body() == b"a request"
    assert (caller.reply_max_bytes, caller.audience) == (MAX_PAYLOAD, NOBODY)
    assert NOBODY.name == ""  # a CLI that has served anybody is kept for nobody
    slots = Slots(1, 0)
    with await caller.wait(slots.take(asyncio.get_running_loop().time() + 1), 0.0, is_free=True):
        await caller.claim()
        assert slots.in_flight == 1
    assert outlet.published == []
    await caller.deliver(b"a reply", {"A": "b"})
    assert outlet.published == [(INBOX, b"a reply", {"A": "b"})]


async def test_a_refused_caller_is_not_read() -> None:
    """What was refused before it was read is refused when it is to be read."""
    caller = PlainCaller(incoming(b"x", 0.0), Outlet(), RequestError(ErrorCode.INVALID_REQUEST, "no"))
    with pytest.raises(RequestError, match="no"):
        await caller.body()


async def test_a_caller_in_this_process() -> None:
    """Who asks within the process has no message, takes a result of any size and is not sent anything."""
    assert ANYBODY.reply_max_bytes is None
    with pytest.raises(AssertionError):
        await ANYBODY.body()
    await ANYBODY.deliver(b"", {})
