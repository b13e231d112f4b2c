"""What a process holds at a moment, and by how much that grows with the requests it has served."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from responder.processes import descendants_of, resident_bytes

# Beyond so many errors of itself a growth is none by chance.
_ERRORS = 2
_POINTS_MIN = 3


@dataclass(frozen=True)
class Footprint:
    """What one process holds.

    Attributes:
        memory_bytes: Its resident memory, shared pages included.
        descriptors: How many it has open.
        threads: How many it has.
        descendants: How many processes are below it.
    """

    memory_bytes: int
    descriptors: int
    threads: int
    descendants: int

    @classmethod
    def of(cls, pid: int) -> "Footprint":
        """Look at a process that runs."""
        proc = Path("/proc") / str(pid)
        return cls(
            memory_bytes=resident_bytes(pid),
            descriptors=len(os.listdir(proc / "fd")),  # noqa: PTH208 # names
            threads=len(os.listdir(proc / "task")),  # noqa: PTH208 # the same
            descendants=len(descendants_of(pid)),
        )


class Sample(NamedTuple):
    """Both sides at a moment in which nothing is in flight.

    Attributes:
        requests: How many have been answered by then.
        seconds: Since the first of them.
        responder: What the responder holds.
        requester: What the requester holds.
    """

    requests: int
    seconds: float
    responder: Footprint
    requester: Footprint


@dataclass(frozen=True)
class Quantity:
    """What is looked at.

    Attributes:
        name: With its unit.
        of: Gives it.
        tolerated: Growth in 1,000 requests that is none: what an allocator and the counts of a moment do anyway.
    """

    name: str
    of: Callable[[Sample], float]
    tolerated: float


@dataclass(frozen=True)
class Growth:
    """How a quantity grows, by least squares.

    Attributes:
        per_1000: In 1,000 requests.
        error: Standard error of that.
    """

    per_1000: float
    error: float

    @classmethod
    def along(cls, points: Sequence[tuple[float, float]]) -> "Growth | None":
        """Lay a line through points of requests and a quantity; None where there are too few."""
        if len(points) < _POINTS_MIN:
            return None
        middle, height = fmean(x for x, _ in points), fmean(y for _, y in points)
        width = sum((x - middle) ** 2 for x, _ in points)
        slope = sum((x - middle) * (y - height) for x, y in points) / width
        off_the_line = sum((y - height - slope * (x - middle)) ** 2 for x, y in points)
        error = (off_the_line / (len(points) - 2) / width) ** 0.5
        return cls(1000 * slope, 1000 * error)

    def verdict(self, tolerated: float) -> str:
        """Say whether it grows, as far as that can be told from the points."""
        return "grows" if self.per_1000 - _ERRORS * self.error > tolerated else "steady"
