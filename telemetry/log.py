"""Keeps the SDK's own complaints to one line now and then.

While a collector is away the SDK logs every failed batch, some of them with a traceback. An operator needs to read
that once.
"""

import logging

REPEAT_AFTER_S = 60.0
_LINE_MAX_CHARS = 300


class OneLineHandler(logging.Handler):
    """Passes a record on as one line, without its traceback, and the same complaint once a minute at most."""

    def __init__(self, target: logging.Logger) -> None:
        super().__init__(logging.WARNING)
        self._target = target
        self._last: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Log the record's first line to the target, unless the same was logged within the last minute."""
        complaint = str(record.msg)
        if record.created - self._last.get(complaint, 0.0) < REPEAT_AFTER_S:
            return
        self._last[complaint] = record.created
        line = record.getMessage().partition("\n")[0][:_LINE_MAX_CHARS]
        self._target.log(record.levelno, "OpenTelemetry: %s", line)


def quieten_sdk() -> None:
    """Send what the OpenTelemetry packages log through `OneLineHandler`; a second call changes nothing."""
    sdk = logging.getLogger("opentelemetry")
    if not any(isinstance(handler, OneLineHandler) for handler in sdk.handlers):
        sdk.addHandler(OneLineHandler(logging.getLogger("telemetry")))
    sdk.propagate = False
