"""Slots and the backlog before them: order, bounds, deadlines, cancellation, closing."""

import asyncio
from contextlib import AbstractContextManager, ExitStack

import pytest

from contract import Priority
from responder.fitness import UnfitError
from responder.slots import BacklogClosedError, BacklogFullError, Slots, WaitedTooLongError
from tests.support.virtual_time import advance, settle, virtual_time

pytestmark = pytest.mark.usefixtures("patience")
LONG_S = 60.0
SHORT_S = 0.02

Slot = AbstractContextManager[None]


def in_s(seconds: float) -> float:
    """Give a deadline so many seconds from now."""
    return asyncio.get_running_loop().time() + seconds


async def turn() -> None:
    """Let every task that can go on do so."""
    for _ in range(3):
        await asyncio.sleep(0)


async def waiting(slots: Slots, seconds: float = LONG_S) -> asyncio.Task[Slot]:
    """Start a request that waits in the backlog."""
    before = slots.backlog
    task = asyncio.create_task(slots.take(in_s(seconds)))
    await turn()
    assert slots.backlog == before + 1
    return task


async def take_all(slots: Slots) -> ExitStack:
    """Take every slot; closing what is returned gives them back."""
    held = ExitStack()
    for _ in range(slots.count):
        held.enter_context(await slots.take(in_s(LONG_S)))
    return held


async def test_slots_are_counted() -> None:
    """A slot is in flight as long as its context lasts."""
    slots = Slots(2, 0)
    assert (slots.in_flight, slots.backlog) == (0, 0)
    with await slots.take(in_s(LONG_S)):
        assert slots.in_flight == 1
        with await slots.take(in_s(LONG_S)):
            assert slots.in_flight == 2
        assert slots.in_flight == 1
    assert slots.in_flight == 0


async def test_a_slot_counts_from_the_moment_it_is_taken() -> None:
    """Between the taking of a slot and the start of its run nobody else gets it."""
    slots = Slots(1, 0)
    slot = await slots.take(in_s(LONG_S))
    assert slots.in_flight == 1
    with pytest.raises(BacklogFullError):
        await slots.take(in_s(LONG_S))
    with slot:
        pass


async def test_a_failing_run_gives_its_slot_back() -> None:
    """A run that ends by an exception does not keep its slot."""
    slots = Slots(1, 0)
    with pytest.raises(RuntimeError), await slots.take(in_s(LONG_S)):
        raise RuntimeError
    assert slots.in_flight == 0


async def test_the_backlog_is_first_in_first_out() -> None:
    """Slots go to the requests in the order in which they came."""
    slots = Slots(1, 100)
    served: list[int] = []

    async def request(number: int) -> None:
        with await slots.take(in_s(LONG_S)):
            served.append(number)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for number in range(50):
            group.create_task(request(number))
    assert served == list(range(50))
    assert (slots.in_flight, slots.backlog) == (0, 0)


async def test_nobody_overtakes_the_backlog() -> None:
    """A request that comes just when a slot is given back waits behind the one it was handed to."""
    slots = Slots(1, 2)
    held = await take_all(slots)
    first = await waiting(slots)
    held.close()
    late = asyncio.create_task(slots.take(in_s(LONG_S)))
    await turn()
    assert (first.done(), late.done()) == (True, False)
    with await first:
        pass
    with await late:
        pass


async def test_never_more_runs_than_slots() -> None:
    """However many requests there are, so many run at a time and no more."""
    slots = Slots(3, 1000)
    most = 0

    async def request() -> None:
        nonlocal most
        with await slots.take(in_s(LONG_S)):
            most = max(most, slots.in_flight)
            await asyncio.sleep(0)

    await asyncio.gather(*(request() for _ in range(200)))
    assert most == 3


async def test_the_backlog_is_bounded() -> None:
    """When so many wait, one more is refused at once, and those that wait are not disturbed."""
    slots = Slots(1, 2)
    held = await take_all(slots)
    tasks = [await waiting(slots), await waiting(slots)]
    with pytest.raises(BacklogFullError):
        await slots.take(in_s(LONG_S))
    assert slots.backlog == 2
    held.close()
    for task in tasks:
        with await task:
            pass


async def test_without_a_backlog_nobody_waits() -> None:
    """A backlog of none refuses whatever finds no free slot."""
    slots = Slots(1, 0)
    with await slots.take(in_s(LONG_S)), pytest.raises(BacklogFullError):
        await slots.take(in_s(LONG_S))
    with await slots.take(in_s(LONG_S)):
        pass


