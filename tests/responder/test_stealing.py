"""Several responders that steal from each other, without sockets: what waits is started by exactly one of them."""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from responder.fitness import UnfitError
from responder.slots import Slots
from tests.responder.fleet import Fleet
from tests.support.virtual_time import advance, settle, virtual_time


@pytest.mark.parametrize("attended", [False, True])
@virtual_time
async def test_a_free_slot_takes_what_waits_elsewhere(tmp_path: Path, attended: bool) -> None:
    """Of five requests at one of two responders with two slots each four run at once, and then the fifth."""
    async with Fleet.of(tmp_path, 2, 2) as fleet:
        for number in range(5):
            await fleet.ask(str(number), at=fleet.nodes[0], attended=attended)
        await advance(0.5)
        assert [node.slots.in_flight for node in fleet.nodes] == [2, 2]
        assert [node.slots.backlog for node in fleet.nodes] == [1, 0]
        await advance(0.6)
        assert len(fleet.started) == 5
        await advance(1.1)
        assert fleet.replies == {(str(number), "ok"): 1 for number in range(5)}
        assert fleet.nodes[0].service.statistics.stolen == 0
        assert fleet.nodes[1].service.statistics.stolen >= 2
        await advance(30)
        assert fleet.is_idle


@virtual_time
async def test_the_older_one_first_wherever_it_waits(tmp_path: Path) -> None:
    """Two responders serve what waits at both nearly in the order in which it came."""
    async with Fleet.of(tmp_path, 1, 1) as fleet:
        for number in range(24):
            await fleet.ask(str(number), 1.0 + 0.1 * (number % 2), at=fleet.nodes[number < 14])
            await advance(0.01)
        await advance(40)
        assert len(fleet.started) == 24
        assert max(abs(int(name) - place) for place, name in enumerate(fleet.started[2:], start=2)) <= 2
        assert fleet.is_idle


@pytest.mark.parametrize("at_both", [False, True])
@virtual_time
async def test_a_flood_delays_another_caller_by_one_run_wherever_it_waits(tmp_path: Path, at_both: bool) -> None:
    """Who comes after a flood is next but one, also where the flood waits at another responder, or at all of them."""
    async with Fleet.of(tmp_path, 1, 1) as fleet:
        for number in range(40):
            await fleet.ask(f"f{number}", at=fleet.nodes[at_both and number % 2], session="flood", timeout_ms=3_600_000)
            await advance(0.001)
        await advance(2.5)
        begun = len(fleet.started)
        await fleet.ask("other", at=fleet.nodes[1], session="other")
        await advance(60)
        assert fleet.started.index("other") <= begun + 2
        assert fleet.is_idle


@virtual_time
async def test_a_responder_added_under_load_gets_work_at_once(tmp_path: Path) -> None:
    """A new responder has all of its slots taken within a moment."""
    async with Fleet.of(tmp_path, 1) as fleet:
        for number in range(10):
            await fleet.ask(str(number), 10.0)
        await advance(1.0)
        added = await fleet.add(Slots(3, 5))
        await advance(0.06)
        assert added.slots.in_flight == 3


@virtual_time
async def test_an_unfit_responder_is_not_a_thief(tmp_path: Path) -> None:
    """What is not fit takes nothing, hears no hints, and takes its share when it is fit again."""
    async with Fleet.of(tmp_path, 1, 1, 1) as fleet:
        thief = fleet.nodes[1].thief
        assert thief is not None
        fleet.nodes[1].service.fitness.end("rate_limited", 1000.0, asyncio.get_running_loop().time())
        thief.pause()
        await settle()
        for number in range(6):
            await fleet.ask(str(number), 10.0, at=fleet.nodes[0])
        await advance(0.01)
        assert [node.slots.in_flight for node in fleet.nodes] == [1, 0, 1]
        assert sum(each.subject == "claude.cli.idle" for each in fleet.bus.subscriptions) == 0
        fleet.nodes[1].service.fitness.end_trial(None, None, asyncio.get_running_loop().time())
        thief.resume()
        await advance(0.01)
        assert [node.slots.in_flight for node in fleet.nodes] == [1, 1, 1]
        thief.stop()
        thief.resume()
        await advance(30)
        assert sorted(fleet.started) == ["0", "1", "2", "3", "4", "5"]


