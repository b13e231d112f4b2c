"""How many processes are wanted ahead, and for which arguments: learned from the requests that come. Pure.

As many as came at most within two seconds, about what the start of one takes on a busy host, of late. What came only
once is not expected again.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from responder.standby_arguments import Mold

_STEP_S = 2.0
_WINDOW_S = 300.0
_MOLDS_MAX = 50


@dataclass
class _Arrivals:
    """Of one mold: the beginning of each step in which requests came, and how many."""

    steps: deque[tuple[float, int]] = field(default_factory=deque)
    last: float = 0.0

    def add(self, now: float) -> None:
        begin, count = self.steps.pop() if self.steps else (now, 0)
        if now - begin >= _STEP_S:
            self.steps.append((begin, count))
            begin, count = now, 0
        self.steps.append((begin, count + 1))
        self.last = now

    def forget(self, now: float) -> None:
        while self.steps and self.steps[0][0] < now - _WINDOW_S:
            self.steps.popleft()

    @property
    def total(self) -> int:
        return sum(count for _, count in self.steps)

    @property
    def peak(self) -> int:
        return max((count for _, count in self.steps), default=0)


class Demand:
    """Counts requests by what could have been started for them.

    Args:
        fixed: Those of which one is wanted always.
    """

    def __init__(self, fixed: Iterable[Mold] = ()) -> None:
        self._fixed = tuple(fixed)
        self._arrivals: dict[Mold, _Arrivals] = {}

    def note(self, mold: Mold, now: float) -> None:
        """Count a request."""
        if mold not in self._arrivals and len(self._arrivals) >= _MOLDS_MAX:
            del self._arrivals[min(self._arrivals, key=lambda known: self._arrivals[known].last)]
        self._arrivals.setdefault(mold, _Arrivals()).add(now)

    def wanted(self, now: float, count_max: int) -> dict[Mold, int]:
        """Give how many of each are wanted; where that is more than there may be, each gets its part in turns.

        Args:
            now: Loop time, in seconds.
            count_max: How many there may be in all.
        """
        peaks = dict.fromkeys(self._fixed, 1)
        for mold in list(self._arrivals):
            arrivals = self._arrivals[mold]
            arrivals.forget(now)
            if not arrivals.steps:
                del self._arrivals[mold]
            elif arrivals.total > 1:
                peaks[mold] = max(arrivals.peak, peaks.get(mold, 0))
        return _shared(peaks, sorted(peaks, key=self._total, reverse=True), count_max)

    def _total(self, mold: Mold) -> int:
        return self._arrivals[mold].total if mold in self._arrivals else 0


def _shared(peaks: dict[Mold, int], by_demand: list[Mold], count_max: int) -> dict[Mold, int]:
    wanted = dict.fromkeys(by_demand, 0)
    left = min(count_max, sum(peaks.values()))
    while left > 0:
        for mold in by_demand:
            if left > 0 and wanted[mold] < peaks[mold]:
                wanted[mold] += 1
                left -= 1
    return wanted
