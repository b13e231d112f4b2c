"""What the hop costs: the same no-op command started in the caller, and asked for over NATS.

All ways take turns in one run, so that the ratios hold on a busy machine; the milliseconds are this machine's own.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
from nats.aio.msg import Msg
from rich.console import Console
from rich.table import Table

from bench.bare import BareRequester
from bench.load import Call, Latencies, measure
from bench.noop import write_noop
from contract import ExecuteRequest
from requester import Requester, RequesterSettings
from responder.child import Child
from tests.support.nats_server import nats_server
from tests.support.responder_process import responder_process

ROUNDS = 5
CALLS_PER_ROUND = {1: 60, 5: 150, 50: 300}
_PROMPT = "hi"
_PLAIN = ExecuteRequest(prompt=_PROMPT).to_bytes()


async def main() -> None:
    """Measure, and print a table for each number of requests in flight."""
    console = Console(width=110)
    with tempfile.TemporaryDirectory(prefix="claude-nats-bench-") as folder:
        async with _ways(Path(folder)) as ways:
            for in_flight, calls in CALLS_PER_ROUND.items():
                taken = await _take_turns(ways, calls, in_flight)
                console.print(_table(taken, in_flight))


async def _take_turns(ways: dict[str, Call], calls: int, in_flight: int) -> dict[str, Latencies]:
    taken: dict[str, Latencies] = {}
    for call in ways.values():
        await measure(call, calls=in_flight, in_flight=in_flight)  # warm
    for _ in range(ROUNDS):
        for name, call in ways.items():
            latencies = await measure(call, calls=calls, in_flight=in_flight)
            taken[name] = taken[name] + latencies if name in taken else latencies
    return taken


@asynccontextmanager
async def _ways(folder: Path) -> AsyncIterator[dict[str, Call]]:
    noop = write_noop(folder)
    (folder / "nats").mkdir()
    environment = {"HOME": str(folder), "CLAUDE_RESPONDER_CLI": str(noop), "CLAUDE_RESPONDER_BACKLOG_MAX": "1000"}
    async with nats_server(folder / "nats") as url:
        raw = await nats.connect(url)

        async def echo(message: Msg) -> None:
            await raw.publish(message.reply, message.data)

        await raw.subscribe("echo", cb=echo)
        caller = await nats.connect(url)
        bare = await BareRequester.make(caller)
        environment["NATS_URL"] = url
        async with (
            responder_process("bench", environment, "--slots", "50"),
            Requester(RequesterSettings(nats_url=url)) as requester,
        ):
            yield {
                "NATS round trip, no command": lambda: caller.request("echo", b"hi", timeout=30),
                "asyncio exec in the caller": lambda: _asyncio_exec(noop),
                "responder's spawn in the caller": lambda: _spawn(noop),
                "plain request → responder": lambda: caller.request("claude.cli.execute", _PLAIN, timeout=30),
                "attended request → responder": lambda: bare.ask(_PLAIN),
                "requester → responder": lambda: requester.execute(_PROMPT),
            }
        await caller.close()
        await raw.close()


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
    bare = taken["asyncio exec in the caller"].p50_ms
    table = Table(title=f"{in_flight} in flight", title_justify="left")
    for column in ("way", "p50 ms", "p99 ms", "per s", "p50 minus exec, ms", "p50 of exec"):
        table.add_column(column, justify="left" if column == "way" else "right", no_wrap=True)
    for name, latencies in taken.items():
        p50 = latencies.p50_ms
        numbers = (p50, latencies.p99_ms, latencies.per_s, p50 - bare, p50 / bare)
        table.add_row(name, *(f"{number:.2f}" for number in numbers))
    return table
