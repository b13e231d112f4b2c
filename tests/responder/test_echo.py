"""The echo that notices a deaf connection."""

import asyncio
from collections.abc import Callable

from connection import Traffic
from responder.echo import Echo

FAST_S = 0.01


class Connection:
    """A connection of the test's: it echoes, or not, and counts its renewals."""

    def __init__(self, *, hears: bool = True, is_connected: bool = True, is_slow: bool = False) -> None:
        self.hears = hears
        self.is_slow = is_slow
        self.connected = is_connected
        self.sent = 0
        self.renewed = 0
        self.changed = asyncio.Event()
        self.traffic = Traffic(0, 0)
        self.echo = Echo(self.send, lambda: self.connected, self.renew, lambda: self.traffic, FAST_S)

    async def send(self) -> None:
        self.sent += 1
        if self.is_slow:
            self.traffic = Traffic(self.sent, 0)
        if self.hears:
            self.echo.note()
        self.changed.set()

    async def renew(self) -> None:
        self.renewed += 1
        self.hears = True
        self.changed.set()

    async def watch_until(self, condition: Callable[[], bool]) -> None:
        watching = asyncio.create_task(self.echo.watch())
        async with asyncio.timeout(5):
            while not condition():
                self.changed.clear()
                await self.changed.wait()
        watching.cancel()


async def test_a_connection_that_hears_itself_is_left_alone() -> None:
    """As long as every message comes back, nothing is renewed."""
    connection = Connection()
    await connection.watch_until(lambda: connection.sent >= 5)
    assert connection.renewed == 0


async def test_a_deaf_connection_is_renewed_once() -> None:
    """A message that stays away renews the connection, and the next one that comes back is the end of it."""
    connection = Connection(hears=False)
    await connection.watch_until(lambda: connection.renewed == 1 and connection.sent >= 5)
    assert connection.renewed == 1


async def test_a_connection_that_is_down_is_not_touched() -> None:
    """While there is no connection, which nats-py mends itself, nothing is sent and nothing renewed."""
    connection = Connection(hears=False, is_connected=False)
    asyncio.get_running_loop().call_later(10 * FAST_S, connection.changed.set)
    await connection.watch_until(connection.changed.is_set)
    assert (connection.sent, connection.renewed) == (0, 0)


async def test_a_slow_connection_is_left_alone() -> None:
    """As long as something comes or goes, the message may stay away: it stands behind something large."""
    connection = Connection(hears=False, is_slow=True)
    await connection.watch_until(lambda: connection.sent >= 5)
    assert connection.renewed == 0


async def test_a_message_that_cannot_be_sent_does_not_hold_up_the_renewal() -> None:
    """A server that takes nothing any more is left, though whoever publishes has to wait for it."""
    connection = Connection()
    taken = asyncio.Event()

    async def send() -> None:
        await taken.wait()

    connection.echo.send = send
    await connection.watch_until(lambda: connection.renewed == 1)
    taken.set()
