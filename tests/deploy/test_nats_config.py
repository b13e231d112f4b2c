"""NATS's configuration file, read by nats-server itself."""

import asyncio
import json
import subprocess
from pathlib import Path

from responder.embedded import find_nats_server
from tests.deploy.documents import NATS_CONFIG, services
from tests.support.nats_server import nats_server


def test_is_valid() -> None:
    """The server reads the file that compose mounts, without a complaint."""
    done = subprocess.run(
        [find_nats_server(), "-t", "-c", str(NATS_CONFIG)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    mounted = [str(volume).partition(":")[0] for volume in services()["nats"]["volumes"]]
    assert mounted == [f"./{NATS_CONFIG.relative_to(NATS_CONFIG.parents[2])}"]


async def test_takes_large_messages(tmp_path: Path) -> None:
    """A server with this file tells its clients that messages may have 8 MB."""
    lines = NATS_CONFIG.read_text().splitlines()
    config = "\n".join(line for line in lines if not line.startswith(("listen:", "http:")))
    async with nats_server(tmp_path, config) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        greeting = await reader.readline()
        writer.close()
    assert json.loads(greeting.removeprefix(b"INFO "))["max_payload"] == 8 * 2**20
