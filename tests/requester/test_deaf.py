"""A requester's connection that hears nothing any more, though it says that it is connected."""

import asyncio
from collections.abc import AsyncIterator

import nats
import pytest
from nats.aio.client import Client

from requester import Requester, RequesterSettings
from requester.hop import Hop
from tests.requester.fakes import SUBJECT, FakeResponder
from tests.support.conditions import wait_until
from tests.support.poison import POISON, publish_poison

NEVER_S = 600


@pytest.fixture
async def hop(nats_url: str) -> AsyncIterator[Hop]:
    """Give a way whose pings notice nothing, so that what is tested has to."""
    made = Hop(RequesterSettings(nats_url=nats_url), ping_interval_s=NEVER_S)
    await made.wait_connected(5)
    yield made
    await made.close()


async def deafen(hop: Hop, nats_url: str, poison: bytes) -> None:
    assert hop._link
    link = hop._link
    assert link.is_up
    await publish_poison(nats_url, f"{link._reply_prefix}.x", poison)
    await wait_until(lambda: link.is_deaf, "it is deaf")
    assert hop.state == "connected"
    assert not link.is_up


@pytest.mark.parametrize("poison", POISON.values(), ids=POISON.keys())
async def test_the_next_request_renews_a_deaf_connection(
    hop: Hop, nats_url: str, responder: FakeResponder, poison: bytes
) -> None:
    """A request over a connection that would not hear its reply has it renewed first, and is sent once."""
    await deafen(hop, nats_url, poison)
    await hop.wait_connected(5)
    assert (await hop.request(SUBJECT, b'{"id": "a"}', {}, 5)).data
    assert len(responder.seen) == 1


async def test_a_request_under_way_outlives_the_renewal(hop: Hop, nats_url: str, responder: FakeResponder) -> None:
    """What was asked before the connection became deaf gets its reply after it was renewed."""
    responder.answer = lambda _: None
    asking = asyncio.create_task(hop.request(SUBJECT, b"{}", {}, 20))
    await wait_until(lambda: len(responder.seen) == 1, "the request arrives")
    await deafen(hop, nats_url, POISON["header block without its first line"])
    assert hop._link
    await hop._link.renew()
    await hop.wait_connected(5)
    await responder.client.publish(responder.seen[0].reply, b"the reply")
    assert (await asking).data == b"the reply"


async def test_pings_notice_a_deaf_connection(nats_url: str, responder: FakeResponder) -> None:
    """Without any further request a deaf connection is renewed because no pings are answered."""
    hop = Hop(RequesterSettings(nats_url=nats_url), ping_interval_s=0.1)
    await hop.wait_connected(5)
    await deafen(hop, nats_url, POISON["reply subject that is not UTF-8"])
    link = hop._link
    await wait_until(lambda: link is not None and not link.is_deaf, "it is renewed")
    await hop.wait_connected(5)
    assert (await hop.request(SUBJECT, b'{"id": "a"}', {}, 5)).data
    assert len(responder.seen) == 1
    await hop.close()


async def test_a_given_connection_that_is_deaf_is_renewed(nats_url: str, responder: FakeResponder) -> None:
    """A connection that somebody else made is renewed too: it is of no more use to them than to us."""
    client: Client = await nats.connect(nats_url, reconnect_time_wait=0)
    settings = RequesterSettings(backoff_first_s=0.01, backoff_max_s=0.01)
    async with Requester(settings, connection=client) as requester:
        await requester.execute("2+2?", timeout=5)
        await deafen(requester._hop, nats_url, POISON["header block without its first line"])
        assert (await requester.execute("2+2?", timeout=10)).text == "four"
    assert len(responder.seen) == 2
    await client.close()
