"""One CLI that was started ahead: it waits, serves a request, or several of one caller, and ends."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from contract import new_ulid
from responder.child import OUTPUT_MAX_BYTES, Child, ChildStartError
from responder.cli_environment import NO_PARENT
from responder.conversation import Conversation
from responder.memory import is_remembered
from responder.processes import children_of, resident_bytes
from responder.renewal import CLEAR, Spent, spent_at_clear
from responder.run import Observation, RunLimits, StopReason
from responder.standby_arguments import Mold
from responder.stream_json import control, kind_of, message
from responder.sweep import MARK_VARIABLE, Sweeper, end_child
from responder.turn import Answer, Turn
from responder.uncancelled import finish_even_if_cancelled
from responder.working_directory import WorkingDirectories

# For a run that nobody awaits any more: it is to be gone within a second.
_CANCEL_STEP_MAX_S = 0.3
_REAP_EVERY_S = 1.0
# It takes some milliseconds.
_CLEAR_MAX_S = 2.0


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


class StandbyProcess:
    """A CLI between its start and its end.

    Attributes:
        mold: What it was started for.
        started_at: Loop time of its start, in seconds.
        waits_since: Loop time, in seconds, of its start or of its last renewal.
        pid: Its process id.
        settled: Done when it is ready, taken or over.
        owner: Whose requests alone it serves after its first; empty when it ends then.
        served: How many requests it was given.
    """

    def __init__(self, mold: Mold, ground: Ground, place: contextlib.AsyncExitStack, cwd: str) -> None:
        loop = asyncio.get_running_loop()
        self.mold = mold
        self.started_at = self.waits_since = loop.time()
        self.settled: asyncio.Future[None] = loop.create_future()
        self.owner = ""
        self.served = 0
        self._ground = ground
        self._place = place
        self._cwd = cwd
        self._run_id = new_ulid()
        self._answer: Answer | None = None
        self._spent: Spent | None = None
        self._is_ready = False
        self._is_spoilt = False
        self._unanswered = 0
        self._trace_variables: Iterable[str] = ()

    @classmethod
    async def start(cls, mold: Mold, ground: Ground) -> Self:
        """Start a CLI in a fresh directory.

        Raises:
            ChildStartError: There is no executable, no directory, no descriptor or no memory for it.
        """
        async with contextlib.AsyncExitStack() as place:
            cwd = await place.enter_async_context(ground.directories.enter(None))
            process = cls(mold, ground, place, cwd)
            process._begin()
            process._place = place.pop_all()
        return process

    def _begin(self) -> None:
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
                cwd=self._cwd,
                stdin=stdin,
                stdout=stdout,
                output_max_bytes=ground.limits.output_max_bytes,
            )
            on_error.pop_all()
        self._conversation.drop_theirs()
        self.pid = self._child.pid
        ground.sweeper.register_other(self.pid)
        self._child.exited.add_done_callback(self._note_exit)
        # It answers only when it has started (measured on CLI 2.1.197).
        self._control("ready")

    def _line_max_bytes(self) -> int:
        """Give how long a line may be; of what is not printed in the end, a cold CLI's limit knows nothing."""
        limit = self._ground.limits.output_max_bytes
        return limit if self.mold.is_stream else max(limit, OUTPUT_MAX_BYTES)

    def __repr__(self) -> str:
        return f"<StandbyProcess {self.pid} {'ready' if self._is_ready else 'starting'}>"

    @property
    def is_usable(self) -> bool:
        """Whether it may be given a request: it lives, and has said nothing unexpected."""
        return self._answer is None and not self._is_spoilt and not self._child.has_exited

    @property
    def is_ready(self) -> bool:
        """Whether it has started."""
        return self._is_ready

    def memory_bytes(self) -> int:
        """Give what it takes of the host's memory, with what it has said on stderr, which is kept in memory too."""
        return resident_bytes(self.pid) + self._child.output_bytes()

    async def serve(self, turn: Turn) -> Observation | None:
        """Serve a request, to the result or the deadline.

        Returns:
            What was seen; None when it had ended before it read the request, which can be run elsewhere then. After a
            result it still lives, until `renew` or `end`; in every other case no process is left.
        """
        limits = self._ground.limits
        answer = self._listen(turn)
        self.served += 1
        self._settle()
        self._ground.sweeper.register(self._run_id, self.pid)
        self._ground.sweeper.forget_other(self.pid)
        began = time.monotonic()
        if turn.trace_headers:
            self._trace(turn.trace_headers)
        self._conversation.say(message(turn.prompt))
        try:
            stop_reason = await self._watch(turn, answer)
        except BaseException:
            await finish_even_if_cancelled(self._stop(StopReason.CANCELLED))
            raise
        survivors = 0
        if stop_reason is not None or self._child.has_exited:
            survivors = await finish_even_if_cancelled(self._stop(stop_reason))
        has_result = stop_reason is None and answer.heard.done()
        # What has not read the end of the line has not begun with it.
        if stop_reason is None and not has_result and self._conversation.read_bytes < self._conversation.said_bytes:
            return None
        return Observation(
            stdout=answer.printed,
            stderr=self._child.read_stderr(limits.stderr_kept_bytes),
            exit_status=answer.exit_status if has_result else await self._child.wait(),
            stop_reason=stop_reason,
            pid=self.pid,
            duration_s=time.monotonic() - began,
            survivors=survivors,
        )

    async def renew(self) -> bool:
        """Have it forget the request that it has served; says whether it has, else it is to be ended.

        What cannot be proven clean is not: a failed run, a tool that may remember, a word on stderr, a process that it
        or its tools have left, a directory that is not as it was.
        """
        before = self._answer
        if before is None or not before.result or before.exit_status or not before.is_forgettable:
            return False
        if self._child.has_exited:
            return False  # its number may be another's now
        self._ground.sweeper.register_other(self.pid)
        if self._trace_variables:
            # It would have a span of its own in the trace of the request (measured).
            self._trace({"traceparent": NO_PARENT})
        self._answer = clear = Answer(OUTPUT_MAX_BYTES, is_stream=False)
        self._conversation.say(message(CLEAR))
        ends: set[asyncio.Future[object]] = {clear.heard, self._child.exited, self._ground.stopped}  # type: ignore[arg-type] # read only
        await asyncio.wait(ends, timeout=_CLEAR_MAX_S, return_when=asyncio.FIRST_COMPLETED)
        self._spent = spent_at_clear(clear.result, before.result)
        if self._spent is None or not await self._is_clean() or clear.has_gone_on:
            return False
        self._answer = None
        self.waits_since = asyncio.get_running_loop().time()
        return self.is_usable

    async def _is_clean(self) -> bool:
        if self._unanswered < 0:
            return False  # a tool has found its stdin in /proc, and told it what `/clear` does not undo (measured)
        sweeper = self._ground.sweeper
        try:
            if self._child.output_bytes() or children_of(self.pid) or await sweeper.sweep(self._run_id):
                return False
            if sweeper.has_suspects:
                return False  # they could be its own
        except OSError:
            return False  # it cannot be looked at
        if is_remembered(self._cwd, self._ground.env):
            return False
        return await self._ground.directories.empty(self._cwd, self.pid)

    async def end(self) -> None:
        """End it, whatever it does, and leave nothing of it behind."""
        self._settle()
        try:
            if not self.served:
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

    # What is said and heard.

    def take_line(self, line: bytes) -> None:
        """Take a line of its stdout."""
        kind = kind_of(line)
        if kind == "control_response":
            self._is_ready = True
            self._unanswered -= 1
            self._settle()
        elif self._answer is None:
            self._is_spoilt = True
            self._settle()
        else:
            self._answer.take(line, kind)

    def take_too_much(self) -> None:
        """A line is longer than any output may be."""
        self._is_spoilt = True
        self._settle()
        if self._answer is not None:
            self._answer.hear(StopReason.OUTPUT_TOO_LARGE)

    def _listen(self, turn: Turn) -> Answer:
        limit = self._ground.limits.output_max_bytes
        self._answer = Answer(limit, is_stream=self.mold.is_stream, on_output=turn.on_output, spent=self._spent)
        return self._answer

    def _trace(self, headers: Mapping[str, str]) -> None:
        """Set the parent of the spans to come; what the last one had beside it is taken away."""
        variables = {name.upper(): value for name, value in headers.items()}
        self._control("trace", {**dict.fromkeys(self._trace_variables, ""), **variables})
        self._trace_variables = variables.keys()

    def _control(self, name: str, variables: Mapping[str, str] | None = None) -> None:
        self._unanswered += 1
        self._conversation.say(control(name, variables))

    def _note_exit(self, _exited: asyncio.Future[int]) -> None:
        self._ground.sweeper.forget_other(self.pid)  # the number may be another's now
        self._settle()

    def _settle(self) -> None:
        if not self.settled.done():
            self.settled.set_result(None)

    # Waiting and stopping.

    async def _watch(self, turn: Turn, answer: Answer) -> StopReason | None:
        """Wait for the result, for the exit, or for a reason to end the run, whichever is first."""
        now = asyncio.get_running_loop().time
        stopped = self._ground.stopped
        ends: set[asyncio.Future[object]] = {answer.heard, self._child.exited, stopped}  # type: ignore[arg-type] # read only
        if turn.cancelled is not None:
            ends.add(turn.cancelled)  # type: ignore[arg-type] # the same
        while True:
            left_s = max(0.0, turn.deadline - now())
            await asyncio.wait(ends, timeout=min(_REAP_EVERY_S, left_s), return_when=asyncio.FIRST_COMPLETED)
            self._ground.sweeper.reap_ended(now())
            if self._child.has_exited:
                self._conversation.finish_reading()
            if answer.heard.done():
                return answer.heard.result()
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
