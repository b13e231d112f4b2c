"""A responder that is not fit for work leaves the queue groups by itself, and comes back."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest
from nats.aio.subscription import Subscription

from contract import HEADER_ATTEND, ExecuteFailure, Frame, FrameKind, parse_reply, read_frame
from requester import (
    NoRespondersError,
    RateLimitedError,
    Reply,
    Requester,
    RequesterSettings,
)
from responder.stub_api import Rule, Script, StubAPI
from tests.hop.conftest import SUBJECT, Fleet, RawCaller
from tests.support.conditions import wait_until
from tests.support.fake_cli import fake_cli
from tests.support.responder_process import ResponderProcess

HASTY = "tests.support.hasty_responder"
VERSION = '[ "$1" = --version ] && exec echo 2.0; '
ANSWER = "cat >/dev/null; answer ok"
UNFIT, FIT = "not fit for work: ", "fit for work again"


@pytest.fixture
async def ask(nats_url: str) -> AsyncIterator[Requester]:
    async with Requester(RequesterSettings(nats_url=nats_url)) as open_requester:
        yield open_requester


def own_cli(fleet: Fleet, name: str, body: str = ANSWER) -> Path:
    """Give a responder a CLI of its own, which may be removed."""
    folder = fleet.home / name
    folder.mkdir()
    return fake_cli(folder, body)


async def ask_all(ask: Requester, count: int = 6) -> set[str]:
    """Ask at once, and give who has answered."""
    replies: list[Reply] = await asyncio.gather(*(ask.execute("hi", timeout=20) for _ in range(count)))
    return {reply.responder for reply in replies}


async def wait_until_nobody_listens(caller: RawCaller, subject: str = SUBJECT) -> None:
    """Wait until NATS says that nobody is there."""
    while True:
        try:
            await caller.client.request(subject, b"{}", timeout=2)
        except nats.errors.NoRespondersError:
            return


def limit(seconds: float) -> Rule:
    """Give what the API says to one request of a credential whose usage limit ends so many seconds from now."""
    return Rule(status=429, message=f"Claude AI usage limit reached|{round(time.time() + seconds)}", times=1)


async def test_a_cli_that_vanishes(fleet: Fleet, ask: Requester) -> None:
    """Without its CLI a responder leaves all work to the others, no request fails, and with the CLI it is back."""
    cli = own_cli(fleet, "one")
    one, _ = await asyncio.gather(
        fleet.start("r1", cli=str(cli), module=HASTY), fleet.start("r2", cli=str(own_cli(fleet, "two")))
    )
    cli.rename(cli.with_name("away"))
    assert await ask_all(ask, 12) == {"r2"}
    await one.wait_until_said(UNFIT)
    health = await ask.health(responder="r1")
    assert (health.status, health.cli_available) == ("unhealthy", False)
    cli.with_name("away").rename(cli)
    await one.wait_until_said(FIT)
    while "r1" not in await ask_all(ask):
        pass
    assert (await ask.health(responder="r1")).status == "healthy"


async def test_a_cli_that_vanishes_everywhere(fleet: Fleet, ask: Requester, caller: RawCaller) -> None:
    """It is noticed without a request; nobody is there until the CLI is, and a drain meanwhile ends well."""
    cli = own_cli(fleet, "one")
    one = await fleet.start("r1", cli=str(cli), module=HASTY)
    cli.unlink()
    await wait_until_nobody_listens(caller)
    with pytest.raises(NoRespondersError):
        await ask.execute("hi", timeout=0.5)
    await wait_until_nobody_listens(caller, "claude.cli.health")
    late = asyncio.create_task(ask.execute("hi", timeout=20))
    fake_cli(cli.parent, f"{VERSION}{ANSWER}")
    assert (await late).text == "ok"
    cli.unlink()
    await wait_until(lambda: sum(UNFIT in line for line in one.log) == 2, "it has left again")
    await wait_until_nobody_listens(caller)
    one.signal(signal.SIGTERM)
    assert await one.wait() == 0


async def next_frame(subscription: Subscription) -> Frame:
    """Give the next frame that comes, but for beats."""
    frame = None
    while frame is None or frame.kind is FrameKind.BEAT:
        message = await subscription.next_msg(5)
        frame = read_frame(message.headers or {}, message.data)
    return frame


async def test_what_runs_goes_on_and_what_waits_moves(fleet: Fleet, ask: Requester, caller: RawCaller) -> None:
    """A responder that becomes unfit finishes its run; what has no go is run by another, or refused if plain."""
    gate = fleet.home / "gate"
    cli = own_cli(fleet, "one", f"{VERSION}cat >/dev/null; until [ -e {gate} ]; do sleep 0.02; done; answer ok")
    one = await fleet.start("r1", "--slots", "2", cli=str(cli), module=HASTY)
    running = asyncio.create_task(ask.execute("hi", timeout=20))
    await wait_until(lambda: bool(one.clis()), "it runs")
    raw = await caller.client.subscribe("_INBOX.raw.*")
    await caller.client.publish(SUBJECT, b'{"prompt": "hi"}', "_INBOX.raw.t1", headers={HEADER_ATTEND: "1"})
    assert (await next_frame(raw)).kind is FrameKind.READY
    moving = asyncio.create_task(ask.execute("hi", timeout=20))
    plain = asyncio.create_task(caller.fail(prompt="hi"))
    while (await ask.health(responder="r1")).backlog < 2:
        pass
    cli.unlink()
    await fleet.start("r2", cli=str(own_cli(fleet, "two")))
    assert (await moving).responder == "r2"
    frame = await next_frame(raw)
    ack = Frame(FrameKind.ACK, attempt="_INBOX.raw.t1")
    await caller.client.publish(f"claude.cli.instance.{frame.instance}", b"", "_INBOX.x", headers=ack.headers())
    let_go = parse_reply(frame.body)
    assert isinstance(let_go, ExecuteFailure)
    assert (let_go.code, let_go.executed, let_go.responder) == ("unfit", False, "r1")
    refused = await plain
    assert (refused.code, refused.retryable, refused.executed, refused.responder) == ("unfit", True, False, "r1")
    gate.touch()
    assert (await running).responder == "r1"


async def test_a_credential_that_is_refused(fleet: Fleet, caller: RawCaller, api: StubAPI) -> None:
    """After three refusals in a row a responder leaves; it comes back when a prompt of its own is answered."""
    one = await fleet.start("r1", module=HASTY)
    api.use(Script(rules=(Rule(status=401, times=3), Rule(text="back"))))
    for _ in range(3):
        assert (await caller.fail(prompt="hi")).code == "auth"
    await one.wait_until_said(f"{UNFIT}the API refuses the credential")
    await wait_until_nobody_listens(caller)
    await one.wait_until_said(FIT)
    assert "back" in (await caller.succeed(prompt="hi")).result
    assert [request.prompt for request in api.requests].count("hi") == 4
    assert api.statistics().received == 5


async def limited(ask: Requester) -> RateLimitedError:
    """Ask, and insist on the error of a limit."""
    with pytest.raises(RateLimitedError) as caught:
        await ask.execute("hi", timeout=30)
    return caught.value


async def test_a_limited_credential(fleet: Fleet, ask: Requester, caller: RawCaller, api: StubAPI) -> None:
    """A limited responder leaves all work to another; when all are limited the caller is told until when, at once."""
    both: list[ResponderProcess] = [await fleet.start(name) for name in ("r1", "r2")]
    api.use(Script(rules=(limit(300), Rule(text="served"))))
    first = await limited(ask)
    assert (first.executed, first.responder in {"r1", "r2"}) == (True, True)
    assert await ask_all(ask, 4) == {"r1", "r2"} - {first.responder}
    api.use(Script(rules=(limit(200),)))
    assert (await limited(ask)).executed is True
    await wait_until_nobody_listens(caller)
    before = time.monotonic()
    error = await limited(ask)
    assert time.monotonic() - before < 1
    assert (error.executed, error.retryable) == (False, True)
    assert error.retry_after_s is not None
    assert 150 < error.retry_after_s <= 201
    assert error.responder not in {None, first.responder}
    for one in both:
        health = await ask.health(responder=one.name)
        assert (health.status, health.reason) == ("unhealthy", "the API limits the credential")
        one.signal(signal.SIGTERM)
        assert await one.wait() == 0


async def test_a_limit_that_ends_before_the_deadline(fleet: Fleet, ask: Requester, api: StubAPI) -> None:
    """A request that nobody takes because of a limit waits for its end, and is answered then."""
    one = await fleet.start("r1", module=HASTY)
    api.use(Script(rules=(limit(2), Rule(text="served"))))
    assert (await limited(ask)).executed is True
    reply = await ask.execute("hi", timeout=30)
    assert reply.text == "served"
    assert reply.attempts <= 4
    await one.wait_until_said(FIT)
