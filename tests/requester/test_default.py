"""The one-line `execute()`: whose requester it uses, and that nothing of it outlives the loop."""

import asyncio
import gc

import pytest

from requester import SettingsError, close_default, default, execute
from tests.requester.fakes import FakeResponder, other_tasks
from tests.requester.programs import run_script
from tests.requester.relay import relay
from tests.support.conditions import wait_until


async def test_one_requester_for_the_loop(
    nats_url: str, responder: FakeResponder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls that come together share one connection, which `close_default` ends; the next call makes another."""
    async with relay(nats_url) as wire:
        monkeypatch.setenv("NATS_URL", wire.url)
        tasks_before = other_tasks()
        replies = await asyncio.gather(*(execute("2+2?", timeout=10) for _ in range(5)))
        assert [reply.text for reply in replies] == ["four"] * 5
        assert wire.accepted == 1
        await close_default()
        await close_default()
        await wait_until(lambda: wire.connections == 0, "the connection ends")
        assert other_tasks() <= tasks_before
        assert (await execute("2+2?", request_id="job-7")).request_id == "job-7"
        assert wire.accepted == 2
        await close_default()
    assert len(responder.seen) == 6


async def test_the_class_travels(nats_url: str, responder: FakeResponder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is asked for as batch says so on the wire."""
    monkeypatch.setenv("NATS_URL", nats_url)
    await execute("2+2?", timeout=10, priority="batch")
    assert responder.requests[0]["priority"] == "batch"
    await close_default()


async def test_the_wish_to_reuse_travels(
    nats_url: str, responder: FakeResponder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request for which a CLI may serve again says so on the wire, and no other."""
    monkeypatch.setenv("NATS_URL", nats_url)
    await execute("2+2?", timeout=10, reuse=True)
    await execute("2+2?", timeout=10)
    assert [request.get("reuse") for request in responder.requests] == [True, None]
    await close_default()


async def test_a_bad_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that cannot be used is told at the first call, and the next call looks again."""
    monkeypatch.setenv("CLAUDE_REQUESTER_TIMEOUT", "3")
    with pytest.raises(SettingsError, match="CLAUDE_REQUESTER_TIMEOUT_S"):
        await execute("2+2?")
    assert asyncio.get_running_loop() not in default._LENT


async def test_nothing_outlives_the_loop(nats_url: str, responder: FakeResponder) -> None:
    """A program of one line ends without a warning: no socket, task or generator is left when asyncio.run is over."""
    script = """
        import asyncio, gc
        from requester import execute, default
        reply = asyncio.run(execute("2+2?", timeout=10))
        assert not default._LENT
        gc.collect()
        print(reply.text)
        asyncio.run(execute("2+2?", timeout=10))
    """
    outcome = await run_script(script, NATS_URL=nats_url)
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, "four\n", "")
    assert len(responder.seen) == 2


async def test_an_interrupted_loop_leaves_nothing(nats_url: str, responder: FakeResponder) -> None:
    """A program that ends while a request is in flight ends without a warning too."""
    responder.answer = lambda _: None
    script = """
        import asyncio, gc
        from requester import execute, default
        async def main():
            task = asyncio.create_task(execute("2+2?"))
            while not any(lent.requester._hop.in_flight for lent in default._LENT.values()):
                await asyncio.sleep(0.01)
        asyncio.run(main())
        assert not default._LENT
        gc.collect()
    """
    outcome = await run_script(script, NATS_URL=nats_url)
    assert (outcome.status, outcome.stderr) == (0, "")


def test_a_loop_that_was_only_closed(unused_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that ended without closing its generators is forgotten when another loop makes its requester."""
    monkeypatch.setenv("NATS_URL", unused_url)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(default._default_requester())
    loop.close()
    assert loop in default._LENT

    async def ask() -> None:
        await default._default_requester()
        assert list(default._LENT) == [asyncio.get_running_loop()]

    asyncio.run(ask())
    assert not default._LENT
    gc.collect()
