"""The way to the responders: connected when it is first needed, and anew when the connection was closed for good."""

import asyncio
from typing import Any

from connection import Connection, is_deaf, renew
from contract import Subjects
from requester.attended import Order, attend
from requester.errors import NoRespondersError, NotConnectedError, RateLimitedError, RequesterError
from requester.inbox import RawReply
from requester.limits import earliest
from requester.link import PING_INTERVAL_S, Client, Link
from requester.settings import RequesterSettings

# NATS says at once where nobody listens, and who listens answers from memory.
_LIMIT_ANSWER_S = 0.5


class Hop:
    """What a requester sends its requests over.

    Args:
        settings: Where to connect, and how long to try.
        connection: A connection that belongs to somebody else: it is used and never closed.
        ping_interval_s: Seconds between the pings by which a dead server is noticed.
    """

    def __init__(
        self, settings: RequesterSettings, connection: Client | None = None, *, ping_interval_s: float = PING_INTERVAL_S
    ) -> None:
        self._settings = settings
        self._subjects = Subjects(settings.subject_prefix)
        self._given = connection
        self._ping_interval_s = ping_interval_s
        self._link: Link | None = None
        self._lock = asyncio.Lock()
        self._endings: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def place(self) -> str:
        """Where it connects, for the person on call."""
        return self._settings.masked_url if self._given is None else "a given connection"

    @property
    def server(self) -> tuple[str, int] | None:
        """Host and port of the server it is connected to."""
        return self._link.server if self._link else None

    @property
    def in_flight(self) -> int:
        """How many replies are awaited."""
        return len(self._link.inbox) if self._link else 0

    @property
    def state(self) -> str:
        """One word for the person on call: closed, idle (not needed yet), connected or disconnected."""
        if self._is_closed:
            return "closed"
        if self._link is None:
            return "idle"
        return "connected" if self._link.client.is_connected else "disconnected"

    async def wait_connected(self, within_s: float) -> None:
        """Wait until a request can be sent.

        Args:
            within_s: Seconds; at most the settings' `connect_timeout_s` is waited.

        Raises:
            NotConnectedError: NATS was not reached in time.
            NotPermittedError: It was, and refuses the credentials or the inbox.
            RuntimeError: It was used in another event loop before: a connection lives in one.
        """
        loop = asyncio.get_running_loop()
        if self._loop not in {None, loop}:
            raise RuntimeError("this requester belongs to another event loop: make one in each")
        self._loop = loop
        if self._given is None and self._link is not None and self._link.is_usable and not self._is_closed:
            return
        try:
            async with asyncio.timeout(min(within_s, self._settings.connect_timeout_s)), self._lock:
                await self._connect()
        except TimeoutError:
            trouble = self._link.trouble if self._link else "no answer"
            raise NotConnectedError(f"NATS cannot be reached at {self._settings.masked_url} ({trouble})") from None

    async def request(self, subject: str, body: bytes, headers: dict[str, str], within_s: float) -> RawReply:
        """Send one request and wait for its one reply.

        Args:
            subject: Where to.
            body: The payload.
            headers: The request's headers.
            within_s: Seconds to wait for the reply.

        Returns:
            The reply's headers and payload.

        Raises:
            NotConnectedError: There is no connection and nothing was sent; or it ended for good while the reply was
                awaited (`executed` is None).
            NoRespondersError: Nobody listens on the subject.
            NotPermittedError: The server does not let this requester publish there.
            RequestTooLargeError: The message is larger than the server's `max_payload`.
            ExecuteTimeoutError: No reply came in time.
        """
        if self._link is None:
            raise NotConnectedError("there is no connection to NATS; the request was not sent")
        return await self._link.request(subject, body, headers, within_s)

    def check_size(self, body: bytes, headers: dict[str, str]) -> None:
        """Say whether the server that it was connected to takes a request.

        Raises:
            RequestTooLargeError: It is too large.
        """
        if self._link is not None:
            self._link.check_size(body, headers)

    async def attend(self, order: Order) -> bytes:
        """Make one attempt at having a request executed.

        Returns:
            The reply's body.

        Raises:
            RequesterError: There is none; `executed` says whether the CLI may have been started. RateLimitedError with
                `executed=False` where nobody takes work, and some say that a limit of the API is why.
        """
        if self._link is None:
            raise NotConnectedError("there is no connection to NATS; the request was not sent")
        try:
            return await attend(self._link, self._subjects.execute, order)
        except NoRespondersError as error:
            raise await self._limit(self._link, order.deadline) or error from None

    async def _limit(self, link: Link, deadline: float) -> RateLimitedError | None:
        """Ask whether responders take no work because of a limit; whoever does not know of it does not answer."""
        left_s = deadline - asyncio.get_running_loop().time()
        try:
            return earliest(await link.ask_all(self._subjects.limited, min(_LIMIT_ANSWER_S, left_s)))
        except RequesterError:
            return None

    async def close(self) -> None:
        """End the connection, unless it was given; whoever still awaits a reply gets NotConnectedError."""
        self._is_closed = True
        link, self._link = self._link, None
        if link is not None:
            link.inbox.fail(
                lambda: NotConnectedError(
                    "the requester was closed before the reply came", retryable=False, executed=None
                )
            )
            link.settle(None)
            await (self._end(link) if self._given is None else link.forget())
        if self._endings:
            await asyncio.wait(self._endings)

    async def _connect(self) -> None:
        self._refuse_when_closed()
        if self._given is not None:
            await self._adopt(self._given)
        elif self._link is None or self._link.is_over:
            await self._open()
        else:
            await self._link.wait_ready()
        self._refuse_when_closed()

    async def _adopt(self, connection: Client) -> None:
        if connection.is_closed:
            raise NotConnectedError("the connection that the requester was given is closed", retryable=False)
        if is_deaf(connection):
            await renew(connection)
        if not connection.is_connected:
            raise NotConnectedError("the connection that the requester was given is down; the request was not sent")
        if self._link is None:
            link = Link(connection, self._subjects)
            await link.listen()
            self._link = link

    async def _open(self) -> None:
        if self._link is not None:
            await self._end(self._link)
        self._link = link = Link(Connection(), self._subjects)
        link.dialing = asyncio.create_task(link.dial(self._settings, self._ping_interval_s))
        try:
            either: set[asyncio.Future[Any]] = {link.dialing, link.ready}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if link.dialing.done() and not link.dialing.cancelled():
                link.dialing.result()
            await link.wait_ready()
        except BaseException:
            await self._end(link)
            raise

    async def _end(self, link: Link) -> None:
        # A task of its own, so that a cancelled caller (cancelled twice, even) does not leave a socket open.
        ending = asyncio.create_task(link.end())
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)
        await asyncio.shield(ending)

    def _refuse_when_closed(self) -> None:
        if self._is_closed:
            raise NotConnectedError("the requester is closed", retryable=False)
