"""Callers that are not ours: any NATS client sends a request and reads a reply."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from responder.stub_api import Rule, Script, StubAPI
from tests.hop.conftest import Fleet, RawCaller
from tests.support.responder_process import ROOT


async def test_the_request_is_what_the_protocol_says(fleet: Fleet, caller: RawCaller, api: StubAPI) -> None:
    """A raw nats-py request with `timeout` in milliseconds gets its reply; a header of its own changes nothing."""
    api.use(Script(rules=(Rule(echo=True),)))
    await fleet.start("r1")
    reply = await caller.ask(prompt="hi", id="job-17", timeout=60_000, headers={"Status": "503", "X-Mine": "1"})
    assert reply.success
    assert reply.id == "job-17"


@pytest.mark.parametrize("body", [b"", b"hi", b"[]", b'{"prompt":1}', b'{"prompt":"hi","promt":"x"}', b"\xff\xfe"])
async def test_what_is_no_request_gets_one_line(fleet: Fleet, caller: RawCaller, body: bytes) -> None:
    """Whatever arrives, the answer is one line that says what to do."""
    await fleet.start("r1", cli="/bin/true")
    message = await caller.client.request("claude.cli.execute", body, timeout=10)
    assert message.headers is not None
    assert message.headers["Nats-Service-Error-Code"] == "400"
    assert "\n" not in message.headers["Nats-Service-Error"]


async def test_a_request_from_node(fleet: Fleet, api: StubAPI) -> None:
    """The example for Node, on the npm package `nats`, prints the answer, and the reason when there is none."""
    modules = Path(os.environ.get("NODE_NATS", ""), "node_modules")
    if not (modules / "nats").is_dir():
        pytest.fail("NODE_NATS names no npm prefix with the package nats: run the tests with make test")
    script = fleet.home / "request.mjs"
    script.write_text((ROOT / "examples/node/request.mjs").read_text())
    (fleet.home / "node_modules").symlink_to(modules)
    api.use(Script(rules=(Rule(text="hello node", times=1), Rule(status=529))))
    await fleet.start("r1")
    results = []
    for _ in range(2):
        node = await asyncio.create_subprocess_exec(
            "node", str(script), "hi",
            env={"NATS_URL": fleet.nats_url, "PATH": os.environ["PATH"]},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        printed, said = await node.communicate()
        results.append((node.returncode, printed.decode(), said.decode().split(" ")[0]))
    assert results == [(0, "hello node\n", "r1,"), (1, "", "api_overloaded")]


async def test_service_discovery_sees_the_fleet(fleet: Fleet, caller: RawCaller, api: StubAPI) -> None:
    """`$SRV.PING|INFO|STATS` are answered by every responder in the form that NATS's own tools read."""
    from nats.micro.service import ServiceInfo, ServicePing, ServiceStats

    api.use(Script(rules=(Rule(status=500),)))
    await asyncio.gather(fleet.start("r1"), fleet.start("r2"))
    await caller.fail(prompt="hi")
    inbox = caller.client.new_inbox()
    heard = await caller.client.subscribe(inbox)
    await caller.client.publish("$SRV.STATS.claude-cli", b"", reply=inbox)
    stats = [ServiceStats.from_dict(json.loads((await heard.next_msg(5)).data)) for _ in range(2)]
    assert {stat.id for stat in stats} == {"r1", "r2"}
    assert sum(stat.endpoints[0].num_requests for stat in stats) == 1
    assert {stat.endpoints[0].last_error for stat in stats} == {"", "api_error"}
    ping = await caller.client.request("$SRV.PING.claude-cli.r1", b"")
    info = await caller.client.request("$SRV.INFO.claude-cli.r2", b"")
    assert ServicePing.from_dict(json.loads(ping.data)).id == "r1"
    assert ServiceInfo.from_dict(json.loads(info.data)).endpoints[0].subject == "claude.cli.execute"
