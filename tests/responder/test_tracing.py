"""The responder's spans: names, kinds, parents, attributes, and nothing of any content."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from contract import ErrorCode
from responder.cli_environment import CLIEnvironment
from responder.document import Document
from responder.outcome import Failure, Success
from responder.run import Observation, Runner
from responder.service import Service
from responder.slots import Slots
from responder.tracing import Tracing, current_trace_headers, set_observation, set_outcome
from tests.responder.parts import Defective, Outlet, answer, incoming, make_service
from tests.responder.shell import ENV

pytestmark = pytest.mark.usefixtures("patience")
CANARY = "canary-5f1c9"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
RESULT = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "result": CANARY,
    "session_id": "s-1",
    "num_turns": 3,
    "total_cost_usd": 0.5,
    "usage": {
        "input_tokens": 10,
        "cache_read_input_tokens": 200,
        "cache_creation_input_tokens": 3000,
        "output_tokens": 7,
    },
    "modelUsage": {"claude-opus-4": {"costUSD": 0.5}},
}
ANSWER = f"cat >/dev/null; echo '{json.dumps(RESULT)}'"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


async def handle(service: Service, body: Mapping[str, Any] | bytes, headers: Mapping[str, str] | None = None) -> Outlet:
    outlet = Outlet()
    raw = body if isinstance(body, bytes) else json.dumps({"prompt": CANARY, **body}).encode()
    await answer(service, incoming(raw, asyncio.get_running_loop().time(), headers=headers), outlet)
    return outlet


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    spans = exporter.get_finished_spans()
    named = {span.name: span for span in spans}
    assert len(named) == len(spans)
    return named


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def trace_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.trace_id)


def assert_says_nothing(spans: Sequence[ReadableSpan]) -> None:
    for span in spans:
        assert CANARY not in span.to_json()
        assert span.events == ()
        assert span.status.description is None


async def test_the_tree_of_a_request(
    runner: Runner, tmp_path: Path, exporter: InMemorySpanExporter, provider: TracerProvider
) -> None:
    """A request has four spans in the requester's trace, of the kinds and under the parents that are documented."""
    service = make_service(tmp_path, runner, ANSWER, provider=provider)
    await handle(service, {"id": "job-1"}, {"traceparent": TRACEPARENT})
    spans = by_name(exporter)
    assert set(spans) == {"process claude.cli.execute", "wait for slot", "invoke_agent claude-code", "claude"}
    process, wait = spans["process claude.cli.execute"], spans["wait for slot"]
    agent, cli = spans["invoke_agent claude-code"], spans["claude"]
    assert {trace_of(span) for span in spans.values()} == {int(TRACE, 16)}
    assert [span.kind for span in (process, wait, agent, cli)] == [
        SpanKind.SERVER,
        SpanKind.INTERNAL,
        SpanKind.INTERNAL,
        SpanKind.CLIENT,
    ]
    assert parent_of(process) == int(PARENT, 16)
    assert parent_of(wait) == parent_of(agent) == id_of(process)
    assert parent_of(cli) == id_of(agent)
    assert {span.status.status_code for span in spans.values()} == {StatusCode.UNSET}
    assert_says_nothing(list(spans.values()))


async def test_what_the_spans_carry(
    runner: Runner, tmp_path: Path, exporter: InMemorySpanExporter, provider: TracerProvider
) -> None:
    """Each span carries the attributes that are documented, and no others."""
    service = make_service(tmp_path, runner, ANSWER, provider=provider)
    await handle(service, {"id": "job-1", "args": ["--system-prompt", CANARY], "cwd": "repo"})
    spans = by_name(exporter)
    body = json.dumps({"prompt": CANARY, "id": "job-1", "args": ["--system-prompt", CANARY], "cwd": "repo"})
    assert attributes_of(spans["process claude.cli.execute"]) == {
        "messaging.system": "nats",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "claude.cli.execute",
        "messaging.consumer.group.name": "claude-cli",
        "messaging.message.body.size": len(body),
        "messaging.message.conversation_id": "job-1",
    }
    assert attributes_of(spans["wait for slot"]) == {"claude_cli.backlog.length": 0}
    assert attributes_of(spans["invoke_agent claude-code"]) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.agent.name": "claude-code",
        "gen_ai.conversation.id": "s-1",
        "gen_ai.response.model": "claude-opus-4",
        "gen_ai.usage.input_tokens": 3210,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.cache_read.input_tokens": 200,
        "gen_ai.usage.cache_creation.input_tokens": 3000,
        "claude_cli.cost_usd": 0.5,
        "claude_cli.num_turns": 3,
    }
    cli = attributes_of(spans["claude"])
    assert cli.pop("process.pid") > 1
    assert cli == {"process.executable.name": "claude", "claude_cli.start.type": "cold", "process.exit.code": 0}
    assert_says_nothing(list(spans.values()))


