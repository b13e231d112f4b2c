"""Slots under random interleavings: whatever happens in whatever order, no slot is lost and none is made up."""

import asyncio
import random
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import pytest

from contract import Priority
from responder.backlog import Waiting
from responder.callers import Incoming
from responder.slots import BacklogClosedError, BacklogFullError, HandedOnError, Slots, Ticket, WaitedTooLongError
from responder.work import Work

pytestmark = pytest.mark.usefixtures("patience")
STEPS = 300
DEADLINES_S = (-1.0, 0.0, 0.0005, 0.002, 60.0, 60.0, 60.0)
EXPECTED = (BacklogClosedError, BacklogFullError, HandedOnError, WaitedTooLongError)
WORK = Work.of(Incoming("s", "_INBOX.a.b", {}, b"", 0.0))

Slot = AbstractContextManager[None]


@dataclass
class Crowd:
    """Requests that take, hold, give back and give up at random.

    Attributes:
        slots: What they take.
        random: Decides.
        asking: Tasks that wait for a slot.
        held: Slots that were got and are in use.
    """

    slots: Slots
    random: random.Random
    asking: list[asyncio.Task[None]] = field(default_factory=list)
    held: list[Slot] = field(default_factory=list)

    async def ask(self) -> None:
        """Ask for a slot, and hold it if it comes."""
        now = asyncio.get_running_loop().time()
        slot = await self.slots.take(
            now + self.random.choice(DEADLINES_S),
            arrived_at=now - self.random.choice((0.0, 0.0, 40.0)),
            priority=self.random.choice(list(Priority)),
            caller=self.random.choice("abc"),
            work=self.random.choice((None, WORK)),
        )
        slot.__enter__()
        self.held.append(slot)

    async def step(self) -> None:
        """Do one thing, or several in the same moment."""
        for _ in range(self.random.choice((1, 1, 2, 4))):
            chance = self.random.random()
            if chance < 0.45:
                self.asking.append(asyncio.create_task(self.ask()))
            elif chance < 0.75 and self.held:
                self.held.pop(self.random.randrange(len(self.held))).__exit__(None, None, None)
            elif chance < 0.95 and self.asking:
                self.random.choice(self.asking).cancel()
        for _ in range(self.random.choice((0, 1, 1, 3))):
            await asyncio.sleep(0)
        for task in [task for task in self.asking if task.done()]:
            self.asking.remove(task)
            assert task.cancelled() or task.exception() is None or isinstance(task.exception(), EXPECTED)

    async def leave(self) -> None:
        """Give everything back and give everything up."""
        for task in self.asking:
            task.cancel()
        await asyncio.gather(*self.asking, return_exceptions=True)
        while self.held:
            self.held.pop().__exit__(None, None, None)


@pytest.mark.parametrize("seed", range(40))
async def test_no_slot_is_lost_and_none_is_made_up(seed: int) -> None:
    """After takes, returns, deadlines and cancellations in any order the counts are those of the start."""
    chance = random.Random(seed)  # noqa: S311 # an order of events, no secret
    count, backlog_max = chance.choice(((1, 0), (1, 1), (1, 4), (3, 3), (5, 100)))
    crowd = Crowd(Slots(count, backlog_max), chance)
    for _ in range(STEPS):
        await crowd.step()
        assert len(crowd.held) <= crowd.slots.in_flight <= count
        assert 0 <= crowd.slots.backlog <= backlog_max
    await crowd.leave()
    assert (crowd.slots.in_flight, crowd.slots.backlog) == (0, 0)
    assert repr(crowd.slots._backlog) == "<Backlog of 0 requests, 0 callers>"
    assert await _can_take_exactly(crowd.slots, count)


async def _can_take_exactly(slots: Slots, count: int) -> bool:
    """Say whether all slots can still be had, and then no more."""
    deadline = asyncio.get_running_loop().time() + 60
    taken = [await slots.take(deadline) for _ in range(count)]
    one_more = asyncio.create_task(slots.take(deadline))
    await asyncio.sleep(0)
    is_bounded = not one_more.done() or isinstance(one_more.exception(), BacklogFullError)
    one_more.cancel()
    await asyncio.gather(one_more, return_exceptions=True)
    for slot in taken:
        with slot:
            pass
    return is_bounded


