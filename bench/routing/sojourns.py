"""Many times of one kind, and what is said about them. Pure."""

import math
from collections.abc import Iterable
from typing import Self


class Sojourns:
    """From when a request was due to be sent until its answer was there.

    Args:
        seconds: Of each request, in any order; at least one.
    """

    def __init__(self, seconds: Iterable[float]) -> None:
        self._sorted = sorted(seconds)
        if not self._sorted:
            raise ValueError("nothing was measured")

    @classmethod
    def joined(cls, parts: Iterable["Sojourns"]) -> Self:
        """Give the times of several together."""
        return cls(seconds for part in parts for seconds in part._sorted)  # noqa: SLF001 - its own class's

    def __len__(self) -> int:
        return len(self._sorted)

    @property
    def mean(self) -> float:
        """The mean, in seconds."""
        return math.fsum(self._sorted) / len(self._sorted)

    @property
    def longest(self) -> float:
        """The longest, in seconds."""
        return self._sorted[-1]

    def percentile(self, percent: float) -> float:
        """Give the smallest of the times that so many percent do not exceed (nearest rank), in seconds."""
        rank = math.ceil(round(percent / 100 * len(self._sorted), 6))
        return self._sorted[max(0, rank - 1)]
