"""Stealing: when whom a thief asks, and what becomes of the slot that it keeps for it."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import pytest

from contract import Frame, FrameKind, Priority, Subjects, new_ulid, read_frame
from responder.callers import Incoming, Slot
from responder.slots import Slots
from responder.thief import NobodyError, Thief
from responder.work import Work
from tests.support.virtual_time import advance, settle, virtual_time

ME, VICTIM = new_ulid(), new_ulid()
SUBJECTS = Subjects()
Answer = tuple[Mapping[str, str], bytes] | None
NOTHING: Answer = (Frame(FrameKind.NONE, instance=VICTIM).headers(), b"")
OURS: Answer = (Frame(FrameKind.NONE, instance=ME).headers(), b"")


def work(name: str) -> Answer:
    """Give a victim's answer."""
    return Frame(FrameKind.WORK, attempt=f"_INBOX.c.{name}", instance=VICTIM, age_ms=0).headers(), b"{}"


@dataclass
class Peers:
    """Answer when the test says so.

    Attributes:
        asked: Where a thief has asked, and with what.
        answers: What is to be answered next; an error for nobody, a future to wait for.
    """

    is_connected: bool = True
    asked: list[tuple[str, Frame | None]] = field(default_factory=list)
    answers: list[Answer | NobodyError | asyncio.Future[Answer]] = field(default_factory=list)

    async def ask_peer(self, subject: str, headers: Mapping[str, str], within_s: float, body: bytes = b"") -> Answer:
        """Answer."""
        assert body == b""
        self.asked.append((subject, read_frame(headers, b"")))
        answer = self.answers.pop(0) if self.answers else NobodyError()
        if isinstance(answer, NobodyError):
            raise answer
        if isinstance(answer, asyncio.Future):
            async with asyncio.timeout(within_s):
                return await answer
        return answer


@dataclass
class Scene:
    """A thief.

    Attributes:
        log: When its group was joined and left.
        ran: What it has run, each to be ended with `ends`.
        too_late: What it has got when there was no slot for it any more.
    """

    count: int = 1
    log: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    ends: list[asyncio.Event] = field(default_factory=list)
    too_late: list[str] = field(default_factory=list)
    peers: Peers = field(default_factory=Peers)
    is_fit: bool = True

    def __post_init__(self) -> None:
        self.slots = Slots(self.count, 100)
        self.thief = Thief(ME, self.slots, self.peers, SUBJECTS, self, self._run, lambda: self.is_fit)
        self.slots.look_elsewhere = self.thief.look_elsewhere

    async def join(self) -> None:
        """Join."""
        self.log.append("+")

    async def leave(self) -> None:
        """Leave."""
        self.log.append("-")

    async def _run(self, given: Work, slot: Slot | None) -> None:
        if slot is None:
            self.too_late.append(given.attempt.rpartition(".")[2])
            return
        with slot:
            self.ran.append(given.attempt.rpartition(".")[2])
            self.ends.append(end := asyncio.Event())
            await end.wait()

    def hint(self, victim: str) -> None:
        """Let an instance say that something waits there."""
        headers = Frame(FrameKind.STEAL, instance=victim).headers()
        self.thief.take_hint(Incoming(SUBJECTS.idle, "", headers, b"", 0.0))

    async def hold(self) -> AbstractContextManager[None]:
        """Take a slot for a request of our own."""
        slot = await self.slots.take(asyncio.get_running_loop().time() + 1000)
        slot.__enter__()
        return slot

    async def wait(
        self, priority: Priority = Priority.INTERACTIVE, age_s: float = 0.0
    ) -> asyncio.Task[AbstractContextManager[None]]:
        """Let a request of our own wait."""
        now = asyncio.get_running_loop().time()
        taking = self.slots.take(now + 1000, priority=priority, arrived_at=now - age_s)
        task = asyncio.create_task(taking)
        await settle()
        return task


def back(slot: AbstractContextManager[None]) -> None:
    slot.__exit__(None, None, None)


@virtual_time
async def test_the_older_one_gets_a_slot_that_comes_back() -> None:
    """A victim is told of our own next, by class, age and turn; what it gives runs, and our own gets the slot then."""
    scene = Scene()
    held = await scene.hold()
    own = await scene.wait(priority=Priority.BATCH, age_s=1.5)
    scene.peers.answers = [work("a"), NOTHING]
    back(held)
    await settle()
    assert (scene.ran, own.done(), scene.slots.in_flight) == (["a"], False, 1)
    frame = Frame(FrameKind.STEAL, instance=ME, age_ms=1500, turn_ms=1500, priority=Priority.BATCH)
    assert scene.peers.asked == [(SUBJECTS.backlog, frame)]
    scene.ends[0].set()
    await settle()
    with await own:
        assert scene.slots.in_flight == 1


