"""What a responder does with a request: admit, wait for a slot, run, answer."""

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from contract import ErrorCode, ExecuteFailure, ExecuteReply, ExecuteRequest, RequestError, has_inbox_prefix
from responder.admission import Admission, Job
from responder.answers import Answers
from responder.execution import Execution
from responder.keyed import JoinedTooLongError, Keyed
from responder.records import RecordsError
from responder.slots import BacklogClosedError, BacklogFullError, Slots, WaitedTooLongError
from responder.statistics import Statistics
from responder.tracing import Tracing, set_error, set_reply

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Incoming:
    """A message as it arrived.

    Attributes:
        subject: Where.
        reply_subject: Where its answer is asked to go; chosen by the caller.
        headers: Its headers.
        body: Its payload.
        received_at: Loop time, in seconds.
    """

    subject: str
    reply_subject: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    received_at: float


class Outlet(Protocol):
    """Where answers leave."""

    @property
    def max_payload(self) -> int:
        """The largest message the server takes, in bytes."""

    def publish(self, subject: str, body: bytes, headers: Mapping[str, str]) -> Awaitable[None]:
        """Send a message."""


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
    """

    inbox_prefix: str
    admission: Admission
    slots: Slots
    execution: Execution
    keyed: Keyed
    answers: Answers
    tracing: Tracing
    statistics: Statistics

    async def handle(self, incoming: Incoming, outlet: Outlet) -> None:
        """Answer one request; whatever happens, there is exactly one reply, or a log line why there is none."""
        now = asyncio.get_running_loop().time
        with self.tracing.process(incoming.subject, incoming.headers, len(incoming.body)) as span:
            if not has_inbox_prefix(incoming.reply_subject, self.inbox_prefix):
                set_error(span, ErrorCode.INVALID_REQUEST)
                _log.warning("request dropped: its reply subject is not an inbox under %s", self.inbox_prefix)
                return
            progress = Progress()
            try:
                reply = self.answers.fitting(await self._reply(incoming, progress), outlet.max_payload)
                body, headers = reply.to_bytes(), reply.headers()
            except Exception as error:  # noqa: BLE001 # the request boundary: a defect of ours answers this one request
                _log_defect(error)
                reply = self._defect(progress)
                body, headers = reply.to_bytes(), reply.headers()
            set_reply(span, reply)
            self.statistics.count(reply, now() - incoming.received_at)
            _log_reply(reply, now() - incoming.received_at)
            await outlet.publish(incoming.reply_subject, body, headers)

    async def run(self, job: Job, progress: Progress | None = None) -> ExecuteReply:
        """Run a job as soon as there is a slot, and say how it went.

        Args:
            job: What to run.
            progress: Is told when the CLI may have been started.

        Raises:
            RequestError: Its directory has gone since it was admitted, or its key was used for another request.
        """
        now = asyncio.get_running_loop().time
        arrived_at = now()
        reply = None
        try:
            async with self.keyed.turn(job):
                while reply is None:
                    reply = await self.keyed.find(job) or await self._run_in_slot(job, arrived_at, progress)
            return reply
        except BacklogFullError as error:
            return self.answers.refusal(
                job.request_id, ErrorCode.OVERLOADED, str(error), retry_after_ms=error.retry_after_ms
            )
        except WaitedTooLongError:
            message = "the deadline passed while the request waited for a slot"
            return self.answers.refusal(job.request_id, ErrorCode.TIMEOUT, message, wait_s=now() - arrived_at)
        except BacklogClosedError:
            message = "the responder stops and has not started the request"
            return self.answers.refusal(job.request_id, ErrorCode.STOPPING, message, wait_s=now() - arrived_at)
        except JoinedTooLongError as error:
            refusal = self.answers.refusal(job.request_id, ErrorCode.TIMEOUT, str(error), wait_s=now() - arrived_at)
            return refusal.model_copy(update={"executed": error.is_running})
        except RecordsError as error:
            _log.error("no record for an idempotency key: %s", error)
            message = "the record of the idempotency key cannot be read or written now"
            return self.answers.refusal(job.request_id, ErrorCode.RECORDS_UNAVAILABLE, message)

    async def run_claimed(self, request: ExecuteRequest) -> ExecuteReply:
        """Run a request now, for which a slot is held and the key is claimed; a refusal or a defect is its answer."""
        arrived_at = asyncio.get_running_loop().time()
        progress = Progress(request.id)
        try:
            reply = await self._execute(self.admission.admit(request, arrived_at), 0.0, progress)
        except RequestError as error:
            reply = self.answers.refusal(request.id, error.code, str(error))
        except Exception as error:  # noqa: BLE001 # the request boundary, as in `handle`
            _log_defect(error)
            reply = self._defect(progress)
        seconds = asyncio.get_running_loop().time() - arrived_at
        self.statistics.count(reply, seconds)
        _log_reply(reply, seconds)
        return reply

    async def _run_in_slot(self, job: Job, arrived_at: float, progress: Progress | None) -> ExecuteReply | None:
        with self.tracing.wait_for_slot(self.slots.backlog):
            slot = await self.slots.take(job.deadline)
        with slot:
            wait_s = asyncio.get_running_loop().time() - arrived_at
            return await self.keyed.run(job, lambda: self._execute(job, wait_s, progress))

    async def _execute(self, job: Job, wait_s: float, progress: Progress | None) -> ExecuteReply:
        if progress is not None:
            progress.may_have_run = True
        outcome, seen = await self.execution.execute(job)
        private = (job.prompt, *job.arguments.private)
        return self.answers.outcome(job.request_id, outcome, private, seen.duration_s, wait_s)

    async def _reply(self, incoming: Incoming, progress: Progress) -> ExecuteReply:
        try:
            request = self.admission.parse(incoming.body)
            progress.request_id = request.id
            return await self.run(self.admission.admit(request, incoming.received_at), progress)
        except RequestError as error:
            return self.answers.refusal(progress.request_id, error.code, str(error))

    def _defect(self, progress: Progress) -> ExecuteFailure:
        refusal = self.answers.refusal(
            progress.request_id, ErrorCode.INTERNAL, "a defect in the responder; see its log"
        )
        return refusal.model_copy(update={"executed": progress.may_have_run})


def _log_reply(reply: ExecuteReply, seconds: float) -> None:
    code = "success" if reply.success else reply.code
    _log.info("request %s: %s in %.3f s (waited %d ms)", reply.id, code, seconds, reply.wait_ms)


def _log_defect(error: Exception) -> None:
    """Log where an exception came from, but not its text, which may hold anything."""
    _log.error("defect: %s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)).rstrip())
