"""One cold run: start the CLI for one request, watch it, end it, and leave nothing of it behind."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from responder.child import OUTPUT_MAX_BYTES, Child, ChildNotFoundError, ChildStartError
from responder.sweep import MARK_VARIABLE, Sweeper, end_child
from responder.uncancelled import finish_even_if_cancelled

_OUTPUT_CHECK_S = 0.1
# For a run that nobody awaits any more: it is to be gone within a second.
_CANCEL_STEP_MAX_S = 0.3
_PIECE_MAX_BYTES = 256 * 1024


class StopReason(StrEnum):
    """Why the responder itself ended a run; an exit status cannot tell, since a stopped CLI may still exit with 0."""

    DEADLINE = "deadline"
    OUTPUT_TOO_LARGE = "output_too_large"
    RESPONDER_STOPPED = "responder_stopped"
    CANCELLED = "cancelled"


OutputListener = Callable[[int, bytes], None]


@dataclass(frozen=True)
class RunLimits:
    """What a run may take.

    Attributes:
        output_max_bytes: The most it may print, on stdout and on stderr each.
        stderr_kept_bytes: How much of the end of stderr is kept.
        stop_step_s: Seconds between SIGINT, SIGTERM and SIGKILL.
    """

    output_max_bytes: int = OUTPUT_MAX_BYTES
    stderr_kept_bytes: int = 16 * 1024
    stop_step_s: float = 2.0


@dataclass(frozen=True)
class Command:
    """What to start.

    Attributes:
        argv: Executable (an absolute path) and arguments.
        env: Its whole environment, to which the run's mark is added.
        cwd: Its working directory.
        stdin: What it reads.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    stdin: bytes = b""


@dataclass(frozen=True)
class Observation:
    """What was seen of one run; `outcome.classify` says what it means.

    Attributes:
        stdout: What the CLI printed.
        stderr: The end of what it said on stderr.
        exit_status: Its exit status, or minus the signal that killed it; None when it never started.
        stop_reason: Why the responder ended it, if it did.
        not_found: Whether the executable is missing.
        start_error: Why it could not be started, if so.
        pid: Its process id.
        duration_s: Seconds from start to exit.
        survivors: How many processes it left, which were killed.
    """

    stdout: bytes = b""
    stderr: bytes = b""
    exit_status: int | None = None
    stop_reason: StopReason | None = None
    not_found: bool = False
    start_error: str | None = None
    pid: int | None = None
    duration_s: float = 0.0
    survivors: int = 0


class Runner:
    """Runs the CLI, cold: one process for one request.

    Args:
        sweeper: Kills what runs leave behind.
        limits: What one run may take.
    """

    def __init__(self, sweeper: Sweeper, limits: RunLimits) -> None:
        self._sweeper = sweeper
        self._limits = limits
        self._stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def stopped(self) -> asyncio.Future[None]:
        """Done once every run is to end at once."""
        return self._stopped

    def stop_all(self) -> None:
        """Kill every run now, and every later one at its start; their observations say `RESPONDER_STOPPED`."""
        if not self._stopped.done():
            self._stopped.set_result(None)

    async def run(
        self,
        run_id: str,
        command: Command,
        deadline: float,
        cancelled: asyncio.Future[None] | None = None,
        on_output: OutputListener | None = None,
    ) -> Observation:
        """Run a command to its end, or to its deadline, and sweep up after it.

        Args:
            run_id: A name no other run has.
            command: What to start.
            deadline: Loop time, in seconds, at which it is ended.
            cancelled: Done when nobody awaits it any more: it is ended then.
            on_output: Is given what it prints while it prints it, whole lines with their offset in bytes.

        Returns:
            What was seen. No process of the run is left then, nor when this is cancelled.
        """
        env = {**command.env, MARK_VARIABLE: run_id}
        try:
            child = Child.start(
                command.argv,
                env=env,
                cwd=command.cwd,
                stdin=command.stdin,
                output_max_bytes=self._limits.output_max_bytes,
            )
        except ChildNotFoundError:
            return Observation(not_found=True)
        except ChildStartError as error:
            return Observation(start_error=str(error))
        self._sweeper.register(run_id, child.pid)
        with contextlib.closing(child):
            stop_reason = None
            try:
                stop_reason = await self._watch(child, deadline, cancelled or _never(), _Following(child, on_output))
            finally:
                # Most runs end by themselves and leave nothing: then there is nothing to wait for.
                is_over = child.has_exited and stop_reason is None and self._sweeper.is_swept(run_id)
                work = self._clean_up(run_id, child, stop_reason, is_swept=is_over)
                ended = await (work if is_over else finish_even_if_cancelled(work))
        return ended

    async def _watch(
        self, child: Child, deadline: float, cancelled: asyncio.Future[None], following: "_Following"
    ) -> StopReason | None:
        """Wait for the exit or for a reason to end the run, whichever is first."""
        now = asyncio.get_running_loop().time
        while True:
            await child.wait_or_any({self._stopped, cancelled}, min(_OUTPUT_CHECK_S, max(0.0, deadline - now())))
            self._sweeper.reap_ended(now())
            following.look()
            if child.output_bytes() > self._limits.output_max_bytes:
                return StopReason.OUTPUT_TOO_LARGE
            if child.has_exited:
                return None
            if self._stopped.done():
                return StopReason.RESPONDER_STOPPED
            if cancelled.done():
                return StopReason.CANCELLED
            if now() >= deadline:
                return StopReason.DEADLINE

    async def _clean_up(
        self, run_id: str, child: Child, stop_reason: StopReason | None, *, is_swept: bool
    ) -> Observation:
        if stop_reason is StopReason.OUTPUT_TOO_LARGE:
            child.send_signal(signal.SIGKILL)
        step_s = self._limits.stop_step_s
        if stop_reason is StopReason.CANCELLED:
            step_s = min(step_s, _CANCEL_STEP_MAX_S)
        await end_child(child, step_s, self._stopped)
        # Before the sweep: what is killed there could still write.
        stdout = child.read_stdout(self._limits.output_max_bytes)
        stderr = child.read_stderr(self._limits.stderr_kept_bytes)
        return Observation(
            stdout=stdout,
            stderr=stderr,
            exit_status=await child.wait(),
            stop_reason=stop_reason,
            pid=child.pid,
            duration_s=time.monotonic() - child.started_at,
            survivors=0 if is_swept else await self._sweeper.sweep(run_id),
        )


class _Following:
    """Reads what a child prints while it prints it, line by line."""

    def __init__(self, child: Child, listener: OutputListener | None) -> None:
        self._child = child
        self._listener = listener
        self._offset = 0

    def look(self) -> None:
        """Hand on the lines that have come since the last look; one that is longer than a piece waits for the end."""
        while self._listener is not None:
            piece = self._child.read_printed(self._offset, _PIECE_MAX_BYTES)
            lines = piece[: piece.rfind(b"\n") + 1]
            if not lines:
                return
            self._listener(self._offset, lines)
            self._offset += len(lines)


def _never() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()
