"""Reads an OTLP trace export in its protobuf encoding. Pure: bytes in, spans out.

Source: https://opentelemetry.io/docs/specs/otlp/ and the .proto files in the package `opentelemetry-proto`.
"""

from collections.abc import Iterable
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from examples.demo.span import Event, Span


class OtlpError(ValueError):
    """The bytes are no trace export."""


def read_spans(body: bytes) -> list[Span]:
    """Read the spans of one export.

    Args:
        body: What was posted to `/v1/traces`, decompressed.

    Raises:
        OtlpError: The bytes are something else.
    """
    try:
        export = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise OtlpError("the body is not an ExportTraceServiceRequest") from error
    return [
        _span(span, _attributes(group.resource.attributes))
        for group in export.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


def _span(span: trace_pb2.Span, resource: dict[str, Any]) -> Span:
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex() or None,
        name=span.name,
        kind=_word(trace_pb2.Span.SpanKind.Name(span.kind)),
        service=str(resource.get("service.name", "")),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        status=_word(trace_pb2.Status.StatusCode.Name(span.status.code)),
        status_message=span.status.message,
        events=tuple(Event(event.name, event.time_unix_nano, _attributes(event.attributes)) for event in span.events),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        resource=resource,
    )


def _word(enum_name: str) -> str:
    """Turn `SPAN_KIND_SERVER` into `server`."""
    return enum_name.rpartition("_")[2].lower()


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return getattr(value, kind)
