"""The sessions of requesters: one beat for all attempts of each, and when a requester is given up."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from contract import SETTLE_S, ExecuteFailure, FrameKind
from responder.slots import Slots
from tests.responder.parts import Outlet
from tests.responder.stage import INSTANCE, SESSION, UNATTENDED_MAX_S, Stage
from tests.support.virtual_time import advance, settle, skip, virtual_time

BEAT_SUBJECT = f"{SESSION}.{INSTANCE.id}"


def beats(stage: Stage, subject: str = BEAT_SUBJECT) -> list[list[str]]:
    """Give the attempts that each beat for a session has named."""
    return [
        body.decode().split("\n")
        for published, body, headers in stage.outlet.published
        if published == subject and headers.get("Claude-Frame") == "beat"
    ]


async def started(stage: Stage, name: str = "t1", session: str = SESSION) -> None:
    """Bring an attempt to where it runs."""
    stage.ask(name, session=session, timeout_ms=3_600_000)
    await settle()
    stage.say(FrameKind.GO, name, session=session)
    await settle()
    assert stage.run.started[-1] == name


def is_running(stage: Stage, name: str = "t1") -> bool:
    """Say whether nothing has ended a run."""
    audience = stage.run.audiences[stage.run.started.index(name)]
    assert audience.cancelled is not None
    return not audience.cancelled.done()


async def alive(stage: Stage, seconds: float) -> None:
    """Let time pass while the requester probes."""
    for _ in range(round(seconds / 0.3)):
        stage.hear({"Claude-Frame": "probe"}, reply_subject=f"{SESSION}.{INSTANCE.id}")
        await advance(0.3)


async def leave(stage: Stage, beating: asyncio.Task[None] | None = None) -> None:
    """End all that there is, and see that nothing is left."""
    if beating is not None:
        beating.cancel()
    stage.attendance.give_up()
    stage.run.finish()
    await settle()
    for attempt in [caller.attempt for one in stage.sessions.sessions.values() for caller in one.callers.values()]:
        session, _, name = attempt.rpartition(".")
        stage.say(FrameKind.CANCEL, name, session=session)
    await settle()
    assert stage.is_idle()


@virtual_time
async def test_one_beat_for_a_thousand_attempts(tmp_path: Path) -> None:
    """However many attempts a session has, it gets one beat, which names them all, each time."""
    stage = Stage.make(tmp_path, slots=Slots(2, 1000), attempts_max=1000)
    for number in range(1000):
        stage.ask(f"t{number}")
    await settle()
    beating = stage.beat()
    await advance(0.75)
    await advance(0.75)
    assert [set(named) for named in beats(stage)] == [{f"t{number}" for number in range(1000)}] * 2
    await leave(stage, beating)


@virtual_time
async def test_a_renewed_connection_beats_at_once(tmp_path: Path) -> None:
    """Who has missed beats while the connection was away hears one as soon as it is back."""
    stage = Stage.make(tmp_path)
    beating = stage.beat()
    await started(stage)
    await advance(0.76)
    assert len(beats(stage)) == 1
    stage.sessions.reconnect()
    await settle()
    assert len(beats(stage)) == 2
    beating.cancel()
    stage.run.finish()
    await settle()
    stage.say(FrameKind.ACK)
    await settle()


@virtual_time
async def test_each_session_gets_its_own_beat(tmp_path: Path) -> None:
    """A beat names the attempts of its session alone, from their arrival to their end, and says where a 503 goes."""
    stage, other = Stage.make(tmp_path), "_INBOX.requester2"
    beating = stage.beat()
    await started(stage)
    stage.ask("t2", session=other)
    stage.ask("t3")
    await advance(0.8)
    stage.say(FrameKind.CANCEL, "t3")
    await advance(0.75)
    assert [sorted(named) for named in beats(stage)] == [["t1", "t3"], ["t1"]]
    assert beats(stage, f"{other}.{INSTANCE.id}") == [["t2"], ["t2"]]
    sent = dict(zip([subject for subject, *_ in stage.outlet.published], stage.outlet.reply_subjects, strict=True))
    assert sent[BEAT_SUBJECT] == f"_INBOX.responder.{SESSION}"
    assert sent[f"{other}.{INSTANCE.id}"] == f"_INBOX.responder.{other}"
    headers = next(headers for subject, _, headers in stage.outlet.published if subject == BEAT_SUBJECT)
    assert headers == {"Claude-Frame": "beat", "Claude-Instance": INSTANCE.id, "Claude-Beat": "1"}
    stage.run.finish()
    stage.say(FrameKind.CANCEL, "t2", session=other)
    await settle()
    stage.say(FrameKind.ACK)
    await settle()
    said = len(stage.outlet.published)
    await advance(5)
    assert len(stage.outlet.published) == said
    await leave(stage, beating)


class Slow(Outlet):
    """Takes a second for each beat."""

    async def publish(self, subject: str, body: bytes, headers: Mapping[str, str], reply: str = "") -> None:
        """Publish, beats after a second."""
        if headers.get("Claude-Frame") == "beat":
            await asyncio.sleep(1)
        await super().publish(subject, body, headers, reply)


@virtual_time
async def test_a_beat_is_never_of_what_has_been(tmp_path: Path) -> None:
    """A session whose attempts have changed while beats were sent gets one that names what is there now.

    An attempt that a beat leaves out is lost to its requester.
    """
    stage, first = Stage.make(tmp_path, outlet=Slow()), "_INBOX.requester0"
    beating = stage.beat()
    stage.ask("t0", session=first)
    stage.ask("t1")
    await advance(1)
    stage.say(FrameKind.CANCEL, "t1")
    await settle()
    stage.ask("t2")
    await advance(2)
    assert beats(stage) == [["t2"]]
    await leave(stage, beating)


@virtual_time
async def test_no_listener_for_long_ends_the_runs(tmp_path: Path) -> None:
    """When NATS says for 0.7 s that nobody listens, the session's runs are ended, and no other's."""
    stage = Stage.make(tmp_path, slots=Slots(2, 5))
    await started(stage)
    await started(stage, "t2", "_INBOX.requester2")
    stage.ask("t3")
    await settle()
    stage.sessions.refuse(SESSION)
    await advance(0.69)
    stage.sessions.refuse(SESSION)
    assert is_running(stage)
    await advance(0.02)
    stage.sessions.refuse(SESSION)
    await settle()
    assert not is_running(stage)
    assert is_running(stage, "t2")
    told = [stage.reply("t1"), stage.reply("t3")]
    assert all(isinstance(reply, ExecuteFailure) for reply in told)
    assert [(reply.code, reply.executed) for reply in told if isinstance(reply, ExecuteFailure)] == [
        ("cancelled", True),
        ("unclaimed", False),
    ]
    assert stage.service.slots.in_flight == 1
    await leave(stage)


@virtual_time
async def test_in_doubt_it_asks_more_often(tmp_path: Path) -> None:
    """After a first 503 beats follow each other quickly, so that a requester that has gone is known to have soon."""
    stage = Stage.make(tmp_path)
    await started(stage)
    beating = stage.beat()
    await advance(0.75)
    assert len(beats(stage)) == 1
    stage.sessions.refuse(SESSION)
    await advance(0.76)
    before = len(beats(stage))
    await advance(1.01)
    assert len(beats(stage)) - before == 10
    await leave(stage, beating)


@pytest.mark.parametrize("heard", ["probe", "go", "ack", "cancel"])
@virtual_time
async def test_any_frame_is_a_sign_of_life(tmp_path: Path, heard: str) -> None:
    """A 503 that is followed by any frame of the session says nothing any more, whichever attempt it names."""
    stage = Stage.make(tmp_path)
    await started(stage)
    for _ in range(5):
        stage.sessions.refuse(SESSION)
        await advance(0.3)
        stage.hear({"Claude-Frame": heard, "Claude-Attempt": f"{SESSION}.t9"})
        await advance(0.3)
    assert is_running(stage)
    stage.sessions.refuse(SESSION)
    await advance(0.8)
    stage.sessions.refuse(SESSION)
    assert not is_running(stage)
    await leave(stage)


@virtual_time
async def test_a_single_503_ends_nothing(tmp_path: Path) -> None:
    """One 503, as from a requester that has just changed its NATS node, is not the end."""
    stage = Stage.make(tmp_path)
    await started(stage)
    beating = stage.beat()
    stage.sessions.refuse(SESSION)
    await alive(stage, 60)
    assert is_running(stage)
    await leave(stage, beating)


@virtual_time
async def test_silence_ends_the_runs(tmp_path: Path) -> None:
    """What nothing is heard of for so long is given up, its runs are ended; a session that probes is not."""
    stage = Stage.make(tmp_path)
    await started(stage)
    beating = stage.beat()
    await alive(stage, 2 * UNATTENDED_MAX_S)
    assert is_running(stage)
    await advance(UNATTENDED_MAX_S - 1)
    assert is_running(stage)
    await advance(2)
    assert not is_running(stage)
    await leave(stage, beating)


@virtual_time
async def test_time_that_stood_still_here_is_no_silence(tmp_path: Path) -> None:
    """When this process itself was frozen, what it did not hear meanwhile says nothing."""
    stage = Stage.make(tmp_path)
    await started(stage)
    beating = stage.beat()
    await alive(stage, 3)
    skip(3600)
    await advance(0.1)
    await alive(stage, 3)
    assert is_running(stage)
    await leave(stage, beating)


@virtual_time
async def test_nothing_is_concluded_while_disconnected(tmp_path: Path) -> None:
    """Without a connection there are no beats, and silence ends nothing, however long it lasts."""
    stage = Stage.make(tmp_path)
    await started(stage)
    is_up = True
    beating = stage.beat(lambda: is_up)
    await advance(UNATTENDED_MAX_S - 5)
    is_up = False
    said = len(stage.outlet.published)
    await advance(10 * UNATTENDED_MAX_S)
    assert len(stage.outlet.published) == said
    assert is_running(stage)
    is_up = True
    stage.sessions.reconnect()
    await advance(UNATTENDED_MAX_S - 2)
    assert is_running(stage)
    await advance(4)
    assert not is_running(stage)
    await leave(stage, beating)


@virtual_time
async def test_after_a_reconnect_the_others_may_still_be_coming(tmp_path: Path) -> None:
    """For three seconds after our connection was renewed a 503 says nothing, nor does one from before."""
    stage = Stage.make(tmp_path)
    await started(stage)
    stage.sessions.refuse(SESSION)
    await advance(0.6)
    stage.sessions.reconnect()
    stage.ask("t2", session="_INBOX.requester2")
    await settle()
    for _ in range(29):
        stage.sessions.refuse(SESSION)
        stage.sessions.refuse("_INBOX.requester2")
        await advance(SETTLE_S / 30)
    assert is_running(stage)
    assert stage.kinds("t1") == ["ready"]
    assert [frame.kind for frame in stage.frames("t2", "_INBOX.requester2") if frame] == ["accepted"]
    await advance(SETTLE_S / 30)
    stage.sessions.refuse(SESSION)
    assert is_running(stage)
    await advance(0.7)
    stage.sessions.refuse(SESSION)
    assert not is_running(stage)
    await leave(stage)


@virtual_time
async def test_sessions_that_are_unknown(tmp_path: Path) -> None:
    """What is said of a session that has no attempts here is nothing to us."""
    stage = Stage.make(tmp_path)
    stage.sessions.refuse("_INBOX.x")
    stage.sessions.hear("_INBOX.x")
    stage.sessions.reconnect()
    assert stage.sessions.sessions == {}


@virtual_time
async def test_a_session_that_was_given_up_may_ask_again(tmp_path: Path) -> None:
    """A requester that comes back is served as any other, while its old run is over."""
    stage = Stage.make(tmp_path)
    await started(stage)
    for _ in range(2):
        stage.sessions.refuse(SESSION)
        await advance(0.7)
    assert not is_running(stage)
    await started(stage, "t2")
    assert is_running(stage, "t2")
    await leave(stage)


@virtual_time
async def test_what_a_peer_has_taken_is_listed_for_a_while(tmp_path: Path) -> None:
    """Beats name an attempt for 2.5 s after it was handed on: the peer may not have told its requester yet."""
    stage = Stage.make(tmp_path)
    beating = stage.beat()
    await started(stage)
    stage.ask("t2", timeout_ms=3_600_000)
    await settle()
    waiting = stage.service.slots.hand_on(None, lambda _work: True)
    assert waiting is not None
    assert stage.service.slots.hand_over(waiting)
    await advance(4)
    assert [sorted(named) for named in beats(stage)] == [["t1", "t2"]] * 3 + [["t1"]] * 2
    await leave(stage, beating)


@virtual_time
async def test_a_session_of_which_all_was_handed_on(tmp_path: Path) -> None:
    """It gets beats as long as something is listed, also for what has come back, and is forgotten then."""
    stage = Stage.make(tmp_path)
    beating, other = stage.beat(), "_INBOX.requester2"
    await started(stage, session=other)
    stage.ask("t2", timeout_ms=3_600_000)
    await settle()
    for _ in range(2):
        waiting = stage.service.slots.hand_on(None, lambda _work: True)
        assert waiting is not None
        assert stage.service.slots.hand_over(waiting)
        await advance(1)
        stage.ask("t2", timeout_ms=3_600_000)
        await advance(5)
    assert {tuple(named) for named in beats(stage)} == {("t2",)}
    assert len(beats(stage)) >= 15
    stage.say(FrameKind.CANCEL, "t2")
    await advance(1)
    assert set(stage.sessions.sessions) == {other}
    await leave(stage, beating)
