"""Ours: the requester library, and behind it `claude-responder serve`; `python -m bench.peers.ours`."""

import asyncio

from bench.peers.asking import PROMPT, TIMEOUT_S, follow_orders
from requester import Requester, RequesterSettings


async def ask() -> None:
    """Follow orders with attended requests."""
    async with Requester(RequesterSettings(timeout_s=TIMEOUT_S)) as requester:
        await follow_orders(lambda: requester.execute(PROMPT))


if __name__ == "__main__":
    asyncio.run(ask())
