"""The sweep by itself: which children it takes for a run's, and which it spares."""

import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from responder.child import Child
from responder.processes import children_of
from responder.sweep import MARK_VARIABLE, Sweeper, end_child
from tests.responder.shell import ENV, children, is_alive, pid_in, shell

pytestmark = pytest.mark.usefixtures("patience")


async def orphan(folder: Path, env: Mapping[str, str]) -> int:
    """Make a process that has lost its parent, and so become a child of ours; give its id."""
    body = 'sh -c "$STAY" stay pid & await pid'
    launcher = Child.start([shell(folder, body)], env={**ENV, **env}, cwd=str(folder), stdin=b"")
    await launcher.wait()
    launcher.close()
    pid = pid_in(folder / "pid")
    assert pid in children()
    return pid


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


async def test_orphans_of_the_run_are_killed(sweeper: Sweeper, tmp_path: Path) -> None:
    """What wears the run's mark is killed and reaped, and counted with what descends from it."""
    sweeper.register("mine", os.getpid())
    pid = await orphan(tmp_path, {MARK_VARIABLE: "mine"})
    assert await sweeper.sweep("mine") == 1
    assert not is_alive(pid)


async def test_nothing_to_sweep(sweeper: Sweeper) -> None:
    """A run that has left nothing costs nothing, and neither does one that was never registered."""
    sweeper.register("mine", 1)
    assert await sweeper.sweep("mine") == 0
    assert await sweeper.sweep("unknown") == 0


async def test_orphans_of_a_run_that_goes_on_are_spared(sweeper: Sweeper, tmp_path: Path) -> None:
    """What wears the mark of a run that still goes on belongs to it."""
    sweeper.register("other", 1)
    pid = await orphan(tmp_path, {MARK_VARIABLE: "other"})
    sweeper.register("mine", 1)
    assert await sweeper.sweep("mine") == 0
    assert is_alive(pid)
    assert await sweeper.sweep("other") == 1
    assert not is_alive(pid)


async def test_unmarked_orphans_wait_for_the_runs_that_may_own_them(sweeper: Sweeper, tmp_path: Path) -> None:
    """An orphan without a mark is spared as long as a run goes on that may have started it, and then killed."""
    for run in ("first", "second", "mine"):
        sweeper.register(run, 1)
    pid = await orphan(tmp_path, {})
    assert await sweeper.sweep("mine") == 0
    sweeper.register("later", 1)
    assert await sweeper.sweep("first") == 0
    assert is_alive(pid)
    assert await sweeper.sweep("second") == 1
    assert not is_alive(pid)


async def test_children_that_stay_are_spared(sweeper: Sweeper, tmp_path: Path) -> None:
    """A child that is no run's, such as a server of the responder's own, is left alone."""
    pid = await orphan(tmp_path, {})
    sweeper.register_other(pid)
    assert await sweeper.sweep("mine") == 0
    assert is_alive(pid)
    end(pid)


async def test_children_that_stay_no_longer(sweeper: Sweeper, tmp_path: Path) -> None:
    """A child that is to stay no longer is one like all others."""
    pid = await orphan(tmp_path, {})
    sweeper.register_other(pid)
    sweeper.forget_other(pid)
    sweeper.forget_other(pid)
    assert await sweeper.sweep("mine") == 1
    assert not is_alive(pid)


async def test_the_cli_of_a_run_that_goes_on_is_spared(sweeper: Sweeper) -> None:
    """A registered run's own process is never an orphan, and is left to whoever waits for it."""
    child = Child.start(["/bin/sleep", "300"], env={}, cwd="/", stdin=b"")
    sweeper.register("other", child.pid)
    assert await sweeper.sweep("mine") == 0
    assert not child.has_exited
    child.send_signal(signal.SIGKILL)
    assert await child.wait() == -signal.SIGKILL
    child.close()


async def test_orphans_become_our_children(subreaper: None, tmp_path: Path) -> None:  # noqa: ARG001 # what is tested
    """A daemon loses its parent to us and not to init, so that it can be found."""
    pid = await orphan(tmp_path, {})
    assert pid in children_of(os.getpid())
    end(pid)


async def test_ending_what_has_ended() -> None:
    """A child that has exited gets no signal, and its end is awaited at once."""
    child = Child.start(["/bin/true"], env={}, cwd="/", stdin=b"")
    await child.wait()
    await end_child(child, 300, asyncio.get_running_loop().create_future())
    child.close()
