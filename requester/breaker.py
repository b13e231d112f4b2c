"""The circuit breaker: stops asking for a while when most requests fail. Pure: the clock is an argument.

    closed ── half of at least ten requests within a minute failed ──▶ open
    open ── thirty seconds later ──▶ half-open: one request is let through to try, the others are refused
    half-open ── the trial succeeds ──▶ closed      ── it fails ──▶ open

The Python libraries for it let everybody through while half-open, or know no asyncio; hence this one.
"""

import collections
from dataclasses import dataclass, field
from enum import Enum, StrEnum

from requester.errors import LimitReachedError, NotPermittedError, RequesterError, RequestRefusedError


class CircuitState(StrEnum):
    """Whether requests are let through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Passage(Enum):
    """How a request was let through."""

    REGULAR = "regular"
    TRIAL = "trial"


@dataclass(frozen=True)
class BreakerLimits:
    """When the circuit opens and closes.

    Attributes:
        error_ratio: The share of failed requests that opens it, above 0 and at most 1.
        min_requests: How many requests there must be before any share counts.
        window_s: Seconds after which a request counts no more.
        open_s: Seconds it stays open before one request is let through.
    """

    error_ratio: float = 0.5
    min_requests: int = 10
    window_s: float = 60.0
    open_s: float = 30.0


@dataclass
class CircuitBreaker:
    """Counts how requests end and says whether the next one is let through.

    Attributes:
        limits: When it opens and closes.
        state: Whether requests are let through.
    """

    limits: BreakerLimits
    state: CircuitState = CircuitState.CLOSED
    _ended: collections.deque[tuple[float, bool]] = field(default_factory=collections.deque, repr=False)
    _failures: int = field(default=0, repr=False)
    _opened_at: float = field(default=0.0, repr=False)

    def admit(self, now: float) -> Passage | float:
        """Let a request through, or say when to come again.

        Args:
            now: Loop time, in seconds.

        Returns:
            `REGULAR` or `TRIAL` when it is let through, for `settle`; else seconds until another may be.
        """
        if self.state is CircuitState.CLOSED:
            return Passage.REGULAR
        left_s = self._opened_at + self.limits.open_s - now
        if self.state is CircuitState.OPEN and left_s <= 0:
            self.state = CircuitState.HALF_OPEN
            return Passage.TRIAL
        return max(left_s, 0.0)

    def settle(self, passage: Passage, now: float, *, is_failure: bool | None) -> None:
        """Note how a request that was let through has ended.

        Args:
            passage: What `admit` gave it; a regular one that ends when the circuit is no longer closed counts not.
            now: Loop time, in seconds.
            is_failure: None when it says nothing about the service: refused for what it asks, or cancelled.
        """
        if passage is Passage.TRIAL:
            self._settle_trial(now, is_failure=is_failure)
        elif self.state is CircuitState.CLOSED and is_failure is not None:
            self._ended.append((now, is_failure))
            self._failures += is_failure
            while self._ended[0][0] <= now - self.limits.window_s:
                self._failures -= self._ended.popleft()[1]
            is_enough = len(self._ended) >= self.limits.min_requests
            if is_enough and self._failures / len(self._ended) >= self.limits.error_ratio:
                self._open(now)

    def _settle_trial(self, now: float, *, is_failure: bool | None) -> None:
        if is_failure is None:
            # It tried nothing: the next one is the trial.
            self.state = CircuitState.OPEN
        elif is_failure:
            self._open(now)
        else:
            self.state = CircuitState.CLOSED
            self._ended.clear()
            self._failures = 0

    def _open(self, now: float) -> None:
        self.state = CircuitState.OPEN
        self._opened_at = now


def is_service_failure(error: BaseException) -> bool | None:
    """Say whether an error speaks against the service; None when it is the caller's own, or a cancellation."""
    if not isinstance(error, RequesterError) or isinstance(
        error, RequestRefusedError | LimitReachedError | NotPermittedError
    ):
        return None
    return True
