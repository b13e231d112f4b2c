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
    mounted = [str(volume).split(":")[:2] for volume in services()["nats"]["volumes"]]
    assert [source for source, _ in mounted] == [f"./{NATS_CONFIG.relative_to(NATS_CONFIG.parents[2])}", "nats"]
    assert f'store_dir: "{mounted[1][1]}"' in NATS_CONFIG.read_text()


async def test_takes_large_messages_and_keeps_work(tmp_path: Path) -> None:
    """A server with this file tells its clients that messages may have 8 MB, and that it has JetStream."""
    lines = NATS_CONFIG.read_text().splitlines()
    config = "\n".join(line for line in lines if not line.startswith(("listen:", "http:")))
    config = config.replace('store_dir: "/var/tmp"', f'store_dir: "{tmp_path}"')
    async with nats_server(tmp_path, config) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        greeting = await reader.readline()
        writer.close()
    info = json.loads(greeting.removeprefix(b"INFO "))
    assert (info["max_payload"], info["jetstream"]) == (8 * 2**20, True)
