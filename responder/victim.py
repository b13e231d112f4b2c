"""Being stolen from: what waits here is offered to responders that have a free slot.

Whatever has its own requester attending is simply given away: without that requester's go nobody starts it. A plain
request has nobody to decide between victim and thief, so here the victim gives the go: the thief asks for it when it is
ready to start, and until then the request is only set aside. `docs/protocol.md` has the table.
"""

import asyncio
import contextlib
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from contract import Frame, FrameError, FrameKind, Subjects, has_inbox_prefix, read_frame
from responder.backlog import Best, Waiting
from responder.callers import Incoming, Outlet
from responder.slots import Slots, Ticket
from responder.thief import NobodyError, Peers
from responder.work import Work

# Between two words to the idle ones that something waits, should the first not have reached one: twice as long each
# time. A slot that comes back asks by itself, so these find nobody as long as all are busy (every 50 ms, 1,000 requests
# waiting at 50 responders cost 40 messages each).
_HINT_FIRST_S = 0.05
_HINT_MAX_S = 0.2
# At once, when so many begin to wait at once: each hint reaches one of the idle.
_HINTS_MAX = 16
# How long the group is kept after the last request has gone: joining and leaving travels through the whole cluster.
_LINGER_S = 1.0
# For so long a place is looked for elsewhere before a request is refused, of so many peers, for so many at a time.
_ROOM_S = 0.05
_TRIES = 4
_OFFERS_MAX = 8
# The same for everything that waits, when this responder stops or is not fit for work.
_ALL_S = 2.0
# So long one of them is waited for: one that is frozen must not hold up all that has to go.
_PEER_S = 0.5
# After word that nobody has room, nobody is asked for so long.
_NO_ROOM_S = 0.02
# How long a plain request is set aside for a thief that has not said that it is ready.
_ASIDE_S = 2.0
# How long it is remembered to whom it was given.
_REMEMBERED_S = 60.0


def _frame_of(incoming: Incoming) -> Frame | None:
    try:
        return read_frame(incoming.headers, incoming.body)
    except FrameError:
        return None


class Group(Protocol):
    """Where a responder listens for thieves, while it has something to give."""

    async def join(self) -> None:
        """Listen; nothing happens when it does."""

    async def leave(self) -> None:
        """Listen no more; what has come until then is still answered."""


@dataclass
class _Aside:
    """A plain request that a thief was shown.

    Attributes:
        waiting: The request; None once it is the thief's: a minute of requests may not fit into memory.
        timer: Takes it back, or forgets it; none while it is only offered.
    """

    waiting: Waiting[Ticket] | None
    timer: asyncio.TimerHandle | None = None


