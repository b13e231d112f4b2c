"""One child: what it gets, what is read from it, how it ends."""

import asyncio
import contextlib
import hashlib
import mmap
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from responder.child import Child
from tests.responder.shell import ENV, children, is_alive, open_descriptors, pid_in, shell
from tests.support.conditions import wait_until

pytestmark = pytest.mark.usefixtures("patience")
MANY = 10_000_000


def start(
    argv: Sequence[str], stdin: bytes = b"", env: Mapping[str, str] | None = None, cwd: str | Path = "/"
) -> Child:
    return Child.start(argv, env=ENV if env is None else env, cwd=str(cwd), stdin=stdin)


async def output_of(argv: Sequence[str], stdin: bytes = b"", env: Mapping[str, str] | None = None) -> bytes:
    """Run a program to its good end and give what it printed."""
    child = start(argv, stdin, env)
    assert await child.wait() == 0, child.read_stderr(1000)
    printed = child.read_stdout(10 * MANY)
    child.close()
    return printed


async def test_stdout_arrives_whole() -> None:
    """Five megabytes that are printed just before the exit are all there."""
    printed = await output_of(["/bin/sh", "-c", "head -c 5000000 /dev/zero | tr '\\0' x"])
    assert printed == b"x" * 5_000_000


async def test_stdin_arrives_whole() -> None:
    """Ten megabytes of every byte are read to the last, and then there is an end of file."""
    data = os.urandom(1000) * (MANY // 1000)
    assert hashlib.sha256(await output_of(["/bin/cat"], data)).digest() == hashlib.sha256(data).digest()


async def test_stdin_is_empty_by_default() -> None:
    """A child without input reads an end of file at once."""
    assert await output_of(["/bin/cat"]) == b""


async def test_no_stream_is_a_pipe() -> None:
    """Input and outputs are files, which nobody has to drain."""
    script = "for fd in 0 1 2; do [ -f /proc/self/fd/$fd ] && echo $fd; done"
    assert await output_of(["/bin/sh", "-c", script]) == b"0\n1\n2\n"


async def test_nothing_else_is_inherited() -> None:
    """A child has its three streams and no descriptor of ours."""
    kept = os.dup2(2, 50, inheritable=True)
    try:
        assert await output_of(["/bin/sh", "-c", "exec 3<>/dev/null; ls /proc/$$/fd"]) == b"0\n1\n2\n3\n"
    finally:
        os.close(kept)


@pytest.mark.parametrize("env", [{}, {"A": "1", "B": "two words", "C": "a=b\nc", "\u00e9": "\u00e9"}])
async def test_the_environment_is_what_was_given(env: Mapping[str, str]) -> None:
    """A child has the variables that were given, and none besides."""
    printed = (await output_of(["/usr/bin/env", "-0"], env=env)).decode()
    assert dict(entry.split("=", 1) for entry in printed.split("\0") if entry) == env


async def test_arguments_arrive_one_by_one() -> None:
    """No argument is split, joined or expanded."""
    args = ["--", "$HOME", "a b", "", "*", "\u00e9", "x" * 100_000]
    assert await output_of(["/usr/bin/printf", "%s\\0", *args]) == "".join(f"{arg}\0" for arg in args).encode()


async def test_the_working_directory(tmp_path: Path) -> None:
    """A child begins where it was told to, also through a descriptor of ours."""
    descriptor = os.open(tmp_path, os.O_PATH | os.O_CLOEXEC)
    child = start(["/bin/pwd", "-P"], cwd=f"/proc/self/fd/{descriptor}")
    assert await child.wait() == 0
    assert child.read_stdout(1000).decode() == f"{tmp_path}\n"
    child.close()
    os.close(descriptor)


async def test_a_session_of_its_own() -> None:
    """A child leads a session and a process group, so that signals reach its group and not ours."""
    child = start(["/bin/sleep", "300"])
    assert os.getsid(child.pid) == os.getpgid(child.pid) == child.pid != os.getsid(0)
    child.send_signal(signal.SIGKILL)
    await child.wait()
    child.close()


@pytest.mark.parametrize("status", [0, 1, 7, 126, 127, 143, 255])
async def test_the_exit_status(status: int) -> None:
    """The exit status is the child's own."""
    child = start(["/bin/sh", "-c", f"exit {status}"])
    assert await child.wait() == status
    child.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSEGV, signal.SIGABRT])
async def test_the_signal_that_killed_it(number: signal.Signals) -> None:
    """Death by a signal is told as its negative number."""
    child = start(["/bin/sh", "-c", f"ulimit -c 0; kill -{number.value} $$; sleep 300"])
    assert await child.wait() == -number
    child.close()


async def test_it_is_reaped() -> None:
    """A child that has ended is no zombie, though nobody waits for it."""
    before = children()
    child = start(["/bin/true"])
    await wait_until(lambda: child.has_exited, "the exit")
    assert children() == before
    assert repr(child) == f"<Child {child.pid} exited>"
    child.close()


async def test_a_grandchild_does_not_keep_us_waiting(tmp_path: Path) -> None:
    """The end of the child counts, though a grandchild still holds its outputs."""
    child = start([shell(tmp_path, "stay pid & await pid; echo done")], cwd=tmp_path)
    assert await child.wait() == 0
    assert child.read_stdout(100) == b"done\n"
    assert is_alive(pid_in(tmp_path / "pid"))
    os.killpg(child.pid, signal.SIGKILL)
    child.close()


