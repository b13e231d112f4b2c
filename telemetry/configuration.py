"""The one call of an entry point: decides whether traces are exported and installs what exports them."""

from collections.abc import Callable, Mapping

from opentelemetry import trace

from telemetry.settings import TelemetryError, check_settings, resource_attributes, traces_endpoint


def configure(
    service_name: str, *, environ: Mapping[str, str], attributes: Mapping[str, str] | None = None
) -> Callable[[], None]:
    """Export this process's traces if the environment names an endpoint; do nothing otherwise.

    A tracer provider that somebody has set already (`opentelemetry-instrument`, or an earlier call) is left alone.

    Args:
        service_name: `service.name`, unless OTEL_SERVICE_NAME says otherwise.
        environ: The program's environment. Headers, compression, certificates, sampler and explicitly set timeouts
            are read by the SDK itself, from the process's own environment.
        attributes: More about this process, such as `service.instance.id`; without it the SDK makes one up.

    Returns:
        Sends what is buffered and ends the export. Blocks for at most 3 s, never raises, may be called again.

    Raises:
        TelemetryError: What the variables ask for cannot be had; one line for the operator.
    """
    endpoint = traces_endpoint(environ)
    if endpoint is None or not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return _nothing_to_flush
    check_settings(environ, endpoint)
    try:
        # The SDK and the exporter come with the extra, so they are imported where they are needed first.
        from telemetry.export import tracer_provider  # noqa: PLC0415
        from telemetry.flush import BoundedFlush  # noqa: PLC0415
    except ImportError as error:
        raise TelemetryError(
            "an OTLP endpoint is set but the exporter is not installed: pip install 'claude-nats[otlp]',"
            " or set OTEL_TRACES_EXPORTER=none"
        ) from error
    provider = tracer_provider(endpoint, environ, resource_attributes(environ, service_name, attributes or {}))
    trace.set_tracer_provider(provider)
    return BoundedFlush(provider.shutdown)


def _nothing_to_flush() -> None:
    """Return at once: nothing is exported."""