async def test_a_place_is_free_again_when_its_request_has_gone() -> None:
    """A request that has given up does not count against the bound."""
    slots = Slots(1, 1)
    held = await take_all(slots)
    task = await waiting(slots)
    task.cancel()
    await asyncio.wait([task])
    other = await waiting(slots)
    held.close()
    with await other:
        pass


async def test_a_refusal_says_when_to_come_back() -> None:
    """Each is told a time, and those who are refused later a later one."""
    slots = Slots(1, 0)
    with await slots.take(in_s(LONG_S)):
        pauses = []
        for _ in range(3):
            with pytest.raises(BacklogFullError) as caught:
                await slots.take(in_s(LONG_S))
            pauses.append(caught.value.retry_after_ms)
    assert 100 <= pauses[0] < pauses[1] < pauses[2] <= 30_000


async def test_the_deadline_passes_in_the_backlog() -> None:
    """A request whose deadline passes while it waits gets no slot, and leaves the backlog."""
    slots = Slots(1, 5)
    held = await take_all(slots)
    with pytest.raises(WaitedTooLongError):
        await slots.take(in_s(SHORT_S))
    assert (slots.backlog, slots.in_flight) == (0, 1)
    held.close()
    assert slots.in_flight == 0


async def test_the_deadline_of_one_is_not_that_of_another() -> None:
    """A request in the middle of the backlog that has waited too long lets the others keep their places."""
    slots = Slots(1, 5)
    held = await take_all(slots)
    first = await waiting(slots)
    second = await waiting(slots, SHORT_S)
    third = await waiting(slots)
    await asyncio.wait([second])
    assert isinstance(second.exception(), WaitedTooLongError)
    assert slots.backlog == 2
    held.close()
    await turn()
    assert (first.done(), third.done()) == (True, False)
    with await first:
        pass
    with await third:
        pass


@pytest.mark.parametrize("late_s", [0.0, 1.0])
async def test_a_deadline_that_has_passed_takes_no_slot(late_s: float) -> None:
    """A request that is too late on arrival gets nothing, even if a slot is free."""
    slots = Slots(1, 5)
    with pytest.raises(WaitedTooLongError):
        await slots.take(in_s(-late_s))
    assert slots.in_flight == 0


async def test_cancelled_while_it_waits() -> None:
    """A cancelled request leaves the backlog, and its slot goes to the next."""
    slots = Slots(1, 5)
    held = await take_all(slots)
    first, second = await waiting(slots), await waiting(slots)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert slots.backlog == 1
    held.close()
    with await second:
        assert slots.in_flight == 1
    assert slots.in_flight == 0


async def test_cancelled_at_the_moment_of_the_handover() -> None:
    """A slot that is handed to a request in the moment it is cancelled is not lost."""
    slots = Slots(1, 5)
    held = await take_all(slots)
    task = await waiting(slots)
    held.close()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (slots.in_flight, slots.backlog) == (0, 0)


async def test_cancelled_at_the_handover_with_others_behind() -> None:
    """The slot of a request that is cancelled at its handover goes to the next in line."""
    slots = Slots(1, 5)
    held = await take_all(slots)
    tasks = [await waiting(slots) for _ in range(3)]
    held.close()
    tasks[0].cancel()
    tasks[1].cancel()
    with await tasks[2]:
        assert slots.in_flight == 1
    assert (slots.in_flight, slots.backlog) == (0, 0)
    assert tasks[0].cancelled()
    assert tasks[1].cancelled()


async def test_cancelled_after_the_deadline() -> None:
    """A cancellation together with the deadline gives back no slot that was never had."""
    slots = Slots(1, 5)
    held = await take_all(slots)
    task = await waiting(slots, SHORT_S)
    loop = asyncio.get_running_loop()
    loop.call_at(in_s(SHORT_S), task.cancel)
    await asyncio.wait([task])
    assert slots.in_flight == 1
    held.close()
    assert (slots.in_flight, slots.backlog) == (0, 0)


async def test_closing_gives_up_on_all_that_waits() -> None:
    """When the responder stops, what waits is told so, and what runs goes on."""
    slots = Slots(1, 5)
    held = await take_all(slots)
    tasks = [await waiting(slots) for _ in range(3)]
    slots.close()
    for task in tasks:
        with pytest.raises(BacklogClosedError):
            await task
    assert (slots.in_flight, slots.backlog) == (1, 0)
    held.close()
    assert slots.in_flight == 0


