"""One attempt over a connection without a server: what is sent, handed on and raised."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from nats import errors as nats_errors

from contract import Frame, FrameKind, Part, Subjects, Whole, message_size, new_ulid, split
from requester import (
    ExecuteTimeoutError,
    NoRespondersError,
    NotConnectedError,
    NotPermittedError,
    OutputTooLargeError,
    ProtocolError,
    RequesterError,
    ResponderLostError,
)
from requester.attended import Order, attend
from requester.inbox import InstanceTrouble, Item, RawReply
from requester.link import Link
from requester.output import OutputFollower
from requester.refusals import publish_forbidden
from tests.requester.fakes import SUBJECT, FakeConnection, Published, other_tasks
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

    async def give_up(self) -> None:
        """Cancel it."""
        assert self.task is not None
        self.task.cancel()
        await asyncio.wait({self.task})
        assert self.task.cancelled()

    def deliver(self, item: Item) -> None:
        """Put something into its mailbox."""
        assert self.link.inbox.deliver(self.attempt.rpartition(".")[2], item)

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
    if made.task is not None and not made.task.done():
        await made.give_up()
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


@pytest.mark.parametrize("is_told_to_start", [False, True])
async def test_a_cancelled_attempt(stage: Stage, is_told_to_start: bool) -> None:
    """Whoever is cancelled waits for nothing; the instance that has the request is told in the background."""
    await stage.begin()
    await stage.say(FrameKind.READY if is_told_to_start else FrameKind.ACCEPTED)
    await wait_until(lambda: A in repr(stage.link.watch), "it is there")
    attempt = stage.attempt
    await stage.give_up()
    await stage.wait_told(*[(GO, A)] * is_told_to_start, (CANCEL, A))
    assert stage.connection.told[-1].frame.attempt == attempt


async def test_a_cancelled_attempt_that_nobody_has_accepted(stage: Stage) -> None:
    """Whoever accepts a request after it was given up is told to forget it."""
    await stage.begin()
    await stage.give_up()
    assert not stage.told
    await stage.say(FrameKind.READY, B)
    await stage.wait_told((CANCEL, B))


async def test_a_request_in_parts(stage: Stage) -> None:
    """A request that no message holds is announced; its parts go, once, to the instance that has accepted it."""
    body = b"x" * 20_000
    stage.connection.max_payload = 8_192
    await stage.begin(body=body)
    parts = split(body, 8_192 - 1024)
    [opened] = stage.connection.opened
    assert opened.body == b""
    assert opened.headers["Claude-Part"] == "0/3"
    assert opened.headers["Claude-Digest"] == parts[0].whole.digest
    await stage.say(FrameKind.ACCEPTED)
    await stage.say(FrameKind.ACCEPTED)
    await stage.say(FrameKind.READY)
    await stage.wait_told((BODY, A), (BODY, A), (BODY, A), (GO, A))
    assert [one.frame.part for one in stage.connection.told[:3]] == parts
    assert all(one.frame.attempt == stage.attempt for one in stage.connection.told)
    await stage.say(FrameKind.RESULT, body=REPLY)
    assert await stage.end() == REPLY


async def test_a_request_that_fits(stage: Stage) -> None:
    """A request of exactly what a message holds, headers included, is sent as one."""
    await stage.begin(body=b" " * 4998 + b"{}")
    [opened] = stage.connection.opened
    stage.connection.max_payload = message_size(opened.headers, opened.body)
    await stage.give_up()
    await stage.begin(body=opened.body)
    assert stage.connection.opened[-1].body == opened.body
    await stage.give_up()
    await stage.begin(body=b" " + opened.body)
    assert stage.connection.opened[-1].headers["Claude-Part"] == "0/2"


async def test_a_result_in_parts(stage: Stage) -> None:
    """A result in parts is acknowledged when it is whole."""
    await stage.begin()
    await stage.say(FrameKind.READY)
    parts = split(REPLY, 6)
    for part in reversed(parts):
        assert (ACK, A) not in stage.told
        await stage.say(FrameKind.RESULT, part=part)
    assert await stage.end() == REPLY
    assert stage.told == [(GO, A), (ACK, A)]


async def test_output(stage: Stage) -> None:
    """What the CLI prints is handed on as it comes, from the one that was told to start and from no other."""
    printed: list[str] = []
    await stage.begin(output=OutputFollower(printed.append))
    assert stage.connection.opened[-1].headers["Claude-Stream"] == "1"
    await stage.say(FrameKind.OUTPUT, offset=0, body=b"too early\n")
    await stage.say(FrameKind.READY)
    await stage.say(FrameKind.OUTPUT, B, offset=0, body=b"somebody else's\n")
    await stage.say(FrameKind.OUTPUT, offset=0, body=b"one\n")
    await stage.say(FrameKind.OUTPUT, body=b"nowhere\n")
    await stage.say(FrameKind.OUTPUT, offset=4, body=b"two\n")
    await wait_until(lambda: len(printed) >= 2, "it is handed on")
    await stage.say(FrameKind.RESULT, body=REPLY)
    assert await stage.end() == REPLY
    assert printed == ["one\n", "two\n"]


async def test_output_that_nobody_wants(stage: Stage) -> None:
    """Without anybody to hand it to no output is asked for, and what comes is dropped."""
    await stage.begin()
    assert "Claude-Stream" not in stage.connection.opened[-1].headers
    await stage.say(FrameKind.READY)
    await stage.say(FrameKind.OUTPUT, offset=0, body=b"one\n")
    await stage.say(FrameKind.RESULT, body=REPLY)
    assert await stage.end() == REPLY


async def test_a_caller_that_cannot_take_its_output(stage: Stage) -> None:
    """An exception of the caller's own ends the attempt, and the run with it."""

    def fail(_text: str) -> None:
        raise ZeroDivisionError

    await stage.begin(output=OutputFollower(fail))
    await stage.say(FrameKind.READY)
    await stage.say(FrameKind.OUTPUT, offset=0, body=b"one\n")
    with pytest.raises(ZeroDivisionError):
        await stage.end()
    await stage.wait_told((GO, A), (CANCEL, A))


