"""Whether a failed attempt is followed by another, and after which pause. Pure: no clock, no randomness of its own."""

from collections.abc import Callable
from dataclasses import dataclass

from contract import Failover
from requester.errors import (
    CLINotFoundError,
    CLIStartError,
    RateLimitedError,
    RequesterError,
    ResponderLostError,
    StoppingError,
    UnavailableError,
    UnclaimedError,
    UnfitError,
)

# 2 to this power times any first pause is beyond every maximum; a higher one overflows a float some day.
_DOUBLINGS_MAX = 32
# So often a request moves on without a pause. Where it is let go again and again, as by a responder whose instance NATS
# lets nobody reach, it would go round as fast as the wire allows (measured: 2,300 attempts a second).
_AT_ONCE_MAX = 8


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


def is_moved(error: RequesterError) -> bool:
    """Say whether the request found a responder that had to let it go: nothing ran, and another may take it at once."""
    is_let_go = isinstance(error, ResponderLostError | StoppingError | UnclaimedError | UnfitError)
    return is_let_go and error.executed is False


def is_tried_again(error: RequesterError, failover: Failover = Failover.UNSTARTED) -> bool:
    """Say whether the same request may be sent once more: surely nothing ran, or the caller takes that risk."""
    if isinstance(error, ResponderLostError) and failover is Failover.ALWAYS:
        return True
    if isinstance(error, CLINotFoundError | CLIStartError):
        # That responder leaves its queue group for it; another may have a CLI.
        return error.executed is False
    is_untaken = isinstance(error, UnavailableError | ResponderLostError | RateLimitedError)
    return is_untaken and error.retryable and error.executed is False


def decide(  # noqa: PLR0913 # what there is to be weighed
    error: RequesterError,
    *,
    attempt: int,
    remaining_s: float,
    backoff: Backoff,
    random: Callable[[], float],
    failover: Failover = Failover.UNSTARTED,
    is_throttled: bool = False,
) -> float | None:
    """Decide what follows a failed attempt.

    The pause is random between nothing and its bound (full jitter), so that requesters refused together do not come
    back together; where the responder asked for a pause of its own, the random one is added to it. What a responder
    had to let go moves on without a pause the first times, and so does what is sent again after its responder was lost.

    Args:
        error: How the attempt failed.
        attempt: Its number, the first is 1.
        remaining_s: Seconds until the deadline.
        backoff: The bounds of the pauses.
        random: Gives a number in [0, 1).
        failover: Which requests move when their responder is lost.
        is_throttled: Whether most attempts are refused: where the responder has not said when to come again, the pause
            is then the longest there is, and a random one.

    Returns:
        Seconds to sleep before the next attempt; None to give up, because another attempt would be wrong or would
        begin after the deadline.
    """
    if not is_tried_again(error, failover):
        return None
    if is_moved(error) or isinstance(error, ResponderLostError):
        pause_s = random() * backoff.bound_s(attempt - _AT_ONCE_MAX) if attempt > _AT_ONCE_MAX else 0.0
    else:
        pause_s = random() * backoff.bound_s(attempt) + (error.retry_after_s or 0.0)
        pause_s += backoff.max_s if is_throttled and error.retry_after_s is None else 0.0
    return pause_s if pause_s < remaining_s else None
