"""How throughput grows with responders, and how long a fleet takes to work off what waits."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence

from bench.routing.asking import Answer, ask, ask_all, failures
from bench.routing.fleet import SLOTS, Fleet, Shape, fleet, fleet_ways
from bench.routing.sheet import Row, Sheet
from bench.routing.simulation import central_queue
from bench.routing.stand_in import Run
from bench.routing.trace import Trace, burst

# Long enough that two cores have time for 80 slots: what is measured is routing, not the start of processes.
SERVICE_S = 2.0
_WARM_S = 3.0


async def measure_scaling(sizes: Sequence[int], window_s: float, say: Callable[[str], None]) -> Sheet:
    """Give each slot one caller that asks again and again, and see how busy the slots are.

    Throughput is counted in seconds of service done, which does not depend on which service times were drawn.

    Args:
        sizes: How many responders.
        window_s: How long it is looked at, in seconds.
        say: Is told what begins.
    """
    rows: list[Row] = []
    for way in fleet_ways():
        alone = 0.0
        for size in sizes:
            say(f"scaling, {way.name}: {size} responders")
            done_s, per_s, failed = await _throughput(Shape(size, SLOTS, way), window_s)
            alone = alone or done_s / size
            rows.append({
                "way": way.name, "responders": size, "slots": size * SLOTS, "requests/s": per_s,
                "slots busy %": 100 * done_s / (size * SLOTS), "/ so many times one": done_s / size / alone,
                "failed": failed,
            })  # fmt: skip
    return Sheet(f"Throughput with one caller for each slot, {SERVICE_S:g} s of service on average", rows)


async def _throughput(shape: Shape, window_s: float) -> tuple[float, float, int]:
    """Give the seconds of service done in each second, the requests answered in each, and the failed ones."""
    async with fleet(shape) as running:
        start = time.time()
        end = start + _WARM_S + window_s
        callers = (_call(running, f"c{number}", end) for number in range(shape.all_slots))
        answers = [answer for asked in await asyncio.gather(*callers) for answer in asked]
        runs = running.runs()
    ended = sum(start + _WARM_S < answer.due_at + answer.sojourn_s <= end for answer in answers)
    return service_done_s(runs, start + _WARM_S, end) / window_s, ended / window_s, sum(failures(answers).values())


async def _call(running: Fleet, name: str, until: float) -> list[Answer]:
    source = random.Random(name)
    answers: list[Answer] = []
    while time.time() < until:
        seconds = SERVICE_S * source.uniform(0.5, 1.5)
        answers.append(await ask(running.requester, f"{name}-{len(answers)}", seconds))
    return answers


def service_done_s(runs: Sequence[Run], begin: float, end: float) -> float:
    """Give the seconds that runs took, all together, as far as they lie between two moments."""
    return sum(max(0.0, min(run.span.ended_at, end) - max(run.started_at, begin)) for run in runs)


async def measure_drain(responders: int, waiting: int, mean_s: float, say: Callable[[str], None]) -> Sheet:
    """Ask for all at once what responders of one slot each work off, and how long they take.

    Args:
        responders: How many.
        waiting: How many requests wait beside those that run.
        mean_s: Of the service times, in seconds.
        say: Is told what begins.
    """
    trace = burst(seed=1, count=responders + waiting, mean_s=mean_s)
    ideal_s = max(central_queue(trace, responders))
    rows: list[Row] = []
    for way in fleet_ways():
        say(f"many, {way.name}: {responders} responders, {waiting} requests waiting")
        rows.append({"way": way.name, **await _drain(Shape(responders, 1, way), trace, ideal_s)})
    return Sheet(f"{responders} responders of one slot, {waiting} requests waiting", rows)


async def _drain(shape: Shape, trace: Trace, ideal_s: float) -> Row:
    count = len(trace.arrivals)
    async with fleet(shape) as running:
        before = await running.usage()
        answers = await ask_all(running.requester, trace)
        spent = await running.usage() - before
        runs = running.runs()
    took_s = max(answer.sojourn_s for answer in answers)
    return {
        "drained s": took_s,
        "ideal s": ideal_s,
        "/ ideal": took_s / ideal_s,
        "msgs in": spent.messages_in / count,
        "msgs out": spent.messages_out / count,
        "CPU ms": 1000 * spent.cpu_s / count,
        "sent again": sum(answer.attempts > 1 for answer in answers),
        "failed": sum(failures(answers).values()),
        "run again": len(runs) - len({run.token for run in runs}),
    }
