"""The requester: asks the responders, over one connection."""

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Literal, Self

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider
from pydantic import ValidationError

from contract import (
    ExecuteFailure,
    HealthReply,
    HealthRequest,
    ReplyError,
    Subjects,
    is_plain_subject,
    new_ulid,
    parse_reply,
)
from requester.attempts import Attempts, Patience, Wanted
from requester.breaker import BreakerLimits, CircuitBreaker, CircuitState, Passage, is_service_failure
from requester.budget import RetryBudget
from requester.durable import Durable, Ticket
from requester.errors import CircuitOpenError, InvalidRequestError, ProtocolError, RequesterError, error_of
from requester.hop import Hop
from requester.link import Client
from requester.metrics import Metrics
from requester.output import OutputFollower
from requester.reply import Reply, read_reply
from requester.request import build_request, check_failover, check_timeout
from requester.retry import Backoff
from requester.settings import RequesterSettings
from requester.tracing import RequestSpan, Tracing

_log = logging.getLogger(__name__)

# A responder answers the cheap check at once; the deep one runs a prompt and gets a request's time.
HEALTH_TIMEOUT_S = 5.0


class Requester:
    """Asks the responders; any number of requests share its connection, which is made when the first one needs it.

    It belongs to the event loop in which it is used. As a context manager it is closed at the end of the block.

    Args:
        settings: None reads them from the environment.
        connection: A NATS connection of the caller's: it is used and never closed, and its permission violations
            are noticed only when the reply stays away.
        tracer_provider: Where its spans go; None for the process's own.
        meter_provider: Where its metrics go; None for the process's own.

    Raises:
        SettingsError: The environment has a setting that cannot be used.
    """

    def __init__(
        self,
        settings: RequesterSettings | None = None,
        *,
        connection: Client | None = None,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self._settings = settings or RequesterSettings()
        self._subjects = Subjects(self._settings.subject_prefix)
        self._hop = Hop(self._settings, connection)
        self._tracing = Tracing(tracer_provider)
        self._metrics = Metrics(self._subjects.execute, meter_provider)
        self._attempts = Attempts(
            way=self._hop,
            subject=self._subjects.execute,
            tracing=self._tracing,
            metrics=self._metrics,
            backoff=Backoff(self._settings.backoff_first_s, self._settings.backoff_max_s),
            patience=Patience(
                accept_s=self._settings.accept_timeout_s,
                reply_grace_s=self._settings.reply_grace_s,
                reply_max_bytes=self._settings.reply_max_bytes,
            ),
            budget=RetryBudget(self._settings.retry_tokens),
        )
        self._breaker = _breaker(self._settings)
        self._durable = Durable(self._hop, self._subjects)

    def __repr__(self) -> str:
        hop = self._hop
        return f"<Requester {self._subjects.execute} at {hop.place}: {hop.state}, {hop.in_flight} in flight>"

    @property
    def circuit(self) -> CircuitState:
        """Whether requests are sent, or refused for a while because most have failed."""
        return self._breaker.state if self._breaker else CircuitState.CLOSED

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def execute(  # noqa: PLR0913 # each is a thing that a caller may want
        self,
        prompt: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 # the word of the field, and what callers expect
        args: Sequence[str] | None = None,
        cwd: str | None = None,
        request_id: str | None = None,
        failover: Literal["unstarted", "always"] = "unstarted",
        on_output: Callable[[str], None] | None = None,
        idempotency_key: str | None = None,
        priority: Literal["interactive", "batch"] = "interactive",
        reuse: bool = False,
    ) -> Reply:
        """Run the CLI once, wherever there is a free slot, and give its answer.

        A request that no responder has started is sent again until the deadline; one that was started is not, unless
        `failover` says so. Cancelling it ends the run, within a second.

        Args:
            prompt: What the CLI reads on stdin.
            timeout: Seconds until nobody waits any more, the wait for a connection and for a slot included; None for
                the settings' `timeout_s`.
            args: The CLI's flags, as far as the responder allows them; None for its headless mode with JSON output.
            cwd: Working directory inside the responder's roots; None for a fresh empty one.
            request_id: Names the request in logs and traces; None makes a ULID.
            failover: What to do when the responder is lost after it was told to start: `unstarted` raises
                ResponderLostError; `always` asks another one, which may run the prompt a second time.
            on_output: Is given what the CLI prints while it prints it, whole lines, where `args` ask for
                `--output-format stream-json --verbose`, and at the end otherwise; all of it together is the reply's
                `raw`, unless `failover` has let the prompt run a second time: then what the lost run printed comes
                first. A plain function; an exception of its own ends the run.
            idempotency_key: Names the work, 1 to 128 of `A-Z a-z 0-9 . _ : -`: a call with the key of an earlier one
                joins its run or gets its kept result, instead of running again. None means that each call runs.
            priority: Its class where it has to wait for a slot: `batch` waits behind `interactive`, but for a while
                only (the responder's `batch_max_wait_s`).
            reuse: Whether a CLI may run it that has answered this requester before, with `/clear` in between, and
                others of it later: a third of the time where a responder allows it (its `reuse_max`). The model is
                told of the `/clear`; docs/decisions/reuse.md says what else differs.

        Returns:
            The answer.

        Raises:
            RequesterError: Why there is none; `requester.errors` has the tree.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        deadline = started + check_timeout(self._settings.timeout_s if timeout is None else timeout)
        request = build_request(
            prompt,
            args=args,
            cwd=cwd,
            request_id=request_id,
            idempotency_key=idempotency_key,
            priority=priority,
            reuse=reuse,
        )
        consent = check_failover(failover)
        if inspect.iscoroutinefunction(on_output):
            raise InvalidRequestError("request refused: on_output is called, not awaited: give a plain function")
        with self._tracing.request(self._subjects.execute, request.id or "") as span, self._circuit(span, request.id):
            output = None if on_output is None else OutputFollower(on_output)
            success, attempts = await self._attempts.run(Wanted(request, deadline, consent, output), span)
            return read_reply(success, request.args, attempts=attempts, duration_s=loop.time() - started)

    async def submit(  # noqa: PLR0913 # as above
        self,
        prompt: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 # as above
        args: Sequence[str] | None = None,
        cwd: str | None = None,
        failover: Literal["unstarted", "always"] = "unstarted",
        ticket: str | None = None,
    ) -> str:
        """Have the CLI run once, when there is a slot for it, whatever stops or fails in between.

        It is stored by JetStream when this returns, and done by a responder with a slot that direct requests leave
        free. When this fails, once more with the same ticket (the error's `request_id`) is harmless.

        Args:
            prompt: What the CLI reads on stdin; the whole request has to fit NATS's `max_payload`.
            timeout: Seconds the run may take from its start; None for the settings' `timeout_s`.
            args: As for `execute`.
            cwd: As for `execute`.
            failover: What becomes of it when its responder was lost after the start: `unstarted` ends it with
                ResponderLostError, `always` runs it again, at most twice.
            ticket: Names it, also in logs and traces; None makes a ULID.

        Returns:
            The ticket, for `result`.

        Raises:
            RequesterError: It may not be stored.
        """
        name = new_ulid() if ticket is None else ticket
        timeout_s = check_timeout(self._settings.timeout_s if timeout is None else timeout)
        request = build_request(prompt, args=args, cwd=cwd, request_id=name, idempotency_key=name)
        request = request.model_copy(update={"timeout_ms": max(1, int(timeout_s * 1000))})
        with self._tracing.attempt(self._subjects.jobs, 1) as span:
            try:
                await self._durable.submit(request, check_failover(failover), span.headers())
            except RequesterError as error:
                error.request_id = name
                raise
        return name

    async def result(
        self,
        ticket: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 # as above
    ) -> Reply:
        """Wait for the result of durable work; any process may, as often as it likes, as long as it is kept.

        Args:
            ticket: What `submit` gave.
            timeout: Seconds; None for the settings' `timeout_s`.

        Raises:
            TicketUnknownError: There is no such ticket, or its result is no longer kept.
            ExecuteTimeoutError: There is no result yet.
            RequesterError: Why there will be none, as for `execute`.
        """
        timeout_s = check_timeout(self._settings.timeout_s if timeout is None else timeout)
        return await self._durable.result(ticket, asyncio.get_running_loop().time() + timeout_s)

    async def tickets(self) -> list[Ticket]:
        """List the durable work whose result is awaited or kept, the oldest first.

        Raises:
            RequesterError: It cannot be listed.
        """
        return await self._durable.tickets()

    @contextlib.contextmanager
    def _circuit(self, span: RequestSpan, request_id: str | None) -> Iterator[None]:
        """Let a request through the circuit breaker, and tell it how that ended."""
        if self._breaker is None:
            yield
            return
        now = asyncio.get_running_loop().time
        state = self._breaker.state
        passage = self._breaker.admit(now())
        self._tell_circuit(state, span)
        if not isinstance(passage, Passage):
            message = "not sent: most requests failed lately, the circuit is open"
            raise CircuitOpenError(message, request_id=request_id, retry_after_s=passage)
        is_failure: bool | None = False
        try:
            yield
        except BaseException as error:
            is_failure = is_service_failure(error)
            raise
        finally:
            state = self._breaker.state
            self._breaker.settle(passage, now(), is_failure=is_failure)
            self._tell_circuit(state, span)

    def _tell_circuit(self, state: CircuitState, span: RequestSpan) -> None:
        """Tell the log, the trace and the metrics that the circuit is in another state than before."""
        if self.circuit is not state:
            _log.warning("circuit %s: %s", self._subjects.execute, self.circuit)
            span.circuit_changed(self.circuit)
            self._metrics.circuit_changed(self.circuit)

    async def health(
        self,
        *,
        responder: str | None = None,
        deep: bool = False,
        timeout: float | None = None,  # noqa: ASYNC109 # as above
    ) -> HealthReply:
        """Ask a responder how it is; asked once, never again.

        Args:
            responder: Its id; None for any one.
            deep: Whether it runs a real one-word prompt, which costs a slot, seconds and tokens.
            timeout: Seconds; None for 5, or the settings' `timeout_s` for the deep check.

        Raises:
            RequesterError: There is no answer; NoRespondersError where nobody listens.
        """
        if responder is not None and not is_plain_subject(responder):
            raise InvalidRequestError("request refused: a responder's id is letters, digits, - and _")
        if timeout is None:
            timeout = self._settings.timeout_s if deep else HEALTH_TIMEOUT_S
        loop = asyncio.get_running_loop()
        deadline = loop.time() + check_timeout(timeout)
        await self._hop.wait_connected(deadline - loop.time())
        subject = self._subjects.health if responder is None else self._subjects.health_of(responder)
        raw = await self._hop.request(subject, HealthRequest(deep=deep).to_bytes(), {}, deadline - loop.time())
        return _read_health(raw.data)

    async def close(self) -> None:
        """End the connection, unless it was given; it cannot be used afterwards."""
        await self._hop.close()


def _breaker(settings: RequesterSettings) -> CircuitBreaker | None:
    if not settings.breaker:
        return None
    return CircuitBreaker(
        BreakerLimits(
            settings.breaker_error_ratio,
            settings.breaker_min_requests,
            settings.breaker_window_s,
            settings.breaker_open_s,
        )
    )


def _read_health(body: bytes) -> HealthReply:
    try:
        return HealthReply.model_validate_json(body)
    except ValidationError:
        raise _health_error(body) from None


def _health_error(body: bytes) -> RequesterError:
    try:
        failure = parse_reply(body)
    except ReplyError:
        return ProtocolError("the reply is not a health reply of this protocol")
    return error_of(failure) if isinstance(failure, ExecuteFailure) else ProtocolError("the reply is no health reply")
