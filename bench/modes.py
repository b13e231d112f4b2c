"""`python -m bench.modes`: a CLI that starts for its request, one that stands ready, and one that has served before.

With the real CLI and the stub of the Messages API on loopback. The responders run side by side and take turns, so that
the ratios hold on any machine; overhead is what a request takes beyond the stub's own time.
"""

import argparse
import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.routing.sojourns import Sojourns
from requester import Requester, RequesterSettings
from responder.processes import resident_bytes
from responder.stub_api import StubAPI
from tests.support.nats_server import nats_server
from tests.support.responder_process import ResponderProcess, responder_process

_SLOTS = 4
_BURST = 20
# Long enough that a process that was used has been replaced, and that the other way finds a quiet machine.
_PAUSE_S = 1.5
_REUSE_MAX = 50
_WAYS = {
    "cold": {"STANDBY_MAX": "0"},
    "standby": {"STANDBY_MAX": str(3 * _SLOTS)},
    "reused": {"STANDBY_MAX": str(3 * _SLOTS), "REUSE_MAX": str(_REUSE_MAX)},
}


@dataclass
class Way:
    """One responder, and what was measured of it.

    Attributes:
        requester: Asks it.
        responder: Is asked.
        is_reused: Whether it may use a CLI again.
        overheads_s: What each request took beyond the stub's own time, in seconds.
        bursts_s: What each burst took, in seconds.
    """

    requester: Requester
    responder: ResponderProcess
    is_reused: bool
    overheads_s: list[float] = field(default_factory=list)
    bursts_s: list[float] = field(default_factory=list)

    async def ask(self, prompt: str) -> None:
        """Ask it."""
        await self.requester.execute(prompt, reuse=self.is_reused)

    def memory_mib(self) -> float:
        """Give the resident memory of what it has running, itself left out."""
        return sum(map(resident_bytes, self.responder.descendants())) / 1024 / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.modes", description=__doc__)
    parser.add_argument("--requests", type=int, default=40, metavar="N", help="one at a time, of each way (default 40)")
    parser.add_argument("--bursts", type=int, default=3, metavar="N", help=f"of {_BURST} at once (default 3)")
    given = parser.parse_args()
    asyncio.run(_measure(given.requests, given.bursts))


async def _measure(requests: int, bursts: int) -> None:
    async with contextlib.AsyncExitStack() as stack:
        api = await stack.enter_async_context(StubAPI())
        ways = await _start(stack, api)
        for way in ways.values():
            await way.ask("hello")
        for _ in range(requests):
            for way in ways.values():
                await asyncio.sleep(_PAUSE_S)
                before = api.statistics().answer_total_s
                began = time.perf_counter()
                await way.ask("hello")
                took_s = time.perf_counter() - began
                way.overheads_s.append(took_s - (api.statistics().answer_total_s - before))
        for _ in range(bursts):
            for way in ways.values():
                await asyncio.sleep(2 * _SLOTS)
                began = time.perf_counter()
                await asyncio.gather(*(way.ask(f"hello {number}") for number in range(_BURST)))
                way.bursts_s.append(time.perf_counter() - began)
        await asyncio.sleep(2 * _SLOTS)
        Console(width=120).print(_table(ways, requests))


async def _start(stack: contextlib.AsyncExitStack, api: StubAPI) -> dict[str, Way]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="claude-nats-bench-")))
    url = await stack.enter_async_context(nats_server(folder))
    return {name: await _way(stack, api, folder, url, name) for name in _WAYS}


async def _way(stack: contextlib.AsyncExitStack, api: StubAPI, folder: Path, url: str, name: str) -> Way:
    home = folder / name
    home.mkdir()
    environment = {
        "HOME": str(home),
        "NATS_URL": url,
        **api.environment,
        "CLAUDE_RESPONDER_CLI": os.environ["CLAUDE_CLI"],
        "CLAUDE_RESPONDER_SUBJECT_PREFIX": f"bench.{name}",
        "CLAUDE_RESPONDER_SLOTS": str(_SLOTS),
        **{f"CLAUDE_RESPONDER_{setting}": value for setting, value in _WAYS[name].items()},
    }
    responder = await stack.enter_async_context(responder_process(name, environment))
    settings = RequesterSettings(nats_url=url, subject_prefix=f"bench.{name}", timeout_s=120)
    return Way(await stack.enter_async_context(Requester(settings)), responder, is_reused="REUSE_MAX" in _WAYS[name])


def _table(ways: dict[str, Way], requests: int) -> Table:
    table = Table(title=f"Overhead of a request over the API's own time, {requests} requests one at a time")
    burst_of = f"{_BURST} on {_SLOTS} slots"
    for column in ("way", "p50 ms", "of cold", "p99 ms", "of cold's p50", burst_of, "of cold", "idle MiB"):
        table.add_column(column, justify="left" if column == "way" else "right")
    cold = ways["cold"]
    cold_p50, cold_burst = Sojourns(cold.overheads_s).percentile(50), _median(cold.bursts_s)
    for name, way in ways.items():
        times, burst = Sojourns(way.overheads_s), _median(way.bursts_s)
        table.add_row(
            name,
            f"{1000 * times.percentile(50):.0f}",
            f"{times.percentile(50) / cold_p50:.3f}",
            f"{1000 * times.percentile(99):.0f}",
            f"{times.percentile(99) / cold_p50:.2f}",
            f"{burst:.2f} s",
            f"{burst / cold_burst:.2f}",
            f"{way.memory_mib():.0f}",
        )
    return table


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    main()
