"""One request, sent until a responder takes it or the deadline comes."""

import asyncio
import itertools
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from contract import ExecuteFailure, ExecuteRequest, ExecuteSuccess, Failover, ReplyError, parse_reply
from requester.attended import Order
from requester.budget import RetryBudget
from requester.errors import (
    CLIError,
    ExecuteTimeoutError,
    NoRespondersError,
    NotConnectedError,
    ProtocolError,
    RequesterError,
    ResponderLostError,
    UnavailableError,
    UnfitError,
    error_of,
)
from requester.metrics import Metrics
from requester.output import OutputFollower
from requester.request import left_ms
from requester.retry import Backoff, decide, is_moved
from requester.tracing import AttemptSpan, RequestSpan, Tracing


class Way(Protocol):
    """What requests are sent over: `hop.Hop`, or a test's own."""

    @property
    def server(self) -> tuple[str, int] | None:
        """Host and port of the NATS server."""

    async def wait_connected(self, within_s: float) -> None:
        """Wait until a request can be sent, for some seconds."""

    async def attend(self, order: Order) -> bytes:
        """Make one attempt, and give the reply's body."""


@dataclass(frozen=True)
class Wanted:
    """What a caller asks for.

    Attributes:
        request: What to send.
        deadline: Loop time, in seconds.
        failover: Whether a request that may have run is sent again when its responder is lost.
        output: Is given what the CLI prints while it runs; None where nobody wants it.
    """

    request: ExecuteRequest
    deadline: float
    failover: Failover = Failover.UNSTARTED
    output: OutputFollower | None = None


@dataclass(frozen=True)
class Patience:
    """How long an attempt is waited for.

    Attributes:
        accept_s: Seconds in which a responder must accept it; doubled for each attempt that nobody has accepted.
        accept_max_s: The most of them.
        reply_grace_s: Seconds after the deadline in which the responder may still say what happened.
        reply_max_bytes: The largest result that is taken.
    """

    accept_s: float = 0.5
    accept_max_s: float = 4.0
    reply_grace_s: float = 5.0
    reply_max_bytes: int = 128 * 1024 * 1024


