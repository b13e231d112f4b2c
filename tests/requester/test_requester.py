"""The requester, over a real nats-server, with a small fake responder."""

import asyncio
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from contract import HealthReply
from requester import (
    CwdRefusedError,
    ExecuteTimeoutError,
    InternalError,
    InvalidRequestError,
    NoRespondersError,
    NotConnectedError,
    OutputInvalidError,
    OverloadedError,
    ProtocolError,
    Requester,
    RequesterSettings,
)
from tests.requester.fakes import HEALTHY, FakeResponder, answer_well, failure, success


async def test_an_answer(requester: Requester, responder: FakeResponder) -> None:
    """One call, one answer, with what the caller wants to know about it."""
    reply = await requester.execute("2+2?", args=["-p", "--output-format", "json"], cwd="repo", request_id="job-7")
    assert (reply.text, reply.request_id, reply.responder, reply.attempts) == ("four", "job-7", "r1", 1)
    assert 0 < reply.duration_s < 10
    [request] = responder.requests
    assert 9_000 < request.pop("timeout_ms") <= 10_000
    assert request == {
        "prompt": "2+2?",
        "id": "job-7",
        "args": ["-p", "--output-format", "json"],
        "cwd": "repo",
    }


async def test_no_arguments_means_none_on_the_wire(requester: Requester, responder: FakeResponder) -> None:
    """What the caller leaves out does not travel, and the timeout that travels is the caller's."""
    await requester.execute("2+2?", timeout=3)
    assert set(responder.requests[0]) == {"prompt", "id", "timeout_ms"}
    assert 2_000 < responder.requests[0]["timeout_ms"] <= 3_000


async def test_a_refusal(requester: Requester, responder: FakeResponder) -> None:
    """A refusal is raised as its class, with the responder's own line."""
    responder.answer = lambda request: failure(request["id"], "cwd_refused", executed=False).to_bytes()
    with pytest.raises(CwdRefusedError, match=r"^what cwd_refused says$"):
        await requester.execute("2+2?")
    assert len(responder.seen) == 1


async def test_it_waits_for_a_free_slot(requester: Requester, responder: FakeResponder) -> None:
    """An overloaded fleet is asked again until it has room."""
    refusals = iter(range(3))

    def answer(request: dict[str, Any]) -> bytes:
        if next(refusals, None) is not None:
            return failure(request["id"], "overloaded", retry_after_ms=5).to_bytes()
        return answer_well(request)

    responder.answer = answer
    reply = await requester.execute("2+2?")
    assert reply.attempts == 4
    assert len({request["id"] for request in responder.requests}) == 1


async def test_overload_and_absence_are_told_apart(requester: Requester, responder: FakeResponder) -> None:
    """At the deadline the error says whether there was nobody, or nobody with room."""
    await requester.health()
    responder.answer = lambda request: failure(request["id"], "overloaded").to_bytes()
    with pytest.raises(OverloadedError, match=r"attempts in"):
        await requester.execute("2+2?", timeout=0.2)


async def test_no_report_at_all(nats_url: str, responder: FakeResponder) -> None:
    """Where no responder accepts, the call ends at the deadline, and surely nothing ran."""
    responder.answer = lambda _: None
    async with Requester(RequesterSettings(nats_url=nats_url, reply_grace_s=60)) as requester:
        await requester.health()
        async with asyncio.timeout(5):
            with pytest.raises(TimeoutError) as caught:
                await requester.execute("2+2?", timeout=0.05)
        assert isinstance(caught.value, ExecuteTimeoutError)
        assert caught.value.executed is False
        assert repr(requester).endswith("connected, 0 in flight>")


async def test_a_foreign_answer(requester: Requester, responder: FakeResponder) -> None:
    """What another program answers on the subject is no reply."""
    responder.answer = lambda _: b"hello"
    with pytest.raises(ProtocolError):
        await requester.execute("2+2?")
    responder.answer = lambda request: success(request["id"], "not a document").to_bytes()
    with pytest.raises(OutputInvalidError):
        await requester.execute("2+2?")


async def test_headers_of_a_reply_mean_nothing(requester: Requester, responder: FakeResponder) -> None:
    """A reply with a body is a reply, also when a responder's library echoes a Status header into it."""

    def answer(request: dict[str, Any]) -> None:
        async def echo() -> None:
            await responder.client.publish(responder.seen[0].reply, answer_well(request), headers={"Status": "503"})

        responder.tasks.append(asyncio.create_task(echo()))

    responder.answer = answer
    assert (await requester.execute("2+2?")).text == "four"


