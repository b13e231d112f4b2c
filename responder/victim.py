"""Being stolen from: what waits here is offered to responders that have a free slot.

Whatever has its own requester attending is simply given away: without that requester's go nobody starts it. A plain
request has nobody to decide between victim and thief, so here the victim gives the go: the thief asks for it when it is
ready to start, and until then the request is only set aside. `docs/protocol.md` has the table.
"""

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Protocol

from contract import Frame, FrameError, FrameKind, Subjects, has_inbox_prefix, read_frame
from responder.backlog import Best, Waiting
from responder.callers import Incoming, Outlet
from responder.slots import Slots, Ticket
from responder.work import Work

# Between two words to the idle ones that something waits, should the first not have reached one.
_HINT_EVERY_S = 0.05
# At once, when so many begin to wait at once: each hint reaches one of the idle.
_HINTS_MAX = 16
# How long the group is kept after the last request has gone: joining and leaving travels through the whole cluster.
_LINGER_S = 1.0
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
        waiting: The request.
        thief: The instance that it was given to, once it was.
        timer: Takes it back, or forgets it.
    """

    waiting: Waiting[Ticket]
    thief: str | None = None
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
    """

    instance: str
    slots: Slots
    outlet: Outlet
    subjects: Subjects
    inbox_prefix: str
    group: Group
    _aside: dict[str, _Aside] = field(default_factory=dict, repr=False)

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
        elif frame.kind is FrameKind.NONE:
            answer = self._answer_refused(frame)
        else:
            answer = self._answer_ready(frame)
        await self.outlet.publish(incoming.reply_subject, answer[1], answer[0])

    def _give(self, frame: Frame, now: float) -> tuple[dict[str, str], bytes]:
        before = None
        if frame.age_ms is not None and frame.priority is not None:
            before = Best(now - frame.age_ms / 1000, frame.priority)
        waiting = self.slots.hand_on(before, self._may_leave)
        if waiting is None or waiting.ticket.work is None:
            return self._frame(FrameKind.NONE)
        work: Work = waiting.ticket.work
        if work.is_attended:
            self.slots.hand_over(waiting)
        else:
            self._set_aside(work.attempt, _Aside(waiting))
        return work.message(self.instance, now)

    def _may_leave(self, work: Work) -> bool:
        """Say whether a request can be handed on: in one message, and told from all others by its reply subject."""
        return work.attempt not in self._aside and work.fits(self.instance, self.outlet.max_payload)

    def _set_aside(self, attempt: str, aside: _Aside) -> None:
        self._aside[attempt] = aside
        aside.timer = asyncio.get_running_loop().call_later(_ASIDE_S, self._take_back, attempt)

    def _take_back(self, attempt: str) -> None:
        aside = self._aside.pop(attempt)
        if aside.thief is None:
            self.slots.take_back(aside.waiting)

    def _answer_ready(self, frame: Frame) -> tuple[dict[str, str], bytes]:
        """Give the go for a request that was set aside, to one thief, as often as that one asks."""
        attempt = frame.attempt or ""
        aside = self._aside.get(attempt)
        if aside is None or aside.thief not in {None, frame.instance}:
            return self._frame(FrameKind.CANCEL)
        if aside.thief is None:
            if not self.slots.hand_over(aside.waiting):
                return self._frame(FrameKind.CANCEL)
            aside.thief = frame.instance
            if aside.timer is not None:
                aside.timer.cancel()
            loop = asyncio.get_running_loop()
            aside.timer = loop.call_later(_REMEMBERED_S, self._take_back, attempt)
        return self._frame(FrameKind.GO)

    def _answer_refused(self, frame: Frame) -> tuple[dict[str, str], bytes]:
        """Take a request back that a thief cannot run, and offer it no more: the next one may not either."""
        attempt = frame.attempt or ""
        aside = self._aside.get(attempt)
        if aside is not None and aside.thief is None:
            if aside.timer is not None:
                aside.timer.cancel()
            aside.waiting.ticket.work = None
            self._take_back(attempt)
        return self._frame(FrameKind.CANCEL)

    def _frame(self, kind: FrameKind) -> tuple[dict[str, str], bytes]:
        return Frame(kind, instance=self.instance).headers(), b""

    async def _hint_while_waiting(self, seen: int) -> int:
        """Tell the idle that something waits, as long as it does; each new request tells one of them at once."""
        loop = asyncio.get_running_loop()
        empty_since = loop.time()
        while self.slots.backlog or loop.time() - empty_since < _LINGER_S:
            waited = self.slots.waited
            if self.slots.backlog:
                empty_since = loop.time()
                await self._hint(max(1, min(waited - seen, self.slots.backlog, _HINTS_MAX)))
            seen = waited
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_HINT_EVERY_S):
                    await self.slots.wait_until_waited(seen)
        return seen

    async def _hint(self, count: int) -> None:
        hint = Frame(FrameKind.STEAL, instance=self.instance).headers()
        for _ in range(count):
            await self.outlet.publish(self.subjects.idle, b"", hint)
