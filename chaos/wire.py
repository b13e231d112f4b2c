"""The wire between one responder and NATS, which can be cut without a word: nothing is refused, closed or answered.

A network namespace of the responder's own, joined to the host by a pair of virtual interfaces, where this machine lets
us make one; else a relay on loopback that stops passing bytes on.
"""

import contextlib
from collections.abc import AsyncIterator
from typing import Protocol

from tests.requester.relay import Relay, relay


class Wire(Protocol):
    """A wire to one responder."""

    @property
    def kind(self) -> str:
        """What it is, for the report."""

    @property
    def prefix(self) -> tuple[str, ...]:
        """What the responder's command line begins with."""

    def url(self, port: int) -> str:
        """Give the address at which the responder finds the server."""

    async def cut(self) -> None:
        """Let nothing through any more, silently."""

    async def heal(self) -> None:
        """Let everything through again."""


class RelayedWire:
    """A relay on loopback.

    Args:
        made: The relay.
        reason: Why there is no namespace.
    """

    prefix: tuple[str, ...] = ()

    def __init__(self, made: Relay, reason: str) -> None:
        self.kind = f"relay ({reason})"
        self._relay = made

    def url(self, _port: int) -> str:
        """Give the address at which the responder finds the server."""
        return self._relay.url

    async def cut(self) -> None:
        """Take connections, and pass nothing on."""
        self._relay.hold()
        self._relay.freeze()

    async def heal(self) -> None:
        """Pass everything on again."""
        self._relay.thaw()


@contextlib.asynccontextmanager
async def relayed(url: str, reason: str) -> AsyncIterator[RelayedWire]:
    """Have a relay as long as the context lasts.

    Args:
        url: The server's.
        reason: Why there is no namespace.
    """
    async with relay(url) as made:
        yield RelayedWire(made, reason)
