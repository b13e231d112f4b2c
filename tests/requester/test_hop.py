"""The way to a real nats-server: refused, cut, frozen, too large, and back again."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest

from requester import (
    ExecuteTimeoutError,
    NoRespondersError,
    NotConnectedError,
    NotPermittedError,
    Requester,
    RequesterSettings,
    RequestTooLargeError,
)
from requester.hop import Hop
from tests.requester.fakes import SUBJECT, FakeResponder, answer_well, failure, other_tasks
from tests.requester.relay import relay
from tests.support.conditions import wait_until
from tests.support.nats_server import nats_server

SECRET = "s3cr3t"
USERS = """
authorization {
  users = [
    {user: boss, password: b}
    {user: asker, password: %s, permissions: {publish: ["claude.cli.>"], subscribe: ["_INBOX_req.>"]}}
    {user: mute, password: m, permissions: {publish: ["other.>"], subscribe: [">"]}}
  ]
}
"""


@asynccontextmanager
async def guarded_server(folder: Path) -> AsyncIterator[str]:
    async with nats_server(folder, USERS % SECRET) as url:
        yield url


def settings_for(url: str, user: str = "", **more: object) -> RequesterSettings:
    pace = {"timeout_s": 10, "accept_timeout_s": 60, "backoff_first_s": 0.01, "backoff_max_s": 0.05}
    return RequesterSettings(nats_url=url.replace("nats://", f"nats://{user}"), **{**pace, **more})


async def test_the_inbox_prefix_is_kept(tmp_path: Path) -> None:
    """With a prefix of its own a requester gets its reply on a server that permits nothing else."""
    async with guarded_server(tmp_path) as url, await nats.connect(url, user="boss", password="b") as boss:
        responder = await FakeResponder.start(boss)
        settings = settings_for(url, f"asker:{SECRET}@", inbox_prefix="_INBOX_req")
        async with Requester(settings) as requester:
            assert (await requester.execute("2+2?")).text == "four"
            assert SECRET not in repr(requester)
        assert responder.seen[0].reply.startswith("_INBOX_req.")


async def test_a_forbidden_inbox_is_known_before_anything_is_asked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the reply could not be heard nothing is sent: a run would be paid and lost; no traceback is logged."""
    async with guarded_server(tmp_path) as url, await nats.connect(url, user="boss", password="b") as boss:
        responder = await FakeResponder.start(boss)
        async with Requester(settings_for(url, f"asker:{SECRET}@")) as requester:
            for _ in range(2):
                with pytest.raises(NotPermittedError, match="CLAUDE_REQUESTER_INBOX_PREFIX") as caught:
                    await requester.execute("2+2?")
                assert caught.value.executed is False
        assert not responder.seen
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_forbidden_subject_fails_at_once(tmp_path: Path) -> None:
    """A permission that is missing is told at once, not by a timeout, and only to the requests it is about."""
    async with guarded_server(tmp_path) as url, Requester(settings_for(url, "mute:m@", timeout_s=60)) as requester:
        asking = [asyncio.create_task(requester.execute("2+2?")) for _ in range(2)]
        async with asyncio.timeout(5):
            for task in asking:
                with pytest.raises(NotPermittedError, match=f"publish to {SUBJECT}") as caught:
                    await task
                assert caught.value.executed is False
        assert "connected, 0 in flight" in repr(requester)


