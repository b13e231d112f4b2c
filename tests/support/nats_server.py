"""Real nats-servers for tests: one, or a cluster, to be killed, frozen and started again."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from urllib.parse import urlsplit

from responder.embedded import find_nats_server
from tests.support.conditions import wait_until

DEFAULT_CONFIG = "max_payload: 8MB"


@dataclass
class NatsServer:
    """A nats-server on loopback, which keeps its ports when it is started again.

    Attributes:
        folder: For its files; an empty directory at first.
        config: Its configuration, besides the addresses.
        cluster: Its configuration as a member of a cluster; None for a server of its own.
        url: Where clients connect, once it has been started.
        route: Where other members of its cluster connect, once it has been started.
    """

    folder: Path
    config: str = DEFAULT_CONFIG
    cluster: str | None = None
    url: str = "nats://127.0.0.1:-1"
    route: str = "nats://127.0.0.1:-1"
    _process: asyncio.subprocess.Process | None = field(default=None, init=False)

    @property
    def pid(self) -> int:
        """Its process id, while it runs."""
        assert self._process is not None
        return self._process.pid

    def is_at(self, address: tuple[str | None, int | None] | None) -> bool:
        """Say whether this is where somebody is connected to.

        Args:
            address: Host and port; None for nowhere.
        """
        parts = urlsplit(self.url)
        return address == (parts.hostname, parts.port)

    async def start(self) -> None:
        """Start it and wait until it listens."""
        lines = [f'listen: "{urlsplit(self.url).netloc}"', f'ports_file_dir: "{self.folder}"', self.config]
        if self.cluster is not None:
            lines.append(f'cluster {{ name: test, listen: "{urlsplit(self.route).netloc}", {self.cluster} }}')
        path = self.folder / "nats.conf"
        path.write_text("\n".join([*lines, ""]))
        self._process = await asyncio.create_subprocess_exec(
            find_nats_server(), "-c", str(path), stderr=asyncio.subprocess.DEVNULL
        )
        ports = self.folder / f"nats-server_{self._process.pid}.ports"
        await wait_until(lambda: "nats" in _addresses(ports), "nats-server listens")
        self.url = _addresses(ports)["nats"][0]
        self.route = _addresses(ports).get("cluster", [self.route])[0]

    def signal(self, number: Signals) -> None:
        """Send it a signal: SIGSTOP freezes it, SIGUSR2 lets it end as a lame duck."""
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        """End it without a chance to tidy up; that ends a frozen one, too."""
        await self._end(SIGKILL)

    async def stop(self) -> None:
        """End it."""
        await self._end(SIGTERM)

    async def knows(self, servers: int) -> bool:
        """Say whether it tells its clients of so many servers, itself included."""
        parts = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        greeting = json.loads((await reader.readline()).removeprefix(b"INFO "))
        writer.close()
        await writer.wait_closed()
        return len(set(greeting.get("connect_urls", []))) == servers

    async def _end(self, number: Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)
            await self._process.wait()
            self._process = None


def with_jetstream(folder: Path, config: str = DEFAULT_CONFIG) -> str:
    """Give a configuration with JetStream, whose store survives the server."""
    return f'{config}\njetstream {{ store_dir: "{folder / "store"}" }}\n'


@contextlib.asynccontextmanager
async def running(server: NatsServer) -> AsyncIterator[NatsServer]:
    """Run a server as long as the context lasts."""
    try:
        await server.start()
        yield server
    finally:
        await server.kill()


@contextlib.asynccontextmanager
async def nats_server(folder: Path, config: str = DEFAULT_CONFIG) -> AsyncIterator[str]:
    """Run a server on a free port as long as the context lasts, and give its URL.

    Args:
        folder: An empty directory for its files.
        config: Its configuration, besides the address.
    """
    server = NatsServer(folder, config)
    try:
        await server.start()
        yield server.url
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def nats_cluster(folder: Path, config: str = DEFAULT_CONFIG, size: int = 3) -> AsyncIterator[list[NatsServer]]:
    """Run a cluster as long as the context lasts, once each member tells its clients of all.

    Args:
        folder: A directory for its files.
        config: Of each member, besides the addresses.
        size: How many members.
    """
    async with contextlib.AsyncExitStack() as stack:
        members: list[NatsServer] = []
        for place in range(size):
            own = folder / f"nats-{place}"
            own.mkdir()
            routes = ", ".join(f'"{member.route}"' for member in members)
            members.append(await stack.enter_async_context(running(NatsServer(own, config, f"routes: [{routes}]"))))
        async with asyncio.timeout(10):
            while not all([await member.knows(size) for member in members]):
                pass
        yield members


def _addresses(ports: Path) -> dict[str, list[str]]:
    try:
        return dict(json.loads(ports.read_text()))
    except (OSError, ValueError):
        return {}
