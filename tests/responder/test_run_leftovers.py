"""What runs leave behind is gone after them, and nothing that belongs to another run is."""

import asyncio
from pathlib import Path

import pytest

from responder.run import Observation, Runner, StopReason
from tests.responder.shell import LEAVE_ALL, LEFTOVERS, children, command, is_alive, is_running, pid_in
from tests.support.conditions import wait_until

pytestmark = pytest.mark.usefixtures("patience")
LONG_S = 60.0
SHORT_S = 0.4


async def run(runner: Runner, folder: Path, body: str, seconds: float = LONG_S) -> Observation:
    deadline = asyncio.get_running_loop().time() + seconds
    return await runner.run(folder.name, command(folder, body), deadline)


def running(folder: Path) -> list[str]:
    return [name for name in LEFTOVERS if is_running(pid_in(folder / name))]


def alive(folder: Path, *names: str) -> list[str]:
    return [name for name in names or LEFTOVERS if is_alive(pid_in(folder / name))]


async def test_everything_a_run_leaves_is_gone(runner: Runner, tmp_path: Path) -> None:
    """After a run that ended well nothing is left: no session of its own, no daemon, no scrubbed or deaf process."""
    before = children()
    seen = await run(runner, tmp_path / "a", LEAVE_ALL + "echo done")
    assert (seen.stdout, seen.exit_status, seen.stop_reason) == (b"done\n", 0, None)
    assert alive(tmp_path / "a") == []
    assert children() == before
    assert seen.survivors >= len(LEFTOVERS)


@pytest.mark.parametrize(
    "end", ["sleep 300", "trap '' INT TERM; while :; do sleep 1; done", "kill -9 $$", "kill -STOP $$"]
)
async def test_everything_is_gone_after_a_bad_end_too(runner: Runner, tmp_path: Path, end: str) -> None:
    """However a run ends, by its deadline or by a signal, nothing is left."""
    before = children()
    seen = await run(runner, tmp_path / "a", f"{LEAVE_ALL} echo 1 >ready; {end}", 0.5)
    assert seen.exit_status is not None
    assert (tmp_path / "a" / "ready").exists()
    assert alive(tmp_path / "a") == []
    assert children() == before


async def test_everything_is_gone_after_a_stop(runner: Runner, tmp_path: Path) -> None:
    """Runs that are killed because the responder stops leave nothing either."""
    before = children()
    folders = [tmp_path / name for name in "abc"]
    tasks = [asyncio.create_task(run(runner, folder, f"{LEAVE_ALL} echo 1 >ready; sleep 300")) for folder in folders]
    for folder in folders:
        await wait_until((folder / "ready").exists, "the run")
    runner.stop_all()
    seen = await asyncio.gather(*tasks)
    assert {observation.stop_reason for observation in seen} == {StopReason.RESPONDER_STOPPED}
    assert [alive(folder) for folder in folders] == [[], [], []]
    assert children() == before


async def test_another_runs_processes_live_on(runner: Runner, tmp_path: Path) -> None:
    """The end of one run touches nothing of a run that still goes on, its daemons without a mark included."""
    before = children()
    going, ending = tmp_path / "going", tmp_path / "ending"
    task = asyncio.create_task(run(runner, going, f"{LEAVE_ALL} echo 1 >ready; await go; echo done"))
    await wait_until((going / "ready").exists, "the run that goes on")
    await run(runner, ending, LEAVE_ALL)
    # What is killed below another leftover may take a moment to die.
    await wait_until(lambda: running(ending) == ["scrubbed"], "what the ended run left has gone")
    assert running(going) == list(LEFTOVERS)
    (going / "go").write_text("go\n")
    assert (await task).stdout == b"done\n"
    assert alive(going) == []
    assert alive(ending) == []
    assert children() == before


async def test_an_unmarked_process_goes_with_the_last_run_that_may_own_it(runner: Runner, tmp_path: Path) -> None:
    """A process without a mark may be any run's that went on when it was found, and is gone when these have ended."""
    first, second, ending, later = (tmp_path / name for name in ("first", "second", "ending", "later"))
    wait = "echo 1 >ready; await go"
    tasks = [asyncio.create_task(run(runner, folder, wait)) for folder in (first, second)]
    for folder in (first, second):
        await wait_until((folder / "ready").exists, "a run")
    await run(runner, ending, LEAVE_ALL)
    tasks.append(asyncio.create_task(run(runner, later, wait)))
    await wait_until((later / "ready").exists, "a later run")
    for folder, task in zip((first, second), tasks, strict=False):
        await wait_until(lambda: running(ending) == ["scrubbed"], "the rest has gone, and this one is spared")
        (folder / "go").write_text("go\n")
        await task
    assert alive(ending) == []
    (later / "go").write_text("go\n")
    await tasks[-1]


async def test_two_runs_that_end_together(runner: Runner, tmp_path: Path) -> None:
    """Runs whose sweeps overlap leave nothing between them."""
    before = children()
    folders = [tmp_path / str(number) for number in range(8)]
    await asyncio.gather(*(run(runner, folder, LEAVE_ALL) for folder in folders))
    assert [alive(folder) for folder in folders] == [[]] * 8
    assert children() == before


async def test_a_daemon_that_forks_without_end_is_caught(runner: Runner, tmp_path: Path) -> None:
    """A process that starts others as fast as it can is gone with all of them."""
    before = children()
    storm = "echo $$ >storm; n=0; while [ $n -lt 500 ]; do setsid sleep 300 & n=$((n+1)); done; sleep 300"
    seen = await run(runner, tmp_path / "a", f"( setsid sh -c '{storm}' & ) ; await storm")
    assert seen.exit_status == 0
    assert alive(tmp_path / "a", "storm") == []
    assert children() == before


async def test_a_forged_mark_does_not_help(runner: Runner, tmp_path: Path) -> None:
    """A process that wears the mark of a run that does not go on is gone with the next sweep."""
    seen = await run(
        runner, tmp_path / "a", '( CLAUDE_NATS_RUN=other setsid sh -c "$STAY" stay forged & ); await forged'
    )
    assert seen.survivors == 1
    assert alive(tmp_path / "a", "forged") == []


async def test_a_leftover_that_holds_the_outputs_keeps_nobody_waiting(runner: Runner, tmp_path: Path) -> None:
    """A background process that still has stdout open does not delay the result."""
    body = "( trap '' INT TERM; echo 1 >held; exec sleep 300 ) & await held; echo done"
    seen = await run(runner, tmp_path / "a", body, 30.0)
    assert (seen.stdout, seen.stop_reason) == (b"done\n", None)
    assert seen.duration_s < LONG_S / 2


async def test_zombies_are_reaped(runner: Runner, tmp_path: Path) -> None:
    """Orphans that end while the run goes on do not stay as zombies after it."""
    before = children()
    seen = await run(runner, tmp_path / "a", "for n in 1 2 3 4 5; do ( setsid true & ); done; echo done")
    assert seen.stdout == b"done\n"
    assert children() == before
