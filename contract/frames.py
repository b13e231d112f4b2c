"""The frames of the attended exchange: what travels in headers, written and read in one place.

`docs/protocol.md` has the exchange and its state tables.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from contract.parts import Part, Whole
from contract.request import Priority
from contract.subjects import is_plain_subject

ATTEND_VERSION = "1"
# How long a responder holds a slot for a requester that was told `ready`, in seconds.
GO_WINDOW_S = 2.0

HEADER_ATTEND = "Claude-Attend"
HEADER_STREAM = "Claude-Stream"
HEADER_FRAME = "Claude-Frame"
HEADER_ATTEMPT = "Claude-Attempt"
HEADER_INSTANCE = "Claude-Instance"
HEADER_RESPONDER = "Claude-Responder"
HEADER_BEAT = "Claude-Beat"
HEADER_BEAT_MS = "Claude-Beat-Ms"
HEADER_PART = "Claude-Part"
HEADER_SIZE = "Claude-Size"
HEADER_DIGEST = "Claude-Digest"
HEADER_OFFSET = "Claude-Offset"
HEADER_AGE_MS = "Claude-Age-Ms"
HEADER_TURN_MS = "Claude-Turn-Ms"
HEADER_PRIORITY = "Claude-Priority"
HEADER_LEASE = "Claude-Lease"
# NATS's own: the server says "503" in an empty message to the reply subject when nobody listens.
HEADER_STATUS = "Status"
NO_RESPONDERS = "503"

_NUMBER = re.compile(r"[0-9]{1,15}")
_PART = re.compile(r"([0-9]{1,6})/([1-9][0-9]{0,5})")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_ULID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class FrameKind(StrEnum):
    """What a frame says."""

    # To the requester.
    ACCEPTED = "accepted"
    READY = "ready"
    OUTPUT = "output"
    RESULT = "result"
    BEAT = "beat"
    # To the instance.
    GO = "go"
    BODY = "body"
    ACK = "ack"
    CANCEL = "cancel"
    PROBE = "probe"
    # Between responders.
    STEAL = "steal"
    WORK = "work"
    NONE = "none"


class FrameError(ValueError):
    """A message with frame headers that are not those of this protocol."""


@dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes:
        kind: What it says.
        attempt: The reply subject of the request it is about, on frames to the instance; the session of the next of
            whoever asks for what comes before it.
        instance: The instance that sent it; on frames to the requester.
        responder: That instance's responder id; on `accepted` and `ready`.
        beat: Number of a beat, the first is 1; on `accepted` and `ready` that of the last one before.
        beat_ms: Milliseconds between its beats; on `accepted` and `ready`.
        part: What it carries of a whole that is larger than one message.
        age_ms: Milliseconds since a request arrived: the one handed on, or the next of whoever asks for an older one.
        turn_ms: Milliseconds since that one's caller stands in line with it.
        priority: Its class.
        lease: Number, at its victim, of the handing-on of a plain request.
        offset: Where in the output the body belongs, in bytes; on `output`.
        body: Its payload.
    """

    kind: FrameKind
    attempt: str | None = None
    instance: str | None = None
    responder: str | None = None
    beat: int | None = None
    beat_ms: int | None = None
    age_ms: int | None = None
    turn_ms: int | None = None
    priority: Priority | None = None
    lease: int | None = None
    part: Part | None = None
    offset: int | None = None
    body: bytes = field(default=b"", repr=False)

    def headers(self) -> dict[str, str]:
        """Give the headers it travels with; the payload is `body`, or that of its part."""
        named = {
            HEADER_FRAME: self.kind,
            HEADER_ATTEMPT: self.attempt,
            HEADER_INSTANCE: self.instance,
            HEADER_RESPONDER: self.responder,
            HEADER_BEAT: self.beat,
            HEADER_BEAT_MS: self.beat_ms,
            HEADER_OFFSET: self.offset,
            HEADER_AGE_MS: self.age_ms,
            HEADER_TURN_MS: self.turn_ms,
            HEADER_PRIORITY: self.priority,
            HEADER_LEASE: self.lease,
        }
        headers = {name: str(value) for name, value in named.items() if value is not None}
        return headers | (part_headers(self.part) if self.part else {})

    @property
    def payload(self) -> bytes:
        """The bytes it travels with."""
        return self.part.body if self.part else self.body


def read_frame(headers: Mapping[str, str], body: bytes) -> Frame | None:
    """Read a frame; None for a message that is none.

    Raises:
        FrameError: It says that it is one and is not.
    """
    if HEADER_FRAME not in headers:
        return None
    try:
        kind = FrameKind(headers[HEADER_FRAME])
    except ValueError:
        raise FrameError("a frame of an unknown kind") from None
    attempt = headers.get(HEADER_ATTEMPT)
    if attempt is not None and not is_plain_subject(attempt):
        raise FrameError("a frame for what is no attempt")
    return Frame(
        kind,
        attempt=attempt,
        instance=_matching(headers, HEADER_INSTANCE, _ULID),
        responder=_matching(headers, HEADER_RESPONDER, _NAME),
        beat=_number(headers, HEADER_BEAT),
        beat_ms=_number(headers, HEADER_BEAT_MS),
        age_ms=_number(headers, HEADER_AGE_MS),
        turn_ms=_number(headers, HEADER_TURN_MS),
        priority=_priority(headers),
        lease=_number(headers, HEADER_LEASE),
        part=read_part(headers, body),
        offset=_number(headers, HEADER_OFFSET),
        body=body,
    )


def is_no_responders(headers: Mapping[str, str], body: bytes) -> bool:
    """Say whether a message is the server's word that nobody listens on the subject asked."""
    return headers.get(HEADER_STATUS) == NO_RESPONDERS and not body and HEADER_FRAME not in headers


def part_headers(part: Part) -> dict[str, str]:
    """Give the headers of a part."""
    whole = part.whole
    return {
        HEADER_PART: f"{part.number}/{whole.count}",
        HEADER_SIZE: str(whole.size),
        HEADER_DIGEST: whole.digest,
    }


def read_part(headers: Mapping[str, str], body: bytes) -> Part | None:
    """Read which part of what a message carries; None when it is a whole by itself.

    Raises:
        FrameError: The headers of a part are not those of this protocol.
    """
    if HEADER_PART not in headers:
        return None
    numbers = _PART.fullmatch(headers[HEADER_PART])
    size, digest = _number(headers, HEADER_SIZE), _matching(headers, HEADER_DIGEST, _DIGEST)
    if numbers is None or size is None or digest is None:
        raise FrameError("a part without its number, size or digest")
    return Part(int(numbers[1]), Whole(int(numbers[2]), size, digest), body)


def session_of(attempt: str) -> str:
    """Give the session of an attempt: all but the last token of its reply subject."""
    return attempt.rpartition(".")[0]


def token_of(attempt: str) -> str:
    """Give the last token of an attempt's reply subject, which names it within its session."""
    return attempt.rpartition(".")[2]


def _matching(headers: Mapping[str, str], name: str, pattern: re.Pattern[str]) -> str | None:
    value = headers.get(name)
    if value is not None and not pattern.fullmatch(value):
        raise FrameError(f"{name} is not what it should be")
    return value


def _priority(headers: Mapping[str, str]) -> Priority | None:
    value = headers.get(HEADER_PRIORITY)
    if value is not None and value not in set(Priority):
        raise FrameError(f"{HEADER_PRIORITY} is not what it should be")
    return None if value is None else Priority(value)


def _number(headers: Mapping[str, str], name: str) -> int | None:
    value = _matching(headers, name, _NUMBER)
    return None if value is None else int(value)
