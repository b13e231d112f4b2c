"""Watching instances: what is sent, and what is concluded from what comes back and from what does not."""

import asyncio
from contextlib import ExitStack

import pytest

from contract import SETTLE_S, Frame, FrameKind, new_ulid
from requester.inbox import Inbox, InstanceTrouble, Mailbox, RawReply
from requester.watch import PROBE_INTERVAL_S, Attending, Watch
from tests.requester.fakes import SUBJECT, other_tasks
from tests.support.virtual_time import advance, settle, skip, virtual_time

A, B = new_ulid(), new_ulid()
BEAT_S = 0.75
GONE_AFTER_S = 0.5
NO_RESPONDERS = RawReply({"Status": "503"}, b"")


class FakeLine:
    """A connection that notes what is sent.

    Attributes:
        is_up: Whether it is connected.
        reconnects: How often it was renewed.
        sent: The frames, to whom, and the token under which NATS would answer.
    """

    def __init__(self) -> None:
        self.is_up = True
        self.reconnects = 0
        self.sent: list[tuple[Frame, str, str]] = []

    def send_soon(self, frame: Frame, instance: str, token: str) -> None:
        self.sent.append((frame, instance, token))

    def attempt_of(self, token: str) -> str:
        return f"_INBOX.s.{token}"

    def take(self) -> list[tuple[FrameKind, str]]:
        """Give what was sent, once."""
        sent, self.sent = self.sent, []
        return [(frame.kind, instance) for frame, instance, _ in sent]


class Stage:
    """A watch, and what a test plays for it.

    Attributes:
        line: Its connection.
        inbox: Its mailboxes.
        watch: The watch.
        beats: How many there were, of all instances together.
    """

    def __init__(self) -> None:
        self.line = FakeLine()
        self.inbox = Inbox()
        self.watch = Watch(self.line, self.inbox)
        self.beats = 0
        self._attempts = ExitStack()

    def attempt(self, *instances: str) -> tuple[Mailbox, Attending]:
        """Have an attempt that was at these instances, one after the other."""
        mailbox = self._attempts.enter_context(self.inbox.open(SUBJECT))
        attending = self._attempts.enter_context(self.watch.attending(mailbox))
        for instance in instances:
            attending.at(instance, BEAT_S, self.beats)
        return mailbox, attending

    def end(self) -> None:
        """End all attempts."""
        self._attempts.close()

    def beat(self, instance: str, *mailboxes: Mailbox, more: str = "") -> None:
        """Let a beat arrive that lists attempts."""
        listed = "\n".join([*(mailbox.token for mailbox in mailboxes), *([more] if more else [])])
        self.beats += 1
        frame = Frame(FrameKind.BEAT, instance=instance, beat=self.beats, body=listed.encode())
        self.watch.hear(instance)
        self.watch.take(instance, RawReply(frame.headers(), frame.payload))

    async def let_beat(self, seconds: float, instance: str, *mailboxes: Mailbox) -> None:
        """Let time pass in which an instance beats."""
        for _ in range(round(seconds / BEAT_S)):
            await advance(BEAT_S)
            self.beat(instance, *mailboxes)


async def heard(mailbox: Mailbox) -> list[InstanceTrouble]:
    """Give what a mailbox was told of instances."""
    now = asyncio.get_running_loop().time()
    told: list[InstanceTrouble] = []
    while (item := await mailbox.get(now)) is not None:
        assert isinstance(item, InstanceTrouble)
        told.append(item)
    return told


@virtual_time
async def test_probes_only_while_attempts_are_there() -> None:
    """An instance is probed while attempts are there, and nothing is left to do when none is."""
    stage = Stage()
    stage.attempt()
    await advance(1)
    assert not stage.line.sent
    _, attending = stage.attempt(A)
    await advance(PROBE_INTERVAL_S)
    [(frame, instance, token)] = stage.line.sent
    assert (frame.kind, instance, token) == (FrameKind.PROBE, A, A)
    attending.leave()
    stage.line.take()
    await advance(PROBE_INTERVAL_S)
    assert not stage.line.sent
    assert not other_tasks()
    stage.attempt(A)
    await advance(PROBE_INTERVAL_S)
    assert stage.line.take() == [(FrameKind.PROBE, A)]
    stage.end()
    await advance(PROBE_INTERVAL_S)
    assert not other_tasks()


