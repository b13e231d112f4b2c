"""nats-py and nothing else: a responder that echoes, and one that spawns with asyncio.

python -m bench.peers.plain_nats serve|ask echo|spawn
"""

import asyncio
import os
import sys

import nats
from nats.aio.msg import Msg

from bench.peers.asking import ARGUMENTS, PROMPT, TIMEOUT_S, follow_orders

_COMMAND = (os.environ["COMMAND"], *ARGUMENTS)


async def serve(what: str) -> None:
    """Answer requests for one of the two until the process is ended."""
    client = await nats.connect(os.environ["NATS_URL"])
    tasks: set[asyncio.Task[None]] = set()

    async def echo(message: Msg) -> None:
        await client.publish(message.reply, message.data)

    async def run(message: Msg) -> None:
        process = await asyncio.create_subprocess_exec(
            *_COMMAND, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await process.communicate(message.data)
        await client.publish(message.reply, printed)

    async def spawn(message: Msg) -> None:
        # nats-py awaits each callback before the next: without a task of its own each run would wait for the last.
        task = asyncio.create_task(run(message))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    await client.subscribe(f"plain.{what}", cb={"echo": echo, "spawn": spawn}[what])
    await client.flush()
    print("ready", flush=True)
    await asyncio.Event().wait()


async def ask(what: str) -> None:
    """Follow orders with requests for one of the two."""
    client = await nats.connect(os.environ["NATS_URL"])
    await follow_orders(lambda: client.request(f"plain.{what}", PROMPT.encode(), timeout=TIMEOUT_S))


if __name__ == "__main__":
    asyncio.run({"serve": serve, "ask": ask}[sys.argv[1]](sys.argv[2]))
