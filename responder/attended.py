"""A caller that attends to its request: told when a slot is there, asked for its go, given the result until it has it.

What the state machine of `attempt.py` says is done here; `docs/protocol.md` has the exchange.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from contract import (
    HEADER_STREAM,
    PART_MAX_BYTES,
    Assembly,
    ErrorCode,
    Frame,
    FrameKind,
    Part,
    PartsError,
    RequestError,
    Whole,
    message_size,
    session_of,
    split,
)
from responder.attempt import Attempt, State
from responder.callers import CallerGoneError, Incoming, Outlet, Slot, UnclaimedError
from responder.execution import Audience
from responder.slots import WaitedTooLongError

T = TypeVar("T")

# The parts of a request come at once, after this and what it takes to send them nobody waits for them any more.
_PARTS_MAX_S = 5.0
_PARTS_BYTES_PER_S = 256 * 1024
_PART_HEADERS_BYTES = 1024
# Between two deliveries of the same result; more for what takes long to send.
_REPEAT_FIRST_S = 1.0
_REPEAT_MAX_S = 4.0
_REPEAT_BYTES_PER_S = 4 * 1024 * 1024
# How long a result is offered after the deadline, or after its requester has gone.
_OFFER_S = 30.0


@dataclass
class Instance:
    """This process, as its requesters know it.

    Attributes:
        id: Its ULID.
        responder: Its responder id.
        beat_s: Seconds between its beats.
        request_max_bytes: The largest request that may come in parts.
        inbox_prefix: What a reply subject begins with; a session that is no longer than it is anybody's.
        beats: How many beats there have been.
    """

    id: str
    responder: str
    beat_s: float
    request_max_bytes: int
    inbox_prefix: str = "_INBOX"
    beats: int = 0


@dataclass
class Signals:
    """What has been heard of an attempt, each at most once.

    Attributes:
        go: The requester's go has come in time.
        acked: Its word that it has the result has come, or it is not offered any more.
        abandoned: Nobody awaits the run any more.
        released: The responder lets go of it, with the error that says why.
    """

    go: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    acked: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    abandoned: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    released: asyncio.Future[Exception] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class AttendedCaller:
    """A requester that attends to one attempt.

    Args:
        incoming: The request.
        announced: What its parts add up to, where it comes in parts.
        outlet: Where frames leave.
        instance: This process.

    Attributes:
        is_handed_on: Whether another responder has its request.
    """

    def __init__(self, incoming: Incoming, announced: Part | None, outlet: Outlet, instance: Instance) -> None:
        self._incoming = incoming
        self._outlet = outlet
        self._instance = instance
        self._attempt = Attempt()
        self._signals = Signals()
        self._is_told = False
        self._expects_frames = False
        self._is_draining = False
        self._deadline = incoming.received_at
        self._announced = announced
        self._parts: asyncio.Queue[Part] | None = None
        self._outputs: asyncio.Queue[tuple[int, bytes]] | None = None
        self._wants_output = incoming.headers.get(HEADER_STREAM) == "1"
        self._streaming: asyncio.Task[None] | None = None
        self._reserved: contextlib.ExitStack | None = None
        self.is_handed_on = False

    def __repr__(self) -> str:
        return f"<AttendedCaller {self._attempt!r}>"

    @property
    def attempt(self) -> str:
        """Its name: the reply subject of the request."""
        return self._incoming.reply_subject

    @property
    def announced_bytes(self) -> int:
        """How large its request is, in bytes, where it comes in parts."""
        return 0 if self._announced is None else self._announced.whole.size

    @property
    def session(self) -> str:
        """The session of the attempt."""
        return session_of(self.attempt)

    @property
    def reply_max_bytes(self) -> int | None:
        """Any: what is too large for one message goes in parts."""
        return None

    @property
    def audience(self) -> Audience:
        """The requester follows the run, and its output where it wants to."""
        name = "" if self.session == self._instance.inbox_prefix else self.session
        return Audience(self._signals.abandoned, self._stream if self._wants_output else None, name)

    @property
    def message(self) -> Incoming | None:
        """Its request, unless that came in parts."""
        return self._incoming if self._announced is None else None

    def reserve(self, slot: contextlib.ExitStack | None) -> None:
        """Take note of a slot that is held for it; its requester has heard of it elsewhere, so it expects frames."""
        self._reserved = slot
        self._expects_frames = True

    def take_reserved(self, deadline: float) -> Slot | None:
        """Give the slot that was held for it before it came here, once."""
        self._deadline = deadline
        reserved, self._reserved = self._reserved, None
        return None if reserved is None else reserved.pop_all()

    def note_handed_on(self) -> None:
        """Another responder tells its requester from now on."""
        self.is_handed_on = True
        self._attempt.cancel()

    # What is heard of it.

    def go(self, now: float) -> None:
        """Take the requester's go."""
        if self._attempt.go(now):
            _settle(self._signals.go)

    def take_part(self, part: Part) -> None:
        """Take a part of the request, as long as parts are awaited."""
        if self._parts is not None:
            self._parts.put_nowait(part)

    def ack(self) -> None:
        """Take the requester's word that it has the result."""
        if self._attempt.ack():
            _settle(self._signals.acked)

    def cancel(self) -> None:
        """Take the requester's word that it does not want the result."""
        self._attempt.cancel()
        _settle(self._signals.abandoned)
        _settle(self._signals.acked)

    def abandon(self, now: float) -> None:
        """Take it that the requester has gone: its run is ended, and its result offered for a while, in case."""
        self._deadline = min(self._deadline, now)
        _settle(self._signals.abandoned)
        self._offer_no_more_in_vain()

    def drain(self) -> None:
        """Note that the responder stops: a result that its requester is not there to take is offered no more."""
        self._is_draining = True
        self._offer_no_more_in_vain()

    def let_go(self, error: Exception) -> None:
        """Let go of it if nothing was started; its request ends with the error."""
        if self._attempt.is_unstarted and not self._signals.released.done():
            self._signals.released.set_result(error)

    # What is done for it.

    async def body(self) -> bytes:
        """Give the request, once all of its parts are there."""
        if self._announced is None:
            return self._incoming.body
        size = self._announced.whole.size
        if size > self._instance.request_max_bytes:
            raise RequestError(
                ErrorCode.REQUEST_TOO_LARGE,
                f"request refused: it has {size} bytes, the limit is {self._instance.request_max_bytes}",
            )
        self._parts = asyncio.Queue()
        try:
            await self._tell(FrameKind.ACCEPTED)
            return await self._assembled(self._announced.whole, self._parts)
        except PartsError as error:
            raise RequestError(ErrorCode.INVALID_REQUEST, f"request refused: {error}") from None
        finally:
            self._parts = None

    async def hold(self, deadline: float) -> None:
        """Tell the requester that its request may have to wait."""
        self._deadline = deadline
        if not self._is_told:
            await self._tell(FrameKind.ACCEPTED)

    async def unless_over(self, awaited: Awaitable[T]) -> T:
        """Await something, as long as the requester attends."""
        return await self._unless_over(awaited)

    async def wait(self, slot: Awaitable[Slot], deadline: float, *, is_free: bool) -> Slot:
        """Wait for a slot; the requester is told that it has to wait."""
        self._deadline = deadline
        if is_free:
            return await slot
        taking = asyncio.ensure_future(slot)
        try:
            await asyncio.sleep(0)
            if not taking.done():
                await self.hold(deadline)
            return await self._unless_over(taking)
        except BaseException:
            await _release(taking)
            raise

    async def claim(self) -> None:
        """Tell the requester that a slot is held for it, and wait for its go."""
        if self._signals.abandoned.done():
            raise CallerGoneError
        if self._signals.released.done():
            raise self._signals.released.result()
        if self._attempt.ready(asyncio.get_running_loop().time()):
            await self._tell(FrameKind.READY)
        try:
            await self._unless_over(self._signals.go, self._go_window_s(), "the requester's go")
        except UnclaimedError:
            if self._deadline < self._attempt.go_by:
                raise WaitedTooLongError from None
            raise
        if self._signals.abandoned.done():
            raise CallerGoneError

    async def deliver(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Give the requester the result until it says that it has it, or nobody wants it any more."""
        if self._streaming is not None:
            self._streaming.cancel()
        if self._reserved is not None:
            self._reserved.close()
        if not self._attempt.end():
            return
        if (
            not (self._is_told or self._expects_frames)
            and message_size(dict(headers), body) <= self._outlet.max_payload
        ):
            # Nothing is lost with it: whoever hears nothing of its request asks another.
            await self._outlet.publish(self.attempt, body, headers)
            self._attempt.ack()
            return
        now = asyncio.get_running_loop().time
        frames = self._result_frames(body, headers)
        pause_s = _REPEAT_FIRST_S + len(body) / _REPEAT_BYTES_PER_S
        offered_at = now()
        while self._attempt.state is State.ENDED and now() < max(self._deadline, offered_at) + _OFFER_S:
            for frame in frames:
                await self._outlet.publish(self.attempt, frame.payload, {**headers, **frame.headers()})
            await asyncio.wait({self._signals.acked}, timeout=pause_s)
            if self._signals.acked.done():
                break
            pause_s = max(pause_s, min(2 * pause_s, _REPEAT_MAX_S))
        self._attempt.cancel()

    def give_up(self) -> None:
        """Offer the result no more: there is no way to its requester."""
        _settle(self._signals.acked)
        self._attempt.cancel()

    def _offer_no_more_in_vain(self) -> None:
        """Offer the result once at most where the requester has gone and only it keeps the responder from ending."""
        if self._is_draining and self._signals.abandoned.done():
            _settle(self._signals.acked)

    def _result_frames(self, body: bytes, headers: Mapping[str, str]) -> list[Frame]:
        whole = Frame(FrameKind.RESULT, instance=self._instance.id, body=body)
        size, limit = message_size({**headers, **whole.headers()}, body), self._outlet.max_payload
        if size <= min(PART_MAX_BYTES, limit):
            return [whole]
        part_bytes = min(PART_MAX_BYTES, limit - (size - len(body)) - _PART_HEADERS_BYTES)
        return [Frame(FrameKind.RESULT, instance=self._instance.id, part=part) for part in split(body, part_bytes)]

    async def _assembled(self, whole: Whole, parts: asyncio.Queue[Part]) -> bytes:
        now = asyncio.get_running_loop().time
        until = now() + _PARTS_MAX_S + whole.size / _PARTS_BYTES_PER_S
        assembly = Assembly(self._instance.request_max_bytes)
        body: bytes | None = None
        while body is None:
            part = await self._unless_over(parts.get(), max(0.0, until - now()), "a part of the request")
            if part.whole != whole:
                raise PartsError("a part is not of what was announced")
            body = assembly.add(part)
        return body

    async def _tell(self, kind: FrameKind) -> None:
        self._is_told = True
        frame = Frame(
            kind,
            instance=self._instance.id,
            responder=self._instance.responder,
            beat=self._instance.beats,
            beat_ms=round(self._instance.beat_s * 1000),
        )
        await self._outlet.publish(self.attempt, b"", frame.headers())

    def _go_window_s(self) -> float:
        return max(0.0, min(self._attempt.go_by, self._deadline) - asyncio.get_running_loop().time())

    async def _unless_over(self, awaited: Awaitable[T], seconds: float | None = None, what: str = "") -> T:
        """Await something that may come too late, or for nobody."""
        signals = self._signals
        waiting = asyncio.ensure_future(awaited)
        ends: set[asyncio.Future[Any]] = {waiting, signals.abandoned, signals.released}
        try:
            await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            waiting.cancel()
            raise
        if waiting.done():
            return waiting.result()
        if waiting is not signals.go:
            waiting.cancel()
        if signals.abandoned.done():
            raise CallerGoneError
        if signals.released.done():
            raise signals.released.result()
        raise UnclaimedError(f"{what} did not come in time")

    def _stream(self, offset: int, lines: bytes) -> None:
        if self._outputs is None:
            self._outputs = asyncio.Queue()
            self._streaming = asyncio.create_task(self._send_outputs(self._outputs))
        self._outputs.put_nowait((offset, lines))

    async def _send_outputs(self, outputs: asyncio.Queue[tuple[int, bytes]]) -> None:
        limit = min(PART_MAX_BYTES, self._outlet.max_payload - _PART_HEADERS_BYTES)
        # nats-py may swallow the cancellation by which this ends.
        while self._attempt.state is State.STARTED:
            offset, lines = await outputs.get()
            for start in range(0, len(lines), limit):
                piece = lines[start : start + limit]
                frame = Frame(FrameKind.OUTPUT, instance=self._instance.id, offset=offset + start, body=piece)
                await self._outlet.publish(self.attempt, frame.payload, frame.headers())


async def _release(taking: asyncio.Future[Slot]) -> None:
    """Give a slot back that came although nobody waits for it any more."""
    taking.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        slot = await taking
        with slot:
            pass


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
