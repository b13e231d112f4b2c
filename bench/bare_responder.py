"""A responder with nothing but nats-py: answers `echo` by itself, and `exec` with what a command prints.

`python -m bench.bare_responder URL COMMAND` runs until its stdin ends.
"""

import asyncio
import sys

import nats
from nats.aio.msg import Msg


async def main(url: str, command: str) -> None:
    """Answer until stdin ends."""
    client = await nats.connect(url)
    running: set[asyncio.Task[None]] = set()

    async def execute(message: Msg) -> None:
        process = await asyncio.create_subprocess_exec(
            command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await process.communicate(message.data)
        await client.publish(message.reply, printed)

    async def start(message: Msg) -> None:
        task = asyncio.create_task(execute(message))
        running.add(task)
        task.add_done_callback(running.discard)

    async def echo(message: Msg) -> None:
        await client.publish(message.reply, message.data)

    await client.subscribe("exec", cb=start)
    await client.subscribe("echo", cb=echo)
    await client.flush()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await client.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
