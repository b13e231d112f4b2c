"""What a responder does with a request: admit, wait for a slot, run, answer."""

import asyncio
import contextlib
import logging
import traceback
from dataclasses import dataclass, field

from contract import ErrorCode, ExecuteFailure, ExecuteReply, ExecuteRequest, RequestError, has_inbox_prefix
from responder.admission import Admission, Job
from responder.answers import Answers
from responder.callers import ANYBODY, Caller, CallerGoneError, Incoming, UnclaimedError
from responder.execution import Execution
from responder.fitness import Fitness, UnfitError
from responder.keyed import JoinedTooLongError, Keyed
from responder.records import RecordsError, RevisionError
from responder.slots import BacklogClosedError, BacklogFullError, HandedOnError, Slots, WaitedTooLongError
from responder.statistics import Statistics
from responder.tracing import Tracing, set_error, set_handed_on, set_reply
from responder.work import Work

_log = logging.getLogger(__name__)
_RECORDS_UNAVAILABLE = "the record of the idempotency key cannot be read or written now"
# Why a request that was admitted is not run.
_REFUSALS: dict[type[Exception], ErrorCode] = {
    BacklogFullError: ErrorCode.OVERLOADED,
    BacklogClosedError: ErrorCode.STOPPING,
    UnfitError: ErrorCode.UNFIT,
    WaitedTooLongError: ErrorCode.TIMEOUT,
    JoinedTooLongError: ErrorCode.TIMEOUT,
    UnclaimedError: ErrorCode.UNCLAIMED,
    CallerGoneError: ErrorCode.UNCLAIMED,
    RecordsError: ErrorCode.RECORDS_UNAVAILABLE,
    RevisionError: ErrorCode.RECORDS_UNAVAILABLE,
}


@dataclass
class Progress:
    """How far a request has come, for the answer to a defect.

    Attributes:
        request_id: Its id, once it has been read.
        may_have_run: Whether the CLI may have been started.
    """

    request_id: str | None = None
    may_have_run: bool = False


