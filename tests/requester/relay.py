"""A wire that can be cut and frozen: TCP between a requester and its nats-server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from tests.support.conditions import wait_until


class Relay:
    """Passes bytes between clients and a server.

    Attributes:
        port: Where clients connect.
        connections: How many there are now.
        accepted: How many there were.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._host, self._port = parts.hostname or "", parts.port or 0
        self.port = 0
        self.accepted = 0
        self.is_cut = False
        self.is_held = False
        self._flows: set[asyncio.Event] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._clients: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return len(self._clients)

    def cut(self) -> None:
        """End every connection and take no more."""
        self.is_cut = True
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        """Take connections again."""
        self.is_cut = False

    def freeze(self) -> None:
        """Pass nothing on for those that are connected now, and close nothing."""
        for flow in self._flows:
            flow.clear()

    def hold(self) -> None:
        """Take connections and pass nothing on for them."""
        self.is_held = True

    def thaw(self) -> None:
        """Pass everything on again."""
        self.is_held = False
        for flow in self._flows:
            flow.set()

    def say(self, line: bytes) -> None:
        """Say something to the clients that the server did not say."""
        for writer in self._clients:
            writer.write(line)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""
        self.accepted += 1
        up_reader, up_writer = await asyncio.open_connection(self._host, self._port)
        mine = {writer, up_writer}
        self._writers |= mine
        self._clients.add(writer)
        flow = asyncio.Event()
        self._flows.add(flow)
        if not self.is_held:
            flow.set()
        if self.is_cut:
            self.cut()
        try:
            await asyncio.gather(self._pass(reader, up_writer, flow), self._pass(up_reader, writer, flow))
        finally:
            for end in mine:
                end.transport.abort()
                with contextlib.suppress(OSError):
                    await end.wait_closed()
            self._writers -= mine
            self._clients.discard(writer)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flow: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while await flow.wait() and (data := await reader.read(65536)):
                await flow.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@contextlib.asynccontextmanager
async def relay(target: str) -> AsyncIterator[Relay]:
    """Run a relay in front of a server as long as the context lasts."""
    made = Relay(target)
    server = await asyncio.start_server(made.handle, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        made.thaw()
        made.cut()
        await wait_until(lambda: not made.connections, "the relay's connections end")
