"""A responder's connection to NATS: what breaks it, and that it serves again by itself."""

import asyncio
from urllib.parse import urlsplit

import pytest
from nats.errors import Error

from tests.hop.conftest import SUBJECT, Fleet, RawCaller
from tests.support.conditions import wait_until
from tests.support.fake_cli import fake_cli

# Each of them ends nats-py's read loop while the client goes on to say that it is connected.
POISON = {
    "reply subject that is not UTF-8": b"PUB %s _INBOX.\xff\xfe 2\r\nhi\r\n",
    "header block without its first line": b"HPUB %s _INBOX.a 7 9\r\nbad\r\n\r\nhi\r\n",
}


@pytest.mark.parametrize("poison", POISON.values(), ids=POISON.keys())
async def test_a_message_that_cannot_be_read_does_not_make_a_responder_deaf(
    fleet: Fleet, caller: RawCaller, nats_url: str, poison: bytes
) -> None:
    """After a malformed message the responder notices that it hears nothing, connects again and serves."""
    responder = await fleet.start("r1", cli=str(fake_cli(fleet.home, "cat >/dev/null; answer ok")))
    address = urlsplit(nats_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    await reader.readline()
    writer.write(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n')
    writer.write(poison % SUBJECT.encode() + b"PING\r\n")
    await writer.drain()
    assert await asyncio.wait_for(reader.readline(), 5) == b"PONG\r\n"
    writer.close()
    await writer.wait_closed()

    async def is_served() -> bool:
        try:
            return (await caller.ask(wait_s=0.5, prompt="hi")).success
        except Error:
            return False

    deadline = asyncio.get_running_loop().time() + 15
    while not await is_served():
        assert asyncio.get_running_loop().time() < deadline, responder.log
    await responder.wait_until_idle()
    await wait_until(lambda: responder.process.returncode is None, "it still runs")
