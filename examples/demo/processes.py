"""Child processes of the demo: each is ready before it is used, and stopped and awaited on every path."""

import asyncio
import contextlib
import re
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from examples.demo.error import DemoError

# Children are started in the checkout, where `python -m responder` finds its package.
ROOT = Path(__file__).parents[2]
READY_S = 20.0
STOP_STEP_S = 5.0
_LINE_MAX_BYTES = 1024 * 1024
_LINES_KEPT = 15


@dataclass(frozen=True)
class Running:
    """A child that has said that it is ready.

    Attributes:
        name: What the demo calls it.
        ready: The match of the pattern that was waited for.
        last_lines: The end of what it says on stderr, kept up to date while it runs.
    """

    name: str
    ready: re.Match[str]
    last_lines: deque[str] = field(repr=False)


@contextlib.asynccontextmanager
async def running(
    name: str, argv: Sequence[str], env: Mapping[str, str], *, ready: str, stop_step_s: float = STOP_STEP_S
) -> AsyncIterator[Running]:
    """Run a process as long as the block lasts.

    Args:
        name: What the demo calls it.
        argv: Executable and arguments.
        env: Its whole environment.
        ready: A pattern to be found in a line of its stderr once it can be used.
        stop_step_s: Seconds between one way of stopping it and the next harder one.

    Raises:
        DemoError: It could not be started, or was not ready in time.
    """
    # A session of its own: Ctrl-C reaches the demo alone, which then stops its children in order.
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, env=env, cwd=ROOT, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, limit=_LINE_MAX_BYTES,
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise DemoError(f"{name} could not be started: {error.strerror}") from error
    lines: deque[str] = deque(maxlen=_LINES_KEPT)
    reader = None
    try:
        match = await _wait_until_ready(name, process, ready, lines)
        reader = asyncio.create_task(_read_on(process, lines))
        yield Running(name, match, lines)
    finally:
        await _stop(process, stop_step_s)
        if reader is not None:
            reader.cancel()


async def _wait_until_ready(name: str, process: Process, ready: str, lines: deque[str]) -> re.Match[str]:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(READY_S):
            while line := await _next_line(process):
                lines.append(line.rstrip())
                if match := re.search(ready, line):
                    return match
    raise DemoError(f"{name} did not get ready; it said: {' | '.join(lines) or 'nothing'}")


async def _read_on(process: Process, lines: deque[str]) -> None:
    """Keep the pipe empty: a child that cannot write its log stands still."""
    while line := await _next_line(process):
        lines.append(line.rstrip())


async def _next_line(process: Process) -> str:
    assert process.stderr is not None  # noqa: S101 - it was started with a pipe
    return (await process.stderr.readline()).decode(errors="replace")


async def _stop(process: Process, step_s: float) -> None:
    """Ask to end, ask again (a responder then ends at once), and kill in the end, also when this is cancelled."""
    try:
        for _ in range(2):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(step_s):
                    await process.wait()
                    return
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
