"""A single nats-server that goes away and comes back: both sides are there again, and nothing of before is sent."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL, SIGSTOP
from typing import Any
from urllib.parse import urlsplit

import pytest
from nats.aio.client import Client

from requester import RequesterError, RequesterSettings
from requester.hop import Hop
from responder.callers import Incoming
from responder.link import Link
from tests.hop.conftest import SUBJECT
from tests.support.conditions import wait_until
from tests.support.nats_server import NatsServer, running

# Four of them are more than the sockets take, so that what comes after them stays in nats-py.
LARGE = b"x" * 4_000_000
# nats-py's own default, after which it closes the connection for good.
GIVEN_UP_AFTER = 60


@dataclass
class Sides:
    """A requester's connection and a responder's, which answers what it gets with the same.

    Attributes:
        server: The server of both.
        hop: The requester's.
        link: The responder's.
        seen: What the responder got.
    """

    server: NatsServer
    hop: Hop
    link: Link
    seen: list[bytes] = field(default_factory=list)

    async def answer(self, incoming: Incoming) -> None:
        """Answer one request."""
        self.seen.append(incoming.body)
        await self.link.publish(incoming.reply_subject, incoming.body, {})

    async def ask(self, body: bytes, within_s: float = 5.0) -> bytes:
        """Send one request."""
        return (await self.hop.request(SUBJECT, body, {}, within_s)).data

    @property
    def clients(self) -> list[Client]:
        """Both connections."""
        assert self.hop._link
        return [self.hop._link.client, self.link._client]

    async def wait_until_back(self) -> None:
        """Wait until both are connected and the server knows that the responder listens."""
        await wait_until(lambda: all(client.is_connected for client in self.clients), "both are back")
        await self.hop.wait_connected(5)
        await self.link.barrier()


@contextlib.asynccontextmanager
async def both_sides(folder: Path) -> AsyncIterator[Sides]:
    async with running(NatsServer(folder)) as server:
        link = await Link.connect([server.url], "r1", "_INBOX")
        sides = Sides(server, Hop(RequesterSettings(nats_url=server.url)), link)
        await link.subscribe(SUBJECT, sides.answer, "claude-cli")
        await link.barrier()
        await sides.hop.wait_connected(5)
        assert await sides.ask(b"before") == b"before"
        for client in sides.clients:
            client.options["reconnect_time_wait"] = 0.01
        yield sides
        await sides.hop.close()
        await link.close()


async def test_a_server_that_is_away_for_long_is_awaited(tmp_path: Path) -> None:
    """After more attempts than nats-py makes by default both sides are still there when the server is."""
    async with both_sides(tmp_path) as sides:
        await sides.server.kill()
        await wait_until(lambda: all(tries(client) > GIVEN_UP_AFTER + 1 for client in sides.clients), "many attempts")
        await sides.server.start()
        await sides.wait_until_back()
        assert await sides.ask(b"after") == b"after"


async def test_attempts_in_vain_leave_no_socket(tmp_path: Path) -> None:
    """What takes connections and does not greet is tried again and again with one socket at a time."""
    open_now = 0

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now
        open_now += 1
        with contextlib.suppress(OSError):
            await reader.read()
        open_now -= 1
        writer.close()

    async with both_sides(tmp_path) as sides:
        await sides.server.kill()
        for client in sides.clients:
            client.options["connect_timeout"] = 0.05
        mute = await asyncio.start_server(say_nothing, "127.0.0.1", urlsplit(sides.server.url).port)
        async with mute:
            await wait_until(lambda: all(tries(client) > 12 for client in sides.clients), "many attempts")
            assert open_now <= len(sides.clients)
        await sides.server.start()
        await sides.wait_until_back()
        assert await sides.ask(b"after") == b"after"


@pytest.mark.parametrize("is_frozen_first", [False, True])
async def test_what_is_published_into_a_dying_socket(tmp_path: Path, is_frozen_first: bool) -> None:
    """It is gone: nothing of it is sent to the next server, and nobody has to catch an exception of it."""
    unhandled: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    async with both_sides(tmp_path) as sides:
        # The responder is back first: it would get what the requester's connection still held.
        sides.clients[0].options["reconnect_time_wait"] = 0.3
        if is_frozen_first:
            sides.server.signal(SIGSTOP)
            early = [asyncio.create_task(sides.ask(body, 1)) for body in [LARGE] * 4 + [b"lost"] * 20]
            await wait_until(lambda: sides.hop.in_flight == len(early), "all are asked")
        sides.server.signal(SIGKILL)
        late = [asyncio.create_task(sides.ask(b"lost", 1)) for _ in range(20)]
        replies = [asyncio.create_task(sides.link.publish("_INBOX.nobody", b"lost", {})) for _ in range(20)]
        await sides.server.kill()
        await sides.server.start()
        outcomes = await asyncio.gather(*late, *(early if is_frozen_first else []), return_exceptions=True)
        assert all(isinstance(outcome, RequesterError) for outcome in outcomes)
        await asyncio.gather(*replies)
        await sides.wait_until_back()
        assert await sides.ask(b"after") == b"after"
        assert sides.seen == [b"before", b"after"]
    gc.collect()
    assert not unhandled


def tries(client: Client) -> int:
    """Give how often it has tried to connect in vain."""
    [server] = client.server_pool
    return server.reconnects
