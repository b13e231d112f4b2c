"""The one module that talks to NATS: connect, subscribe, publish, leave the group without losing a message."""

import asyncio
import contextlib
import logging
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error, NoRespondersError

from connection import Connection, abort, has_other_server, renew, traffic
from contract import message_size, shared_user_info
from responder.callers import Incoming
from responder.echo import Echo
from responder.redaction import redact

_log = logging.getLogger(__name__)
_RECONNECT_WAIT_S = 0.25
# The echo notices a dead server sooner. What nats-py counts, unanswered pings, a slow connection may have too.
_PING_INTERVAL_S = 5
_UNANSWERED_PINGS_MAX = 12
_BARRIER_TIMEOUT_S = 5.0
_CLOSE_TIMEOUT_S = 2.0
_REFUSED_CREDENTIALS = re.compile(r"authorization (violation|failed)|authentication|user credentials", re.IGNORECASE)
_REFUSED_SUBSCRIPTION = re.compile(r'permissions violation for subscription to "([^"]+)"')
_REFUSED_PUBLISH = re.compile(r'permissions violation for publish to "([^"]+)"')
# After a connection was lost, others may not yet be connected again.
_OTHERS_RECONNECT_S = 3.0

Handler = Callable[[Incoming], Awaitable[None]]
Listener = Callable[[Incoming], None]


class LinkError(Exception):
    """NATS cannot be used; the message is one line without credentials."""


class NobodyThereError(LinkError):
    """NATS says that nobody listens where a request went."""


class NotPermittedError(LinkError):
    """NATS does not permit this responder to send or to listen there."""


@dataclass(frozen=True)
class Membership:
    """A subscription of ours, to be left with `Link.leave`."""

    subscription: Subscription


