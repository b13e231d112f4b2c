"""Stand-ins that we wrote: a responder on raw nats-py, a connection without a server, a way without NATS."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self, cast

from nats.aio.client import Client
from nats.aio.msg import Msg

from contract import (
    CODE_FACTS,
    ErrorCode,
    ExecuteFailure,
    ExecuteSuccess,
    Frame,
    FrameKind,
    HealthReply,
    new_ulid,
    read_frame,
)
from contract.frames import HEADER_FRAME
from requester import RequesterError
from requester.attended import Order

SUBJECT = "claude.cli.execute"
CANARY = "canary-7f3a-prompt"
DOCUMENT = '{"type":"result","subtype":"success","is_error":false,"result":"four","session_id":"s-1"}\n'
HEALTHY = HealthReply(
    status="healthy", responder="r1", version="0", cli_available=True, slots=2, in_flight=0, backlog=0, uptime_s=1
)


def success(request_id: str, result: str = DOCUMENT, **more: Any) -> ExecuteSuccess:
    facts = {"responder": "r1", "session_id": "s-1", "cost_usd": 0.25, "execution_time_ms": 1500, "wait_ms": 40}
    return ExecuteSuccess.model_validate({"id": request_id, "result": result, **facts, **more})


def failure(request_id: str | None, code: str, **more: Any) -> ExecuteFailure:
    facts = {"retryable": False, "executed": True}
    if code in set(ErrorCode):
        known = CODE_FACTS[ErrorCode(code)]
        facts = {"retryable": known.retryable, "executed": bool(known.executed) or code == ErrorCode.RATE_LIMITED}
    return ExecuteFailure.model_validate(
        {"id": request_id, "code": code, "error": f"what {code} says", "responder": "r1", **facts, **more}
    )


Answer = Callable[[dict[str, Any]], bytes | None]


def answer_well(request: dict[str, Any]) -> bytes:
    return success(request["id"]).to_bytes()


class FakeResponder:
    """Answers requests on a raw connection as a test tells it.

    Attributes:
        answer: Gives the reply's body for a request, or None to keep silent.
        announced: The same for the announcement of a request that comes in parts.
        seen: The messages that came.
        tasks: What a test's answers started.
        health: What it replies to health requests; None to keep silent.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.answer: Answer = answer_well
        self.announced: Callable[[Msg], bytes | None] = lambda _: None
        self.seen: list[Msg] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.health: bytes | None = HEALTHY.to_bytes()

    @classmethod
    async def start(cls, client: Client, prefix: str = "claude.cli") -> Self:
        """Listen, and be sure that the server knows."""
        made = cls(client)
        await client.subscribe(f"{prefix}.execute", queue="claude-cli", cb=made._on_request)
        await client.subscribe(f"{prefix}.health.*", cb=made._on_health)
        await client.subscribe(f"{prefix}.health", cb=made._on_health)
        await settle(client)
        return made

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The requests' bodies."""
        return [json.loads(message.data) for message in self.seen]

    async def _on_request(self, message: Msg) -> None:
        self.seen.append(message)
        body = self.answer(json.loads(message.data)) if message.data else self.announced(message)
        if body is not None:
            await self.client.publish(message.reply, body)

    async def _on_health(self, message: Msg) -> None:
        self.seen.append(message)
        if self.health is not None:
            await self.client.publish(message.reply, self.health)


class FakeInstance:
    """An instance that hears frames on a raw connection, and says what a test tells it to say of one attempt.

    Attributes:
        told: The kinds of frames that it was told.
    """

    def __init__(self, client: Client, attempt: str) -> None:
        self._client = client
        self._attempt = attempt
        self._name = new_ulid()
        self.told: list[str] = []

    @classmethod
    async def start(cls, client: Client, attempt: str) -> Self:
        """Listen until the connection is closed, and be sure that the server knows."""
        made = cls(client, attempt)
        await client.subscribe(f"claude.cli.instance.{made._name}", cb=made._on_frame)
        await settle(client)
        return made

    async def say(self, kind: FrameKind, **more: Any) -> None:
        """Send a frame to the requester."""
        frame = Frame(kind, instance=self._name, **more)
        await self._client.publish(self._attempt, frame.payload, headers=frame.headers())

    async def _on_frame(self, message: Msg) -> None:
        self.told.append((message.headers or {})[HEADER_FRAME])


async def settle(client: Client) -> None:
    """Wait until the server has handled what was sent; the first PING overtakes it."""
    await client.flush()
    await client.flush()


