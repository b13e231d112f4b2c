"""Being stolen from: what is given to whom, and that a plain request starts here or there and never twice."""

import asyncio
import gc
import json
import weakref
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import pytest

from contract import HEADER_ATTEND, Frame, FrameKind, Priority, Subjects, new_ulid, read_frame
from responder.callers import Incoming
from responder.slots import HandedOnError, Slots, WaitedTooLongError
from responder.thief import NobodyError
from responder.victim import Victim
from responder.work import Work, read_work
from tests.responder.parts import SUBJECT, Outlet
from tests.support.virtual_time import advance, settle, skip, virtual_time

VICTIM, THIEF, OTHER = (new_ulid() for _ in range(3))
SUBJECTS = Subjects()
ASK = "_INBOX.thief.1"


@dataclass
class Group:
    """Notes when it is joined and left."""

    log: list[str] = field(default_factory=list)

    async def join(self) -> None:
        """Join."""
        self.log.append("+")

    async def leave(self) -> None:
        """Leave."""
        self.log.append("-")


@dataclass
class Peers:
    """Have room or not.

    Attributes:
        answers: What each does that is asked, one after another; the last one also all after it.
        asked: How many were asked.
    """

    is_connected: bool = True
    answers: list[Callable[[Mapping[str, str]], Awaitable[None]]] = field(default_factory=list)
    asked: int = 0

    async def ask_peer(
        self, subject: str, headers: Mapping[str, str], within_s: float, body: bytes = b""
    ) -> tuple[Mapping[str, str], bytes] | None:
        """Let a peer act."""
        assert (subject, body) == (SUBJECTS.room, b'""')
        self.asked += 1
        if not self.answers:
            raise NobodyError
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        try:
            async with asyncio.timeout(within_s):
                await answer(headers)
        except TimeoutError:
            return None
        return {}, b""


@dataclass
class Scene:
    """A victim, and what waits at it.

    Attributes:
        slots: One, which is taken.
        held: That one.
        waiters: What waits, by name.
        leases: Under which number it was last given, by name and thief.
    """

    slots: Slots
    held: AbstractContextManager[None]
    victim: Victim
    outlet: Outlet
    group: Group
    waiters: dict[str, asyncio.Task[AbstractContextManager[None]]] = field(default_factory=dict)
    leases: dict[tuple[str, str], int | None] = field(default_factory=dict)

    @classmethod
    async def make(cls, backlog_max: int = 100) -> "Scene":
        """Put one together."""
        slots, outlet, group = Slots(1, backlog_max), Outlet(), Group()
        held = await slots.take(asyncio.get_running_loop().time() + 10_000)
        held.__enter__()
        return cls(slots, held, Victim(VICTIM, slots, outlet, SUBJECTS, "_INBOX", group, Peers()), outlet, group)

    async def wait(
        self,
        name: str,
        *,
        attended: bool = False,
        stays: bool = False,
        timeout_s: float = 1000.0,
        bytes_: int = 2,
        priority: Priority = Priority.INTERACTIVE,
        age_s: float = 0.0,
    ) -> None:
        """Let a request wait."""
        now = asyncio.get_running_loop().time()
        body = json.dumps("x" * (bytes_ - 2)).encode()
        headers = {HEADER_ATTEND: "1"} if attended else {}
        work = Work.of(Incoming(SUBJECT, f"_INBOX.c.{name}", headers, body, now - age_s))
        taking = self.slots.take(
            now + timeout_s, arrived_at=now - age_s, priority=priority, caller="c", work=None if stays else work
        )
        self.waiters[name] = asyncio.create_task(taking)
        await settle()

    def free(self) -> None:
        """Give the slot back."""
        self.held.__exit__(None, None, None)

    async def tell(self, frame: Frame) -> tuple[dict[str, str], bytes]:
        """Let a thief say something, and give the answer."""
        now = asyncio.get_running_loop().time()
        await self.victim.take(Incoming(SUBJECTS.backlog, ASK, frame.headers(), b"", now))
        subject, body, headers = self.outlet.published.pop()
        assert subject == ASK
        return headers, body

    async def steal(self, thief: str = THIEF, age_ms: int | None = None, priority: Priority | None = None) -> str:
        """Steal; gives the name of what was got, empty for nothing."""
        headers, body = await self.tell(Frame(FrameKind.STEAL, instance=thief, age_ms=age_ms, priority=priority))
        work = read_work(headers, body, asyncio.get_running_loop().time())
        if work is None:
            assert headers["Claude-Frame"] == "none"
            return ""
        name = work.attempt.rpartition(".")[2]
        self.leases[name, thief] = work.lease
        return name

    async def ready(
        self, name: str, thief: str = THIEF, kind: FrameKind = FrameKind.READY, lease: int | None = None
    ) -> str:
        """Let a thief say that it is ready, and give the victim's word."""
        lease = lease or self.leases.get((name, thief))
        headers, _ = await self.tell(Frame(kind, attempt=f"_INBOX.c.{name}", instance=thief, lease=lease))
        return headers["Claude-Frame"]

    def fate(self, name: str) -> str:
        """Say what has become of a request."""
        task = self.waiters[name]
        if not task.done():
            return "waits"
        if task.cancelled():
            return "cancelled"
        error = task.exception()
        return "runs here" if error is None else type(error).__name__


