"""What a responder counts."""

from datetime import UTC, datetime, timedelta

import pytest

from contract import ErrorCode, ExecuteFailure, ExecuteSuccess
from responder.statistics import Statistics

SUCCESS = ExecuteSuccess(id="i", result="", responder="r")


def failure(code: ErrorCode, *, executed: bool = False) -> ExecuteFailure:
    return ExecuteFailure(error="e", code=code, retryable=False, executed=executed, responder="r")


def test_answers_are_counted() -> None:
    """Every answer is a request, only failures are errors, and the last failure's code is kept."""
    statistics = Statistics(datetime.now(UTC))
    statistics.count(failure(ErrorCode.AUTH), 1)
    statistics.count(failure(ErrorCode.OVERLOADED), 0.5)
    statistics.count(SUCCESS, 0.000_000_25)
    assert (statistics.requests, statistics.errors, statistics.last_error) == (3, 2, "overloaded")
    assert statistics.processing_ns == 1_500_000_250


@pytest.mark.parametrize(
    ("code", "executed", "expired"),
    [(ErrorCode.TIMEOUT, False, 1), (ErrorCode.TIMEOUT, True, 0), (ErrorCode.OVERLOADED, False, 0)],
)
def test_what_expired_is_counted(code: ErrorCode, executed: bool, expired: int) -> None:
    """Expired is what was not started because its deadline had passed; a run that took too long is not."""
    statistics = Statistics(datetime.now(UTC))
    statistics.count(failure(code, executed=executed), 1)
    assert (statistics.expired, statistics.errors) == (expired, 1)


def test_uptime_counts_from_the_start() -> None:
    """The uptime is what has passed since the start, in seconds."""
    assert 3600 <= Statistics(datetime.now(UTC) - timedelta(hours=1)).uptime_s() < 3660
