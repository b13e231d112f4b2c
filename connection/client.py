"""nats-py's client, mended where it would wait for ever, hear nothing, or speak in the clear.

Source for what nats-py does: `nats/aio/client.py` of 2.16.0, which has no public way for any of this.
"""

import asyncio
import secrets
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Self
from urllib.parse import ParseResult

from nats.aio.client import Client
from nats.errors import SecureConnWantedError


@dataclass(frozen=True)
class Traffic:
    """What has come and gone on a connection, to tell a slow one, on which something moves, from a dead one.

    Attributes:
        heard: Another value whenever something has come, or the connection is another one.
        unsent: Bytes that wait to be sent.
    """

    heard: Hashable
    unsent: int

    def has_moved_since(self, before: Self) -> bool:
        """Say whether something has come, or some of what waits has gone."""
        return self.heard != before.heard or self.unsent < before.unsent


class Connection(Client):
    """A connection that leaves a dead server at once, and speaks TLS where TLS is asked for."""

    async def _attempt_reconnect(self) -> None:
        # nats-py closes the old connection in good order before it makes another: for ever, where a frozen server does
        # not take what is unsent (nats.py #671), and 30 s over TLS.
        abort(self)
        self._try_others_first()
        await super()._attempt_reconnect()

    def _try_others_first(self) -> None:
        # nats-py shuffles, and may try the server first that it has just left: two seconds, if that is frozen.
        self.options["dont_randomize"] = True
        left = self._current_server
        random = secrets.SystemRandom().random
        self._server_pool.sort(key=lambda server: (left is not None and _is_same(server.uri, left.uri), random()))

    def _connect_command(self) -> bytes:
        # nats-py speaks TLS if the server says so: whoever is in between need only cut that word out to be sent the
        # password in the clear.
        server = self._current_server
        is_wanted = "tls" in self.options or (server is not None and server.uri.scheme == "tls")
        writer = getattr(self._transport, "_io_writer", None)
        if is_wanted and (writer is None or writer.get_extra_info("ssl_object") is None):
            raise SecureConnWantedError
        return bytes(super()._connect_command())


def abort(client: Client) -> None:
    """Give up the socket at once, with all that is unsent; the client notices, and connects again."""
    writer = getattr(getattr(client, "_transport", None), "_io_writer", None)
    if writer is not None:
        writer.transport.abort()


async def renew(client: Client) -> None:
    """Leave the server, whatever state the connection is in, and connect again: elsewhere, where there is another."""
    abort(client)
    await client.force_reconnect()


def is_deaf(client: Client) -> bool:
    """Say whether a client that calls itself connected hears nothing any more.

    One malformed message (a header block or a reply subject that is not what it should be) ends nats-py's read loop;
    `is_connected` stays true and even `flush()` goes on to say yes.
    """
    reading: asyncio.Task[None] | None = getattr(client, "_reading_task", None)
    return client.is_connected and reading is not None and reading.done()


def has_other_server(client: Client) -> bool:
    """Say whether it knows of a server besides the one that it is connected to."""
    current = client.connected_url
    return current is not None and not all(_is_same(server, current) for server in client.servers)


def traffic(client: Client) -> Traffic:
    """Give what has come and gone on a connection until now."""
    writer = getattr(client._transport, "_bare_io_writer", None)  # noqa: SLF001 # under TLS this is where bytes wait
    unsent = 0 if writer is None else writer.transport.get_write_buffer_size()
    in_part = len(client._ps.buf)  # noqa: SLF001 # a message that has not come whole
    heard = (client.stats["in_msgs"], in_part, client._pongs_received)  # noqa: SLF001 # likewise
    return Traffic((client.stats["reconnects"], *heard), unsent)


def _is_same(one: ParseResult, other: ParseResult) -> bool:
    return (one.hostname, one.port) == (other.hostname, other.port)
