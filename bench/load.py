"""Keeping so many calls in flight, and what their latencies were."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench.cpu import taken_s

Call = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Latencies:
    """What one way took.

    Attributes:
        seconds: Of each call.
        elapsed_s: Of all of them together.
        cpu_s: CPU seconds of all processes together.
    """

    seconds: tuple[float, ...]
    elapsed_s: float
    cpu_s: float

    @property
    def p50_ms(self) -> float:
        """The median, in milliseconds."""
        return 1000 * statistics.median(self.seconds)

    @property
    def p99_ms(self) -> float:
        """The 99th percentile, in milliseconds."""
        return 1000 * sorted(self.seconds)[min(len(self.seconds) - 1, int(len(self.seconds) * 0.99))]

    @property
    def per_s(self) -> float:
        """Calls in each second."""
        return len(self.seconds) / self.elapsed_s

    @property
    def cpu_ms(self) -> float:
        """CPU of each call in all processes, in milliseconds."""
        return 1000 * self.cpu_s / len(self.seconds)

    def __add__(self, other: "Latencies") -> "Latencies":
        return Latencies(self.seconds + other.seconds, self.elapsed_s + other.elapsed_s, self.cpu_s + other.cpu_s)


async def measure(call: Call, *, calls: int, in_flight: int) -> Latencies:
    """Make so many calls, so many at a time.

    Args:
        call: What is measured.
        calls: How often.
        in_flight: How many wait for their answer at any moment.
    """
    left = iter(range(calls))
    seconds: list[float] = []

    async def repeat() -> None:
        for _ in left:
            started = time.perf_counter()
            await call()
            seconds.append(time.perf_counter() - started)

    started, cpu_s = time.perf_counter(), taken_s()
    await asyncio.gather(*(repeat() for _ in range(in_flight)))
    return Latencies(tuple(seconds), time.perf_counter() - started, taken_s() - cpu_s)
