"""Noticing that nothing comes from a server any more, though the connection to it stands: frozen, cut off, or unheard.

nats-py's own pings count answers alone, so they take a slow connection, on which an answer stands behind a large
message, for a dead one; and a connection that has become deaf they leave only by that long way.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from connection import Traffic

_LOOKS = 3


@dataclass
class Silence:
    """Looks at a connection every so often; one that is deaf, or on which nothing has moved in three looks, is renewed.

    Attributes:
        look: Gives the traffic until now, None while there is no connection. In each interval something has to come
            from a server that is well: the answer to a ping.
        is_deaf: Says whether it is known already that nothing will be heard.
        renew: Gives up the connection and makes another.
        interval_s: Seconds between two looks.
        is_in_doubt: Whether nothing had moved at the last look: what stays away may be the server's fault.
    """

    look: Callable[[], Traffic | None]
    is_deaf: Callable[[], bool]
    renew: Callable[[], Awaitable[None]]
    interval_s: float
    is_in_doubt: bool = field(default=False, init=False)

    async def watch(self) -> None:
        """Watch until cancelled."""
        before: Traffic | None = None
        still = 0
        while True:
            await asyncio.sleep(self.interval_s)
            now = self.look()
            is_still = now is not None and before is not None and not now.has_moved_since(before)
            self.is_in_doubt = is_still
            still = still + 1 if is_still else 0
            before = now
            if still == _LOOKS or self.is_deaf():
                before, still = None, 0
                await self.renew()
