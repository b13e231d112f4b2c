"""When a CLI may be started ahead again with arguments with which one was of no use."""

import logging
from dataclasses import dataclass, field

from responder.standby_arguments import Mold

_FIRST_S = 5.0
_MAX_S = 600.0

_log = logging.getLogger(__name__)


@dataclass
class Pause:
    """Until when, in loop time, and for how many seconds."""

    until: float
    seconds: float


@dataclass
class Pauses:
    """Counts the pauses: each is twice as long as the one before.

    Attributes:
        by_mold: Those of late.
    """

    by_mold: dict[Mold, Pause] = field(default_factory=dict)

    def begin(self, mold: Mold, now: float) -> None:
        """Start none for a while, from a loop time in seconds on; several that fail at once do so for one reason."""
        before = self.by_mold.get(mold)
        if before is not None and now < before.until:
            return
        seconds = _FIRST_S if before is None else min(_MAX_S, 2 * before.seconds)
        self.by_mold[mold] = Pause(now + seconds, seconds)
        _log.warning("a CLI started ahead failed, or grew too large, unused; none is started for %.0f s", seconds)

    def is_on(self, mold: Mold, now: float) -> bool:
        """Say whether none is to be started now."""
        return mold in self.by_mold and now < self.by_mold[mold].until

    def end(self, mold: Mold) -> None:
        """Note that one was of use."""
        self.by_mold.pop(mold, None)

    def forget(self, now: float) -> None:
        """Drop what was long ago."""
        self.by_mold = {mold: pause for mold, pause in self.by_mold.items() if now < pause.until + _MAX_S}
