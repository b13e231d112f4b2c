"""Work stealing over NATS: the groups of those that have a backlog and of those that have a free slot."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping

from contract import QUEUE_GROUP, Frame, FrameError, FrameKind, read_frame
from responder.assembly import Parts
from responder.attendance import Attendance
from responder.callers import Incoming, Slot
from responder.link import Handler, Link, LinkError, Membership, NobodyThereError, NotPermittedError
from responder.stolen import StolenCaller
from responder.thief import NobodyError, Thief
from responder.victim import Victim
from responder.work import Work

_log = logging.getLogger(__name__)
# So long a victim that has something set aside is waited for.
_VICTIM_S = 2.0


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
        except NotPermittedError as error:
            self._is_permitted = False
            _log.warning("no work is taken from other responders: %s", error)
        except LinkError:
            pass
        return None


@contextlib.asynccontextmanager
async def stealing(parts: Parts, link: Link, attendance: Attendance) -> AsyncIterator[Thief]:
    """Steal, and be stolen from, as long as the context lasts."""
    subjects, service, instance = parts.micro.subjects, parts.service, parts.instance.id
    peers = LinkPeers(link)
    victim: Victim
    thief: Thief

    async def take(incoming: Incoming) -> None:
        await victim.take(incoming)

    async def on_hint(incoming: Incoming) -> None:
        frame = _read(incoming.headers)
        if frame is not None and frame.instance is not None:
            thief.on_hint(frame.instance)

    async def run_stolen(work: Work, slot: Slot | None) -> None:
        incoming = work.incoming(subjects.execute)
        with contextlib.ExitStack() as unused:
            if slot is not None:
                unused.enter_context(slot)
            elif not work.is_attended:
                await _ask_victim(parts, peers, work, FrameKind.CANCEL)
                return
            with attendance.caller_of(incoming) as known:
                plain = StolenCaller(incoming, link, lambda kind: _ask_victim(parts, peers, work, kind))
                caller = known if work.is_attended else plain
                if caller is not None:
                    service.statistics.stolen += 1
                    caller.reserve(None if slot is None else unused)
                    await service.handle(incoming, caller)

    backlog = LinkGroup(link, subjects.backlog, take, is_answered=True)
    idle = LinkGroup(link, subjects.idle, on_hint, is_answered=False)
    victim = Victim(instance, service.slots, link, subjects, parts.settings.inbox_prefix, backlog)
    fitness = service.fitness
    thief = Thief(instance, service.slots, peers, subjects, idle, run_stolen, lambda: fitness.reason is None)
    await link.subscribe(subjects.backlog_of(instance), take)
    service.slots.look_elsewhere = thief.look_elsewhere
    running = [asyncio.create_task(victim.run()), asyncio.create_task(thief.run())]
    try:
        yield thief
    finally:
        thief.stop()
        for task in running:
            task.cancel()


async def _ask_victim(parts: Parts, peers: LinkPeers, work: Work, kind: FrameKind) -> FrameKind | None:
    frame = Frame(kind, attempt=work.attempt, instance=parts.instance.id, lease=work.lease)
    try:
        answer = await peers.ask_peer(parts.micro.subjects.backlog_of(work.victim), frame.headers(), _VICTIM_S)
    except NobodyError:
        return None
    word = None if answer is None else _read(answer[0])
    return None if word is None else word.kind


def _read(headers: Mapping[str, str]) -> Frame | None:
    try:
        return read_frame(headers, b"")
    except FrameError:
        return None
