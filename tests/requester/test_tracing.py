"""Spans: who is whose child, what is red, and what no span may hold."""

import asyncio

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags, use_span

from requester import ApiError, Requester, RequesterSettings
from tests.requester.fakes import CANARY, SUBJECT, FakeConnection, FakeResponder, failure, success


def named(spans: InMemorySpanExporter, prefix: str) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name.startswith(prefix)]


@pytest.fixture
def connection() -> FakeConnection:
    return FakeConnection()


@pytest.fixture
def requester(connection: FakeConnection, provider: TracerProvider) -> Requester:
    settings = RequesterSettings(backoff_first_s=0.001, backoff_max_s=0.001)
    return Requester(settings, connection=connection.as_client(), tracer_provider=provider)


async def test_a_request_and_its_attempt(
    requester: Requester, spans: InMemorySpanExporter, provider: TracerProvider
) -> None:
    """The caller's span has the request as its child, and that has the attempt."""
    with provider.get_tracer("t").start_as_current_span("job"):
        await requester.execute("2+2?", request_id="job-7")
    [job], [request], [attempt] = named(spans, "job"), named(spans, "request"), named(spans, "send")
    assert job.context
    assert request.context
    assert request.parent
    assert attempt.parent
    assert (request.parent.span_id, attempt.parent.span_id) == (job.context.span_id, request.context.span_id)
    assert (request.name, request.kind) == (f"request {SUBJECT}", SpanKind.INTERNAL)
    assert (attempt.name, attempt.kind) == (f"send {SUBJECT}", SpanKind.CLIENT)
    assert request.attributes == {
        "messaging.system": "nats",
        "messaging.destination.name": SUBJECT,
        "messaging.message.conversation_id": "job-7",
        "claude_cli.attempts": 1,
    }
    assert attempt.attributes == {
        "messaging.system": "nats",
        "messaging.destination.name": SUBJECT,
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "claude_cli.attempt": 1,
        "claude_cli.responder": "r1",
    }
    assert {span.status.status_code for span in (request, attempt)} == {StatusCode.UNSET}


async def test_attempts_are_siblings(
    requester: Requester, connection: FakeConnection, spans: InMemorySpanExporter
) -> None:
    """A refused attempt is red and leaves an event; the request is not red when a later attempt is taken."""
    refusals = iter(["overloaded", "stopping"])
    connection.answer = lambda _, request: (
        failure(request["id"], code).to_bytes() if (code := next(refusals, "")) else success(request["id"]).to_bytes()
    )
    await requester.execute("2+2?")
    [request], attempts = named(spans, "request"), named(spans, "send")
    assert request.context
    assert request.attributes
    assert {attempt.parent.span_id for attempt in attempts if attempt.parent} == {request.context.span_id}
    told = [(span.attributes or {}) for span in attempts]
    assert [facts.get("claude_cli.attempt") for facts in told] == [1, 2, 3]
    assert [facts.get("error.type") for facts in told] == ["overloaded", "stopping", None]
    assert [facts.get("claude_cli.responder") for facts in told] == ["r1"] * 3
    codes = [span.status.status_code for span in (*attempts, request)]
    assert codes == [StatusCode.ERROR, StatusCode.ERROR, StatusCode.UNSET, StatusCode.UNSET]
    assert [dict(event.attributes or {}) for event in request.events] == [
        {"claude_cli.attempt": 1, "error.type": "overloaded"},
        {"claude_cli.attempt": 2, "error.type": "stopping"},
    ]
    assert request.attributes["claude_cli.attempts"] == 3


async def test_a_failed_request_is_red(
    requester: Requester, connection: FakeConnection, spans: InMemorySpanExporter
) -> None:
    """When nothing came of it the request carries the code, and no text."""
    connection.answer = lambda _, request: failure(request["id"], "api_error", error=CANARY).to_bytes()
    with pytest.raises(ApiError):
        await requester.execute("2+2?")
    for span in spans.get_finished_spans():
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description is None
        assert span.attributes
        assert span.attributes["error.type"] == "api_error"
    assert CANARY not in "".join(span.to_json() for span in spans.get_finished_spans())


async def test_a_cancelled_request_is_red(
    requester: Requester, connection: FakeConnection, spans: InMemorySpanExporter
) -> None:
    """A cancelled request ends its spans, and they say so."""
    asked = asyncio.Event()
    connection.answer = lambda _, __: asked.set()
    task = asyncio.create_task(requester.execute("2+2?"))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [(span.attributes or {})["error.type"] for span in spans.get_finished_spans()] == ["CancelledError"] * 2


async def test_the_attempt_travels(
    requester: Requester, connection: FakeConnection, spans: InMemorySpanExporter
) -> None:
    """What travels is the attempt's context, in lower case, one for each attempt; without a trace nothing travels."""
    await requester.execute("2+2?")
    [attempt] = named(spans, "send")
    assert attempt.context
    [headers] = connection.headers
    assert headers
    assert headers.keys() == {"traceparent", "Claude-Attend"}
    assert headers["traceparent"].startswith(f"00-{attempt.context.trace_id:032x}-{attempt.context.span_id:016x}-")
    silent = FakeConnection()
    await Requester(RequesterSettings(), connection=silent.as_client()).execute("2+2?")
    assert silent.headers == [{"Claude-Attend": "1"}]


async def test_the_callers_context_travels_where_nothing_is_recorded() -> None:
    """Without a provider of its own a worker passes on the context that it was given."""
    given = SpanContext(int("ab" * 16, 16), int("cd" * 8, 16), is_remote=True, trace_flags=TraceFlags(1))
    connection = FakeConnection()
    with use_span(NonRecordingSpan(given)):
        await Requester(RequesterSettings(), connection=connection.as_client()).execute("2+2?")
    [headers] = connection.headers
    assert headers == {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01", "Claude-Attend": "1"}


@pytest.mark.parametrize("ends", ["well", "badly", "outside"])
async def test_no_span_holds_content(
    requester: Requester, connection: FakeConnection, spans: InMemorySpanExporter, ends: str
) -> None:
    """Neither the prompt nor an argument nor the answer is in any exported byte."""
    if ends == "well":
        connection.answer = lambda _, request: success(
            request["id"], f'{{"type":"result","result":"{CANARY}"}}'
        ).to_bytes()
    elif ends == "badly":
        connection.answer = lambda _, request: failure(request["id"], "cli_error", error=CANARY).to_bytes()
    else:
        connection.answer = lambda _, __: CANARY.encode()
    ended = "well"
    try:
        await requester.execute(f"{CANARY}?", args=["--model", CANARY, "--output-format", "json"], cwd=CANARY)
    except Exception as error:  # noqa: BLE001 # whatever it is
        ended = type(error).__name__
    assert ended == {"well": "well", "badly": "CLIError", "outside": "ProtocolError"}[ends]
    assert len(spans.get_finished_spans()) == 2
    assert CANARY not in "".join(span.to_json() for span in spans.get_finished_spans())


async def test_the_server_is_named(
    nats_url: str, responder: FakeResponder, spans: InMemorySpanExporter, provider: TracerProvider
) -> None:
    """An attempt names the NATS server it was sent to."""
    async with Requester(RequesterSettings(nats_url=nats_url), tracer_provider=provider) as requester:
        await requester.execute("2+2?")
    facts = named(spans, "send")[0].attributes
    assert facts
    assert "nats://" + str(facts["server.address"]) + ":" + str(facts["server.port"]) == nats_url
    assert len(responder.seen) == 1
