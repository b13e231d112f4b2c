"""Room for what is over another responder's limit."""

import asyncio
from dataclasses import dataclass, field
from typing import cast

import pytest

from contract import FrameKind, new_ulid
from responder.callers import Incoming
from responder.room import Room
from responder.slots import Slots
from responder.taken import Taken
from responder.thief import Thief
from responder.work import Work
from tests.responder.parts import Outlet
from tests.support.virtual_time import advance, settle, virtual_time

ME, VICTIM = new_ulid(), new_ulid()
QUESTION = "_INBOX.victim.1"


@dataclass
class Scene:
    """A responder with room, its group, and a victim.

    Attributes:
        word: What the victim says; None for nothing.
        asked: How often it was asked.
        taken: What was taken in.
        log: When the group was joined and left.
    """

    slots: Slots
    word: FrameKind | None = FrameKind.GO
    asked: int = 0
    taken: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    is_active: bool = True
    outlet: Outlet = field(default_factory=Outlet)

    def __post_init__(self) -> None:
        self.room = Room(ME, self.slots, self.outlet, "_INBOX", self, cast("Thief", self), cast("Taken", self))

    async def join(self) -> None:
        """Join."""
        self.log.append("+")

    async def leave(self) -> None:
        """Leave."""
        self.log.append("-")

    async def ask_victim(self, _work: Work, kind: FrameKind) -> FrameKind | None:
        """Answer as the victim."""
        assert kind is FrameKind.READY
        self.asked += 1
        return self.word

    async def take_in(self, work: Work) -> None:
        """Take it in."""
        self.taken.append(work.attempt)

    async def offer(self, victim: str = VICTIM, reply_subject: str = QUESTION, lease: int = 7) -> str:
        """Offer a request, and give the answer."""
        work = Work("_INBOX.c.a", {}, b"{}", 0.0)
        headers, body = work.message(victim, 0.0, lease)
        await self.room.take(Incoming("claude.cli.room", reply_subject, headers, body, 0.0))
        answers = [headers["Claude-Frame"] for *_, headers in self.outlet.published]
        self.outlet.published.clear()
        return " ".join(answers)


@pytest.mark.parametrize(
    ("word", "answer", "asked"),
    [(FrameKind.GO, "go", 1), (FrameKind.CANCEL, "none", 1), (None, "none", 5), (FrameKind.NONE, "none", 5)],
)
@virtual_time
async def test_only_what_its_victim_gives_is_taken_in(word: FrameKind | None, answer: str, asked: int) -> None:
    """The victim is asked first, and without its go nothing is taken."""
    scene = Scene(Slots(1, 1), word)
    assert await scene.offer() == answer
    assert (scene.taken, scene.asked) == (["_INBOX.c.a"] if answer == "go" else [], asked)


@virtual_time
async def test_an_offer_that_comes_twice_is_taken_once() -> None:
    """Its victim says go as often as it is asked; another offer of the same request is another one."""
    scene = Scene(Slots(1, 1))
    assert [await scene.offer() for _ in range(2)] == ["go", ""]
    assert scene.taken == ["_INBOX.c.a"]
    assert await scene.offer(lease=8) == "go"


@virtual_time
async def test_who_is_asked_in_vain() -> None:
    """Who has no room, takes nothing now or has asked itself asks no victim; a foreign reply subject gets nothing."""
    scene = Scene(Slots(1, 0))
    assert await scene.offer(reply_subject="$JS.API.X") == ""
    assert (await scene.offer(ME), scene.log) == ("none", ["-"])
    scene.is_active = False
    assert await scene.offer() == "none"
    scene.is_active = True
    with await scene.slots.take(asyncio.get_running_loop().time() + 1):
        assert await scene.offer() == "none"
    scene.slots.close()
    assert await scene.offer() == "none"
    await scene.room.take(Incoming("claude.cli.room", QUESTION, {}, b"{}", 0.0))
    assert [headers["Claude-Frame"] for *_, headers in scene.outlet.published] == ["none"]
    assert (scene.asked, scene.taken, set(scene.log)) == (0, [], {"-"})


@virtual_time
async def test_in_the_group_while_there_is_room() -> None:
    """It is left when there is none, and joined again when there is a little more than none."""
    slots = Slots(1, 30)
    scene = Scene(slots)
    running = asyncio.create_task(scene.room.run())
    loop = asyncio.get_running_loop()
    waiting = [asyncio.create_task(slots.take(loop.time() + 100)) for _ in range(30)]
    await advance(0.2)
    assert (slots.room, set(scene.log)) == (1, {"+"})
    waiting.append(asyncio.create_task(slots.take(loop.time() + 100)))
    await advance(0.2)
    assert (slots.room, scene.log[-1]) == (0, "-")
    for room in range(1, 5):
        waiting.pop().cancel()
        await advance(0.2)
        assert (slots.room, scene.log[-1]) == (room, "+" if room == 4 else "-")
    scene.is_active = False
    await advance(0.2)
    assert scene.log[-1] == "-"
    running.cancel()
    for each in waiting[1:]:
        each.cancel()
    with await waiting[0]:
        await settle()


@virtual_time
async def test_room_is_what_is_free_and_what_may_wait() -> None:
    """Slots and places count alike, and who is closed has none."""
    slots = Slots(2, 3)
    assert (slots.room, slots.capacity) == (5, 5)
    with await slots.take(asyncio.get_running_loop().time() + 1):
        assert slots.room == 4
        slots.close()
        assert slots.room == 0
