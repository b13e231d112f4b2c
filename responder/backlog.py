"""The requests that wait for a slot, and which of them is next. Pure: the caller tells the time, in loop seconds.

`docs/decisions/order-of-the-backlog.md` says why this order. It is that of the tuple

    class, runs in flight of its caller, when it joined the line, arrival

Interactive comes before batch; a batch request that has waited long enough counts as interactive. A caller stands in
the line with one request at a time: the next one joins it when that one leaves. Requests of one class and one caller
are therefore served first in, first out.

Each caller stands in a ranking with at most one request of each class, so adding, removing and choosing take
O(log n) steps, however many requests or callers there are.
"""

import collections
import heapq
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from contract import Priority

T = TypeVar("T")
E = TypeVar("E", bound=tuple[object, ...])

# What has left a heap stays in its list until it comes to the top, or until it is more than half of the list.
_LEFT_MIN = 16


@dataclass(frozen=True, eq=False)
class Waiting(Generic[T]):
    """A request that waits for a slot.

    Attributes:
        arrived_at: Loop time, in seconds; in the past by its age where a peer has handed it over.
        priority: Its class.
        caller: Whose it is.
        deadline: Loop time, in seconds, after which it is not started any more.
        ticket: What whoever waits is told by; of no meaning here.
    """

    arrived_at: float
    priority: Priority
    caller: str = field(repr=False)
    deadline: float
    ticket: T = field(repr=False)


@dataclass(frozen=True)
class Best:
    """What is next, for whoever compares it with what is next elsewhere.

    Attributes:
        arrived_at: Loop time, in seconds, at which it arrived.
        priority: The class as which it counts: a batch request that has waited long enough is interactive.
        caller: Whose it is.
        joined_at: Loop time, in seconds, at which its caller joined the line with it; None for when it arrived.
    """

    arrived_at: float
    priority: Priority
    caller: str = field(default="", repr=False)
    joined_at: float | None = None

    @property
    def turn(self) -> float:
        """Since when it stands in line."""
        return self.arrived_at if self.joined_at is None else self.joined_at

    def comes_before(self, other: "Best") -> bool:
        """Say whether it comes before what is next elsewhere: by its class, then by its turn; of one caller by its age.

        By age alone a flood that waits at many responders would keep everybody waiting who came after it.
        """
        if self.priority is not other.priority:
            return self.priority is Priority.INTERACTIVE
        if self.caller == other.caller:
            return self.arrived_at < other.arrived_at
        return self.turn < other.turn


# Arrival, number (later ones have higher ones), request.
_Entry = tuple[float, int, Waiting[T]]
# Runs in flight of its caller, when it joined the line, and the entry.
_Rank = tuple[int, float, _Entry[T]]


class _Heap(Generic[E]):
    """A heap that its members may leave from anywhere."""

    def __init__(self) -> None:
        self._list: list[E] = []
        self._members: set[E] = set()

    def add(self, member: E) -> None:
        self._members.add(member)
        heapq.heappush(self._list, member)

    def discard(self, member: E) -> None:
        self._members.discard(member)
        if len(self._list) > 2 * len(self._members) + _LEFT_MIN:
            self._list = list(self._members)
            heapq.heapify(self._list)

    def first(self) -> E | None:
        while self._list and self._list[0] not in self._members:
            heapq.heappop(self._list)
        return self._list[0] if self._list else None


@dataclass
class _Caller(Generic[T]):
    """What is known of a caller.

    Attributes:
        in_flight: Its runs here.
        turn: When one of its requests last left for a slot while others of its own waited.
        lines: What waits of it, by its class.
        ranks: With which requests it stands in the rankings.
    """

    in_flight: int = 0
    turn: float = -math.inf
    lines: dict[Priority, _Heap[_Entry[T]]] = field(default_factory=lambda: {each: _Heap() for each in Priority})
    ranks: dict[Priority, _Rank[T]] = field(default_factory=dict)


