"""What the stub API has seen: the last requests, and how many are and were under way."""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, eq=False)
class RecordedRequest:
    """One `POST /v1/messages`.

    Attributes:
        headers: Its headers, names in lower case; not in the repr, since a credential is among them.
        raw: Its body as it came.
        prompt: The last user prompt in it, as rules match it.
        started: Clock at which its headers had come, in seconds.
        status: The HTTP status it was answered with in full; None while it is in flight and when it never was.
        answer_s: Seconds from its headers to the last byte of the answer or the end of the connection; None while in
            flight. A scripted delay is part of it.
    """

    headers: dict[str, str] = field(repr=False)
    raw: bytes = field(repr=False)
    prompt: str = field(repr=False)
    started: float
    status: int | None = None
    answer_s: float | None = None

    @property
    def body(self) -> Any:
        """The body as JSON, parsed anew each time: a parsed body is several times its size."""
        return json.loads(self.raw)


@dataclass(frozen=True)
class Statistics:
    """A snapshot of the counts since the start.

    Attributes:
        received: Requests that have come, readable or not.
        answered: Requests that got an answer in full, errors included.
        broken_off: Requests whose connection ended before that.
        in_flight: Requests under way.
        peak_in_flight: The most requests that were under way at once.
        answer_total_s: Sum of `answer_s` over the ended requests.
        answer_max_s: The longest `answer_s`.
    """

    received: int = 0
    answered: int = 0
    broken_off: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    answer_total_s: float = 0.0
    answer_max_s: float = 0.0


class Recorder:
    """Counts requests and keeps the last ones.

    Args:
        clock: Gives seconds.
        keep_requests: How many requests are kept.
        keep_bytes: How many bytes of bodies are kept; the newest request always is, unless none shall be.
    """

    def __init__(self, clock: Callable[[], float], keep_requests: int, keep_bytes: int) -> None:
        self._clock = clock
        self._keep_requests = keep_requests
        self._keep_bytes = keep_bytes
        self._kept: deque[RecordedRequest] = deque()
        self._kept_bytes = 0
        self._received = self._answered = self._broken_off = self._peak = 0
        self._total_s = self._max_s = 0.0
        self._changed = asyncio.Event()

    @property
    def requests(self) -> tuple[RecordedRequest, ...]:
        """The kept requests, oldest first."""
        return tuple(self._kept)

    def begin(self, headers: dict[str, str], raw: bytes, prompt: str, started: float) -> RecordedRequest:
        """Take a request up."""
        request = RecordedRequest(headers=headers, raw=raw, prompt=prompt, started=started)
        self._kept.append(request)
        self._kept_bytes += len(raw)
        while len(self._kept) > self._keep_requests or (self._kept_bytes > self._keep_bytes and len(self._kept) > 1):
            self._kept_bytes -= len(self._kept.popleft().raw)
        self._received += 1
        self._peak = max(self._peak, self.statistics().in_flight)
        self._tell()
        return request

    def end(self, request: RecordedRequest, status: int | None) -> None:
        """Note a request's end; `status` is None when it was not answered in full."""
        request.status = status
        request.answer_s = self._clock() - request.started
        self._total_s += request.answer_s
        self._max_s = max(self._max_s, request.answer_s)
        if status is None:
            self._broken_off += 1
        else:
            self._answered += 1
        self._tell()

    def statistics(self) -> Statistics:
        """Give the counts as they are now."""
        return Statistics(
            received=self._received,
            answered=self._answered,
            broken_off=self._broken_off,
            in_flight=self._received - self._answered - self._broken_off,
            peak_in_flight=self._peak,
            answer_total_s=self._total_s,
            answer_max_s=self._max_s,
        )

    async def wait_until(self, is_reached: Callable[[Statistics], bool]) -> Statistics:
        """Wait until the counts fulfil a condition, and give them."""
        while not is_reached(seen := self.statistics()):
            await self._changed.wait()
        return seen

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
