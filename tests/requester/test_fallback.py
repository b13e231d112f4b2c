"""Another executor where no responder could take a request."""

from collections.abc import Sequence

import pytest

import requester
from requester import Requester, RequesterSettings, execute_with_fallback
from tests.requester.fakes import FakeResponder, failure


class Other:
    """Another executor: it keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Sequence[str] | None, str | None]] = []

    async def execute(self, prompt: str, args: Sequence[str] | None = None, cwd: str | None = None) -> str:
        self.asked.append((prompt, args, cwd))
        return "the other's answer"


async def test_a_responders_answer_needs_no_fallback(nats_url: str, responder: FakeResponder) -> None:
    """Where a responder answers, the fallback is not asked."""
    other = Other()
    async with Requester(RequesterSettings(nats_url=nats_url)) as ask:
        assert await execute_with_fallback("hi", fallback=other, requester=ask) == "four"
    assert not other.asked
    assert len(responder.seen) == 1


async def test_nobody_there_is_answered_by_the_fallback(nats_url: str) -> None:
    """Without responders the other executor gets the same prompt, arguments and directory."""
    other = Other()
    async with Requester(RequesterSettings(nats_url=nats_url)) as ask:
        answer = await execute_with_fallback(
            "hi", fallback=other, requester=ask, timeout=0.2, args=["--model", "m"], cwd="repo"
        )
    assert answer == "the other's answer"
    assert other.asked == [("hi", ["--model", "m"], "repo")]


@pytest.mark.parametrize(
    ("code", "executed", "after_execution", "is_asked"),
    [
        ("cli_not_found", False, False, True),
        ("api_error", True, False, False),
        ("api_error", True, True, True),
        ("timeout", False, False, True),
        ("timeout", True, False, False),
        ("argument_refused", False, True, False),
        ("budget_exceeded", True, True, False),
    ],
)
async def test_nothing_is_worked_on_twice_unless_that_is_wanted(
    nats_url: str, responder: FakeResponder, code: str, executed: bool, after_execution: bool, is_asked: bool
) -> None:
    """A started run falls back only where the caller says so, and the caller's own error never does."""
    responder.answer = lambda request: failure(request["id"], code, executed=executed).to_bytes()
    other = Other()
    async with Requester(RequesterSettings(nats_url=nats_url)) as ask:
        ended = execute_with_fallback("hi", fallback=other, requester=ask, after_execution=after_execution)
        if is_asked:
            assert await ended == "the other's answer"
        else:
            with pytest.raises(requester.RequesterError) as raised:
                await ended
            assert raised.value.code == code
    assert bool(other.asked) is is_asked
