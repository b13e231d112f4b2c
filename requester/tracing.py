"""The requester's spans, through the OpenTelemetry API alone.

    request claude.cli.execute     INTERNAL, child of the caller's span; an event for each failed attempt
    ├── send claude.cli.execute    CLIENT, one for each attempt; its context travels to the responder
    └── send claude.cli.execute

No attribute, event or status text holds anything of a prompt, an answer or an argument. `error.type` is the error's
`code`.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from opentelemetry.trace import (
    INVALID_SPAN,
    ProxyTracerProvider,
    Span,
    SpanKind,
    Status,
    StatusCode,
    TracerProvider,
    get_tracer,
    get_tracer_provider,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from requester.errors import RequesterError

_INSTRUMENTATION = "claude-nats.requester"
_PROPAGATOR = TraceContextTextMapPropagator()


class AttemptSpan:
    """One attempt, as it is told to the trace."""

    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def is_recording(self) -> bool:
        """Whether anybody is told."""
        return self._span.is_recording()

    def headers(self) -> dict[str, str]:
        """Give the headers by which the responder's spans become children of this attempt."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        return carrier

    def sent_to(self, server: tuple[str, int] | None) -> None:
        """Tell the NATS server's host and port."""
        if server is not None:
            self._span.set_attributes({"server.address": server[0], "server.port": server[1]})

    def answered_by(self, responder: str) -> None:
        """Tell which responder replied."""
        self._span.set_attribute("claude_cli.responder", responder)


class RequestSpan:
    """The request with all its attempts, as it is told to the trace."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def count_attempt(self, attempt: int) -> None:
        """Tell how many attempts there are by now."""
        self._span.set_attribute("claude_cli.attempts", attempt)

    def attempt_failed(self, attempt: int, error: RequesterError) -> None:
        """Tell why an attempt failed."""
        self._span.add_event("attempt failed", {"claude_cli.attempt": attempt, "error.type": str(error.code)})

    def circuit_changed(self, state: str) -> None:
        """Tell that requests are let through from now on, or no more."""
        self._span.add_event("circuit changed", {"claude_cli.circuit.state": state})


_NO_REQUEST, _NO_ATTEMPT = RequestSpan(INVALID_SPAN), AttemptSpan(INVALID_SPAN)


class Tracing:
    """Makes the requester's spans.

    Args:
        provider: Where they go; None for the process's own provider, also one that is set later.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._is_given = provider is not None
        self._tracer = get_tracer(_INSTRUMENTATION, tracer_provider=provider)

    @contextmanager
    def command(self, name: str) -> Iterator[None]:
        """Span a whole command."""
        with self._span(name, SpanKind.INTERNAL, {}):
            yield

    @property
    def _is_off(self) -> bool:
        """Whether spans go nowhere: no provider was given, and none configured until now."""
        return not self._is_given and isinstance(get_tracer_provider(), ProxyTracerProvider)

    def request(self, subject: str, request_id: str) -> AbstractContextManager[RequestSpan]:
        """Span a request, all its attempts included."""
        return nullcontext(_NO_REQUEST) if self._is_off else self._request(subject, request_id)

    def attempt(self, subject: str, attempt: int) -> AbstractContextManager[AttemptSpan]:
        """Span one attempt; the first is 1."""
        return nullcontext(_NO_ATTEMPT) if self._is_off else self._attempt(subject, attempt)

    @contextmanager
    def _request(self, subject: str, request_id: str) -> Iterator[RequestSpan]:
        attributes = {**_destination(subject), "messaging.message.conversation_id": request_id}
        with self._span(f"request {subject}", SpanKind.INTERNAL, attributes) as span:
            yield RequestSpan(span)

    @contextmanager
    def _attempt(self, subject: str, attempt: int) -> Iterator[AttemptSpan]:
        operation = {"messaging.operation.name": "send", "messaging.operation.type": "send"}
        attributes = {**_destination(subject), **operation, "claude_cli.attempt": attempt}
        with self._span(f"send {subject}", SpanKind.CLIENT, attributes) as span:
            yield AttemptSpan(span)

    @contextmanager
    def _span(self, name: str, kind: SpanKind, attributes: dict[str, AttributeValue]) -> Iterator[Span]:
        with self._tracer.start_as_current_span(
            name, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except BaseException as error:
                # The class or the code, never the text: it may quote what was asked.
                span.set_attribute("error.type", _error_type(error))
                span.set_status(Status(StatusCode.ERROR))
                raise


def _destination(subject: str) -> dict[str, AttributeValue]:
    return {"messaging.system": "nats", "messaging.destination.name": subject}


def _error_type(error: BaseException) -> str:
    if isinstance(error, RequesterError):
        return str(error.code)
    return type(error).__name__
