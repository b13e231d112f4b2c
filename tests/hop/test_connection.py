"""A responder's connection to NATS: what breaks it, and that it serves again by itself."""

import asyncio
import os
import signal
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from nats.errors import Error

from requester import RateLimitedError, Requester, RequesterSettings
from responder.callers import Incoming
from responder.link import Link, LinkError, ask, ping
from responder.processes import descendants_of
from responder.stub_api import StubAPI
from tests.hop.conftest import SUBJECT, Fleet, RawCaller
from tests.responder.printed import api_error, as_json
from tests.support.conditions import wait_until
from tests.support.fake_cli import fake_cli
from tests.support.nats_server import nats_server, with_jetstream
from tests.support.poison import POISON, publish_poison
from tests.support.responder_process import ROOT, responder_process

CANARY = "canary-5f1c9"


@pytest.mark.parametrize("poison", POISON.values(), ids=POISON.keys())
async def test_a_message_that_cannot_be_read_does_not_make_a_responder_deaf(
    fleet: Fleet, caller: RawCaller, nats_url: str, poison: bytes
) -> None:
    """After a malformed message the responder notices that it hears nothing, connects again and serves."""
    responder = await fleet.start("r1", cli=str(fake_cli(fleet.home, "cat >/dev/null; answer ok")))
    await publish_poison(nats_url, SUBJECT, poison)

    async def is_served() -> bool:
        try:
            return (await caller.ask(wait_s=0.5, prompt="hi")).success
        except Error:
            return False

    deadline = asyncio.get_running_loop().time() + 15
    while not await is_served():
        assert asyncio.get_running_loop().time() < deadline, responder.log
    await responder.wait_until_idle()
    await wait_until(lambda: responder.process.returncode is None, "it still runs")


FORBIDDING = """
authorization {
  users: [
    {user: a, password: hunter2, permissions: {subscribe: {deny: ["claude.cli.execute"]}}}
    {user: b, password: hunter2, permissions: {subscribe: {deny: ["_INBOX.>"]}}}
  ]
}
"""


@pytest.mark.parametrize(
    ("user", "reason"),
    [
        ("a:hunter2", "does not permit this responder to listen on claude.cli.execute"),
        ("b:hunter2", "see CLAUDE_RESPONDER_INBOX_PREFIX"),
        ("a:wrong", "NATS refuses this responder's credentials"),
    ],
)
async def test_a_responder_that_nats_refuses_says_so_and_ends(
    tmp_path: Path, api: StubAPI, user: str, reason: str
) -> None:
    """A responder that may not listen is not ready and deaf, but ends with one line without the password."""
    async with nats_server(tmp_path, FORBIDDING) as url, AsyncExitStack() as stack:
        fleet = Fleet(url.replace("//", f"//{user}@"), api, tmp_path, stack)
        environment = fleet.environment(cli="/bin/true")
        async with responder_process("r1", environment, ready=False) as responder:
            assert await asyncio.wait_for(responder.wait(), 20) == 1
        last = responder.log[-1]
        assert reason in last
        assert not any("hunter2" in line or "Traceback" in line for line in responder.log)
        assert not any("deaf" in line for line in responder.log), responder.log


def documented_permissions() -> str:
    """Give the server configuration that docs/security.md shows."""
    text = (ROOT / "docs/security.md").read_text()
    return text.partition("```\n")[2].partition("```")[0]


async def test_the_documented_permissions_are_enough(tmp_path: Path, api: StubAPI) -> None:
    """With exactly the configuration that the documentation shows, all that is offered works, JetStream included."""
    config = with_jetstream(tmp_path, documented_permissions())
    async with nats_server(tmp_path, config) as url, AsyncExitStack() as stack:
        fleet = Fleet(url.replace("//", "//responder:change-me-1@"), api, tmp_path, stack)
        prefix = {"CLAUDE_RESPONDER_INBOX_PREFIX": "_INBOX_claude"}
        limit = tmp_path / "limit"
        limited = as_json(api_error(429, "limited")).decode().strip()
        cli = fake_cli(tmp_path, f"cat >/dev/null; [ -e {limit} ] && {{ echo '{limited}'; exit 1; }}; answer ok")
        responder = await fleet.start("r1", cli=str(cli), **prefix)
        settings = RequesterSettings(
            nats_url=url.replace("//", "//requester:change-me-2@"), inbox_prefix="_INBOX_claude.worker"
        )
        async with Requester(settings) as requester:
            assert (await requester.execute("hi", timeout=20)).text == "ok"
            assert (await requester.health()).responder == "r1"
            for is_kept in (False, True):
                assert (await requester.execute("hi", timeout=20, idempotency_key="k")).is_kept is is_kept
            ticket = await requester.submit("hi")
            assert (await requester.result(ticket, timeout=20)).text == "ok"
            assert [listed.state for listed in await requester.tickets()] == ["done"]
            limit.touch()
            for executed in (True, False):
                with pytest.raises(RateLimitedError) as caught:
                    await requester.execute("hi", timeout=3)
                assert caught.value.executed is executed
        as_responder = [url.replace("//", "//responder:change-me-1@")]
        assert b'"r1"' in await ask(as_responder, "claude.cli.health.r1", b"", 20, inbox_prefix="_INBOX_claude")
        with pytest.raises(LinkError, match="permissions violation for publish"):
            await ask(as_responder, SUBJECT, b"{}", 0.5, inbox_prefix="_INBOX_claude")
        assert not any("in memory" in line for line in responder.log), responder.log
        responder.signal()
        assert await responder.wait() == 0
        assert not any("violation" in line for line in responder.log), responder.log