@virtual_time
async def test_unfit_between_taking_and_starting(tmp_path: Path) -> None:
    """What was stolen by one that became unfit meanwhile goes back, stays there, and is answered once."""
    async with Fleet.of(tmp_path, 1, 1) as fleet:
        thief = fleet.nodes[1].thief
        assert thief is not None
        thief.is_fit = lambda: True
        fleet.nodes[1].service.fitness.end("rate_limited", 1000.0, asyncio.get_running_loop().time())
        for number in range(3):
            await fleet.ask(str(number), at=fleet.nodes[0])
        await advance(0.2)
        assert fleet.nodes[1].service.statistics.stolen == 2
        assert (fleet.nodes[0].slots.backlog, fleet.nodes[1].slots.in_flight) == (2, 0)
        await advance(5)
        assert fleet.started == ["0", "1", "2"]
        assert fleet.replies == {(str(number), "ok"): 1 for number in range(3)}


@virtual_time
async def test_an_attended_one_that_was_stolen_in_vain_is_told_so(tmp_path: Path) -> None:
    """Its requester, which has heard of it elsewhere, gets the refusal as a result, and the slot is free at once."""
    async with Fleet.of(tmp_path, 1, 1) as fleet:
        fleet.nodes[1].service.fitness.end("rate_limited", 1000.0, asyncio.get_running_loop().time())
        thief = fleet.nodes[1].thief
        assert thief is not None
        thief.is_fit = lambda: True
        fleet.bus.is_lost = lambda _subject, headers: headers.get("Claude-Frame") == "ack"
        for number in range(2):
            await fleet.ask(str(number), 0.5, at=fleet.nodes[0], attended=True)
        await advance(0.1)
        assert fleet.replies == {("1", "unfit"): 1}
        assert fleet.nodes[1].slots.in_flight == 0


@pytest.mark.parametrize("attended", [False, True])
@virtual_time
async def test_what_is_over_the_limit_of_one_waits_at_another(tmp_path: Path, attended: bool) -> None:
    """A full responder refuses nothing while there is room anywhere; what is over all of it is refused at once."""
    async with Fleet.of(tmp_path, 1, backlog_max=2) as fleet:
        await fleet.add(Slots(1, 10))
        await fleet.add(Slots(1, 3))
        for number in range(25):
            await fleet.ask(str(number), at=fleet.nodes[0], attended=attended)
            await advance(0.01)
        assert [node.slots.backlog for node in fleet.nodes] == [2, 10, 3]
        assert sum(fleet.replies.values()) == 7
        assert {outcome for _, outcome in fleet.replies} <= {"overloaded", "plain overloaded"}
        await advance(30)
        outcomes = Counter(outcome for _, outcome in fleet.replies)
        assert (outcomes["ok"], outcomes.total()) == (18, 25)
        assert len(fleet.started) == len(set(fleet.started)) == 18
        assert fleet.is_idle
        fleet.nodes[1].service.fitness.end("rate_limited", 1000.0, asyncio.get_running_loop().time())
        await advance(0.2)
        assert sum(each.subject == "claude.cli.room" for each in fleet.bus.subscriptions) == 2


