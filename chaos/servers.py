"""NATS servers that can be killed and started again at the same address, alone or as a cluster."""

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from chaos.processes import Started, started
from responder.embedded import find_nats_server

LOOPBACK = "127.0.0.1"
_CLUSTER_S = 20.0
_LOOK_EVERY_S = 0.05
_CLUSTER_SIZE = 3
# As in deploy/nats/nats.conf.
_CONFIG = """
server_name: "{name}"
listen: "{host}:{port}"
http: "{host}:{monitor}"
max_payload: 8MB
ping_interval: "5s"
ping_max: 2
{more}
"""
_JETSTREAM = 'jetstream {{ store_dir: "{folder}" }}'
_CLUSTER = 'cluster {{ name: "chaos", listen: "127.0.0.1:{port}", routes: {routes} }}'


class Server:
    """A server at a fixed address, running or not.

    Args:
        name: Its name.
        host: The address it listens on.
        folder: Where its files are.
    """

    def __init__(self, name: str, host: str, folder: Path) -> None:
        self.name = name
        self.port, self._monitor, self.route_port = _free_ports(3)
        self._host = host
        self._folder = folder
        self._more = _JETSTREAM.format(folder=folder / name)
        self._stack = contextlib.AsyncExitStack()
        self._process: Started | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://{self._host}:{self.port}"

    def join(self, others: Sequence["Server"]) -> None:
        """Make it a member of a cluster, without JetStream, from its next start on."""
        routes = json.dumps([f"nats://{LOOPBACK}:{other.route_port}" for other in others])
        self._more = _CLUSTER.format(port=self.route_port, routes=routes)

    async def start(self) -> None:
        """Start it and wait until it takes connections."""
        path = self._folder / f"{self.name}.conf"
        path.write_text(
            _CONFIG.format(name=self.name, host=self._host, port=self.port, monitor=self._monitor, more=self._more)
        )
        argv = [find_nats_server(), "-c", str(path)]
        log = self._folder / f"{self.name}.log"
        log.unlink(missing_ok=True)
        env = {"PATH": os.defpath}
        self._process = await self._stack.enter_async_context(started(self.name, argv, env, self._folder))
        await self._process.wait_until_said("Server is ready")

    async def kill(self) -> None:
        """Kill it with SIGKILL."""
        assert self._process is not None  # noqa: S101 - what was not started cannot be killed
        self._process.signal(signal.SIGKILL)
        await self._process.wait()

    async def close(self) -> None:
        """Stop it."""
        await self._stack.aclose()

    async def peers(self) -> set[str]:
        """Give the names of the servers it is routed to."""
        return {route["remote_name"] for route in (await self._ask("routez"))["routes"]}

    async def clients(self) -> set[str]:
        """Give the names of the clients connected to it."""
        return {client.get("name", "") for client in (await self._ask("connz"))["connections"]}

    async def _ask(self, page: str) -> dict[str, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{self._host}:{self._monitor}/{page}") as answer,
        ):
            return dict(await answer.json())


@contextlib.asynccontextmanager
async def single_server(folder: Path, host: str = LOOPBACK) -> AsyncIterator[list[Server]]:
    """Run one server as long as the context lasts."""
    server = Server("nats", host, folder)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(server.close)
        await server.start()
        yield [server]


@contextlib.asynccontextmanager
async def server_cluster(folder: Path) -> AsyncIterator[list[Server]]:
    """Run a cluster of three as long as the context lasts; each knows the two others when it begins."""
    servers = [Server(f"nats{number}", LOOPBACK, folder) for number in range(1, _CLUSTER_SIZE + 1)]
    async with contextlib.AsyncExitStack() as stack:
        for server in servers:
            server.join([other for other in servers if other is not server])
            stack.push_async_callback(server.close)
            await server.start()
        for server in servers:
            await _wait_until_routed(server)
        yield servers


async def _wait_until_routed(server: Server) -> None:
    async with asyncio.timeout(_CLUSTER_S):
        while len(await server.peers()) < _CLUSTER_SIZE - 1:  # noqa: ASYNC110 - another process is looked at
            await asyncio.sleep(_LOOK_EVERY_S)


def _free_ports(count: int) -> list[int]:
    """Give ports that are free now; held together, so that they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [int(each.getsockname()[1]) for each in sockets]
