"""What a piece of work costs: CPU microseconds, of this process and of those that it starts."""

import resource
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from statistics import median

# Does something so many times.
Work = Callable[[int], Awaitable[None]]
Clock = Callable[[], tuple[float, float]]
ROUNDS = 5
ROUND_S = 0.05


@dataclass(frozen=True)
class Cost:
    """Of doing something once.

    Attributes:
        own_us: In this process, in microseconds, all its threads together.
        started_us: In processes that were started for it and have ended.
    """

    own_us: float
    started_us: float = 0.0


def cpu_s() -> tuple[float, float]:
    """Give the CPU seconds that this process has taken, and those of its children that were waited for."""
    started = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time(), started.ru_utime + started.ru_stime


def often(once: Callable[[], object]) -> Work:
    """Make work of a plain call."""

    async def repeat(times: int) -> None:
        for _ in range(times):
            once()

    return repeat


async def cost_of(work: Work, rounds: int = ROUNDS, round_s: float = ROUND_S, clock: Clock = cpu_s) -> Cost:
    """Measure some work: the median of rounds, none of which is too short for the clock.

    Args:
        work: Is done again and again.
        rounds: How many are measured.
        round_s: CPU seconds that each takes at least.
        clock: Gives the CPU seconds of this process and of its children.
    """
    times = 1
    while sum(spent := await _spent_s(work, times, clock)) < round_s:
        times = max(2 * times, int(times * round_s / max(sum(spent), round_s / 100)))
    measured = [await _spent_s(work, times, clock) for _ in range(rounds)]
    own_s, started_s = (median(each[place] for each in measured) for place in (0, 1))
    return Cost(1e6 * own_s / times, 1e6 * started_s / times)


async def _spent_s(work: Work, times: int, clock: Clock) -> tuple[float, float]:
    before = clock()
    await work(times)
    after = clock()
    return after[0] - before[0], after[1] - before[1]