@virtual_time
async def test_a_plain_request_is_set_aside_until_its_thief_is_ready() -> None:
    """It gets no slot here meanwhile, and with the go it is the thief's, as often as that one asks."""
    scene = await Scene.make()
    await scene.wait("a")
    assert await scene.steal() == "a"
    scene.free()
    await advance(1.9)
    assert (scene.fate("a"), scene.slots.backlog, scene.slots.has_free) == ("waits", 1, True)
    assert [await scene.ready("a") for _ in range(3)] == ["go"] * 3
    await settle()
    assert scene.fate("a") == HandedOnError.__name__
    await advance(59)
    assert await scene.ready("a") == "go"
    await advance(2)
    assert await scene.ready("a") == "cancel"
    assert scene.slots.backlog == 0


@virtual_time
async def test_what_was_given_is_not_kept() -> None:
    """Of a request that has gone only its number is remembered: a minute of them could be gigabytes."""
    scene = await Scene.make()
    await scene.wait("a")
    (work,) = (weakref.ref(waiting.ticket.work) for waiting in scene.slots.waiting())
    assert work() is not None
    assert await scene.steal() == "a"
    assert await scene.ready("a") == "go"
    await settle()
    assert scene.fate("a") == HandedOnError.__name__
    scene.waiters.clear()
    assert scene.slots.best() is None  # the backlog forgets what has left it when it is looked at
    gc.collect()
    assert work() is None
    assert await scene.ready("a") == "go"


@virtual_time
async def test_a_thief_that_is_not_ready_in_time_has_lost_it() -> None:
    """After two seconds it takes the next slot here, and a late word is answered with no."""
    scene = await Scene.make()
    await scene.wait("a")
    assert await scene.steal() == "a"
    scene.free()
    await advance(2.1)
    assert scene.fate("a") == "runs here"
    assert await scene.ready("a") == "cancel"


@pytest.mark.parametrize("second", [THIEF, OTHER])
@virtual_time
async def test_a_late_thief_and_a_second_one(second: str) -> None:
    """What came back may be stolen again, also by the same one: only the last theft counts, and it counts once."""
    scene = await Scene.make()
    await scene.wait("a")
    assert await scene.steal() == "a"
    first = scene.leases["a", THIEF]
    assert await scene.steal(second) == ""
    await advance(2.1)
    assert await scene.ready("a", lease=first) == "cancel"
    assert await scene.steal(second) == "a"
    assert await scene.ready("a", lease=first) == "cancel"
    await scene.ready("a", kind=FrameKind.CANCEL, lease=first)
    assert await scene.ready("a", second) == "go"
    assert await scene.ready("a", lease=first) == "cancel"
    assert await scene.ready("a", second) == "go"
    await settle()
    assert scene.fate("a") == HandedOnError.__name__