@virtual_time
async def test_a_thousand_attempts_are_one_probe() -> None:
    """However many attempts are at an instance, it is probed once in each interval."""
    stage = Stage()
    for _ in range(1000):
        stage.attempt(A)
    stage.attempt(B)
    await advance(PROBE_INTERVAL_S)
    assert sorted(stage.line.take()) == sorted([(FrameKind.PROBE, A), (FrameKind.PROBE, B)])
    await advance(PROBE_INTERVAL_S)
    assert len(stage.line.take()) == 2
    stage.end()


@virtual_time
async def test_an_instance_that_beats() -> None:
    """Nothing is said of an instance that beats and lists its attempts."""
    stage = Stage()
    mailbox, _ = stage.attempt(A)
    await stage.let_beat(60, A, mailbox)
    assert not await heard(mailbox)
    assert {kind for kind, _ in stage.line.take()} == {FrameKind.PROBE}
    stage.end()


@virtual_time
async def test_three_silent_beats() -> None:
    """An instance of which nothing is heard for three of its beats is lost, to all attempts there and to no other."""
    stage = Stage()
    first, _ = stage.attempt(A)
    second, _ = stage.attempt(A)
    other, _ = stage.attempt(B)
    for _ in range(7):
        await advance(PROBE_INTERVAL_S)
        stage.beat(B, other)
    assert not await heard(first)
    await advance(PROBE_INTERVAL_S)
    assert InstanceTrouble(A, is_lost=True) in await heard(first)
    assert InstanceTrouble(A, is_lost=True) in await heard(second)
    assert not await heard(other)
    stage.end()


@virtual_time
async def test_any_frame_is_a_sign_of_life() -> None:
    """Whatever an instance sends counts as much as a beat."""
    stage = Stage()
    mailbox, _ = stage.attempt(A)
    for _ in range(10):
        await advance(2)
        stage.watch.hear(A)
        stage.watch.hear(B)
    assert not await heard(mailbox)
    stage.end()


@virtual_time
async def test_a_503_to_a_probe() -> None:
    """At the first 503 every attempt there hears that it cannot be reached, after half a second that it is lost."""
    stage = Stage()
    mailboxes = [stage.attempt(A)[0] for _ in range(3)]
    other, _ = stage.attempt(B)
    await advance(PROBE_INTERVAL_S)
    began = asyncio.get_running_loop().time()
    stage.watch.take(A, NO_RESPONDERS)
    for mailbox in mailboxes:
        assert await heard(mailbox) == [InstanceTrouble(A, is_lost=False)]
    while not any(trouble.is_lost for trouble in await heard(mailboxes[0])):
        stage.line.take()
        await advance(0.1)
        for kind, instance in stage.line.take():
            assert kind is FrameKind.PROBE
            if instance == A:
                stage.watch.take(A, NO_RESPONDERS)
    took = asyncio.get_running_loop().time() - began
    assert GONE_AFTER_S <= took < GONE_AFTER_S + 0.05
    assert not await heard(other)
    stage.end()


@virtual_time
async def test_an_instance_that_was_away_for_a_moment() -> None:
    """An instance that is heard of again is watched as before."""
    stage = Stage()
    mailbox, _ = stage.attempt(A)
    stage.watch.take(A, NO_RESPONDERS)
    await advance(0.4)
    assert await heard(mailbox)
    stage.beat(A, mailbox)
    await advance(0.4)
    assert not await heard(mailbox)
    stage.watch.take(A, NO_RESPONDERS)
    assert await heard(mailbox) == [InstanceTrouble(A, is_lost=False)]
    stage.end()


