"""The order in which what waits is served: by examples, against a naive model, and what it costs."""

import math
import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract import Priority
from responder.backlog import Backlog, Best, Waiting

INTERACTIVE, BATCH = Priority.INTERACTIVE, Priority.BATCH
WAIT_S = 30.0
CANARY = "_INBOX.canary-5f1c9"


def request(
    name: str, arrived_at: float = 0.0, *, caller: str = "a", priority: Priority = INTERACTIVE, deadline: float = 1e9
) -> Waiting[str]:
    return Waiting(arrived_at, priority, caller, deadline, name)


def backlog_of(*requests: Waiting[str], wait_s: float = WAIT_S) -> Backlog[str]:
    backlog: Backlog[str] = Backlog(wait_s)
    for waiting in requests:
        backlog.add(waiting)
    return backlog


def next_of(backlog: Backlog[str], now: float = 10.0) -> str | None:
    """Give what is next to a slot, and count its run."""
    waiting = backlog.pop(now)
    if waiting is None:
        return None
    backlog.start(waiting.caller)
    return waiting.ticket


def served(backlog: Backlog[str], slots: int, now: float = 10.0) -> list[str]:
    """Give the order in which so many slots serve all of it, the oldest run being the first to end."""
    order: list[str] = []
    running: list[str] = []
    while (waiting := backlog.pop(now)) is not None:
        backlog.start(waiting.caller)
        running.append(waiting.caller)
        order.append(waiting.ticket)
        now += 1e-3
        if len(running) == slots:
            backlog.end(running.pop(0))
    for caller in running:
        backlog.end(caller)
    return order


def flood(caller: str, count: int, start_s: float = 0.0, **more: Any) -> list[Waiting[str]]:
    return [request(f"{caller}{each}", start_s + each / 1000, caller=caller, **more) for each in range(count)]


def test_one_class_and_one_caller_is_first_in_first_out() -> None:
    """Requests of one caller are served in order of arrival, whatever the number of slots."""
    for slots in (1, 3):
        assert served(backlog_of(*flood("a", 50)), slots) == [f"a{each}" for each in range(50)]


def test_callers_with_one_request_each_are_served_in_order_of_arrival() -> None:
    """A crowd of which each waits with one request is first in, first out, too."""
    crowd = [request(str(each), each, caller=f"c{each}") for each in range(50)]
    assert served(backlog_of(*crowd[::-1]), 3, now=60.0) == [str(each) for each in range(50)]


def test_an_age_handed_over_counts() -> None:
    """A request that has waited elsewhere is as old here as it is; those as old come in the order of their adding."""
    backlog = backlog_of(request("here", 5.0), request("older", -20.0), request("as old", -20.0), request("new", 6.0))
    assert served(backlog, 1) == ["older", "as old", "here", "new"]


def test_interactive_comes_before_batch() -> None:
    """A batch request waits as long as an interactive one does, however much later that one came."""
    backlog = backlog_of(*flood("b", 2, priority=BATCH), request("late", 9.0), request("later", 9.5, caller="c"))
    assert served(backlog, 1) == ["late", "later", "b0", "b1"]


def test_a_batch_request_that_has_waited_long_counts_as_interactive() -> None:
    """From its 30th second on a batch request is served by its age; one that has not waited as long is not."""
    backlog = backlog_of(
        request("aged", 0.0, priority=BATCH), request("young", 0.5, priority=BATCH), request("new", 29.0, caller="c")
    )
    assert backlog.best(29.9) == Best(29.0, INTERACTIVE, "c", 29.0)
    assert backlog.best(30.0) == Best(0.0, INTERACTIVE, "a", 0.0)
    assert [next_of(backlog, 30.0) for _ in range(4)] == ["aged", "new", "young", None]


def test_batch_never_starves() -> None:
    """A batch request is served although there is always an interactive one, of others and of its own caller."""
    backlog = backlog_of(request("batch", 0.0, priority=BATCH), request("a", 0.0), request("c", 0.0, caller="c"))
    order: list[str] = []
    for second in range(40):
        backlog.add(request(f"at {second}", second, caller=f"c{second}" if second % 2 else "a"))
        waiting = backlog.pop(second)
        assert waiting is not None
        order.append(waiting.ticket)
    assert 30 <= order.index("batch") <= 32


def test_without_a_wait_there_is_one_class() -> None:
    """With a wait of 0 s batch requests are served as they come."""
    backlog = backlog_of(request("batch", 0.0, priority=BATCH), request("new", 0.1), wait_s=0.0)
    assert served(backlog, 1) == ["batch", "new"]


