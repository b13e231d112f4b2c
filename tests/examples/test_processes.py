"""The demo's children: ready before they are used, gone afterwards."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from examples.demo.error import DemoError
from examples.demo.processes import running

READY = r"ready (\d+)"
SAY_READY = "import os, signal, sys; print('ready', os.getpid(), file=sys.stderr, flush=True); "
WAIT = SAY_READY + "signal.pause()"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + WAIT
# Hang protection.
GUARD_S = 10.0


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def pid_after(code: str, during: Callable[[], Coroutine[Any, Any, None]]) -> int:
    async with running("child", python(code), {}, ready=READY, stop_step_s=0.05) as child:
        pid = int(child.ready[1])
        assert not is_gone(pid)
        await during()
    return pid


async def nothing() -> None:
    """Leave the block as soon as the child is ready."""


@pytest.mark.parametrize("code", [pytest.param(WAIT, id="obedient"), pytest.param(STUBBORN, id="stubborn")])
async def test_ends_with_the_block(code: str) -> None:
    """A child is stopped and reaped when the block ends, also one that ignores SIGTERM."""
    async with asyncio.timeout(GUARD_S):
        assert is_gone(await pid_after(code, nothing))


async def test_ends_when_the_block_fails() -> None:
    """A child is stopped and reaped when the block raises."""
    pids: list[int] = []

    async def use() -> None:
        async with running("child", python(WAIT), {}, ready=READY) as child:
            pids.append(int(child.ready[1]))
            raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        await use()
    assert is_gone(pids[0])


async def test_ends_when_cancelled_twice() -> None:
    """A second cancellation, while the child is being stopped, kills it and still waits for it."""
    pids: list[int] = []
    is_ready = asyncio.Event()

    async def use() -> None:
        async with running("child", python(STUBBORN), {}, ready=READY, stop_step_s=GUARD_S) as child:
            pids.append(int(child.ready[1]))
            is_ready.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(use())
    async with asyncio.timeout(GUARD_S / 2):
        await is_ready.wait()
        task.cancel()
        for _ in range(3):  # the first cancellation is now inside the stop
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert is_gone(pids[0])


async def test_never_ready() -> None:
    """A child that ends before it is ready is an error with its last words, in one line."""
    code = "import sys; print('first', file=sys.stderr); sys.exit('no such port')"
    with pytest.raises(DemoError, match=r"^child did not get ready; it said: first \| no such port$"):
        async with running("child", python(code), {}, ready=READY):
            pytest.fail("it is not ready")


async def test_no_such_program() -> None:
    """A program that is not there is an error in one line."""
    with pytest.raises(DemoError, match="child could not be started: No such file"):
        async with running("child", ["/no/such/program"], {}, ready=READY):
            pytest.fail("it is not there")


async def test_chatty_child() -> None:
    """A child that logs more than pipe and reader hold does not stand still."""
    code = SAY_READY + (
        "print(('x' * 99 + '\\n') * 50_000, file=sys.stderr, flush=True); "
        "import socket; socket.create_connection(('127.0.0.1', int(sys.argv[1]))).recv(1)"
    )
    is_through = asyncio.Event()

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_through.set()
        writer.close()

    async with asyncio.timeout(GUARD_S), await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = str(server.sockets[0].getsockname()[1])
        async with running("child", [*python(code), port], {}, ready=READY):
            await is_through.wait()
