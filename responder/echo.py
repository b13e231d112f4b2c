"""Noticing that a connection hears nothing any more, though it says that it is connected.

One malformed message (a header block or a reply subject that is not what it should be) ends nats-py's read loop while
`is_connected` stays true and even `flush()` goes on to say yes (measured on nats-py 2.16.0). What surely tells is a
message to ourselves that does not come back while nothing else moves: on a slow connection it stands behind a reply.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from connection import Traffic

_INTERVAL_S = 1.0


@dataclass
class Echo:
    """Sends a message to ourselves every second; when one stays away for another second, the connection is renewed.

    Attributes:
        send: Sends the message; it need not arrive.
        is_connected: Says whether there is a connection at all: one that is being renewed is left alone.
        renew: Gives up the connection and makes another.
        traffic: Gives what has come and gone until now.
        interval_s: Seconds between two messages.
    """

    send: Callable[[], Awaitable[None]]
    is_connected: Callable[[], bool]
    renew: Callable[[], Awaitable[None]]
    traffic: Callable[[], Traffic]
    interval_s: float = _INTERVAL_S
    _heard: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _sending: asyncio.Task[None] | None = field(default=None, init=False)

    def note(self) -> None:
        """Note that a message has come back."""
        self._heard.set()

    async def watch(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(self.interval_s)
            if self.is_connected() and not await self._is_alive() and self.is_connected():
                await self.renew()

    async def _is_alive(self) -> bool:
        before = self.traffic()
        self._heard.clear()
        # A server that takes nothing any more holds up whoever sends, until the connection is renewed.
        self._sending = asyncio.ensure_future(self.send())
        try:
            async with asyncio.timeout(self.interval_s):
                await self._heard.wait()
        except TimeoutError:
            return self.traffic().has_moved_since(before)
        return True