class Backlog(Generic[T]):
    """Holds what waits, and says which is next; what has passed its deadline is let go when that is asked.

    Args:
        batch_max_wait_s: Seconds after which a batch request counts as interactive; with 0 there is one class.
    """

    def __init__(self, batch_max_wait_s: float) -> None:
        self._batch_max_wait_s = batch_max_wait_s
        self._now = -math.inf
        self._numbers = itertools.count()
        self._entries: dict[Waiting[T], _Entry[T]] = {}
        self._callers: collections.defaultdict[str, _Caller[T]] = collections.defaultdict(_Caller)
        self._rankings: dict[Priority, _Heap[_Rank[T]]] = {each: _Heap() for each in Priority}
        # The oldest batch request of each caller, while it counts as batch.
        self._ageing: _Heap[_Entry[T]] = _Heap()
        # By deadline instead of arrival.
        self._expiring: _Heap[_Entry[T]] = _Heap()

    def __repr__(self) -> str:
        return f"<Backlog of {len(self)} requests, {len(self._callers)} callers>"

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, waiting: Waiting[T]) -> None:
        """Take a request in."""
        entry = self._entries[waiting] = (waiting.arrived_at, next(self._numbers), waiting)
        self._callers[waiting.caller].lines[waiting.priority].add(entry)
        self._expiring.add((waiting.deadline, *entry[1:]))
        self._rank(waiting.caller)

    def remove(self, waiting: Waiting[T]) -> bool:
        """Let a request go that is not to be started; says whether it was there."""
        entry = self._entries.pop(waiting, None)
        if entry is None:
            return False
        self._callers[waiting.caller].lines[waiting.priority].discard(entry)
        self._expiring.discard((waiting.deadline, *entry[1:]))
        self._rank(waiting.caller)
        return True

    def best(self, now: float) -> Best | None:
        """Say what `pop` would give."""
        found = self._next(now)
        return None if found is None else self._best(*found)

    def _best(self, waiting: Waiting[T], priority: Priority) -> Best:
        joined_at = max(waiting.arrived_at, self._callers[waiting.caller].turn)
        return Best(waiting.arrived_at, priority, waiting.caller, joined_at)

    def pop(self, now: float) -> Waiting[T] | None:
        """Take out the request that is next, for a slot here or elsewhere; the next of its caller joins the line."""
        found = self._next(now)
        return None if found is None else self._take(found[0], now)

    def pop_for(self, before: Best | None, is_wanted: Callable[[Waiting[T]], bool], now: float) -> Waiting[T] | None:
        """Take out a request of a kind for whoever has something itself, if it comes before that.

        It is the one that `pop` would give, or where that is of another kind the oldest of the first class.
        """
        found = self._next(now)
        if found is not None and not is_wanted(found[0]):
            wanted = ((waiting, self._class_of(waiting)) for waiting in self._entries if is_wanted(waiting))
            found = min(wanted, key=_place, default=None)
        if found is None or (before is not None and not self._best(*found).comes_before(before)):
            return None
        return self._take(found[0], now)

    def _take(self, waiting: Waiting[T], now: float) -> Waiting[T]:
        self._callers[waiting.caller].turn = now
        self.remove(waiting)
        return waiting

    def __iter__(self) -> Iterator[Waiting[T]]:
        """Give everything, in any order."""
        return iter(list(self._entries))

    def clear(self) -> list[Waiting[T]]:
        """Take out everything, in any order."""
        everything = list(self._entries)
        for waiting in everything:
            self.remove(waiting)
        return everything

    def start(self, caller: str) -> None:
        """Note that a caller has one more run in flight here."""
        self._callers[caller].in_flight += 1
        self._rank(caller)

    def end(self, caller: str) -> None:
        """Note that a caller has one run less in flight here."""
        self._callers[caller].in_flight -= 1
        self._rank(caller)

    def _next(self, now: float) -> tuple[Waiting[T], Priority] | None:
        self._look(now)
        for priority, ranking in self._rankings.items():
            rank = ranking.first()
            if rank is not None:
                return rank[-1][-1], priority
        return None

    def _look(self, now: float) -> None:
        """Let time pass: let go of what has expired, and have what has aged stand where it counts now."""
        self._now = max(self._now, now)
        while (entry := self._expiring.first()) is not None and entry[0] <= self._now:
            self.remove(entry[-1])
        while (entry := self._ageing.first()) is not None and self._has_aged(entry):
            self._rank(entry[-1].caller)

    def _class_of(self, waiting: Waiting[T]) -> Priority:
        return Priority.INTERACTIVE if self._has_aged(self._entries[waiting]) else waiting.priority

    def _has_aged(self, entry: _Entry[T]) -> bool:
        return entry[0] + self._batch_max_wait_s <= self._now

    def _rank(self, name: str) -> None:
        """Have a caller stand in the rankings as it should by now; forget one of which nothing is left."""
        caller = self._callers[name]
        heads = self._heads(caller)
        if not heads:
            caller.turn = -math.inf
            if not caller.in_flight:
                del self._callers[name]
        ranks = {each: (caller.in_flight, max(head[0], caller.turn), head) for each, head in heads.items()}
        for priority, rank in caller.ranks.items() - ranks.items():
            self._rankings[priority].discard(rank)
            self._ageing.discard(rank[-1])
        for priority, rank in ranks.items() - caller.ranks.items():
            self._rankings[priority].add(rank)
            if priority is Priority.BATCH:
                self._ageing.add(rank[-1])
        caller.ranks = ranks

    def _heads(self, caller: _Caller[T]) -> dict[Priority, _Entry[T]]:
        """Give the next request of a caller in each class, as far as it has one."""
        heads = {priority: head for priority in Priority if (head := caller.lines[priority].first()) is not None}
        batch = heads.get(Priority.BATCH)
        if batch is not None and self._has_aged(batch):
            del heads[Priority.BATCH]
            heads[Priority.INTERACTIVE] = min(batch, heads.get(Priority.INTERACTIVE, batch))
        return heads


def _place(found: tuple[Waiting[T], Priority]) -> tuple[bool, float]:
    """Give what orders by class, then by age."""
    return found[1] is not Priority.INTERACTIVE, found[0].arrived_at
