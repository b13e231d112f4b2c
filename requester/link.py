"""One connection to NATS: the only module that imports nats-py, and where its errors end.

Source for what nats-py does: `nats/aio/client.py` of 2.16.0; `tests/requester/test_link*.py` reproduce each trap.
"""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from functools import partial
from typing import Any

from nats import errors as nats_errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from connection import Traffic, abort, has_other_server, is_deaf, renew, traffic
from contract import (
    HEADER_INSTANCE,
    Frame,
    Subjects,
    is_no_responders,
    mask_user_info,
    message_size,
    shared_user_info,
)
from requester.errors import (
    ExecuteTimeoutError,
    NoRespondersError,
    NotConnectedError,
    NotPermittedError,
    RequesterError,
    RequestTooLargeError,
)
from requester.inbox import Inbox, RawReply
from requester.refusals import are_credentials_refused, inbox_forbidden, publish_forbidden, violations
from requester.settings import RequesterSettings
from requester.silence import Silence
from requester.watch import Watch

__all__ = ["FOREIGN_ERRORS", "Client", "Link", "translate"]

_log = logging.getLogger(__name__)

# A server from which nothing comes is left after three to four of these.
PING_INTERVAL_S = 0.5
# nats-py counts unanswered pings only, which a slow connection may have: it gets a quarter of a minute.
_UNANSWERED_PINGS_MAX = 40
_PING_TO_LOOK = 0.8
_RECONNECT_WAIT_S = 0.5
# A frozen server never confirms the end of a connection (over TLS nats-py waits 30 s for it).
_CLOSE_GRACE_S = 1.0
_CANCEL_AGAIN_S = 0.5
# For the answers after the first, where all are asked.
_OTHERS_ANSWER_S = 0.05

# What each error of nats-py means for a request that was about to be sent. RequesterError itself stands for what this
# package does not provoke: a defect of ours.
FOREIGN_ERRORS: dict[type[Exception], type[RequesterError]] = {
    nats_errors.Error: NotConnectedError,
    nats_errors.NoRespondersError: NoRespondersError,
    nats_errors.MaxPayloadError: RequestTooLargeError,
    nats_errors.AuthorizationError: NotPermittedError,
    nats_errors.InvalidUserCredentialsError: NotPermittedError,
    nats_errors.TimeoutError: NotConnectedError,
    nats_errors.FlushTimeoutError: NotConnectedError,
    nats_errors.DrainTimeoutError: NotConnectedError,
    nats_errors.StaleConnectionError: NotConnectedError,
    nats_errors.UnexpectedEOF: NotConnectedError,
    nats_errors.OutboundBufferLimitError: NotConnectedError,
    nats_errors.ConnectionClosedError: NotConnectedError,
    nats_errors.ConnectionDrainingError: NotConnectedError,
    nats_errors.ConnectionReconnectingError: NotConnectedError,
    nats_errors.NoServersError: NotConnectedError,
    nats_errors.ServerNotInPoolError: NotConnectedError,
    nats_errors.SecureConnRequiredError: NotConnectedError,
    nats_errors.SecureConnWantedError: NotConnectedError,
    nats_errors.SecureConnFailedError: NotConnectedError,
    nats_errors.ProtocolError: NotConnectedError,
    nats_errors.JsonParseError: NotConnectedError,
    nats_errors.BadSubjectError: RequesterError,
    nats_errors.BadHeaderError: RequesterError,
    nats_errors.BadSubscriptionError: RequesterError,
    nats_errors.BadTimeoutError: RequesterError,
    nats_errors.SlowConsumerError: RequesterError,
    nats_errors.InvalidCallbackTypeError: RequesterError,
    nats_errors.NotJSMessageError: RequesterError,
    nats_errors.MsgAlreadyAckdError: RequesterError,
    OSError: NotConnectedError,
}


def translate(error: Exception) -> RequesterError:
    """Give our error for one that nats-py raised before a request was sent."""
    text = mask_user_info(str(error)) or type(error).__name__
    if are_credentials_refused(text):
        return NotPermittedError(f"NATS refuses this requester's credentials ({text})")
    meant = next(FOREIGN_ERRORS[kind] for kind in type(error).__mro__ if kind in FOREIGN_ERRORS)
    return meant(f"the request was not sent ({text})", executed=False)


