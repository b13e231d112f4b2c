"""One CLI that was started ahead: it waits, serves one request, and ends."""

import asyncio
import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from contract import new_ulid
from responder.child import OUTPUT_MAX_BYTES, Child, ChildStartError
from responder.conversation import Conversation
from responder.processes import resident_bytes
from responder.run import Observation, OutputListener, RunLimits, StopReason
from responder.standby_arguments import Mold
from responder.sweep import MARK_VARIABLE, Sweeper, end_child
from responder.uncancelled import finish_even_if_cancelled
from responder.working_directory import WorkingDirectories

# For a run that nobody awaits any more: it is to be gone within a second.
_CANCEL_STEP_MAX_S = 0.3
_REAP_EVERY_S = 1.0
# The answer to it says that the CLI has started: it answers such a request only then (measured on CLI 2.1.197).
_READY = "ready"
_TYPE = re.compile(rb'\{"type":"([a-z_]+)"')
_IS_ERROR = re.compile(rb'"is_error": ?true')


@dataclass(frozen=True)
class Ground:
    """What all of them are started with.

    Attributes:
        cli: The executable.
        env: Its whole environment, without a mark and a trace.
        directories: Gives each a fresh directory.
        sweeper: Kills what it leaves.
        limits: What a run may take.
        stopped: Done once every run is to end at once.
    """

    cli: str
    env: Mapping[str, str] = field(repr=False)
    directories: WorkingDirectories
    sweeper: Sweeper
    limits: RunLimits
    stopped: asyncio.Future[None]


@dataclass(frozen=True)
class Turn:
    """The request that it serves.

    Attributes:
        prompt: What is asked.
        trace_headers: The W3C context of the span that its own become children of; empty where it exports none.
        deadline: Loop time, in seconds, at which it is ended.
        cancelled: Done when nobody awaits it any more; None where that is never known.
        on_output: Is given what the CLI prints while it prints it, whole lines with their offset in bytes.
    """

    prompt: str = field(repr=False)
    trace_headers: Mapping[str, str]
    deadline: float
    cancelled: asyncio.Future[None] | None = None
    on_output: OutputListener | None = None


