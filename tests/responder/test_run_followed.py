"""A run that somebody follows: output is handed on while it is printed, and it ends when nobody awaits it."""

import asyncio
import signal
from pathlib import Path

import pytest

from responder.run import Observation, RunLimits, Runner, StopReason
from responder.sweep import Sweeper
from tests.responder.shell import LEAVE_ALL, children, command, is_alive, pid_in
from tests.support.conditions import wait_until

pytestmark = pytest.mark.usefixtures("patience")
LONG_S = 60.0
PIECE_BYTES = 256 * 1024
DEAF = "trap 'echo INT' INT; trap 'echo TERM' TERM; echo 1 >ready; while :; do sleep 0.01; done"


class Follower:
    """Keeps what it is given.

    Attributes:
        pieces: Offset and bytes of each.
    """

    def __init__(self) -> None:
        self.pieces: list[tuple[int, bytes]] = []
        self.cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def heard(self) -> bytes:
        """All of it; each piece begins where the one before has ended."""
        heard = b""
        for offset, lines in self.pieces:
            assert offset == len(heard)
            assert lines.endswith(b"\n")
            heard += lines
        return heard

    def listen(self, offset: int, lines: bytes) -> None:
        """Take a piece."""
        self.pieces.append((offset, lines))

    def begin(self, runner: Runner, folder: Path, body: str, stdin: bytes = b"") -> asyncio.Task[Observation]:
        """Start a run, and follow it."""
        deadline = asyncio.get_running_loop().time() + LONG_S
        asked = command(folder, body, stdin=stdin)
        return asyncio.create_task(runner.run("run-1", asked, deadline, self.cancelled, self.listen))


async def test_a_cancelled_run_is_ended_in_short_steps(sweeper: Sweeper, tmp_path: Path) -> None:
    """A run that nobody awaits any more is told so and soon killed, however long the operator's steps are."""
    runner, follower = Runner(sweeper, RunLimits(stop_step_s=300)), Follower()
    task = follower.begin(runner, tmp_path, DEAF)
    await wait_until((tmp_path / "ready").exists, "the run")
    follower.cancelled.set_result(None)
    seen = await task
    assert (seen.stop_reason, seen.exit_status, seen.stdout) == (
        StopReason.CANCELLED,
        -signal.SIGKILL,
        b"INT\nTERM\n",
    )


async def test_the_operators_steps_may_be_shorter(sweeper: Sweeper, tmp_path: Path) -> None:
    """Where the operator wants runs to be killed at once, a cancelled one is, too."""
    runner, follower = Runner(sweeper, RunLimits(stop_step_s=0)), Follower()
    task = follower.begin(runner, tmp_path, "trap '' INT TERM; echo 1 >ready; while :; do sleep 0.01; done")
    await wait_until((tmp_path / "ready").exists, "the run")
    follower.cancelled.set_result(None)
    assert (await task).stop_reason is StopReason.CANCELLED


async def test_a_cancelled_run_leaves_nothing(runner: Runner, tmp_path: Path) -> None:
    """Whatever a cancelled run has started is gone when it has ended, deaf or detached."""
    before, follower = children(), Follower()
    task = follower.begin(runner, tmp_path, f"trap '' INT TERM\n{LEAVE_ALL}\necho 1 >ready; sleep 300")
    await wait_until((tmp_path / "ready").exists, "the run")
    follower.cancelled.set_result(None)
    seen = await task
    assert seen.stop_reason is StopReason.CANCELLED
    assert seen.survivors >= 1
    assert not any(is_alive(pid_in(tmp_path / name)) for name in ("setsid", "daemon", "deaf", "stopped"))
    assert children() == before


async def test_a_run_cancelled_before_it_begins(runner: Runner, tmp_path: Path) -> None:
    """A run that nobody awaits when it starts is ended at once."""
    follower = Follower()
    follower.cancelled.set_result(None)
    seen = await follower.begin(runner, tmp_path, "exec sleep 300")
    assert seen.stop_reason is StopReason.CANCELLED


async def test_a_run_that_has_ended_was_not_cancelled(runner: Runner, tmp_path: Path) -> None:
    """Whoever loses interest after the end changes nothing of what was seen."""
    follower = Follower()
    seen = await follower.begin(runner, tmp_path, "echo done")
    follower.cancelled.set_result(None)
    assert (seen.stop_reason, seen.stdout) == (None, b"done\n")


async def test_lines_are_handed_on_while_it_runs(runner: Runner, tmp_path: Path) -> None:
    """A line is heard before the next is printed, and half a line not before its end."""
    follower = Follower()
    body = 'step() { until [ -e "$1" ]; do sleep 0.01; done; }; echo one; step a; printf tw; step b; echo o; step c'
    task = follower.begin(runner, tmp_path, body)
    await wait_until(lambda: follower.heard == b"one\n", "the first line")
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    await wait_until(lambda: follower.heard == b"one\ntwo\n", "the second line")
    assert not task.done()
    (tmp_path / "c").touch()
    assert (await task).stdout == follower.heard


async def test_lines_printed_in_the_last_moment(runner: Runner, tmp_path: Path) -> None:
    """What is printed just before the end is handed on, but for a last line that has none."""
    follower = Follower()
    seen = await follower.begin(runner, tmp_path, "echo one; echo two; printf three")
    assert seen.stdout == b"one\ntwo\nthree"
    assert follower.heard == b"one\ntwo\n"


async def test_more_than_a_piece(runner: Runner, tmp_path: Path) -> None:
    """Megabytes come in pieces of whole lines, none too large, and together they are what was printed."""
    follower = Follower()
    printed = b"".join(b"%d %s\n" % (number, b"x" * (number % 5000)) for number in range(1000))
    seen = await follower.begin(runner, tmp_path, "cat", printed)
    assert seen.stdout == follower.heard == printed
    assert len(follower.pieces) >= len(printed) / PIECE_BYTES
    assert max(len(lines) for _, lines in follower.pieces) <= PIECE_BYTES


async def test_a_line_larger_than_a_piece(runner: Runner, tmp_path: Path) -> None:
    """From a line on that is larger than a piece, what is printed waits for the end; nothing of it is cut or lost."""
    follower = Follower()
    printed = b"one\n" + b"x" * PIECE_BYTES + b"\ntwo\n"
    seen = await follower.begin(runner, tmp_path, "cat", printed)
    assert seen.stdout == printed
    assert follower.heard == b"one\n"


async def test_what_a_cancelled_run_had_printed(runner: Runner, tmp_path: Path) -> None:
    """Of a run that is cancelled what it printed until then was handed on."""
    follower = Follower()
    task = follower.begin(runner, tmp_path, f"echo one; {DEAF}")
    await wait_until(lambda: follower.heard == b"one\n", "the line")
    follower.cancelled.set_result(None)
    assert (await task).stop_reason is StopReason.CANCELLED
    assert follower.heard == b"one\n"
