"""What the tests of processes stand on: a subreaper, a sweeper, a runner, and a bound on everything."""

import asyncio
import ctypes
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from responder.processes import children_of
from responder.run import RunLimits, Runner
from responder.sweep import Sweeper, become_subreaper
from tests.responder.left import Left
from tests.support.conditions import wait_until

PATIENCE_S = 20.0
STOP_STEP_S = 0.15
_PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture
async def patience() -> AsyncIterator[None]:
    """Fail a test that hangs instead of waiting for ever."""
    loop = asyncio.get_running_loop()
    timer = loop.call_later(PATIENCE_S, lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
    yield
    timer.cancel()


@pytest.fixture(scope="module")
def subreaper() -> Iterator[None]:
    """Make this process inherit orphans, and undo it so that the tests of other folders are not touched."""
    become_subreaper()
    yield
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@pytest.fixture
def sweeper(subreaper: None) -> Sweeper:  # noqa: ARG001 # orphans have to come to us
    """Give a sweeper that leaves alone what this process had before the test."""
    sweeper = Sweeper()
    for pid in children_of(os.getpid()):
        sweeper.register_other(pid)
    return sweeper


@pytest.fixture
async def runner(sweeper: Sweeper) -> Runner:
    """Give a runner whose steps from SIGINT to SIGKILL are short."""
    return Runner(sweeper, RunLimits(stop_step_s=STOP_STEP_S))


@pytest.fixture
async def nothing_is_left(tmp_path: Path, sweeper: Sweeper) -> AsyncIterator[None]:  # noqa: ARG001 # comes before
    """Insist that a test leaves no descriptor, process or directory."""
    before = Left.now(tmp_path)
    yield
    await wait_until(lambda: Left.now(tmp_path) == before, "nothing is left")
