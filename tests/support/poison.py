"""Messages that nats-py cannot read."""

import asyncio
from urllib.parse import urlsplit

# Each of them ends nats-py's read loop while the client goes on to say that it is connected.
POISON = {
    "reply subject that is not UTF-8": b"PUB %s _INBOX.\xff\xfe 2\r\nhi\r\n",
    "header block without its first line": b"HPUB %s _INBOX.a 7 9\r\nbad\r\n\r\nhi\r\n",
}


async def publish_poison(nats_url: str, subject: str, poison: bytes) -> None:
    """Publish one of them, and wait until the server has handed it on."""
    address = urlsplit(nats_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    await reader.readline()
    writer.write(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n')
    writer.write(poison % subject.encode() + b"PING\r\n")
    await writer.drain()
    assert await asyncio.wait_for(reader.readline(), 5) == b"PONG\r\n"
    writer.close()
    await writer.wait_closed()
