"""A run that is cancelled, also while it is being ended, leaves nothing; nor do many runs in a row."""

import asyncio
import threading
from pathlib import Path

import pytest

from responder.run import Command, RunLimits, Runner
from responder.sweep import Sweeper
from tests.responder.shell import ENV, LEAVE_ALL, children, command, is_alive, open_descriptors, pid_in, shell
from tests.support.conditions import wait_until

pytestmark = pytest.mark.usefixtures("patience")
LONG_S = 60.0
# Leaves processes behind, notes SIGINT and SIGTERM in a file, and goes on.
DEAF = f"""
trap 'echo INT >>said' INT; trap 'echo TERM >>said' TERM
{LEAVE_ALL}
echo $$ >self; echo 1 >ready
while :; do sleep 0.01; done
"""
LEFT = ("self", "setsid", "daemon", "scrubbed", "deaf", "stopped", "nested")


async def begin(runner: Runner, folder: Path, body: str = DEAF) -> asyncio.Task[object]:
    deadline = asyncio.get_running_loop().time() + LONG_S
    task: asyncio.Task[object] = asyncio.create_task(runner.run("run-1", command(folder, body), deadline))
    await wait_until((folder / "ready").exists, "the run")
    return task


async def cancelled(task: asyncio.Task[object]) -> bool:
    await asyncio.wait([task])
    return task.cancelled()


def alive(folder: Path) -> list[str]:
    return [name for name in LEFT if is_alive(pid_in(folder / name))]


@pytest.mark.parametrize("times", [1, 2, 10])
async def test_a_cancelled_run_leaves_nothing(runner: Runner, tmp_path: Path, times: int) -> None:
    """However often a run is cancelled at once, it is ended, swept up, and only then cancelled."""
    processes, descriptors = children(), open_descriptors()
    task = await begin(runner, tmp_path)
    for _ in range(times):
        task.cancel()
    assert await cancelled(task)
    assert alive(tmp_path) == []
    assert (children(), open_descriptors()) == (processes, descriptors)


async def test_a_run_cancelled_at_every_step_leaves_nothing(runner: Runner, tmp_path: Path) -> None:
    """A second cancellation during SIGINT's step and a third during SIGTERM's cut nothing short."""
    processes, descriptors = children(), open_descriptors()
    task = await begin(runner, tmp_path)
    task.cancel()
    for said in ("INT\n", "INT\nTERM\n"):
        await wait_until(lambda said=said: _text(tmp_path / "said") == said, f"it was told {said!r}")  # type: ignore[misc] # the loop's own
        assert not task.done()
        task.cancel()
    assert await cancelled(task)
    assert alive(tmp_path) == []
    assert (children(), open_descriptors()) == (processes, descriptors)


async def test_a_run_cancelled_after_its_deadline_is_cancelled(runner: Runner, tmp_path: Path) -> None:
    """A cancellation that comes while a run is being ended for another reason is not forgotten over it."""
    asked = command(tmp_path, DEAF)
    task = asyncio.create_task(runner.run("run-1", asked, asyncio.get_running_loop().time() + 0.4))
    await wait_until((tmp_path / "said").exists, "its deadline")
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert alive(tmp_path) == []


async def test_a_run_cancelled_all_the_time_leaves_nothing(runner: Runner, tmp_path: Path) -> None:
    """A caller that cancels at every turn of the loop does not win against the sweep."""
    processes = children()
    task = await begin(runner, tmp_path)
    while not task.done():
        task.cancel()
        await asyncio.sleep(0.001)
    assert task.cancelled()
    assert alive(tmp_path) == []
    assert children() == processes


async def test_a_timeout_around_a_run_is_a_cancellation(runner: Runner, tmp_path: Path) -> None:
    """A timeout of the caller's ends a run like any other cancellation."""
    processes = children()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await runner.run("run-1", command(tmp_path, "exec sleep 300"), asyncio.get_running_loop().time() + LONG_S)
    assert children() == processes


async def test_a_run_cancelled_before_its_start_starts_nothing(runner: Runner, tmp_path: Path) -> None:
    """A task that is cancelled before its first step has not started a process."""
    asked = command(tmp_path, "echo 1 >started")
    task = asyncio.create_task(runner.run("run-1", asked, asyncio.get_running_loop().time() + LONG_S))
    task.cancel()
    await asyncio.wait([task])
    assert not (tmp_path / "started").exists()


async def test_the_other_runs_of_a_group_go_on(runner: Runner, tmp_path: Path) -> None:
    """One run's cancellation is no other's."""
    loop = asyncio.get_running_loop()
    body = "echo 1 >ready; await go; echo done"
    other = asyncio.create_task(runner.run("other", command(tmp_path / "b", body), loop.time() + LONG_S))
    await wait_until((tmp_path / "b" / "ready").exists, "the other run")
    task = await begin(runner, tmp_path / "a")
    task.cancel()
    assert await cancelled(task)
    (tmp_path / "b" / "go").write_text("go\n")
    assert (await other).stdout == b"done\n"


async def test_fifty_runs_grow_nothing(sweeper: Sweeper, tmp_path: Path) -> None:
    """After fifty runs that left processes behind there are no more descriptors, children, threads or tasks."""
    runner = Runner(sweeper, RunLimits())
    program = shell(tmp_path, "( setsid sleep 300 & ) ; ( env -i setsid sleep 300 & ); cat")
    asked = Command((program,), ENV, str(tmp_path), b"x" * 10_000)

    async def one(number: int) -> None:
        seen = await runner.run(f"run-{number}", asked, asyncio.get_running_loop().time() + LONG_S)
        assert len(seen.stdout) == 10_000

    await one(-1)
    before = (open_descriptors(), children(), threading.active_count(), len(asyncio.all_tasks()))
    for number in range(50):
        await one(number)
    assert (open_descriptors(), children(), threading.active_count(), len(asyncio.all_tasks())) == before


async def test_failed_starts_grow_nothing(runner: Runner, tmp_path: Path) -> None:
    """Starts that fail leave no descriptor and no process either."""
    loop = asyncio.get_running_loop()
    before = (open_descriptors(), children())
    for number in range(50):
        await runner.run(f"a{number}", Command((str(tmp_path / "none"),), ENV, "/", b"x"), loop.time() + LONG_S)
        await runner.run(f"b{number}", Command(("/bin/true",), ENV, "/no/such", b"x"), loop.time() + LONG_S)
    assert (open_descriptors(), children()) == before


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
