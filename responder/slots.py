"""Slots, and the bounded backlog in front of them."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from contract import Priority
from responder.backlog import Backlog, Best, Waiting
from responder.turnover import Turnover
from responder.work import Work

_BATCH_MAX_WAIT_S = 30.0


class BacklogFullError(Exception):
    """No slot is free and the backlog takes no more.

    Attributes:
        retry_after_ms: When there may be a place for this one, in milliseconds from now.
    """

    def __init__(self, retry_after_ms: int) -> None:
        super().__init__("every slot is taken and the backlog is full")
        self.retry_after_ms = retry_after_ms


class BacklogClosedError(Exception):
    """The responder stops; what waits for a slot gets none any more."""

    def __init__(self) -> None:
        super().__init__("the responder stops and has not started the request")


class WaitedTooLongError(Exception):
    """The deadline passed before the request could start."""

    def __init__(self) -> None:
        super().__init__("the deadline passed before the request could start")


class HandedOnError(Exception):
    """Another responder has taken the request over."""


@dataclass(eq=False)
class Ticket:
    """What a waiting request is told by.

    Attributes:
        turn: Done with None when it has a slot.
        work: What is handed to a peer in its place; None for what has to stay.
    """

    turn: asyncio.Future[None]
    work: Work | None = None


class Slots:
    """The permits to run one CLI each; requests that find none wait, in the order of `backlog.py`.

    Args:
        count: How many runs there may be at a time.
        backlog_max: How many requests may wait.
        batch_max_wait_s: Seconds after which a batch request counts as interactive.

    Attributes:
        look_elsewhere: Asked whenever a slot comes back; True keeps the slot taken until `pass_on` or `hold`.
        hand_off: Asked for a request that finds no place; says whether a peer has it then.
    """

    def __init__(self, count: int, backlog_max: int, batch_max_wait_s: float = _BATCH_MAX_WAIT_S) -> None:
        self.count = count
        self._free = count
        self._kept = 0
        self._backlog_max = backlog_max
        self._backlog: Backlog[Ticket] = Backlog(batch_max_wait_s)
        self._turnover = Turnover(count)
        self._is_closed = False
        self._freed = asyncio.Event()
        self._filled = asyncio.Event()
        self._waits = asyncio.Event()
        self._decided = asyncio.Event()
        self._shown: set[Waiting[Ticket]] = set()
        self._waited = 0
        self._expected: set[str] = set()
        self.look_elsewhere: Callable[[], bool] = lambda: False
        self.hand_off: Callable[[Waiting[Ticket]], Awaitable[bool]] = _keep

    def __repr__(self) -> str:
        return f"<Slots {self.in_flight}/{self.count} busy, {self.backlog} waiting>"

    @property
    def in_flight(self) -> int:
        """How many slots are taken."""
        return self.count - self._free

    @property
    def has_free(self) -> bool:
        """Whether a slot can be had at once."""
        return self._free > 0

    @property
    def capacity(self) -> int:
        """How many requests there may be, those that run and those that wait."""
        return self.count + self._backlog_max

    @property
    def room(self) -> int:
        """How many more requests can be taken in."""
        places = self._free + max(0, self._backlog_max - self.backlog) - len(self._expected)
        return 0 if self._is_closed else max(0, places)

    @property
    def _has_place(self) -> bool:
        # Whoever waits while a slot looks for older work elsewhere has as good as got it.
        return self._free > 0 or self.backlog + len(self._expected) < self._backlog_max + self._kept

    @property
    def backlog(self) -> int:
        """How many requests wait for a slot; those that a peer was shown are among them."""
        return len(self._backlog) + len(self._shown)

    async def take(
        self,
        deadline: float,
        *,
        arrived_at: float | None = None,
        priority: Priority = Priority.INTERACTIVE,
        caller: str = "",
        work: Work | None = None,
    ) -> contextlib.AbstractContextManager[None]:
        """Wait for a slot.

        Args:
            deadline: Loop time, in seconds, after which a slot is of no use any more.
            arrived_at: Loop time, in seconds, since which the request waits; None for now.
            priority: Its class.
            caller: Whose it is; callers share the slots.
            work: What a peer may be handed in its place; None for what has to stay.

        Returns:
            The slot: a context at whose end it is given back.

        Raises:
            BacklogFullError: Nobody more may wait, here or at a peer.
            BacklogClosedError: The responder stops.
            WaitedTooLongError: The deadline passed first.
            HandedOnError: A peer has taken it over.
        """
        ticket = Ticket(asyncio.get_running_loop().create_future(), work)
        now = asyncio.get_running_loop().time()
        waiting = Waiting(now if arrived_at is None else arrived_at, priority, caller, deadline, ticket)
        await self._wait_for_turn(waiting, now)
        return self._held(caller)

    async def take_free(self) -> contextlib.AbstractContextManager[None] | None:
        """Take a slot that nobody waits for; None when there is none, once it is known whose each of them is."""
        while self._kept and not self._free and not self._is_closed:
            self._decided.clear()
            await self._decided.wait()
        if self._is_closed or not self._free:
            return None
        self._use_free()
        self._backlog.start("")
        return self._held("")

    async def wait_until_full(self) -> None:
        """Wait until every slot is taken by a request; one that is only kept for one from elsewhere is not."""
        while self._free or self._kept:
            self._filled.clear()
            await self._filled.wait()

    async def wait_until_free(self) -> None:
        """Wait until there is a slot that nobody waits for."""
        while not self._free:
            self._freed.clear()
            await self._freed.wait()

    @contextlib.contextmanager
    def _held(self, caller: str) -> Iterator[None]:
        now = asyncio.get_running_loop().time
        taken_at = now()
        try:
            yield
            self._turnover.end(now() - taken_at)  # what was not run says nothing of how long runs take
        finally:
            self._give_back(caller)

    def close(self) -> None:
        """Give up on all that waits and on all that comes; each raises `BacklogClosedError`."""
        self._is_closed = True
        self._decided.set()
        self.let_go(BacklogClosedError)

    def let_go(self, error: Callable[[], Exception]) -> None:
        """Give up on all that waits now; each raises an error of its own."""
        for waiting in self._backlog.clear():
            if not waiting.ticket.turn.done():
                waiting.ticket.turn.set_exception(error())

    async def _wait_for_turn(self, waiting: Waiting[Ticket], now: float) -> None:
        if now >= waiting.deadline:
            raise WaitedTooLongError
        has_place = self._is_expected(waiting) or self._has_place
        if not has_place and not self._is_closed and await self.hand_off(waiting):
            raise HandedOnError
        if self._is_closed:
            raise BacklogClosedError
        if self._free:
            self._use_free()
            self._backlog.start(waiting.caller)
            return
        if not (has_place or self._has_place):
            raise BacklogFullError(self._turnover.retry_after_ms(asyncio.get_running_loop().time()))
        self._add(waiting)
        waiter = waiting.ticket.turn
        timer = asyncio.get_running_loop().call_at(waiting.deadline, _expire, waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give_back(waiting.caller)  # the slot came together with the cancellation
            raise
        finally:
            timer.cancel()
            self._backlog.remove(waiting)
            self._shown.discard(waiting)

    def _add(self, waiting: Waiting[Ticket]) -> None:
        self._backlog.add(waiting)
        self._waited += 1
        self._waits.set()

    def _give_back(self, caller: str) -> None:
        self._backlog.end(caller)
        if self.look_elsewhere():
            self._kept += 1
        else:
            self._pass_on()

    def _pass_on(self) -> None:
        """Pass a slot to the request that is next; it never becomes free in between.

        What the backlog lets go because its deadline has passed hears so of its timer, which is due.
        """
        now = asyncio.get_running_loop().time()
        while (waiting := self._backlog.pop(now)) is not None:
            if not waiting.ticket.turn.done():
                self._backlog.start(waiting.caller)
                waiting.ticket.turn.set_result(None)
                return
        self._free += 1
        self._freed.set()

    # For work stealing.

    def best(self) -> Best | None:
        """Say which of those that wait is next."""
        return self._backlog.best(asyncio.get_running_loop().time())

    @property
    def waited(self) -> int:
        """How many times a request has had to wait here since the start."""
        return self._waited

    async def wait_until_waited(self, seen: int) -> None:
        """Wait until more requests have had to wait here than were seen."""
        while self._waited <= seen:
            self._waits.clear()
            await self._waits.wait()

    @contextlib.contextmanager
    def expecting(self, attempt: str) -> Iterator[None]:
        """Keep a place for a request that a peer hands over; it is its own from when it comes."""
        self._expected.add(attempt)
        try:
            yield
        finally:
            self._expected.discard(attempt)

    def _is_expected(self, waiting: Waiting[Ticket]) -> bool:
        work = waiting.ticket.work
        if work is None or work.attempt not in self._expected:
            return False
        self._expected.discard(work.attempt)
        return True

    def waiting(self) -> list[Waiting[Ticket]]:
        """Give what waits and may leave, the oldest first."""
        leaving = [waiting for waiting in self._backlog if waiting.ticket.work is not None]
        return sorted(leaving, key=lambda waiting: waiting.arrived_at)

    def hand_on(self, before: Best | None, fits: Callable[[Work], bool]) -> Waiting[Ticket] | None:
        """Take out the next request that may leave, for a peer, if it comes before what the peer has itself.

        It waits on, but gets no slot: that must be followed by `hand_over` or `take_back`.
        """

        def may_leave(waiting: Waiting[Ticket]) -> bool:
            work = waiting.ticket.work
            return work is not None and not waiting.ticket.turn.done() and fits(work)

        waiting = self._backlog.pop_for(before, may_leave, asyncio.get_running_loop().time())
        if waiting is not None:
            self._shown.add(waiting)
        return waiting

    def hand_over(self, waiting: Waiting[Ticket]) -> bool:
        """Tell whoever waits that a peer has its request; says whether it still waited."""
        self._shown.discard(waiting)
        if waiting.ticket.turn.done():
            return False
        waiting.ticket.turn.set_exception(HandedOnError())
        return True

    def take_back(self, waiting: Waiting[Ticket]) -> None:
        """Have a request that was taken out get a slot here again, if it still waits."""
        self._shown.discard(waiting)
        if waiting.ticket.turn.done():
            return
        if self._is_closed:
            waiting.ticket.turn.set_exception(BacklogClosedError())
        elif self._free:
            self._use_free()
            self._backlog.start(waiting.caller)
            waiting.ticket.turn.set_result(None)
        else:
            self._add(waiting)

    def reserve(self) -> bool:
        """Keep a slot that nobody waits for until `pass_on` or `hold`; says whether there is one."""
        if self._is_closed or not self._free:
            return False
        self._kept += 1
        self._use_free()
        return True

    def pass_on(self) -> None:
        """Pass a slot that was kept to the request that is next here."""
        self._decide()
        self._pass_on()
        self._note_filled()

    def hold(self, caller: str) -> contextlib.AbstractContextManager[None]:
        """Give a slot that was kept to a request from elsewhere; it has to be entered."""
        self._decide()
        self._note_filled()
        self._backlog.start(caller)
        return self._held(caller)

    def _decide(self) -> None:
        self._kept -= 1
        self._decided.set()

    def _use_free(self) -> None:
        self._free -= 1
        self._note_filled()

    def _note_filled(self) -> None:
        if not self._free and not self._kept:
            self._filled.set()


async def _keep(_waiting: Waiting[Ticket]) -> bool:
    return False


def _expire(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(WaitedTooLongError())
