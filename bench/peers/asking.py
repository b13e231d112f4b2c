"""A caller as a process of its own: it reads orders on stdin, and prints what the calls took.

An order is a line of JSON, `{"calls": 100, "in_flight": 5}`; the answer is a line with `seconds` (of each call that was
answered), `failed` (how many were not) and `elapsed_s`. `asking.mjs` is the same in Node. The callers of other products
run in their virtual environment, so nothing here needs more than Python.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

Ask = Callable[[], Awaitable[object]]
PROMPT = "hi"
ARGUMENTS = ("-p", "--output-format", "json")
TIMEOUT_S = 60.0


async def follow_orders(ask: Ask) -> None:
    """Carry out orders until there are no more.

    Args:
        ask: Makes one call, and raises if it is not answered.
    """
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        sys.stdout.write(json.dumps(await carry_out(ask, order["calls"], order["in_flight"])) + "\n")
        sys.stdout.flush()


async def carry_out(ask: Ask, calls: int, in_flight: int) -> dict[str, Any]:
    """Make so many calls, so many at a time, and give the answer to the order."""
    left = iter(range(calls))
    seconds: list[float] = []
    failures: list[Exception] = []

    async def repeat() -> None:
        for _ in left:
            started = time.perf_counter()
            try:
                await ask()
            except Exception as error:  # noqa: BLE001 - whatever another product raises, its call has failed
                failures.append(error)
            else:
                seconds.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(repeat() for _ in range(in_flight)))
    elapsed_s = time.perf_counter() - started
    for error in failures[:1]:
        sys.stderr.write(f"{len(failures)} of {calls} calls failed, the first with {error!r}\n")
    return {"seconds": seconds, "failed": len(failures), "elapsed_s": elapsed_s}