async def test_a_failed_run_is_red_all_the_way_up(
    runner: Runner, tmp_path: Path, exporter: InMemorySpanExporter, provider: TracerProvider
) -> None:
    """A failed run marks the agent's span and the request's with its code, and quotes nothing."""
    service = make_service(tmp_path, runner, "cat >&2; ( setsid sleep 300 & ); exit 7", provider=provider)
    await handle(service, {})
    spans = by_name(exporter)
    for name in ("process claude.cli.execute", "invoke_agent claude-code"):
        assert spans[name].status.status_code is StatusCode.ERROR
        assert attributes_of(spans[name])["error.type"] == "cli_error"
    cli = attributes_of(spans["claude"])
    assert (cli["process.exit.code"], cli["claude_cli.process.survivors"]) == (7, 1)
    assert_says_nothing(list(spans.values()))


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"{", "invalid_request"), ({"args": [CANARY]}, "argument_refused"), ({"cwd": f"/{CANARY}"}, "cwd_refused")],
)
async def test_a_refusal_is_a_short_red_span(
    runner: Runner,
    tmp_path: Path,
    exporter: InMemorySpanExporter,
    provider: TracerProvider,
    body: Mapping[str, Any] | bytes,
    code: str,
) -> None:
    """What is refused shows as one failed server span with its code."""
    await handle(make_service(tmp_path, runner, provider=provider), body)
    spans = by_name(exporter)
    assert set(spans) == {"process claude.cli.execute"}
    assert attributes_of(spans["process claude.cli.execute"])["error.type"] == code
    assert spans["process claude.cli.execute"].status.status_code is StatusCode.ERROR
    assert_says_nothing(list(spans.values()))


async def test_a_foreign_reply_subject_is_seen(
    runner: Runner, tmp_path: Path, exporter: InMemorySpanExporter, provider: TracerProvider
) -> None:
    """A request that is dropped is in the trace, without the subject it asked for."""
    service = make_service(tmp_path, runner, provider=provider)
    message = incoming(b'{"prompt": "p"}', asyncio.get_running_loop().time(), reply_subject=f"$JS.{CANARY}")
    await answer(service, message, Outlet())
    (span,) = exporter.get_finished_spans()
    assert attributes_of(span)["error.type"] == "invalid_request"
    assert_says_nothing([span])


async def test_a_deadline_in_the_backlog_is_seen(
    runner: Runner, tmp_path: Path, exporter: InMemorySpanExporter, provider: TracerProvider
) -> None:
    """A request that waited in vain has the span of its wait, and none of a run."""
    slots = Slots(1, 5)
    service = make_service(tmp_path, runner, provider=provider, slots=slots)
    with await slots.take(asyncio.get_running_loop().time() + 60):
        await handle(service, {"timeout_ms": 20})
    spans = by_name(exporter)
    assert set(spans) == {"process claude.cli.execute", "wait for slot"}
    assert attributes_of(spans["process claude.cli.execute"])["error.type"] == "timeout"
    assert_says_nothing(list(spans.values()))


async def test_a_defect_is_seen_without_its_text(
    runner: Runner, tmp_path: Path, exporter: InMemorySpanExporter, provider: TracerProvider
) -> None:
    """A defect marks the request's span with `internal`; no span records the exception."""
    await handle(make_service(tmp_path, runner, provider=provider, directories=Defective(CANARY)), {})
    spans = by_name(exporter)
    assert attributes_of(spans["process claude.cli.execute"])["error.type"] == "internal"
    assert_says_nothing(list(spans.values()))


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "x",
        CANARY,
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        TRACEPARENT.upper() + "x",
        "00-\u00e9",
    ],
)
async def test_a_bad_context_begins_a_new_trace(
    runner: Runner, tmp_path: Path, exporter: InMemorySpanExporter, provider: TracerProvider, traceparent: str
) -> None:
    """A header that is no trace context is ignored, and the request is served."""
    service = make_service(tmp_path, runner, ANSWER, provider=provider)
    outlet = await handle(service, {}, {"traceparent": traceparent, "tracestate": "a=b"})
    assert outlet.reply.success
    process = by_name(exporter)["process claude.cli.execute"]
    assert process.parent is None
    assert trace_of(process) != int(TRACE, 16)


async def test_other_headers_are_not_read(
    runner: Runner, tmp_path: Path, exporter: InMemorySpanExporter, provider: TracerProvider
) -> None:
    """Baggage and headers in another case are nothing to us."""
    service = make_service(tmp_path, runner, ANSWER, provider=provider)
    await handle(service, {}, {"Traceparent": TRACEPARENT, "baggage": f"k={CANARY}", "X": CANARY})
    spans = by_name(exporter)
    assert spans["process claude.cli.execute"].parent is None
    assert_says_nothing(list(spans.values()))