@pytest.mark.parametrize("slots", [2, 3, 5])
def test_a_flood_does_not_keep_the_others_waiting(slots: int) -> None:
    """Whoever has fewest runs in flight is next: after the flood has the slots, those that end go to the other."""
    backlog = backlog_of(*flood("a", 20))
    for _ in range(slots):
        next_of(backlog)
    for waiting in flood("b", 3, 5.0):
        backlog.add(waiting)
    order = []
    for _ in range(6):
        backlog.end("a")
        order.append(next_of(backlog))
    fair = slots // 2
    assert order[:fair] == [f"b{each}" for each in range(fair)]


def test_callers_take_turns_where_there_are_fewer_slots_than_callers() -> None:
    """With one slot nobody has a run in flight when it is free: a caller's next request joins behind the others'."""
    backlog = backlog_of(*flood("a", 20), *flood("b", 3, 0.5), *flood("c", 2, 0.6))
    assert served(backlog, 1)[:9] == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "a3"]


def test_newcomers_do_not_starve_who_waits() -> None:
    """A caller that has had its turn waits for those who came before, not for those who keep coming."""
    backlog = backlog_of(*flood("a", 3))
    order: list[str] = []
    for second in range(6):
        backlog.add(request(f"n{second}", second, caller=f"n{second}"))
        waiting = backlog.pop(second)
        assert waiting is not None
        order.append(waiting.ticket)
    assert order == ["a0", "n0", "a1", "n1", "a2", "n2"]


def test_a_turn_counts_for_what_waited_then() -> None:
    """A request that is handed over later is as old as it is, whatever its caller has had meanwhile."""
    backlog = backlog_of(request("a0", 0.0))
    for caller in ("a", "b"):
        backlog.start(caller)
    assert next_of(backlog, 10.0) == "a0"
    backlog.end("a")
    backlog.add(request("b0", 5.0, caller="b"))
    backlog.add(request("a1", 2.0))
    assert next_of(backlog, 11.0) == "a1"


def test_what_a_thief_takes_is_the_turn_of_its_caller() -> None:
    """What is taken for a slot elsewhere is not in flight here, and the caller's next waits its turn."""
    backlog = backlog_of(*flood("a", 3), *flood("b", 2, 0.5))
    assert backlog.best(10.0) == Best(0.0, INTERACTIVE, "a", 0.0)
    stolen = [backlog.pop(10.0 + each) for each in range(5)]
    assert [waiting.ticket for waiting in stolen if waiting] == ["a0", "b0", "a1", "b1", "a2"]
    assert (backlog.best(20.0), backlog.pop(20.0), len(backlog)) == (None, None, 0)


@pytest.mark.parametrize(
    ("caller", "arrived_at", "joined_at", "comes_before"),
    [
        ("a", 4.0, 9.0, False),
        ("a", 6.0, 1.0, True),
        ("b", 4.0, 9.0, True),
        ("b", 6.0, 7.0, False),
        ("b", 4.0, None, False),
    ],
)
def test_which_of_two_responders_has_what_is_next(
    caller: str, arrived_at: float, joined_at: float | None, comes_before: bool
) -> None:
    """Of one caller the older one, of two callers the one whose turn it is; who tells no turn tells its age."""
    ours = Best(5.0, INTERACTIVE, "a", 8.0)
    assert ours.comes_before(Best(arrived_at, INTERACTIVE, caller, joined_at)) is comes_before


def test_what_has_expired_is_let_go() -> None:
    """A request whose deadline has passed is neither given nor counted, and costs its caller no turn."""
    late = request("late", 0.0, deadline=10.0)
    backlog = backlog_of(late, request("a", 1.0), request("b", 2.0, caller="b"))
    assert backlog.best(9.9) == Best(0.0, INTERACTIVE, "a", 0.0)
    assert backlog.best(10.0) == Best(1.0, INTERACTIVE, "a", 1.0)
    assert len(backlog) == 2
    assert not backlog.remove(late)
    assert served(backlog, 1) == ["a", "b"]


def test_removing_from_anywhere() -> None:
    """A request leaves from anywhere, once; the others keep their places."""
    waiting = flood("a", 5)
    backlog = backlog_of(*waiting)
    assert [backlog.remove(waiting[each]) for each in (2, 0, 2)] == [True, True, False]
    assert len(backlog) == 3
    assert served(backlog, 1) == ["a1", "a3", "a4"]