async def test_output_does_not_stop_the_clock(stage: Stage) -> None:
    """An instance that has something to say at all times is not waited for beyond the grace."""
    offset = 0

    def print_more(_text: str) -> None:
        nonlocal offset
        offset += 1
        assert offset < 100_000, "it never ends"
        frame = Frame(FrameKind.OUTPUT, instance=A, offset=offset, body=b"\n")
        stage.deliver(RawReply(frame.headers(), frame.payload))

    deadline = asyncio.get_running_loop().time() + 0.05
    await stage.begin(output=OutputFollower(print_more), deadline=deadline, reply_grace_s=0)
    await stage.say(FrameKind.READY)
    await stage.say(FrameKind.OUTPUT, offset=0, body=b"\n")
    with pytest.raises(ExecuteTimeoutError, match="whether the CLI ran is not known"):
        await stage.end()


Play = Callable[[Stage], Awaitable[None]]


def says(kind: FrameKind, **more: Any) -> Play:
    """Play a frame of the instance."""
    return lambda stage: stage.say(kind, A, **more)


def hears(item: Item) -> Play:
    """Play what the connection or the watch says."""

    async def play(stage: Stage) -> None:
        stage.deliver(item)

    return play


async def refuse(stage: Stage) -> None:
    """Play a 503 to the attempt."""
    await stage.connection.hear(stage.attempt, NO_RESPONDERS)


LIE = Part(1, Whole(1, 3, "0" * 64), b"abc")
LARGE = Part(1, Whole(1, 1001, "0" * 64), b"abc")
ACCEPTED, READY = says(FrameKind.ACCEPTED), says(FrameKind.READY)


@pytest.mark.parametrize(
    ("plays", "kind", "executed", "text", "told"),
    [
        ([refuse], NoRespondersError, False, "no responder listens on claude.cli.execute", []),
        ([ACCEPTED, hears(InstanceTrouble(A, is_lost=False))], ResponderLostError, False, "before it could", [CANCEL]),
        ([ACCEPTED, hears(InstanceTrouble(A, is_lost=True))], ResponderLostError, False, "before it could", [CANCEL]),
        ([READY, refuse], ResponderLostError, False, "gone when it should start", [GO]),
        ([READY, hears(InstanceTrouble(A, is_lost=True))], ResponderLostError, True, "after it was told", [GO, CANCEL]),
        ([READY, says(FrameKind.RESULT, part=LARGE)], OutputTooLargeError, True, "limit of 1000", [GO, ACK]),
        ([READY, says(FrameKind.RESULT, part=LIE)], ProtocolError, None, "do not add up", [GO, ACK]),
        ([hears(NotConnectedError("m", executed=None))], NotConnectedError, False, "m", []),
        ([READY, hears(NotConnectedError("m", executed=None))], NotConnectedError, None, "m", [GO, CANCEL]),
        ([READY, hears(publish_forbidden(SUBJECT))], NotPermittedError, None, "publish", [GO, CANCEL]),
    ],
)
async def test_what_each_ending_means(
    stage: Stage,
    plays: list[Play],
    kind: type[RequesterError],
    executed: bool | None,
    text: str,
    told: list[FrameKind],
) -> None:
    """Each ending is raised as an error that says whether the CLI may have been started, and by whom."""
    await stage.begin()
    for play in plays:
        await play(stage)
    with pytest.raises(kind, match=text) as caught:
        await stage.end()
    assert type(caught.value) is kind
    assert caught.value.executed is executed
    is_by_instance = isinstance(caught.value, ResponderLostError | OutputTooLargeError | ProtocolError)
    assert caught.value.responder == (f"responder-{A[-1]}" if is_by_instance else None)
    await stage.wait_told(*((one, A) for one in told))


