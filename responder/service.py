"""What a responder does with a request: admit, wait for a slot, run, answer."""

import asyncio
import logging
import traceback
from dataclasses import dataclass
from functools import partial

from contract import ErrorCode, ExecuteFailure, ExecuteReply, RequestError, has_inbox_prefix
from responder.admission import Admission, Job
from responder.answers import Answers
from responder.callers import ANYBODY, Caller, CallerGoneError, Incoming, UnclaimedError
from responder.execution import Execution
from responder.slots import BacklogClosedError, BacklogFullError, Slots, WaitedTooLongError
from responder.statistics import Statistics
from responder.tracing import Tracing, set_error, set_reply

_log = logging.getLogger(__name__)
_STOPPING = "the responder stops and has not started the request"
_GONE = "nobody awaits the request any more; it was not started"


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
        answers: Builds the replies.
        tracing: Starts the spans.
        statistics: Counts.
    """

    inbox_prefix: str
    admission: Admission
    slots: Slots
    execution: Execution
    answers: Answers
    tracing: Tracing
    statistics: Statistics

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
            RequestError: Its directory has gone since it was admitted.
        """
        now = asyncio.get_running_loop().time
        arrived_at = now()
        refuse = partial(self.answers.refusal, job.request_id)
        try:
            with self.tracing.wait_for_slot(self.slots.backlog):
                taking = self.slots.take(job.deadline)
                slot = await caller.wait(taking, job.deadline, is_free=self.slots.has_free)
            with slot:
                wait_s = now() - arrived_at
                await caller.claim()
                if progress is not None:
                    progress.may_have_run = True
                outcome, seen = await self.execution.execute(job, caller.audience)
        except BacklogFullError as error:
            return refuse(ErrorCode.OVERLOADED, str(error), retry_after_ms=error.retry_after_ms)
        except WaitedTooLongError:
            message = "the deadline passed before the request could start"
            return refuse(ErrorCode.TIMEOUT, message, wait_s=now() - arrived_at)
        except BacklogClosedError:
            return refuse(ErrorCode.STOPPING, _STOPPING, wait_s=now() - arrived_at)
        except UnclaimedError as error:
            return refuse(ErrorCode.UNCLAIMED, str(error), wait_s=now() - arrived_at)
        except CallerGoneError:
            return refuse(ErrorCode.UNCLAIMED, _GONE, wait_s=now() - arrived_at)
        private = (job.prompt, *job.arguments.private)
        return self.answers.outcome(job.request_id, outcome, private, seen.duration_s, wait_s)

    async def _reply(self, incoming: Incoming, caller: Caller, progress: Progress) -> ExecuteReply:
        try:
            request = self.admission.parse(await caller.body())
            progress.request_id = request.id
            return await self.run(self.admission.admit(request, incoming.received_at), caller, progress)
        except RequestError as error:
            return self.answers.refusal(progress.request_id, error.code, str(error))
        except UnclaimedError as error:
            return self.answers.refusal(None, ErrorCode.UNCLAIMED, str(error))
        except CallerGoneError:
            return self.answers.refusal(None, ErrorCode.UNCLAIMED, _GONE)
        except BacklogClosedError:
            return self.answers.refusal(None, ErrorCode.STOPPING, _STOPPING)

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