def test_everything_can_be_taken_out() -> None:
    """What is cleared gives all that waited; runs in flight still count."""
    backlog = backlog_of(*flood("a", 3), *flood("b", 2, priority=BATCH))
    next_of(backlog)
    assert {waiting.ticket for waiting in backlog.clear()} == {"a1", "a2", "b0", "b1"}
    assert (len(backlog), backlog.pop(10.0)) == (0, None)
    for waiting in (*flood("a", 1), *flood("b", 1, 1.0)):
        backlog.add(waiting)
    assert next_of(backlog) == "b0"


def test_nothing_is_remembered_of_callers_that_have_gone() -> None:
    """Neither callers nor requests leave a trace once they have left: the memory stays flat."""
    backlog: Backlog[str] = Backlog(WAIT_S)
    stays = request("stays", -1.0, caller="stays", priority=BATCH)
    backlog.add(stays)
    backlog.start("stays")
    for each in range(2000):
        waiting = request("w", each / 1000, caller=f"c{each}", priority=BATCH if each % 2 else INTERACTIVE)
        backlog.add(waiting)
        if each % 3:
            backlog.remove(waiting)
        else:
            assert next_of(backlog, each / 1000) == "w"
            backlog.end(waiting.caller)
    assert repr(backlog) == "<Backlog of 1 requests, 1 callers>"
    heaps: list[Any] = [*backlog._rankings.values(), backlog._ageing, backlog._expiring]
    assert max(len(heap._list) for heap in heaps) < 40
    assert backlog.pop(3.0) is stays
    backlog.end("stays")
    assert repr(backlog) == "<Backlog of 0 requests, 0 callers>"


def test_a_caller_is_not_shown() -> None:
    """No repr holds whose a request is."""
    waiting = request("w", caller=CANARY)
    assert CANARY not in repr(waiting) + repr(backlog_of(waiting))


class Counted(float):
    """A time that counts how often it is compared."""

    comparisons = 0

    def __eq__(self, other: object) -> bool:
        Counted.comparisons += 1
        return float(self) == other

    def __lt__(self, other: float) -> bool:
        Counted.comparisons += 1
        return float(self) < float(other)

    def __hash__(self) -> int:
        return hash(float(self))


@pytest.mark.parametrize("callers", [1, 30, 20_000])
@pytest.mark.parametrize("priority", list(Priority))
def test_a_pick_does_not_look_at_all_that_waits(callers: int, priority: Priority) -> None:
    """With 20,000 waiting a slot finds its request in a few steps, whether they are of one caller or of many."""
    backlog: Backlog[str] = Backlog(WAIT_S)
    for each in range(20_000):
        backlog.add(request("w", Counted(each / 1e6), caller=f"c{each % callers}", priority=priority))
    assert callers == 1 or next_of(backlog, 1.0) == "w"  # what was put off until the first look
    Counted.comparisons = 0
    for each in range(100):
        assert next_of(backlog, 1.0 + each / 1e6) == "w"
    assert Counted.comparisons < 100 * 400


@dataclass
class Naive:
    """The order as it is told, without any thought of what it costs.

    Attributes:
        waiting: All that waits, in the order of adding.
        in_flight: Runs of each caller.
        turns: When each caller was served last while others of its own waited.
    """

    waiting: list[Waiting[str]] = field(default_factory=list)
    in_flight: dict[str, int] = field(default_factory=dict)
    turns: dict[str, float] = field(default_factory=dict)

    def add(self, waiting: Waiting[str]) -> None:
        self.waiting.append(waiting)

    def remove(self, waiting: Waiting[str]) -> None:
        if waiting in self.waiting:
            self.waiting.remove(waiting)
        if not any(other.caller == waiting.caller for other in self.waiting):
            self.turns.pop(waiting.caller, None)

    def best(self, now: float) -> Waiting[str] | None:
        for waiting in [waiting for waiting in self.waiting if waiting.deadline <= now]:
            self.remove(waiting)
        return min(self.waiting, key=lambda waiting: self._key(waiting, now), default=None)

    def pop(self, now: float) -> Waiting[str] | None:
        waiting = self.best(now)
        if waiting is not None:
            self.turns[waiting.caller] = now
            self.remove(waiting)
        return waiting

    def told(self, waiting: Waiting[str], now: float) -> Best:
        joined_at = max(waiting.arrived_at, self.turns.get(waiting.caller, -math.inf))
        return Best(waiting.arrived_at, self.counts_as(waiting, now), waiting.caller, joined_at)

    def counts_as(self, waiting: Waiting[str], now: float) -> Priority:
        is_batch = waiting.priority is BATCH and now - waiting.arrived_at < WAIT_S
        return BATCH if is_batch else INTERACTIVE

    def _key(self, waiting: Waiting[str], now: float) -> tuple[Any, ...]:
        joined_at = max(waiting.arrived_at, self.turns.get(waiting.caller, -math.inf))
        return (
            self.counts_as(waiting, now) is BATCH,
            self.in_flight.get(waiting.caller, 0),
            joined_at,
            waiting.arrived_at,
            self.waiting.index(waiting),
        )


