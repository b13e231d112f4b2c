"""A real nats-server for tests."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

from responder.embedded import find_nats_server
from tests.support.conditions import wait_until

DEFAULT_CONFIG = "max_payload: 8MB"


@contextlib.asynccontextmanager
async def nats_server(folder: Path, config: str = DEFAULT_CONFIG) -> AsyncIterator[str]:
    """Run a nats-server on a free loopback port as long as the context lasts.

    Args:
        folder: An empty directory for its files.
        config: Its configuration, besides the address.

    Yields:
        Its URL.
    """
    path = folder / "nats.conf"
    path.write_text(f'listen: "127.0.0.1:-1"\nports_file_dir: "{folder}"\n{config}\n')
    process = await asyncio.create_subprocess_exec(
        find_nats_server(), "-c", str(path), stderr=asyncio.subprocess.DEVNULL
    )
    ports = folder / f"nats-server_{process.pid}.ports"
    try:
        await wait_until(lambda: _is_complete(ports), "nats-server listens")
        yield str(json.loads(ports.read_text())["nats"][0])
    finally:
        process.terminate()
        await process.wait()


def _is_complete(ports: Path) -> bool:
    try:
        return bool(json.loads(ports.read_text())["nats"])
    except (OSError, ValueError):
        return False
