"""What a case runs against: NATS, three responders, the load, and the ledger of what the responders have run."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaos.cli import CLI
from chaos.clock import now
from chaos.journal import Journal
from chaos.load import arguments
from chaos.plan import RESPONDERS, SLOTS, Plan
from chaos.processes import FLEET_VARIABLE, ROOT, Started, holds_within, processes_of_runs, started, wait_until
from chaos.servers import Server
from chaos.stand_in import RESPONDER_VARIABLE
from chaos.wire import Wire
from contract import new_ulid

_PATH = f"{Path(sys.executable).parent}:{os.defpath}"
_LOOK_EVERY_S = 0.05
_DEFECT = re.compile(r"Traceback|defect|never retrieved|never awaited|Unclosed")


@dataclass
class Fleet:
    """Everything that runs.

    Attributes:
        plan: What the load asks.
        folder: Where the files of all of them are.
        servers: NATS.
        cli: What the responders run.
        wires: Those of the responders, for those that can be cut off.
        mark: Tells its processes from those of other fleets.
        responders: All that were started, by name.
        killed: Those that were killed.
    """

    plan: Plan
    folder: Path
    servers: Sequence[Server]
    cli: CLI
    wires: Mapping[str, Wire]
    stack: contextlib.AsyncExitStack
    mark: str = field(default_factory=new_ulid)
    responders: dict[str, Started] = field(default_factory=dict)
    killed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.journal = Journal(self.folder / "journal")
        self._load: Started | None = None

    @property
    def load(self) -> Started:
        """The process of the requester."""
        assert self._load is not None  # noqa: S101 - it is started before any case
        return self._load

    async def start(self) -> None:
        """Start the load, which waits for its beginning, and the responders."""
        environment = self._environment(self._first_url)
        argv = arguments(self.plan, self.folder / "journal")
        self._load = await self.stack.enter_async_context(started("load", argv, environment, self.folder))
        await asyncio.gather(*(self.start_responder(name) for name in RESPONDERS))

    async def start_responder(self, name: str) -> None:
        """Start one more responder, and wait until it listens."""
        wire = self.wires.get(name)
        argv = [*(wire.prefix if wire else ()), sys.executable, "-m", "responder", "serve"]
        url = wire.url(self.servers[0].port) if wire else self._all_urls
        if name == RESPONDERS[0] and wire is None:
            url = self._first_url
        environment = {
            **self._environment(url),
            **self.cli.environment(name),
            FLEET_VARIABLE: self.mark,
            RESPONDER_VARIABLE: name,
            "CLAUDE_RESPONDER_NAME": name,
            "CLAUDE_RESPONDER_SLOTS": str(SLOTS),
            "CLAUDE_RESPONDER_SCRATCH": str(self.folder),
            # The CLI of these cases is a script that knows no stream.
            "CLAUDE_RESPONDER_STANDBY_MAX": "0",
        }
        self.responders[name] = await self.stack.enter_async_context(started(name, argv, environment, self.folder))
        await self.responders[name].wait_until_said("ready: responder")

    def kill(self, responder: str) -> None:
        """Kill a responder with SIGKILL."""
        self.responders[responder].signal(signal.SIGKILL)
        self.killed.add(responder)

    def exits(self) -> dict[str, int | None]:
        """Give with what the responders have ended that were not killed."""
        return {name: each.exit_status for name, each in self.responders.items() if name not in self.killed}

    def defects(self) -> list[str]:
        """Give the lines that tell of a defect, from all that the responders and the requester have said."""
        lines = (line for each in (self.load, *self.responders.values()) for line in each.said().splitlines())
        return [line for line in lines if _DEFECT.search(line)]

    def begin(self) -> None:
        """Let the load begin."""
        self.load.tell("begin")

    def no_more(self) -> None:
        """Let the load send no more than the plan asks."""
        self.load.tell_no_more()

    async def wait_until_sent(self, count: int) -> None:
        """Wait until so many requests are sent."""
        seconds = 10 + 2 * self.plan.duration_s
        await wait_until(lambda: self.journal.count_sent() >= count, f"{count} requests are sent", seconds)

    def processes(self, responder: str | None = None) -> set[int]:
        """Give the processes of runs that are there now, all or those of one responder."""
        return processes_of_runs(self.mark, responder)

    async def watch_processes(self, seconds: float, responder: str | None = None) -> tuple[int, float]:
        """Watch the processes of runs for some seconds.

        Returns:
            How many there are afterwards, and after how many seconds the last one was seen.
        """
        began = last_seen = now()

        def is_over() -> bool:
            nonlocal last_seen
            if self.processes(responder):
                last_seen = now()
            return False

        await holds_within(is_over, seconds, _LOOK_EVERY_S)
        return len(self.processes(responder)), last_seen - began

    def _environment(self, url: str) -> dict[str, str]:
        return {"PATH": _PATH, "PYTHONPATH": str(ROOT), "HOME": str(self.folder), "NATS_URL": url}

    # The load and the first responder are told one server of a cluster and learn of the others from it, so that both
    # are at the same node, and the other responders mostly at others.
    @property
    def _first_url(self) -> str:
        return self.servers[0].url

    @property
    def _all_urls(self) -> str:
        return ",".join(server.url for server in self.servers)


@contextlib.asynccontextmanager
async def fleet(
    plan: Plan, folder: Path, servers: Sequence[Server], cli: CLI, wires: Mapping[str, Wire]
) -> AsyncIterator[Fleet]:
    """Run a fleet as long as the context lasts; the load has not begun."""
    async with contextlib.AsyncExitStack() as stack:
        made = Fleet(plan, folder, servers, cli, wires, stack)
        await made.start()
        yield made