@virtual_time
async def test_a_503_of_nobody() -> None:
    """A 503 to what was sent for an attempt that has ended, or to an instance that is not watched, says nothing."""
    stage = Stage()
    mailbox, _ = stage.attempt(A)
    stage.watch.take(B, NO_RESPONDERS)
    stage.watch.take("0123", NO_RESPONDERS)
    assert not await heard(mailbox)
    stage.end()


@virtual_time
async def test_a_beat_that_does_not_list_an_attempt() -> None:
    """An attempt that is missing in its instance's beat is lost; the others there are not."""
    stage = Stage()
    listed, _ = stage.attempt(A)
    missing, _ = stage.attempt(A)
    elsewhere, _ = stage.attempt(B)
    stage.beat(A, listed)
    assert await heard(missing) == [InstanceTrouble(A, is_lost=True)]
    assert not await heard(listed)
    assert not await heard(elsewhere)
    stage.end()


@virtual_time
async def test_a_beat_from_before_an_attempt() -> None:
    """A beat says nothing of an attempt that was accepted after it; one without a number says nothing of any."""
    stage = Stage()
    stage.beats = 7
    mailbox, attending = stage.attempt(A)
    for number in (None, 6, 7):
        frame = Frame(FrameKind.BEAT, instance=A, beat=number)
        stage.watch.take(A, RawReply(frame.headers(), frame.payload))
    assert not await heard(mailbox)
    attending.at(A, BEAT_S, 8)
    stage.beat(A)
    assert await heard(mailbox) == [InstanceTrouble(A, is_lost=True)]
    stage.end()


@virtual_time
async def test_an_attempt_that_was_taken_over() -> None:
    """An attempt that has gone elsewhere is missed by nobody where it was."""
    stage = Stage()
    mailbox, _ = stage.attempt(A, B)
    stage.attempt(A)
    stage.beat(A)
    stage.watch.take(A, NO_RESPONDERS)
    assert not await heard(mailbox)
    stage.beat(B)
    assert await heard(mailbox) == [InstanceTrouble(B, is_lost=True)]
    stage.end()


@virtual_time
async def test_a_beat_that_lists_what_nobody_awaits() -> None:
    """What an instance holds and nobody awaits is cancelled there, by its full name; what is no name is not."""
    stage = Stage()
    mailbox, _ = stage.attempt(A)
    stage.beat(A, mailbox, more="0123\n*\n>\na.b\n\xe4")
    [(frame, instance, token)] = stage.line.sent
    assert (frame.kind, frame.attempt, instance, token) == (FrameKind.CANCEL, "_INBOX.s.0123", A, "0123")
    stage.line.take()
    stage.beat(B, more="0124")
    assert stage.line.take() == [(FrameKind.CANCEL, B)]
    stage.end()


@pytest.mark.parametrize(
    ("kind", "is_answered"),
    [
        (FrameKind.ACCEPTED, True),
        (FrameKind.READY, True),
        (FrameKind.OUTPUT, True),
        (FrameKind.RESULT, True),
        (FrameKind.GO, False),
        (FrameKind.CANCEL, False),
        (FrameKind.PROBE, False),
    ],
)
@virtual_time
async def test_strays(kind: FrameKind, is_answered: bool) -> None:
    """A frame for an attempt that has ended is answered with a cancel, if it is one that requesters get."""
    stage = Stage()
    stage.watch.take("0123", RawReply(Frame(kind, instance=A).headers(), b""))
    assert [(frame.kind, frame.attempt, instance) for frame, instance, _ in stage.line.sent] == (
        [(FrameKind.CANCEL, "_INBOX.s.0123", A)] if is_answered else []
    )
    await settle()


