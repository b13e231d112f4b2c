"""The one place that starts processes: stdin and outputs in memory files, its own session, an awaitable exit.

- Outputs are memory files, never pipes: the CLI exits before a pipe is drained, and up to 16 of 26 answers of 1 MB came
  back cut with exit status 0 (measured on CLI 2.1.197). A file also needs no reader, and no grandchild that holds it
  open can keep us waiting.
- `setpriv --pdeathsig` gives the child a death signal without a `preexec_fn`, so that CPython may use vfork (0.5 ms a
  start against 0.7 ms and more with fork, which grows with our memory).
- The exit is awaited through a pidfd: no thread, no SIGCHLD handler.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

# SIGINT is the one death signal after which the CLI takes its tools with it (measured: with SIGTERM or SIGKILL the
# tool survives). The signal comes when the *thread* that started the child ends, so children start in the main thread.
_DEATH_SIGNAL = "INT"
SETPRIV = "setpriv"
_SETPRIV_NOT_FOUND = 127


class ChildStartError(Exception):
    """The operating system could not start a process; the message has no path and no argument."""


class ChildNotFoundError(ChildStartError):
    """There is no such executable."""


class Child:
    """A started process.

    Attributes:
        pid: Its process id.
        exited: Done with the exit status, or minus the number of the signal that killed it.
        started_at: `time.monotonic()` of its start, in seconds.
    """

    def __init__(self, process: subprocess.Popen[bytes], stdout: int, stderr: int) -> None:
        self._process = process
        self._stdout = stdout
        self._stderr = stderr
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pidfd = os.pidfd_open(process.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._reap)
        self.pid = process.pid
        self.started_at = time.monotonic()

    @classmethod
    def start(cls, argv: Sequence[str], *, env: Mapping[str, str], cwd: str, stdin: bytes) -> Self:
        """Start a process in a session of its own.

        Args:
            argv: Executable (an absolute path) and arguments.
            env: Its whole environment.
            cwd: Its working directory.
            stdin: What it reads, then end of file.

        Raises:
            ChildNotFoundError: There is no such executable.
            ChildStartError: The system refuses, for want of memory or processes.
        """
        if not os.access(argv[0], os.X_OK):
            raise ChildNotFoundError("there is no such executable")
        with contextlib.ExitStack() as on_error:
            stdout, stderr = (_memory_file(name, on_error) for name in ("stdout", "stderr"))
            with contextlib.ExitStack() as stdin_files:
                source = _memory_file("stdin", stdin_files)
                _write_all(source, stdin)
                os.lseek(source, 0, os.SEEK_SET)
                process = _popen(argv, env, cwd, (source, stdout, stderr))
            try:
                child = cls(process, stdout, stderr)
            except OSError as error:  # no descriptor left for the pidfd: what cannot be watched does not run
                process.kill()
                process.wait()
                raise ChildStartError(os.strerror(error.errno or 0)) from error
            on_error.pop_all()
        return child

    def __repr__(self) -> str:
        return f"<Child {self.pid} {'exited' if self.has_exited else 'running'}>"

    @property
    def has_exited(self) -> bool:
        """Whether it has ended and been reaped."""
        return self.exited.done()

    async def wait(self) -> int:
        """Wait for the end; returns the exit status, or minus the number of the signal that killed it."""
        return await asyncio.shield(self.exited)

    async def wait_or(self, other: asyncio.Future[None], seconds: float) -> bool:
        """Wait for the end, for another future, or so many seconds, whichever is first; says whether it has ended."""
        waited_for: set[asyncio.Future[Any]] = {self.exited, other}
        await asyncio.wait(waited_for, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return self.has_exited

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to it and its process group; nothing happens when it has exited."""
        if not self.has_exited:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def output_bytes(self) -> int:
        """Give how much it has written to the larger of stdout and stderr so far, in bytes."""
        return max(os.fstat(self._stdout).st_size, os.fstat(self._stderr).st_size)

    def read_stdout(self, limit: int) -> bytes:
        """Give what it printed, at most `limit` bytes."""
        return os.pread(self._stdout, limit, 0)

    def read_stderr(self, limit: int) -> bytes:
        """Give what it said on stderr, at most the last `limit` bytes."""
        return os.pread(self._stderr, limit, max(0, os.fstat(self._stderr).st_size - limit))

    def close(self) -> None:
        """Release the memory files of a child that has exited."""
        os.close(self._stdout)
        os.close(self._stderr)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.exited.set_result(self._process.wait())


async def wait_for_exit(pid: int) -> None:
    """Wait until a process that need not be our child has ended."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    exited = asyncio.Event()
    loop.add_reader(pidfd, exited.set)
    try:
        await exited.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)


def _popen(
    argv: Sequence[str], env: Mapping[str, str], cwd: str, files: tuple[int, int, int]
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [SETPRIV, "--pdeathsig", _DEATH_SIGNAL, "--", *argv],
            env=env,
            cwd=cwd,
            stdin=files[0],
            stdout=files[1],
            stderr=files[2],
            start_new_session=True,
        )
    except FileNotFoundError as error:
        missing = "setpriv (of util-linux)" if error.filename == SETPRIV else "its working directory"
        raise ChildStartError(f"{missing} is missing") from error
    except OSError as error:
        raise ChildStartError(os.strerror(error.errno or 0)) from error


def _memory_file(name: str, files: contextlib.ExitStack) -> int:
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    files.callback(os.close, descriptor)
    return descriptor


def _write_all(descriptor: int, data: bytes) -> None:
    unwritten = memoryview(data)
    while unwritten:
        unwritten = unwritten[os.write(descriptor, unwritten) :]
