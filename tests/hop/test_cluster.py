"""A cluster that loses its nodes one after the other."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from requester import Requester, RequesterSettings
from responder.stub_api import StubAPI
from tests.hop.conftest import Fleet
from tests.support.fake_cli import fake_cli
from tests.support.nats_server import nats_cluster

SECONDS = 10
# Who is only learned of is given the credentials, too.
USERS = "authorization { users: [{user: boss, password: hunter2}] }"


async def test_killed_nodes_are_left_for_those_that_are_learned_of(tmp_path: Path, api: StubAPI) -> None:
    """Both sides name one node alone; when it is killed, and the next one, what is asked right after is answered."""
    async with nats_cluster(tmp_path, USERS) as nodes:
        url = nodes[0].url.replace("//", "//boss:hunter2@")
        # The requester is there longer than the responder: its word that it has a result may be lost with a node.
        async with Requester(RequesterSettings(nats_url=url)) as requester, AsyncExitStack() as stack:
            cli = fake_cli(tmp_path, "cat >/dev/null; answer ok")
            responder = await Fleet(url, api, tmp_path, stack).start("r1", cli=str(cli))
            assert (await requester.execute("hi", timeout=20)).text == "ok"
            for node in nodes[:2]:
                await node.kill()
                async with asyncio.timeout(SECONDS):
                    assert (await requester.execute("hi", timeout=20)).text == "ok"
            assert nodes[2].is_at(requester._hop.server)
    assert not any("hunter2" in line for line in responder.log)