async def test_a_wrong_password_fails_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Credentials that are refused are told at once, by neither error nor log."""
    caplog.set_level(logging.DEBUG)
    async with guarded_server(tmp_path) as url, Requester(settings_for(url, f"boss:{SECRET}@")) as requester:
        with pytest.raises(NotPermittedError, match="credentials") as caught:
            await requester.execute("2+2?", timeout=60)
        assert SECRET not in str(caught.value) + caplog.text + repr(requester)
        assert not other_tasks()


async def test_nobody_listens(requester: Requester) -> None:
    """Without a responder the server says so, and the requester asks again until the deadline."""
    with pytest.raises(NoRespondersError, match=rf"no responder listens on {SUBJECT} \(\d+ attempts in \d\.\d s\)"):
        await requester.execute("2+2?", timeout=0.4)


async def test_nats_is_not_there(unused_url: str) -> None:
    """Without NATS the connection is tried until the deadline, and nothing stays behind."""
    async with Requester(settings_for(unused_url, f"u:{SECRET}@")) as requester:
        with pytest.raises(
            NotConnectedError, match=r"cannot be reached at .*\*\*\*@.*ConnectionRefusedError"
        ) as caught:
            async with asyncio.timeout(3):
                await requester.execute("2+2?", timeout=0.2)
        assert SECRET not in str(caught.value)
        assert not other_tasks()
        assert "disconnected, 0 in flight" in repr(requester)


async def test_a_server_that_never_greets() -> None:
    """A half-open connection is given up at the connect timeout and closed."""
    gone = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        gone.set()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with server:
        url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with Requester(settings_for(url, connect_timeout_s=0.1)) as requester:
            with pytest.raises(NotConnectedError, match="no answer"):
                await requester.health(timeout=5)
            async with asyncio.timeout(5):
                await gone.wait()


async def test_nats_comes_up_later(unused_url: str, tmp_path: Path) -> None:
    """A requester that is there before NATS is connected as soon as NATS is there."""
    async with Requester(settings_for(unused_url)) as requester:
        asking = asyncio.create_task(requester.execute("2+2?"))
        await wait_until(lambda: "disconnected" in repr(requester), "the first try")
        port = unused_url.rpartition(":")[2]
        async with nats_server(tmp_path, f'listen: "127.0.0.1:{port}"'), await nats.connect(unused_url) as client:
            await FakeResponder.start(client)
            assert (await asking).text == "four"


async def test_the_servers_limit(requester: Requester, responder: FakeResponder) -> None:
    """A request above the server's max_payload is announced, not sent whole, and the connection lives on."""
    responder.answer = answer_well
    seen = responder.seen
    responder.announced = lambda _: failure(None, "request_too_large").to_bytes()
    with pytest.raises(RequestTooLargeError, match="what request_too_large says"):
        await requester.execute("x" * 70_000)
    assert seen[0].data == b""
    assert (seen[0].headers or {})["Claude-Part"] == "0/2"
    assert (await requester.execute("x" * 60_000)).text == "four"
    assert len(seen) == 2


async def test_one_connection_for_all(nats_url: str, responder: FakeResponder) -> None:
    """Requests that come together share one connection, the one that has to be made first included."""
    async with relay(nats_url) as wire, Requester(settings_for(wire.url)) as requester:
        replies = await asyncio.gather(*(requester.execute("2+2?", request_id=f"job-{n}") for n in range(20)))
        assert [reply.request_id for reply in replies] == [f"job-{n}" for n in range(20)]
        assert wire.accepted == 1
        assert len(responder.seen) == 20


async def test_a_reply_after_a_reconnect(nats_url: str, responder: FakeResponder) -> None:
    """A connection that breaks during a run does not lose the answer that comes after it is back."""
    responder.answer = lambda _: None
    async with relay(nats_url) as wire, Requester(settings_for(wire.url)) as requester:
        asking = asyncio.create_task(requester.execute("2+2?", request_id="job-7"))
        await wait_until(lambda: len(responder.seen) == 1, "the request arrives")
        wire.cut()
        # A try in vain: it may not end the connection for good.
        await wait_until(lambda: wire.accepted > 2, "the requester tries again")
        wire.mend()
        await wait_until(lambda: ": connected, 1 in flight" in repr(requester), "the requester is back")
        body = answer_well(responder.requests[0])
        while not asking.done():
            await responder.client.publish(responder.seen[0].reply, body)
            await asyncio.sleep(0.01)
        assert (await asking).text == "four"
        assert len(responder.seen) == 1