@virtual_time
async def test_a_deadline_while_it_is_set_aside() -> None:
    """It ends here, at its deadline, and its thief gets no go."""
    scene = await Scene.make()
    await scene.wait("a", timeout_s=1.0)
    assert await scene.steal() == "a"
    await advance(1.1)
    assert (scene.fate("a"), scene.slots.backlog) == (WaitedTooLongError.__name__, 0)
    assert await scene.ready("a") == "cancel"
    await advance(5)
    scene.free()
    assert scene.slots.in_flight == 0


@virtual_time
async def test_the_deadline_passes_while_the_victim_is_frozen() -> None:
    """Whatever is noticed first after a freeze, one of the two has it."""
    scene = await Scene.make()
    await scene.wait("a", timeout_s=1.0)
    assert await scene.steal() == "a"
    skip(5.0)
    word = await scene.ready("a")
    await settle()
    assert (word, scene.fate("a")) in {("go", "HandedOnError"), ("cancel", "WaitedTooLongError")}


@virtual_time
async def test_cancelled_while_it_is_set_aside() -> None:
    """What nobody awaits any more is nobody's, and no slot goes to it."""
    scene = await Scene.make()
    await scene.wait("a")
    assert await scene.steal() == "a"
    scene.waiters["a"].cancel()
    await settle()
    assert await scene.ready("a") == "cancel"
    scene.free()
    await advance(5)
    assert (scene.slots.in_flight, scene.slots.backlog) == (0, 0)


@virtual_time
async def test_a_stop_while_it_is_set_aside() -> None:
    """What comes back to a responder that takes nothing any more ends."""
    scene = await Scene.make()
    await scene.wait("a")
    assert await scene.steal() == "a"
    scene.slots.close()
    await advance(2.1)
    assert scene.fate("a") == "BacklogClosedError"


@virtual_time
async def test_a_thief_that_cannot_run_it_gives_it_back() -> None:
    """It waits here again at once and stays; nobody gives back what is another's, or what it has the go for."""
    scene = await Scene.make()
    await scene.wait("a")
    await scene.wait("b")
    assert await scene.steal() == "a"
    await scene.ready("a", kind=FrameKind.NONE)
    assert await scene.steal() == "b"
    assert await scene.ready("b") == "go"
    await scene.ready("b", kind=FrameKind.NONE)
    await scene.ready("x", kind=FrameKind.NONE)
    await settle()
    assert (scene.fate("a"), scene.fate("b"), scene.slots.backlog) == ("waits", "HandedOnError", 1)
    assert await scene.ready("b") == "go"
    assert await scene.steal() == ""
    scene.free()
    await settle()
    assert scene.fate("a") == "runs here"


@virtual_time
async def test_a_thief_that_has_no_slot_any_more_gives_it_back() -> None:
    """It waits here again at once, and may be stolen again."""
    scene = await Scene.make()
    await scene.wait("a")
    assert await scene.steal() == "a"
    assert await scene.ready("a", kind=FrameKind.CANCEL) == "cancel"
    assert await scene.steal(OTHER) == "a"
    assert await scene.ready("a", OTHER) == "go"


@virtual_time
async def test_an_attended_request_is_given_away_at_once() -> None:
    """Without its requester's go nobody starts it, so here nothing is kept of it."""
    scene = await Scene.make()
    await scene.wait("a", attended=True)
    assert await scene.steal() == "a"
    await settle()
    assert (scene.fate("a"), scene.slots.backlog) == ("HandedOnError", 0)
    assert await scene.ready("a") == "cancel"


@virtual_time
async def test_what_has_to_stay_stays() -> None:
    """Keyed and parted requests, and what one message does not carry, wait on; the others may leave."""
    scene = await Scene.make()
    scene.outlet.max_payload = 2000
    await scene.wait("keyed", stays=True, age_s=40.0)
    await scene.wait("large", bytes_=1900)
    await scene.wait("aged", priority=Priority.BATCH, age_s=31.0)
    await scene.wait("b", priority=Priority.BATCH)
    await scene.wait("a")
    assert [await scene.steal() for _ in range(4)] == ["aged", "a", "b", ""]
    scene.free()
    await settle()
    assert scene.fate("keyed") == "runs here"
    assert scene.fate("large") == "waits"


