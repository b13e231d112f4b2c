"""A fleet for one measurement: a NATS server, responders as processes of their own, the stand-in, and a requester."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from bench.routing.stand_in import RESPONDER_VARIABLE, Run, StandIn
from bench.routing.usage import Usage, monitor_url, usage
from requester import Requester, RequesterSettings
from responder.settings import ResponderSettings
from tests.support.nats_server import DEFAULT_CONFIG, nats_server
from tests.support.responder_process import ResponderProcess, responder_process

SLOTS = 5
# A responder's start takes most of a second of CPU: many at a time would be late for their deadline.
_STARTS_AT_A_TIME = 4


@dataclass(frozen=True)
class Way:
    """How a fleet shares the work.

    Attributes:
        name: In the tables.
        steal: Whether responders take work from one another; None where that makes no difference.
    """

    name: str
    steal: bool | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What the responders are started with."""
        return {} if self.steal is None else {"CLAUDE_RESPONDER_STEAL": str(self.steal).lower()}


FLOOR = Way("floor: 1 responder, all slots")


def fleet_ways() -> tuple[Way, ...]:
    """Give the ways in which a fleet of these responders can share the work."""
    if "steal" in ResponderSettings.model_fields:
        return (Way("random group", steal=False), Way("stealing", steal=True))
    return (Way("random group"),)


@dataclass(frozen=True)
class Shape:
    """What a fleet is made of.

    Attributes:
        responders: How many.
        slots: Of each.
        way: How they share the work.
        backlog_max: How many requests each lets wait; more than there will be, unless that is the point.
    """

    responders: int
    slots: int
    way: Way
    backlog_max: int = 10_000

    @property
    def all_slots(self) -> int:
        """How many slots there are."""
        return self.responders * self.slots


class Fleet:
    """A running fleet.

    Attributes:
        shape: What it was made of at the beginning.
        url: Of its server.
        requester: Asks it; nothing is refused by a circuit breaker.
        responders: All of them.
    """

    def __init__(self, shape: Shape, folder: Path, url: str, requester: Requester) -> None:
        self.shape = shape
        self.url = url
        self.requester = requester
        self.responders: list[ResponderProcess] = []
        self._folder = folder
        self._stand_in = StandIn(folder)
        self._stand_in.write()
        self._starts = asyncio.Semaphore(_STARTS_AT_A_TIME)

    def runs(self) -> list[Run]:
        """Give what has run until now."""
        return self._stand_in.runs()

    async def usage(self) -> Usage:
        """Give what has been spent until now."""
        return await usage(monitor_url(self._folder), [responder.pid for responder in self.responders])

    async def add(self, name: str, stack: contextlib.AsyncExitStack, *, ready: bool = True) -> ResponderProcess:
        """Start one more responder.

        Args:
            name: Its id.
            stack: At its end the responder is stopped.
            ready: Whether to wait until it listens.
        """
        environment = {
            "HOME": str(self._folder),
            "NATS_URL": self.url,
            RESPONDER_VARIABLE: name,
            "CLAUDE_RESPONDER_CLI": str(self._stand_in.command),
            "CLAUDE_RESPONDER_CLI_ENV": RESPONDER_VARIABLE,
            "CLAUDE_RESPONDER_SLOTS": str(self.shape.slots),
            "CLAUDE_RESPONDER_BACKLOG_MAX": str(self.shape.backlog_max),
            **self.shape.way.environment,
        }
        async with self._starts:
            started = await stack.enter_async_context(responder_process(name, environment, ready=ready))
        self.responders.append(started)
        return started


@contextlib.asynccontextmanager
async def fleet(shape: Shape) -> AsyncIterator[Fleet]:
    """Run a fleet as long as the context lasts."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="claude-nats-bench-")))
        config = f'{DEFAULT_CONFIG}\nhttp: "127.0.0.1:-1"'
        url = await stack.enter_async_context(nats_server(folder, config))
        settings = RequesterSettings(nats_url=url, breaker=False)
        requester = await stack.enter_async_context(Requester(settings))
        made = Fleet(shape, folder, url, requester)
        await asyncio.gather(*(made.add(f"r{number}", stack) for number in range(shape.responders)))
        yield made
