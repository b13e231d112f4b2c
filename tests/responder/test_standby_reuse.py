"""CLIs that a caller keeps: who is given which, for how long, how many there are, and that nothing is left of them."""

import asyncio
import os
import signal
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from responder.arguments import ArgumentPolicy
from responder.cli_environment import CLIEnvironment
from responder.execution import Audience, Execution
from responder.run import Runner
from responder.standby_arguments import Mold
from responder.standby_limits import ReuseLimits, StandbyLimits
from responder.standby_process import StandbyProcess
from responder.sweep import Sweeper
from responder.tracing import Tracing
from tests.responder.ahead import JSON, STREAM, STREAM_ARGS, mold
from tests.responder.shell import ENV, is_alive
from tests.responder.test_standby import Bench, bench, job, use
from tests.support.conditions import wait_until
from tests.support.stream_cli import stream_cli

pytestmark = pytest.mark.usefixtures("patience", "nothing_is_left")
MANY = ReuseLimits(requests_max=10)


def reusing(
    folder: Path,
    sweeper: Sweeper,
    reuse: ReuseLimits = MANY,
    *,
    count_max: int = 4,
    on_clear: str = "cleared",
    fixed: Iterable[Mold] = (JSON,),
    process_max_bytes: int = 500 * 1024 * 1024,
    age_max_s: float = 600.0,
) -> Bench:
    """Give a standby of which callers may keep some."""
    limits = StandbyLimits(count_max, process_max_bytes=process_max_bytes, age_max_s=age_max_s, reuse=reuse)
    seat = bench(folder, sweeper, limits=limits, fixed=fixed)
    stream_cli(folder, on_clear=on_clear)
    return seat


def take(seat: Bench, caller: str = "a", *args: str, reuse: bool = True) -> StandbyProcess | None:
    return seat.standby.take(replace(job(*args), reuse=reuse), caller)


async def ask(seat: Bench, caller: str = "a", *args: str, reuse: bool = True) -> StandbyProcess:
    """Have what a caller is given serve it, and wait until it has become of it what does."""
    process = take(seat, caller, *args, reuse=reuse)
    assert process is not None
    await use(seat.standby, process)
    await wait_until(lambda: not seat.standby._ending, "it waits again, or is gone")
    return process


async def looked(seat: Bench) -> None:
    """Have it look at what waits now."""
    seat.standby._look_at = 0.0
    seat.look()
    await wait_until(lambda: not seat.standby._wake.is_set() and seat.standby._look_at > 0, "a look")


async def ready_then_alone(seat: Bench, count: int = 1) -> None:
    """Wait until so many are ready, of which none is replaced."""
    await seat.until_ready(count)
    seat.standby.is_fit = lambda: False


# What is given.


async def test_a_caller_is_given_its_own(tmp_path: Path, sweeper: Sweeper) -> None:
    """A caller that asks again is given the one that has served it, before one that stands ready for anybody."""
    seat = reusing(tmp_path, sweeper)
    async with seat.standby.kept():
        await seat.until_ready(1)
        first = await ask(seat)
        await seat.until_ready(2)
        assert (seat.standby.owned, seat.standby.ready) == (1, 1)
        assert await ask(seat) is first
        assert await ask(seat) is first
        assert first.served == 3
        other = await ask(seat, "b")
        assert other is not first
        await wait_until(lambda: seat.standby.owned == 2, "both are kept")
        assert await ask(seat) is first
        assert await ask(seat, "b") is other


async def test_nobody_else_is_given_it(tmp_path: Path, sweeper: Sweeper) -> None:
    """What a caller keeps is given to no other, to none without a name, to no other arguments, and not unasked for."""
    seat = reusing(tmp_path, sweeper)
    async with seat.standby.kept():
        await ready_then_alone(seat)
        own = await ask(seat)
        assert seat.standby.ready == 0
        for caller, args, reuse in (
            ("b", (), True),
            ("", (), True),
            ("aa", (), True),
            ("a", (), False),
            ("", (), False),
            ("a", STREAM_ARGS, True),
            ("a", ("--model", "opus"), True),
        ):
            assert take(seat, caller, *args, reuse=reuse) is None
        for cold in (job(cwd="repo"), job(prompt=" ")):
            assert seat.standby.take(replace(cold, reuse=True), "a") is None
        assert seat.kept == [own]
        assert await ask(seat) is own


