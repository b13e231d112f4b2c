"""The watchdog as the process it is: what it ends when its responder has been killed, and what it does not."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from contract import new_ulid
from responder.child import Child
from responder.serve import watchdog
from responder.sweep import Sweeper
from responder.watchdog import RESPONDER_VARIABLE
from tests.responder.shell import ENV, is_running, pid_in, shell
from tests.support.conditions import wait_until

pytestmark = pytest.mark.usefixtures("patience", "subreaper")
PROJECT = Path(__file__).parents[2]
# The watchdog looks at the whole machine, on which these tests may run more than once at a time.
MARK = new_ulid()

Start = Callable[..., Child]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Give a function that starts a process, which is ended at the end of the test."""
    started: list[Child] = []

    def start(*argv: str, env: Mapping[str, str] = ENV, cwd: Path = Path("/")) -> Child:
        started.append(Child.start(argv, env=env, cwd=str(cwd), stdin=b""))
        return started[-1]

    yield start
    for child in started:
        child.send_signal(signal.SIGKILL)
        await child.wait()
        child.close()


def watch(start: Start, pid: int) -> Child:
    argv = (sys.executable, "-m", "responder.watchdog", str(pid), MARK)
    return start(*argv, env={"PYTHONPATH": str(PROJECT)})


def marked(start: Start, mark: str = MARK, body: str = "exec sleep 300", folder: Path = Path("/")) -> Child:
    return start("/bin/sh", "-c", body, env={**ENV, RESPONDER_VARIABLE: mark}, cwd=folder)


async def test_what_a_killed_responder_leaves_is_ended(start: Start, tmp_path: Path) -> None:
    """When the responder is killed, all that carries its mark ends, deaf and daemonised processes included."""
    responder = start("/bin/sleep", "300")
    watchdog = watch(start, responder.pid)
    plain = marked(start)
    program = shell(tmp_path, """
        ( setsid sh -c "$STAY" stay daemon & )
        trap '' INT TERM HUP; await daemon; echo $$ >deaf; while :; do sleep 300; done
    """)  # fmt: skip
    marked(start, body=f"exec {program}", folder=tmp_path)
    await wait_until(lambda: _has_text(tmp_path / "deaf"), "the deaf process")
    left = [plain.pid, pid_in(tmp_path / "deaf"), pid_in(tmp_path / "daemon")]
    responder.send_signal(signal.SIGKILL)
    assert await watchdog.wait() == 0
    await wait_until(lambda: not any(map(is_running, left)), "they have ended")
    _reap(left[2])


async def test_others_are_left_alone(start: Start) -> None:
    """Processes without the mark, with another's, or with one that only resembles it, go on."""
    responder = start("/bin/true")
    await responder.wait()
    others = [
        start("/bin/sleep", "300"),
        *(marked(start, mark) for mark in ("", f"other-{MARK}", MARK[:-1], f"{MARK}x", f"x{MARK}")),
        start("/bin/sleep", "300", env={f"X{RESPONDER_VARIABLE}": MARK}),
        start("/bin/sleep", "300", env={"X": f"{RESPONDER_VARIABLE}={MARK}"}),
    ]
    run = marked(start)
    assert await watch(start, responder.pid).wait() == 0
    assert await run.wait() in {-signal.SIGINT, -signal.SIGKILL}  # the first is ignored by what a background job starts
    assert [other.has_exited for other in others] == [False] * len(others)