@virtual_time
async def test_two_requests_with_one_reply_subject() -> None:
    """Each theft has its own number, so each request has its own fate."""
    scene = await Scene.make()
    await scene.wait("a")
    first = scene.waiters["a"]
    await scene.wait("a")
    assert [await scene.steal(), await scene.steal(OTHER)] == ["a", "a"]
    assert await scene.ready("a") == "go"
    await advance(2.1)
    assert isinstance(first.exception(), HandedOnError)
    assert scene.fate("a") == "waits"
    assert await scene.ready("a", OTHER) == "cancel"


@pytest.mark.parametrize(
    ("age_ms", "priority", "got"),
    [
        (None, None, "a"),
        (500, Priority.INTERACTIVE, "a"),
        (1500, Priority.INTERACTIVE, ""),
        (1500, Priority.BATCH, "a"),
        (1500, None, "a"),
    ],
)
@virtual_time
async def test_the_older_one_is_given(age_ms: int | None, priority: Priority | None, got: str) -> None:
    """A thief gets what comes before its own next: by its class, then by its age."""
    scene = await Scene.make()
    await scene.wait("a", age_s=1.0)
    assert await scene.steal(age_ms=age_ms, priority=priority) == got
    assert scene.slots.backlog == 1


@virtual_time
async def test_batch_is_compared_as_batch_until_it_has_aged() -> None:
    """A batch request gives way to a thief's interactive one, but no more after half a minute."""
    scene = await Scene.make()
    await scene.wait("b", priority=Priority.BATCH)
    assert await scene.steal(age_ms=0, priority=Priority.INTERACTIVE) == ""
    await advance(31)
    assert await scene.steal(age_ms=0, priority=Priority.INTERACTIVE) == "b"


@virtual_time
async def test_what_a_peer_was_shown_counts_as_waiting() -> None:
    """The bound of the backlog holds, whatever comes back."""
    scene = await Scene.make(backlog_max=2)
    await scene.wait("a")
    await scene.wait("b")
    assert await scene.steal() == "a"
    await scene.wait("c")
    assert (scene.fate("c"), scene.slots.backlog) == ("BacklogFullError", 2)


async def full(scene: Scene, *answers: Callable[[Mapping[str, str]], Awaitable[None]]) -> Peers:
    """Fill the backlog, and have peers to be asked."""
    peers = Peers(answers=list(answers))
    scene.slots.hand_off = scene.victim.hand_off
    scene.victim.peers = peers
    await scene.wait("a")
    return peers


def say(scene: Scene, kind: FrameKind, seconds: float = 0.0) -> Callable[[Mapping[str, str]], Awaitable[None]]:
    """Give a peer that says something to the victim after a while."""

    async def answer(headers: Mapping[str, str]) -> None:
        await asyncio.sleep(seconds)
        scene.leases["b", THIEF] = int(headers["Claude-Lease"])
        await scene.ready("b", kind=kind)

    return answer


async def ignore(headers: Mapping[str, str]) -> None:
    """Answer that there is no room."""


@virtual_time
async def test_what_finds_no_place_goes_to_a_peer_with_room() -> None:
    """Also when it is not the first that is asked; the go may be asked for again."""
    scene = await Scene.make(backlog_max=1)
    peers = await full(scene, ignore, ignore, say(scene, FrameKind.READY))
    await scene.wait("b")
    assert (scene.fate("b"), peers.asked, scene.slots.backlog) == ("HandedOnError", 3, 1)
    assert await scene.ready("b") == "go"
    scene.free()


@virtual_time
async def test_nobody_has_room() -> None:
    """It is refused at once, and for 20 ms nobody is asked again; what has to stay is offered to nobody."""
    scene = await Scene.make(backlog_max=1)
    peers = await full(scene)
    for name, seconds, asked in (("b", 0.015, 1), ("c", 0.01, 1), ("d", 0.0, 2)):
        await scene.wait(name)
        assert (scene.fate(name), peers.asked) == ("BacklogFullError", asked)
        await advance(seconds)
    await advance(1)
    await scene.wait("e", stays=True)
    peers.is_connected = False
    await scene.wait("f")
    assert (scene.fate("e"), scene.fate("f"), peers.asked) == ("BacklogFullError", "BacklogFullError", 2)
    scene.free()


