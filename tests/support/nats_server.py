"""A real nats-server for tests."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from responder.embedded import find_nats_server
from tests.support.conditions import wait_until

DEFAULT_CONFIG = "max_payload: 8MB"


@dataclass
class NatsServer:
    """A nats-server on a loopback port, which it keeps when it is started again.

    Attributes:
        folder: For its files; an empty directory at first.
        config: Its configuration, besides the address.
        url: Where it listens, once it has been started.
    """

    folder: Path
    config: str = DEFAULT_CONFIG
    url: str = "nats://127.0.0.1:-1"
    _process: asyncio.subprocess.Process | None = field(default=None, init=False)

    async def start(self) -> None:
        """Start it and wait until it listens."""
        path = self.folder / "nats.conf"
        address = urlsplit(self.url).netloc
        path.write_text(f'listen: "{address}"\nports_file_dir: "{self.folder}"\n{self.config}\n')
        self._process = await asyncio.create_subprocess_exec(
            find_nats_server(), "-c", str(path), stderr=asyncio.subprocess.DEVNULL
        )
        ports = self.folder / f"nats-server_{self._process.pid}.ports"
        await wait_until(lambda: _is_complete(ports), "nats-server listens")
        self.url = str(json.loads(ports.read_text())["nats"][0])

    async def kill(self) -> None:
        """End it without a chance to tidy up."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None

    async def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            await self._process.wait()
            self._process = None


def with_jetstream(folder: Path, config: str = DEFAULT_CONFIG) -> str:
    """Give a configuration with JetStream, whose store survives the server."""
    return f'{config}\njetstream {{ store_dir: "{folder / "store"}" }}\n'


@contextlib.asynccontextmanager
async def nats_server(folder: Path, config: str = DEFAULT_CONFIG) -> AsyncIterator[str]:
    """Run a nats-server on a free loopback port as long as the context lasts.

    Args:
        folder: An empty directory for its files.
        config: Its configuration, besides the address.

    Yields:
        Its URL.
    """
    server = NatsServer(folder, config)
    try:
        await server.start()
        yield server.url
    finally:
        await server.stop()


def _is_complete(ports: Path) -> bool:
    try:
        return bool(json.loads(ports.read_text())["nats"])
    except (OSError, ValueError):
        return False
