"""Nobody takes work because of a limit of the API: the requester asks until when."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.msg import Msg

from requester import NoRespondersError, RateLimitedError, Requester, RequesterSettings
from requester.limits import earliest
from tests.requester.fakes import FakeResponder, failure, settle, success
from tests.support.conditions import wait_until
from tests.support.nats_server import nats_server

LIMITED = "claude.cli.limited"


def limit(seconds: float | None, **more: Any) -> bytes:
    """Give what a limited responder says."""
    after = {} if seconds is None else {"retry_after_ms": round(1000 * seconds)}
    return failure(None, "rate_limited", executed=False, **after, **more).to_bytes()


@pytest.mark.parametrize(
    ("bodies", "retry_after_s"),
    [
        ([limit(30.0)], 30.0),
        ([limit(90.0), limit(20.0), limit(30.0)], 20.0),
        ([b"x", limit(90.0), failure(None, "overloaded").to_bytes()], 90.0),
        ([limit(None), limit(20.0)], None),
    ],
)
def test_the_earliest_end_counts(bodies: list[bytes], retry_after_s: float | None) -> None:
    """The error is of the limit that ends first; what is no such answer does not matter."""
    error = earliest(bodies)
    assert error is not None
    assert (error.retry_after_s, error.executed, error.retryable, error.responder) == (retry_after_s, False, True, "r1")


@pytest.mark.parametrize(
    "bodies",
    [
        [],
        [b""],
        [b"x"],
        [success("i").to_bytes()],
        [failure("i", "overloaded").to_bytes()],
        [failure("i", "rate_limited", executed=True).to_bytes()],
    ],
)
def test_nobody_tells_of_a_limit(bodies: list[bytes]) -> None:
    """Without an answer that tells of one there is none."""
    assert earliest(bodies) is None


@asynccontextmanager
async def limited_fleet(url: str, *answers: Callable[[], bytes | None]) -> AsyncIterator[list[Msg]]:
    """Have responders that say until when they are limited; gives what they are asked."""
    asked: list[Msg] = []
    async with AsyncExitStack() as stack:
        for answer in answers:
            client = await stack.enter_async_context(await nats.connect(url))

            async def say(message: Msg, answer: Callable[[], bytes | None] = answer) -> None:
                asked.append(message)
                if (body := answer()) is not None:
                    await message.respond(body)

            await client.subscribe(LIMITED, cb=say)
            await settle(client)
        yield asked


def settings_for(url: str, **more: Any) -> RequesterSettings:
    return RequesterSettings(nats_url=url, backoff_first_s=0.01, backoff_max_s=0.05, **more)


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    async with nats_server(tmp_path) as server_url:
        yield server_url


async def test_all_are_limited(url: str) -> None:
    """The caller is told the earliest end at once, where it cannot be waited for."""
    answers = [lambda: limit(300.0), lambda: limit(100.0, responder="r2"), lambda: None]
    async with limited_fleet(url, *answers) as asked, Requester(settings_for(url)) as requester:
        before = time.monotonic()
        with pytest.raises(RateLimitedError, match="for 100 s") as caught:
            await requester.execute("2+2?", timeout=60)
        assert time.monotonic() - before < 1
        assert (caught.value.executed, caught.value.retry_after_s, caught.value.responder) == (False, 100.0, "r2")
        assert caught.value.request_id is not None
        assert [message.data for message in asked] == [b""] * 3


async def test_a_limit_that_ends_in_time_is_waited_for(url: str) -> None:
    """The request is sent again when the limit is over, and no more often than that."""
    async with limited_fleet(url, lambda: limit(0.5)) as asked, await nats.connect(url) as client:
        async with Requester(settings_for(url)) as requester:
            asking = asyncio.create_task(requester.execute("2+2?", timeout=30))
            await wait_until(lambda: bool(asked), "it has asked for the limit")
            responder = await FakeResponder.start(client)
            reply = await asking
        assert (reply.text, reply.attempts, len(asked)) == ("four", 2, 1)
        assert reply.duration_s >= 0.5
        assert len(responder.requests) == 1


async def test_nobody_is_there_at_all(url: str) -> None:
    """Where nobody knows of a limit, or may be asked, it is nobody that is missed."""
    async with Requester(settings_for(url)) as requester:
        with pytest.raises(NoRespondersError):
            await requester.execute("2+2?", timeout=0.3)


async def test_who_does_not_answer_is_not_waited_for(url: str) -> None:
    """A limited responder that is frozen costs half a second, not the deadline."""
    async with limited_fleet(url, lambda: None) as asked, Requester(settings_for(url)) as requester:
        with pytest.raises(NoRespondersError):
            await requester.execute("2+2?", timeout=0.8)
        assert len(asked) == 2


async def test_a_requester_that_may_not_ask(tmp_path: Path) -> None:
    """With permissions that do not have the subject it is as without a limit."""
    folder = tmp_path / "guarded"
    folder.mkdir()
    permissions = '{publish: ["claude.cli.execute"], subscribe: ["_INBOX.>"]}'
    config = f"authorization {{ users = [{{user: a, password: b, permissions: {permissions}}}] }}"
    async with (
        nats_server(folder, config) as guarded,
        Requester(settings_for(guarded.replace("//", "//a:b@"))) as requester,
    ):
        with pytest.raises(NoRespondersError):
            await requester.execute("2+2?", timeout=0.3)