async def test_the_last_used_stays_in_use(tmp_path: Path, sweeper: Sweeper) -> None:
    """Of several that it keeps a caller is given the one that it has used last."""
    seat = reusing(tmp_path, sweeper, count_max=6)
    seat.want(3)
    async with seat.standby.kept():
        await ready_then_alone(seat, 3)
        processes = [take(seat) for _ in range(3)]
        for process in (processes[1], processes[2], processes[0]):
            assert process is not None
            await use(seat.standby, process)
            await wait_until(lambda: not seat.standby._ending, "it waits again")
        assert [take(seat), take(seat), take(seat)] == [processes[0], processes[2], processes[1]]
        for process in processes:
            assert process is not None
            await seat.standby.retire(process)
        await wait_until(lambda: not seat.standby._ending, "all are gone: they were not used")
        assert seat.kept == []


async def test_one_that_is_being_cleared_is_not_given(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that has just answered is given to nobody, and waited for by nobody, before it is clean."""
    seat = reusing(tmp_path, sweeper, on_clear=f"await {tmp_path}/go; cleared")
    async with seat.standby.kept():
        await ready_then_alone(seat)
        process = take(seat)
        assert process is not None
        await use(seat.standby, process)
        assert process.is_ready
        assert take(seat) is None
        (tmp_path / "go").write_text("x")
        await wait_until(lambda: seat.standby.owned == 1, "it is kept")
        assert await ask(seat) is process


@pytest.mark.parametrize(
    ("caller", "args", "reuse", "requests_max"),
    [
        ("a", (), False, 10),
        ("", (), True, 10),
        ("a", ("--max-budget-usd", "1"), True, 10),
        ("a", (), True, 0),
        ("a", (), True, 1),
    ],
)
async def test_what_is_not_kept(
    tmp_path: Path, sweeper: Sweeper, caller: str, args: tuple[str, ...], *, reuse: bool, requests_max: int
) -> None:
    """Without a wish, a name or leave of the operator, or with arguments that add up, one serves once."""
    seat = reusing(tmp_path, sweeper, ReuseLimits(requests_max), fixed=(mold(*args),))
    async with seat.standby.kept():
        await ready_then_alone(seat)
        process = await ask(seat, caller, *args, reuse=reuse)
        assert process.owner == ""
        assert seat.kept == []
        assert not is_alive(process.pid)


async def test_what_is_not_clean_is_not_kept(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that is not clean after its request is ended."""
    seat = reusing(tmp_path, sweeper, on_clear="result late")
    async with seat.standby.kept():
        await ready_then_alone(seat)
        process = await ask(seat)
        assert seat.kept == []
        assert not is_alive(process.pid)


async def test_what_was_used_wants_no_more(tmp_path: Path, sweeper: Sweeper) -> None:
    """A request that is given its caller's own asks for none to stand ready; every other does."""
    seat = reusing(tmp_path, sweeper)

    def noted() -> int:
        return seat.standby.demand._total(JSON)

    async with seat.standby.kept():
        await ready_then_alone(seat)
        assert noted() == 0
        await ask(seat)
        assert noted() == 1
        await ask(seat)
        assert noted() == 1
        assert take(seat, "b") is None
        assert noted() == 2


# For how long.


async def test_so_many_requests(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that has served as many requests as it may is ended after the last."""
    seat = reusing(tmp_path, sweeper, ReuseLimits(3))
    async with seat.standby.kept():
        await ready_then_alone(seat)
        process = await ask(seat)
        assert await ask(seat) is process
        assert seat.kept == [process]
        assert await ask(seat) is process
        assert seat.kept == []
        assert not is_alive(process.pid)


async def test_so_old(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that is too old is not given, and ended; what waits unused has an age of its own."""
    seat = reusing(tmp_path, sweeper, ReuseLimits(9, age_max_s=100.0), age_max_s=50.0)
    async with seat.standby.kept():
        await ready_then_alone(seat)
        process = await ask(seat)
        process.started_at -= 60.0
        assert await ask(seat) is process
        await looked(seat)
        assert seat.kept == [process]
        process.started_at -= 50.0
        assert take(seat) is None
        await looked(seat)
        assert seat.kept == []


async def test_so_large(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that is too large is ended, without a pause for its arguments; what waits unused has a size of its own."""
    seat = reusing(tmp_path, sweeper, ReuseLimits(9, process_max_bytes=1000))
    async with seat.standby.kept():
        await ready_then_alone(seat)
        process = await ask(seat)
        await wait_until(lambda: not seat.kept, "it is ended", seconds=1.0)
        await wait_until(lambda: not is_alive(process.pid), "it is gone")
        assert not seat.standby._pauses.by_mold


async def test_larger_than_what_waits_unused(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that has served may be larger than one that has not."""
    seat = reusing(tmp_path, sweeper)
    async with seat.standby.kept():
        await ready_then_alone(seat)
        process = await ask(seat)
        seat.standby.limits = replace(seat.standby.limits, process_max_bytes=1000)
        await looked(seat)
        assert seat.kept == [process]


async def test_so_long_unused(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that its caller has not used for a while is ended, without a pause for its arguments."""
    seat = reusing(tmp_path, sweeper)
    async with seat.standby.kept():
        await ready_then_alone(seat)
        process = await ask(seat)
        process.waits_since -= 59.0
        await looked(seat)
        assert seat.kept == [process]
        process.waits_since -= 1.1
        await looked(seat)
        assert seat.kept == []
        assert not seat.standby._pauses.by_mold


async def test_another_host(tmp_path: Path, sweeper: Sweeper) -> None:
    """When the CLI's settings change, what was started before serves nobody, and is ended."""
    (tmp_path / ".claude").mkdir()
    seat = reusing(tmp_path, sweeper)
    async with seat.standby.kept():
        await ready_then_alone(seat)
        await ask(seat)
        (tmp_path / ".claude" / "settings.json").touch()
        assert take(seat) is None
        await looked(seat)
        assert seat.kept == []


async def test_another_host_while_it_serves(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that was started before a change, and served during it, is not taken for one that was started after it."""
    (tmp_path / ".claude").mkdir()
    seat = reusing(tmp_path, sweeper)
    async with seat.standby.kept():
        await ready_then_alone(seat)
        process = take(seat)
        assert process is not None
        (tmp_path / ".claude" / "settings.json").touch()
        await use(seat.standby, process)
        await wait_until(lambda: not seat.standby._ending, "it is over")
        assert take(seat) is None
        await wait_until(lambda: not seat.kept, "it is ended", seconds=1.0)


async def test_dead_while_it_waits(tmp_path: Path, sweeper: Sweeper) -> None:
    """One that has died is given to nobody, and forgotten."""
    seat = reusing(tmp_path, sweeper)
    async with seat.standby.kept():
        await ready_then_alone(seat)
        process = await ask(seat)
        os.kill(process.pid, signal.SIGKILL)
        await wait_until(lambda: not process.is_usable, "it is dead")
        assert take(seat) is None
        await looked(seat)
        assert seat.kept == []
        assert not seat.standby._pauses.by_mold


# How many.


@pytest.mark.parametrize(("count_max", "kept"), [(1, 1), (2, 1), (3, 2), (4, 2)])
async def test_half_of_the_places(tmp_path: Path, sweeper: Sweeper, count_max: int, kept: int) -> None:
    """Callers keep half of the places at most, those that they have used last, at once and not at the next look."""
    seat = reusing(tmp_path, sweeper, count_max=count_max)
    seat.want(count_max)
    async with seat.standby.kept():
        await ready_then_alone(seat, count_max)
        processes = [take(seat, f"caller {number}") for number in range(count_max)]
        for process in processes:
            assert process is not None
            await use(seat.standby, process)
            await wait_until(lambda: not seat.standby._ending, "it waits again, or is gone")
        await wait_until(lambda: seat.kept == processes[-kept:], "the last are kept", seconds=1.0)


async def test_places_for_anybody(tmp_path: Path, sweeper: Sweeper) -> None:
    """What callers keep leaves the other places to anybody, of whatever arguments."""
    seat = reusing(tmp_path, sweeper, count_max=4)
    async with seat.standby.kept():
        await seat.until_ready(1)
        for caller in ("a", "b"):
            await ask(seat, caller)
            await wait_until(lambda: seat.standby.ready >= 1, "another stands ready")
        seat.want(9)
        seat.want(9, STREAM)
        await looked(seat)
        await wait_until(lambda: {JSON, STREAM} == {process.mold for process in seat.ready}, "both stand ready")
        assert (seat.standby.owned, seat.standby.ready, seat.standby._next()) == (2, 2, None)
        for caller in ("a", "b"):
            assert (await ask(seat, caller)).served == 2


async def test_less_memory(tmp_path: Path, sweeper: Sweeper) -> None:
    """Where memory becomes scarce callers keep fewer, and none in the end."""
    seat = reusing(tmp_path, sweeper)
    seat.want(2)
    async with seat.standby.kept():
        await ready_then_alone(seat, 2)
        first, last = take(seat), take(seat)
        for process in (first, last):
            assert process is not None
            await use(seat.standby, process)
            await wait_until(lambda: not seat.standby._ending, "it waits again")
        await looked(seat)
        assert seat.kept == [first, last]
        kept_bytes = 1024 * 1024 * 1024
        seat.standby.memory_left = lambda: kept_bytes - seat.standby._usual_bytes
        await looked(seat)
        assert seat.kept == [last]
        await looked(seat)
        assert seat.kept == []


# The end.


@pytest.mark.parametrize("on_clear", [":", "cleared"])
async def test_the_end_while_one_is_cleared(tmp_path: Path, sweeper: Sweeper, on_clear: str) -> None:
    """Whatever is being cleared at the end is ended with the rest."""
    seat = reusing(tmp_path, sweeper, on_clear=on_clear)
    async with seat.standby.kept():
        await ready_then_alone(seat)
        process = take(seat)
        assert process is not None
        await use(seat.standby, process)
        seat.standby.ground.stopped.set_result(None)
    assert seat.kept == []
    assert not is_alive(process.pid)


async def test_none_is_kept_once_it_stops(tmp_path: Path, sweeper: Sweeper) -> None:
    """Once no more are to be started none is kept either, be it cleared already or not; what waits still serves."""
    seat = reusing(tmp_path, sweeper, on_clear=f"[ -e {tmp_path}/fast ] || await {tmp_path}/go; cleared")
    (tmp_path / "fast").touch()
    seat.want(3)
    async with seat.standby.kept():
        await ready_then_alone(seat, 3)
        waiting = await ask(seat)
        (tmp_path / "fast").unlink()
        cleared, later = take(seat, "b"), take(seat, "b")
        assert cleared is not None
        assert later is not None
        await use(seat.standby, cleared)
        seat.standby.stop_starting()
        (tmp_path / "go").write_text("x")
        await wait_until(lambda: not seat.standby._ending, "it is over")
        assert cleared not in seat.kept
        await use(seat.standby, later)
        await wait_until(lambda: not seat.standby._ending, "it is over")
        assert later.served == 1
        assert not later._spent
        assert await ask(seat) is waiting
        assert seat.kept == []


async def test_the_end_while_one_waits(tmp_path: Path, sweeper: Sweeper) -> None:
    """What callers keep is ended at the end."""
    seat = reusing(tmp_path, sweeper)
    async with seat.standby.kept():
        await seat.until_ready(1)
        process = await ask(seat)
        assert is_alive(process.pid)
    assert not is_alive(process.pid)


async def test_whoever_clears_is_cancelled(tmp_path: Path, sweeper: Sweeper) -> None:
    """A process whose clearing is cancelled is ended all the same, however often."""
    seat = reusing(tmp_path, sweeper, on_clear=":")
    async with seat.standby.kept():
        await ready_then_alone(seat)
        process = take(seat)
        assert process is not None
        await use(seat.standby, process)
        await asyncio.sleep(0)
        (clearing,) = seat.standby._ending
        for _ in range(3):
            clearing.cancel()
            await asyncio.sleep(0)
        await asyncio.wait({clearing})
        assert clearing.cancelled()
        assert not is_alive(process.pid)
        assert seat.kept == []


# From a job.


async def test_a_job_of_a_caller(tmp_path: Path, sweeper: Sweeper) -> None:
    """A job is served by what its audience keeps, by its name, and by a fresh one for anybody else."""
    seat = reusing(tmp_path, sweeper)
    ground = seat.standby.ground
    execution = Execution(
        seat.cli, Runner(sweeper, ground.limits), CLIEnvironment(ENV), ground.directories, Tracing(), seat.standby
    )
    asked = replace(job(), reuse=True, arguments=ArgumentPolicy().arguments(()))
    async with seat.standby.kept():
        pids = []
        for name in ("a", "a", "b", "", "a"):
            await wait_until(lambda: seat.standby.ready >= 1 and not seat.standby._ending, "one is ready")
            _, seen = await execution.execute(asked, Audience(name=name))
            pids.append(seen.pid)
    assert pids[0] == pids[1] == pids[4]
    assert len(set(pids)) == 3


async def test_callers_keep_their_part_at_most(tmp_path: Path, sweeper: Sweeper) -> None:
    """Of two places a caller keeps one, also while a start holds up the next look."""
    wait = f"while [ -e {tmp_path}/hold ]; do sleep 0.01; done"
    seat = bench(tmp_path, sweeper, limits=StandbyLimits(2, reuse=MANY), at_start=wait)
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


async def find(seat: Bench, caller: str) -> StandbyProcess:
    """Find what serves a caller's next request."""
    process = await seat.standby.find(replace(job(), reuse=True), caller)
    assert process is not None
    return process


async def test_one_that_is_just_cleared_is_waited_for(tmp_path: Path, sweeper: Sweeper) -> None:
    """A caller without a pause uses its own again, where another one uses what stands ready."""
    seat = reusing(tmp_path, sweeper)
    seat.want(2)
    async with seat.standby.kept():
        await seat.until_ready(2)
        first = await find(seat, "a")
        await use(seat.standby, first)
        assert not seat.standby.owned
        other, again = await asyncio.gather(find(seat, "b"), find(seat, "a"))
        assert (other is first, again is first) == (False, True)
        for process in (other, again):
            await use(seat.standby, process)


async def test_one_that_takes_long_to_be_cleared_is_left(tmp_path: Path, sweeper: Sweeper) -> None:
    """After a moment a request goes on without it; and no two requests wait for the same one."""
    (tmp_path / "hold").touch()
    seat = reusing(tmp_path, sweeper, on_clear=f"while [ -e {tmp_path}/hold ]; do sleep 0.01; done; cleared")
    seat.want(3)
    async with seat.standby.kept():
        await seat.until_ready(3)
        first = await find(seat, "a")
        await use(seat.standby, first)
        others = await asyncio.gather(find(seat, "a"), find(seat, "a"))
        assert first not in others
        (tmp_path / "hold").unlink()
        await wait_until(lambda: seat.standby.owned == 1, "it is kept after all")
        assert await find(seat, "a") is first
        for process in (first, *others):
            await use(seat.standby, process)