async def test_closing_spares_the_slot_that_was_just_handed_over() -> None:
    """A request that has got its slot keeps it when the backlog is closed in the same moment."""
    slots = Slots(1, 5)
    held = await take_all(slots)
    first, second = await waiting(slots), await waiting(slots)
    held.close()
    slots.close()
    with await first:
        assert slots.in_flight == 1
    with pytest.raises(BacklogClosedError):
        await second
    assert slots.in_flight == 0


async def test_closing_and_cancelling_together() -> None:
    """A request that is given up on and cancelled at once takes no slot with it."""
    slots = Slots(1, 5)
    held = await take_all(slots)
    task = await waiting(slots)
    slots.close()
    task.cancel()
    await asyncio.wait([task])
    held.close()
    assert (slots.in_flight, slots.backlog) == (0, 0)


async def test_closing_an_empty_backlog() -> None:
    """With nobody waiting there is nothing to give up on."""
    Slots(1, 5).close()


async def test_a_repr_for_the_person_on_call() -> None:
    """The repr says how many slots are busy and how many wait."""
    slots = Slots(2, 5)
    with await slots.take(in_s(LONG_S)):
        assert repr(slots) == "<Slots 1/2 busy, 0 waiting>"


async def test_a_closed_backlog_takes_nobody_more() -> None:
    """What comes after the close is told so at once, also while a slot is free: it would only be ended again."""
    slots = Slots(1, 10)
    slots.close()
    with pytest.raises(BacklogClosedError):
        await slots.take(asyncio.get_running_loop().time() + 60)
    assert slots.in_flight == 0


async def test_a_free_slot_is_one_that_nobody_waits_for() -> None:
    """Work that gives way gets a slot only while none is awaited, and none after the close."""
    slots = Slots(1, 5)
    slot = await slots.take_free()
    assert slot is not None
    assert await slots.take_free() is None
    direct = await waiting(slots)
    with slot:
        pass
    assert await slots.take_free() is None
    with await direct:
        assert slots.in_flight == 1
    with await slots.take_free() or pytest.fail("no slot"):
        assert slots.in_flight == 1
    slots.close()
    assert await slots.take_free() is None


@pytest.mark.parametrize("is_used", [False, True])
async def test_a_slot_kept_for_work_from_elsewhere_is_waited_for(is_used: bool) -> None:
    """Work that gives way is refused a slot only once that has gone to somebody."""
    slots = Slots(1, 5)
    assert slots.reserve()
    free = asyncio.create_task(slots.take_free())
    await turn()
    assert not free.done()
    if is_used:
        slots.hold("")
    else:
        slots.pass_on()
    assert (await asyncio.wait_for(free, 1) is None) is is_used


@pytest.mark.parametrize("is_used", [False, True])
async def test_who_comes_while_a_slot_is_kept_has_a_place(is_used: bool) -> None:
    """A slot that only looks for older work elsewhere makes nobody be refused."""
    slots = Slots(1, 0)
    assert slots.reserve()
    first = await waiting(slots)
    with pytest.raises(BacklogFullError):
        await slots.take(asyncio.get_running_loop().time() + 60)
    if is_used:
        with slots.hold(""):
            pass
    else:
        slots.pass_on()
    with await first:
        pass


async def test_waiting_for_a_free_slot() -> None:
    """Who waits for a free slot goes on when there is one that nobody took before."""
    slots = Slots(1, 5)
    await slots.wait_until_free()
    held = await take_all(slots)
    direct = await waiting(slots)
    free = asyncio.create_task(slots.wait_until_free())
    held.close()
    await turn()
    assert not free.done()
    with await direct:
        pass
    await asyncio.wait_for(free, 1)
    assert await slots.take_free() is not None


async def crowd(slots: Slots, served: list[str], *names: str, run_s: float = 1.0, **how: str | Priority) -> None:
    """Let requests come that hold their slots for a while each and say when they start."""

    async def one(name: str) -> None:
        caller, priority = str(how.get("caller", "")), Priority(how.get("priority", Priority.INTERACTIVE))
        with await slots.take(in_s(10_000), priority=priority, caller=caller):
            served.append(name)
            await asyncio.sleep(run_s)

    await asyncio.gather(*(one(name) for name in names))


