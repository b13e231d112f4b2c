"""NATS as the tests of several responders play it: queue groups, 503, messages that are late or lost."""

import asyncio
import itertools
import random
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from responder.callers import Incoming
from responder.link import Handler, LinkError, Membership, NobodyThereError
from tests.responder.parts import MAX_PAYLOAD


@dataclass(eq=False)
class Subscription:
    """One subscription.

    Attributes:
        link: Whose.
    """

    subject: str
    handler: Handler
    group: str
    link: "BusLink"


@dataclass
class Bus:
    """Carries messages.

    Attributes:
        random: Picks the members of groups.
        delay_s: Gives how long a message is under way, by its subject.
        is_lost: Says which messages are lost, by subject and headers.
    """

    random: random.Random
    delay_s: Callable[[str], float] = lambda _subject: 0.0
    is_lost: Callable[[str, Mapping[str, str]], bool] = lambda _subject, _headers: False
    subscriptions: list[Subscription] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    inboxes: Iterator[int] = field(default_factory=itertools.count)

    def members(self, subject: str) -> list[Subscription]:
        """Give who hears a message: everybody without a group, and one of each group."""
        heard = [each for each in self.subscriptions if each.subject == subject and not each.link.is_closed]
        groups = sorted({each.group for each in heard if each.group})
        picked = [self.random.choice([each for each in heard if each.group == group]) for group in groups]
        return [each for each in heard if not each.group] + picked

    def send(self, subject: str, body: bytes, headers: Mapping[str, str], reply: str = "") -> bool:
        """Send a message; says whether there was anybody."""
        members = self.members(subject)
        if not self.is_lost(subject, headers):
            for member in members:
                self._start(self._deliver(member, Incoming(subject, reply, dict(headers), body, 0.0)))
        return bool(members)

    async def _deliver(self, member: Subscription, incoming: Incoming) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self.delay_s(incoming.subject))
        await asyncio.sleep(max(0.0, member.link.frozen_until - loop.time()))
        if member in self.subscriptions and not member.link.is_closed:
            now = loop.time()
            heard = Incoming(incoming.subject, incoming.reply_subject, incoming.headers, incoming.body, now)
            await member.handler(heard)

    def _start(self, delivering: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(delivering)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


@dataclass(eq=False)
class BusLink:
    """A connection, as far as responders use one here.

    Attributes:
        frozen_until: Loop time until which it hears nothing; what is sent to it is not lost.
        is_closed: Whether its process has gone.
    """

    bus: Bus
    max_payload: int = MAX_PAYLOAD
    frozen_until: float = 0.0
    is_closed: bool = False
    is_connected: bool = True

    async def publish(self, subject: str, body: bytes, headers: Mapping[str, str], reply: str = "") -> None:
        """Send a message."""
        if not self.is_closed:
            self.bus.send(subject, body, headers, reply)

    async def subscribe(self, subject: str, handler: Handler, queue_group: str = "") -> Membership:
        """Listen."""
        subscription = Subscription(subject, handler, queue_group, self)
        self.bus.subscriptions.append(subscription)
        return Membership(subscription)  # type: ignore[arg-type] # stands for one of nats-py's

    async def quit(self, membership: Membership) -> None:
        """Listen no more."""
        self.bus.subscriptions.remove(membership.subscription)  # type: ignore[arg-type] # see `subscribe`

    async def leave(self, memberships: Sequence[Membership]) -> None:
        """Listen no more; what is under way is lost, which a test may as well see."""
        for membership in memberships:
            await self.quit(membership)

    async def ask_for(
        self, subject: str, body: bytes, headers: Mapping[str, str], within_s: float
    ) -> tuple[Mapping[str, str], bytes]:
        """Ask, and give the one answer."""
        answered: asyncio.Future[Incoming] = asyncio.get_running_loop().create_future()

        async def note(incoming: Incoming) -> None:
            if not answered.done():
                answered.set_result(incoming)

        inbox = f"_INBOX.bus.{next(self.bus.inboxes)}"
        membership = await self.subscribe(inbox, note)
        try:
            if not self.bus.send(subject, body, headers, inbox):
                raise NobodyThereError("nobody")
            async with asyncio.timeout(within_s):
                answer = await answered
        except TimeoutError:
            raise LinkError("no answer") from None
        finally:
            await self.quit(membership)
        return answer.headers, answer.body