@virtual_time
async def test_a_peer_that_is_too_late_gets_no_go() -> None:
    """After 50 ms it is refused here, so nobody may run it; each of those asked has a number of its own."""
    scene = await Scene.make(backlog_max=1)
    await full(scene, ignore, say(scene, FrameKind.READY, 1.0))
    await scene.wait("b")
    assert scene.fate("b") == "waits"
    await advance(0.06)
    assert scene.fate("b") == "BacklogFullError"
    for lease in range(5):
        assert await scene.ready("b", lease=lease) == "cancel"
    scene.free()


@pytest.mark.parametrize("kind", [FrameKind.NONE, FrameKind.CANCEL])
@virtual_time
async def test_an_offer_is_no_handing_on_that_could_be_given_back(kind: FrameKind) -> None:
    """A peer that says so to an offer's number changes nothing: it is refused here, and no slot goes to it."""
    scene = await Scene.make(backlog_max=1)
    await full(scene, say(scene, kind))
    await scene.wait("b")
    assert (scene.fate("b"), scene.slots.backlog) == ("BacklogFullError", 1)
    scene.waiters["a"].cancel()
    await settle()
    scene.free()
    await settle()
    assert scene.slots.in_flight == 0


@virtual_time
async def test_cancelled_while_a_peer_is_asked() -> None:
    """Nobody gets a go for it."""
    scene = await Scene.make(backlog_max=1)
    await full(scene, say(scene, FrameKind.READY, 1.0))
    await scene.wait("b")
    scene.waiters["b"].cancel()
    await settle()
    assert await scene.ready("b", lease=1) == "cancel"
    assert scene.fate("b") == "cancelled"
    scene.free()


@virtual_time
async def test_who_may_ask() -> None:
    """A question that is not answered to an inbox gets no answer, and one of our own, or of nobody, gets nothing."""
    scene = await Scene.make()
    await scene.wait("a")
    frame = Frame(FrameKind.STEAL, instance=THIEF)
    await scene.victim.take(Incoming(SUBJECTS.backlog, "$JS.API.X", frame.headers(), b"", 0.0))
    assert scene.outlet.published == []
    assert await scene.steal(VICTIM) == ""
    for headers in ({}, {"Claude-Frame": "x"}, {"Claude-Frame": "steal"}):
        await scene.victim.take(Incoming(SUBJECTS.backlog, ASK, headers, b"", 0.0))
    assert {headers["Claude-Frame"] for *_, headers in scene.outlet.published} == {"none"}
    assert scene.fate("a") == "waits"


@virtual_time
async def test_hints_while_something_waits() -> None:
    """One for each that begins to wait, then ever less often; the group is left a second or so after the last."""
    scene = await Scene.make()
    running = asyncio.create_task(scene.victim.run())
    await advance(5)
    assert (scene.group.log, scene.outlet.published) == ([], [])
    for name in "abc":
        scene.waiters[name] = asyncio.create_task(scene.slots.take(asyncio.get_running_loop().time() + 4))
    await settle()
    assert scene.group.log == ["+"]
    subject, body, headers = scene.outlet.published[0]
    frame = read_frame(headers, body)
    assert (subject, body) == (SUBJECTS.idle, b"")
    assert frame == Frame(FrameKind.STEAL, instance=VICTIM)
    for seconds, count in ((0.0, 3), (0.06, 4), (0.1, 5), (0.2, 6), (0.4, 8), (0.8, 12), (1.0, 17), (1.0, 22)):
        await advance(seconds)
        assert len(scene.outlet.published) == count
    await advance(1.3)
    assert scene.group.log == ["+"]
    await advance(0.5)
    assert (scene.group.log, len(scene.outlet.published)) == (["+", "-"], 24)
    await scene.wait("d")
    assert (scene.group.log, len(scene.outlet.published)) == (["+", "-", "+"], 25)
    await advance(0.06)
    assert len(scene.outlet.published) == 26
    running.cancel()
