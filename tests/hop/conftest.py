"""What the tests of the hop stand on: NATS, a stub API, an environment from nothing, responders, a raw caller."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from contract import ExecuteFailure, ExecuteReply, ExecuteSuccess, parse_reply
from requester import Requester, RequesterSettings
from responder.stub_api import StubAPI
from tests.support.nats_server import NatsServer, nats_server, with_jetstream
from tests.support.responder_process import ResponderProcess, responder_process

SUBJECT = "claude.cli.execute"


def cli_path() -> Path:
    """Give the pinned CLI that `make test` has installed."""
    path = Path(os.environ.get("CLAUDE_CLI", ""))
    if not path.is_file():
        pytest.fail("CLAUDE_CLI names no file: run the tests with make test, which installs the pinned CLI")
    return path


@dataclass
class Fleet:
    """Responders on one NATS server, with the real CLI unless another is named.

    Attributes:
        nats_url: The server.
        api: What the CLI takes for the Messages API.
        home: The CLI's home directory.
        responders: Those started.
    """

    nats_url: str
    api: StubAPI
    home: Path
    stack: AsyncExitStack
    responders: list[ResponderProcess] = field(default_factory=list)

    def environment(self, **more: str) -> dict[str, str]:
        """Give a responder's environment: nothing of this machine's own."""
        return {
            "HOME": str(self.home),
            "NATS_URL": self.nats_url,
            **self.api.environment,
            "CLAUDE_RESPONDER_CLI": more.pop("cli", None) or str(cli_path()),
            "CLAUDE_RESPONDER_CLI_MAX_RETRIES": "0",
            # Tests may run as root, where the CLI wants to be told that it is in a sandbox.
            "CLAUDE_RESPONDER_CLI_ENV": "IS_SANDBOX",
            "IS_SANDBOX": "1",
            **more,
        }

    async def start(self, name: str = "r1", *options: str, **more: str) -> ResponderProcess:
        """Start one more responder and wait until it listens.

        Args:
            name: Its id.
            options: More of its command line.
            more: More of its environment; `cli` names another executable than the real CLI, and `module` another
                program than `claude-responder`.
        """
        module = more.pop("module", "responder")
        process = responder_process(name, self.environment(**more), *options, module=module)
        responder = await self.stack.enter_async_context(process)
        self.responders.append(responder)
        return responder


async def wait_until_standing_by(caller: "RawCaller", responder: str, count: int = 1) -> None:
    """Wait until so many CLIs of a responder stand ready."""

    async def ready() -> int:
        reply = await caller.client.request(f"claude.cli.health.{responder}", b"", timeout=5)
        return int(json.loads(reply.data)["standby"])

    async with asyncio.timeout(30):
        while await ready() < count:  # noqa: ASYNC110 # it answers, and tells nothing by itself
            await asyncio.sleep(0.05)


@pytest.fixture
async def nats_url(tmp_path: Path) -> AsyncIterator[str]:
    folder = tmp_path / "nats"
    folder.mkdir()
    async with nats_server(folder) as url:
        yield url


@pytest.fixture
async def api() -> AsyncIterator[StubAPI]:
    async with StubAPI() as stub:
        yield stub


@pytest.fixture
async def fleet(nats_url: str, api: StubAPI, tmp_path: Path) -> AsyncIterator[Fleet]:
    home = tmp_path / "home"
    home.mkdir()
    async with AsyncExitStack() as stack:
        yield Fleet(nats_url, api, home, stack)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """Give a server with JetStream."""
    folder = tmp_path / "nats"
    folder.mkdir()
    nats = NatsServer(folder, with_jetstream(folder))
    await nats.start()
    yield nats
    await nats.stop()


@pytest.fixture
async def shared(server: NatsServer, api: StubAPI, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Responders that share their records."""
    home = tmp_path / "home"
    home.mkdir()
    async with AsyncExitStack() as stack:
        yield Fleet(server.url, api, home, stack)


@pytest.fixture
async def requester(server: NatsServer) -> AsyncIterator[Requester]:
    async with Requester(RequesterSettings(nats_url=server.url, timeout_s=30)) as asker:
        yield asker


@dataclass
class RawCaller:
    """A caller that knows NATS and JSON and nothing of ours.

    Attributes:
        client: Its connection.
    """

    client: Client

    async def ask(self, wait_s: float = 60, headers: dict[str, str] | None = None, **request: Any) -> ExecuteReply:
        """Send one request, wait for its reply, and check that headers and body agree."""
        message = await self.client.request(SUBJECT, json.dumps(request).encode(), timeout=wait_s, headers=headers)
        reply = parse_reply(message.data)
        assert ("Nats-Service-Error-Code" in (message.headers or {})) is not reply.success
        return reply

    async def succeed(self, **request: Any) -> ExecuteSuccess:
        """Ask, and insist on a result."""
        reply = await self.ask(**request)
        assert isinstance(reply, ExecuteSuccess), reply
        return reply

    async def fail(self, **request: Any) -> ExecuteFailure:
        """Ask, and insist on a failure."""
        reply = await self.ask(**request)
        assert isinstance(reply, ExecuteFailure), reply.id
        return reply


@pytest.fixture
async def caller(nats_url: str) -> AsyncIterator[RawCaller]:
    client = await nats.connect(nats_url)
    yield RawCaller(client)
    await client.close()
