"""Everything that a run needs, started: the brokers, and each way's server and caller."""

import asyncio
import contextlib
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bench.noop import write_noop
from bench.peers.installed import Installed
from bench.peers.processes import Caller, NotMeasuredError, calling, serving, tree
from bench.peers.spent import between, look
from bench.peers.tally import Tally
from bench.peers.ways import Broker, Program, Runtime, Way
from responder.stub_api import Script, StubAPI
from tests.support.nats_server import NatsServer, running

_ROOT = Path(__file__).parents[2]
# What a server does after its answers (closing, tidying up) counts for it, and disturbs nobody after it.
_SETTLE_S = 0.3


@dataclass(frozen=True)
class Actor:
    """A way that is ready to be measured.

    Attributes:
        way: Which.
        caller: Who asks.
        server_pid: Who answers: the caller itself where there is no other.
        broker_pid: What is between them; None for nothing.
    """

    way: Way
    caller: Caller
    server_pid: int
    broker_pid: int | None

    async def make_calls(self, calls: int, in_flight: int) -> Tally:
        """Make so many calls, so many at a time."""
        broker = {self.broker_pid} if self.broker_pid is not None else set[int]()
        server_before, broker_before = look(tree(self.server_pid)), look(broker)
        answer = await self.caller.make_calls(calls, in_flight)
        await asyncio.sleep(_SETTLE_S)
        server = between(server_before, look(tree(self.server_pid)))
        return Tally.of(answer, server, between(broker_before, look(broker)))


@dataclass
class Stage:
    """What has been started.

    Attributes:
        folder: For files of the run.
        installed: Where other products' packages are.
        cli: The real CLI, which is started then, against a stub of its API; None for the command that does nothing.
        actors: The ways that can be measured.
        not_measured: Why the others cannot, by name.
    """

    folder: Path
    installed: Installed
    cli: Path | None = None
    actors: list[Actor] = field(default_factory=list)
    not_measured: dict[str, str] = field(default_factory=dict)
    _env: dict[str, str] = field(default_factory=dict)
    _broker_pids: dict[Broker, int] = field(default_factory=dict)

    async def start(self, ways: Iterable[Way], stack: contextlib.AsyncExitStack) -> None:
        """Start the brokers, and each way of which everything is installed."""
        self._env = self._environment()
        if self.cli is not None:
            api = await stack.enter_async_context(StubAPI(Script()))
            self._env |= api.environment
        await self._start_nats(stack)
        if self.installed.redis_server is not None:
            await self._start_redis(self.installed.redis_server, stack)
        for way in ways:
            if missing := self.installed.missing(way.needs):
                self.not_measured[way.name] = f"without {', '.join(missing)}"
                continue
            if way.needs_cli and self.cli is None:
                self.not_measured[way.name] = "without the real CLI"
                continue
            try:
                self.actors.append(await self._start_way(way, stack))
            except NotMeasuredError as error:
                self.not_measured[way.name] = str(error)

    async def _start_way(self, way: Way, stack: contextlib.AsyncExitStack) -> Actor:
        server_pid = None
        if way.server is not None:
            log = self.folder / f"{way.name}-server.log"
            server_pid = await stack.enter_async_context(serving(self._argv(way.server), self._env, log, "ready"))
        log = self.folder / f"{way.name}-caller.log"
        caller = await stack.enter_async_context(calling(self._argv(way.caller), self._env, log))
        broker_pid = self._broker_pids[way.broker] if way.broker else None
        return Actor(way, caller, caller.pid if server_pid is None else server_pid, broker_pid)

    async def _start_nats(self, stack: contextlib.AsyncExitStack) -> None:
        (self.folder / "nats").mkdir()
        server = await stack.enter_async_context(running(NatsServer(self.folder / "nats")))
        self._broker_pids[Broker.NATS] = server.pid
        self._env["NATS_URL"] = server.url

    async def _start_redis(self, program: str, stack: contextlib.AsyncExitStack) -> None:
        port = str(_free_port())
        argv = (program, "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no")
        env = self._env | {"LD_LIBRARY_PATH": self.installed.redis_libraries}
        log = self.folder / "redis.log"
        self._broker_pids[Broker.REDIS] = await stack.enter_async_context(serving(argv, env, log, "ready to accept"))
        self._env["REDIS_URL"] = f"redis://127.0.0.1:{port}/0"

    def _environment(self) -> dict[str, str]:
        command = str(self.cli or write_noop(self.folder))
        return {
            "PATH": os.defpath,
            "HOME": str(self.folder),
            "PYTHONPATH": str(_ROOT),
            "COMMAND": command,
            "CLAUDE_RESPONDER_CLI": command,
            "CLAUDE_RESPONDER_BACKLOG_MAX": "1000",
            # The command that does nothing knows no stream; the real CLI is measured as it is used.
            **({} if self.cli else {"CLAUDE_RESPONDER_STANDBY_MAX": "0"}),
            "NODE_PACKAGES": str(self.installed.node_packages),
            "HTTP_PORT": str(_free_port()),
        }

    def _argv(self, program: Program) -> tuple[str, ...]:
        if program.runtime is Runtime.NODE:
            script, *arguments = program.arguments
            return (shutil.which("node") or "node", str(Path(__file__).with_name(script)), *arguments)
        python = sys.executable if program.runtime is Runtime.OURS else str(self.installed.python)
        return (python, *program.arguments)


@contextlib.asynccontextmanager
async def staged(
    ways: Iterable[Way], folder: Path, installed: Installed, cli: Path | None = None
) -> AsyncIterator[Stage]:
    """Have everything running as long as the context lasts."""
    stage = Stage(folder, installed, cli)
    async with contextlib.AsyncExitStack() as stack:
        await stage.start(ways, stack)
        yield stage


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
