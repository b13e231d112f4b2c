"""Work stealing over NATS: the groups of those that have a backlog and of those that have a free slot."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from contract import HEADER_FRAME, QUEUE_GROUP, Frame, FrameError, FrameKind, read_frame
from responder.assembly import Parts
from responder.attendance import Attendance
from responder.callers import Caller, Incoming, Slot
from responder.link import Handler, Link, LinkError, Membership, NobodyThereError
from responder.stolen import StolenCaller
from responder.thief import NobodyError, Thief
from responder.victim import Victim
from responder.work import Work

_READY_S = 2.0
_FOR_VICTIM = frozenset({FrameKind.STEAL, FrameKind.READY})


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

    @property
    def is_connected(self) -> bool:
        """Whether they can be asked."""
        return self._link.is_connected

    async def ask_peer(
        self, subject: str, headers: Mapping[str, str], within_s: float
    ) -> tuple[Mapping[str, str], bytes] | None:
        """Ask one, and give its answer; None where there is none in time.

        Raises:
            NobodyError: Nobody listens there.
        """
        try:
            return await self._link.ask_for(subject, b"", headers, within_s)
        except NobodyThereError:
            raise NobodyError from None
        except LinkError:
            return None


def is_for_victim(incoming: Incoming) -> bool:
    """Say whether a message to an instance comes from a thief."""
    return incoming.headers.get(HEADER_FRAME) in _FOR_VICTIM


def victim_of(parts: Parts, link: Link) -> Victim:
    """Give what offers a responder's backlog to others."""
    subjects = parts.micro.subjects
    victim: Victim

    async def take(incoming: Incoming) -> None:
        await victim.take(incoming)

    group = LinkGroup(link, subjects.backlog, take, is_answered=True)
    slots, prefix = parts.service.slots, parts.settings.inbox_prefix
    victim = Victim(parts.instance.id, slots, link, subjects, prefix, group)
    return victim


@contextlib.asynccontextmanager
async def stealing(parts: Parts, link: Link, attendance: Attendance, victim: Victim) -> AsyncIterator[Thief]:
    """Steal, and be stolen from, as long as the context lasts."""
    subjects, service = parts.micro.subjects, parts.service
    peers = LinkPeers(link)
    thief: Thief

    async def on_hint(incoming: Incoming) -> None:
        frame = _read(incoming.headers)
        if frame is not None and frame.instance is not None:
            thief.on_hint(frame.instance)

    async def run_stolen(work: Work, slot: Slot) -> None:
        incoming = work.incoming(subjects.execute)
        with attendance.caller_of(incoming) as caller:
            plain = StolenCaller(incoming, link, lambda: _ask_go(parts, peers, work))
            await _run_in(slot, incoming, caller if work.is_attended else plain)

    async def _run_in(slot: Slot, incoming: Incoming, caller: Caller | None) -> None:
        with contextlib.ExitStack() as unused:
            unused.enter_context(slot)
            if caller is None:
                return
            service.statistics.stolen += 1
            caller.reserve(unused)
            await service.handle(incoming, caller)

    group = LinkGroup(link, subjects.idle, on_hint, is_answered=False)
    fitness = service.fitness
    thief = Thief(parts.instance.id, service.slots, peers, subjects, group, run_stolen, lambda: fitness.reason is None)
    service.slots.look_elsewhere = thief.look_elsewhere
    running = [asyncio.create_task(victim.run()), asyncio.create_task(thief.run())]
    try:
        yield thief
    finally:
        thief.stop()
        for task in running:
            task.cancel()


async def _ask_go(parts: Parts, peers: LinkPeers, work: Work) -> FrameKind | None:
    frame = Frame(FrameKind.READY, attempt=work.attempt, instance=parts.instance.id)
    subject = parts.micro.subjects.instance_of(work.victim)
    try:
        answer = await peers.ask_peer(subject, frame.headers(), _READY_S)
    except NobodyError:
        return None
    word = None if answer is None else _read(answer[0])
    return None if word is None else word.kind


def _read(headers: Mapping[str, str]) -> Frame | None:
    try:
        return read_frame(headers, b"")
    except FrameError:
        return None
