"""The bounded flush."""

import logging
import threading
import time

import pytest

from telemetry.flush import BoundedFlush

# Generous: only so that a defect fails instead of hanging.
GUARD_S = 5.0


def test_flush_runs_once() -> None:
    """However often it is called, the flush itself runs once, and is over when the call returns."""
    calls: list[str] = []
    flush = BoundedFlush(lambda: calls.append("flushed"))
    flush()
    flush()
    assert calls == ["flushed"]


def test_hung_flush_is_left(caplog: pytest.LogCaptureFixture) -> None:
    """A flush that hangs is left behind at the bound, with a warning, and later calls do not wait again."""
    release = threading.Event()
    flush = BoundedFlush(lambda: release.wait(GUARD_S), bound_s=0.05)
    started = time.monotonic()
    flush()
    flush()
    assert time.monotonic() - started < GUARD_S / 2
    assert "not flushed within 0.05 s" in caplog.text
    release.set()


def test_second_call_waits_too() -> None:
    """A call that finds the flush running waits for it, up to the same bound."""
    release, is_running = threading.Event(), threading.Event()

    def hang() -> None:
        is_running.set()
        release.wait(GUARD_S)

    flush = BoundedFlush(hang, bound_s=0.3)
    first = threading.Thread(target=flush)
    started = time.monotonic()
    first.start()
    assert is_running.wait(GUARD_S)
    flush()
    assert 0.3 <= time.monotonic() - started < GUARD_S / 2
    first.join(GUARD_S)
    release.set()


def test_failing_flush_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """A flush that raises is a warning without a traceback: a program's end must not fail because of it."""

    def fail() -> None:
        raise ValueError("a defect of an exporter")

    with caplog.at_level(logging.INFO):
        BoundedFlush(fail)()
    assert "traces were not flushed" in caplog.text
    assert "Traceback" not in caplog.text