async def hear(_printed: str) -> None:
    """Stand for a callback that nobody would await."""


@pytest.mark.parametrize(
    "given", [{"timeout": 0}, {"prompt": " "}, {"args": "--model x"}, {"request_id": "a b"}, {"on_output": hear}]
)
async def test_a_bad_request_is_not_sent(requester: Requester, responder: FakeResponder, given: dict[str, Any]) -> None:
    """What cannot be a request is refused here, before there is a connection."""
    with pytest.raises(InvalidRequestError, match=r"^request refused: "):
        await requester.execute(**{"prompt": "2+2?", **given})
    assert not responder.seen
    assert ": idle, " in repr(requester)


async def test_a_given_connection(nats_url: str, responder: FakeResponder) -> None:
    """A connection that the worker has already is used, and is the worker's afterwards."""
    async with await nats.connect(nats_url) as connection:
        async with Requester(RequesterSettings(), connection=connection) as requester:
            assert (await requester.execute("2+2?")).text == "four"
        assert connection.is_connected
        assert not connection._subs
    assert len(responder.seen) == 1


def test_a_connection_lives_in_one_loop(unused_url: str) -> None:
    """A requester that is used in a second event loop says so, instead of waiting there for ever."""
    requester = Requester(RequesterSettings(nats_url=unused_url))
    with pytest.raises(NotConnectedError):
        asyncio.run(requester.execute("2+2?", timeout=0.05))
    with pytest.raises(RuntimeError, match="another event loop"):
        asyncio.run(requester.execute("2+2?", timeout=0.05))


async def test_another_fleet(nats_url: str, client: Client) -> None:
    """Two fleets on one NATS account are told apart by the subject prefix."""
    responder = await FakeResponder.start(client, "team.cli")
    async with Requester(RequesterSettings(nats_url=nats_url, subject_prefix="team.cli")) as requester:
        await requester.execute("2+2?")
        assert (await requester.health(responder="r1")).responder == "r1"
    assert [message.subject for message in responder.seen] == ["team.cli.execute", "team.cli.health.r1"]


async def test_health(requester: Requester, responder: FakeResponder) -> None:
    """Any responder, or a certain one, says how it is; the deep check is asked for by name."""
    assert await requester.health() == HEALTHY
    assert await requester.health(responder="r1", deep=True) == HEALTHY
    asked = [(message.subject, message.data) for message in responder.seen]
    assert asked == [("claude.cli.health", b'{"deep":false}'), ("claude.cli.health.r1", b'{"deep":true}')]
    responder.health = HEALTHY.model_copy(update={"status": "unhealthy", "reason": "disk full"}).to_bytes()
    assert (await requester.health()).reason == "disk full"


async def test_health_of_nobody(requester: Requester) -> None:
    """Nobody's health is asked for once: the question is how it is now."""
    async with asyncio.timeout(5):
        with pytest.raises(NoRespondersError, match=r"claude.cli.health.r9"):
            await requester.health(responder="r9", timeout=60)
    with pytest.raises(InvalidRequestError):
        await requester.health(responder="*")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"hello", ProtocolError),
        (success("x").to_bytes(), ProtocolError),
        (failure(None, "internal").to_bytes(), InternalError),
    ],
)
async def test_health_that_is_none(
    requester: Requester, responder: FakeResponder, body: bytes, kind: type[Exception]
) -> None:
    """A reply that tells of no health is an error, the responder's own where it is one."""
    responder.health = body
    with pytest.raises(kind):
        await requester.health()


async def test_health_takes_its_time(nats_url: str, responder: FakeResponder) -> None:
    """The deep check may take as long as a request."""
    async with Requester(RequesterSettings(nats_url=nats_url, timeout_s=0.1)) as requester:
        await requester.health()
        responder.health = None
        with pytest.raises(ExecuteTimeoutError, match=r"no reply on claude.cli.health within 0\.[01] s"):
            await requester.health(deep=True)


def test_health_reply_is_the_contracts() -> None:
    """What `health()` gives is the wire's own shape, exported for annotations."""
    import requester

    assert requester.HealthReply is HealthReply
