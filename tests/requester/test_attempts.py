"""One request and its attempts, over a way without NATS."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from opentelemetry.trace import INVALID_SPAN

from contract import ErrorCode, Failover
from requester import (
    ApiError,
    ArgumentRefusedError,
    CLINotFoundError,
    NoRespondersError,
    NotConnectedError,
    OverloadedError,
    ProtocolError,
    RequesterError,
    ResponderLostError,
    UnfitError,
)
from requester.attempts import Attempts, Patience, Wanted
from requester.metrics import Metrics
from requester.output import OutputFollower
from requester.request import build_request
from requester.retry import Backoff
from requester.tracing import RequestSpan, Tracing
from tests.requester.fakes import CANARY, DOCUMENT, SUBJECT, FakeWay, answer_well, failure, success

Outcomes = Iterable[RequesterError | Callable[[dict[str, Any]], bytes]]
REQUEST = build_request("2+2?", args=["--model", "sonnet"], cwd="repo", request_id="job-7")


async def run(
    way: FakeWay,
    timeout_s: float = 60.0,
    random: float = 0.0,
    failover: Failover = Failover.UNSTARTED,
    output: OutputFollower | None = None,
) -> tuple[Any, int]:
    attempts = Attempts(
        way=way,
        subject=SUBJECT,
        tracing=Tracing(),
        metrics=Metrics(SUBJECT),
        backoff=Backoff(0.01, 0.01),
        patience=Patience(accept_s=0.5, reply_grace_s=5.0),
        random=lambda: random,
    )
    deadline = asyncio.get_running_loop().time() + timeout_s
    return await attempts.run(Wanted(REQUEST, deadline, failover, output), RequestSpan(INVALID_SPAN))


def refuse(code: str, **more: Any) -> Callable[[dict[str, Any]], bytes]:
    return lambda request: failure(request["id"], code, **more).to_bytes()


async def test_the_first_attempt_is_enough() -> None:
    """A request that is taken is sent once, with the time left and the grace on top of it."""
    way = FakeWay([answer_well])
    reply, attempts = await run(way, timeout_s=60)
    assert (reply.id, attempts) == ("job-7", 1)
    [(request, order)] = way.sent
    assert request == {
        "prompt": "2+2?",
        "id": "job-7",
        "args": ["--model", "sonnet"],
        "cwd": "repo",
        "timeout_ms": request["timeout_ms"],
    }
    assert 59_000 < request["timeout_ms"] <= 60_000
    assert (order.accept_s, order.reply_grace_s) == (0.5, 5.0)


async def test_it_is_sent_again_until_it_is_taken() -> None:
    """Refusals of every kind that ran nothing are followed by another attempt, each with less time left."""
    outcomes: Outcomes = [
        NotConnectedError("m"),
        NoRespondersError("m"),
        refuse("overloaded"),
        refuse("stopping"),
        answer_well,
    ]
    way = FakeWay(outcomes)
    _, attempts = await run(way, random=0.999)
    assert attempts == 5
    left = [request["timeout_ms"] for request, _ in way.sent]
    assert left == sorted(left, reverse=True)
    assert left[0] - left[-1] >= 30


async def test_the_last_refusal_is_raised() -> None:
    """At the deadline the last error is raised, not the first, and says how many attempts there were in how long."""
    way = FakeWay([NoRespondersError("nobody"), refuse("overloaded"), refuse("overloaded", retry_after_ms=9_000)])
    with pytest.raises(OverloadedError, match=r"^what overloaded says \(3 attempts in \d\.\d s\)$") as caught:
        await run(way, timeout_s=8)
    assert (caught.value.request_id, caught.value.responder) == ("job-7", "r1")
    assert caught.value.retry_after_s == 9


async def test_a_responder_without_a_cli_is_passed_over() -> None:
    """The request moves to another responder."""
    way = FakeWay([refuse("cli_not_found", responder="r1"), refuse("cli_start_failed", responder="r2"), answer_well])
    assert (await run(way))[1] == 3


@pytest.mark.parametrize(
    "then", [(NoRespondersError("nobody"),), (UnfitError("left"), NoRespondersError("nobody")), (None,)]
)
async def test_the_only_responder_has_no_cli(then: tuple[RequesterError | None, ...]) -> None:
    """Where there is nobody else, or who has no CLI is still there, the error is at once that there is no CLI."""
    without = refuse("cli_not_found")
    way = FakeWay([without, *(error or without for error in then)])
    with pytest.raises(CLINotFoundError, match=r"^what cli_not_found says$"):
        await run(way)
    assert len(way.sent) == 1 + len(then)


async def test_what_ran_is_raised_at_once() -> None:
    """A failure of the run itself is not repeated, and its message is the responder's own."""
    way = FakeWay([refuse("api_error", api_status=500)])
    with pytest.raises(ApiError, match=r"^what api_error says$") as caught:
        await run(way)
    assert (caught.value.api_status, caught.value.request_id, len(way.sent)) == (500, "job-7", 1)


