"""A worker in ten lines. From the checkout: `NATS_URL=nats://127.0.0.1:4222 python -m examples.worker "Say hello."`."""

import asyncio
import sys

from requester import execute


async def main(prompt: str) -> None:
    """Ask, and print the answer; a RequesterError says why there is none."""
    reply = await execute(prompt, timeout=120)
    print(reply.text)


asyncio.run(main(" ".join(sys.argv[1:]) or "Name one prime number."))