UNANSWERED: list[Answer | NobodyError] = [NOTHING, None, NobodyError(), ({}, b""), ({"Claude-Frame": "x"}, b"")]


@pytest.mark.parametrize("answer", UNANSWERED)
@virtual_time
async def test_our_own_gets_the_slot_where_there_is_nothing_older(answer: Answer | NobodyError) -> None:
    """Whatever a victim says, or does not say, the slot is not lost."""
    scene = Scene()
    held = await scene.hold()
    own = await scene.wait()
    scene.peers.answers = [answer]
    back(held)
    await settle()
    with await own:
        assert scene.slots.in_flight == 1
    await settle()
    assert (scene.slots.in_flight, scene.ran) == (0, [])


@virtual_time
async def test_a_defect_loses_no_slot() -> None:
    """Also when asking fails in a way that nobody has foreseen."""
    scene = Scene()
    held = await scene.hold()
    own = await scene.wait()
    broken: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    broken.set_exception(ZeroDivisionError())
    scene.peers.answers = [broken]
    back(held)
    await settle()
    with await own:
        assert scene.slots.in_flight == 1


@virtual_time
async def test_our_own_question_is_asked_again() -> None:
    """Who has a backlog hears some of its own questions; that says nothing of the others."""
    scene = Scene()
    held = await scene.hold()
    own = await scene.wait()
    scene.peers.answers = [OURS, OURS, work("a")]
    back(held)
    await settle()
    assert (scene.ran, own.done(), len(scene.peers.asked)) == (["a"], False, 3)
    scene.peers.answers = [OURS] * 9
    scene.ends[0].set()
    await settle()
    assert own.done()
    assert len(scene.peers.asked) == 7


@virtual_time
async def test_a_slot_that_comes_back_in_that_moment_asks_after_it() -> None:
    """It is free meanwhile, and takes what began to wait elsewhere while nobody was there to hear of it."""
    scene = Scene()
    back(await scene.hold())
    await settle()
    scene.peers.answers = [work("a"), NOTHING]
    asked = len(scene.peers.asked)
    back(await scene.hold())
    await advance(0.01)
    assert (scene.ran, len(scene.peers.asked)) == ([], asked)
    await advance(0.02)
    assert scene.ran == ["a"]


@virtual_time
async def test_who_is_alone_asks_less_often() -> None:
    """After eight of its own questions in a row it asks ten times a second, until somebody else answers."""
    scene = Scene()
    held = await scene.hold()
    waiting = [await scene.wait() for _ in range(40)]
    scene.peers.answers = [OURS] * 100
    back(held)
    for own in waiting[:39]:
        await advance(0.01)
        with await own:
            pass
    assert 8 <= len(scene.peers.asked) <= 13
    scene.peers.answers = [work("a"), *[OURS] * 4]
    asked = len(scene.peers.asked)
    await advance(0.1)
    with await waiting[39]:
        pass
    await settle()
    assert scene.ran == ["a"]
    scene.ends[0].set()
    await settle()
    assert len(scene.peers.asked) == asked + 5


@virtual_time
async def test_nobody_is_asked_for_a_moment_after_word_that_nobody_is_there() -> None:
    """For 20 ms after a 503 a slot that comes back goes to our own at once."""
    scene = Scene()
    held = await scene.hold()
    waiting = [await scene.wait() for _ in range(4)]
    back(held)
    await settle()
    for passed_s, questions in ((0.015, 1), (0.01, 2)):
        await advance(passed_s)
        with await waiting.pop(0):
            pass
        await settle()
        assert len(scene.peers.asked) == questions


@virtual_time
async def test_a_victim_that_does_not_answer_costs_a_tenth_of_a_second() -> None:
    """Then our own has the slot; what the victim gives later is run in a free slot, or else dealt with without one."""
    scene = Scene()
    slot = await scene.hold()
    loop = asyncio.get_running_loop()
    late: list[asyncio.Future[Answer]] = [loop.create_future() for _ in range(3)]
    for each in late:
        own = await scene.wait()
        scene.peers.answers = [each]
        back(slot)
        await advance(0.09)
        assert not own.done()
        await advance(0.02)
        slot = own.result()
        slot.__enter__()
    late[0].set_result(work("a"))
    await settle()
    assert (scene.ran, scene.too_late) == ([], ["a"])
    scene.peers.answers = []
    back(slot)
    await settle()
    late[1].set_result(work("b"))
    late[2].set_result(NOTHING)
    await settle()
    assert (scene.ran, scene.too_late, scene.slots.in_flight) == (["b"], ["a"], 1)


