"""The attempts that requesters attend to here, and the frames they send about them."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator

from contract import (
    ATTEND_VERSION,
    HEADER_ATTEND,
    ErrorCode,
    Frame,
    FrameError,
    FrameKind,
    Part,
    RequestError,
    has_inbox_prefix,
    read_frame,
    read_part,
    session_of,
)
from responder.attended import AttendedCaller, Instance
from responder.callers import Caller, Incoming, Outlet, PlainCaller
from responder.sessions import Sessions
from responder.slots import BacklogClosedError

# Seconds for which the name of an attempt is remembered after its end.
_REMEMBERED_S = 60.0

# Of all requests together that come in parts, from their announcement to their end.
_ANNOUNCED_MAX_BYTES = 512 * 1024 * 1024

_log = logging.getLogger(__name__)
# NATS ends a connection that sends a line of more than 4096 bytes (measured: the responder ended with it), and a beat's
# has the session three times: its subject and, in hex, where a 503 goes. A requester's own names have some 50.
_NAME_MAX_CHARS = 512


class Attendance:
    """Knows the attempts.

    Args:
        instance: This process.
        outlet: Where frames leave.
        sessions: Whose they are.
        inbox_prefix: What a reply subject must begin with.
        attempts_max: How many there may be at a time, results that are not acknowledged included.
    """

    def __init__(
        self, instance: Instance, outlet: Outlet, sessions: Sessions, inbox_prefix: str, attempts_max: int
    ) -> None:
        self._instance = instance
        self._outlet = outlet
        self._sessions = sessions
        self._inbox_prefix = inbox_prefix
        self._attempts_max = attempts_max
        self._callers: dict[str, AttendedCaller] = {}
        self._past: dict[str, float] = {}
        self._is_draining = False

    def __repr__(self) -> str:
        return f"<Attendance of {len(self._callers)} attempts>"

    def __len__(self) -> int:
        return len(self._callers)

    @contextlib.contextmanager
    def caller_of(self, incoming: Incoming) -> Iterator[Caller | None]:
        """Have the caller of a request within the block; None for a request that is here, or was here already.

        What says that nothing ran of an attempt may still be under way: held a second time it could be run after all.
        """
        is_inbox = has_inbox_prefix(incoming.reply_subject, self._inbox_prefix)
        if HEADER_ATTEND not in incoming.headers or not is_inbox:
            yield PlainCaller(incoming, self._outlet)
            return
        self._forget_past()
        if incoming.reply_subject in self._callers or incoming.reply_subject in self._past:
            yield None
            return
        try:
            caller = self._attended(incoming)
        except RequestError as error:
            yield PlainCaller(incoming, self._outlet, error)
            return
        self._callers[caller.attempt] = caller
        self._sessions.add(caller)
        if self._is_draining:
            caller.drain()
            caller.let_go(BacklogClosedError())
        try:
            yield caller
        finally:
            del self._callers[caller.attempt]
            if not caller.is_handed_on:  # which may come back
                self._past[caller.attempt] = asyncio.get_running_loop().time() + _REMEMBERED_S
            self._sessions.remove(caller)

    def take(self, incoming: Incoming, now: float) -> None:
        """Take a message to this instance.

        Args:
            incoming: The message.
            now: Loop time, in seconds.
        """
        try:
            frame = read_frame(incoming.headers, incoming.body)
        except FrameError as error:
            _log.debug("frame dropped: %s", error)
            return
        if frame is None:
            return
        self._sessions.hear(session_of(frame.attempt or incoming.reply_subject))
        caller = self._callers.get(frame.attempt or "")
        if caller is not None:
            _hand_over(frame, caller, now)

    def drain(self) -> None:
        """Let go of what was not started, now and from now on: the responder stops."""
        self._is_draining = True
        for caller in self._callers.values():
            caller.drain()
        self.let_go(BacklogClosedError)

    def let_go(self, error: Callable[[], Exception]) -> None:
        """Let go of what was not started until now; each ends with an error of its own."""
        for caller in list(self._callers.values()):
            caller.let_go(error())

    def give_up(self) -> None:
        """Offer results no more: there is no way to any requester."""
        for caller in list(self._callers.values()):
            caller.give_up()

    def _forget_past(self) -> None:
        """Forget the names that nothing under way can speak of any more; the oldest come first."""
        now = asyncio.get_running_loop().time()
        while self._past and self._past[first := next(iter(self._past))] < now:
            del self._past[first]

    def _attended(self, incoming: Incoming) -> AttendedCaller:
        version = incoming.headers[HEADER_ATTEND]
        if version != ATTEND_VERSION:
            known = f"version {ATTEND_VERSION} of the attended exchange is known here"
            raise RequestError(ErrorCode.INVALID_REQUEST, f"request refused: only {known}")
        if len(incoming.reply_subject) > _NAME_MAX_CHARS:
            message = f"request refused: its reply subject has more than {_NAME_MAX_CHARS} characters"
            raise RequestError(ErrorCode.INVALID_REQUEST, message)
        if len(self._callers) >= self._attempts_max:
            raise RequestError(ErrorCode.OVERLOADED, "this responder has as many attempts as it can remember")
        try:
            announced = read_part(incoming.headers, b"")
        except FrameError as error:
            raise RequestError(ErrorCode.INVALID_REQUEST, f"request refused: {error}") from None
        if announced is not None:
            self._refuse_part(announced)
        return AttendedCaller(incoming, announced, self._outlet, self._instance)

    def _refuse_part(self, announced: Part) -> None:
        held = sum(caller.announced_bytes for caller in self._callers.values())
        if held + announced.whole.size > _ANNOUNCED_MAX_BYTES:
            raise RequestError(ErrorCode.OVERLOADED, "this responder has as many large requests as it can hold")
        if announced.number != 0:
            raise RequestError(ErrorCode.INVALID_REQUEST, "request refused: it is a part and announces none")


def _hand_over(frame: Frame, caller: AttendedCaller, now: float) -> None:
    match frame.kind:
        case FrameKind.GO:
            caller.go(now)
        case FrameKind.BODY if frame.part is not None:
            caller.take_part(frame.part)
        case FrameKind.ACK:
            caller.ack()
        case FrameKind.CANCEL:
            caller.cancel()
        case _:
            pass