async def test_nothing_is_sent_later(nats_url: str, responder: FakeResponder) -> None:
    """What is asked while disconnected and given up is not sent when the connection is back."""
    async with relay(nats_url) as wire, Requester(settings_for(wire.url)) as requester:
        await requester.execute("2+2?")
        wire.cut()
        await wait_until(lambda: "disconnected" in repr(requester), "the requester notices")
        with pytest.raises(NotConnectedError):
            await requester.execute("too early", timeout=0.1)
        wire.mend()
        await requester.execute("again", timeout=20)
        assert [request["prompt"] for request in responder.requests] == ["2+2?", "again"]


async def test_what_a_frozen_server_did_not_take_is_dropped(nats_url: str, responder: FakeResponder) -> None:
    """Requests stuck behind a server that stopped reading are not sent to the next one: nobody awaits them."""
    responder.answer = lambda _: None
    async with relay(nats_url) as wire:
        hop = Hop(settings_for(wire.url), ping_interval_s=0.1)
        await hop.wait_connected(5)
        wire.freeze()
        # More than the sockets between here and the relay hold, so that what comes after it stays in nats-py.
        flood = [asyncio.create_task(hop.request(SUBJECT, b"{}" * 30_000, {}, 0.1)) for _ in range(400)]
        await wait_until(lambda: hop.in_flight == 400, "the flood is sent")
        with pytest.raises(ExecuteTimeoutError):
            await hop.request(SUBJECT, b'"stuck"', {}, 0.1)
        await asyncio.wait(flood)
        assert {type(task.exception()) for task in flood} == {ExecuteTimeoutError}
        await wait_until(lambda: hop.state == "disconnected", "the pings stay away")
        # nats-py would wait for the old socket to take the flood, for ever.
        await hop.wait_connected(10)
        with pytest.raises(ExecuteTimeoutError):
            await hop.request(SUBJECT, b'"new"', {}, 0.1)
        arrived = [message.data for message in responder.seen]
        assert b'"stuck"' not in arrived
        assert arrived == [b'"new"']
        await hop.close()


async def test_a_frozen_server_does_not_hold_up_the_end(nats_url: str) -> None:
    """Closing does not wait for a server that stopped reading."""
    async with relay(nats_url) as wire:
        hop = Hop(settings_for(wire.url))
        await hop.wait_connected(5)
        wire.freeze()
        stuck = [hop.request(SUBJECT, b"x" * 60_000, {}, 60) for _ in range(400)]
        asking = asyncio.gather(*stuck, return_exceptions=True)
        await wait_until(lambda: hop.in_flight == 400, "all are sent")
        async with asyncio.timeout(5):
            await hop.close()
        assert {type(outcome) for outcome in await asking} == {NotConnectedError}


async def test_a_connection_closed_for_good_is_replaced(nats_url: str, responder: FakeResponder) -> None:
    """When nats-py closes the connection for good, what was not started is asked again over a new one, at once."""
    async with relay(nats_url) as wire, Requester(settings_for(wire.url)) as requester:
        responder.answer = lambda _: None
        asking = asyncio.create_task(requester.execute("2+2?", timeout=60))
        await wait_until(lambda: len(responder.seen) == 1, "the request arrives")
        link = requester._hop._link
        assert link
        responder.answer = answer_well
        wire.say(b"-ERR 'Unknown Protocol Operation'\r\n")
        assert (await asking).attempts == 2
        assert wire.accepted == 2
        assert link.client.is_closed


async def test_closing_while_connecting(unused_url: str) -> None:
    """A requester that is closed while it still looks for NATS ends its requests, and leaves nothing behind."""
    requester = Requester(settings_for(unused_url, timeout_s=60, connect_timeout_s=60))
    asking = asyncio.create_task(requester.execute("2+2?"))
    await wait_until(lambda: "disconnected" in repr(requester), "the first try")
    await requester.close()
    async with asyncio.timeout(5):
        with pytest.raises(NotConnectedError, match="requester is closed"):
            await asking
    assert not other_tasks()
