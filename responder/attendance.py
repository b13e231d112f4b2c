"""The attempts that requesters attend to here, and the frames they send about them."""

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

_log = logging.getLogger(__name__)


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
        self._is_draining = False

    def __repr__(self) -> str:
        return f"<Attendance of {len(self._callers)} attempts>"

    def __len__(self) -> int:
        return len(self._callers)

    @contextlib.contextmanager
    def caller_of(self, incoming: Incoming) -> Iterator[Caller | None]:
        """Have the caller of a request within the block; None for a request that is here already."""
        is_inbox = has_inbox_prefix(incoming.reply_subject, self._inbox_prefix)
        if HEADER_ATTEND not in incoming.headers or not is_inbox:
            yield PlainCaller(incoming, self._outlet)
            return
        if incoming.reply_subject in self._callers:
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
            caller.let_go(BacklogClosedError())
        try:
            yield caller
        finally:
            del self._callers[caller.attempt]
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
        self.let_go(BacklogClosedError)

    def let_go(self, error: Callable[[], Exception]) -> None:
        """Let go of what was not started until now; each ends with an error of its own."""
        for caller in list(self._callers.values()):
            caller.let_go(error())

    def give_up(self) -> None:
        """Offer results no more: there is no way to any requester."""
        for caller in list(self._callers.values()):
            caller.give_up()

    def _attended(self, incoming: Incoming) -> AttendedCaller:
        version = incoming.headers[HEADER_ATTEND]
        if version != ATTEND_VERSION:
            known = f"version {ATTEND_VERSION} of the attended exchange is known here"
            raise RequestError(ErrorCode.INVALID_REQUEST, f"request refused: only {known}")
        if len(self._callers) >= self._attempts_max:
            raise RequestError(ErrorCode.OVERLOADED, "this responder has as many attempts as it can remember")
        try:
            announced = read_part(incoming.headers, b"")
        except FrameError as error:
            raise RequestError(ErrorCode.INVALID_REQUEST, f"request refused: {error}") from None
        if announced is not None and announced.number != 0:
            raise RequestError(ErrorCode.INVALID_REQUEST, "request refused: it is a part and announces none")
        return AttendedCaller(incoming, announced, self._outlet, self._instance)


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