@virtual_time
async def test_who_retires_gives_what_waits_to_those_with_room(tmp_path: Path) -> None:
    """All of it that may leave and finds a place goes there at once, keeps its time, and is answered once."""
    async with Fleet.of(tmp_path, 1, 1, backlog_max=4) as fleet:
        first, second = fleet.nodes
        await fleet.ask("first", 5.0, at=first)
        await fleet.ask("second", 5.0, at=second)
        await fleet.ask("kept", 1.0, at=first, idempotency_key="k")
        for number in range(3):
            await fleet.ask(f"w{number}", 1.0, at=first)
            await advance(0.1)
        assert (first.slots.backlog, second.slots.backlog) == (4, 0)
        await fleet.ask("younger", 1.0, at=second)
        assert first.routing is not None
        await first.routing.retire()
        assert (first.slots.backlog, second.slots.backlog) == (1, 4)
        await advance(20)
        assert set(fleet.replies.values()) == {1}
        assert {outcome for _, outcome in fleet.replies} == {"ok"}
        assert [name for name in fleet.started if name not in {"first", "kept"}] == [
            "second",
            "w0",
            "w1",
            "w2",
            "younger",
        ]


@virtual_time
async def test_who_retires_keeps_what_nobody_has_room_for(tmp_path: Path) -> None:
    """What finds no place elsewhere still waits here, in its order."""
    async with Fleet.of(tmp_path, 1, 1, backlog_max=3) as fleet:
        first, second = fleet.nodes
        await fleet.ask("here", 5.0, at=first)
        await fleet.ask("there", 5.0, at=second)
        await fleet.ask("there0", 1.0, at=second)
        await fleet.ask("there1", 1.0, at=second)
        for number in range(3):
            await fleet.ask(f"w{number}", 1.0, at=first)
            await advance(0.1)
        assert first.routing is not None
        await first.routing.retire()
        assert (first.slots.backlog, second.slots.backlog) == (2, 3)
        await advance(20)
        assert len(fleet.started) == len(set(fleet.started)) == len(fleet.replies) == 7


@pytest.mark.parametrize("seed", range(10))
@virtual_time
async def test_who_retires_does_not_take_itself_or_a_refusal_of_its_own_for_want_of_room(
    tmp_path: Path, seed: int
) -> None:
    """All plain ones find a place, though it is in the group itself and attended ones are let go just then."""
    async with Fleet.of(tmp_path, 1, 1, seed=seed) as fleet:
        first, second = fleet.nodes
        for node in fleet.nodes:
            await fleet.ask(f"at-{node.instance.responder}", 50.0, at=node)
        for number in range(40):
            await fleet.ask(str(number), at=first, attended=number < 20)
            await advance(0.01)
        fleet.bus.delay_s = lambda _subject: 0.0005
        assert first.routing is not None
        first.attendance.let_go(lambda: UnfitError("for a test"))
        await first.routing.retire()
        await advance(0.01)
        assert (first.slots.backlog, second.slots.backlog) == (0, 20)


@virtual_time
async def test_a_frozen_peer_does_not_hold_up_who_retires(tmp_path: Path) -> None:
    """What was offered to it goes to another, and what waits for that is in time, unless four go there in a row."""
    async with Fleet.of(tmp_path, 1, 1, 1) as fleet:
        first, second, frozen = fleet.nodes
        for node in fleet.nodes:
            await fleet.ask(f"at-{node.instance.responder}", 50.0, at=node)
        for number in range(16):
            await fleet.ask(str(number), at=first)
        await advance(0.2)
        frozen.link.frozen_until = asyncio.get_running_loop().time() + 100
        assert first.routing is not None
        await first.routing.retire()
        await advance(0.01)
        assert second.slots.backlog >= 14


@virtual_time
async def test_refused_where_it_was_taken_in(tmp_path: Path) -> None:
    """The requester of an attended request, which has heard of it elsewhere, gets the refusal as a result."""
    async with Fleet.of(tmp_path, 1, 1, backlog_max=1) as fleet:
        thief = fleet.nodes[1].thief
        assert thief is not None
        thief.is_fit = lambda: True
        await advance(0.2)
        await fleet.ask("0", 10.0, at=fleet.nodes[1])
        await settle()
        fleet.nodes[1].service.fitness.end("rate_limited", 1000.0, asyncio.get_running_loop().time())
        for number in range(1, 4):
            await fleet.ask(str(number), 10.0, at=fleet.nodes[0], attended=True)
            await advance(0.01)
        assert fleet.replies == {("3", "unfit"): 1}