async def test_a_cli_is_told_first_and_ends_its_tools(start: Start, tmp_path: Path) -> None:
    """SIGINT comes at once, and to the CLI alone, which takes with it what nobody else would find."""
    responder = start("/bin/sleep", "300")
    program = shell(tmp_path, """
        ( env -i setsid sh -c "$STAY" stay tool & ); await tool
        sh -c 'trap "touch tool-told" INT; echo $$ >shell; while :; do sleep 0.02; done' &
        trap 'kill $(cat tool); kill -KILL %1; echo >ended; exit' INT; await shell; echo >ready
        while :; do sleep 0.02; done
    """)  # fmt: skip
    cli = marked(start, body=f"exec {program}", folder=tmp_path)
    watchdog = watch(start, responder.pid)
    await wait_until(lambda: _has_text(tmp_path / "ready") and _is_armed(watchdog), "both are there")
    responder.send_signal(signal.SIGKILL)
    assert await cli.wait() == 0
    assert _has_text(tmp_path / "ended")
    await wait_until(lambda: not is_running(pid_in(tmp_path / "tool")), "the tool has ended")
    assert not (tmp_path / "tool-told").exists()
    assert await watchdog.wait() == 0
    _reap(pid_in(tmp_path / "tool"))


async def test_a_cli_that_was_too_young_is_told_again(start: Start, tmp_path: Path) -> None:
    """A CLI that ignores the first SIGINT, as a young one does, gets another before it is killed."""
    responder = start("/bin/sleep", "300")
    program = shell(tmp_path, """
        trap 'echo >first; trap "echo >second; exit" INT' INT; echo >ready; while :; do sleep 0.02; done
    """)  # fmt: skip
    cli = marked(start, body=f"exec {program}", folder=tmp_path)
    watchdog = watch(start, responder.pid)
    await wait_until(lambda: _has_text(tmp_path / "ready") and _is_armed(watchdog), "both are there")
    responder.send_signal(signal.SIGKILL)
    assert await cli.wait() == 0
    assert [_has_text(tmp_path / name) for name in ("first", "second")] == [True, True]


@pytest.mark.parametrize("on_sigint", ["", "exit"])
async def test_what_is_below_a_cli_is_ended_with_it(start: Start, tmp_path: Path, on_sigint: str) -> None:
    """A process without any environment below a CLI is killed too, also after a CLI that has left it behind."""
    responder = start("/bin/sleep", "300")
    program = shell(tmp_path, f"""
        env -i setsid sh -c "$STAY" stay tool & await tool; trap '{on_sigint}' INT; while :; do sleep 0.02; done
    """)  # fmt: skip
    marked(start, body=f"exec {program}", folder=tmp_path)
    watchdog = watch(start, responder.pid)
    await wait_until(lambda: _has_text(tmp_path / "tool") and _is_armed(watchdog), "both are there")
    responder.send_signal(signal.SIGKILL)
    await wait_until(lambda: not is_running(pid_in(tmp_path / "tool")), "the tool has ended")
    assert await watchdog.wait() == 0
    _reap(pid_in(tmp_path / "tool"))


async def test_what_was_just_being_started_is_ended(start: Start) -> None:
    """A process that has its mark only after the first look is found too."""
    responder = start("/bin/true")
    await responder.wait()
    watchdog = watch(start, responder.pid)
    await wait_until(lambda: _is_armed(watchdog), "it looks")
    runs = [marked(start) for _ in range(3)]
    assert await watchdog.wait() == 0
    assert all([await run.wait() in {-signal.SIGINT, -signal.SIGKILL} for run in runs])


async def test_while_the_responder_lives_nothing_is_ended(start: Start) -> None:
    """As long as its responder lives the watchdog only waits."""
    responder, run = start("/bin/sleep", "300"), marked(start)
    watchdog = watch(start, responder.pid)
    await wait_until(lambda: _is_armed(watchdog), "the watchdog watches")
    assert not await watchdog.wait_or(asyncio.get_running_loop().create_future(), 0.1)
    assert not run.has_exited


async def test_it_is_armed_before_the_responder_goes_on() -> None:
    """The responder goes on only when its watchdog watches."""
    async with watchdog(new_ulid(), Sweeper()) as child:
        assert _is_armed(child)
    assert child.has_exited


def _has_text(path: Path) -> bool:
    return path.exists() and bool(path.read_text())


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):  # init has
        os.waitpid(pid, 0)


def _is_armed(watchdog: Child) -> bool:
    return watchdog.read_stdout(100) == b"armed\n"
