"""The subjects a responder listens on, and what answers there."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from contract import QUEUE_GROUP, ErrorCode, has_inbox_prefix, is_no_responders
from responder.assembly import Parts
from responder.attendance import Attendance
from responder.callers import Incoming
from responder.fitness import UnfitError
from responder.link import Handler, Link, LinkError, Membership
from responder.micro import VERBS
from responder.presence import Duty, Post, Presence
from responder.routing import Routing, stealing
from responder.service import ending
from responder.sessions import Sessions

# Results that wait for their acknowledgement while their slots are used anew.
_UNACKNOWLEDGED_MAX = 1000
# What a limited responder says is left while it tries whether the limit is over.
_LIMIT_LEFT_MIN_S = 1.0

T = TypeVar("T")


@dataclass(frozen=True)
class Listening:
    """What listens.

    Attributes:
        memberships: What to leave to stop listening, the last joined to be left first.
        presence: Joins and leaves the public queue groups; what it has joined is to be left before the rest.
        attendance: The attempts that requesters attend to here; it hears of them until the connection is closed.
        routing: Takes work from others and gives it to them; None where that is switched off.
    """

    memberships: list[Membership]
    presence: Presence
    attendance: Attendance
    routing: Routing | None


@contextlib.asynccontextmanager
async def listen(parts: Parts, link: Link) -> AsyncIterator[Listening]:
    """Listen on every subject of a responder; the queue group of the requests is joined last, and only while it is fit.

    Raises:
        LinkError: NATS does not permit to listen for requests: it would look ready and hear nothing.
    """
    subjects = parts.micro.subjects
    answer_health = _answering(parts, link, lambda incoming: _health(parts, incoming))
    async with contextlib.AsyncExitStack() as stack:
        attendance = await stack.enter_async_context(_attend(parts, link))
        memberships = []
        for verb in VERBS:
            answer = _answering(parts, link, _constant(parts.micro.answer, verb))
            memberships += [await link.subscribe(subject, answer) for subject in parts.micro.subjects_of(verb)]
        memberships.append(await link.subscribe(subjects.health_of(parts.settings.name), answer_health))

        async def handle(incoming: Incoming) -> None:
            with attendance.caller_of(incoming) as caller:
                if caller is not None:
                    await parts.service.handle(incoming, caller)

        routing = None
        if parts.settings.steal:
            routing = await stack.enter_async_context(stealing(parts, link, attendance))
        working = (Post(subjects.health, answer_health, QUEUE_GROUP), Post(subjects.execute, handle, QUEUE_GROUP))
        limited = (Post(subjects.limited, _answering(parts, link, _constant(_limit, parts))),)
        duty = _duty(parts, attendance, routing)
        presence = Presence(link, parts.service.fitness, duty, working, limited)
        try:
            await presence.start()
            await link.barrier()
            for subject in (subjects.execute, subjects.instance_of(parts.instance.id)):
                if link.is_refused(subject):
                    raise LinkError(f"NATS does not permit this responder to listen on {subject}")
            yield Listening(memberships, presence, attendance, routing)
        finally:
            await presence.stop()


def _duty(parts: Parts, attendance: Attendance, routing: Routing | None) -> Duty:
    """Give what is done about being fit or not."""

    async def trial() -> tuple[str | None, float | None]:
        return ending(await parts.health.prompt())

    async def let_go(reason: str) -> None:
        attendance.let_go(lambda: UnfitError(reason))
        if routing is not None:
            await routing.retire()
        parts.service.slots.let_go(lambda: UnfitError(reason))

    def resume() -> None:
        if routing is not None:
            routing.thief.resume()

    return Duty(lambda afresh: parts.looks.look(afresh=afresh), trial, let_go, resume)


@contextlib.asynccontextmanager
async def _attend(parts: Parts, link: Link) -> AsyncIterator[Attendance]:
    """Hear the frames of requesters, and beat for them."""
    settings, instance = parts.settings, parts.instance
    inbox = link.new_inbox()
    sessions = Sessions(instance, link, settings.unattended_max_s, lambda name: f"{inbox}.{name.encode().hex()}")
    attempts_max = settings.slots + settings.backlog_max + _UNACKNOWLEDGED_MAX
    attendance = Attendance(instance, link, sessions, settings.inbox_prefix, attempts_max)

    def note_gone(incoming: Incoming) -> None:
        if is_no_responders(incoming.headers, incoming.body):
            sessions.refuse(bytes.fromhex(incoming.subject.rpartition(".")[2]).decode())

    await link.hear(f"{inbox}.*", note_gone)
    await link.hear(
        parts.micro.subjects.instance_of(instance.id), lambda incoming: attendance.take(incoming, incoming.received_at)
    )
    link.on_reconnect = sessions.reconnect
    beating = asyncio.create_task(sessions.beat(lambda: link.is_connected))
    try:
        yield attendance
    finally:
        beating.cancel()


def _answering(parts: Parts, link: Link, answer: Callable[[Incoming], Awaitable[bytes]]) -> Handler:
    """Answer messages that may be answered: the reply subject is the caller's choice."""

    async def handle(incoming: Incoming) -> None:
        if has_inbox_prefix(incoming.reply_subject, parts.settings.inbox_prefix):
            await link.publish(incoming.reply_subject, await answer(incoming), {})

    return handle


def _constant(answer: Callable[[T], bytes], about: T) -> Callable[[Incoming], Awaitable[bytes]]:
    async def give(_incoming: Incoming) -> bytes:
        return answer(about)

    return give


def _limit(parts: Parts) -> bytes:
    """Say until when the credential is limited; a moment where that is over, and a trial under way."""
    left_s = max(_LIMIT_LEFT_MIN_S, parts.service.fitness.limit_s(asyncio.get_running_loop().time()))
    code, line = (
        ErrorCode.RATE_LIMITED,
        "this responder takes no work: the API limits its credential",
    )
    return parts.service.answers.refusal(None, code, line, retry_after_ms=round(left_s * 1000)).to_bytes()


async def _health(parts: Parts, incoming: Incoming) -> bytes:
    return (await parts.health.answer(incoming.body)).to_bytes()
