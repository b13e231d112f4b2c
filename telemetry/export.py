"""The SDK's tracer provider with an OTLP exporter behind it. The one module that imports the SDK and the exporter."""

from collections.abc import Mapping

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from telemetry.log import quieten_sdk
from telemetry.settings import TelemetryError

EXPORT_TIMEOUT_S = 2.0
# Requests are few and long: a trace is worth seeing half a second after its request, not the SDK's five.
BATCH_DELAY_MS = 500.0


def tracer_provider(endpoint: str, environ: Mapping[str, str], resource: Mapping[str, str]) -> TracerProvider:
    """Build the provider and start its export thread.

    Args:
        endpoint: URL that spans are posted to.
        environ: Where an operator may have set a timeout or a batch delay of his own.
        resource: What every span carries.

    Returns:
        A provider that is not set globally and is not flushed at exit: the caller does both.

    Raises:
        TelemetryError: A variable of the SDK has a value it refuses.
    """
    quieten_sdk()
    try:
        exporter = OTLPSpanExporter(endpoint=endpoint, timeout=_unless_set(environ, EXPORT_TIMEOUT_S, *_TIMEOUTS))
        processor = BatchSpanProcessor(
            exporter, schedule_delay_millis=_unless_set(environ, BATCH_DELAY_MS, "OTEL_BSP_SCHEDULE_DELAY")
        )
    except ValueError as error:
        raise TelemetryError(f"an OTEL_BSP_* or OTEL_EXPORTER_* variable is wrong: {error}") from error
    # shutdown_on_exit would flush once more at exit, unbounded: measured, 7-10 s with a dead or hung collector.
    provider = TracerProvider(resource=Resource.create(dict(resource)), shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return provider


_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")


def _unless_set(environ: Mapping[str, str], ours: float, *names: str) -> float | None:
    """Give our value, or None where the operator has set one: the SDK then reads it itself."""
    return None if any(environ.get(name) for name in names) else ours