async def test_a_pause_that_lasts_too_long() -> None:
    """When a busy machine wakes up after the deadline, the error is still the last attempt's own."""
    loop = asyncio.get_running_loop()

    def refuse_and_stall(request: dict[str, Any]) -> bytes:
        loop.call_soon(time.sleep, 0.06)
        return failure(request["id"], "overloaded").to_bytes()

    way = FakeWay([refuse_and_stall] * 2)
    with pytest.raises(OverloadedError, match="1 attempt in"):
        await run(way, timeout_s=0.05, random=0.1)


async def test_an_attempt_that_comes_too_late() -> None:
    """An attempt that finds no time left to be sent does not hide what the one before it was told."""
    loop = asyncio.get_running_loop()
    deadlines: list[float] = []

    async def stall() -> None:
        if way.sent:
            await asyncio.sleep(deadlines[0] - loop.time() + 0.01)

    way = FakeWay([refuse("overloaded")], connect=stall)
    deadlines.append(loop.time() + 0.3)
    with pytest.raises(OverloadedError, match="2 attempts in"):
        await run(way, timeout_s=0.3)
    assert len(way.sent) == 1


async def test_time_spent_connecting_is_not_promised() -> None:
    """The time left is counted after the connection is there; when none is left nothing is sent."""

    async def connect() -> None:
        await asyncio.sleep(0.02)

    way = FakeWay([answer_well], connect=connect)
    await run(way, timeout_s=1)
    assert way.sent[0][0]["timeout_ms"] <= 980
    late = FakeWay([answer_well], connect=connect)
    with pytest.raises(NotConnectedError, match="deadline"):
        await run(late, timeout_s=0.01)
    assert not late.sent


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        CANARY.encode(),
        success("job-8").to_bytes(),
        failure("job-8", "overloaded").to_bytes(),
        b'{"success": true, "id": "job-7"}',
    ],
)
async def test_a_foreign_reply(body: bytes) -> None:
    """A reply that is none, or another request's, is a ProtocolError that shows nothing of it and is not repeated."""
    way = FakeWay([lambda _: body])
    with pytest.raises(ProtocolError) as caught:
        await run(way)
    assert CANARY not in str(caught.value)
    assert caught.value.executed is None
    assert len(way.sent) == 1


async def test_a_refusal_without_an_id() -> None:
    """A responder that could not read the request's id still has its refusal heard."""
    with pytest.raises(RequesterError) as caught:
        await run(FakeWay([lambda _: failure(None, "invalid_request").to_bytes()]))
    assert caught.value.code == ErrorCode.INVALID_REQUEST
    assert caught.value.request_id == "job-7"


async def test_what_was_let_go_moves_at_once() -> None:
    """What a responder had to let go is asked of another at once; where nobody accepts, each gets longer to do so."""
    lost = [ResponderLostError("m", executed=False) for _ in range(4)]
    way = FakeWay([*lost, refuse("stopping"), refuse("unclaimed"), answer_well])
    began = asyncio.get_running_loop().time()
    _, attempts = await run(way, random=1e9)
    assert attempts == 7
    assert asyncio.get_running_loop().time() - began < 5
    assert [order.accept_s for _, order in way.sent] == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0, 4.0]


async def test_what_may_have_run_is_not_repeated() -> None:
    """A request whose responder was lost after its go fails, unless the caller allows it to be run again."""
    lost = ResponderLostError("the responder was lost", executed=True, responder="r1")
    way = FakeWay([lost, answer_well])
    with pytest.raises(ResponderLostError, match=r"\(1 attempt in") as caught:
        await run(way)
    assert caught.value.executed
    again = FakeWay([ResponderLostError("m", executed=True), answer_well])
    assert (await run(again, failover=Failover.ALWAYS))[1] == 2


async def test_what_an_earlier_attempt_ran_is_not_denied() -> None:
    """When another attempt is allowed and runs nothing, the error still says that the one before it did."""
    outcomes: Outcomes = [ResponderLostError("m", executed=True), refuse("argument_refused")]
    with pytest.raises(ArgumentRefusedError) as caught:
        await run(FakeWay(outcomes), failover=Failover.ALWAYS)
    assert caught.value.executed
    outcomes = [ResponderLostError("m", executed=True), *[NoRespondersError("m")] * 100]
    with pytest.raises(RequesterError) as late:
        await run(FakeWay(outcomes), timeout_s=0.05, random=0.9, failover=Failover.ALWAYS)
    assert late.value.executed


async def test_the_output_of_a_second_run() -> None:
    """The output of a run that replaces a lost one is handed on from its beginning."""
    printed: list[str] = []
    output = OutputFollower(printed.append)

    def print_and_be_lost(_request: dict[str, Any]) -> bytes:
        output.take(0, b"first\nhal")
        raise ResponderLostError("m", executed=True)

    await run(FakeWay([print_and_be_lost, answer_well]), failover=Failover.ALWAYS, output=output)
    assert printed == ["first\n", DOCUMENT]
