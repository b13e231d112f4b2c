"""Noticing that a connection hears nothing any more, though it says that it is connected.

One malformed message (a header block or a reply subject that is not what it should be) ends nats-py's read loop while
`is_connected` stays true and even `flush()` goes on to say yes (measured on nats-py 2.16.0). What surely tells is a
message to ourselves that does not come back.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

_INTERVAL_S = 1.0


@dataclass
class Echo:
    """Sends a message to ourselves every second; when one stays away for another second, the connection is renewed.

    Attributes:
        send: Sends the message; it need not arrive.
        is_connected: Says whether there is a connection at all: one that is being renewed is left alone.
        renew: Gives up the connection and makes another.
        interval_s: Seconds between two messages.
    """

    send: Callable[[], Awaitable[None]]
    is_connected: Callable[[], bool]
    renew: Callable[[], Awaitable[None]]
    interval_s: float = _INTERVAL_S
    _heard: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def note(self) -> None:
        """Note that a message has come back."""
        self._heard.set()

    async def watch(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(self.interval_s)
            if self.is_connected() and not await self._is_heard() and self.is_connected():
                await self.renew()

    async def _is_heard(self) -> bool:
        self._heard.clear()
        await self.send()
        try:
            async with asyncio.timeout(self.interval_s):
                await self._heard.wait()
        except TimeoutError:
            return False
        return True