class Link:
    """A connection to NATS whose messages are handled in tasks of their own.

    nats-py runs a subscription's callbacks one at a time, and a cancellation that leaks out of one ends the
    subscription silently, so a callback here only starts a task.

    Attributes:
        closed: Done when the connection is closed for good and the responder is of no use any more.
        on_reconnect: Called when the connection was renewed.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_error = ""
        self._refused: set[str] = set()
        self._echoes: dict[str, asyncio.Future[None]] = {}
        self._unwelcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._watching: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._echo_inbox = ""
        self._connected_at = asyncio.get_running_loop().time()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on_reconnect: Callable[[], None] = lambda: None

    @classmethod
    async def connect(
        cls, servers: Sequence[str], name: str, inbox_prefix: str, tls: ssl.SSLContext | None = None
    ) -> Self:
        """Connect; tries for ever, and says on the log that it does.

        Args:
            servers: URLs, which may hold credentials.
            name: How the connection is listed in the server's monitoring.
            inbox_prefix: What the subjects begin with on which it hears itself.
            tls: The certificates to trust and to show; None for the system's.

        Raises:
            LinkError: An address cannot be used, or the server refuses the credential.
        """
        client = Connection()
        link = cls(client)
        timings: dict[str, Any] = {"reconnect_time_wait": _RECONNECT_WAIT_S}  # nats-py says int and sleeps that long
        credentials: dict[str, Any] = shared_user_info(servers)
        connecting = asyncio.ensure_future(
            client.connect(
                list(servers),
                name=name,
                inbox_prefix=inbox_prefix,
                allow_reconnect=True,
                max_reconnect_attempts=-1,
                ping_interval=_PING_INTERVAL_S,
                max_outstanding_pings=_UNANSWERED_PINGS_MAX,
                tls=tls,
                **timings,
                **credentials,
                lame_duck_mode_cb=link._note_lame_duck,
                error_cb=link._note_error,
                disconnected_cb=link._note_disconnect,
                reconnected_cb=link._note_reconnect,
                closed_cb=link._note_close,
            )
        )
        try:
            either: set[asyncio.Future[Any]] = {connecting, link._unwelcome}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if link._unwelcome.done():
                raise LinkError(f"NATS refuses this responder's credentials: {link._unwelcome.result()}")
            connecting.result()
        except (Error, OSError, ValueError) as error:
            raise LinkError(f"cannot connect to NATS: {_one_line(error)}") from error
        finally:
            connecting.cancel()
            await asyncio.wait({connecting})
        await link._watch()
        return link

    @property
    def max_payload(self) -> int:
        """The largest message the server takes, headers and payload, in bytes."""
        return self._client.max_payload

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection."""
        return self._client.is_connected

    def new_inbox(self) -> str:
        """Give a subject prefix that only this process uses."""
        return self._client.new_inbox()

    async def publish(self, subject: str, body: bytes, headers: Mapping[str, str], reply: str = "") -> None:
        """Send a message with these headers and no others; what NATS says of it goes to the reply subject.

        `Msg.respond()` is not used: it copies the request's headers into the reply, where a `Status: 503` of the
        caller's makes a requester believe that nobody is there. A message that is too large is not sent: nats-py
        compares the payload alone, and one that is too large by its headers makes the server end the connection.
        """
        size = message_size(dict(headers), body)
        if size > self.max_payload:
            _log.error("a message of %d bytes was not sent: NATS's max_payload here is %d", size, self.max_payload)
            return
        try:
            await self._client.publish(subject, body, reply, headers=dict(headers) or None)
        except (Error, OSError) as error:
            _log.error("a reply could not be sent: %s", _one_line(error))

    @property
    def is_settled(self) -> bool:
        """Whether this connection is so old that others whose server went at the same time are connected again, too."""
        age_s = asyncio.get_running_loop().time() - self._connected_at
        return self._client.is_connected and age_s >= _OTHERS_RECONNECT_S

    async def ask(self, subject: str, body: bytes, headers: Mapping[str, str], within_s: float) -> bytes:
        """Send a request, and give the body of its one reply; errors as for `ask_for`."""
        return (await self.ask_for(subject, body, headers, within_s))[1]

    async def ask_for(
        self, subject: str, body: bytes, headers: Mapping[str, str], within_s: float
    ) -> tuple[Mapping[str, str], bytes]:
        """Send a request, and give the headers and the body of its one reply.

        Raises:
            NobodyThereError: Nobody listens there.
            NotPermittedError: NATS does not permit it.
            LinkError: There is no reply, for another reason; whether the request arrived is not known.
        """
        if not self._client.is_connected:
            # nats-py would keep it, and send it when nobody waits for it any more.
            raise LinkError("NATS is away")
        try:
            reply = await self._client.request(subject, body, timeout=within_s, headers=dict(headers) or None)
        except NoRespondersError as error:
            raise NobodyThereError(f"nobody listens on {subject}") from error
        except Error as error:
            if self.is_refused(subject):
                raise NotPermittedError(f"NATS does not permit this responder to publish on {subject}") from error
            raise LinkError(f"no answer on {subject}: {_one_line(error)}") from error
        return reply.headers or {}, bytes(reply.data)

    async def subscribe(self, subject: str, handler: Handler, queue_group: str = "") -> Membership:
        """Listen on a subject, in a queue group if one is named, until left.

        Raises:
            LinkError: The connection is closed.
        """
        loop = asyncio.get_running_loop()

        async def start_task(message: Msg) -> None:
            task = loop.create_task(_handled(handler, _incoming(message, loop.time())))
            self._tasks.add(task)
            task.add_done_callback(self._note_handled)

        return await self._subscribe(subject, start_task, queue_group)

    async def hear(self, subject: str, listener: Listener) -> Membership:
        """Listen on a subject, and hand on what comes at once, without a task for it.

        Raises:
            LinkError: The connection is closed.
        """
        now = asyncio.get_running_loop().time

        async def hand_on(message: Msg) -> None:
            try:
                listener(_incoming(message, now()))
            except Exception as error:  # noqa: BLE001 # the boundary of a message; nats-py would log the text
                _log_defect(error)

        return await self._subscribe(subject, hand_on)

    async def _subscribe(self, subject: str, callback: Callable[[Msg], Awaitable[None]], group: str = "") -> Membership:
        try:
            subscription = await self._client.subscribe(subject, queue=group, cb=callback)
        except Error as error:
            raise LinkError(f"cannot listen on {subject}: {_one_line(error)}") from error
        return Membership(subscription)

    async def barrier(self) -> None:
        """Wait until the server has processed all that was sent, and all that it sent before has arrived here.

        A message to ourselves, since nats-py's `flush()` is none: its PING overtakes what waits to be written.

        Raises:
            NotPermittedError: NATS does not let it hear itself.
            LinkError: The connection is down.
        """
        echoed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def note(_message: Msg) -> None:
            if not echoed.done():
                echoed.set_result(None)

        inbox = self._client.new_inbox()
        self._echoes[inbox.lower()] = echoed
        try:
            subscription = await self._client.subscribe(inbox, cb=note)
            try:
                await self._client.publish(inbox, b"")
                async with asyncio.timeout(_BARRIER_TIMEOUT_S):
                    await echoed
            finally:
                await subscription.unsubscribe()
        except (Error, TimeoutError) as error:
            if self.is_refused(inbox):
                raise NotPermittedError(
                    f"NATS does not permit this responder to listen on its inbox ({inbox}):"
                    " see CLAUDE_RESPONDER_INBOX_PREFIX"
                ) from error
            raise LinkError("NATS did not answer") from error
        finally:
            self._echoes.pop(inbox.lower(), None)

    async def require_inbox(self) -> None:
        """Be sure that it may hear itself; without that it would take its connection for deaf and renew it for ever.

        A connection that goes just now is no reason to give up.

        Raises:
            NotPermittedError: NATS does not permit it.
        """
        try:
            await self.barrier()
        except NotPermittedError:
            raise
        except LinkError as error:
            _log.warning("NATS: %s", error)

    async def leave(self, memberships: Sequence[Membership]) -> None:
        """Stop listening, in this order, and hand all that has arrived until then to its handler.

        nats-py's own ways lose messages: `unsubscribe()` drops what has arrived, and `drain()` (250 lost in 1,500
        leaves) waits for a PONG that may overtake its UNSUB. So: UNSUB, then a message to ourselves, which comes back
        after all that the server had sent before it saw the UNSUB.
        """
        subscriptions = [membership.subscription for membership in memberships]
        if self._client.is_connected:
            with contextlib.suppress(Error, LinkError):
                for subscription in subscriptions:
                    # The public calls also remove the subscription here, and with it what still arrives.
                    await self._client._send_unsubscribe(subscription._id)  # noqa: SLF001 # see above
                await self.barrier()
        for subscription in subscriptions:
            await subscription._pending_queue.join()  # noqa: SLF001 # nats-py has no public way to wait for it
            with contextlib.suppress(Error):
                await subscription.unsubscribe()

    async def quit(self, membership: Membership) -> None:
        """Stop listening at once; what has arrived and is not handled yet is dropped."""
        with contextlib.suppress(Error):
            await membership.subscription.unsubscribe()

    async def wait_until_handled(self) -> None:
        """Wait until every message that has arrived is handled."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def wait_until_sent(self) -> None:
        """Wait until the server has all that was published, on whichever connection comes back.

        Returns at once when there is no connection and nothing to send.

        Raises:
            LinkError: The connection is closed for good.
        """
        while self._client.is_connected or self._client.pending_data_size:
            try:
                await self.barrier()
                return
            except LinkError:
                if self._client.is_closed:
                    raise
                await asyncio.sleep(_RECONNECT_WAIT_S)

    async def close(self) -> None:
        """Close the connection; what has not been sent is lost."""
        for task in (self._watching, self._leaving):
            if task is not None:
                task.cancel()
        if not self._client.is_connected:
            # nats-py would write it to the closed socket, which raises a TypeError on Python 3.13.
            self._client._pending.clear()  # noqa: SLF001 # there is no public way
            self._client._pending_data_size = 0  # noqa: SLF001 # the same
        with contextlib.suppress(Error, OSError, TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._client.close()

    def _note_handled(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log_defect(error)

    async def _watch(self) -> None:
        """Renew the connection whenever it has become deaf."""
        self._echo_inbox = inbox = self._client.new_inbox()
        echo = Echo(
            lambda: self.publish(inbox, b"", {}),
            lambda: self._client.is_connected,
            self._renew,
            lambda: traffic(self._client),
        )

        async def note(_message: Msg) -> None:
            echo.note()

        await self._client.subscribe(inbox, cb=note)
        self._watching = asyncio.create_task(echo.watch())

    async def _renew(self) -> None:
        _log.warning("NATS: connected but deaf, connecting again")
        await renew(self._client)

    async def _note_lame_duck(self) -> None:
        # nats-py waits for this before it reads on.
        if has_other_server(self._client) and (self._leaving is None or self._leaving.done()):
            self._leaving = asyncio.create_task(self._leave_lame_duck())

    async def _leave_lame_duck(self) -> None:
        """Go to another server before this one ends, with all that it has sent and been sent."""
        _log.warning("NATS: the server is about to end, connecting to another")
        with contextlib.suppress(Error, LinkError):
            for subscription in list(self._client._subs.values()):  # noqa: SLF001 # see leave(); nats-py subscribes again
                if subscription.subject != self._echo_inbox:
                    await self._client._send_unsubscribe(subscription._id)  # noqa: SLF001 # the same
            await self.barrier()
        await self._client.force_reconnect()

    def is_refused(self, subject: str) -> bool:
        """Say whether the server forbids a subject: known once a `barrier` has passed, or an answer has stayed away."""
        return subject.lower() in self._refused

    async def _note_error(self, error: Exception) -> None:
        line = _one_line(error)
        if not self._client.is_connected:
            # The socket of a failed attempt to reconnect: nats-py forgets it without closing it.
            abort(self._client)
        for refused in (_REFUSED_SUBSCRIPTION, _REFUSED_PUBLISH):
            for subject in refused.findall(line.lower()):
                self._refused.add(subject)
                if (echoed := self._echoes.get(subject)) is not None and not echoed.done():
                    echoed.set_exception(error)
        if _REFUSED_CREDENTIALS.search(line) and not self._unwelcome.done():
            self._unwelcome.set_result(line)
        _log.log(logging.DEBUG if line == self._last_error else logging.WARNING, "NATS: %s", line)
        self._last_error = line

    async def _note_disconnect(self) -> None:
        if not self._client.is_closed:
            _log.warning("NATS: disconnected, reconnecting")

    async def _note_reconnect(self) -> None:
        self._last_error = ""
        self._connected_at = asyncio.get_running_loop().time()
        _log.info("NATS: connected again")
        self.on_reconnect()

    async def _note_close(self) -> None:
        if not self.closed.done():
            self.closed.set_result(None)


def _incoming(message: Msg, now: float) -> Incoming:
    return Incoming(message.subject, message.reply, message.headers or {}, message.data, now)


def _log_defect(error: BaseException) -> None:
    _log.error("defect: %s while a message was handled", type(error).__name__)


async def _handled(handler: Handler, incoming: Incoming) -> None:
    await handler(incoming)


def _one_line(error: BaseException) -> str:
    text = redact(str(error), ())
    return text or type(error).__name__


async def ping(servers: Sequence[str], timeout_s: float, tls: ssl.SSLContext | None = None) -> str:
    """Connect once, and give the server's version.

    Raises:
        LinkError: The server cannot be reached or refuses.
    """
    async with _briefly(servers, timeout_s, tls=tls) as client:
        version = client.connected_server_version
        return f"{version.major}.{version.minor}.{version.patch}"


async def ask(servers: Sequence[str], subject: str, body: bytes, timeout_s: float, **options: Any) -> bytes:
    """Connect, ask one question, and give the answer's body.

    Args:
        servers: URLs, which may hold credentials.
        subject: Whom to ask.
        body: The question.
        timeout_s: Seconds.
        options: As nats-py names them: `inbox_prefix`, `tls`.

    Raises:
        LinkError: The server cannot be reached, or nobody answers in time.
    """
    async with _briefly(servers, timeout_s, **options) as client:
        try:
            return bytes((await client.request(subject, body, timeout=timeout_s)).data)
        except Error as error:
            # What NATS does not permit it does not answer.
            raise LinkError(f"no answer on {subject}: {_one_line(client.last_error or error)}") from error


@contextlib.asynccontextmanager
async def _briefly(servers: Sequence[str], timeout_s: float, **options: Any) -> AsyncIterator[Client]:
    """Connect for one errand, without trying again."""
    errors: list[str] = []

    async def keep(error: Exception) -> None:
        errors.append(_one_line(error))

    try:
        async with asyncio.timeout(timeout_s):
            once: dict[str, Any] = {"allow_reconnect": False, "max_reconnect_attempts": 1, "reconnect_time_wait": 0}
            client = Connection()
            await client.connect(list(servers), error_cb=keep, **once, **options)
    except (Error, OSError, ValueError, TimeoutError) as error:
        raise LinkError(errors[-1] if errors else _one_line(error)) from error
    try:
        yield client
    finally:
        await client.close()
