"""How fast slots come back, and when those who are refused may find a place.

Whoever is refused is told a time of his own: as if all who were refused stood in one line, of which one gets in
whenever a slot comes back. Told the same time, they would all come back at once, to be refused again while slots stand
idle in between. Who comes back in time and is refused all the same is not sent to the end of the line.
"""

import heapq

_SMOOTHING = 0.2
_FIRST_HOLD_S = 1.0
_PAUSE_MIN_S = 0.1
_PAUSE_MAX_S = 30.0
# A place that stays empty costs more than a refusal: the line is told to be this part of its length.
_EARLY_PART = 0.8
# So long after his time somebody may still come back for his place.
_LATE_S = 5.0
_LINE_MAX = 10_000


class Turnover:
    """Counts, for a number of slots.

    Args:
        count: How many slots there are.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._hold_s = _FIRST_HOLD_S
        self._promised: list[float] = []
        self._end = 0.0

    def end(self, held_s: float) -> None:
        """Count a slot that was given back, after the seconds it was held."""
        self._hold_s += _SMOOTHING * (held_s - self._hold_s)

    def retry_after_ms(self, now: float) -> int:
        """Promise a place in the line; gives when that is to be, in milliseconds from now."""
        step_s = _EARLY_PART * self._hold_s / self._count
        if self._is_back(now):
            due = now + step_s
        else:
            self._end = max(now, self._end) + step_s
            if self._end > now + _PAUSE_MAX_S:
                # Those beyond the end do not come back in one moment either.
                self._end = now + min(max(step_s, _PAUSE_MAX_S / 2), _PAUSE_MAX_S)
            due = self._end
        due = min(max(due, now + _PAUSE_MIN_S), now + _PAUSE_MAX_S)
        if len(self._promised) < _LINE_MAX:
            heapq.heappush(self._promised, due)
        return round(1000 * (due - now))

    def _is_back(self, now: float) -> bool:
        """Say whether somebody is expected now, who then is taken for the one who has come."""
        while self._promised and self._promised[0] < now - _LATE_S:
            heapq.heappop(self._promised)
        is_back = bool(self._promised) and self._promised[0] <= now
        if is_back:
            heapq.heappop(self._promised)
        return is_back
