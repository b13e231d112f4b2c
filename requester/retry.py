"""Whether a failed attempt is followed by another, and after which pause. Pure: no clock, no randomness of its own."""

from collections.abc import Callable
from dataclasses import dataclass

from requester.errors import RequesterError, UnavailableError

# 2 to this power times any first pause is beyond every maximum; a higher one overflows a float some day.
_DOUBLINGS_MAX = 32


@dataclass(frozen=True)
class Backoff:
    """How long the pauses between attempts are.

    Attributes:
        first_s: Upper bound of the first pause, in seconds; each further one is twice as high.
        max_s: Upper bound of every pause, in seconds.
    """

    first_s: float
    max_s: float

    def bound_s(self, attempt: int) -> float:
        """Give the upper bound of the pause after an attempt; the first attempt is 1."""
        return min(self.max_s, self.first_s * 2.0 ** min(attempt - 1, _DOUBLINGS_MAX))


def is_tried_again(error: RequesterError) -> bool:
    """Say whether the same request may be sent once more: nobody took it, and surely nothing ran."""
    return isinstance(error, UnavailableError) and error.retryable and error.executed is False


def decide(
    error: RequesterError, *, attempt: int, remaining_s: float, backoff: Backoff, random: Callable[[], float]
) -> float | None:
    """Decide what follows a failed attempt.

    The pause is random between nothing and its bound (full jitter), so that requesters refused together do not come
    back together; where the responder asked for a pause of its own, the random one is added to it.

    Args:
        error: How the attempt failed.
        attempt: Its number, the first is 1.
        remaining_s: Seconds until the deadline.
        backoff: The bounds of the pauses.
        random: Gives a number in [0, 1).

    Returns:
        Seconds to sleep before the next attempt; None to give up, because another attempt would be wrong or would
        begin after the deadline.
    """
    if not is_tried_again(error):
        return None
    pause_s = random() * backoff.bound_s(attempt) + (error.retry_after_s or 0.0)
    return pause_s if pause_s < remaining_s else None
