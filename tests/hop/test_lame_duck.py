"""A nats-server that is about to end, and says so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from signal import SIGUSR2
from urllib.parse import urlsplit

from requester import Requester, RequesterSettings
from responder.stub_api import StubAPI
from tests.hop.conftest import Fleet
from tests.support.conditions import wait_until
from tests.support.fake_cli import fake_cli
from tests.support.nats_server import NatsServer, nats_cluster, running
from tests.support.responder_process import ResponderProcess

# Within ten seconds, its default grace, a lame duck closes no connection: who leaves until then does so by itself.
SLOW_OR_QUICK = "case $(cat) in *slow*) sleep 2;; esac; answer ok"


@asynccontextmanager
async def both_sides(url: str, api: StubAPI, folder: Path) -> AsyncIterator[tuple[ResponderProcess, Requester]]:
    async with Requester(RequesterSettings(nats_url=url)) as requester, AsyncExitStack() as stack:
        yield await Fleet(url, api, folder, stack).start("r1", cli=str(fake_cli(folder, SLOW_OR_QUICK))), requester


async def test_a_lame_duck_is_left_with_a_request_under_way(tmp_path: Path, api: StubAPI) -> None:
    """Both sides move to another node while a request runs, and its answer comes on the new connections."""
    async with nats_cluster(tmp_path, size=2) as (duck, other), both_sides(duck.url, api, tmp_path) as sides:
        responder, requester = sides
        asking = asyncio.create_task(requester.execute("slow", timeout=20))
        await wait_until(lambda: "sleep" in responder.commands(), "the CLI runs")
        duck.signal(SIGUSR2)
        await wait_until(lambda: other.is_at(requester._hop.server), "the requester is on the other node", 1)
        await responder.wait_until_said("connected again")
        assert not asking.done()
        await duck.kill()
        assert (await asking).text == "ok"
        assert (await requester.execute("hi", timeout=20)).text == "ok"


async def test_a_lame_duck_is_served_on_where_there_is_no_other(tmp_path: Path, api: StubAPI) -> None:
    """A lone server is used as long as it lasts, for what is under way and for more."""
    async with running(NatsServer(tmp_path)) as duck, both_sides(duck.url, api, tmp_path) as sides:
        responder, requester = sides
        asking = asyncio.create_task(requester.execute("slow", timeout=20))
        await wait_until(lambda: "sleep" in responder.commands(), "the CLI runs")
        duck.signal(SIGUSR2)
        while await takes_connections(duck):
            pass
        replies = await asyncio.gather(asking, requester.execute("hi", timeout=20))
        assert [reply.text for reply in replies] == ["ok", "ok"]
        assert duck.is_at(requester._hop.server)
        assert not any("disconnected" in line for line in responder.log)


async def takes_connections(server: NatsServer) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(server.url).port)
    except ConnectionError:
        return False
    writer.close()
    return True
