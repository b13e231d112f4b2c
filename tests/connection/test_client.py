"""What is mended of nats-py's client, where that takes no server."""

import asyncio
import ssl
from urllib.parse import urlsplit

import pytest
from nats.aio.client import Srv
from nats.errors import SecureConnWantedError

from connection import Connection

SECRET = "s3cr3t"
# What a server says that speaks no TLS, or whoever cut the word out that it does.
GREETING = b'INFO {"server_id":"x","version":"2.15.1","headers":true,"auth_required":true,"max_payload":1024}\r\n'


@pytest.mark.parametrize(("scheme", "tls"), [("tls", None), ("nats", ssl.create_default_context())])
async def test_nothing_is_said_in_the_clear_where_tls_is_asked_for(scheme: str, tls: ssl.SSLContext | None) -> None:
    """A server that offers no TLS gets neither the password nor anything else, by URL and by certificate."""
    heard = bytearray()
    gone = asyncio.Event()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GREETING)
        heard.extend(await reader.read())
        writer.close()
        gone.set()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        client = Connection()
        address = f"{scheme}://boss:{SECRET}@127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(SecureConnWantedError):
            await client.connect(address, tls=tls, allow_reconnect=False, error_cb=ignore)
        await client.close()
        client._transport.close()  # type: ignore[union-attr] # nats-py leaves it open
        await gone.wait()
    assert not heard


async def ignore(_error: Exception) -> None:
    """What is raised is enough."""


async def test_the_server_that_was_left_is_tried_last() -> None:
    """Whatever name a server has in the list, it is not tried again before the others have been."""
    client = Connection()
    urls = ["nats://u:p@127.0.0.1:1", "nats://127.0.0.1:2", "nats://127.0.0.1:1", "nats://127.0.0.1:3"]
    client._server_pool = [Srv(urlsplit(url)) for url in urls]  # type: ignore[arg-type] # split is parsed enough
    client._current_server = client._server_pool[0]
    firsts = set()
    for _ in range(40):
        client._try_others_first()
        assert [server.uri.port for server in client._server_pool[2:]] == [1, 1]
        firsts.add(client._server_pool[0].uri.port)
    assert firsts == {2, 3}
