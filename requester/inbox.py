"""What comes back, and who awaits it. No NATS here."""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from requester.errors import RequesterError

_TOKEN_BYTES = 8


@dataclass(frozen=True)
class RawReply:
    """A message that came back, not yet read.

    Attributes:
        headers: Its headers.
        data: Its payload.
    """

    headers: Mapping[str, str]
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class InstanceTrouble:
    """What the watch says of an instance.

    Attributes:
        instance: Which one.
        is_lost: Whether it is given up; else it could not be reached just now.
    """

    instance: str
    is_lost: bool


Item = RawReply | InstanceTrouble | RequesterError


class Mailbox:
    """What has come back for one request, in order of arrival.

    Args:
        subject: The subject the request goes to.

    Attributes:
        subject: The same.
        token: Names the mailbox: the last token of its reply subject.
    """

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.token = secrets.token_hex(_TOKEN_BYTES)
        self._items: deque[Item] = deque()
        self._arrival: asyncio.Future[None] | None = None

    def put(self, item: Item) -> None:
        """Add what has come."""
        self._items.append(item)
        _settle(self._arrival)

    async def get(self, until: float) -> Item | None:
        """Wait for the next item until a loop time, in seconds; None when there was none."""
        if not self._items:
            loop = asyncio.get_running_loop()
            self._arrival = loop.create_future()
            timer = loop.call_at(until, _settle, self._arrival)  # half the time of asyncio.timeout_at and a queue
            try:
                await self._arrival
            finally:
                timer.cancel()
                self._arrival = None
        return self._items.popleft() if self._items else None


def _settle(arrival: asyncio.Future[None] | None) -> None:
    if arrival is not None and not arrival.done():
        arrival.set_result(None)


class Inbox:
    """The mailboxes of one connection."""

    def __init__(self) -> None:
        self._mailboxes: dict[str, Mailbox] = {}
        self._emptied = asyncio.Event()

    def __len__(self) -> int:
        return len(self._mailboxes)

    def __contains__(self, token: str) -> bool:
        return token in self._mailboxes

    @contextmanager
    def open(self, subject: str) -> Iterator[Mailbox]:
        """Have a mailbox within the block; nothing is left of it afterwards, however the block ends."""
        mailbox = Mailbox(subject)
        self._mailboxes[mailbox.token] = mailbox
        self._emptied.clear()
        try:
            yield mailbox
        finally:
            del self._mailboxes[mailbox.token]
            if not self._mailboxes:
                self._emptied.set()

    def deliver(self, token: str, item: Item) -> bool:
        """Put what has come into its mailbox; says whether there is one."""
        mailbox = self._mailboxes.get(token)
        if mailbox is not None:
            mailbox.put(item)
        return mailbox is not None

    async def wait_empty(self) -> None:
        """Wait until nobody awaits anything."""
        if self._mailboxes:
            await self._emptied.wait()

    def fail(self, error: Callable[[], RequesterError], subject: str | None = None) -> None:
        """End the waits, each with an error of its own.

        Args:
            error: Makes one.
            subject: Only the waits for requests to this subject, in any case (nats-py lowers the case of what the
                server says); None ends all.
        """
        for mailbox in self._mailboxes.values():
            if subject is None or mailbox.subject.lower() == subject.lower():
                mailbox.put(error())
