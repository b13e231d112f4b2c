"""CLIs that are kept ready: how many, which are given, which are replaced, and that nothing is left of them."""

import asyncio
import logging
import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from responder.admission import Job
from responder.arguments import ArgumentPolicy
from responder.demand import Demand
from responder.freshness import Freshness
from responder.processes import children_of
from responder.standby import Standby
from responder.standby_arguments import Mold
from responder.standby_limits import StandbyLimits
from responder.standby_process import StandbyProcess
from responder.sweep import Sweeper
from tests.responder.ahead import JSON, STREAM, STREAM_ARGS, make_ground, mold, turn
from tests.support.conditions import wait_until
from tests.support.stream_cli import stream_cli

pytestmark = pytest.mark.usefixtures("patience", "nothing_is_left")
LOOK_EVERY_S = 0.05


@dataclass
class Bench:
    """A standby and what it stands on."""

    folder: Path
    standby: Standby
    cli: Path

    @property
    def kept(self) -> list[StandbyProcess]:
        """Those that wait."""
        return list(self.standby._waiting)

    @property
    def ready(self) -> list[StandbyProcess]:
        """Those that wait and have started."""
        return [process for process in self.kept if process.is_ready]

    def look(self) -> None:
        """Have it begin a round at once."""
        self.standby._wake.set()

    def want(self, count: int, mold: Mold = JSON, ago_s: float = 0.0) -> None:
        """Have so many requests come at once."""
        for _ in range(count):
            self.standby.demand.note(mold, asyncio.get_running_loop().time() - ago_s)
        self.look()

    async def until_ready(self, count: int) -> list[StandbyProcess]:
        """Wait until exactly so many wait and have started, and a look has seen them."""
        await wait_until(lambda: len(self.kept) == len(self.ready) == count, f"{count} are ready")
        await self.looked()
        return self.ready

    async def looked(self) -> None:
        """Wait until a look is over."""
        self.look()
        await wait_until(lambda: not self.standby._wake.is_set(), "a look")


def bench(  # what a test may vary
    folder: Path,
    sweeper: Sweeper,
    *,
    limits: StandbyLimits | None = None,
    fixed: Iterable[Mold] = (JSON,),
    on_user: str = "answer hello",
    at_start: str = "",
    on_control: str = "ready",
) -> Bench:
    """Give a standby of a scripted CLI, which keeps nothing yet."""
    cli = stream_cli(folder, on_user, at_start=at_start, on_control=on_control)
    ground = make_ground(folder, cli, sweeper)
    freshness = Freshness(cli, {"HOME": str(folder)})
    standby = Standby(ground, limits or StandbyLimits(4), Demand(fixed), freshness, look_every_s=LOOK_EVERY_S)
    return Bench(folder, standby, cli)


def job(*args: str, prompt: str = "p", cwd: str | None = None) -> Job:
    deadline = asyncio.get_running_loop().time() + 60
    return Job("id", prompt, ArgumentPolicy().arguments(args), cwd, deadline)


async def use(standby: Standby, process: StandbyProcess) -> None:
    """Have a process serve a request."""
    try:
        assert await process.serve(turn()) is not None
    finally:
        await standby.retire(process)


# What is given.


async def test_one_is_ready_before_anybody_asks(tmp_path: Path, sweeper: Sweeper) -> None:
    """What is always wanted is started, given to a request, and replaced."""
    seat = bench(tmp_path, sweeper)
    async with seat.standby.kept():
        (process,) = await seat.until_ready(1)
        assert repr(seat.standby) == "<Standby 1 of 4>"
        assert seat.standby.take(job()) is process
        await use(seat.standby, process)
        (other,) = await seat.until_ready(1)
        assert other.pid != process.pid


async def test_each_is_given_once(tmp_path: Path, sweeper: Sweeper) -> None:
    """No two requests get the same process; whoever finds none gets none at once."""
    seat = bench(tmp_path, sweeper)
    async with seat.standby.kept():
        await seat.until_ready(1)
        first = seat.standby.take(job())
        assert first is not None
        assert seat.standby.take(job()) is None
        await use(seat.standby, first)


