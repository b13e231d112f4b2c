"""Work stealing over NATS: the groups of those that have a backlog and of those that have a free slot."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

from contract import QUEUE_GROUP
from responder.assembly import Parts
from responder.attendance import Attendance
from responder.callers import Incoming
from responder.link import Handler, Link, LinkError, Membership, NobodyThereError, NotPermittedError
from responder.room import Room
from responder.taken import Taken
from responder.thief import NobodyError, Thief
from responder.victim import Victim

_log = logging.getLogger(__name__)
_AFTER_DEFECT_S = 1.0


class LinkGroup:
    """A queue group that is joined and left again.

    Args:
        link: The connection.
        subject: Where it listens.
        handler: What answers there.
        is_answered: Whether what has come when it is left still has to be answered.
    """

    def __init__(self, link: Link, subject: str, handler: Handler, *, is_answered: bool) -> None:
        self._link = link
        self._subject = subject
        self._handler = handler
        self._is_answered = is_answered
        self._membership: Membership | None = None

    async def join(self) -> None:
        """Listen."""
        if self._membership is None:
            with contextlib.suppress(LinkError):
                self._membership = await self._link.subscribe(self._subject, self._handler, QUEUE_GROUP)

    async def leave(self) -> None:
        """Listen no more."""
        membership, self._membership = self._membership, None
        if membership is not None:
            await (self._link.leave([membership]) if self._is_answered else self._link.quit(membership))


class LinkPeers:
    """The other responders, over the connection.

    Args:
        link: The connection.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._is_permitted = True

    @property
    def is_connected(self) -> bool:
        """Whether they can be asked: there is a connection, and NATS has not forbidden it."""
        return self._link.is_connected and self._is_permitted

    async def ask_peer(
        self, subject: str, headers: Mapping[str, str], within_s: float, body: bytes = b""
    ) -> tuple[Mapping[str, str], bytes] | None:
        """Ask one, and give its answer; None where there is none in time.

        Raises:
            NobodyError: Nobody listens there.
        """
        try:
            return await self._link.ask_for(subject, body, headers, within_s)
        except NobodyThereError:
            raise NobodyError from None
        except NotPermittedError as error:
            self._is_permitted = False
            _log.warning("no work is taken from other responders, or given to them, until a restart: %s", error)
        except LinkError:
            pass
        return None


async def _go_on(run: Callable[[], Awaitable[None]]) -> None:
    """Begin again after a defect: who takes and gives no more would only be slow, and nobody would know."""
    while True:
        try:
            await run()
        except Exception as error:  # noqa: BLE001 # as said
            _log.error("defect: %s in work stealing", type(error).__name__)  # not its text, which may hold anything
            await asyncio.sleep(_AFTER_DEFECT_S)


@dataclass(frozen=True)
class Routing:
    """The two sides of a responder.

    Attributes:
        thief: Takes from others.
        victim: Gives to others.
    """

    thief: Thief
    victim: Victim

    async def retire(self) -> None:
        """Take no more, and give what waits to whoever has room."""
        self.thief.pause()
        await self.victim.hand_off_all()


@contextlib.asynccontextmanager
async def stealing(parts: Parts, link: Link, attendance: Attendance) -> AsyncIterator[Routing]:
    """Steal, and be stolen from, as long as the context lasts."""
    subjects, service, instance = parts.micro.subjects, parts.service, parts.instance.id
    peers, prefix, slots = LinkPeers(link), parts.settings.inbox_prefix, service.slots
    taken = Taken(instance, service, attendance, link, peers, subjects)

    async def give(incoming: Incoming) -> None:
        await victim.take(incoming)

    async def take_hint(incoming: Incoming) -> None:
        thief.take_hint(incoming)

    async def take_in(incoming: Incoming) -> None:
        await room.take(incoming)

    backlog = LinkGroup(link, subjects.backlog, give, is_answered=True)
    idle = LinkGroup(link, subjects.idle, take_hint, is_answered=False)
    places = LinkGroup(link, subjects.room, take_in, is_answered=True)
    victim = Victim(instance, slots, link, subjects, prefix, backlog, peers)
    fitness = service.fitness
    thief = Thief(instance, slots, peers, subjects, idle, taken.run_stolen, lambda: fitness.reason is None)
    room = Room(instance, slots, link, prefix, places, thief, taken)
    await link.subscribe(subjects.backlog_of(instance), give)
    slots.look_elsewhere, slots.hand_off = thief.look_elsewhere, victim.hand_off
    running = [asyncio.create_task(_go_on(each.run)) for each in (victim, thief, room)]
    try:
        yield Routing(thief, victim)
    finally:
        thief.stop()
        for task in running:
            task.cancel()
