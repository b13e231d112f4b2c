"""A CLI that has served is told to forget: what is proven clean waits again, and all else is to be ended."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from responder.standby import ReuseLimits, StandbyLimits
from responder.standby_process import StandbyProcess
from responder.sweep import Sweeper
from tests.responder.ahead import JSON, Left, make_ground, turn
from tests.responder.shell import ENV, is_alive, pid_in
from tests.responder.test_standby import bench, job, use
from tests.support.conditions import wait_until
from tests.support.stream_cli import stream_cli

pytestmark = pytest.mark.usefixtures("patience", "_nothing_is_left")
CLEARED = (
    '{"type":"result","subtype":"success","is_error":false,"duration_api_ms":0,"num_turns":0,"result":"",'
    '"session_id":"t","total_cost_usd":0,"modelUsage":{}}'
)


@pytest.fixture
async def _nothing_is_left(tmp_path: Path, sweeper: Sweeper) -> AsyncIterator[None]:  # noqa: ARG001 # comes before
    before = Left.now(tmp_path)
    yield
    await wait_until(lambda: Left.now(tmp_path) == before, "nothing is left")


@contextlib.asynccontextmanager
async def served(
    folder: Path, sweeper: Sweeper, on_user: str = "answer hello", on_clear: str = f"echo '{CLEARED}'"
) -> AsyncIterator[StandbyProcess]:
    """Have a scripted CLI serve a request, and end it after all."""
    asked = f"case $line in *'\"/clear\"'*) {on_clear} ;; *) {on_user} ;; esac"
    ground = make_ground(folder, stream_cli(folder, asked), sweeper)
    process = await StandbyProcess.start(JSON, replace(ground, env={**ENV, "HOME": str(folder)}))
    try:
        await process.settled
        assert await process.serve(turn()) is not None
        yield process
    finally:
        await process.end()


async def test_what_is_clean_waits_again(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that has forgotten, and whose directory is empty again, is of use for the next request."""
    async with served(tmp_path, sweeper, "touch left; mkdir -p deep/er; answer hello") as process:
        assert await process.renew()
        assert process.is_usable
        assert not list((tmp_path / "scratch").glob("*/*"))


async def test_one_that_was_told_something_else(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that answers what it was not asked was told by its own tools, another model, say, which would stay."""
    async with served(tmp_path, sweeper, "ready; answer hello") as process:
        assert not await process.renew()


async def test_a_directory_that_is_open_to_others(tmp_path: Path, sweeper: Sweeper) -> None:
    """Where a request has changed who may enter the directory, the next one does not get it."""
    async with served(tmp_path, sweeper, "chmod 1777 .; answer hello") as process:
        assert not await process.renew()


async def test_a_daemon_that_could_be_another_runs(tmp_path: Path, sweeper: Sweeper) -> None:
    """What has dropped its environment may be its own, also while other runs go on, for whose sake it is spared."""
    sweeper.register("other", os.getpid())
    leave = f"(env -i setsid sh -c 'echo $$ >{tmp_path}/pid; exec sleep 300' &); await {tmp_path}/pid; answer hello"
    async with served(tmp_path, sweeper, leave) as process:
        assert not await process.renew()
        assert is_alive(pid_in(tmp_path / "pid"))
    assert await sweeper.sweep("other") == 1


@pytest.mark.parametrize(
    "on_clear", ["kill -9 $$", "exit 0", f"echo '{CLEARED}'; kill -9 $$", "echo no JSON", "exec sleep 300"]
)
async def test_one_that_does_not_survive_it(tmp_path: Path, sweeper: Sweeper, on_clear: str) -> None:
    """One that ends, or says something else, when it is told to forget is of no use, and leaves nothing behind."""
    async with served(tmp_path, sweeper, on_clear=on_clear) as process:
        is_renewed = await process.renew()
        await wait_until(lambda: not (is_renewed and process.is_usable), "it is of no use")
    assert process.pid not in sweeper._others


async def test_one_that_ends_while_it_waits(tmp_path: Path, sweeper: Sweeper) -> None:
    """A request given to one that is killed just then can run elsewhere, since nobody has read it."""
    async with served(tmp_path, sweeper) as process:
        assert await process.renew()
        os.kill(process.pid, signal.SIGKILL)
        assert process.is_usable  # nobody has noticed
        assert await process.serve(turn()) is None
        assert not await process.renew()


async def test_one_that_has_ended_before(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that ended right after its result is not taken for a child that stays: its number may be another's."""
    async with served(tmp_path, sweeper) as process:
        os.kill(process.pid, signal.SIGKILL)
        await asyncio.wait({process._child.exited})
        assert not await process.renew()
        assert process.pid not in sweeper._others


async def test_callers_keep_their_part_at_most(tmp_path: Path, sweeper: Sweeper) -> None:
    """Of two places a caller keeps one, also while a start holds up the next look."""
    asked = f"case $line in *'\"/clear\"'*) echo '{CLEARED}' ;; *) answer hello ;; esac"
    limits = StandbyLimits(2, reuse=ReuseLimits(9))
    wait = f"while [ -e {tmp_path}/hold ]; do sleep 0.01; done"
    seat = bench(tmp_path, sweeper, limits=limits, on_user=asked, at_start=wait)
    seat.standby.ground = replace(seat.standby.ground, env={**ENV, "HOME": str(tmp_path)})
    seat.want(2)
    async with seat.standby.kept():
        await seat.until_ready(2)
        (tmp_path / "hold").touch()
        taken = [seat.standby.take(replace(job(), reuse=True), "caller") for _ in range(2)]
        for process in taken:
            assert process is not None
            await use(seat.standby, process)
        await wait_until(lambda: not seat.standby._ending, "all are kept or ended")
        assert seat.standby.owned == 1
        (tmp_path / "hold").unlink()