@virtual_time
async def test_what_was_given_too_late_goes_back_at_once(tmp_path: Path) -> None:
    """A plain request that comes when there is no slot for it any more waits at its victim again."""
    async with Fleet.of(tmp_path, 1, 1) as fleet:
        fleet.bus.delay_s = lambda subject: 0.15 if "_INBOX.bus" in subject else 0.0
        await fleet.ask("0", 0.5, at=fleet.nodes[0])
        await fleet.ask("1", 1.0, at=fleet.nodes[0])
        await advance(0.11)
        await fleet.ask("2", 10.0, at=fleet.nodes[1])
        await advance(0.6)
        assert fleet.started == ["0", "2", "1"]


@pytest.mark.parametrize("seed", range(60))
@virtual_time
async def test_exactly_one_starts_it_whatever_comes_late(tmp_path: Path, seed: int) -> None:
    """With messages late by up to 1.5 s and frozen responders nothing runs twice, and nothing plain is lost."""
    chance = random.Random(seed)  # noqa: S311 # an order of events, no secret
    async with Fleet.of(tmp_path, 1, 2, 1, seed=seed) as fleet:
        slow_s = chance.choice((0.0, 0.05, 0.5, 1.5))
        fleet.bus.delay_s = lambda subject: chance.random() * slow_s if "_INBOX.caller" not in subject else 0.0
        names = [f"{number}" for number in range(30)]
        for name in names:
            at = fleet.nodes[chance.randrange(3)]
            await fleet.ask(name, chance.random() * 2, at=at, attended=False, timeout_ms=3_600_000)
            if chance.random() < 0.2:
                node = chance.choice(fleet.nodes)
                node.link.frozen_until = asyncio.get_running_loop().time() + chance.choice((0.05, 1.0, 3.0))
            await advance(chance.choice((0.0, 0.0, 0.1, 1.0)))
        await advance(200)
        assert sorted(fleet.started) == sorted(names)
        assert fleet.replies == {(name, "ok"): 1 for name in names}
        assert fleet.is_idle


@pytest.mark.parametrize("seed", range(60))
@virtual_time
async def test_nothing_runs_twice_whatever_is_lost(tmp_path: Path, seed: int) -> None:
    """With messages between responders lost and late, deadlines and killed responders, no slot is lost."""
    chance = random.Random(seed)  # noqa: S311 # an order of events, no secret
    async with Fleet.of(tmp_path, 1, 2, 1, seed=seed, backlog_max=chance.choice((3, 100))) as fleet:
        part = chance.choice((0.02, 0.2, 0.5))

        def is_lost(subject: str, _headers: Mapping[str, str]) -> bool:
            return any(each in subject for each in ("backlog", "room", "_INBOX.bus")) and chance.random() < part

        fleet.bus.is_lost = is_lost
        fleet.bus.delay_s = lambda _subject: chance.choice((0.0, 0.0, 0.01, 0.2))
        for number in range(40):
            await fleet.ask(
                str(number),
                chance.random(),
                attended=chance.random() < 0.5,
                timeout_ms=chance.choice((50, 500, 2_000, 3_600_000)),
            )
            if number == 30 and chance.random() < 0.5:
                fleet.nodes[0].link.is_closed = True
            await advance(chance.choice((0.0, 0.0, 0.1, 0.3)))
        await advance(200)
        assert len(fleet.started) == len(set(fleet.started))
        assert all(count == 1 for (_, outcome), count in fleet.replies.items() if outcome == "ok")
        assert fleet.is_idle
