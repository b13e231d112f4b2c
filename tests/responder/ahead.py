"""What CLIs that are started ahead stand on in tests: a ground, their arguments, and a look at what is left."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from responder.arguments import ArgumentPolicy
from responder.run import RunLimits
from responder.standby_arguments import Mold, mold_of_arguments
from responder.standby_process import Ground, StandbyProcess
from responder.sweep import Sweeper
from responder.turn import Turn
from responder.working_directory import WorkingDirectories
from tests.responder.conftest import STOP_STEP_S
from tests.responder.shell import ENV

STREAM_ARGS = ("--output-format", "stream-json", "--verbose")


def mold(*args: str) -> Mold:
    """Give what a process is started for that serves requests with these arguments."""
    made = mold_of_arguments(ArgumentPolicy().arguments(args))
    assert made is not None
    return made


JSON = mold()
STREAM = mold(*STREAM_ARGS)


def make_ground(folder: Path, cli: Path, sweeper: Sweeper, *, output_max_bytes: int = 1_000_000) -> Ground:
    """Give what processes are started with.

    Args:
        folder: Has or gets the directory in which theirs are made, `scratch`.
        cli: The executable.
        sweeper: Kills what they leave.
        output_max_bytes: The most that each may print.
    """
    (folder / "scratch").mkdir(exist_ok=True)
    return Ground(
        cli=str(cli),
        env={**ENV, "HOME": str(folder)},
        directories=WorkingDirectories([], folder / "scratch"),
        sweeper=sweeper,
        limits=RunLimits(output_max_bytes=output_max_bytes, stop_step_s=STOP_STEP_S),
        stopped=asyncio.get_running_loop().create_future(),
    )


def turn(prompt: str = "p", seconds: float = 60.0, *, trace_headers: Mapping[str, str] | None = None) -> Turn:
    """Give a request that is served within so many seconds."""
    return Turn(prompt, trace_headers or {}, asyncio.get_running_loop().time() + seconds)


@contextlib.asynccontextmanager
async def started(ground: Ground, mold: Mold = JSON, *, is_ready: bool = True) -> AsyncIterator[StandbyProcess]:
    """Start a process, and end it after all."""
    process = await StandbyProcess.start(mold, ground)
    try:
        if is_ready:
            await process.settled
            assert process.is_ready
        yield process
    finally:
        await process.end()
