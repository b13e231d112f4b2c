"""Room in the backlog for what is over another responder's limit."""

import asyncio
from dataclasses import dataclass

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
        is_taken = work is not None and work.victim != self.instance and await self._is_ours(work)
        answer = Frame(FrameKind.GO if is_taken else FrameKind.NONE, instance=self.instance)
        await self.outlet.publish(incoming.reply_subject, b"", answer.headers())
        if work is not None and is_taken:
            await self.taken.take_in(work)

    async def _is_ours(self, work: Work) -> bool:
        if not self.slots.room or not self.thief.is_active:
            await self.group.leave()
            return False
        return await ask_for_go(lambda: self.taken.ask_victim(work, FrameKind.READY))
