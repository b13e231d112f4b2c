"""`execute_sync()`: threads, forks, interrupts, and the end of the process."""

import asyncio
import signal
import threading
from collections.abc import Iterator

import pytest

from requester import ExecuteTimeoutError, NotConnectedError, close_default_sync, execute_sync
from tests.requester import programs
from tests.requester.fakes import FakeResponder
from tests.requester.programs import run_script
from tests.requester.relay import relay
from tests.support.conditions import wait_until


@pytest.fixture(autouse=True)
def _closed_afterwards() -> Iterator[None]:
    yield
    close_default_sync()


async def test_from_many_threads(nats_url: str, responder: FakeResponder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads share one connection, and each gets its own answer."""
    async with relay(nats_url) as wire:
        monkeypatch.setenv("NATS_URL", wire.url)
        names = [f"job-{n}" for n in range(10)]
        calls = [asyncio.to_thread(execute_sync, "2+2?", timeout=10, request_id=name) for name in names]
        assert [reply.request_id for reply in await asyncio.gather(*calls)] == names
        assert wire.accepted == 1
        await asyncio.to_thread(close_default_sync)
        await wait_until(lambda: wire.connections == 0, "the connection ends")
        assert "claude-requester" not in {thread.name for thread in threading.enumerate()}
        await asyncio.to_thread(execute_sync, "2+2?", timeout=10)
        assert wire.accepted == 2
        await asyncio.to_thread(close_default_sync)
    assert len(responder.seen) == 11


async def test_where_a_loop_runs_already(nats_url: str, responder: FakeResponder) -> None:
    """A thread whose own loop runs may ask as well, at the price of blocking it."""
    script = """
        import asyncio
        from requester import execute_sync
        async def main():
            return execute_sync("2+2?", timeout=10).text
        print(asyncio.run(main()))
    """
    outcome = await run_script(script, NATS_URL=nats_url)
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, "four\n", "")
    assert len(responder.seen) == 1


async def test_the_class_travels(nats_url: str, responder: FakeResponder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is asked for as batch says so on the wire."""
    monkeypatch.setenv("NATS_URL", nats_url)
    await asyncio.to_thread(execute_sync, "2+2?", timeout=10, priority="batch")
    assert responder.requests[0]["priority"] == "batch"


async def test_the_wish_to_reuse_travels(
    nats_url: str, responder: FakeResponder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request for which a CLI may serve again says so on the wire, and no other."""
    monkeypatch.setenv("NATS_URL", nats_url)
    await asyncio.to_thread(execute_sync, "2+2?", timeout=10, reuse=True)
    await asyncio.to_thread(execute_sync, "2+2?", timeout=10)
    assert [request.get("reuse") for request in responder.requests] == [True, None]


async def test_an_error(unused_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors are those of execute()."""
    monkeypatch.setenv("NATS_URL", unused_url)
    with pytest.raises(NotConnectedError, match=r"attempts? in"):
        await asyncio.to_thread(execute_sync, "2+2?", timeout=0.1)


async def test_closing_ends_the_waits(nats_url: str, responder: FakeResponder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that waits when another closes the connection is told so."""
    monkeypatch.setenv("NATS_URL", nats_url)
    responder.answer = lambda _: None
    asking = asyncio.create_task(asyncio.to_thread(execute_sync, "2+2?"))
    await wait_until(lambda: len(responder.seen) == 1, "the request arrives")
    await asyncio.to_thread(close_default_sync)
    with pytest.raises(NotConnectedError, match="closed"):
        await asking


async def test_a_forked_child_has_its_own(nats_url: str, responder: FakeResponder) -> None:
    """After a fork parent and child both ask, over connections of their own; also a child forked during a call."""
    script = """
        import os, threading, sys
        from requester import execute_sync
        ask = lambda name: execute_sync("2+2?", timeout=10, request_id=name).request_id
        assert ask("before") == "before"
        busy = [threading.Thread(target=ask, args=(f"busy-{n}",)) for n in range(4)]
        for thread in busy:
            thread.start()
        child = os.fork()
        if child == 0:
            os._exit(0 if ask("child") == "child" else 1)
        assert ask("parent") == "parent"
        _, status = os.waitpid(child, 0)
        for thread in busy:
            thread.join()
        assert ask("after") == "after"
        print(os.waitstatus_to_exitcode(status))
    """
    async with relay(nats_url) as wire:
        # From Python 3.12 on the fork of a process with threads warns, whatever they do.
        outcome = await run_script(script, "-W", "ignore::DeprecationWarning", NATS_URL=wire.url)
        assert (outcome.status, outcome.stdout, outcome.stderr) == (0, "0\n", "")
        assert wire.accepted == 2
    assert {request["id"] for request in responder.requests} >= {"before", "child", "parent", "after"}


async def test_an_interrupt_cancels_the_request(nats_url: str, responder: FakeResponder) -> None:
    """Ctrl-C in the caller ends the wait, and the request with it; the next call works."""
    responder.answer = lambda _: None
    script = """
        from requester import default, execute_sync
        try:
            execute_sync("2+2?")
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        print(execute_sync("again", timeout=10).text)
        [lent] = default._LENT.values()
        print(lent.requester._hop.in_flight)
    """
    process = await programs.start_script(script, NATS_URL=nats_url)
    finishing = asyncio.create_task(programs.finish(process))
    await wait_until(lambda: len(responder.seen) == 1, "the request arrives")
    responder.answer = FakeResponder(responder.client).answer
    process.send_signal(signal.SIGINT)
    outcome = await finishing
    assert (outcome.stdout, outcome.stderr, outcome.status) == ("interrupted\nfour\n0\n", "", 0)


async def test_the_callers_span_is_the_parent(nats_url: str, responder: FakeResponder) -> None:
    """The trace goes on through the thread: what is sent belongs to the caller's span."""
    script = """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from requester import execute_sync
        trace.set_tracer_provider(TracerProvider())
        with trace.get_tracer("t").start_as_current_span("job") as span:
            execute_sync("2+2?", timeout=10)
        print(f"{span.get_span_context().trace_id:032x}")
    """
    outcome = await run_script(script, NATS_URL=nats_url)
    assert outcome.stderr == ""
    assert responder.seen[0].headers
    assert outcome.stdout.strip() in responder.seen[0].headers["traceparent"]


async def test_no_loop_to_be_had(nats_url: str, responder: FakeResponder) -> None:
    """Where the system has no file descriptors left for a loop the call fails, and works again later."""
    script = """
        import resource
        from requester import execute_sync
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            execute_sync("2+2?")
        except OSError as error:
            print(error.strerror)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        print(execute_sync("2+2?", timeout=10).text)
    """
    outcome = await run_script(script, NATS_URL=nats_url)
    # Python itself warns of the loop that it could not finish making.
    assert (outcome.status, outcome.stdout) == (0, "Too many open files\nfour\n")
    assert "never awaited" not in outcome.stderr
    assert len(responder.seen) == 1


async def test_a_timeout(nats_url: str, responder: FakeResponder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings are the environment's, here too."""
    monkeypatch.setenv("NATS_URL", nats_url)
    monkeypatch.setenv("CLAUDE_REQUESTER_TIMEOUT_S", "0.1")
    monkeypatch.setenv("CLAUDE_REQUESTER_REPLY_GRACE_S", "0")
    await asyncio.to_thread(execute_sync, "2+2?", timeout=10)
    responder.answer = lambda _: None
    with pytest.raises(ExecuteTimeoutError):
        await asyncio.to_thread(execute_sync, "2+2?")


@pytest.mark.parametrize("call", ["execute_sync('again')", "close_default_sync()"])
async def test_a_call_out_of_its_own_thread(nats_url: str, responder: FakeResponder, call: str) -> None:
    """Whoever asks in the requester's own thread, as a listener does, is refused instead of waiting for itself."""
    script = f"""
        from requester import close_default_sync, execute_sync
        from requester.sync import _THREAD
        async def listen():
            {call}
        try:
            _THREAD.run(listen())
        except RuntimeError as error:
            print(error)
        print(execute_sync("2+2?", timeout=10).text)
    """
    outcome = await run_script(script, NATS_URL=nats_url)
    refused = "the requester's own thread cannot wait for itself: ask from another one"
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, f"{refused}\nfour\n", "")
    assert len(responder.seen) == 1
