"""The subjects a responder listens on, and what answers there."""

from collections.abc import Awaitable, Callable

from contract import QUEUE_GROUP, has_inbox_prefix
from responder.assembly import Parts
from responder.link import Handler, Link, LinkError, Membership
from responder.micro import VERBS
from responder.service import Incoming


async def listen(parts: Parts, link: Link) -> list[Membership]:
    """Listen on every subject of a responder; the queue group of the requests is joined last.

    Raises:
        LinkError: NATS does not permit to listen for requests: it would look ready and hear nothing.

    Returns:
        What to leave to stop listening, the last joined to be left first.
    """
    subjects = parts.micro.subjects
    answer_health = _answering(parts, link, lambda incoming: _health(parts, incoming))
    memberships = []
    for verb in VERBS:
        answer = _answering(parts, link, _constant(parts.micro.answer, verb))
        memberships += [await link.subscribe(subject, answer) for subject in parts.micro.subjects_of(verb)]
    memberships.append(await link.subscribe(subjects.health, answer_health, QUEUE_GROUP))
    memberships.append(await link.subscribe(subjects.health_of(parts.settings.name), answer_health))

    # Never left: as long as this process may run something, NATS does not say 503 here.
    await link.subscribe(subjects.instance_of(parts.instance), _ignore)

    async def handle(incoming: Incoming) -> None:
        await parts.service.handle(incoming, link)

    memberships.append(await link.subscribe(subjects.execute, handle, QUEUE_GROUP))
    await link.barrier()
    if link.is_refused(subjects.execute):
        raise LinkError(f"NATS does not permit this responder to listen on {subjects.execute} in group {QUEUE_GROUP}")
    if link.is_refused(subjects.instance_of(parts.instance)):
        # The others would take over what it runs.
        raise LinkError(f"NATS does not permit this responder to listen on {subjects.instance_of('*')}")
    return memberships


async def _ignore(_incoming: Incoming) -> None:
    """Be there: who asks wants to know whether NATS says 503."""


def _answering(parts: Parts, link: Link, answer: Callable[[Incoming], Awaitable[bytes]]) -> Handler:
    """Answer messages that may be answered: the reply subject is the caller's choice."""

    async def handle(incoming: Incoming) -> None:
        if has_inbox_prefix(incoming.reply_subject, parts.settings.inbox_prefix):
            await link.publish(incoming.reply_subject, await answer(incoming), {})

    return handle


def _constant(answer: Callable[[str], bytes], verb: str) -> Callable[[Incoming], Awaitable[bytes]]:
    async def give(_incoming: Incoming) -> bytes:
        return answer(verb)

    return give


async def _health(parts: Parts, incoming: Incoming) -> bytes:
    return (await parts.health.answer(incoming.body)).to_bytes()
