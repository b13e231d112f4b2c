"""Ten times as much at once as the fleet can hold: what runs, what waits, what is refused, and how soon."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import nats
from nats.aio.client import Client

from bench.routing.asking import ask_all, failures
from bench.routing.fleet import SLOTS, Fleet, Shape, fleet, fleet_ways
from bench.routing.idleness import most_running
from bench.routing.sheet import Row, Sheet
from bench.routing.sojourns import Sojourns
from bench.routing.stand_in import prompt
from bench.routing.trace import Trace, burst
from bench.routing.usage import memory_mib
from contract import ErrorCode, ExecuteRequest, Subjects

SERVICE_S = 2.0
_BACKLOG_MAX = 5
_TIMES_TOO_MUCH = 10
_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Told:
    """A plain request's one reply.

    Attributes:
        after_s: From when all were sent.
        code: None for an answer.
        retry_after_ms: When to come again, where the reply says so.
    """

    after_s: float
    code: str | None
    retry_after_ms: float | None


async def measure(responders: int, mean_s: float, say: Callable[[str], None]) -> Sheet:
    """Ask for ten times the slots and places at once: by plain requests, which are refused, and by the requester.

    Args:
        responders: How many.
        mean_s: Of the service times, in seconds.
        say: Is told what begins.
    """
    found: dict[str, Row] = {}
    for way in fleet_ways():
        shape = Shape(responders, SLOTS, way, backlog_max=_BACKLOG_MAX)
        count = _TIMES_TOO_MUCH * responders * (SLOTS + _BACKLOG_MAX)
        say(f"flood, {way.name}: {count} requests at once")
        found[way.name] = await _flood(shape, burst(seed=1, count=count, mean_s=mean_s))
    title = (
        f"{_TIMES_TOO_MUCH} times what {responders} responders of {SLOTS} slots and {_BACKLOG_MAX} places hold, at once"
    )
    names = next(iter(found.values()))
    return Sheet(title, [{"": name} | {way: row[name] for way, row in found.items()} for name in names])


async def _flood(shape: Shape, trace: Trace) -> Row:
    async with fleet(shape) as running:
        resting = _memory(running)
        told = await _ask_plainly(running, trace)
        plain_runs = running.runs()
        began = time.time()
        answers = await ask_all(running.requester, trace)
        took_s = time.time() - began
        runs = running.runs()
        peak, after = _memory(running, peak=True), _memory(running)
    return {
        **refusals(told, shape),
        "plain: ran at a time": most_running([run.span for run in plain_runs]),
        "requester: answered": sum(answer.attempts > 0 for answer in answers),
        "requester: failed": sum(failures(answers).values()),
        "requester: ran at a time": most_running([run.span for run in runs]),
        "requester: sent, on average": sum(answer.attempts for answer in answers) / len(answers),
        "requester: all answered after s": took_s,
        "  with all slots busy it would be s": sum(trace.services) / shape.all_slots,
        "largest responder before, MiB": resting,
        "  at its peak": peak,
        "  afterwards": after,
    }


async def _ask_plainly(running: Fleet, trace: Trace) -> Sequence[Told]:
    caller = await nats.connect(running.url)
    bodies = [
        ExecuteRequest(prompt=prompt(f"p{number}", seconds), timeout_ms=int(1000 * _TIMEOUT_S)).to_bytes()
        for number, seconds in enumerate(trace.services)
    ]
    began = time.perf_counter()
    told = await asyncio.gather(*(_ask(caller, body, began) for body in bodies))
    await caller.close()
    return told


async def _ask(caller: Client, body: bytes, began: float) -> Told:
    reply = await caller.request(Subjects().execute, body, timeout=_TIMEOUT_S)
    after_s = time.perf_counter() - began
    said = json.loads(reply.data)
    return Told(after_s, said.get("code"), said.get("retry_after_ms"))


def refusals(told: Sequence[Told], shape: Shape) -> Row:
    """Give how many were taken, and how soon and with which advice the others were refused."""
    refused = [one for one in told if one.code == ErrorCode.OVERLOADED]
    times = Sojourns(one.after_s for one in refused) if refused else None
    advice = sorted(one.retry_after_ms for one in refused if one.retry_after_ms is not None)
    return {
        "slots": shape.all_slots,
        "slots and places": shape.all_slots + shape.responders * shape.backlog_max,
        "plain: asked": len(told),
        "plain: answered": sum(one.code is None for one in told),
        "plain: refused": len(refused),
        "plain: failed otherwise": len(told) - len(refused) - sum(one.code is None for one in told),
        "plain: refused after ms, p50": times and 1000 * times.percentile(50),
        "plain: refused after ms, max": times and 1000 * times.longest,
        "plain: to come again after ms": f"{advice[0]:.0f} to {advice[-1]:.0f}" if advice else None,
    }


def _memory(running: Fleet, *, peak: bool = False) -> float:
    """Give the memory of the responder that has most, in MiB."""
    return max(memory_mib(responder.pid, peak=peak) for responder in running.responders)
