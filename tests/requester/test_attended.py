"""One attempt over a connection without a server: what is sent, handed on and raised."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from contract import Frame, FrameKind, Subjects, new_ulid
from requester.attended import Order, attend
from requester.link import Link
from tests.requester.fakes import SUBJECT, FakeConnection, other_tasks
from tests.support.conditions import wait_until

A, B = new_ulid(), new_ulid()
REPLY = b'{"success": true}'
NO_RESPONDERS = {"Status": "503"}
GO, ACK, CANCEL, BODY = FrameKind.GO, FrameKind.ACK, FrameKind.CANCEL, FrameKind.BODY


@dataclass
class Stage:
    """An attempt on its way, and what a test plays for it.

    Attributes:
        connection: What it goes over.
        link: The same, as the requester has it.
        order: What is ordered.
        task: The attempt.
    """

    connection: FakeConnection
    link: Link
    order: Order
    task: "asyncio.Task[bytes] | None" = None

    async def begin(self, **changes: Any) -> None:
        """Send the request."""
        before = len(self.connection.opened)
        self.task = asyncio.create_task(attend(self.link, SUBJECT, replace(self.order, **changes)))
        await wait_until(lambda: len(self.connection.opened) > before, "the request is sent")

    async def end(self) -> bytes:
        """Give what came of it."""
        assert self.task is not None
        async with asyncio.timeout(10):
            return await self.task

    @property
    def attempt(self) -> str:
        """Its name."""
        return self.connection.opened[-1].reply

    @property
    def told(self) -> list[tuple[FrameKind, str]]:
        """The frames that were sent to instances, probes left out."""
        frames = [(one.frame.kind, one.instance) for one in self.connection.told]
        return [one for one in frames if one[0] is not FrameKind.PROBE]

    async def say(self, kind: FrameKind, instance: str = A, **more: Any) -> None:
        """Let a frame of an instance arrive."""
        if kind in {FrameKind.ACCEPTED, FrameKind.READY}:
            more = {"responder": f"responder-{instance[-1]}", "beat_ms": 750, **more}
        frame = Frame(kind, instance=instance, **more)
        await self.connection.hear(self.attempt, frame.headers(), frame.payload)

    async def wait_told(self, *told: tuple[FrameKind, str]) -> None:
        """Wait until just these frames were sent."""
        await wait_until(lambda: len(self.told) >= len(told), f"{told} are sent")
        assert self.told == list(told)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    connection = FakeConnection()
    connection.answer = lambda _, __: None
    link = Link(connection.as_client(), Subjects())
    await link.listen()
    order = Order(
        body=b'{"prompt": "2+2?"}',
        headers={"traceparent": "00-1-2-01"},
        accept_s=60,
        deadline=asyncio.get_running_loop().time() + 60,
        reply_grace_s=5,
        reply_max_bytes=1000,
    )
    made = Stage(connection, link, order)
    yield made
    if made.task is not None:
        made.task.cancel()
        await asyncio.wait({made.task})
    await link.forget()
    assert len(link.inbox) == 0
    await wait_until(lambda: not other_tasks(), "nothing is left")


async def test_an_attempt_from_end_to_end(stage: Stage) -> None:
    """The go goes to whoever is ready, the acknowledgement to whoever had the result; each names the attempt."""
    told: list[str] = []
    await stage.begin(accepted_by=told.append)
    [opened] = stage.connection.opened
    assert opened.subject == SUBJECT
    assert opened.body == stage.order.body
    assert opened.headers == {"traceparent": "00-1-2-01", "Claude-Attend": "1"}
    await stage.say(FrameKind.ACCEPTED)
    await stage.say(FrameKind.READY)
    await stage.wait_told((GO, A))
    assert stage.connection.told[0].frame.attempt == stage.attempt
    await stage.say(FrameKind.RESULT, body=REPLY)
    assert await stage.end() == REPLY
    await stage.wait_told((GO, A), (ACK, A))
    assert stage.connection.told[-1].frame.attempt == stage.attempt
    assert told == [f"responder-{A[-1]}"] * 2


async def test_the_first_that_is_ready(stage: Stage) -> None:
    """Of two that hold the same attempt the first gets the go, the other is told to forget it."""
    await stage.begin()
    await stage.say(FrameKind.READY, A)
    await stage.say(FrameKind.READY, B)
    await stage.say(FrameKind.RESULT, B, body=b"another")
    await stage.say(FrameKind.RESULT, A, body=REPLY)
    assert await stage.end() == REPLY
    assert stage.told == [(GO, A), (CANCEL, B), (CANCEL, B), (ACK, A)]


async def test_the_end_of_a_second_holder(stage: Stage) -> None:
    """A 503 to what was told a second holder says nothing of the first, which has the go and runs."""
    await stage.begin()
    await stage.say(FrameKind.READY, A)
    await stage.say(FrameKind.READY, B)
    await stage.wait_told((GO, A), (CANCEL, B))
    await stage.connection.hear(stage.connection.told[-1].reply, NO_RESPONDERS)
    await stage.say(FrameKind.RESULT, A, body=REPLY)
    assert await stage.end() == REPLY


async def test_a_plain_refusal(stage: Stage) -> None:
    """A refusal before admission is a reply without a frame, and the attempt's."""
    await stage.begin()
    await stage.connection.hear(stage.attempt, {"Nats-Service-Error": "m"}, REPLY)
    assert await stage.end() == REPLY
    assert not stage.told


async def test_what_is_no_frame_of_the_protocol(stage: Stage) -> None:
    """A frame that cannot be read is dropped, and the attempt goes on."""
    await stage.begin()
    await stage.connection.hear(stage.attempt, {"Claude-Frame": "result", "Claude-Instance": "nobody"}, REPLY)
    await stage.say(FrameKind.RESULT, body=REPLY)
    assert await stage.end() == REPLY