@dataclass(frozen=True)
class Service:
    """Answers requests, each in a task of its own.

    Attributes:
        inbox_prefix: What a reply subject must begin with.
        admission: Decides what may run.
        slots: The permits to run.
        execution: Runs it.
        keyed: Joins a repeat to the run with the same idempotency key.
        answers: Builds the replies.
        tracing: Starts the spans.
        statistics: Counts.
        fitness: Says whether anything is run at all, and hears how each run ended.
    """

    inbox_prefix: str
    admission: Admission
    slots: Slots
    execution: Execution
    keyed: Keyed
    answers: Answers
    tracing: Tracing
    statistics: Statistics
    fitness: Fitness = field(default_factory=Fitness)

    async def handle(self, incoming: Incoming, caller: Caller) -> None:
        """Answer one request; whatever happens, there is exactly one reply, or a log line why there is none."""
        now = asyncio.get_running_loop().time
        with self.tracing.process(incoming.subject, incoming.headers, len(incoming.body)) as span:
            if not has_inbox_prefix(incoming.reply_subject, self.inbox_prefix):
                set_error(span, ErrorCode.INVALID_REQUEST)
                _log.warning("request dropped: its reply subject is not an inbox under %s", self.inbox_prefix)
                return
            progress = Progress()
            try:
                reply = await self._reply(incoming, caller, progress)
                if caller.reply_max_bytes is not None:
                    reply = self.answers.fitting(reply, caller.reply_max_bytes)
                body, headers = reply.to_bytes(), reply.headers()
            except HandedOnError:
                caller.note_handed_on()
                set_handed_on(span)
                self.statistics.handed_on += 1
                return
            except Exception as error:  # noqa: BLE001 # the request boundary: a defect of ours answers this one request
                _log_defect(error)
                reply = self._defect(progress)
                body, headers = reply.to_bytes(), reply.headers()
            set_reply(span, reply)
            self.statistics.count(reply, now() - incoming.received_at)
            _log_reply(reply, now() - incoming.received_at)
        await caller.deliver(body, headers)

    async def run(self, job: Job, caller: Caller = ANYBODY, progress: Progress | None = None) -> ExecuteReply:
        """Run a job as soon as there is a slot, and say how it went.

        Args:
            job: What to run.
            caller: Who asked for it.
            progress: Is told when the CLI may have been started.

        Raises:
            RequestError: Its directory has gone since it was admitted, or its key was used for another request.
        """
        now = asyncio.get_running_loop().time
        arrived_at = now()
        try:
            return await self._run_once(job, caller, progress or Progress())
        except tuple(_REFUSALS) as error:
            return self._refusal(job.request_id, error, now() - arrived_at)

    async def _run_once(self, job: Job, caller: Caller, progress: Progress) -> ExecuteReply:
        """Run a job, or join the run of another request with the same idempotency key, or give what was kept of it."""
        reply = None
        if job.idempotency_key is None:
            while reply is None:
                reply = await self._run_in_slot(job, caller, progress)
            return reply
        async with contextlib.AsyncExitStack() as stack:
            await caller.hold(job.deadline)
            await caller.unless_over(stack.enter_async_context(self.keyed.turn(job)))
            while reply is None:
                found = await caller.unless_over(self.keyed.find(job))
                reply = found or await self._run_in_slot(job, caller, progress)
            return reply

    async def run_claimed(self, request: ExecuteRequest) -> ExecuteReply:
        """Run a request now, for which a slot is held and the key is claimed; a refusal or a defect is its answer."""
        arrived_at = asyncio.get_running_loop().time()
        progress = Progress(request.id)
        try:
            reply = await self._execute(self.admission.admit(request, arrived_at), ANYBODY, 0.0, progress)
        except RequestError as error:
            reply = self.answers.refusal(request.id, error.code, str(error))
        except Exception as error:  # noqa: BLE001 # the request boundary, as in `handle`
            _log_defect(error)
            reply = self._defect(progress)
        seconds = asyncio.get_running_loop().time() - arrived_at
        self.statistics.count(reply, seconds)
        _log_reply(reply, seconds)
        return reply

    async def _run_in_slot(self, job: Job, caller: Caller, progress: Progress) -> ExecuteReply | None:
        now = asyncio.get_running_loop().time
        arrived_at = now()
        self._require_fit(caller)
        with self.tracing.wait_for_slot(self.slots.backlog):
            slot = caller.take_reserved(job.deadline)
            if slot is None:
                # What joins another run by its key has to stay where it joins.
                message = caller.message if job.idempotency_key is None else None
                taking = self.slots.take(
                    job.deadline,
                    arrived_at=job.arrived_at,
                    priority=job.priority,
                    caller=caller.session,
                    work=None if message is None else Work.of(message),
                )
                slot = await caller.wait(taking, job.deadline, is_free=self.slots.has_free)
        with slot:
            wait_s = now() - arrived_at
            self._require_fit(caller)
            await caller.claim()
            return await self.keyed.run(job, lambda: self._start(job, caller, wait_s, progress))

    async def _start(self, job: Job, caller: Caller, wait_s: float, progress: Progress) -> ExecuteReply:
        """Execute it, if it is not too late: claiming an idempotency key may have taken its time."""
        if caller.audience.cancelled is not None and caller.audience.cancelled.done():
            raise CallerGoneError
        if asyncio.get_running_loop().time() >= job.deadline:
            raise WaitedTooLongError
        return await self._execute(job, caller, wait_s, progress)

    async def _execute(self, job: Job, caller: Caller, wait_s: float, progress: Progress) -> ExecuteReply:
        progress.may_have_run = True
        outcome, seen = await self.execution.execute(job, caller.audience)
        private = (job.prompt, *job.arguments.private)
        reply = self.answers.outcome(job.request_id, outcome, private, seen.duration_s, wait_s)
        self.fitness.end(*ending(reply), asyncio.get_running_loop().time())
        return reply

    def _require_fit(self, caller: Caller) -> None:
        """Start nothing while unfit, but for the prompts of our own by which that is found out."""
        if caller is not ANYBODY and (reason := self.fitness.reason) is not None:
            raise UnfitError(reason)

    async def _reply(self, incoming: Incoming, caller: Caller, progress: Progress) -> ExecuteReply:
        try:
            request = self.admission.parse(await caller.body())
            progress.request_id = request.id
            return await self.run(self.admission.admit(request, incoming.received_at), caller, progress)
        except RequestError as error:
            return self.answers.refusal(progress.request_id or error.request_id, error.code, str(error))
        except tuple(_REFUSALS) as error:
            return self._refusal(progress.request_id, error, 0.0)

    def _refusal(self, request_id: str | None, error: Exception, wait_s: float) -> ExecuteFailure:
        if isinstance(error, RecordsError):
            _log.error("no record for an idempotency key: %s", error)
        refusal = self.answers.refusal(
            request_id,
            _REFUSALS[type(error)],
            _RECORDS_UNAVAILABLE if isinstance(error, RecordsError) else str(error),
            retry_after_ms=error.retry_after_ms if isinstance(error, BacklogFullError) else None,
            wait_s=wait_s,
        )
        is_running = isinstance(error, JoinedTooLongError) and error.is_running
        return refusal.model_copy(update={"executed": is_running})

    def _defect(self, progress: Progress) -> ExecuteFailure:
        refusal = self.answers.refusal(
            progress.request_id, ErrorCode.INTERNAL, "a defect in the responder; see its log"
        )
        return refusal.model_copy(update={"executed": progress.may_have_run})


def ending(reply: ExecuteReply) -> tuple[str | None, float | None]:
    """Give how a run ended: its code, none for a success, and the seconds after which a limit ends, if it says so."""
    if not isinstance(reply, ExecuteFailure):
        return None, None
    return reply.code, None if reply.retry_after_ms is None else reply.retry_after_ms / 1000


def _log_reply(reply: ExecuteReply, seconds: float) -> None:
    code = "success" if reply.success else reply.code
    _log.info("request %s: %s in %.3f s (waited %d ms)", reply.id, code, seconds, reply.wait_ms)


def _log_defect(error: Exception) -> None:
    """Log where an exception came from, but not its text, which may hold anything."""
    _log.error("defect: %s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)).rstrip())
