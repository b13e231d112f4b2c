"""The responder's spans, through the OpenTelemetry API alone.

    process claude.cli.execute   SERVER, child of the requester's attempt
    ├── wait for slot            INTERNAL
    └── invoke_agent claude-code INTERNAL, what the agent used
        └── claude               CLIENT, the process; the CLI's own spans are its children

No attribute, event or status text holds anything of a prompt, an answer or an argument. `error.type` is the reply's
`code`.
"""

import contextlib
from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    ProxyTracerProvider,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    TracerProvider,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from contract import HEADER_TRACEPARENT, HEADER_TRACESTATE, QUEUE_GROUP
from contract.reply import ExecuteFailure, ExecuteReply
from responder.outcome import Failure, Success
from responder.run import Observation

_PROPAGATOR = TraceContextTextMapPropagator()
_TRACE_HEADERS = (HEADER_TRACEPARENT, HEADER_TRACESTATE)
# In the place of a span that would go nowhere: 6 us less for each.
_NO_SPAN: contextlib.AbstractContextManager[Span] = contextlib.nullcontext(INVALID_SPAN)


class Tracing:
    """Starts the spans of a request.

    Args:
        provider: Where spans go; None means the process's own, which does nothing unless one was configured.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._is_given = provider is not None
        self._is_off = self._goes_nowhere()
        self._tracer: Tracer = trace.get_tracer("claude-nats.responder", tracer_provider=provider)

    def _goes_nowhere(self) -> bool:
        """Say whether spans go nowhere, because no provider was given, and none configured until now."""
        return not self._is_given and isinstance(trace.get_tracer_provider(), ProxyTracerProvider)

    def process(
        self, subject: str, headers: Mapping[str, str], body_size: int
    ) -> contextlib.AbstractContextManager[Span]:
        """Cover one request from its arrival to its reply.

        Args:
            subject: Where it arrived.
            headers: Of the request; a valid `traceparent` makes the span part of the requester's trace.
            body_size: Of the request, in bytes.
        """
        self._is_off = self._goes_nowhere()  # for what follows too: the look at the environment takes 2 us
        carrier = {name: headers[name] for name in _TRACE_HEADERS if name in headers}
        if self._is_off and not carrier:
            return _NO_SPAN
        attributes: dict[str, str | int] = {
            "messaging.system": "nats",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": subject,
            "messaging.consumer.group.name": QUEUE_GROUP,
            "messaging.message.body.size": body_size,
        }
        context = _PROPAGATOR.extract(carrier)
        return self._started(f"process {subject}", attributes, kind=SpanKind.SERVER, context=context)

    def wait_for_slot(self, backlog: int) -> contextlib.AbstractContextManager[Span]:
        """Cover the wait for a slot, behind so many others."""
        return self._span("wait for slot", {"claude_cli.backlog.length": backlog})

    def invoke_agent(self) -> contextlib.AbstractContextManager[Span]:
        """Cover the work of the agent."""
        attributes = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.provider.name": "anthropic",
            "gen_ai.agent.name": "claude-code",
        }
        return self._span("invoke_agent claude-code", attributes)

    def cli_process(self, executable: str, start_type: str) -> contextlib.AbstractContextManager[Span]:
        """Cover the CLI's process; `start_type` says how it came to be."""
        attributes = {"process.executable.name": executable, "claude_cli.start.type": start_type}
        return self._span("claude", attributes, kind=SpanKind.CLIENT)

    def _span(
        self, name: str, attributes: Mapping[str, str | int], *, kind: SpanKind = SpanKind.INTERNAL
    ) -> contextlib.AbstractContextManager[Span]:
        """Start a span below the current one."""
        return _NO_SPAN if self._is_off else self._started(name, attributes, kind=kind)

    def _started(
        self,
        name: str,
        attributes: Mapping[str, str | int],
        *,
        kind: SpanKind,
        context: Context | None = None,
    ) -> contextlib.AbstractContextManager[Span]:
        """Start a span on which no exception is written: its text may hold anything."""
        return self._tracer.start_as_current_span(
            name,
            context=context,
            kind=kind,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        )


def current_trace_headers() -> dict[str, str]:
    """Give the current span's context as W3C headers; empty when nothing is traced."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier


def set_observation(span: Span, seen: Observation) -> None:
    """Write what was seen of a process on its span."""
    if seen.pid is not None:
        span.set_attribute("process.pid", seen.pid)
    if seen.exit_status is not None:
        span.set_attribute("process.exit.code", seen.exit_status)
    if seen.survivors:
        span.set_attribute("claude_cli.process.survivors", seen.survivors)


def set_outcome(span: Span, outcome: Success | Failure) -> None:
    """Write what an agent used, and why it failed, on a span."""
    document = outcome.document
    if document is not None and span.is_recording():
        usage = document.usage or {}
        read, created = (usage.get(f"cache_{kind}_input_tokens") for kind in ("read", "creation"))
        attributes = {
            "gen_ai.conversation.id": document.session_id,
            "gen_ai.response.model": document.model,
            "gen_ai.usage.input_tokens": _total(usage.get("input_tokens"), read, created),
            "gen_ai.usage.output_tokens": _total(usage.get("output_tokens")),
            "gen_ai.usage.cache_read.input_tokens": _total(read),
            "gen_ai.usage.cache_creation.input_tokens": _total(created),
            "claude_cli.cost_usd": document.cost_usd,
            "claude_cli.num_turns": document.num_turns,
        }
        span.set_attributes({name: value for name, value in attributes.items() if value is not None})
    if isinstance(outcome, Failure):
        set_error(span, outcome.code)


def set_reply(span: Span, reply: ExecuteReply) -> None:
    """Write how a request was answered on its span."""
    if reply.id is not None:
        span.set_attribute("messaging.message.conversation_id", reply.id)
    if isinstance(reply, ExecuteFailure):
        set_error(span, reply.code)


def set_handed_on(span: Span) -> None:
    """Mark a span of a request that another responder has taken over."""
    span.set_attribute("claude_cli.handed_on", value=True)


def set_error(span: Span, code: str) -> None:
    """Mark a span as failed, by a code and nothing else."""
    span.set_attribute("error.type", str(code))
    span.set_status(Status(StatusCode.ERROR))


def _total(*counts: object) -> int | None:
    numbers = [count for count in counts if isinstance(count, int)]
    return sum(numbers) if numbers else None
