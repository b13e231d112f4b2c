"""Room in the backlog for what is over another responder's limit."""

import asyncio
import collections
from dataclasses import dataclass, field

from contract import Frame, FrameKind, has_inbox_prefix
from responder.callers import Incoming, Outlet
from responder.slots import Slots
from responder.stolen import ask_for_go
from responder.taken import Taken
from responder.thief import Group, Thief
from responder.work import Work, read_work

# Who has room again joins so soon; who has filled up leaves when it is asked, at the latest.
_LOOK_EVERY_S = 0.1
# There has to be so much of all slots and places before the group is joined, so that it is not left again at once.
_JOIN_PART = 0.1
# An offer that comes twice would be given twice, and run twice; so many are remembered.
_REMEMBERED = 1000


@dataclass
class Room:
    """Takes requests that found no place elsewhere.

    Attributes:
        instance: ULID of this process.
        slots: Where there may be room.
        outlet: Where answers leave.
        inbox_prefix: What the reply subject of a question must begin with.
        group: Where it is asked.
        thief: Knows whether anything is taken from others now.
        taken: Has what was taken wait here, and runs it.
    """

    instance: str
    slots: Slots
    outlet: Outlet
    inbox_prefix: str
    group: Group
    thief: Thief
    taken: Taken
    _seen: collections.deque[tuple[str, int | None]] = field(
        default_factory=lambda: collections.deque(maxlen=_REMEMBERED), repr=False
    )

    async def run(self) -> None:
        """Be in the group while there is room, until cancelled."""
        while True:
            room = self.slots.room if self.thief.is_active else 0
            if room > _JOIN_PART * self.slots.capacity:
                await self.group.join()
            elif not room:
                await self.group.leave()
            await asyncio.sleep(_LOOK_EVERY_S)

    async def take(self, incoming: Incoming) -> None:
        """Take a request in, if its victim gives the go; the answer says whether that is so."""
        if not has_inbox_prefix(incoming.reply_subject, self.inbox_prefix):
            return
        work = read_work(incoming.headers, incoming.body, incoming.received_at)
        if work is None:
            await self._answer(incoming, FrameKind.NONE)
        elif work.victim != self.instance and self.slots.room and self.thief.is_active:
            with self.slots.expecting(work.attempt):
                await self._take_in(incoming, work)
        else:
            # Also where we ask ourselves: each further try would find us again, and then take all peers for full.
            await self._answer(incoming, FrameKind.NONE)
            await self.group.leave()

    async def _take_in(self, incoming: Incoming, work: Work) -> None:
        if (work.victim, work.lease) in self._seen:
            return
        self._seen.append((work.victim, work.lease))
        is_ours = await ask_for_go(lambda: self.taken.ask_victim(work, FrameKind.READY))
        await self._answer(incoming, FrameKind.GO if is_ours else FrameKind.NONE)
        if is_ours:
            await self.taken.take_in(work)

    async def _answer(self, incoming: Incoming, kind: FrameKind) -> None:
        await self.outlet.publish(incoming.reply_subject, b"", Frame(kind, instance=self.instance).headers())