class Link:
    """One connection and the replies awaited on it.

    Attributes:
        client: The connection.
        inbox: What is awaited.
        watch: Watches the instances at which attempts are.
        dialing: The task that dials it; None where the connection was given.
        ready: Done with None while requests can be sent, or with why the server refuses them.
        trouble: The last thing that went wrong, in one word.
    """

    def __init__(self, client: Client, subjects: Subjects) -> None:
        self.client = client
        self.inbox = Inbox()
        self.watch = Watch(self, self.inbox)
        self._subjects = subjects
        self._sending: set[asyncio.Task[None]] = set()
        self.dialing: asyncio.Task[None] | None = None
        self.ready: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self.trouble = "no answer"
        self._reply_prefix = ""
        self._subscription: Subscription | None = None
        self._silence: Silence | None = None
        self._keeping: set[asyncio.Task[None]] = set()

    @property
    def server(self) -> tuple[str, int] | None:
        """Host and port of the server it is connected to."""
        url = self.client.connected_url
        return (url.hostname, url.port) if url and url.hostname and url.port else None

    @property
    def is_up(self) -> bool:
        """Whether it is connected, and hears: only then does silence say something of an instance."""
        is_in_doubt = self._silence is not None and self._silence.is_in_doubt
        return self.client.is_connected and not self.is_deaf and not is_in_doubt

    @property
    def is_usable(self) -> bool:
        """Whether a request can be sent now, without any wait."""
        is_ready = self.ready.done() and self.ready.result() is None
        return is_ready and self.client.is_connected and not self.is_deaf and not self.is_over

    @property
    def reconnects(self) -> int:
        """How often it was connected anew."""
        return int(self.client.stats["reconnects"])

    @property
    def max_payload(self) -> int:
        """The largest message the server takes, headers and payload, in bytes."""
        return self.client.max_payload

    def check_size(self, body: bytes, headers: dict[str, str]) -> None:
        """Say whether the server takes a message.

        Raises:
            RequestTooLargeError: It is too large.
        """
        size, limit = message_size(headers, body), self.max_payload
        if size > limit:
            raise RequestTooLargeError(f"the request has {size} bytes, NATS carries at most {limit}")

    @property
    def is_over(self) -> bool:
        """Whether it takes a new connection to send again: this one is closed, or may not hear its replies."""
        is_refused = self.ready.done() and self.ready.result() is not None
        return self.client.is_closed or (is_refused and self.client.is_connected)

    @property
    def is_deaf(self) -> bool:
        """Whether it calls itself connected and hears nothing any more."""
        return is_deaf(self.client)

    async def renew(self) -> None:
        """Leave the server and connect again; what is unsent is dropped, replies that are awaited stay so."""
        _log.warning("NATS: nothing comes from the server any more, connecting again")
        await renew(self.client)

    async def dial(self, settings: RequesterSettings, ping_interval_s: float) -> None:
        """Connect and listen; tries for ever, as nats-py does where it may reconnect for ever: the caller bounds it.

        Raises:
            RequesterError: What came of it at once.
        """
        # nats-py says int and sleeps that long. An answer has to come between any two looks.
        pings_s = _PING_TO_LOOK * ping_interval_s
        timings: dict[str, Any] = {"reconnect_time_wait": _RECONNECT_WAIT_S, "ping_interval": pings_s}
        credentials: dict[str, Any] = shared_user_info(settings.servers)
        try:
            await self.client.connect(
                servers=settings.servers,
                name="claude-requester",
                inbox_prefix=settings.inbox_prefix,
                # Nothing is kept while disconnected: what is sent on reconnect may be awaited by nobody any more.
                pending_size=0,
                max_reconnect_attempts=-1,
                max_outstanding_pings=_UNANSWERED_PINGS_MAX,
                tls=settings.tls_context(),
                **timings,
                **credentials,
                lame_duck_mode_cb=self._on_lame_duck,
                error_cb=self._on_error,
                disconnected_cb=self._on_disconnected,
                reconnected_cb=self._on_reconnected,
                closed_cb=self._on_closed,
            )
            await self.listen()
            # The first PING overtakes the SUB; the answer to the second follows what the server says to the SUB, so a
            # forbidden inbox is known before anything is asked. A flush that is cut short kills nats-py's read loop:
            # there is none on a connection that lives on.
            await self.client.flush()
            await self.client.flush()
        except (nats_errors.Error, OSError) as error:
            raise translate(error) from error
        self._silence = Silence(self._look, lambda: self.is_deaf, self.renew, ping_interval_s)
        self._keep(self._silence.watch())
        if not self.ready.done():
            self.settle(None)

    async def listen(self) -> None:
        """Subscribe to the replies.

        Raises:
            RequesterError: The connection does not take a subscription.
        """
        self._reply_prefix = self.client.new_inbox()
        try:
            self._subscription = await self.client.subscribe(f"{self._reply_prefix}.*", cb=self._on_message)
        except (nats_errors.Error, OSError) as error:
            raise translate(error) from error

    async def forget(self) -> None:
        """Stop listening on a connection that lives on."""
        await self._say_last_words(is_over=False)
        if self._subscription is not None and not self.client.is_closed:
            with contextlib.suppress(nats_errors.Error):
                await self._subscription.unsubscribe()

    async def wait_ready(self) -> None:
        """Wait until requests can be sent.

        Raises:
            NotPermittedError: The server refuses them.
        """
        if self.is_deaf:
            await self.renew()
        if self.client.is_reconnecting:
            self._unsettle()
        while not self.ready.done():
            await asyncio.wait({self.ready})
        refusal = self.ready.result()
        if refusal is not None:
            raise NotPermittedError(refusal)

    def settle(self, refusal: str | None) -> None:
        """Tell whoever waits that requests can be sent (None), or why the server refuses them."""
        self._unsettle()
        self.ready.set_result(refusal)

    async def request(self, subject: str, body: bytes, headers: dict[str, str], within_s: float) -> RawReply:
        """Send one request and wait for its one reply; see `Hop.request`."""
        until = asyncio.get_running_loop().time() + within_s
        error_before = self.client.last_error
        with self.inbox.open(subject) as mailbox:
            await self.publish(subject, body, headers, mailbox.token)
            item = await mailbox.get(until)
        if item is None:
            item = self.refusal_since(error_before, subject) or ExecuteTimeoutError(
                f"no reply on {subject} within {within_s:.1f} s", executed=False
            )
        if not isinstance(item, RawReply):
            raise item if isinstance(item, RequesterError) else TypeError("no attempt is watched here")
        if is_no_responders(item.headers, item.data):
            raise NoRespondersError(f"no responder listens on {subject}")
        return item

    async def ask_all(self, subject: str, within_s: float) -> list[bytes]:
        """Ask whoever listens, and give the answers' bodies.

        How many there are is not known: after the first one the others have as long again, and a moment at least.

        Args:
            subject: Where to.
            within_s: Seconds to wait for the first answer.

        Raises:
            RequesterError: It was not sent, or the server does not permit it.
        """
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        until, bodies = asked_at + within_s, list[bytes]()
        with self.inbox.open(subject) as mailbox:
            await self.publish(subject, b"", {}, mailbox.token)
            while (item := await mailbox.get(until)) is not None:
                if isinstance(item, RequesterError):
                    raise item
                if not isinstance(item, RawReply) or is_no_responders(item.headers, item.data):
                    break
                if not bodies:
                    until = loop.time() + max(_OTHERS_ANSWER_S, loop.time() - asked_at)
                bodies.append(item.data)
        return bodies

    def attempt_of(self, token: str) -> str:
        """Give the reply subject whose last token this is."""
        return f"{self._reply_prefix}.{token}"

    async def publish(self, subject: str, body: bytes, headers: dict[str, str], token: str) -> None:
        """Send a message whose answers come to the mailbox with the token.

        Raises:
            RequesterError: It was not sent.
        """
        if not self.client.is_connected:
            raise NotConnectedError("the connection to NATS is down; the request was not sent")
        self.check_size(body, headers)
        task = asyncio.current_task()
        cancels_before = task.cancelling() if task else 0
        try:
            await self.client.publish(subject, body, reply=self.attempt_of(token), headers=headers or None)
        except (nats_errors.Error, OSError) as error:
            raise translate(error) from error
        if task and task.cancelling() > cancels_before:
            # nats-py swallows a cancellation that comes while it flushes.
            raise asyncio.CancelledError

    async def send(self, frame: Frame, instance: str, token: str) -> None:
        """Send a frame to an instance.

        Raises:
            RequesterError: It was not sent.
        """
        await self.publish(self._subjects.instance_of(instance), frame.payload, frame.headers(), token)

    def send_soon(self, frame: Frame, instance: str, token: str) -> None:
        """Send a frame in the background; it need not arrive."""
        task = asyncio.create_task(self._send_or_drop(frame, instance, token))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _say_last_words(self, *, is_over: bool) -> None:
        """Send the cancellations of what is given up now.

        Args:
            is_over: Whether the connection ends with them; a flush that is cut short kills one that lives on.
        """
        self.watch.close()
        with contextlib.suppress(nats_errors.Error, TimeoutError):
            async with asyncio.timeout(_CLOSE_GRACE_S):
                await self.inbox.wait_empty()
                if self._sending:
                    await asyncio.wait(self._sending)
                    if is_over:
                        await self.client.flush()

    async def _send_or_drop(self, frame: Frame, instance: str, token: str) -> None:
        with contextlib.suppress(RequesterError):
            await self.send(frame, instance, token)

    async def end(self) -> None:
        """Close the connection, also one that is half open or whose server is frozen."""
        dialing = self.dialing
        if dialing is not None and self.client.is_connected:
            # A flush that is cut short ends nats-py's read loop, which logs a traceback; its answer is under way.
            await asyncio.wait({dialing}, timeout=_CANCEL_AGAIN_S)
        while dialing is not None and not dialing.done():
            dialing.cancel()
            # nats-py may swallow a cancellation, and would then dial for ever.
            await asyncio.wait({dialing}, timeout=_CANCEL_AGAIN_S)
        await self._say_last_words(is_over=True)
        for task in self._keeping:
            task.cancel()
        self._drop_unsent()
        closing = asyncio.create_task(self.client.close())
        await asyncio.wait({closing}, timeout=_CLOSE_GRACE_S)
        abort(self.client)
        for outcome in await asyncio.gather(
            closing, *([dialing] if dialing else []), *self._keeping, return_exceptions=True
        ):
            if isinstance(outcome, Exception):
                _log.debug("closing: %s", type(outcome).__name__)

    def refusal_since(self, error_before: Exception | None, subject: str) -> RequesterError | None:
        """Give the error if the server has refused since then that we publish to a subject.

        Whoever gave us the connection has its error callback: a violation shows only here, and late.
        """
        error = self.client.last_error
        if error is None or error is error_before or ("publish", subject.lower()) not in violations(str(error)):
            return None
        return publish_forbidden(subject)

    async def _on_message(self, message: Msg) -> None:
        token, reply = message.subject.rpartition(".")[2], RawReply(message.headers or {}, message.data)
        self.watch.hear(reply.headers.get(HEADER_INSTANCE, ""))
        if not self.inbox.deliver(token, reply):
            self.watch.take(token, reply)

    async def _on_error(self, error: Exception) -> None:
        text = mask_user_info(str(error))
        _log.debug("NATS: %s: %s", type(error).__name__, text)
        self.trouble = type(error).__name__
        if not self.client.is_connected:
            # The socket of a failed attempt to reconnect: nats-py forgets it without closing it.
            abort(self.client)
        if are_credentials_refused(text):
            self.settle(f"NATS refuses this requester's credentials ({text})")
        for action, subject in violations(text):
            if action == "publish":
                # Without the instances' subjects no go is ever heard.
                is_instance = subject.startswith(self._subjects.instance_of("").lower())
                asked = self._subjects.execute if is_instance else subject
                self.inbox.fail(partial(publish_forbidden, subject), asked)
            elif subject.startswith(self._reply_prefix.lower()):
                self.inbox.fail(partial(inbox_forbidden, executed=None))
                self.settle(str(inbox_forbidden(executed=False)))

    async def _on_disconnected(self) -> None:
        self._unsettle()
        self._drop_unsent()

    async def _on_reconnected(self) -> None:
        self.settle(None)

    async def _on_closed(self) -> None:
        self.inbox.fail(lambda: NotConnectedError("the connection to NATS ended before the reply came", executed=None))

    def _unsettle(self) -> None:
        if self.ready.done():
            self.ready = asyncio.get_running_loop().create_future()

    def _drop_unsent(self) -> None:
        # pending_size=0 is about what is published while disconnected. What was published before and is still unsent
        # when the connection ends would go out on the next one, and start a CLI for somebody who has given up.
        self.client._pending.clear()  # noqa: SLF001 # nats-py has no public way
        self.client._pending_data_size = 0  # noqa: SLF001 # the same

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    def _look(self) -> Traffic | None:
        return traffic(self.client) if self.client.is_connected else None

    async def _on_lame_duck(self) -> None:
        # nats-py waits for this before it reads on.
        self._keep(self._leave_lame_duck())

    async def _leave_lame_duck(self) -> None:
        """Go to another server before this one ends, once it has all that was sent."""
        left = self.client.connected_url
        if not has_other_server(self.client):
            return
        with contextlib.suppress(nats_errors.Error):
            # The first PING overtakes what waits to be written.
            await self.client.flush()
            await self.client.flush()
        if self.client.connected_url is left:  # it may say so more than once
            await self.client.force_reconnect()
