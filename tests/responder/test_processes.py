"""What /proc tells about processes."""

import os
import signal
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from responder.child import Child
from responder.processes import (
    can_list_children,
    children_of,
    descendants_of,
    environment_value,
    own_children,
    resident_bytes,
)
from tests.responder.shell import ENV, pid_in, shell
from tests.support.conditions import wait_until

pytestmark = pytest.mark.usefixtures("patience")
NO_PID = 2**22 + 1  # beyond the kernel's largest


@pytest.fixture
async def family(tmp_path: Path) -> AsyncIterator[tuple[Child, int]]:
    """Start a child with a child of its own in another session; give both."""
    program = shell(tmp_path, 'setsid sh -c "$STAY" stay pid & await pid; echo ready; wait')
    child = Child.start(
        [program], env={**ENV, "NAME": "a=b", "EMPTY": "", "BAD": "\udcff"}, cwd=str(tmp_path), stdin=b""
    )
    await wait_until(lambda: child.output_bytes() > 0, "the family is complete")
    grandchild = pid_in(tmp_path / "pid")
    yield child, grandchild
    os.kill(grandchild, signal.SIGKILL)
    child.send_signal(signal.SIGKILL)
    await child.wait()
    child.close()


async def test_children_and_descendants(family: tuple[Child, int]) -> None:
    """A child is ours, a grandchild is not but descends from us, whatever its session."""
    child, grandchild = family
    assert child.pid in children_of(os.getpid())
    assert grandchild not in children_of(os.getpid())
    assert children_of(child.pid) == descendants_of(child.pid) == {grandchild}
    assert {child.pid, grandchild} <= descendants_of(os.getpid())
    assert os.getpid() not in descendants_of(os.getpid())


def test_zombies_are_children() -> None:
    """A child that has ended and is not reaped is still told."""
    zombie = os.posix_spawn("/bin/true", ["true"], ENV)
    os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
    assert zombie in children_of(os.getpid())
    os.waitpid(zombie, 0)
    assert zombie not in children_of(os.getpid())


@pytest.mark.usefixtures("subreaper")
async def test_our_children_are_the_main_threads(tmp_path: Path) -> None:
    """With other threads beside it the main thread has all children, those that have lost their parent among them."""
    gate = threading.Event()
    threads = [threading.Thread(target=gate.wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    program = shell(tmp_path, '( setsid sh -c "$STAY" stay pid & ); await pid')
    child = Child.start([program], env=ENV, cwd=str(tmp_path), stdin=b"")
    assert child.pid in own_children()
    assert await child.wait() == 0
    orphan = pid_in(tmp_path / "pid")
    await wait_until(lambda: orphan in own_children(), "the orphan is ours")
    assert own_children() == children_of(os.getpid())
    os.kill(orphan, signal.SIGKILL)
    await wait_until(lambda: os.waitpid(orphan, os.WNOHANG)[0] == orphan, "it is reaped")
    assert own_children() == children_of(os.getpid())
    gate.set()
    child.close()


async def test_variables_of_another_process(family: tuple[Child, int]) -> None:
    """A variable is read as the process was started with it, by its whole name."""
    for pid in (family[0].pid, family[1]):
        assert environment_value(pid, "NAME") == "a=b"
        assert environment_value(pid, "EMPTY") == ""
        assert environment_value(pid, "NAM") is None
        assert environment_value(pid, "AME") is None
        assert environment_value(pid, "BAD") == "\ufffd"


def test_processes_that_are_not_there() -> None:
    """A process that has gone has no children and no variables, and is no error."""
    assert children_of(NO_PID) == set()
    assert descendants_of(NO_PID) == set()
    assert environment_value(NO_PID, "PATH") is None
    assert resident_bytes(NO_PID) == 0


def test_resident_memory() -> None:
    """What a process has in memory is told, and grows with what it takes."""
    before = resident_bytes(os.getpid())
    taken = bytearray(os.urandom(1)) * 50_000_000
    assert resident_bytes(os.getpid()) >= before + 0.9 * len(taken)
    zombie = os.posix_spawn("/bin/true", ["true"], ENV)
    os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
    assert resident_bytes(zombie) == 0
    os.waitpid(zombie, 0)


def test_the_kernel_lists_children() -> None:
    """Where these tests run, children are listed."""
    assert can_list_children()
