"""Whether the other side is alive, by what is heard of it. Pure: the caller tells the time, a loop time in seconds."""

from enum import StrEnum

# After our own connection was renewed the others may still be renewing theirs.
SETTLE_S = 3.0


class Verdict(StrEnum):
    """What is to be thought of the other side."""

    ALIVE = "alive"
    UNREACHABLE = "unreachable"
    LOST = "lost"


class Pulse:
    """What has been heard of the other side: an instance, or a session.

    Args:
        silence_max_s: Seconds of silence after which it is lost.
        gone_after_s: Seconds for which NATS must know nobody by its subject until it is lost.
        now: The time.
        settles_at: Until when a 503 says nothing.

    Attributes:
        verdict: What is to be thought of it.
    """

    def __init__(self, silence_max_s: float, gone_after_s: float, now: float, settles_at: float) -> None:
        self._silence_max_s = silence_max_s
        self._gone_after_s = gone_after_s
        self._silent_s = 0.0
        self._looked_at = now
        self._refused_since: float | None = None
        self._settles_at = settles_at
        self.verdict = Verdict.ALIVE

    def hear(self) -> None:
        """Note any sign of life."""
        self._silent_s = 0.0
        self._refused_since = None
        self.verdict = Verdict.ALIVE

    def refuse(self, now: float) -> None:
        """Note that NATS knows nobody by its subject."""
        if now < self._settles_at:
            return
        if self._refused_since is None:
            self._refused_since = now
        is_gone = now - self._refused_since >= self._gone_after_s
        self.verdict = Verdict.LOST if is_gone else Verdict.UNREACHABLE

    def look(self, now: float, step_max_s: float) -> None:
        """Let time pass; of a time in which this process itself stood still only a step counts."""
        self._silent_s += min(now - self._looked_at, step_max_s)
        self._looked_at = now
        if self._silent_s >= self._silence_max_s:
            self.verdict = Verdict.LOST

    def reconnect(self, now: float) -> None:
        """Note that our own connection was renewed: nothing that was not heard until now counts."""
        self.hear()
        self._looked_at = now
        self._settles_at = now + SETTLE_S
