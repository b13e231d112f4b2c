"""Turns on the export of traces for a program, from the standard OTEL_* variables.

Only entry points import this package. The libraries make their spans with the OpenTelemetry API, which does nothing
until `configure` has been called::

    flush = configure("claude-responder", environ=os.environ, attributes={"service.instance.id": responder_id})
    try:
        ...
    finally:
        flush()  # at most 3 s, whatever the collector does; from a coroutine: await asyncio.to_thread(flush)
"""

from telemetry.configuration import configure
from telemetry.settings import TelemetryError, traces_endpoint

__all__ = ["TelemetryError", "configure", "traces_endpoint"]
