"""A program that exports one span and says how its end went; run as a process, because a provider is set only once.

`python -m tests.telemetry.program [without-exporter|with-provider|without-flush]` prints one JSON object; a
TelemetryError goes to stderr, with status 1.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable

from opentelemetry import trace

from telemetry import TelemetryError, configure


def main(arguments: list[str]) -> None:
    if "without-exporter" in arguments:
        # What Python does for a module that is not installed. The annotation in typeshed does not know of it.
        sys.modules["opentelemetry.exporter.otlp.proto.http.trace_exporter"] = None  # type: ignore[assignment]
    if "with-provider" in arguments:
        from opentelemetry.sdk.trace import TracerProvider

        trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
    try:
        flush = configure("the-service", environ=os.environ, attributes={"service.instance.id": "one", "given": "yes"})
    except TelemetryError as error:
        sys.exit(str(error))
    with trace.get_tracer("test").start_as_current_span("a span"):
        pass
    if "without-flush" in arguments:
        return
    threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    print(json.dumps({"threads": threads, "flush_s": _seconds(flush), "second_flush_s": _seconds(flush)}))  # noqa: T201 - read by the test


def _seconds(flush: Callable[[], None]) -> float:
    started = time.monotonic()
    flush()
    return time.monotonic() - started


if __name__ == "__main__":
    main(sys.argv[1:])