@pytest.mark.parametrize(
    ("plays", "kind", "executed", "text", "told"),
    [
        ([], ExecuteTimeoutError, False, "before a responder could start", []),
        ([ACCEPTED], ExecuteTimeoutError, False, "before a responder could start", [CANCEL]),
        ([READY], ExecuteTimeoutError, None, "whether the CLI ran is not known", [GO, CANCEL]),
    ],
)
async def test_what_takes_too_long(
    stage: Stage,
    plays: list[Play],
    kind: type[RequesterError],
    executed: bool | None,
    text: str,
    told: list[FrameKind],
) -> None:
    """At the deadline, and after a go at the end of the grace, nobody waits any more."""
    deadline = asyncio.get_running_loop().time() + 0.05
    await stage.begin(deadline=deadline, reply_grace_s=0.02)
    for play in plays:
        await play(stage)
    with pytest.raises(kind, match=text) as caught:
        await stage.end()
    assert caught.value.executed is executed
    assert asyncio.get_running_loop().time() >= deadline + (0.02 if GO in told else 0)
    await stage.wait_told(*((one, A) for one in told))


async def test_a_request_that_nobody_accepts(stage: Stage) -> None:
    """After the accept timeout the attempt moves; nobody is named, since nobody is known."""
    await stage.begin(accept_s=0.02)
    with pytest.raises(ResponderLostError, match="no responder has accepted") as caught:
        await stage.end()
    assert (caught.value.executed, caught.value.responder) == (False, None)


async def test_what_cannot_be_reached_for_a_moment(stage: Stage) -> None:
    """An instance that has the go and cannot be reached just now is waited for: it may be back in a moment."""
    await stage.begin()
    await READY(stage)
    stage.deliver(InstanceTrouble(A, is_lost=False))
    await stage.say(FrameKind.RESULT, body=REPLY)
    assert await stage.end() == REPLY


@pytest.mark.parametrize("kind", [GO, BODY])
async def test_what_could_not_be_sent(stage: Stage, kind: FrameKind) -> None:
    """A go, or a request's part, that could not be sent was heard by nobody: the attempt moves."""

    def fail(published: Published) -> None:
        if published.frame.kind is kind:
            raise nats_errors.ConnectionReconnectingError

    stage.connection.telling = fail
    stage.connection.max_payload = 4_096
    await stage.begin(body=b"x" * 5000)
    await stage.say(FrameKind.ACCEPTED)
    await stage.say(FrameKind.READY)
    with pytest.raises(ResponderLostError) as caught:
        await stage.end()
    assert (caught.value.executed, caught.value.responder) == (False, f"responder-{A[-1]}")


@pytest.mark.parametrize("kind", [ACK, CANCEL])
async def test_what_need_not_be_sent(stage: Stage, kind: FrameKind) -> None:
    """An acknowledgement or a cancel that could not be sent changes nothing: it is asked for again."""

    def fail(published: Published) -> None:
        if published.frame.kind is kind:
            raise nats_errors.ConnectionReconnectingError

    stage.connection.telling = fail
    await stage.begin()
    await stage.say(FrameKind.READY, A)
    await stage.say(FrameKind.READY, B)
    await stage.say(FrameKind.RESULT, A, body=REPLY)
    assert await stage.end() == REPLY


@pytest.mark.parametrize("more", [{}, {"responder": None, "beat_ms": None}])
async def test_where_it_is_watched(stage: Stage, more: dict[str, Any]) -> None:
    """An attempt is watched where it is, also at an instance that does not say its name; afterwards nowhere."""
    await stage.begin()
    await stage.say(FrameKind.ACCEPTED, A, **more)
    await wait_until(lambda: repr(stage.link.watch) == f"<Watch {A}: alive>", "the first is watched")
    await stage.say(FrameKind.READY, B, **more)
    await wait_until(lambda: repr(stage.link.watch) == f"<Watch {B}: alive>", "the second is watched")
    await stage.say(FrameKind.READY, A, **more)
    await stage.wait_told((GO, B), (CANCEL, A))
    assert repr(stage.link.watch) == f"<Watch {B}: alive>"
    await stage.say(FrameKind.RESULT, B, body=REPLY)
    assert await stage.end() == REPLY
    assert repr(stage.link.watch) == "<Watch >"