async def test_waiting_can_be_given_up_and_taken_up() -> None:
    """Who stops waiting takes nothing from others, nor from himself later."""
    child = start(["/bin/sleep", "300"])
    waits = [asyncio.create_task(child.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    waits[0].cancel()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(child.wait(), 0.01)
    assert repr(child) == f"<Child {child.pid} running>"
    child.send_signal(signal.SIGKILL)
    assert await asyncio.gather(*waits[1:], child.wait()) == [-signal.SIGKILL] * 3
    assert waits[0].cancelled()
    child.close()


async def test_wait_or_ends_with_whichever_is_first() -> None:
    """The wait ends by time, by the other future, or by the exit, and says whether it was the exit."""
    other: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    child = start(["/bin/sleep", "300"])
    assert not await child.wait_or(other, 0.01)
    other.set_result(None)
    assert not await child.wait_or(other, 300)
    child.send_signal(signal.SIGKILL)
    await child.wait()
    assert await child.wait_or(asyncio.get_running_loop().create_future(), 300)
    child.close()


async def test_a_signal_reaches_the_group(tmp_path: Path) -> None:
    """A signal goes to what the child has started too."""
    child = start([shell(tmp_path, "stay pid & await pid; wait")], cwd=tmp_path)
    await wait_until((tmp_path / "pid").exists, "the grandchild")
    await wait_until(lambda: bool((tmp_path / "pid").read_text()), "its pid")
    grandchild = pid_in(tmp_path / "pid")
    child.send_signal(signal.SIGTERM)
    await child.wait()
    await wait_until(lambda: not Path(f"/proc/{grandchild}").exists() or is_zombie(grandchild), "the grandchild's end")
    child.close()


async def test_a_signal_after_the_exit_does_nothing() -> None:
    """Once a child is reaped its number may be another's, so nothing is sent."""
    child = start(["/bin/true"])
    await child.wait()
    child.send_signal(signal.SIGKILL)
    child.close()


async def test_outputs_are_read_within_limits() -> None:
    """Of stdout the beginning is read, of stderr the end, and the larger of the two is told."""
    child = start(["/bin/sh", "-c", "printf 0123456789; printf abc >&2"])
    await child.wait()
    assert (child.read_stdout(4), child.read_stdout(10), child.read_stdout(99)) == (
        b"0123",
        b"0123456789",
        b"0123456789",
    )
    assert (child.read_stderr(2), child.read_stderr(3), child.read_stderr(99)) == (b"bc", b"abc", b"abc")
    assert child.output_bytes() == 10
    child.close()


async def test_what_is_written_so_far_is_told() -> None:
    """How much has been written can be asked while the child runs."""
    child = start(["/bin/sh", "-c", "printf 12345 >&2; exec sleep 300"])
    await wait_until(lambda: child.output_bytes() == 5, "five bytes on stderr")
    child.send_signal(signal.SIGKILL)
    await child.wait()
    child.close()


async def test_no_descriptor_is_left() -> None:
    """A child that has ended and is closed leaves no descriptor open."""
    before = open_descriptors()
    child = start(["/bin/cat"], b"x")
    await child.wait()
    child.close()
    assert open_descriptors() == before


async def test_output_cannot_grow_beyond_its_limit() -> None:
    """At whatever speed a child prints, its output takes no more than the limit and two pages, and it is told."""
    child = Child.start(["/usr/bin/yes"], env={"PATH": os.defpath}, cwd="/", output_max_bytes=100_000)
    assert await child.wait() != 0
    assert 100_000 < child.output_bytes() <= 100_000 + 2 * mmap.PAGESIZE
    child.close()


async def test_exactly_the_limit_is_not_too_much() -> None:
    """An output of exactly the limit is whole."""
    argv = ["/usr/bin/head", "-c", "100000", "/dev/zero"]
    child = Child.start(argv, env={"PATH": os.defpath}, cwd="/", output_max_bytes=100_000)
    assert await child.wait() == 0
    assert child.output_bytes() == 100_000
    assert len(child.read_stdout(200_000)) == 100_000
    child.close()


async def test_stdin_cannot_be_written() -> None:
    """A child cannot use its stdin as a file that grows without limit."""
    child = start(["/bin/sh", "-c", "echo x >&0"], b"prompt")
    assert await child.wait() != 0
    child.close()


async def test_descriptors_of_the_callers() -> None:
    """A child reads from and prints to what it is given, which stays the caller's; only stderr is kept for it."""
    before = open_descriptors()
    with contextlib.ExitStack() as pipes:
        ours: list[int] = []
        for _ in range(2):
            ends = os.pipe2(os.O_CLOEXEC)
            ours += ends
            for end in ends:
                pipes.callback(os.close, end)
        source, into, out, sink = ours
        os.write(into, b"given\n")
        child = Child.start(["/bin/sh", "-c", "head -n 1; echo why >&2"], env=ENV, cwd="/", stdin=source, stdout=sink)
        assert await child.wait() == 0
        assert (child.read_stdout(100), child.read_printed(0, 100), child.read_stderr(100)) == (b"", b"", b"why\n")
        assert child.output_bytes() == 4
        child.close()
        assert os.read(out, 100) == b"given\n"
    assert open_descriptors() == before


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