# What happens, and how much time passes before it; whole seconds, so that many things fall together.
ADD = st.tuples(
    st.just("add"),
    st.sampled_from("abc"),
    st.sampled_from([INTERACTIVE, INTERACTIVE, BATCH]),
    st.sampled_from([0, 0, 0, 3, 20, 40]),
    st.sampled_from([1000, 50, 2]),
)
EVENTS = st.one_of(
    ADD,
    ADD,
    ADD,
    st.tuples(st.just("remove"), st.integers(0, 30)),
    st.tuples(st.just("pop")),
    st.tuples(st.just("steal")),
    st.tuples(st.just("end"), st.integers(0, 30)),
)


class Twins:
    """A backlog and the model, to which the same happens."""

    def __init__(self) -> None:
        self.backlog: Backlog[str] = Backlog(WAIT_S)
        self.naive = Naive()
        self.all: list[Waiting[str]] = []
        self.running: list[str] = []
        self.now = 100.0

    def add(self, caller: str, priority: Priority, age_s: float, left_s: float) -> None:
        waiting = request(str(len(self.all)), self.now - age_s, caller=caller, priority=priority)
        waiting = Waiting(waiting.arrived_at, priority, caller, self.now + left_s, waiting.ticket)
        self.all.append(waiting)
        self.backlog.add(waiting)
        self.naive.add(waiting)

    def remove(self, place: int) -> None:
        if self.all:
            waiting = self.all[place % len(self.all)]
            self.backlog.remove(waiting)
            self.naive.remove(waiting)

    def pop(self) -> None:
        caller = self.steal()
        if caller is not None:
            self.backlog.start(caller)
            self.naive.in_flight[caller] = self.naive.in_flight.get(caller, 0) + 1
            self.running.append(caller)

    def steal(self) -> str | None:
        expected = self.naive.pop(self.now)
        assert self.backlog.pop(self.now) is expected
        return expected.caller if expected else None

    def end(self, place: int) -> None:
        if self.running:
            caller = self.running.pop(place % len(self.running))
            self.backlog.end(caller)
            self.naive.in_flight[caller] -= 1

    def leave(self) -> None:
        """Serve all that waits, and end all that runs: nothing is left."""
        while self.backlog.best(self.now) is not None:
            self.pop()
            self.check()
        for caller in self.running:
            self.backlog.end(caller)
        assert repr(self.backlog) == "<Backlog of 0 requests, 0 callers>"

    def check(self) -> None:
        """See that both would serve the same, and hold as much."""
        expected = self.naive.best(self.now)
        best = expected and self.naive.told(expected, self.now)
        assert self.backlog.best(self.now) == best
        assert len(self.backlog) == len(self.naive.waiting)


@settings(max_examples=400, deadline=None)
@given(events=st.lists(st.tuples(st.sampled_from([1, 0, 2, 5, 25]), EVENTS), min_size=15, max_size=60))
def test_it_is_the_order_that_was_told(events: list[tuple[int, tuple[Any, ...]]]) -> None:
    """Whatever is added, removed, served, stolen and ended in whatever order, the next is that of the naive model."""
    twins = Twins()
    for seconds, (what, *how) in events:
        twins.now += seconds
        getattr(twins, what)(*how)
        twins.check()
    twins.leave()


@pytest.mark.parametrize("seed", range(30))
def test_it_is_that_order_in_a_crowd(seed: int) -> None:
    """The same where many wait all the time and slots come one by one."""
    chance = random.Random(seed)  # noqa: S311 # an order of events, no secret
    twins = Twins()
    for _ in range(300):
        twins.now += chance.choice((0.1, 0.5, 1.0))
        if chance.random() < 0.6:
            age_s = chance.choice((0.0, 0.0, 0.0, 5.0, 40.0))
            twins.add(chance.choice("aaabbc"), chance.choice(list(Priority)), age_s, chance.choice((5.0, 1000.0)))
        elif chance.random() < 0.2:
            twins.remove(chance.randrange(1000))
        elif len(twins.running) > chance.choice((1, 4)):
            twins.end(chance.randrange(1000))
            twins.pop()
        else:
            chance.choice((twins.pop, twins.steal))()
        twins.check()
    twins.leave()
