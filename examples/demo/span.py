"""A finished span as a collector knows it: plain values, whatever program made it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """Something that happened at one moment of a span."""

    name: str
    time_ns: int
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Span:
    """One step of a trace.

    Attributes:
        trace_id: 32 hex digits.
        span_id: 16 hex digits.
        parent_id: 16 hex digits; None for the first span of a trace.
        name: Such as `process claude.cli.execute`.
        kind: `internal`, `server`, `client`, `producer`, `consumer` or `unspecified`.
        service: `service.name` of the program that made it.
        start_ns: Nanoseconds since the epoch, by that program's clock.
        end_ns: The same.
        attributes: The span's own.
        status: `unset`, `ok` or `error`.
        status_message: One line beside an error.
        events: In the order in which they happened.
        links: Trace id and span id of spans that belong together with it without being its parent.
        resource: The attributes of the program that made it.
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: str
    service: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Any]
    status: str = "unset"
    status_message: str = ""
    events: tuple[Event, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    resource: Mapping[str, Any] | None = None

    @property
    def is_error(self) -> bool:
        """Whether the step failed."""
        return self.status == "error"

    @property
    def duration_s(self) -> float:
        """How long it took, in seconds."""
        return (self.end_ns - self.start_ns) / 1e9