@pytest.mark.parametrize("victim", ["nats-server", "watchdog"])
async def test_a_responder_ends_when_what_it_needs_has_ended(tmp_path: Path, api: StubAPI, victim: str) -> None:
    """Without its watchdog or its embedded server a responder stops with status 1, for a supervisor to notice."""
    port = unused_port()
    async with AsyncExitStack() as stack:
        fleet = Fleet(f"nats://127.0.0.1:{port}", api, tmp_path, stack)
        responder = await fleet.start("r1", "--embedded", cli="/bin/true")
        (pid,) = [pid for pid in descendants_of(responder.pid) if victim in command_line(pid)]
        os.kill(pid, signal.SIGKILL)
        assert await asyncio.wait_for(responder.wait(), 20) == 1
        await responder.wait_until_said("has ended")


async def test_a_taken_port_is_named(tmp_path: Path, api: StubAPI, nats_url: str) -> None:
    """An embedded server whose port is taken ends the responder with one line."""
    async with AsyncExitStack() as stack:
        environment = Fleet(nats_url, api, tmp_path, stack).environment(cli="/bin/true")
        async with responder_process("r1", environment, "--embedded", ready=False) as responder:
            assert await asyncio.wait_for(responder.wait(), 20) == 1
        assert "nats-server ended at once" in responder.log[-1]


async def test_the_servers_version(nats_url: str) -> None:
    """What `check` shows of a server is its version, in numbers."""
    assert [part.isdigit() for part in (await ping([nats_url], 20)).split(".")] == [True] * 3


async def test_a_responder_without_a_cli_does_not_start(fleet: Fleet) -> None:
    """A responder that could run nothing is not ready: it would answer faster than the others, and wrongly."""
    async with responder_process("r1", fleet.environment(cli="/nowhere/claude"), ready=False) as responder:
        assert await asyncio.wait_for(responder.wait(), 20) == 1
    assert "no CLI at /nowhere/claude" in responder.log[-1]


async def test_a_message_too_large_by_its_headers_does_not_end_the_connection(
    nats_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What NATS does not carry is not sent, and said on the log; the connection lives on."""
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def note(incoming: Incoming) -> None:
        heard.put_nowait(incoming.body)

    async with AsyncExitStack() as stack:
        link = await Link.connect([nats_url], "r1", "_INBOX")
        stack.push_async_callback(link.close)
        inbox = link.new_inbox()
        await link.subscribe(inbox, note)
        async with asyncio.timeout(10):
            await link.publish(inbox, b"x" * link.max_payload, {"Claude-Frame": "beat"})
        await link.publish(inbox, b"small", {"Claude-Frame": "beat"})
        assert await asyncio.wait_for(heard.get(), 10) == b"small"
        assert "was not sent: NATS's max_payload here is" in caplog.text
        assert not link.closed.done()


async def test_a_defect_of_a_listener_is_one_messages(nats_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A message that a listener stumbles over is said on the log, without its text, and the next one is heard."""
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    def note(incoming: Incoming) -> None:
        if not incoming.body:
            raise ValueError(CANARY)
        heard.put_nowait(incoming.body)

    async with AsyncExitStack() as stack:
        link = await Link.connect([nats_url], "r1", "_INBOX")
        stack.push_async_callback(link.close)
        inbox = link.new_inbox()
        await link.hear(inbox, note)
        for body in (b"", b"small"):
            await link.publish(inbox, body, {})
        assert await asyncio.wait_for(heard.get(), 10) == b"small"
    assert "defect: ValueError while a message was handled" in caplog.messages
    assert CANARY not in caplog.text


async def test_a_long_reply_subject_does_not_end_a_responder(fleet: Fleet, caller: RawCaller) -> None:
    """An attended request whose reply subject is as long as NATS takes is refused, and the responder serves on."""
    cli = str(fake_cli(fleet.home, "cat >/dev/null; answer ok"))
    responder = await fleet.start("r1", "--drain-grace-s", "2", cli=cli)
    inbox = f"_INBOX.{'a' * 3000}.t"
    replies = await caller.client.subscribe(inbox)
    await caller.client.publish(SUBJECT, b'{"prompt": "hi"}', reply=inbox, headers={"Claude-Attend": "1"})
    assert b'"invalid_request"' in (await replies.next_msg(timeout=10)).data
    assert (await caller.succeed(prompt="hi")).responder == "r1"
    assert not any("Control Line" in line for line in responder.log)


def unused_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()