class StandbyProcess:
    """A CLI between its start and its end.

    Attributes:
        mold: What it was started for.
        started_at: Loop time of its start, in seconds.
        pid: Its process id.
        settled: Done when it is ready, taken or over.
    """

    def __init__(self, mold: Mold, ground: Ground, place: contextlib.AsyncExitStack, run_id: str) -> None:
        loop = asyncio.get_running_loop()
        self.mold = mold
        self.started_at = loop.time()
        self.settled: asyncio.Future[None] = loop.create_future()
        self._ground = ground
        self._place = place
        self._run_id = run_id
        self._heard: asyncio.Future[StopReason | None] = loop.create_future()
        self._printed = bytearray()
        self._turn: Turn | None = None
        self._is_ready = False
        self._is_spoilt = False

    @classmethod
    async def start(cls, mold: Mold, ground: Ground) -> Self:
        """Start a CLI in a fresh directory.

        Raises:
            ChildStartError: There is no executable, no directory, no descriptor or no memory for it.
        """
        async with contextlib.AsyncExitStack() as place:
            cwd = await place.enter_async_context(ground.directories.enter(None))
            process = cls(mold, ground, place, new_ulid())
            process._begin(cwd)
            process._place = place.pop_all()
        return process

    def _begin(self, cwd: str) -> None:
        ground = self._ground
        with contextlib.ExitStack() as on_error:
            try:
                self._conversation = Conversation(self._line_max_bytes())
                on_error.callback(self._conversation.close)
                self._conversation.listen(self)
            except OSError as error:
                raise ChildStartError(os.strerror(error.errno or 0)) from error
            stdin, stdout = self._conversation.theirs
            self._child = Child.start(
                (ground.cli, *self.mold.argv),
                env={**ground.env, MARK_VARIABLE: self._run_id},
                cwd=cwd,
                stdin=stdin,
                stdout=stdout,
                output_max_bytes=ground.limits.output_max_bytes,
            )
            on_error.pop_all()
        self._conversation.drop_theirs()
        self.pid = self._child.pid
        ground.sweeper.register_other(self.pid)
        self._child.exited.add_done_callback(self._note_exit)
        self._conversation.say(_control(_READY, {}))

    def _line_max_bytes(self) -> int:
        """Give how long a line may be; of what is not printed in the end, a cold CLI's limit knows nothing."""
        limit = self._ground.limits.output_max_bytes
        return limit if self.mold.is_stream else max(limit, OUTPUT_MAX_BYTES)

    def __repr__(self) -> str:
        return f"<StandbyProcess {self.pid} {'ready' if self._is_ready else 'starting'}>"

    @property
    def is_usable(self) -> bool:
        """Whether it may be given a request: it lives, and has said nothing unexpected."""
        return self._turn is None and not self._is_spoilt and not self._child.has_exited

    @property
    def is_ready(self) -> bool:
        """Whether it has started."""
        return self._is_ready

    def memory_bytes(self) -> int:
        """Give what it takes of the host's memory, with what it has said on stderr, which is kept in memory too."""
        return resident_bytes(self.pid) + self._child.output_bytes()

    async def serve(self, turn: Turn) -> Observation | None:
        """Serve its one request, to the result or the deadline.

        Returns:
            What was seen; None when it had ended before it read the request, which can be run elsewhere then. After a
            result it still lives, and `end` ends it; in every other case no process is left.
        """
        ground = self._ground
        self._turn = turn
        self._settle()
        ground.sweeper.register(self._run_id, self.pid)
        ground.sweeper.forget_other(self.pid)
        began = time.monotonic()
        if turn.trace_headers:
            variables = {name.upper(): value for name, value in turn.trace_headers.items()}
            self._conversation.say(_control("trace", {"env": variables}))
        self._conversation.say(_message(turn.prompt))
        try:
            stop_reason = await self._watch(turn)
        except BaseException:
            await finish_even_if_cancelled(self._stop(StopReason.CANCELLED))
            raise
        survivors = 0
        if stop_reason is not None or self._child.has_exited:
            survivors = await finish_even_if_cancelled(self._stop(stop_reason))
        has_result = stop_reason is None and self._heard.done()
        # What has not read the end of the line has not begun with it.
        if stop_reason is None and not has_result and self._conversation.read_bytes < self._conversation.said_bytes:
            return None
        return Observation(
            stdout=bytes(self._printed),
            stderr=self._child.read_stderr(ground.limits.stderr_kept_bytes),
            exit_status=self._status() if has_result else await self._child.wait(),
            stop_reason=stop_reason,
            pid=self.pid,
            duration_s=time.monotonic() - began,
            survivors=survivors,
        )

    async def end(self) -> None:
        """End it, whatever it does, and leave nothing of it behind."""
        self._settle()
        try:
            if self._turn is None:
                self._child.send_signal(signal.SIGKILL)  # it has done nothing yet, and has no tools
                await self._child.wait()
                await self._ground.sweeper.sweep(self._run_id)  # unless it is a wrapper
            else:
                self._conversation.end_input()
                await self._child.wait_or(self._ground.stopped, self._ground.limits.stop_step_s)
                await self._stop(None)
        finally:
            self._conversation.close()
            self._child.close()
            await self._place.aclose()

    # What it prints.

    def take_line(self, line: bytes) -> None:
        """Take a line of its stdout."""
        kind = _kind(line)
        if kind == "control_response":
            self._is_ready = True
            self._settle()
        elif self._turn is None:
            self._is_spoilt = True
            self._settle()
        elif not self._heard.done():
            self._take_event(line, is_result=kind == "result")

    def take_too_much(self) -> None:
        """A line is longer than any output may be."""
        self._is_spoilt = True
        self._settle()
        self._hear(StopReason.OUTPUT_TOO_LARGE)

    def _take_event(self, line: bytes, *, is_result: bool) -> None:
        if self.mold.is_stream or is_result:
            offset = len(self._printed)
            self._printed += line
            if len(self._printed) > self._ground.limits.output_max_bytes:
                self._hear(StopReason.OUTPUT_TOO_LARGE)
                return
            if self.mold.is_stream and self._turn is not None and self._turn.on_output is not None:
                try:
                    self._turn.on_output(offset, line)
                except Exception as error:  # noqa: BLE001 # `serve` raises it: here it would reach nobody
                    self._heard.set_exception(error)
                    return
        if is_result:
            self._hear(None)

    def _hear(self, reason: StopReason | None) -> None:
        if not self._heard.done():
            self._heard.set_result(reason)

    def _note_exit(self, _exited: asyncio.Future[int]) -> None:
        self._ground.sweeper.forget_other(self.pid)  # the number may be another's now
        self._settle()

    def _settle(self) -> None:
        if not self.settled.done():
            self.settled.set_result(None)

    def _status(self) -> int:
        """Give the exit status that a cold CLI has with this result."""
        last = bytes(self._printed[self._printed.rfind(b"\n", 0, -1) + 1 :])
        return 1 if _IS_ERROR.search(last[:1024]) else 0

    # Waiting and stopping.

    async def _watch(self, turn: Turn) -> StopReason | None:
        """Wait for the result, for the exit, or for a reason to end the run, whichever is first."""
        now = asyncio.get_running_loop().time
        stopped = self._ground.stopped
        ends: set[asyncio.Future[object]] = {self._heard, self._child.exited, stopped}  # type: ignore[arg-type] # read only
        if turn.cancelled is not None:
            ends.add(turn.cancelled)  # type: ignore[arg-type] # the same
        while True:
            left_s = max(0.0, turn.deadline - now())
            await asyncio.wait(ends, timeout=min(_REAP_EVERY_S, left_s), return_when=asyncio.FIRST_COMPLETED)
            self._ground.sweeper.reap_ended(now())
            if self._child.has_exited:
                self._conversation.finish_reading()
            if self._heard.done():
                return self._heard.result()
            if self._child.output_bytes() > self._ground.limits.output_max_bytes:
                return StopReason.OUTPUT_TOO_LARGE
            if self._child.has_exited:
                return None
            if stopped.done():
                return StopReason.RESPONDER_STOPPED
            if turn.cancelled is not None and turn.cancelled.done():
                return StopReason.CANCELLED
            if now() >= turn.deadline:
                return StopReason.DEADLINE

    async def _stop(self, reason: StopReason | None) -> int:
        """End it step by step, and kill what it has left; gives how many processes that were."""
        if reason is StopReason.OUTPUT_TOO_LARGE:
            self._child.send_signal(signal.SIGKILL)
        step_s = self._ground.limits.stop_step_s
        if reason is StopReason.CANCELLED:
            step_s = min(step_s, _CANCEL_STEP_MAX_S)
        await end_child(self._child, step_s, self._ground.stopped)
        self._conversation.finish_reading()
        return await self._ground.sweeper.sweep(self._run_id)


def _control(name: str, settings: Mapping[str, object]) -> bytes:
    request = {"subtype": "apply_flag_settings", "settings": settings}
    return json.dumps({"type": "control_request", "request_id": name, "request": request}).encode() + b"\n"


def _message(prompt: str) -> bytes:
    return json.dumps({"type": "user", "message": {"role": "user", "content": prompt}}).encode() + b"\n"


def _kind(line: bytes) -> str | None:
    """Give the type of an event; that it stands first is of the CLI's making, and no promise."""
    if (found := _TYPE.match(line)) is not None:
        return found[1].decode()
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    kind = event.get("type") if isinstance(event, dict) else None
    return kind if isinstance(kind, str) else None
