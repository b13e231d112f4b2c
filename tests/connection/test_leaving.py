"""Leaving a nats-server that stands still, with bytes that it does not take."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from signal import SIGSTOP
from typing import Any

import pytest

from connection import Connection, tls_context
from tests.connection.test_client import ignore
from tests.support.certificates import Certificates
from tests.support.nats_server import DEFAULT_CONFIG, NatsServer, running

LARGE = b"x" * 4_000_000


@pytest.fixture
def files(tmp_path: Path) -> Certificates:
    return Certificates.make(tmp_path / "certificates")


@pytest.fixture(params=["", "tls"])
async def server(tmp_path: Path, files: Certificates, request: pytest.FixtureRequest) -> AsyncIterator[NatsServer]:
    config = files.server_config() if request.param else ""
    async with running(NatsServer(tmp_path, f"{DEFAULT_CONFIG}\n{config}")) as made:
        yield made


async def test_nats_pys_own_pings_end_the_connection(server: NatsServer, files: Certificates) -> None:
    """When nats-py notices by itself that nothing is answered, it does not wait for the old connection's good end."""
    is_left = asyncio.Event()

    async def note() -> None:
        is_left.set()

    quick: dict[str, Any] = {"ping_interval": 0.1, "max_outstanding_pings": 1}
    client = Connection()
    context = tls_context(files.ca) if server.url.startswith("tls") else None
    await client.connect(server.url, tls=context, **quick, error_cb=ignore, disconnected_cb=note)
    server.signal(SIGSTOP)
    stuck = [asyncio.create_task(client.publish("a", LARGE)) for _ in range(4)]
    async with asyncio.timeout(5):
        await is_left.wait()
    await server.kill()
    with contextlib.suppress(OSError):  # the connection that is lost
        await client.close()
    for publishing in stuck:
        publishing.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)