@pytest.mark.parametrize(
    "reply",
    [
        RawReply({}, b"{}"),
        RawReply({"Claude-Frame": "result"}, b"{}"),
        RawReply({"Claude-Frame": "steal", "Claude-Instance": A}, b""),
        RawReply({"Claude-Frame": "beat", "Claude-Instance": "nobody"}, b"0123"),
        RawReply({"Claude-Frame": "beat", "Claude-Instance": A}, b"\xff\xfe"),
    ],
)
@virtual_time
async def test_what_is_no_frame_of_an_instance(reply: RawReply) -> None:
    """A late plain reply, and a frame that cannot be read or does not say whose it is, is answered by nothing."""
    stage = Stage()
    stage.watch.take("0123", reply)
    await settle()
    assert not stage.line.sent


@virtual_time
async def test_nothing_is_concluded_without_a_connection() -> None:
    """While there is no connection nothing is sent, and silence says nothing; afterwards three beats must be missed."""
    stage = Stage()
    mailbox, _ = stage.attempt(A)
    stage.line.is_up = False
    await advance(3600)
    assert not stage.line.sent
    assert not await heard(mailbox)
    stage.line.is_up, stage.line.reconnects = True, 1
    await advance(2)
    assert not await heard(mailbox)
    assert stage.line.take()
    await advance(0.9)
    assert InstanceTrouble(A, is_lost=True) in await heard(mailbox)
    stage.end()


def renew(stage: Stage) -> None:
    """Renew the connection so quickly that nobody sees it away."""
    stage.line.reconnects += 1


@pytest.mark.parametrize("is_there_before", [True, False])
@virtual_time
async def test_after_a_reconnect(is_there_before: bool) -> None:
    """For three seconds after our reconnect a 503 says nothing: the others may still be renewing theirs."""
    stage = Stage()
    before = [stage.attempt(A)[0]] if is_there_before else []
    await advance(10)
    stage.watch.hear(A)
    renew(stage)
    [mailbox] = before or [stage.attempt(A)[0]]
    await heard(mailbox)
    for _ in range(29):
        stage.watch.take(A, NO_RESPONDERS)
        await advance(0.1)
        stage.watch.hear(A)
    assert not await heard(mailbox)
    await advance(SETTLE_S - 2.9)
    stage.watch.take(A, NO_RESPONDERS)
    assert await heard(mailbox) == [InstanceTrouble(A, is_lost=False)]
    stage.end()


@virtual_time
async def test_an_instance_that_is_new_after_a_reconnect() -> None:
    """Who is first watched while the others are still renewing their connections is given the same time."""
    stage = Stage()
    stage.attempt(A)
    renew(stage)
    await advance(1)
    mailbox, _ = stage.attempt(B)
    stage.watch.take(B, NO_RESPONDERS)
    assert not await heard(mailbox)
    await advance(SETTLE_S)
    stage.watch.take(B, NO_RESPONDERS)
    assert await heard(mailbox)
    stage.end()


@virtual_time
async def test_a_process_that_stood_still() -> None:
    """Who stood still for a minute does not blame the instances: what they sent has yet to be read."""
    stage = Stage()
    mailbox, _ = stage.attempt(A)
    await advance(1)
    skip(60)
    await advance(PROBE_INTERVAL_S)
    assert not await heard(mailbox)
    stage.end()


@virtual_time
async def test_closing() -> None:
    """Nothing is left of a watch that was closed, also if attempts are still there; one that never began is closed."""
    stage = Stage()
    stage.watch.close()
    stage.attempt(A)
    stage.watch.close()
    await settle()
    assert not other_tasks()
    stage.end()


@virtual_time
async def test_what_it_shows() -> None:
    """The person on call sees who is watched, and what is thought of each."""
    stage = Stage()
    stage.attempt(A)
    stage.attempt(B)
    stage.watch.take(B, NO_RESPONDERS)
    assert repr(stage.watch) == f"<Watch {A}: alive, {B}: unreachable>"
    stage.end()
    assert repr(stage.watch) == "<Watch >"
