"""What one responder has done since it was started."""

from dataclasses import dataclass
from datetime import UTC, datetime

from contract import ErrorCode, ExecuteFailure, ExecuteReply


@dataclass
class Statistics:
    """Counts of one responder.

    Attributes:
        started: When it was started.
        requests: How many requests it has answered.
        errors: How many of them with a failure.
        expired: How many of these because the deadline had passed before anything was started.
        handed_on: How many requests a peer with a free slot has taken over.
        stolen: How many it has taken over itself.
        processing_ns: Time from arrival to reply, of all of them together, in nanoseconds.
        last_error: Code of the last failure.
    """

    started: datetime
    requests: int = 0
    errors: int = 0
    expired: int = 0
    handed_on: int = 0
    stolen: int = 0
    processing_ns: int = 0
    last_error: str = ""

    def count(self, reply: ExecuteReply, seconds: float) -> None:
        """Note an answer and how long it took."""
        self.requests += 1
        self.processing_ns += round(seconds * 1e9)
        if isinstance(reply, ExecuteFailure):
            self.errors += 1
            self.expired += reply.code == ErrorCode.TIMEOUT and not reply.executed
            self.last_error = reply.code

    def uptime_s(self) -> float:
        """Give the seconds since the start."""
        return (datetime.now(UTC) - self.started).total_seconds()
