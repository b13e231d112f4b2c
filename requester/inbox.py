"""Replies that are awaited: who waits for which, and how a wait ends. No NATS here."""

import asyncio
import secrets
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
class Expected:
    """A reply that is awaited.

    Attributes:
        subject: The subject the request goes to.
        token: Names the reply: the last token of its subject.
        outcome: Done with the reply, or with the error with which the wait ends.
    """

    subject: str
    token: str
    outcome: asyncio.Future[RawReply | RequesterError]


class Inbox:
    """The replies awaited on one connection."""

    def __init__(self) -> None:
        self._expected: dict[str, Expected] = {}

    def __len__(self) -> int:
        return len(self._expected)

    @contextmanager
    def expect(self, subject: str) -> Iterator[Expected]:
        """Await a reply within the block; nothing is left of it afterwards, however the block ends."""
        outcome: asyncio.Future[RawReply | RequesterError] = asyncio.get_running_loop().create_future()
        expected = Expected(subject, secrets.token_hex(_TOKEN_BYTES), outcome)
        self._expected[expected.token] = expected
        try:
            yield expected
        finally:
            del self._expected[expected.token]
            outcome.cancel()

    def deliver(self, token: str, reply: RawReply) -> None:
        """Hand a reply to whoever awaits it; only the first counts, and a late one is nobody's."""
        if token in self._expected and not self._expected[token].outcome.done():
            self._expected[token].outcome.set_result(reply)

    def fail(self, error: Callable[[], RequesterError], subject: str | None = None) -> None:
        """End the waits, each with an error of its own.

        Args:
            error: Makes one.
            subject: Only the waits for requests to this subject, in any case (nats-py lowers the case of what the
                server says); None ends all.
        """
        for expected in self._expected.values():
            is_meant = subject is None or expected.subject.lower() == subject.lower()
            if is_meant and not expected.outcome.done():
                expected.outcome.set_result(error())
