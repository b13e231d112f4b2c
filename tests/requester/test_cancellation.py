"""A cancelled request leaves nothing pending: no wait, no task, no socket; and the next one works."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from requester import NotConnectedError, Requester, RequesterSettings
from tests.requester.fakes import FakeConnection, FakeResponder, answer_well, other_tasks
from tests.requester.relay import relay
from tests.support.conditions import wait_until


async def cancelled(task: "asyncio.Task[object]", times: int = 1) -> None:
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    await asyncio.wait({task}, timeout=5)
    assert task.cancelled(), task


async def test_while_the_reply_is_awaited(requester: Requester, responder: FakeResponder) -> None:
    """A request cancelled during the run is forgotten; a reply that comes later disturbs nobody."""
    await requester.execute("first")
    responder.answer = lambda _: None
    tasks_before = other_tasks()
    task = asyncio.create_task(requester.execute("2+2?"))
    await wait_until(lambda: len(responder.seen) == 2, "the request arrives")
    await cancelled(task)
    assert repr(requester).endswith("connected, 0 in flight>")
    assert other_tasks() <= tasks_before
    responder.answer = answer_well
    await responder.client.publish(responder.seen[1].reply, answer_well(responder.requests[1]))
    assert (await requester.execute("again")).text == "four"


async def test_one_of_many(requester: Requester, responder: FakeResponder) -> None:
    """Cancelling one request leaves the others alone."""
    responder.answer = lambda request: None if request["prompt"] == "never" else answer_well(request)
    never = asyncio.create_task(requester.execute("never"))
    await wait_until(lambda: len(responder.seen) == 1, "the request arrives")
    others = [asyncio.create_task(requester.execute("2+2?")) for _ in range(5)]
    await cancelled(never)
    assert [reply.text for reply in await asyncio.gather(*others)] == ["four"] * 5


async def test_a_timeout_of_the_callers(requester: Requester, responder: FakeResponder) -> None:
    """The caller's own asyncio.timeout ends the request like any cancellation."""
    responder.answer = lambda _: None
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.1):
            await requester.execute("2+2?")
    assert type(caught.value) is TimeoutError
    assert "0 in flight" in repr(requester)


async def test_in_the_pause_between_attempts(requester: Requester) -> None:
    """A request cancelled between two attempts makes no other."""
    task = asyncio.create_task(requester.execute("2+2?"))
    await wait_until(lambda: ": connected, 0 in flight" in repr(requester), "the first attempt")
    await cancelled(task)
    assert repr(requester).endswith("connected, 0 in flight>")


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_while_connecting(times: int, unused_url: str) -> None:
    """A request cancelled while NATS is looked for, however often, leaves no socket and no task behind."""
    requester = Requester(RequesterSettings(nats_url=unused_url, connect_timeout_s=60))
    task = asyncio.create_task(requester.execute("2+2?"))
    await wait_until(lambda: "disconnected" in repr(requester), "the first try")
    await cancelled(task, times)
    await wait_until(lambda: not other_tasks(), "nothing is left")
    await requester.close()


async def test_while_a_server_keeps_silent() -> None:
    """A half-open connection is closed when its only request is cancelled."""
    came, gone = asyncio.Event(), asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        await reader.read()
        writer.close()
        gone.set()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        requester = Requester(RequesterSettings(nats_url=f"nats://127.0.0.1:{port}", connect_timeout_s=60))
        task = asyncio.create_task(requester.execute("2+2?"))
        await came.wait()
        await cancelled(task)
        async with asyncio.timeout(5):
            await gone.wait()
        await requester.close()


async def test_the_others_still_connect(nats_url: str, responder: FakeResponder) -> None:
    """When the request that makes the connection is cancelled, those that wait for it make their own."""
    async with relay(nats_url) as wire:
        wire.hold()
        async with Requester(RequesterSettings(nats_url=wire.url, connect_timeout_s=60)) as requester:
            first = asyncio.create_task(requester.execute("first"))
            await wait_until(lambda: wire.accepted == 1, "the first request connects")
            second = asyncio.create_task(requester.execute("second"))
            await asyncio.sleep(0)
            await cancelled(first)
            wire.thaw()
            async with asyncio.timeout(5):
                assert (await second).text == "four"
            assert [request["prompt"] for request in responder.requests] == ["second"]


async def test_a_cancellation_that_nats_swallows() -> None:
    """nats-py swallows a cancellation that comes while it flushes; the request is cancelled all the same."""
    connection = FakeConnection()
    flushing = asyncio.Event()

    async def swallow() -> None:
        flushing.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return

    connection.publishing = swallow
    connection.answer = lambda _, __: None
    requester = Requester(RequesterSettings(), connection=connection.as_client())
    task = asyncio.create_task(requester.execute("2+2?"))
    await flushing.wait()
    await cancelled(task)
    assert "0 in flight" in repr(requester)


@pytest.mark.parametrize("times", [1, 2])
async def test_while_closing(times: int, nats_url: str, responder: FakeResponder) -> None:
    """A close that is cancelled, even twice, still ends the connection."""
    async with relay(nats_url) as wire:
        requester = Requester(RequesterSettings(nats_url=wire.url))
        await requester.execute("2+2?")
        closing = asyncio.create_task(requester.close())
        await asyncio.sleep(0)
        for _ in range(times):
            closing.cancel()
            await asyncio.sleep(0)
        await wait_until(lambda: wire.connections == 0, "the connection ends")
        assert len(responder.seen) == 1
        with pytest.raises(NotConnectedError):
            await requester.execute("2+2?")
        await asyncio.gather(closing, return_exceptions=True)


@pytest.mark.parametrize("ask", [lambda asker: asker.execute("2+2?"), lambda asker: asker.health()])
async def test_cancelled_before_it_begins(requester: Requester, ask: Callable[[Requester], Awaitable[object]]) -> None:
    """A request that is cancelled before its first step does nothing."""
    await cancelled(asyncio.ensure_future(ask(requester)))
    assert ": idle, " in repr(requester)
