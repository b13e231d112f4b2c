"""nats-py and nothing else: a responder that echoes, and one that spawns with asyncio.

python -m bench.peers.plain_nats serve|ask echo|exec
"""

import asyncio
import os
import sys

import nats

from bench.bare_responder import answering
from bench.peers.asking import ARGUMENTS, PROMPT, TIMEOUT_S, follow_orders


async def serve(what: str) -> None:
    """Answer requests for one of the two until the process is ended; the other is a process of its own."""
    async with answering(os.environ["NATS_URL"], os.environ["COMMAND"], *ARGUMENTS, prefix=f"{what}."):
        await asyncio.Event().wait()


async def ask(what: str) -> None:
    """Follow orders with requests for one of the two."""
    client = await nats.connect(os.environ["NATS_URL"])
    await follow_orders(lambda: client.request(f"{what}.{what}", PROMPT.encode(), timeout=TIMEOUT_S))


if __name__ == "__main__":
    asyncio.run({"serve": serve, "ask": ask}[sys.argv[1]](sys.argv[2]))
