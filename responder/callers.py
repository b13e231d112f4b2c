"""Who asked: what a request's way through the responder has to do with its caller, and a caller that just waits."""

import contextlib
from collections.abc import Awaitable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from contract import RequestError, session_of
from responder.execution import NOBODY, Audience


@dataclass(frozen=True)
class Incoming:
    """A message as it arrived.

    Attributes:
        subject: Where.
        reply_subject: Where its answer is asked to go; chosen by the caller.
        headers: Its headers.
        body: Its payload.
        received_at: Loop time, in seconds.
    """

    subject: str
    reply_subject: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    received_at: float


class Outlet(Protocol):
    """Where messages leave."""

    @property
    def max_payload(self) -> int:
        """The largest message the server takes, in bytes."""

    def publish(self, subject: str, body: bytes, headers: Mapping[str, str], reply: str = "") -> Awaitable[None]:
        """Send a message; what NATS says of it goes to the reply subject."""


T = TypeVar("T")
Slot = AbstractContextManager[object]


class UnclaimedError(Exception):
    """The caller did not say in time that its request may start; the message is one line."""


class CallerGoneError(Exception):
    """Nobody awaits the request any more, and nothing was started for it."""

    def __init__(self) -> None:
        super().__init__("nobody awaits the request any more; it was not started")


class Caller(Protocol):
    """Who asked for a run, and awaits its result."""

    @property
    def session(self) -> str:
        """The connection from which it asks; slots are shared between sessions."""

    @property
    def reply_max_bytes(self) -> int | None:
        """The largest reply it can be given, headers included; None for any."""

    @property
    def message(self) -> Incoming | None:
        """Its request as another responder could be handed it; None where it has to stay."""

    def reserve(self, slot: contextlib.ExitStack | None) -> None:
        """Take note that it was stolen, and of the slot that is held for it; one not taken stays in the stack."""

    def take_reserved(self, deadline: float) -> Slot | None:
        """Give the slot that was held for it before it came here, once, until a loop time; None where there is none."""

    def note_handed_on(self) -> None:
        """Note that another responder has its request."""

    @property
    def audience(self) -> Audience:
        """What follows the run."""

    async def body(self) -> bytes:
        """Give the whole request.

        Raises:
            RequestError: It is larger than a limit.
            UnclaimedError: Parts of it did not come.
        """

    async def hold(self, deadline: float) -> None:
        """Say that its request may have to wait, until a loop time in seconds."""

    async def unless_over(self, awaited: Awaitable[T]) -> T:
        """Await something, as long as the caller does.

        Raises:
            CallerGoneError: It gave up first.
            BacklogClosedError, UnfitError: The responder lets go of it first.
        """

    async def wait(self, slot: Awaitable[Slot], deadline: float, *, is_free: bool) -> Slot:
        """Wait for a slot, of which one may be free at once, until a loop time in seconds.

        Raises:
            CallerGoneError: It gave up first.
            BacklogClosedError, UnfitError: The responder lets go of it first.
        """

    async def claim(self) -> None:
        """Make sure that it still wants the run, now that there is a slot.

        Raises:
            UnclaimedError, CallerGoneError, BacklogClosedError, UnfitError, WaitedTooLongError: It must not start.
        """

    async def deliver(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Give it the reply."""


class Anybody:
    """A caller that just awaits the result, in this process."""

    session = ""
    reply_max_bytes: int | None = None
    audience = NOBODY
    message: Incoming | None = None

    def reserve(self, slot: contextlib.ExitStack | None) -> None:
        """It has come here by itself."""

    def take_reserved(self, deadline: float) -> Slot | None:  # noqa: ARG002 # see Caller
        """It has none."""
        return None

    def note_handed_on(self) -> None:
        """It is not told."""

    async def body(self) -> bytes:
        """It has none."""
        raise AssertionError("asked for without a message")

    async def hold(self, deadline: float) -> None:
        """It is not told."""

    async def unless_over(self, awaited: Awaitable[T]) -> T:
        """Await something."""
        return await awaited

    async def wait(self, slot: Awaitable[Slot], deadline: float, *, is_free: bool) -> Slot:  # noqa: ARG002 # see Caller
        """Wait for a slot."""
        return await slot

    async def claim(self) -> None:
        """It wants what it has asked for as long as its deadline says."""

    async def deliver(self, body: bytes, headers: Mapping[str, str]) -> None:
        """It is given what `Service.run` returns."""


ANYBODY = Anybody()


class PlainCaller(Anybody):
    """Sends one request and takes one reply.

    Args:
        incoming: The request.
        outlet: Where the reply leaves.
        refused: Why it is refused before it is read.
    """

    def __init__(self, incoming: Incoming, outlet: Outlet, refused: RequestError | None = None) -> None:
        self._incoming = incoming
        self._outlet = outlet
        self._refused = refused
        self.session = session_of(incoming.reply_subject)
        self.reply_max_bytes = outlet.max_payload
        self.message = incoming
        self._reserved: contextlib.ExitStack | None = None

    def reserve(self, slot: contextlib.ExitStack | None) -> None:
        """Take note of a slot that is held for it."""
        self._reserved = slot

    def take_reserved(self, deadline: float) -> Slot | None:  # noqa: ARG002 # see Caller
        """Give the slot that was held for it before it came here, once."""
        reserved, self._reserved = self._reserved, None
        return None if reserved is None else reserved.pop_all()

    async def body(self) -> bytes:
        """Give the request."""
        if self._refused is not None:
            raise self._refused
        return self._incoming.body

    async def deliver(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Send the reply, once."""
        if self._reserved is not None:
            self._reserved.close()
        await self._outlet.publish(self._incoming.reply_subject, body, headers)