@dataclass
class FakeWay:
    """A way to the responders that plays a list of outcomes, one for each attempt.

    Attributes:
        outcomes: Errors to raise, or makers of replies from the request's bytes.
        sent: The requests' bodies, and what was ordered with each.
    """

    outcomes: Iterable[RequesterError | Callable[[dict[str, Any]], bytes]]
    server: tuple[str, int] | None = ("127.0.0.1", 4222)
    sent: list[tuple[dict[str, Any], Order]] = field(default_factory=list)
    connect: Callable[[], Awaitable[None]] | None = None

    def __post_init__(self) -> None:
        self._outcomes = iter(self.outcomes)

    async def wait_connected(self, within_s: float) -> None:
        assert within_s <= 100
        if self.connect is not None:
            await self.connect()

    def check_size(self, body: bytes, headers: dict[str, str]) -> None:
        assert body
        assert headers

    async def attend(self, order: Order) -> bytes:
        request = json.loads(order.body)
        self.sent.append((request, order))
        outcome = next(self._outcomes)
        if isinstance(outcome, RequesterError):
            raise outcome
        return outcome(request)


@dataclass(frozen=True)
class Published:
    """A message that was published.

    Attributes:
        subject: Where.
        reply: Where what NATS says of it goes.
        headers: Its headers.
        body: Its payload.
    """

    subject: str
    reply: str
    headers: dict[str, str]
    body: bytes

    @property
    def instance(self) -> str:
        """The instance it was sent to."""
        return self.subject.rpartition(".")[2]

    @property
    def frame(self) -> Frame:
        """It as a frame."""
        frame = read_frame(self.headers, self.body)
        assert frame is not None
        return frame


class FakeConnection:
    """A connection without a server: what `Link` uses of nats-py's client, with an answer of the test's.

    Attributes:
        answer: As in `FakeResponder`.
        publishing: Awaited inside each publish.
        published: The requests' bodies.
        headers: And their headers.
        opened: The requests as they were published.
        told: The frames to instances.
        telling: Is told of each such frame, and may fail.
    """

    def __init__(self) -> None:
        self.is_closed = False
        self.is_connected = True
        self.is_reconnecting = False
        self.connected_url = None
        self.stats = {"reconnects": 0}
        self.max_payload = 1_000_000
        self.stats = {"reconnects": 0}
        self.last_error: Exception | None = None
        self.answer: Callable[[str, dict[str, Any]], bytes | None] = lambda _, request: answer_well(request)
        self.publishing: Callable[[], Awaitable[None]] | None = None
        self.published: list[dict[str, Any]] = []
        self.headers: list[dict[str, str] | None] = []
        self.opened: list[Published] = []
        self.told: list[Published] = []
        self.telling: Callable[[Published], None] = lambda _: None
        self._on_message: Callable[[Msg], Awaitable[None]] | None = None

    @property
    def is_listening(self) -> bool:
        """Whether there is a subscription."""
        return self._on_message is not None

    def as_client(self) -> Client:
        """Give it under the type of the real one."""
        return cast("Client", self)

    def new_inbox(self) -> str:
        return "_INBOX.fake"

    async def subscribe(self, subject: str, cb: Callable[[Msg], Awaitable[None]]) -> "FakeConnection":
        assert subject == "_INBOX.fake.*"
        self._on_message = cb
        return self

    async def unsubscribe(self) -> None:
        self._on_message = None

    async def publish(self, subject: str, payload: bytes, reply: str, headers: dict[str, str] | None) -> None:
        assert headers != {}
        if self.publishing is not None:
            await self.publishing()
        published = Published(subject, reply, headers or {}, payload)
        if HEADER_FRAME in published.headers:
            self.telling(published)
            self.told.append(published)
            return
        self.opened.append(published)
        if not payload:
            return
        request = json.loads(payload)
        self.published.append(request)
        self.headers.append(headers)
        body = self.answer(subject, request)
        if body is not None:
            await self.hear(reply, {}, body)

    async def hear(self, subject: str, headers: dict[str, str], body: bytes = b"") -> None:
        """Let a message arrive, if somebody listens."""
        if self._on_message is not None:
            await self._on_message(Msg(_client=self.as_client(), subject=subject, data=body, headers=headers))

    async def flush(self) -> None:
        raise AssertionError("a flush that is cut short kills nats-py's read loop, and this connection lives on")

    async def close(self) -> None:
        raise AssertionError("a given connection is not closed")


def other_tasks() -> set["asyncio.Task[Any]"]:
    """Give the loop's tasks besides the caller's own."""
    current = asyncio.current_task()
    return {task for task in asyncio.all_tasks() if task is not current}
