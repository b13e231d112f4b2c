"""One attempt over a connection: what the state machine of `exchange.py` says is done here."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from contract import (
    ATTEND_VERSION,
    HEADER_ATTEND,
    HEADER_STREAM,
    PART_MAX_BYTES,
    Frame,
    FrameError,
    FrameKind,
    Part,
    is_no_responders,
    message_size,
    part_headers,
    read_frame,
    split,
)
from requester.errors import (
    ExecuteTimeoutError,
    NoRespondersError,
    OutputTooLargeError,
    ProtocolError,
    RequesterError,
    ResponderLostError,
)
from requester.exchange import Ending, Exchange, Say, Times
from requester.inbox import InstanceTrouble, Item, Mailbox, RawReply
from requester.link import Link
from requester.output import OutputFollower
from requester.watch import Attending

# For the headers of a part.
_PART_HEADERS_BYTES = 1024
_BEAT_S = 1.0


@dataclass(frozen=True)
class Order:
    """What an attempt is to bring about.

    Attributes:
        body: The request.
        headers: Its headers, but for those of the exchange.
        accept_s: Seconds in which a responder must accept it.
        deadline: Loop time, in seconds.
        reply_grace_s: Seconds after the deadline in which a responder that has started may say what happened.
        reply_max_bytes: The largest result that is taken.
        output: Is given what the CLI prints while it runs; None where nobody wants it.
        accepted_by: Is told who has accepted it.
    """

    body: bytes = field(repr=False)
    headers: dict[str, str]
    accept_s: float
    deadline: float
    reply_grace_s: float
    reply_max_bytes: int
    output: OutputFollower | None = None
    accepted_by: Callable[[str], None] = lambda _responder: None


async def attend(link: Link, subject: str, order: Order) -> bytes:
    """Make one attempt.

    Args:
        link: The connection.
        subject: Where the request goes.
        order: What is asked for.

    Returns:
        The reply's body.

    Raises:
        RequesterError: There is none; `executed` says whether the CLI may have been started.
    """
    with link.inbox.open(subject) as mailbox, link.watch.attending(mailbox) as attending:
        return await _Attempt(link, order, mailbox, attending).run()


class _Attempt:
    def __init__(self, link: Link, order: Order, mailbox: Mailbox, attending: Attending) -> None:
        self._link = link
        self._order = order
        self._mailbox = mailbox
        self._attending = attending
        self._responder: str | None = None
        headers = order.headers | {HEADER_ATTEND: ATTEND_VERSION} | ({HEADER_STREAM: "1"} if order.output else {})
        self._parts: list[Part] = []
        body = order.body
        part_bytes = min(PART_MAX_BYTES, link.max_payload - _PART_HEADERS_BYTES)
        if message_size(headers, body) > link.max_payload and part_bytes > 0:
            self._parts = split(body, part_bytes)
            headers |= part_headers(Part(0, self._parts[0].whole))
            body = b""
        self._opening = headers, body
        self._error_before = link.client.last_error
        now = asyncio.get_running_loop().time()
        times = Times(now + order.accept_s, order.deadline, order.deadline + order.reply_grace_s)
        self._exchange = Exchange(times, order.reply_max_bytes, is_announced=bool(self._parts))

    async def run(self) -> bytes:
        exchange, now = self._exchange, asyncio.get_running_loop().time
        try:
            headers, body = self._opening
            await self._link.publish(self._mailbox.subject, body, headers, self._mailbox.token)
            while exchange.ending is None:
                item = await self._mailbox.get(exchange.wakes_at)
                says = [] if item is None else self._says(item)
                # Also after an item: where there is always one, the time passes nevertheless.
                for say in [*says, *exchange.on_time(now())]:
                    await self._send(say)
        finally:
            # In the background: whoever was cancelled waits no more.
            for say in exchange.give_up():
                self._link.send_soon(self._frame(say.kind), say.instance, self._token_for(say))
        if exchange.reply is None:
            raise self._error()
        return exchange.reply

    def _says(self, item: Item) -> list[Say]:
        exchange = self._exchange
        match item:
            case InstanceTrouble(instance, is_lost):
                return exchange.on_lost(instance) if is_lost else exchange.on_unreachable(instance)
            case RequesterError():
                # Its class does not know how far the attempt had come.
                item.executed = None if exchange.may_have_started else False
                raise item
            case RawReply():
                return self._on_reply(item)

    def _on_reply(self, reply: RawReply) -> list[Say]:
        if is_no_responders(reply.headers, reply.data):
            return self._exchange.on_no_responders()
        try:
            frame = read_frame(reply.headers, reply.data)
        except FrameError:
            return []
        if frame is None:
            return self._exchange.on_plain_reply(reply.data)
        exchange, output = self._exchange, self._order.output
        if frame.kind is FrameKind.OUTPUT and output and frame.offset is not None:
            if exchange.is_given_to(frame.instance):
                output.take(frame.offset, frame.body)
            return []
        says = exchange.on_frame(frame)
        if frame.instance is not None and frame.instance == exchange.instance and exchange.ending is None:
            beat_s = frame.beat_ms / 1000 if frame.beat_ms else _BEAT_S
            self._attending.at(frame.instance, beat_s, frame.beat or 0)
            if frame.responder is not None:
                self._responder = frame.responder
                self._order.accepted_by(frame.responder)
        return says

    async def _send(self, say: Say) -> None:
        frames = [self._frame(say.kind)]
        if say.kind is FrameKind.BODY:
            frames = [Frame(FrameKind.BODY, attempt=frames[0].attempt, part=part) for part in self._parts]
        try:
            for frame in frames:
                await self._link.send(frame, say.instance, self._token_for(say))
        except RequesterError:
            # What was not sent was heard by nobody; a lost ack or cancel is asked for again.
            if say.kind is FrameKind.GO:
                self._exchange.on_no_responders()
            elif say.kind is FrameKind.BODY:
                self._exchange.on_lost(say.instance)

    def _token_for(self, say: Say) -> str:
        """Give the token to which a 503 comes: to the attempt's own it means that the go was heard by nobody.

        What it means for any other frame is the watch's business: a cancel may be for a second holder of the attempt,
        and that one's end says nothing of the one that has the go.
        """
        return self._mailbox.token if say.kind is FrameKind.GO else say.instance

    def _frame(self, kind: FrameKind) -> Frame:
        return Frame(kind, attempt=self._link.attempt_of(self._mailbox.token))

    def _error(self) -> RequesterError:
        exchange, subject = self._exchange, self._mailbox.subject
        refusal = self._link.refusal_since(self._error_before, subject) if exchange.instance is None else None
        return refusal or error_of_ending(exchange, subject, self._responder)


def error_of_ending(exchange: Exchange, subject: str, responder: str | None) -> RequesterError:
    """Give the error for an attempt that has ended without a reply.

    Args:
        exchange: The attempt.
        subject: Where its request went.
        responder: Id of the responder that has accepted it.
    """
    ending = exchange.ending or Ending.EXPIRED
    match ending:
        case Ending.NO_RESPONDERS:
            return NoRespondersError(f"no responder listens on {subject}")
        case Ending.EXPIRED:
            return ExecuteTimeoutError(ending, responder=responder, executed=False)
        case Ending.EXPIRED_AFTER_GO:
            return ExecuteTimeoutError(
                f"{ending}; whether the CLI ran is not known", responder=responder, executed=None
            )
        case Ending.TOO_LARGE:
            return OutputTooLargeError(exchange.problem, responder=responder)
        case Ending.MALFORMED:
            return ProtocolError(exchange.problem, responder=responder)
        case _:
            return ResponderLostError(ending, responder=responder, executed=ending is Ending.LOST_AFTER_GO)
