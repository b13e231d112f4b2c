"""A request that waits here, as it is handed to another responder."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from contract import (
    HEADER_ATTEND,
    HEADER_STREAM,
    HEADER_TRACEPARENT,
    HEADER_TRACESTATE,
    Frame,
    FrameError,
    FrameKind,
    message_size,
    read_frame,
    session_of,
)
from responder.callers import Incoming

_TRAVELS = (HEADER_ATTEND, HEADER_STREAM, HEADER_TRACEPARENT, HEADER_TRACESTATE)
# For the size of the message that is sent in the end.
_LONGEST_AGE_S = 86_400.0
_LARGEST_LEASE = 10**15 - 1


@dataclass(frozen=True)
class Work:
    """A request on its way from one responder to another.

    Attributes:
        attempt: Its reply subject.
        headers: Those of its headers that mean something.
        body: The request.
        arrived_at: Loop time, in seconds, at which it arrived, at whichever responder.
        victim: The instance it came from; empty for one that waits here.
        lease: The number under which that instance has it set aside, where it is plain.
    """

    attempt: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    arrived_at: float
    victim: str = ""
    lease: int | None = None

    @classmethod
    def of(cls, incoming: Incoming) -> "Work":
        """Give the work that a message asks for."""
        headers = {name: incoming.headers[name] for name in _TRAVELS if name in incoming.headers}
        return cls(incoming.reply_subject, headers, incoming.body, incoming.received_at)

    @property
    def session(self) -> str:
        """The connection that asks."""
        return session_of(self.attempt)

    @property
    def is_attended(self) -> bool:
        """Whether its requester decides by its go who runs it."""
        return HEADER_ATTEND in self.headers

    def message(self, instance: str, now: float, lease: int | None = None) -> tuple[dict[str, str], bytes]:
        """Give the message by which an instance hands it on, under a number of its own if need be."""
        age_ms = max(0, round((now - self.arrived_at) * 1000))
        frame = Frame(FrameKind.WORK, attempt=self.attempt, instance=instance, age_ms=age_ms, lease=lease)
        return {**self.headers, **frame.headers()}, self.body

    def fits(self, instance: str, max_payload: int) -> bool:
        """Say whether NATS carries it in one message."""
        headers, body = self.message(instance, self.arrived_at + _LONGEST_AGE_S, _LARGEST_LEASE)
        return message_size(headers, body) <= max_payload

    def incoming(self, subject: str) -> Incoming:
        """Give the message as if it had arrived here in the first place."""
        return Incoming(subject, self.attempt, self.headers, self.body, self.arrived_at)


def read_work(headers: Mapping[str, str], body: bytes, now: float) -> Work | None:
    """Read what a peer has handed on; None when it has nothing."""
    try:
        frame = read_frame(headers, body)
    except FrameError:
        return None
    if frame is None or frame.kind is not FrameKind.WORK or frame.attempt is None or frame.instance is None:
        return None
    travels = {name: headers[name] for name in _TRAVELS if name in headers}
    return Work(frame.attempt, travels, body, now - (frame.age_ms or 0) / 1000, frame.instance, frame.lease)
