"""Starts what the demo needs, in order, and stops it in the opposite order: responders first, collector last."""

import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from examples.demo.collector import Collector
from examples.demo.nats_server import nats_server
from examples.demo.processes import Running, running
from examples.demo.questions import stub_script
from examples.demo.settings import DemoSettings, responder_environment
from responder.stub_api import StubAPI

RESPONDERS = ("responder-a", "responder-b")


@dataclass(frozen=True)
class Fleet:
    """Everything that runs.

    Attributes:
        nats_url: Where the worker asks.
        collector: Where the spans of all of them go.
        responders: The two processes.
    """

    nats_url: str
    collector: Collector
    responders: tuple[Running, ...]


@asynccontextmanager
async def fleet(settings: DemoSettings) -> AsyncIterator[Fleet]:
    """Run NATS, the stub API unless the real one is asked, the collector and two responders as long as the block lasts.

    Raises:
        DemoError: One of them did not start.
    """
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="claude-nats-demo-")))
        collector = await stack.enter_async_context(Collector())
        addresses = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
        if not settings.is_live:
            # The variables that lead a CLI to the stub and nowhere else, with a key that is none.
            addresses |= (await stack.enter_async_context(StubAPI(stub_script()))).environment
        nats_url = addresses["NATS_URL"] = await stack.enter_async_context(nats_server())
        responders = []
        for name in RESPONDERS:
            home = folder / name
            home.mkdir()
            environment = responder_environment(settings, name, home) | addresses
            argv = [sys.executable, "-m", "responder", "serve"]
            responders.append(await stack.enter_async_context(running(name, argv, environment, ready=r"\bready\b")))
        yield Fleet(nats_url, collector, tuple(responders))
