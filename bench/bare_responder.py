"""A responder with nothing but nats-py: answers `echo` by itself, and `exec` with what a command prints.

`python -m bench.bare_responder URL COMMAND…` runs until its stdin ends.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

import nats
from nats.aio.msg import Msg


@contextlib.asynccontextmanager
async def answering(url: str, *command: str, prefix: str = "") -> AsyncIterator[None]:
    """Answer as long as the context lasts, on subjects with a prefix."""
    client = await nats.connect(url)
    running: set[asyncio.Task[None]] = set()

    async def execute(message: Msg) -> None:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await process.communicate(message.data)
        await client.publish(message.reply, printed)

    async def start(message: Msg) -> None:
        # nats-py awaits each callback before the next: without a task of its own each run would wait for the last.
        task = asyncio.create_task(execute(message))
        running.add(task)
        task.add_done_callback(running.discard)

    async def echo(message: Msg) -> None:
        await client.publish(message.reply, message.data)

    await client.subscribe(f"{prefix}exec", cb=start)
    await client.subscribe(f"{prefix}echo", cb=echo)
    await client.flush()
    print("ready", flush=True)
    yield
    await client.close()


async def main(url: str, *command: str) -> None:
    """Answer until stdin ends."""
    async with answering(url, *command):
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
