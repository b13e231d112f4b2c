"""How long requests waited while a slot of the fleet was free, and how many ran at a time. Pure."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise


@dataclass(frozen=True)
class Span:
    """A stretch of time.

    Attributes:
        began_at: In seconds, on any clock.
        ended_at: The same.
    """

    began_at: float
    ended_at: float


def idle_while_waiting(waits: Sequence[Span], runs: Sequence[Span], slots: int) -> list[float]:
    """Give the seconds of each wait in which fewer requests ran than there are slots.

    Between two runs a slot is free for some milliseconds, however much waits for it: where all slots are busy most of
    the time, a long wait collects many of these.

    Args:
        waits: Of each request, from when it was sent until it ran.
        runs: Of all requests.
        slots: How many there are.
    """
    times, running = _running(runs)
    steps = (
        end - begin if count < slots else 0.0 for (begin, end), count in zip(pairwise(times), running, strict=False)
    )
    free = list(accumulate(steps, initial=0.0))

    def free_until(at: float) -> float:
        index = bisect.bisect_right(times, at) - 1
        if index < 0:  # before all runs: every slot is free
            return at - times[0]
        return free[index] + (at - times[index] if running[index] < slots else 0.0)

    return [max(0.0, free_until(wait.ended_at) - free_until(wait.began_at)) for wait in waits]


def most_running(runs: Sequence[Span]) -> int:
    """Give how many ran at a time at most."""
    return max(_running(runs)[1], default=0)


def _running(runs: Sequence[Span]) -> tuple[list[float], list[int]]:
    """Give the times at which a run began or ended, and how many ran from each of them on."""
    # At the same moment an end comes before a start.
    changes = sorted([(run.began_at, 1) for run in runs] + [(run.ended_at, -1) for run in runs])
    return [at for at, _ in changes], list(accumulate(change for _, change in changes))
