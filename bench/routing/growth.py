"""How soon a responder that joins a busy fleet runs what has waited at the others."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence

from bench.routing.asking import ask_all, failures
from bench.routing.fleet import SLOTS, Fleet, Shape, Way, fleet, fleet_ways
from bench.routing.sheet import Row, Sheet
from bench.routing.stand_in import Run
from bench.routing.trace import burst
from tests.support.conditions import wait_until
from tests.support.responder_process import ResponderProcess

SERVICE_S = 2.0
_RESPONDERS = 4
_JOINS = 3
_READY_WITHIN_S = 30.0
_LOOK_EVERY_S = 0.001


async def measure(waiting: int, say: Callable[[str], None]) -> Sheet:
    """Let responders join one after another while requests wait, and see when they run the first of these.

    Args:
        waiting: How many requests wait at the beginning; none comes afterwards, so all that a new one runs has waited.
        say: Is told what begins.
    """
    rows: list[Row] = []
    for way in fleet_ways():
        say(f"join, {way.name}: {_RESPONDERS} responders, {waiting} requests waiting, {_JOINS} join")
        rows += await _join(way, waiting)
    return Sheet(f"A responder joins {_RESPONDERS} others that have {waiting} requests waiting", rows)


async def _join(way: Way, waiting: int) -> list[Row]:
    shape = Shape(_RESPONDERS, SLOTS, way)
    trace = burst(seed=1, count=shape.all_slots + waiting, mean_s=SERVICE_S)
    ready_at: dict[str, float] = {}
    async with fleet(shape) as running, contextlib.AsyncExitStack() as stack:
        asking = asyncio.create_task(ask_all(running.requester, trace))
        await wait_until(lambda: len(running.runs()) >= shape.all_slots, "all slots are taken", _READY_WITHIN_S)
        for number in range(_JOINS):
            name = f"joined{number}"
            ready_at[name] = await _add(running, name, stack)
        answers = await asking
        runs = running.runs()
    failed = sum(failures(answers).values())
    return [
        {"way": way.name, "responder": name, **first_runs(runs, name, at), "failed": failed}
        for name, at in ready_at.items()
    ]


async def _add(running: Fleet, name: str, stack: contextlib.AsyncExitStack) -> float:
    """Start a responder; gives when it said that it listens."""
    added = await running.add(name, stack, ready=False)
    return await _wait_until_ready(added)


async def _wait_until_ready(added: ResponderProcess) -> float:
    deadline = time.time() + _READY_WITHIN_S
    while not any("ready" in line for line in added.log):
        if time.time() > deadline or added.process.returncode is not None:
            raise RuntimeError(f"{added.name} did not get ready: {added.log}")
        await asyncio.sleep(_LOOK_EVERY_S)
    return time.time()


def first_runs(runs: Sequence[Run], responder: str, ready_at: float) -> Row:
    """Give when a responder ran its first request and when as many as it has slots, from when it was ready."""
    started = sorted(run.started_at for run in runs if run.responder == responder)
    after = [1000 * (at - ready_at) for at in started]
    return {
        "first run after ms": after[0] if after else None,
        "all slots after ms": after[SLOTS - 1] if len(after) >= SLOTS else None,
        "ran": len(after),
    }
