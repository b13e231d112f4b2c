"""Cold starts, whose callers wait: while the cores have these to do, nothing is started ahead."""

import os
from collections import deque
from dataclasses import dataclass, field

_CORES = os.cpu_count() or 1
# On busy cores; a start that stands alone takes a quarter of it.
_START_S = 2.0
_POSTPONE_MAX_S = 5.0


@dataclass
class ColdStarts:
    """Counts them.

    20 requests at once on 4 slots take 7.5 s if what they use up is replaced meanwhile, which is what cold starts take.

    Attributes:
        latest: When the last ones began, in loop time: one for each core.
        postponed_at: Since when others are postponed because of them; None when none is.
    """

    latest: deque[float] = field(default_factory=lambda: deque(maxlen=_CORES))
    postponed_at: float | None = None

    def note(self, now: float) -> None:
        """Note that a CLI is started cold now, which takes a core for a while."""
        self.latest.append(now)

    def postpone(self, now: float) -> bool:
        """Say whether another start has to wait: each core has a young one. Not for ever: all would stay cold."""
        if len(self.latest) < _CORES or self.latest[0] < now - _START_S:
            return False
        if self.postponed_at is None:
            self.postponed_at = now
        return now - self.postponed_at < _POSTPONE_MAX_S

    def end(self) -> None:
        """Note that nothing is missing."""
        self.postponed_at = None
