"""What the hop costs: the same no-op command started in the caller, and asked for over NATS.

All ways take turns in one run, so that the ratios hold on a busy machine; the milliseconds are this machine's own.
Each responder is a process of its own. The yardsticks are a responder of nats-py and `asyncio` alone (`exec`) for what
runs the command, and a bare round trip to a process for what runs none.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import nats
from rich.console import Console
from rich.table import Table

from bench import echo_responder
from bench.bare import BareRequester
from bench.hop_plot import median_plot
from bench.load import Call, Latencies, measure
from bench.noop import write_noop
from contract import ExecuteRequest
from requester import Requester, RequesterSettings
from responder.child import Child
from tests.support.nats_server import nats_server
from tests.support.responder_process import responder_process

ROUNDS = 5
CALLS_PER_ROUND = {1: 60, 5: 150, 50: 300, 500: 1000}
ROUND_TRIP = "round trip, nats-py alone"
EXEC = "request → nats-py and asyncio exec"
_PROMPT = "hi"
_PLAIN = ExecuteRequest(prompt=_PROMPT).to_bytes()


async def main(arguments: Sequence[str] = ()) -> None:
    """Measure, and print a table for each number of requests in flight."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="what the hop costs")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often the ways take turns")
    parser.add_argument("--in-flight", type=int, nargs="+", choices=CALLS_PER_ROUND, default=list(CALLS_PER_ROUND))
    parser.add_argument("--way", action="append", default=[], help="a part of the name of those wanted")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the medians there, as SVG")
    options = parser.parse_args(arguments)
    console = Console(width=120)
    measured: dict[int, dict[str, Latencies]] = {}
    with tempfile.TemporaryDirectory(prefix="claude-nats-bench-") as folder:
        async with _ways(Path(folder)) as ways:
            wanted = (ROUND_TRIP, EXEC, *(options.way or [""]))
            chosen = {name: call for name, call in ways.items() if any(part in name for part in wanted)}
            for in_flight in options.in_flight:
                measured[in_flight] = await _take_turns(chosen, options.rounds, in_flight)
                console.print(_table(measured[in_flight], in_flight))
    if options.plot:
        options.plot.write_text(median_plot(measured))


async def _take_turns(ways: dict[str, Call], rounds: int, in_flight: int) -> dict[str, Latencies]:
    taken: dict[str, Latencies] = {}
    for call in ways.values():
        await measure(call, calls=in_flight, in_flight=in_flight)  # warm
    for _ in range(rounds):
        for name, call in ways.items():
            latencies = await measure(call, calls=CALLS_PER_ROUND[in_flight], in_flight=in_flight)
            taken[name] = taken[name] + latencies if name in taken else latencies
    return taken


@asynccontextmanager
async def _ways(folder: Path) -> AsyncIterator[dict[str, Call]]:
    noop = write_noop(folder)
    (folder / "nats").mkdir()
    environment = {"HOME": str(folder), "CLAUDE_RESPONDER_CLI": str(noop), "CLAUDE_RESPONDER_BACKLOG_MAX": "1000"}
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(nats_server(folder / "nats"))
        environment["NATS_URL"] = url
        await stack.enter_async_context(responder_process("bench", environment, "--slots", "50"))
        await stack.enter_async_context(_process("bench.bare_responder", url, str(noop)))
        await stack.enter_async_context(_process("bench.echo_responder", url, str(folder), str(noop)))
        caller = await nats.connect(url)
        stack.push_async_callback(caller.close)
        bare = await BareRequester.make(caller)
        bare_echo = await BareRequester.make(caller, echo_responder.SUBJECTS)
        settings = RequesterSettings(nats_url=url)
        requester = await stack.enter_async_context(Requester(settings))
        echo_settings = settings.model_copy(update={"subject_prefix": echo_responder.PREFIX})
        echo = await stack.enter_async_context(Requester(echo_settings))
        yield {
            ROUND_TRIP: lambda: caller.request("echo", _PLAIN, timeout=30),
            "echo: attended request → responder": lambda: bare_echo.ask(_PLAIN),
            "echo: requester → responder": lambda: echo.execute(_PROMPT),
            "asyncio exec in the caller": lambda: _asyncio_exec(noop),
            "responder's spawn in the caller": lambda: _spawn(noop),
            EXEC: lambda: caller.request("exec", _PLAIN, timeout=30),
            "plain request → responder": lambda: caller.request("claude.cli.execute", _PLAIN, timeout=30),
            "attended request → responder": lambda: bare.ask(_PLAIN),
            "requester → responder": lambda: requester.execute(_PROMPT),
        }


@asynccontextmanager
async def _process(module: str, *arguments: str) -> AsyncIterator[None]:
    """Run a module that says when it is ready, and ends with its stdin."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise AssertionError("they were asked for")
    try:
        if not await stdout.readline():
            raise RuntimeError(f"{module} has ended")
        yield
    finally:
        stdin.close()
        await process.wait()


async def _asyncio_exec(noop: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        str(noop), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    await process.communicate(_PROMPT.encode())


async def _spawn(noop: Path) -> None:
    child = Child.start([str(noop)], env={"PATH": os.defpath}, cwd=os.sep, stdin=_PROMPT.encode())
    await child.wait()
    child.read_stdout(sys.maxsize >> 32)
    child.close()


def _table(taken: dict[str, Latencies], in_flight: int) -> Table:
    round_trip, plain_exec = taken[ROUND_TRIP].p50_ms, taken[EXEC].p50_ms
    table = Table(title=f"{in_flight} in flight", title_justify="left")
    for column in ("way", "p50 ms", "p99 ms", "per s", "CPU ms", "p50 of round trip", "p50 of nats-py exec"):
        table.add_column(column, justify="left" if column == "way" else "right", no_wrap=True)
    for name, latencies in taken.items():
        p50 = latencies.p50_ms
        numbers = (p50, latencies.p99_ms, latencies.per_s, latencies.cpu_ms, p50 / round_trip, p50 / plain_exec)
        table.add_row(name, *(f"{number:.2f}" for number in numbers))
    return table
