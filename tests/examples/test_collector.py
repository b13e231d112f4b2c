"""The demo's collector over loopback, with the real exporter."""

from collections.abc import Iterator

import aiohttp
import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, Tracer, format_span_id, format_trace_id
from opentelemetry.util.types import AnyValue

from examples.demo.collector import Collector

CANARY = "canary-5b1f"
PROTOBUF = {"Content-Type": "application/x-protobuf"}


class Program:
    """A tracer provider of its own, never the global one, that exports to a collector."""

    def __init__(self, collector: Collector, compression: Compression = Compression.NoCompression) -> None:
        exporter = OTLPSpanExporter(endpoint=f"{collector.endpoint}/v1/traces", compression=compression, timeout=5)
        resource = Resource({"service.name": "program", "service.instance.id": "one"})
        self.provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self.provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=10))

    @property
    def tracer(self) -> Tracer:
        return self.provider.get_tracer("test")


@pytest.fixture
def programs() -> Iterator[list[Program]]:
    started: list[Program] = []
    yield started
    for program in started:
        program.provider.shutdown()


async def test_span_arrives_whole(programs: list[Program]) -> None:
    """Everything a span says is there: ids, kind, times, attributes, status, events, links, resource."""
    async with Collector() as collector:
        programs.append(Program(collector))
        tracer = programs[0].tracer
        with tracer.start_as_current_span("parent") as parent:
            link = Link(parent.get_span_context())
            attributes: dict[str, AnyValue] = {"text": "t", "number": 7, "part": 0.5, "yes": True, "list": ["a", "b"]}
            with tracer.start_as_current_span(
                "child", kind=SpanKind.CLIENT, attributes=attributes, links=[link]
            ) as own:
                own.add_event("moved", {"cause": "timeout"})
                own.set_status(Status(StatusCode.ERROR, "one line"))
        spans = {span.name: span for span in await collector.wait_for(lambda spans: len(spans) == 2)}
    context = parent.get_span_context()
    child = spans["child"]
    assert child.trace_id == spans["parent"].trace_id == format_trace_id(context.trace_id)
    assert child.parent_id == spans["parent"].span_id == format_span_id(context.span_id)
    assert spans["parent"].parent_id is None
    assert (child.kind, spans["parent"].kind) == ("client", "internal")
    assert (child.status, child.status_message, spans["parent"].status) == ("error", "one line", "unset")
    assert child.attributes == attributes
    assert [(event.name, event.attributes) for event in child.events] == [("moved", {"cause": "timeout"})]
    assert child.links == ((spans["parent"].trace_id, spans["parent"].span_id),)
    assert child.service == "program"
    assert child.resource == {"service.name": "program", "service.instance.id": "one"}
    assert spans["parent"].start_ns <= child.start_ns <= child.end_ns <= spans["parent"].end_ns
    assert child.duration_s == (child.end_ns - child.start_ns) / 1e9


@pytest.mark.parametrize("compression", list(Compression))
async def test_bodies_can_be_searched(compression: Compression, programs: list[Program]) -> None:
    """What is kept is decompressed, so that a text in any attribute is found in the bytes."""
    async with Collector() as collector:
        programs.append(Program(collector, compression))
        programs[0].tracer.start_span("a span", attributes={"text": CANARY}).end()
        await collector.wait_for(len)
    assert any(CANARY.encode() in body for body in collector.bodies)


async def test_other_signals_are_kept() -> None:
    """Metrics and logs are accepted and kept as bytes, and give no spans."""
    async with Collector() as collector, aiohttp.ClientSession(headers=PROTOBUF) as http:
        for signal in ("metrics", "logs"):
            async with http.post(f"{collector.endpoint}/v1/{signal}", data=signal.encode()) as response:
                assert response.status == 200
    assert (collector.bodies, collector.spans) == ([b"metrics", b"logs"], [])


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [("application/x-protobuf", b"\xff no protobuf", 400), ("application/json", b"{}", 415)],
)
async def test_refused(content_type: str, body: bytes, status: int) -> None:
    """What cannot be read is refused, and the collector goes on."""
    async with Collector() as collector, aiohttp.ClientSession() as http:
        for _ in range(2):
            url = f"{collector.endpoint}/v1/traces"
            async with http.post(url, data=body, headers={"Content-Type": content_type}) as response:
                assert response.status == status
    assert collector.spans == []


async def test_wait_says_what_is_there(programs: list[Program]) -> None:
    """A wait that is in vain names the spans that did come."""
    async with Collector() as collector:
        programs.append(Program(collector))
        programs[0].tracer.start_span("the only one").end()
        await collector.wait_for(len)
        with pytest.raises(TimeoutError, match="the only one"):
            await collector.wait_for(lambda spans: len(spans) == 2, seconds=0.01)


async def test_listens_on_loopback() -> None:
    """The collector is reachable from this machine alone."""
    async with Collector() as collector:
        assert collector.endpoint.startswith("http://127.0.0.1:")
