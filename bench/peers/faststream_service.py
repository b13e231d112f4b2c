"""A FastStream service over NATS that spawns with asyncio; its RPC waits for the reply.

python -m bench.peers.faststream_service serve|ask
"""

import asyncio
import os
import sys

from faststream import FastStream  # type: ignore[import-not-found]  # not a dependency of ours
from faststream.nats import NatsBroker  # type: ignore[import-not-found]

from bench.peers.asking import ARGUMENTS, PROMPT, TIMEOUT_S, follow_orders

_SUBJECT = "faststream.spawn"
_AT_ONCE = 50  # as many as ours has slots; its own default is one after the other


async def run(prompt: str) -> str:
    """Run the command."""
    process = await asyncio.create_subprocess_exec(
        os.environ["COMMAND"], *ARGUMENTS, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate(prompt.encode())
    return printed.decode()


async def serve() -> None:
    """Answer until the process is ended."""
    broker = NatsBroker(os.environ["NATS_URL"], logger=None)
    broker.subscriber(_SUBJECT, max_workers=_AT_ONCE)(run)
    app = FastStream(broker, logger=None)
    app.after_startup(_say_ready)
    await app.run()


async def _say_ready() -> None:
    print("ready", flush=True)


async def ask() -> None:
    """Follow orders with requests."""
    async with NatsBroker(os.environ["NATS_URL"], logger=None) as broker:
        await follow_orders(lambda: broker.request(PROMPT, _SUBJECT, timeout=TIMEOUT_S))


if __name__ == "__main__":
    asyncio.run({"serve": serve, "ask": ask}[sys.argv[1]]())
