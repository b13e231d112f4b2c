"""Awaiting a condition instead of sleeping."""

import asyncio
from collections.abc import Callable

_LOOK_EVERY_S = 0.01


async def wait_until(condition: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    """Wait until a condition holds.

    Args:
        condition: Looked at every few milliseconds.
        what: What is waited for, for the failure's message.
        seconds: How long at most.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(_LOOK_EVERY_S)