@pytest.mark.parametrize("seed", range(10))
async def test_order_holds_whoever_gives_up(seed: int) -> None:
    """Those who stay get their slots in the order in which they came, whoever leaves between them."""
    chance = random.Random(seed)  # noqa: S311 # an order of events, no secret
    slots = Slots(2, 1000)
    served: list[int] = []

    async def request(number: int) -> None:
        with await slots.take(asyncio.get_running_loop().time() + 60):
            served.append(number)
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(request(number)) for number in range(100)]
    while not all(task.done() for task in tasks):
        chance.choice(tasks).cancel()
        await asyncio.sleep(0)
    assert served == sorted(served)
    assert (slots.in_flight, slots.backlog) == (0, 0)


@pytest.mark.parametrize("seed", range(10))
async def test_callers_keep_their_order_whoever_gives_up(seed: int) -> None:
    """Of each caller and class those who stay all get their slots, in the order in which they came."""
    chance = random.Random(seed)  # noqa: S311 # an order of events, no secret
    slots = Slots(2, 1000)
    served: dict[tuple[str, Priority], list[int]] = {}

    async def request(number: int, caller: str, priority: Priority) -> None:
        with await slots.take(asyncio.get_running_loop().time() + 60, priority=priority, caller=caller):
            served.setdefault((caller, priority), []).append(number)
            await asyncio.sleep(0)

    tasks = [
        asyncio.create_task(request(number, chance.choice("abc"), chance.choice(list(Priority))))
        for number in range(150)
    ]
    while not all(task.done() for task in tasks):
        if chance.random() < 0.5:
            chance.choice(tasks).cancel()
        await asyncio.sleep(0)
    assert all(numbers == sorted(numbers) for numbers in served.values())
    stayed = {number for number, task in enumerate(tasks) if not task.cancelled()}
    assert stayed <= {number for numbers in served.values() for number in numbers}
    assert repr(slots._backlog) == "<Backlog of 0 requests, 0 callers>"


@dataclass
class Fair(Crowd):
    """A crowd among which peers steal: slots are kept for requests from elsewhere, and what waits is taken out.

    Attributes:
        kept: How many slots are kept.
        shown: What peers were shown.
        given: What they have been given.
    """

    kept: int = 0
    shown: list[Waiting[Ticket]] = field(default_factory=list)
    given: list[Waiting[Ticket]] = field(default_factory=list)

    def look_elsewhere(self) -> bool:
        """Keep every other slot."""
        is_kept = self.random.random() < 0.5
        self.kept += is_kept
        return is_kept

    async def steal(self) -> None:
        """Do some of what thieves and victims do."""
        slots = self.slots
        chance = self.random.random()
        if chance < 0.2:
            self.kept += slots.reserve()
        elif chance < 0.5 and self.kept:
            self.kept -= 1
            slots.pass_on()
        elif chance < 0.6 and self.kept:
            self.kept -= 1
            slot = slots.hold(self.random.choice("abc"))
            slot.__enter__()
            self.held.append(slot)
        elif chance < 0.8:
            waiting = slots.hand_on(None, lambda _work: True)
            self.shown += [] if waiting is None else [waiting]
        elif self.shown:
            waiting = self.shown.pop(self.random.randrange(len(self.shown)))
            if self.random.random() < 0.5:
                slots.take_back(waiting)
            elif slots.hand_over(waiting):
                self.given.append(waiting)


@pytest.mark.parametrize("seed", range(60))
async def test_no_slot_is_lost_to_thieves(seed: int) -> None:
    """Whatever is kept, passed on, shown, taken back and handed over, cancelled and expired, the counts are right."""
    chance = random.Random(seed)  # noqa: S311 # an order of events, no secret
    count, backlog_max = chance.choice(((1, 1), (1, 4), (3, 3), (5, 100)))
    crowd = Fair(Slots(count, backlog_max), chance)
    crowd.slots.look_elsewhere = crowd.look_elsewhere
    for _ in range(STEPS):
        await crowd.step()
        await crowd.steal()
        assert len(crowd.held) + crowd.kept <= crowd.slots.in_flight <= count
        assert 0 <= crowd.slots.backlog <= backlog_max + count
    while crowd.kept:
        crowd.kept -= 1
        crowd.slots.pass_on()
    for waiting in crowd.shown:
        crowd.slots.take_back(waiting)
    crowd.slots.look_elsewhere = lambda: False
    await crowd.leave()
    assert all(isinstance(waiting.ticket.turn.exception(), HandedOnError) for waiting in crowd.given)
    assert (crowd.slots.in_flight, crowd.slots.backlog, crowd.slots._kept) == (0, 0, 0)
    assert repr(crowd.slots._backlog) == "<Backlog of 0 requests, 0 callers>"
    assert await _can_take_exactly(crowd.slots, count)
