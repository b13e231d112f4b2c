"""`python -m bench.soak`: what stays behind of many requests, in the responder and in the requester.

One responder with CLIs that stand ready, the real CLI and a stub of its API; with `--noop` a command that does nothing,
for many more requests, among which a few bytes of each show. Every hundred requests, when all of them are answered,
both sides are looked at. NATS and the stub are processes of their own, so that what the requester holds is its own.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.footprint import Footprint, Growth, Quantity, Sample
from bench.load import measure
from bench.noop import write_noop
from bench.peers.processes import serving
from requester import Requester, RequesterSettings
from tests.support.nats_server import nats_server
from tests.support.responder_process import ResponderProcess, responder_process

CALLS, NOOP_CALLS = 2000, 20_000
_ROOT = Path(__file__).parents[1]
_MIB = 1024 * 1024
_EVERY = 100
# What is loaded at the first use, and buffers that find their size, are no growth: at most a third of the run.
_WARM_CALLS = 500
# Attempts that are over are remembered so long by the responder, and by the requester's circuit breaker: memory follows
# the rate of the last minute, which is therefore kept.
_REMEMBERED_S = 60.0
_NOOP_PER_S = 200
_ROWS_MAX = 25
_STEPS = tuple(factor * 10**power for power in range(6) for factor in (1, 2, 5))
_MEMORY_TOLERATED_MIB = 0.05
_COUNT_TOLERATED = 0.2
# Threads are added to pools one by one, whenever all of those that are there have something to do.
_THREADS_TOLERATED = 1.0
QUANTITIES = (
    Quantity("responder MiB", lambda sample: sample.responder.memory_bytes / _MIB, _MEMORY_TOLERATED_MIB),
    Quantity("its files", lambda sample: sample.responder.descriptors, _COUNT_TOLERATED),
    Quantity("threads", lambda sample: sample.responder.threads, _THREADS_TOLERATED),
    Quantity("processes", lambda sample: sample.responder.descendants, _COUNT_TOLERATED),
    Quantity("requester MiB", lambda sample: sample.requester.memory_bytes / _MIB, _MEMORY_TOLERATED_MIB),
    Quantity("its files", lambda sample: sample.requester.descriptors, _COUNT_TOLERATED),
)


def main() -> None:
    """Make the requests and print what has grown."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--calls", type=int, metavar="N", help=f"default {CALLS}, with --noop {NOOP_CALLS}")
    parser.add_argument("--in-flight", type=int, default=4, metavar="N", help="how many at a time, and slots")
    parser.add_argument("--noop", action="store_true", help="a command that does nothing, and no standby")
    given = parser.parse_args()
    calls = given.calls or (NOOP_CALLS if given.noop else CALLS)
    samples = asyncio.run(run(calls, given.in_flight, is_noop=given.noop))
    command = "a command that does nothing" if given.noop else "the real CLI, standby"
    Console(width=120).print(table(samples, f"{calls} requests, {given.in_flight} in flight: {command}"))


async def run(calls: int, in_flight: int, *, is_noop: bool) -> list[Sample]:
    """Make the requests, and look at both sides now and then.

    Args:
        calls: How many requests.
        in_flight: How many at a time.
        is_noop: Whether they run a command that does nothing, instead of the real CLI.
    """
    async with _sides(in_flight, is_noop=is_noop) as (responder, requester):
        # A responder and a requester that have done nothing yet are no beginning to compare with.
        await measure(lambda: requester.execute("hi"), calls=in_flight, in_flight=in_flight)
        began = time.monotonic()
        samples = [_sample(0, 0.0, responder)]
        every = max(1, min(_EVERY, calls // 10))
        for done in range(every, calls + 1, every):
            if is_noop:
                await asyncio.sleep(began + (done - every) / _NOOP_PER_S - time.monotonic())
            await measure(lambda: requester.execute("hi"), calls=every, in_flight=in_flight)
            samples.append(_sample(done, time.monotonic() - began, responder))
        return samples


def _sample(requests: int, seconds: float, responder: ResponderProcess) -> Sample:
    responder.log.clear()  # a line for each request, which would be found in the requester's memory
    return Sample(requests, seconds, Footprint.of(responder.pid), Footprint.of(os.getpid()))


@asynccontextmanager
async def _sides(slots: int, *, is_noop: bool) -> AsyncIterator[tuple[ResponderProcess, Requester]]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="claude-nats-bench-")))
        (folder / "nats").mkdir()
        url = await stack.enter_async_context(nats_server(folder / "nats"))
        environment = {"HOME": str(folder), "NATS_URL": url, "CLAUDE_RESPONDER_SLOTS": str(slots)}
        if is_noop:
            environment |= {"CLAUDE_RESPONDER_CLI": str(write_noop(folder)), "CLAUDE_RESPONDER_STANDBY_MAX": "0"}
        else:
            environment |= await _real_cli(folder, stack)
            environment |= {"CLAUDE_RESPONDER_STANDBY_MAX": str(3 * slots)}
        responder = await stack.enter_async_context(responder_process("soak", environment))
        settings = RequesterSettings(nats_url=url, timeout_s=120)
        yield responder, await stack.enter_async_context(Requester(settings))


async def _real_cli(folder: Path, stack: AsyncExitStack) -> dict[str, str]:
    """Start a stub of its API, and give the responder's environment for both."""
    log = folder / "stub.log"
    argv = (sys.executable, "-m", "responder.stub_api")
    await stack.enter_async_context(serving(argv, {"PYTHONPATH": str(_ROOT)}, log, "for the cli:"))
    variables = log.read_text().partition("for the CLI:")[2].split()
    return {"CLAUDE_RESPONDER_CLI": os.environ["CLAUDE_CLI"], **dict(word.split("=", 1) for word in variables)}


def table(samples: Sequence[Sample], title: str) -> Table:
    """Give what both sides held after so many requests, and by how much it grows in 1,000.

    The verdict is on what comes after a minute, where there is enough of it.

    Args:
        samples: In their order.
        title: What was done.
    """
    shown = Table(title=f"{title}; below, the growth in 1,000", title_justify="left")
    for column in ("requests", *(quantity.name for quantity in QUANTITIES)):
        shown.add_column(column, justify="right", no_wrap=True)
    step = next(step for step in _STEPS if len(samples) <= step * _ROWS_MAX)
    for sample in samples[::step]:
        numbers = (quantity.of(sample) for quantity in QUANTITIES)
        shown.add_row(str(sample.requests), *(_shown(number) for number in numbers))
    shown.add_section()
    warm = min(_WARM_CALLS, samples[-1].requests // 3)
    early = _growths([sample for sample in samples if sample.requests >= warm])
    late = _growths([sample for sample in samples if sample.seconds >= _REMEMBERED_S])
    shown.add_row(f"from {warm} on", *map(_shown_growth, early))
    shown.add_row("after a minute", *map(_shown_growth, late))
    counted = zip(late, early, QUANTITIES, strict=True)
    shown.add_row("verdict", *(_verdict(last or first, quantity) for last, first, quantity in counted))
    return shown


def _growths(samples: Sequence[Sample]) -> list[Growth | None]:
    return [Growth.along([(each.requests, quantity.of(each)) for each in samples]) for quantity in QUANTITIES]


def _verdict(growth: Growth | None, quantity: Quantity) -> str:
    return "-" if growth is None else growth.verdict(quantity.tolerated)


def _shown_growth(growth: Growth | None) -> str:
    return "-" if growth is None else f"{growth.per_1000:+.3f} ± {growth.error:.3f}"


def _shown(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:.2f}"


if __name__ == "__main__":
    main()
