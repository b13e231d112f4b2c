"""The one place that starts processes: stdin and outputs in memory files, its own session, an awaitable exit.

- Outputs are memory files, never pipes: the CLI exits before a pipe is drained, and up to 16 of 26 answers of 1 MB came
  back cut with exit status 0 (measured on CLI 2.1.197). A file also needs no reader, and no grandchild that holds it
  open can keep us waiting.
- They cannot grow beyond their limit, so that a run's output takes no more memory than allowed, at whatever speed.
- Nothing is done between fork and exec that keeps CPython from using vfork: a `preexec_fn` takes 0.5 ms more, and
  grows with our memory. A death signal would need one, or `setpriv` (0.33 ms): `watchdog.py` does without.
- The exit is awaited through a pidfd: no thread, no SIGCHLD handler.
"""

import asyncio
import contextlib
import fcntl
import mmap
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

OUTPUT_MAX_BYTES = 64 * 1024 * 1024


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

    def __init__(self, process: subprocess.Popen[bytes], stdout: int | None, stderr: int) -> None:
        self._process = process
        self._stdout = stdout
        self._stderr = stderr
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pidfd = os.pidfd_open(process.pid)
        try:
            asyncio.get_running_loop().add_reader(self._pidfd, self._reap)
        except OSError:
            os.close(self._pidfd)
            raise
        self.pid = process.pid
        self.started_at = time.monotonic()

    @classmethod
    def start(  # noqa: PLR0913 # what a process is started with
        cls,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str,
        stdin: bytes | int = b"",
        stdout: int | None = None,
        output_max_bytes: int = OUTPUT_MAX_BYTES,
    ) -> Self:
        """Start a process in a session of its own.

        Args:
            argv: Executable (an absolute path) and arguments.
            env: Its whole environment.
            cwd: Its working directory.
            stdin: What it reads, then end of file; or a descriptor, which stays the caller's.
            stdout: A descriptor to print to, which stays the caller's; None for a memory file.
            output_max_bytes: The most it can print on stdout and on stderr each; writing more fails there.

        Raises:
            ChildNotFoundError: There is no such executable, or nothing that can interpret it.
            ChildStartError: The system refuses, for want of memory or processes, or what it is asked to execute.
        """
        try:
            return cls._start(argv, env, cwd, (stdin, stdout), output_max_bytes)
        except OSError as error:  # no descriptor, no memory, no process left
            if not os.access(argv[0], os.X_OK):
                raise ChildNotFoundError("there is no such executable") from error
            raise ChildStartError(os.strerror(error.errno or 0)) from error

    @classmethod
    def _start(
        cls,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        given: tuple[bytes | int, int | None],
        output_max_bytes: int,
    ) -> Self:
        stdin, sink = given
        with contextlib.ExitStack() as on_error:
            stdout = _output_file("stdout", output_max_bytes, on_error) if sink is None else sink
            stderr = _output_file("stderr", output_max_bytes, on_error)
            with contextlib.ExitStack() as stdin_files:
                source = stdin if isinstance(stdin, int) else _input_file(stdin, stdin_files)
                process = _popen(argv, env, cwd, (source, stdout, stderr))
            try:
                child = cls(process, stdout if sink is None else None, stderr)
            except OSError:  # what cannot be watched does not run
                process.kill()
                process.wait()
                raise
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

    async def wait_or(self, other: asyncio.Future[Any], seconds: float) -> bool:
        """Wait for the end, for another future, or so many seconds, whichever is first; says whether it has ended."""
        return await self.wait_or_any({other}, seconds)

    async def wait_or_any(self, others: set[asyncio.Future[Any]], seconds: float) -> bool:
        """Wait as `wait_or` does, for any of several futures."""
        await asyncio.wait({self.exited, *others}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return self.has_exited

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to it and its process group; nothing happens when it has exited."""
        if not self.has_exited:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def output_bytes(self) -> int:
        """Give how much it has written to the larger of stdout and stderr so far, in bytes."""
        return max(_written(self._stdout), _written(self._stderr))

    def read_stdout(self, limit: int) -> bytes:
        """Give what it printed, at most `limit` bytes."""
        return b"" if self._stdout is None else os.pread(self._stdout, min(limit, _written(self._stdout)), 0)

    def read_printed(self, offset: int, limit: int) -> bytes:
        """Give what it has printed so far from an offset on, at most `limit` bytes."""
        if self._stdout is None:
            return b""
        return os.pread(self._stdout, max(0, min(limit, _written(self._stdout) - offset)), offset)

    def read_stderr(self, limit: int) -> bytes:
        """Give what it said on stderr, at most the last `limit` bytes."""
        written = _written(self._stderr)
        return os.pread(self._stderr, min(limit, written), max(0, written - limit))

    def close(self) -> None:
        """Release the memory files of a child that has exited."""
        if self._stdout is not None:
            os.close(self._stdout)
        os.close(self._stderr)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.exited.set_result(self._process.wait())


def _popen(
    argv: Sequence[str], env: Mapping[str, str], cwd: str, files: tuple[int, int, int]
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            argv,
            env=env,
            cwd=cwd,
            stdin=files[0],
            stdout=files[1],
            stderr=files[2],
            start_new_session=True,
        )
    except FileNotFoundError as error:
        if error.filename == cwd:
            raise ChildStartError("its working directory is missing") from error
        raise ChildNotFoundError("there is no such executable") from error


def _memory_file(name: str, files: contextlib.ExitStack) -> int:
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    files.callback(os.close, descriptor)
    return descriptor


def _input_file(data: bytes, files: contextlib.ExitStack) -> int:
    """Make a file that can only be read."""
    descriptor = _memory_file("stdin", files)
    unwritten = memoryview(data)
    while unwritten:
        unwritten = unwritten[os.write(descriptor, unwritten) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return descriptor


def _output_file(name: str, max_bytes: int, files: contextlib.ExitStack) -> int:
    """Make a file that cannot grow, so that no speed of printing takes more memory.

    It has its largest size from the start, which takes no memory by itself; what has been written is told by the
    position, which the child shares with us. One page more than allowed, so that too much can be told from just enough.
    """
    descriptor = _memory_file(name, files)
    os.ftruncate(descriptor, (max_bytes // mmap.PAGESIZE + 2) * mmap.PAGESIZE)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return descriptor


def _written(descriptor: int | None) -> int:
    return 0 if descriptor is None else os.lseek(descriptor, 0, os.SEEK_CUR)