@virtual_time
async def test_hints_are_heard_while_a_slot_is_free() -> None:
    """In the group while a slot is free; a hint fills the free slots with what the victim has, and no more."""
    scene = Scene(count=3)
    running = asyncio.create_task(scene.thief.run())
    await settle()
    assert scene.log == ["+"]
    assert scene.peers.asked == [(SUBJECTS.backlog, Frame(FrameKind.STEAL, instance=ME))]
    scene.hint(ME)
    await settle()
    assert len(scene.peers.asked) == 1
    scene.peers.answers = [work("a"), work("b"), NOTHING]
    scene.hint(VICTIM)
    await settle()
    assert (scene.ran, scene.slots.in_flight, scene.log) == (["a", "b"], 2, ["+"])
    assert {subject for subject, _ in scene.peers.asked[1:]} == {SUBJECTS.backlog_of(VICTIM)}
    scene.peers.answers = [work("c"), work("d")]
    scene.hint(VICTIM)
    await settle()
    assert (scene.ran, scene.slots.in_flight, scene.log) == (["a", "b", "c"], 3, ["+", "-"])
    scene.hint(VICTIM)
    await settle()
    assert len(scene.peers.answers) == 1
    scene.peers.answers = []
    scene.ends[0].set()
    await settle()
    assert (scene.slots.in_flight, scene.log) == (2, ["+", "-", "+"])
    running.cancel()


@virtual_time
async def test_a_free_slot_is_quiet() -> None:
    """While it looks for work it is not taken for full: an idle responder asks once, and then listens."""
    scene = Scene(count=1)
    running = asyncio.create_task(scene.thief.run())
    await advance(10)
    assert (scene.log, len(scene.peers.asked)) == (["+"], 1)
    running.cancel()


@virtual_time
async def test_a_request_of_our_own_that_comes_while_one_asks() -> None:
    """It waits until the victim has answered, and then has the slot."""
    scene = Scene()
    running = asyncio.create_task(scene.thief.run())
    slow: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    scene.peers.answers = [slow]
    await settle()
    own = await scene.wait()
    assert not own.done()
    slow.set_result(NOTHING)
    await settle()
    with await own:
        assert scene.slots.in_flight == 1
        assert scene.log == ["+", "-"]
    running.cancel()


@pytest.mark.parametrize("why", ["paused", "unfit", "stopped", "disconnected"])
@virtual_time
async def test_who_must_not_steal_asks_nobody(why: str) -> None:
    """A slot that comes back goes to our own, and hints are not followed."""
    scene = Scene()
    running = asyncio.create_task(scene.thief.run())
    await settle()
    assert (scene.log, len(scene.peers.asked)) == (["+"], 1)
    held = await scene.hold()
    own = await scene.wait()
    scene.is_fit, scene.peers.is_connected = why != "unfit", why != "disconnected"
    if why in {"paused", "stopped"}:
        (scene.thief.pause if why == "paused" else scene.thief.stop)()
    back(held)
    with await own:
        pass
    scene.hint(VICTIM)
    await settle()
    assert len(scene.peers.asked) == 1
    scene.is_fit = scene.peers.is_connected = True
    if why in {"paused", "stopped"}:
        assert scene.log == ["+", "-"]
        scene.thief.resume()
        await settle()
        assert scene.log == ["+", "-"] + ["+"] * (why == "paused")
    running.cancel()


@virtual_time
async def test_a_pause_while_nothing_is_free() -> None:
    """Whoever was paused before a slot came back joins only when it may, and what was stolen is run to its end."""
    scene = Scene()
    scene.peers.answers = [work("a")]
    running = asyncio.create_task(scene.thief.run())
    await settle()
    assert (scene.ran, scene.log) == (["a"], ["+", "-"])
    scene.thief.pause()
    scene.ends[0].set()
    await advance(1)
    assert (scene.log, scene.slots.in_flight) == (["+", "-"], 0)
    await scene.thief.wait_until_done()
    scene.thief.resume()
    await settle()
    assert scene.log == ["+", "-", "+"]
    running.cancel()
