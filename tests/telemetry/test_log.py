"""What an operator sees of the SDK's complaints."""

import logging

import pytest

from telemetry.log import REPEAT_AFTER_S, OneLineHandler, quieten_sdk

COMPLAINT = "Transient error %s"


@pytest.fixture
def handler() -> OneLineHandler:
    return OneLineHandler(logging.getLogger("telemetry"))


def complaint(created: float, level: int = logging.WARNING) -> logging.LogRecord:
    error = ValueError("x")
    record = logging.LogRecord(
        "opentelemetry.sdk", level, __file__, 1, COMPLAINT, ("first line\nsecond line",), (ValueError, error, None)
    )
    record.created = created
    return record


def test_one_line_without_traceback(handler: OneLineHandler, caplog: pytest.LogCaptureFixture) -> None:
    """A complaint with a traceback and several lines becomes one line."""
    handler.handle(complaint(1000.0, logging.ERROR))
    assert [(record.levelname, record.getMessage(), record.exc_info) for record in caplog.records] == [
        ("ERROR", "OpenTelemetry: Transient error first line", None)
    ]


def test_once_a_minute(handler: OneLineHandler, caplog: pytest.LogCaptureFixture) -> None:
    """The same complaint is passed on again only after a minute."""
    for created in (1000.0, 1000.5, 999.0 + REPEAT_AFTER_S, 1000.0 + REPEAT_AFTER_S):
        handler.handle(complaint(created))
    assert len(caplog.records) == 2


def test_quieten_twice() -> None:
    """A second call adds no second handler, and nothing goes past the handler to the console."""
    sdk = logging.getLogger("opentelemetry")
    handlers, propagate = list(sdk.handlers), sdk.propagate
    try:
        quieten_sdk()
        quieten_sdk()
        assert sum(isinstance(handler, OneLineHandler) for handler in sdk.handlers) == 1
        assert sdk.propagate is False
    finally:
        sdk.handlers[:], sdk.propagate = handlers, propagate