@dataclass
class Victim:
    """Gives away what waits.

    Attributes:
        instance: ULID of this process.
        slots: Where it waits.
        outlet: Where answers leave.
        subjects: Where hints go.
        inbox_prefix: What a thief's reply subject must begin with.
        group: Where thieves ask.
        peers: Who may have room for what finds none here.
    """

    instance: str
    slots: Slots
    outlet: Outlet
    subjects: Subjects
    inbox_prefix: str
    group: Group
    peers: Peers
    _no_room_until: float = 0.0
    _offers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_OFFERS_MAX), repr=False)
    _asides: dict[int, _Aside] = field(default_factory=dict, repr=False)
    _leases: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)

    async def run(self) -> None:
        """Offer what waits, until cancelled."""
        seen = 0
        while True:
            if not self.slots.backlog:
                await self.slots.wait_until_waited(seen)
            await self.group.join()
            seen = await self._hint_while_waiting(seen)
            await self.group.leave()

    async def take(self, incoming: Incoming) -> None:
        """Take the message of a thief, to the group or to this instance."""
        if not has_inbox_prefix(incoming.reply_subject, self.inbox_prefix):
            return
        frame = _frame_of(incoming)
        if frame is None or frame.instance in {None, self.instance}:
            answer: tuple[dict[str, str], bytes] = self._frame(FrameKind.NONE)
        elif frame.kind is FrameKind.STEAL:
            answer = self._give(frame, incoming.received_at)
        elif frame.kind in {FrameKind.NONE, FrameKind.CANCEL}:
            answer = self._answer_refused(frame)
        else:
            answer = self._answer_ready(frame)
        await self.outlet.publish(incoming.reply_subject, answer[1], answer[0])

    async def hand_off(self, waiting: Waiting[Ticket]) -> bool:
        """Give a request that finds no place here to a peer with room in its backlog; says whether one has it."""
        return await self._hand_off(waiting, _ROOM_S)

    async def hand_off_all(self) -> None:
        """Give what waits here to peers with room, as far as they have it."""
        await asyncio.gather(*(self._hand_off(waiting, _ALL_S) for waiting in self.slots.waiting()))

    async def _hand_off(self, waiting: Waiting[Ticket], within_s: float) -> bool:
        until = asyncio.get_running_loop().time() + within_s
        work = waiting.ticket.work
        if work is None or not self._may_leave(work):
            return False
        async with self._offers:
            return await self._find_room(waiting, work, until)

    async def _find_room(self, waiting: Waiting[Ticket], work: Work, until: float) -> bool:
        now = asyncio.get_running_loop().time
        for _ in range(_TRIES):
            # Whoever is let go meanwhile is refused by its own victim, which says nothing about the room of peers.
            if waiting.ticket.turn.done() or not self._no_room_until <= now() < until or not self.peers.is_connected:
                return False
            if await self._offer(waiting, work, min(_PEER_S, until - now())):
                return True
        self._no_room_until = now() + _NO_ROOM_S
        return False

    async def _offer(self, waiting: Waiting[Ticket], work: Work, within_s: float) -> bool:
        """Offer a request to one peer, under a number of its own: who says too late that it is ready gets no go."""
        now = asyncio.get_running_loop().time
        lease = next(self._leases)
        aside = self._asides[lease] = _Aside(waiting)
        headers, body = work.message(self.instance, now(), lease)
        try:
            await self.peers.ask_peer(self.subjects.room, headers, within_s, body)
        except NobodyError:
            self._no_room_until = now() + _NO_ROOM_S
        finally:
            if aside.waiting is None:
                waiting.ticket.turn.exception()  # which nobody else looks at
            else:
                del self._asides[lease]
        return aside.waiting is None

    def _give(self, frame: Frame, now: float) -> tuple[dict[str, str], bytes]:
        before = None
        if frame.age_ms is not None and frame.priority is not None:
            joined_at = None if frame.turn_ms is None else now - frame.turn_ms / 1000
            before = Best(now - frame.age_ms / 1000, frame.priority, frame.attempt or "", joined_at)
        waiting = self.slots.hand_on(before, self._may_leave)
        if waiting is None or waiting.ticket.work is None:
            return self._frame(FrameKind.NONE)
        work: Work = waiting.ticket.work
        lease = None
        if work.is_attended:
            self.slots.hand_over(waiting)
        else:
            lease = next(self._leases)
            self._asides[lease] = _Aside(waiting)
            self._set_timer(lease, _ASIDE_S)
        return work.message(self.instance, now, lease)

    def _may_leave(self, work: Work) -> bool:
        return work.fits(self.instance, self.outlet.max_payload)

    def _set_timer(self, lease: int, seconds: float) -> None:
        aside = self._asides[lease]
        if aside.timer is not None:
            aside.timer.cancel()
        aside.timer = asyncio.get_running_loop().call_later(seconds, self._take_back, lease)

    def _take_back(self, lease: int) -> None:
        aside = self._asides.pop(lease)
        if aside.waiting is not None:
            self.slots.take_back(aside.waiting)

    def _answer_ready(self, frame: Frame) -> tuple[dict[str, str], bytes]:
        """Give the go for a request that was set aside, as often as its thief asks."""
        aside = self._asides.get(frame.lease or 0)
        if aside is None or frame.lease is None:
            return self._frame(FrameKind.CANCEL)
        if aside.waiting is not None:
            if not self.slots.hand_over(aside.waiting):
                return self._frame(FrameKind.CANCEL)
            aside.waiting = None
            self._set_timer(frame.lease, _REMEMBERED_S)
        return self._frame(FrameKind.GO)

    def _answer_refused(self, frame: Frame) -> tuple[dict[str, str], bytes]:
        """Take a request back; one that a thief cannot run is offered no more: the next one may not either.

        What is offered to a peer with room is still here: it is that peer's answer to the offer that says no.
        """
        aside = self._asides.get(frame.lease or 0)
        if aside is not None and frame.lease is not None and aside.timer is not None and aside.waiting is not None:
            if frame.kind is FrameKind.NONE:
                aside.waiting.ticket.work = None
            aside.timer.cancel()
            self._take_back(frame.lease)
        return self._frame(FrameKind.CANCEL)

    def _frame(self, kind: FrameKind) -> tuple[dict[str, str], bytes]:
        return Frame(kind, instance=self.instance).headers(), b""

    async def _hint_while_waiting(self, seen: int) -> int:
        """Tell the idle that something waits, as long as it does; each new request tells one of them at once."""
        loop = asyncio.get_running_loop()
        leave_at, pause_s = math.inf, _HINT_FIRST_S
        while self.slots.backlog or loop.time() < leave_at:
            waited = self.slots.waited
            leave_at = math.inf if self.slots.backlog else min(leave_at, loop.time() + _LINGER_S)
            if self.slots.backlog:
                await self._hint(max(1, min(waited - seen, self.slots.backlog, _HINTS_MAX)))
            pause_s = _HINT_FIRST_S if waited > seen else min(2 * pause_s, _HINT_MAX_S)
            seen = waited
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self.slots.wait_until_waited(seen)
        return seen

    async def _hint(self, count: int) -> None:
        hint = Frame(FrameKind.STEAL, instance=self.instance).headers()
        for _ in range(count):
            await self.outlet.publish(self.subjects.idle, b"", hint)