@dataclass(frozen=True)
class Attempts:
    """The attempts for requests of one kind.

    Attributes:
        way: What they are sent over.
        subject: Where to.
        tracing: Who is told.
        metrics: Who counts.
        backoff: How long the pauses are.
        patience: How long an attempt is waited for.
        budget: Stretches the pauses when most attempts are refused.
        random: Gives a number in [0, 1); the system's, because forked workers share the state of any other.
    """

    way: Way
    subject: str
    tracing: Tracing
    metrics: Metrics
    backoff: Backoff
    patience: Patience = field(default_factory=Patience)
    budget: RetryBudget = field(default_factory=RetryBudget)
    random: Callable[[], float] = field(default=secrets.SystemRandom().random)

    async def run(self, wanted: Wanted, span: RequestSpan) -> tuple[ExecuteSuccess, int]:
        """Send the request until a responder takes it.

        Args:
            wanted: What is asked for.
            span: Is told of every attempt.

        Returns:
            The reply, and how many attempts it took.

        Raises:
            RequesterError: The last attempt's that could still be sent.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        failed: RequesterError | None = None
        ran: RequesterError | None = None
        unaccepted = 0
        unable: set[str | None] = set()
        for attempt in itertools.count(1):
            span.count_attempt(attempt)
            try:
                success = await self._send(wanted, attempt, unaccepted)
            except RequesterError as error:
                error.request_id = wanted.request.id
                span.attempt_failed(attempt, error)
                if failed is None or not _says_less(error, failed, loop.time() >= wanted.deadline):
                    failed = error
                if error.executed is not False:
                    ran = error
                unaccepted += isinstance(error, ResponderLostError) and error.responder is None
                self._count(error)
                is_alone = isinstance(failed, CLIError) and isinstance(error, NoRespondersError)
                # Nobody else is there who could start it, or who cannot does not leave the queue group for it.
                is_vain = is_alone or (isinstance(error, CLIError) and error.responder in unable)
                pause_s = None if is_vain else self._pause_s(error, attempt, wanted)
                if isinstance(error, CLIError):
                    unable.add(error.responder)
                if pause_s is not None:
                    await asyncio.sleep(pause_s)
                if pause_s is None or loop.time() >= wanted.deadline:
                    if ran is not None and failed.executed is False:
                        # This attempt ran nothing, but one before it did, or may have.
                        failed.executed = ran.executed
                    _tell_effort(failed, attempt, loop.time() - started)
                    raise failed from failed.__cause__
            else:
                self.budget.succeed()
                self.metrics.attempt_ended(None)
                return success, attempt
        raise AssertionError("counting does not end")

    def _pause_s(self, error: RequesterError, attempt: int, wanted: Wanted) -> float | None:
        return decide(
            error,
            attempt=attempt,
            remaining_s=wanted.deadline - asyncio.get_running_loop().time(),
            backoff=self.backoff,
            random=self.random,
            failover=wanted.failover,
            is_throttled=self.budget.is_spent,
        )

    async def _send(self, wanted: Wanted, attempt: int, unaccepted: int) -> ExecuteSuccess:
        with self.tracing.attempt(self.subject, attempt) as span:
            loop = asyncio.get_running_loop()
            await self.way.wait_connected(wanted.deadline - loop.time())
            if span.is_recording:
                span.sent_to(self.way.server)
            now = loop.time()
            if now >= wanted.deadline:
                raise NotConnectedError("the deadline passed before there was a connection to NATS")
            patience = self.patience
            order = Order(
                body=wanted.request.model_copy(update={"timeout_ms": left_ms(wanted.deadline, now)}).to_bytes(),
                headers=span.headers(),
                accept_s=min(patience.accept_max_s, patience.accept_s * 2 ** min(unaccepted, 10)),
                deadline=wanted.deadline,
                reply_grace_s=patience.reply_grace_s,
                reply_max_bytes=patience.reply_max_bytes,
                output=wanted.output,
                accepted_by=span.answered_by,
            )
            if wanted.output is not None:
                wanted.output.begin()
            success = _read(await self.way.attend(order), wanted.request, span)
        if wanted.output is not None:
            wanted.output.finish(success.result.encode())
        return success

    def _count(self, error: RequesterError) -> None:
        self.metrics.attempt_ended(str(error.code))
        if isinstance(error, UnavailableError) and not is_moved(error):
            self.budget.fail()


def _tell_effort(failed: RequesterError, attempts: int, seconds: float) -> None:
    """Have an error say how much was tried, where trying longer might have helped."""
    if isinstance(failed, UnavailableError | ResponderLostError):
        failed.args = (f"{failed} ({_counted(attempts)} in {seconds:.1f} s)",)


def _says_less(error: RequesterError, failed: RequesterError, is_over: bool) -> bool:
    """Say whether an error says less than one before it: begun when there was no time left, or of nobody else."""
    if isinstance(failed, CLIError) and isinstance(error, NoRespondersError | UnfitError):
        return True
    return is_over and isinstance(error, NotConnectedError | ExecuteTimeoutError) and error.executed is False


def _read(body: bytes, request: ExecuteRequest, span: AttemptSpan) -> ExecuteSuccess:
    try:
        reply = parse_reply(body)
    except ReplyError as error:
        raise ProtocolError(str(error)) from None
    span.answered_by(reply.responder)
    if reply.id is not None and reply.id != request.id:
        raise ProtocolError("the reply is another request's", responder=reply.responder)
    if isinstance(reply, ExecuteFailure):
        raise error_of(reply)
    return reply


def _counted(attempts: int) -> str:
    return "1 attempt" if attempts == 1 else f"{attempts} attempts"
