"""One request, sent until a responder takes it or the deadline comes."""

import asyncio
import itertools
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from contract import ExecuteFailure, ExecuteRequest, ExecuteSuccess, ReplyError, parse_reply
from requester.errors import NotConnectedError, ProtocolError, RequesterError, UnavailableError, error_of
from requester.inbox import RawReply
from requester.request import left_ms
from requester.retry import Backoff, decide
from requester.tracing import AttemptSpan, RequestSpan, Tracing


class Way(Protocol):
    """What requests are sent over: `hop.Hop`, or a test's own."""

    @property
    def server(self) -> tuple[str, int] | None:
        """Host and port of the NATS server."""

    async def wait_connected(self, within_s: float) -> None:
        """Wait until a request can be sent, for some seconds."""

    async def request(self, subject: str, body: bytes, headers: dict[str, str], within_s: float) -> RawReply:
        """Send one request and wait some seconds for its one reply."""


@dataclass(frozen=True)
class Attempts:
    """The attempts for requests of one kind.

    Attributes:
        way: What they are sent over.
        subject: Where to.
        tracing: Who is told.
        backoff: How long the pauses are.
        reply_grace_s: Seconds after the deadline in which the responder may still say what happened.
        random: Gives a number in [0, 1); the system's, because forked workers share the state of any other.
    """

    way: Way
    subject: str
    tracing: Tracing
    backoff: Backoff
    reply_grace_s: float
    random: Callable[[], float] = field(default=secrets.SystemRandom().random)

    async def run(self, request: ExecuteRequest, deadline: float, span: RequestSpan) -> tuple[ExecuteSuccess, int]:
        """Send the request until a responder takes it.

        Args:
            request: What to send.
            deadline: Loop time, in seconds.
            span: Is told of every attempt.

        Returns:
            The reply, and how many attempts it took.

        Raises:
            RequesterError: The last attempt's that could still be sent.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        failed: RequesterError | None = None
        for attempt in itertools.count(1):
            span.count_attempt(attempt)
            try:
                return await self._send(request, deadline, attempt), attempt
            except RequesterError as error:
                error.request_id = request.id
                span.attempt_failed(attempt, error)
                if failed is None or loop.time() < deadline or not isinstance(error, NotConnectedError):
                    # An attempt that came too late to be sent says less than the one before it.
                    failed = error
                pause_s = decide(
                    error,
                    attempt=attempt,
                    remaining_s=deadline - loop.time(),
                    backoff=self.backoff,
                    random=self.random,
                )
                if pause_s is not None:
                    await asyncio.sleep(pause_s)
                if pause_s is None or loop.time() >= deadline:
                    if isinstance(failed, UnavailableError):
                        failed.args = (f"{failed} ({_counted(attempt)} in {loop.time() - started:.1f} s)",)
                    raise failed from failed.__cause__
        raise AssertionError("counting does not end")

    async def _send(self, request: ExecuteRequest, deadline: float, attempt: int) -> ExecuteSuccess:
        with self.tracing.attempt(self.subject, attempt) as span:
            loop = asyncio.get_running_loop()
            await self.way.wait_connected(deadline - loop.time())
            span.sent_to(self.way.server)
            now = loop.time()
            if now >= deadline:
                raise NotConnectedError("the deadline passed before there was a connection to NATS")
            body = request.model_copy(update={"timeout_ms": left_ms(deadline, now)}).to_bytes()
            raw = await self.way.request(self.subject, body, span.headers(), deadline - now + self.reply_grace_s)
            return _read(raw, request, span)


def _read(raw: RawReply, request: ExecuteRequest, span: AttemptSpan) -> ExecuteSuccess:
    try:
        reply = parse_reply(raw.data)
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