@pytest.mark.parametrize("count", [1, 2, 4])
@virtual_time
async def test_a_flood_lets_the_others_through(count: int) -> None:
    """Of two callers the one that comes late is served before more than a slot's worth of the other's flood."""
    slots, served = Slots(count, 100), list[str]()
    flooding = asyncio.create_task(crowd(slots, served, *(f"a{each}" for each in range(20)), caller="a"))
    await advance(0.5)
    assert (slots.in_flight, slots.backlog) == (count, 20 - count)
    other = asyncio.create_task(crowd(slots, served, "b0", "b1", "b2", caller="b"))
    await settle()
    assert slots.backlog == 23 - count
    await other
    before = served[: served.index("b0")]
    assert len(before) <= max(count, 2)
    since = served[len(before) :]
    assert sum(name.startswith("a") for name in since[: since.index("b2")]) <= 3 + count
    await flooding
    assert [name for name in served if name.startswith("a")] == [f"a{each}" for each in range(20)]
    assert (slots.in_flight, slots.backlog) == (0, 0)


@virtual_time
async def test_batch_waits_for_interactive_until_it_has_aged() -> None:
    """A batch request gives way to interactive ones for its 30 s, however many come, and then has its turn."""
    slots, served = Slots(1, 100), list[str]()
    tasks = [asyncio.create_task(crowd(slots, served, "first", run_s=10.1))]
    await settle()
    tasks.append(asyncio.create_task(crowd(slots, served, "batch", run_s=10.1, priority=Priority.BATCH)))
    for each in range(6):
        await settle()
        tasks.append(asyncio.create_task(crowd(slots, served, f"i{each}", run_s=10.1)))
        await advance(5.0)
    await asyncio.gather(*tasks)
    assert served == ["first", "i0", "i1", "batch", "i2", "i3", "i4", "i5"]


@virtual_time
async def test_an_age_counts() -> None:
    """A request that has waited elsewhere takes its place by its age."""
    slots, served = Slots(1, 100), list[str]()
    tasks = [asyncio.create_task(crowd(slots, served, "first"))]
    await settle()
    tasks.append(asyncio.create_task(crowd(slots, served, "here")))
    await settle()
    old = asyncio.create_task(slots.take(in_s(100), arrived_at=in_s(-20)))
    await advance(1)
    assert served == ["first"]
    with await old:
        pass
    await asyncio.gather(*tasks)
    assert served == ["first", "here"]


@virtual_time
async def test_what_expired_while_the_loop_stood_still_gets_no_slot() -> None:
    """A slot that comes after a deadline goes to the next, also when nobody has yet noticed that it has passed."""
    slots = Slots(1, 5)
    held = await take_all(slots)
    first = asyncio.create_task(slots.take(in_s(5)))
    await settle()
    second = await waiting(slots)
    loop = asyncio.get_running_loop()
    loop._waiting.waited_s += 6.0  # type: ignore[attr-defined] # the time passes, and no timer is looked at
    held.close()
    await settle()
    assert isinstance(first.exception(), WaitedTooLongError)
    with await second:
        assert (slots.in_flight, slots.backlog) == (1, 0)
    assert slots.in_flight == 0


async def test_cancelled_at_the_handover_with_another_caller_behind() -> None:
    """The slot of a cancelled request goes to whoever is next, and the one that has gone counts for no run."""
    slots = Slots(1, 5)
    held = await take_all(slots)
    mine = [asyncio.create_task(slots.take(in_s(LONG_S), caller="a")) for _ in range(2)]
    other = asyncio.create_task(slots.take(in_s(LONG_S), caller="b"))
    await turn()
    held.close()
    mine[0].cancel()
    with await other:
        assert slots.in_flight == 1
    with await mine[1]:
        assert slots.in_flight == 1
    assert repr(slots._backlog) == "<Backlog of 0 requests, 0 callers>"


async def test_letting_go_is_no_end() -> None:
    """What waits is let go with an error of its own; what runs goes on, and what comes later is served."""
    slots = Slots(1, 5)
    held = await take_all(slots)
    waiters = [await waiting(slots) for _ in range(3)]
    slots.let_go(lambda: UnfitError("x"))
    errors = await asyncio.gather(*waiters, return_exceptions=True)
    assert [type(error) for error in errors] == [UnfitError] * 3
    assert len(set(map(id, errors))) == 3
    assert (slots.in_flight, slots.backlog) == (1, 0)
    later = await waiting(slots)
    held.close()
    with await later:
        assert slots.in_flight == 1
