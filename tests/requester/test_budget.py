"""The retry budget, and how the attempts use it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.trace import INVALID_SPAN

from contract import Failover
from requester import ApiError, NoRespondersError, RequesterError, ResponderLostError, StoppingError
from requester.attempts import Attempts, Wanted
from requester.budget import RetryBudget
from requester.metrics import Metrics
from requester.request import build_request
from requester.retry import Backoff
from requester.tracing import RequestSpan, Tracing
from tests.requester.fakes import SUBJECT, FakeWay, answer_well, failure
from tests.support.virtual_time import virtual_time

REQUEST = build_request("2+2?", args=None, cwd=None, request_id="job-7")
PAUSE_MAX_S = 2.0
Outcome = RequesterError | Callable[[dict[str, Any]], bytes]


def refuse(code: str) -> Callable[[dict[str, Any]], bytes]:
    return lambda request: failure(request["id"], code).to_bytes()


def spent(tokens_max: float = 10.0) -> RetryBudget:
    """Give a budget that holds retries back until something succeeds."""
    budget = RetryBudget(tokens_max)
    while not budget.is_spent:
        budget.fail()
    return budget


def test_it_begins_full() -> None:
    """Retries are held back when half of the tokens are gone, and not one earlier."""
    budget = RetryBudget(10)
    for _ in range(4):
        budget.fail()
    assert not budget.is_spent
    budget.fail()
    assert budget.is_spent


def test_a_success_gives_back_a_part() -> None:
    """It takes ten successes to pay for one failure."""
    budget = RetryBudget(10, token_ratio=0.125)
    for _ in range(6):
        budget.fail()
    for _ in range(8):
        budget.succeed()
    assert budget.is_spent
    budget.succeed()
    assert not budget.is_spent


def test_it_has_two_ends() -> None:
    """Neither are there more tokens than at first, nor a debt that never ends."""
    budget = RetryBudget(2, token_ratio=0.5)
    for _ in range(1000):
        budget.succeed()
    budget.fail()
    assert budget.is_spent
    for _ in range(1000):
        budget.fail()
    for _ in range(3):
        budget.succeed()
    assert not budget.is_spent


def test_it_can_be_turned_off() -> None:
    """A budget without tokens holds nothing back."""
    budget = RetryBudget(0)
    budget.fail()
    assert not budget.is_spent


async def took(budget: RetryBudget, *outcomes: Outcome) -> float:
    """Give the seconds that a request took whose attempts had these outcomes."""
    attempts = Attempts(
        way=FakeWay(outcomes),
        subject=SUBJECT,
        tracing=Tracing(),
        metrics=Metrics(SUBJECT),
        backoff=Backoff(0.5, PAUSE_MAX_S),
        budget=budget,
        random=lambda: 0.5,
    )
    began = asyncio.get_running_loop().time()
    await attempts.run(Wanted(REQUEST, began + 60, Failover.UNSTARTED), RequestSpan(INVALID_SPAN))
    return asyncio.get_running_loop().time() - began


@virtual_time
async def test_attempts_within_the_budget() -> None:
    """As long as there are tokens the pauses are those of the backoff."""
    outcomes: list[Outcome] = [NoRespondersError("m"), refuse("overloaded"), answer_well]
    assert await took(RetryBudget(), *outcomes) == pytest.approx(0.25 + 0.5)


@virtual_time
async def test_throttled_attempts() -> None:
    """When most attempts are refused, each pause is longer by the longest there is; nobody is turned away for it."""
    budget = spent()
    outcomes: list[Outcome] = [NoRespondersError("m"), refuse("overloaded"), answer_well]
    assert await took(budget, *outcomes) == pytest.approx(0.25 + 0.5 + 2 * PAUSE_MAX_S)


@virtual_time
async def test_who_spends_it() -> None:
    """The requests of a requester spend one budget, and their successes fill it again."""
    budget = RetryBudget(4, token_ratio=0.5)
    assert await took(budget, refuse("overloaded"), answer_well) < PAUSE_MAX_S
    assert await took(budget, refuse("overloaded"), refuse("overloaded"), answer_well) > PAUSE_MAX_S
    assert await took(budget, answer_well, answer_well) == 0
    assert not budget.is_spent


@virtual_time
async def test_what_moves_is_not_held_back() -> None:
    """What a responder had to let go is asked of another at once, and costs nothing: it is no sign of overload."""
    budget = RetryBudget(1)
    moved: list[Outcome] = [ResponderLostError("m", executed=False), StoppingError("m"), refuse("unclaimed")]
    assert await took(budget, *moved, answer_well) == 0
    assert not budget.is_spent


@virtual_time
async def test_what_ran_costs_nothing() -> None:
    """A run that failed was no refusal."""
    budget = RetryBudget(2)
    with pytest.raises(ApiError):
        await took(budget, refuse("api_error"))
    assert not budget.is_spent
