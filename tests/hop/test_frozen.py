"""A nats-server that stands still: both sides leave it within seconds, also over TLS, also with bytes unsent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from signal import SIGSTOP

import pytest

from requester import NotConnectedError, Requester, RequesterSettings
from requester.hop import Hop
from responder.callers import Incoming
from responder.link import Link
from responder.stub_api import StubAPI
from tests.hop.conftest import SUBJECT, Fleet
from tests.support.certificates import Certificates
from tests.support.conditions import wait_until
from tests.support.fake_cli import fake_cli
from tests.support.nats_server import DEFAULT_CONFIG, NatsServer, running

# More than the sockets between here and a server hold, and than nats-py lets wait.
LARGE = b"x" * 4_000_000
SECONDS = 12
THREE_SECONDS = "cat >/dev/null; sleep 3; answer ok"


@dataclass
class Pair:
    """Two servers that do not know each other; only the first is there at the start.

    Attributes:
        first: Its clients have nowhere else to go until the second is there.
        second: Comes up when the first is frozen.
        certificates: What they are known by; None without TLS.
    """

    first: NatsServer
    second: NatsServer
    certificates: Certificates | None

    @property
    def urls(self) -> str:
        """The list that clients are given."""
        return f"{self.first.url},{self.second.url}"

    @property
    def ca(self) -> Path | None:
        """Whom the clients trust."""
        return self.certificates.ca if self.certificates else None

    async def freeze_the_first(self) -> None:
        """Have the second one there, and the first one stand still."""
        await self.second.start()
        self.first.signal(SIGSTOP)


@pytest.fixture(params=["plain", "tls"])
async def pair(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    certificates = Certificates.make(tmp_path / "certificates") if request.param == "tls" else None
    config = "\n".join([DEFAULT_CONFIG, certificates.server_config() if certificates else ""])
    async with AsyncExitStack() as stack:
        servers = []
        for name in ("first", "second"):
            folder = tmp_path / name
            folder.mkdir()
            servers.append(await stack.enter_async_context(running(NatsServer(folder, config))))
        await servers[1].kill()
        yield Pair(servers[0], servers[1], certificates)


async def test_a_frozen_server_is_left(pair: Pair, api: StubAPI, tmp_path: Path) -> None:
    """When their server stands still, both sides are on the other one before the run ends, and its answer comes."""
    settings = RequesterSettings(nats_url=pair.urls, nats_ca=pair.ca)
    async with Requester(settings) as requester, AsyncExitStack() as stack:
        trusted = {"CLAUDE_RESPONDER_NATS_CA": str(pair.ca)} if pair.ca else {}
        cli = str(fake_cli(tmp_path, THREE_SECONDS))
        responder = await Fleet(pair.urls, api, tmp_path, stack).start("r1", cli=cli, **trusted)
        asking = asyncio.create_task(requester.execute("hi", timeout=20))
        await wait_until(lambda: "sleep" in responder.commands(), "the CLI runs")
        await pair.freeze_the_first()
        async with asyncio.timeout(SECONDS):
            await responder.wait_until_said("connected again")
            assert (await asking).text == "ok"
        assert pair.second.is_at(requester._hop.server)


async def test_what_a_frozen_server_does_not_take_holds_up_no_responder(pair: Pair) -> None:
    """A responder whose replies are stuck in a frozen server serves again from the other one."""
    link = await Link.connect(pair.urls.split(","), "r1", "_INBOX", RequesterSettings(nats_ca=pair.ca).tls_context())

    async def answer(incoming: Incoming) -> None:
        await link.publish(incoming.reply_subject, b"the reply", {})

    await link.subscribe(SUBJECT, answer, "claude-cli")
    await link.barrier()
    await pair.freeze_the_first()
    stuck = [asyncio.create_task(link.publish("_INBOX.a", LARGE, {})) for _ in range(4)]
    hop = Hop(RequesterSettings(nats_url=pair.second.url, nats_ca=pair.ca))
    async with asyncio.timeout(SECONDS):
        await asyncio.wait(stuck)
        await wait_until(lambda: pair.second.is_at(place_of(link)), "the responder is on the other one")
        await link.barrier()
        await hop.wait_connected(5)
        assert (await hop.request(SUBJECT, b"{}", {}, 5)).data == b"the reply"
    await hop.close()
    await link.close()


async def test_what_a_frozen_server_does_not_take_holds_up_no_requester(pair: Pair) -> None:
    """A requester whose requests are stuck in a frozen server is on the other one though it asks for nothing more."""
    hop = Hop(RequesterSettings(nats_url=pair.urls, nats_ca=pair.ca))
    await hop.wait_connected(5)
    link = hop._link
    assert link
    await pair.freeze_the_first()
    stuck = [asyncio.create_task(hop.request(SUBJECT, LARGE, {}, 60)) for _ in range(4)]
    async with asyncio.timeout(SECONDS):
        await wait_until(lambda: not link.is_up, "the server is in doubt")
        assert hop.state == "connected"
        await wait_until(lambda: pair.second.is_at(hop.server), "the requester is on the other one")
        assert hop.in_flight == len(stuck)
        await hop.close()
    outcomes = await asyncio.gather(*stuck, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {NotConnectedError}


def place_of(link: Link) -> tuple[str | None, int | None] | None:
    url = link._client.connected_url
    return url and (url.hostname, url.port)