async def test_an_unsampled_request_makes_no_spans(
    runner: Runner, tmp_path: Path, exporter: InMemorySpanExporter, provider: TracerProvider
) -> None:
    """A requester that does not sample decides for the responder too."""
    service = make_service(tmp_path, runner, ANSWER, provider=provider)
    await handle(service, {}, {"traceparent": f"00-{TRACE}-{PARENT}-00"})
    assert exporter.get_finished_spans() == ()


async def test_the_cli_gets_its_parent(
    runner: Runner, tmp_path: Path, exporter: InMemorySpanExporter, provider: TracerProvider
) -> None:
    """With tracing the CLI's TRACEPARENT is the context of its own process's span."""
    environment = CLIEnvironment({**ENV, "TRACEPARENT": CANARY}, tracing=True)
    cli = f'printf %s "$TRACEPARENT" >{tmp_path / "told"}; {ANSWER}'
    service = make_service(tmp_path, runner, cli, provider=provider, environment=environment)
    await handle(service, {}, {"traceparent": TRACEPARENT, "tracestate": "vendor=1"})
    span = by_name(exporter)["claude"]
    assert (tmp_path / "told").read_text() == f"00-{TRACE}-{id_of(span):016x}-01"


async def test_without_a_provider_nothing_is_traced(runner: Runner, tmp_path: Path) -> None:
    """Where no telemetry is configured the same code runs, and there is no context to pass on."""
    assert (await handle(make_service(tmp_path, runner, ANSWER), {})).reply.success
    with Tracing().invoke_agent():
        assert current_trace_headers() == {}


def test_without_a_provider_a_context_is_passed_on() -> None:
    """What a request says of its trace reaches what is started for it, also where no telemetry is configured."""
    tracing, given = Tracing(), {"traceparent": TRACEPARENT, "tracestate": "vendor=1"}
    with tracing.process("s", given, 0), tracing.invoke_agent(), tracing.cli_process("claude", "cold"):
        assert current_trace_headers() == given
    assert current_trace_headers() == {}


ODD_USAGES: list[tuple[dict[str, Any] | None, dict[str, int]]] = [
    (None, {}),
    ({}, {}),
    ({"input_tokens": 5}, {"gen_ai.usage.input_tokens": 5}),
    ({"input_tokens": "5", "output_tokens": None}, {}),
    (
        {"cache_read_input_tokens": 2},
        {"gen_ai.usage.input_tokens": 2, "gen_ai.usage.cache_read.input_tokens": 2},
    ),
    ({"output_tokens": 0}, {"gen_ai.usage.output_tokens": 0}),
]


@pytest.mark.parametrize(("usage", "expected"), ODD_USAGES)
def test_usage_that_is_incomplete(
    exporter: InMemorySpanExporter,
    provider: TracerProvider,
    usage: dict[str, Any] | None,
    expected: dict[str, int],
) -> None:
    """What the CLI does not tell is not made up, and what is no number is left out."""
    with Tracing(provider).invoke_agent() as span:
        set_outcome(span, Success(CANARY, Document(usage=usage)))
    (finished,) = exporter.get_finished_spans()
    attributes = attributes_of(finished)
    assert {name: value for name, value in attributes.items() if name.startswith("gen_ai.usage")} == expected
    assert_says_nothing([finished])


def test_a_failure_without_a_document(exporter: InMemorySpanExporter, provider: TracerProvider) -> None:
    """A run that printed nothing has its code on the span, and nothing of its detail."""
    with Tracing(provider).invoke_agent() as span:
        set_outcome(span, Failure(ErrorCode.CLI_KILLED, f"killed {CANARY}", detail=CANARY))
    (finished,) = exporter.get_finished_spans()
    assert attributes_of(finished)["error.type"] == "cli_killed"
    assert_says_nothing([finished])


def test_an_observation_of_nothing(exporter: InMemorySpanExporter, provider: TracerProvider) -> None:
    """A process that never was has no id, no status and no survivors on its span."""
    with Tracing(provider).cli_process("claude", "cold") as span:
        set_observation(span, Observation(not_found=True))
    (finished,) = exporter.get_finished_spans()
    assert set(attributes_of(finished)) == {"process.executable.name", "claude_cli.start.type"}


def test_exceptions_leave_no_trace(exporter: InMemorySpanExporter, provider: TracerProvider) -> None:
    """An exception that passes through any of the spans is not recorded on it."""
    tracing = Tracing(provider)
    spans = (
        tracing.process("s", {}, 0),
        tracing.wait_for_slot(0),
        tracing.invoke_agent(),
        tracing.cli_process("c", "cold"),
    )
    for span in spans:
        with pytest.raises(ValueError, match=CANARY), span:
            raise ValueError(CANARY)
    assert len(exporter.get_finished_spans()) == 4
    assert_says_nothing(exporter.get_finished_spans())
