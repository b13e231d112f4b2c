"""Servers and callers as processes of their own, with an environment built from nothing."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from responder.processes import descendants_of

_READY_WITHIN_S = 30.0
_END_WITHIN_S = 10.0
_LOOK_EVERY_S = 0.05
_ANSWER_MAX_BYTES = 16 * 1024 * 1024


class NotMeasuredError(Exception):
    """A way cannot be measured; the message says why in a few words."""


@contextlib.asynccontextmanager
async def serving(argv: Sequence[str], env: Mapping[str, str], log: Path, ready: str) -> AsyncIterator[int]:
    """Run a server as long as the context lasts, and give its process id.

    Args:
        argv: Its command line.
        env: Its whole environment.
        log: Where it writes what it says.
        ready: What it says, in small letters, when it listens.

    Raises:
        NotMeasuredError: It has ended, or does not listen.
    """
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            *argv, env=env, cwd=log.parent, stdin=asyncio.subprocess.DEVNULL, stdout=said, stderr=said,
            start_new_session=True,
        )  # fmt: skip
    try:
        await _wait_until_ready(process, log, ready)
        yield process.pid
    finally:
        await _end(process)


async def _wait_until_ready(process: asyncio.subprocess.Process, log: Path, ready: str) -> None:
    try:
        async with asyncio.timeout(_READY_WITHIN_S):
            while ready not in _said(log).lower():
                if process.returncode is not None:
                    raise NotMeasuredError(f"it has ended: {_last_line(log)}")
                await asyncio.sleep(_LOOK_EVERY_S)
    except TimeoutError:
        raise NotMeasuredError(f"it does not listen: {_last_line(log)}") from None


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), _END_WITHIN_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # what it has left, or itself
    await process.wait()


def _last_line(log: Path) -> str:
    return next(reversed(_said(log).strip().splitlines()), "it says nothing")


def _said(log: Path) -> str:
    return log.read_text(errors="replace")


class Caller:
    """A process that makes calls on orders (`asking.py`)."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("a caller needs pipes")
        self._orders = process.stdin
        self._answers = process.stdout
        self._log = log
        self.pid = process.pid

    async def make_calls(self, calls: int, in_flight: int) -> Mapping[str, Any]:
        """Order so many calls, so many at a time, and give the answer.

        Raises:
            NotMeasuredError: It has ended instead.
        """
        self._orders.write(json.dumps({"calls": calls, "in_flight": in_flight}).encode() + b"\n")
        answer = await self._answers.readline()
        if not answer:
            raise NotMeasuredError(f"its caller has ended: {_last_line(self._log)}")
        return dict(json.loads(answer))

    def close(self) -> None:
        """Let it end: there are no more orders."""
        self._orders.close()


@contextlib.asynccontextmanager
async def calling(argv: Sequence[str], env: Mapping[str, str], log: Path) -> AsyncIterator[Caller]:
    """Run a caller as long as the context lasts; it ends when there are no more orders.

    Args:
        argv: Its command line.
        env: Its whole environment.
        log: Where it writes which calls have failed.
    """
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            *argv, env=env, cwd=log.parent, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=said,
            limit=_ANSWER_MAX_BYTES, start_new_session=True,
        )  # fmt: skip
    caller = Caller(process, log)
    try:
        yield caller
    finally:
        caller.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _END_WITHIN_S)
        await _end(process)


def tree(pid: int) -> set[int]:
    """Give a process and all below it."""
    return {pid, *descendants_of(pid)}