async def test_only_for_the_same_arguments(tmp_path: Path, sweeper: Sweeper) -> None:
    """A process serves only what it was started for; requests that have to run cold get none."""
    seat = bench(tmp_path, sweeper)
    async with seat.standby.kept():
        await seat.until_ready(1)
        assert seat.standby.take(job(*STREAM_ARGS)) is None
        assert seat.standby.take(job("--model", "opus")) is None
        assert seat.standby.take(job(cwd="repo")) is None
        assert seat.standby.take(job(prompt=" ")) is None
        assert len(seat.kept) == 1


async def test_the_one_that_has_started_is_given_first(tmp_path: Path, sweeper: Sweeper) -> None:
    """Of several the oldest of those that have started is given."""
    seat = bench(tmp_path, sweeper)
    seat.want(3)
    async with seat.standby.kept():
        processes = await seat.until_ready(3)
        taken = [seat.standby.take(job()) for _ in range(3)]
        assert taken == sorted(processes, key=lambda process: process.started_at)
        for process in taken:
            assert process is not None
            await seat.standby.retire(process)


async def test_one_that_still_starts(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that has not started yet is given only once another of the same CLI has shown that it understands."""
    wait = f"while [ -e {tmp_path}/hold ]; do sleep 0.01; done"
    seat = bench(tmp_path, sweeper, at_start=wait)
    (tmp_path / "hold").touch()
    async with seat.standby.kept():
        await wait_until(lambda: len(seat.kept) == 1, "it starts")
        assert seat.standby.take(job()) is None
        (tmp_path / "hold").unlink()
        await seat.until_ready(1)
        (tmp_path / "hold").touch()
        first = seat.standby.take(job())
        assert first is not None
        await wait_until(lambda: len(seat.kept) == 1, "another starts")
        second = seat.standby.take(job())
        assert second is not None
        assert not second.is_ready
        (tmp_path / "hold").unlink()
        await use(seat.standby, second)
        await seat.standby.retire(first)


async def test_who_ends_slowly_is_waited_for_where_many_do(tmp_path: Path, sweeper: Sweeper) -> None:
    """Processes that linger after their results do not pile up: more than may wait hold up whoever comes next."""
    on_user = f"answer hello; while [ -e {tmp_path}/hold ]; do sleep 0.01; done"
    seat = bench(tmp_path, sweeper, limits=StandbyLimits(2), on_user=on_user)
    (tmp_path / "hold").touch()
    seat.want(2)
    async with seat.standby.kept():
        used = []
        for _ in range(3):
            await wait_until(lambda: any(process.is_usable for process in seat.ready), "one is ready")
            process = seat.standby.take(job())
            assert process is not None
            used.append(asyncio.create_task(use(seat.standby, process)))
            await wait_until(lambda: len(seat.standby._ending) == len(used), "it has answered")
            await asyncio.sleep(0)
        assert [task.done() for task in used] == [True, True, False]
        (tmp_path / "hold").unlink()
        await asyncio.gather(*used)


# How many.


async def test_as_many_as_are_wanted(tmp_path: Path, sweeper: Sweeper) -> None:
    """As many are kept of each kind as came at once, within the limit, one after another."""
    seat = bench(tmp_path, sweeper, limits=StandbyLimits(5))
    async with seat.standby.kept():
        seat.want(3)
        seat.want(9, STREAM)
        await seat.until_ready(5)
        assert sorted(process.mold.is_stream for process in seat.kept) == [False, False, True, True, True]


async def test_one_after_another(tmp_path: Path, sweeper: Sweeper) -> None:
    """While one starts no other is started, however many are wanted."""
    seat = bench(tmp_path, sweeper, on_control=":")
    seat.want(4)
    async with seat.standby.kept():
        await wait_until(lambda: len(seat.kept) == 1, "one starts")
        seat.want(4)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(seat.kept) == 1


async def test_none_when_none_may_be(tmp_path: Path, sweeper: Sweeper) -> None:
    """Where there is no memory for one, or the responder is not fit for work, or stops at once, none is started."""
    seat = bench(tmp_path, sweeper, limits=StandbyLimits(4, memory_max_bytes=1000))
    async with seat.standby.kept():
        await seat.looked()
        assert not seat.kept
    seat = bench(tmp_path, sweeper)
    seat.standby.is_fit = lambda: False
    async with seat.standby.kept():
        await seat.looked()
        assert not seat.kept
    seat = bench(tmp_path, sweeper)
    seat.standby.ground.stopped.set_result(None)
    async with seat.standby.kept():
        await seat.looked()
        assert not seat.kept


async def test_what_is_no_longer_wanted_goes(tmp_path: Path, sweeper: Sweeper) -> None:
    """When requests stay away, what they needed is ended but for what is wanted always."""
    seat = bench(tmp_path, sweeper)
    seat.want(3, ago_s=299.0)
    async with seat.standby.kept():
        before = await seat.until_ready(3)
        after = await seat.until_ready(1)
        assert set(after) < set(before)


async def test_what_they_take_in_all(tmp_path: Path, sweeper: Sweeper) -> None:
    """They never take more memory than they may, by what those that wait take."""
    at_start = "x=$(head -c 20000000 /dev/zero | tr '\\0' x)"
    limit = 200 * 1024 * 1024
    seat = bench(tmp_path, sweeper, at_start=at_start, limits=StandbyLimits(20, memory_max_bytes=limit))
    seat.want(20)
    async with seat.standby.kept():
        await wait_until(lambda: len(seat.ready) > 1, "more than one")
        most = limit // min(process.memory_bytes() for process in seat.ready)
        await wait_until(lambda: len(seat.ready) >= most - 1 and seat.standby._next() is None, "as many as fit")
        assert sum(process.memory_bytes() for process in seat.kept) <= limit


# What is replaced.


async def test_the_old_are_replaced(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that has waited for long enough is given to nobody, and replaced."""
    seat = bench(tmp_path, sweeper, limits=StandbyLimits(4, age_max_s=0.5))
    async with seat.standby.kept():
        (old,) = await seat.until_ready(1)
        await wait_until(lambda: asyncio.get_running_loop().time() - old.started_at >= 0.5, "it is old")
        if old in seat.kept:
            assert seat.standby.take(job()) is None
        await wait_until(lambda: seat.kept != [] and old not in seat.kept, "another one")


async def test_the_large_are_ended(tmp_path: Path, sweeper: Sweeper, caplog: pytest.LogCaptureFixture) -> None:
    """One that takes too much memory is ended, and not started again and again."""
    seat = bench(tmp_path, sweeper, limits=StandbyLimits(4, process_max_bytes=1000))
    async with seat.standby.kept():
        await wait_until(lambda: "none is started for 5 s" in caplog.text, "a pause")
        assert not seat.kept
        await seat.looked()
        assert not seat.kept


async def test_another_cli(tmp_path: Path, sweeper: Sweeper) -> None:
    """When the CLI is replaced those of the old one serve nobody from that moment on, and are replaced too."""
    seat = bench(tmp_path, sweeper)
    async with seat.standby.kept():
        (old,) = await seat.until_ready(1)
        new = stream_cli(tmp_path, "answer new", name="new")
        new.rename(seat.cli)
        assert seat.standby.take(job()) is None
        await wait_until(lambda: bool(seat.ready) and old not in seat.kept, "a new one")
        process = seat.standby.take(job())
        assert process is not None
        seen = await process.serve(turn())
        await seat.standby.retire(process)
        assert seen is not None
        assert b'"new"' in seen.stdout


async def test_settings_that_change_while_one_starts(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that was started before a change may have read what was before, and serves nobody."""
    seat = bench(tmp_path, sweeper, at_start=f"while [ -e {tmp_path}/hold ]; do sleep 0.01; done")
    (tmp_path / "hold").touch()
    (tmp_path / ".claude").mkdir()
    async with seat.standby.kept():
        await wait_until(lambda: len(seat.kept) == 1, "it starts")
        (old,) = seat.kept
        (tmp_path / ".claude" / "settings.json").touch()
        (tmp_path / "hold").unlink()
        await wait_until(lambda: old not in seat.kept and bool(seat.ready), "another")


async def test_the_dead_are_replaced_after_a_pause(
    tmp_path: Path, sweeper: Sweeper, caplog: pytest.LogCaptureFixture
) -> None:
    """Those that die while they wait are given to nobody; however many die at once, it is one failure."""
    seat = bench(tmp_path, sweeper)
    seat.want(4)
    async with seat.standby.kept():
        for process in await seat.until_ready(4):
            os.kill(process.pid, signal.SIGKILL)
        await wait_until(lambda: not any(process.is_usable for process in seat.kept), "they are dead")
        assert seat.standby.take(job()) is None
        await wait_until(lambda: not seat.kept, "none is left")
        (pause,) = seat.standby._pauses.by_mold.values()
        assert pause.seconds == 5.0
        assert caplog.text.count("none is started for 5 s") == 1
        pause.until = 0.0
        await seat.until_ready(4)


@pytest.mark.parametrize("at_start", ["exit 1", "init"])
async def test_those_that_fail_at_their_start(tmp_path: Path, sweeper: Sweeper, at_start: str) -> None:
    """What never becomes ready is tried again after a pause that grows, whatever other arguments do."""
    seat = bench(tmp_path, sweeper, fixed=(JSON, mold("--model", "opus")))
    seat.cli.write_text(seat.cli.read_text().replace("form=$3", f'form=$3\ncase "$*" in *opus*) {at_start} ;; esac'))
    async with seat.standby.kept():
        for seconds in (5.0, 10.0):
            await wait_until(lambda seconds=seconds: _pause_s(seat) == seconds, f"a pause of {seconds} s")  # type: ignore[misc]
            (pause,) = seat.standby._pauses.by_mold.values()
            pause.until = asyncio.get_running_loop().time()
            seat.look()
        await wait_until(lambda: [process.mold for process in seat.ready] == [JSON], "the other arguments")


async def test_one_that_never_starts(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that has not answered after a long time is no CLI that can wait: it is ended, and a pause made."""
    seat = bench(tmp_path, sweeper, on_control=":")
    async with seat.standby.kept():
        await wait_until(lambda: len(seat.kept) == 1, "it starts")
        (process,) = seat.kept
        process.started_at -= 21.0
        process.settled.set_result(None)
        await wait_until(lambda: not seat.kept, "it is ended")
        assert _pause_s(seat) == 5.0


async def test_pauses_are_forgotten(tmp_path: Path, sweeper: Sweeper) -> None:
    """A pause that is long over leaves nothing, so that many failing arguments take no memory."""
    seat = bench(tmp_path, sweeper, at_start="exit 1")
    async with seat.standby.kept():
        await wait_until(lambda: _pause_s(seat) == 5.0, "a pause")
        seat.standby.demand._fixed = ()
        (pause,) = seat.standby._pauses.by_mold.values()
        pause.until = asyncio.get_running_loop().time() - 601.0
        await seat.looked()
        await wait_until(lambda: not seat.standby._pauses.by_mold, "it is forgotten")


async def test_no_cli_to_start(tmp_path: Path, sweeper: Sweeper, caplog: pytest.LogCaptureFixture) -> None:
    """Where none can be started that is told, tried again later, and nothing else."""
    seat = bench(tmp_path, sweeper)
    away = seat.cli.rename(tmp_path / "away")
    with caplog.at_level(logging.WARNING):
        async with seat.standby.kept():
            await wait_until(lambda: _pause_s(seat) == 5.0, "a pause")
            assert "no CLI could be started ahead: there is no such executable" in caplog.text
            away.rename(seat.cli)
            seat.standby._pauses.by_mold.clear()
            seat.look()
            await seat.until_ready(1)


async def test_none_ahead_of_those_who_wait(tmp_path: Path, sweeper: Sweeper) -> None:
    """While every core has a cold start to do, for which somebody waits, none is started ahead; not for ever."""
    seat = bench(tmp_path, sweeper)
    for _ in range(os.cpu_count() or 1):
        seat.standby.note_cold()
    async with seat.standby.kept():
        await wait_until(lambda: seat.standby._cold_starts.postponed_at is not None, "it is postponed")
        assert not seat.kept
        await seat.until_ready(1)
        assert seat.standby._cold_starts.postponed_at is None


async def test_somebody_always_waits(tmp_path: Path, sweeper: Sweeper) -> None:
    """When there are cold starts to do all the time, one is started ahead all the same after a while."""
    seat = bench(tmp_path, sweeper)

    def is_postponed() -> bool:
        for _ in range(os.cpu_count() or 1):
            seat.standby.note_cold()
        return seat.standby._cold_starts.postponed_at is not None

    assert not is_postponed()
    async with seat.standby.kept():
        await wait_until(is_postponed, "it is postponed")
        assert seat.standby._cold_starts.postponed_at is not None
        seat.standby._cold_starts.postponed_at -= 5.0
        await wait_until(lambda: not is_postponed() or bool(seat.kept), "one is started", seconds=1.0)
        await seat.until_ready(1)


# The end.


async def test_none_is_replaced_at_the_end(tmp_path: Path, sweeper: Sweeper) -> None:
    """Once it is told to, it starts none any more; what is there still serves."""
    seat = bench(tmp_path, sweeper)
    async with seat.standby.kept():
        await seat.until_ready(1)
        seat.standby.stop_starting()
        process = seat.standby.take(job())
        assert process is not None
        await use(seat.standby, process)
        await seat.looked()
        assert not seat.kept


async def test_all_are_ended_at_the_end(tmp_path: Path, sweeper: Sweeper) -> None:
    """When it ends, those that wait, one that starts, and those that are ending are all gone."""
    deaf = 'trap "" INT TERM; answer hello; while :; do sleep 300; done'
    seat = bench(tmp_path, sweeper, on_user=deaf)
    seat.want(3)
    async with seat.standby.kept():
        await seat.until_ready(3)
        process = seat.standby.take(job())
        assert process is not None
        await use(seat.standby, process)
    assert not seat.kept
    assert process.pid not in children_of(os.getpid())


async def test_the_end_itself_is_cancelled(tmp_path: Path, sweeper: Sweeper) -> None:
    """However often the end is cancelled, all are ended before it is over."""
    seat = bench(tmp_path, sweeper)
    seat.want(3)

    async def keep() -> None:
        async with seat.standby.kept():
            await asyncio.get_running_loop().create_future()

    keeping = asyncio.create_task(keep())
    await seat.until_ready(3)
    while not keeping.done():
        keeping.cancel()
        await asyncio.sleep(0)
    assert keeping.cancelled()


async def test_stopped_in_the_middle(tmp_path: Path, sweeper: Sweeper) -> None:
    """When every run is to end at once, nobody waits for those that linger."""
    deaf = 'trap "" INT TERM; answer hello; while :; do sleep 300; done'
    seat = bench(tmp_path, sweeper, on_user=deaf)
    async with seat.standby.kept():
        await seat.until_ready(1)
        process = seat.standby.take(job())
        assert process is not None
        await use(seat.standby, process)
        seat.standby.ground.stopped.set_result(None)
        await wait_until(lambda: not seat.standby._ending, "nobody waits", seconds=0.3)


def _pause_s(seat: Bench) -> float | None:
    return next((pause.seconds for pause in seat.standby._pauses.by_mold.values()), None)
