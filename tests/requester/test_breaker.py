"""The circuit breaker, by hand-turned clock, and around real requests."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

import requester
from requester.breaker import BreakerLimits, CircuitBreaker, CircuitState, Passage, is_service_failure
from requester.settings import RequesterSettings
from tests.requester.fakes import FakeResponder, answer_well, failure

LIMITS = BreakerLimits(error_ratio=0.5, min_requests=10, window_s=60.0, open_s=30.0)


def breaker_after(*failures: bool, now: float = 0.0) -> CircuitBreaker:
    breaker = CircuitBreaker(LIMITS)
    for is_failure in failures:
        breaker.settle(Passage.REGULAR, now, is_failure=is_failure)
    return breaker


@pytest.mark.parametrize(
    ("failures", "state"),
    [
        ([True] * 9, CircuitState.CLOSED),
        ([True] * 10, CircuitState.OPEN),
        ([False] * 6 + [True] * 4, CircuitState.CLOSED),
        ([False] * 5 + [True] * 5, CircuitState.OPEN),
        ([False] * 100 + [True] * 99, CircuitState.CLOSED),
        ([False] * 100 + [True] * 100, CircuitState.OPEN),
    ],
)
def test_it_opens_at_half_of_at_least_ten(failures: list[bool], state: CircuitState) -> None:
    """Half of the requests open it, but never fewer than ten of them."""
    assert breaker_after(*failures).state is state


def test_what_is_longer_ago_than_the_window_counts_no_more() -> None:
    """Nine failures of long ago and one of now are one failure."""
    breaker = breaker_after(*[True] * 9, now=0.0)
    breaker.settle(Passage.REGULAR, 60.0, is_failure=True)
    assert breaker.state is CircuitState.CLOSED


@pytest.mark.parametrize("seed", range(20))
def test_it_opens_when_the_share_within_the_window_says_so(seed: int) -> None:
    """However requests come and go, it opens exactly when those of the last minute say so, also after it has closed."""
    dice = random.Random(seed)  # noqa: S311 # a trace, not a secret
    breaker, now, ended = CircuitBreaker(LIMITS), 0.0, list[tuple[float, bool]]()
    for _ in range(2000):
        now += dice.expovariate(1.0)
        is_failure = dice.random() < 0.4
        breaker.settle(Passage.REGULAR, now, is_failure=is_failure)
        ended = [(at, failed) for at, failed in [*ended, (now, is_failure)] if at > now - LIMITS.window_s]
        is_open = len(ended) >= LIMITS.min_requests and 2 * sum(failed for _, failed in ended) >= len(ended)
        assert breaker.state is (CircuitState.OPEN if is_open else CircuitState.CLOSED)
        if is_open:
            now += LIMITS.open_s
            assert breaker.admit(now) is Passage.TRIAL
            breaker.settle(Passage.TRIAL, now, is_failure=False)
            ended.clear()


def test_callers_errors_and_cancellations_do_not_count() -> None:
    """What says nothing about the service neither opens the circuit nor keeps it closed."""
    breaker = CircuitBreaker(LIMITS)
    for _ in range(50):
        breaker.settle(Passage.REGULAR, 0.0, is_failure=None)
    for _ in range(10):
        breaker.settle(Passage.REGULAR, 0.0, is_failure=True)
    assert breaker.state is CircuitState.OPEN


def test_open_it_says_how_long() -> None:
    """While it is open, a request learns when to come again."""
    breaker = breaker_after(*[True] * 10, now=100.0)
    assert breaker.admit(100.0) == pytest.approx(30.0)
    assert breaker.admit(129.0) == pytest.approx(1.0)


def test_half_open_lets_one_through() -> None:
    """After the pause exactly one request tries; the others are refused until it has ended."""
    breaker = breaker_after(*[True] * 10)
    assert breaker.admit(30.0) is Passage.TRIAL
    assert [breaker.admit(30.0 + second) for second in range(5)] == [0.0] * 5
    breaker.settle(Passage.TRIAL, 40.0, is_failure=False)
    assert breaker.state is CircuitState.CLOSED
    assert breaker.admit(40.0) is Passage.REGULAR


def test_a_failed_trial_opens_it_again() -> None:
    """The pause begins anew when the trial fails."""
    breaker = breaker_after(*[True] * 10)
    breaker.admit(30.0)
    breaker.settle(Passage.TRIAL, 50.0, is_failure=True)
    assert breaker.admit(79.0) == pytest.approx(1.0)
    assert breaker.admit(80.0) is Passage.TRIAL


def test_a_trial_that_tried_nothing_leaves_the_trial_to_the_next() -> None:
    """A cancelled or refused trial says nothing, and the next request is the trial, at once."""
    breaker = breaker_after(*[True] * 10)
    breaker.admit(30.0)
    breaker.settle(Passage.TRIAL, 31.0, is_failure=None)
    assert breaker.admit(31.0) is Passage.TRIAL


def test_a_late_end_of_an_earlier_request_is_no_trial() -> None:
    """A request let through before the circuit opened neither closes it nor opens it again."""
    breaker = breaker_after(*[True] * 10)
    breaker.admit(30.0)
    breaker.settle(Passage.REGULAR, 31.0, is_failure=False)
    assert breaker.state is CircuitState.HALF_OPEN
    breaker.settle(Passage.REGULAR, 31.0, is_failure=True)
    assert breaker.state is CircuitState.HALF_OPEN


@pytest.mark.parametrize("seed", range(20))
def test_never_two_trials_and_never_stuck(seed: int) -> None:
    """Whatever happens in whatever order, there is one trial at most, and after a pause somebody is let through."""
    choose = random.Random(seed)  # noqa: S311 # a trace, not a secret
    breaker, now, under_way = CircuitBreaker(LIMITS), 0.0, list[Passage]()
    for _ in range(2000):
        now += choose.choice([0.0, 0.1, 5.0, 31.0])
        if choose.random() < 0.5:
            passage = breaker.admit(now)
            if isinstance(passage, Passage):
                under_way.append(passage)
        elif under_way:
            ended = under_way.pop(choose.randrange(len(under_way)))
            breaker.settle(ended, now, is_failure=choose.choice([True, True, False, None]))
        assert under_way.count(Passage.TRIAL) <= 1
        assert (breaker.state is CircuitState.HALF_OPEN) == (Passage.TRIAL in under_way)
    for ended in under_way:
        breaker.settle(ended, now, is_failure=None)
    assert isinstance(breaker.admit(now + LIMITS.open_s), Passage)


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (requester.NoRespondersError("x"), True),
        (requester.OverloadedError("x"), True),
        (requester.ExecuteTimeoutError("x"), True),
        (requester.AuthError("x"), True),
        (requester.CLIKilledError("x"), True),
        (requester.ArgumentRefusedError("x"), None),
        (requester.InvalidRequestError("x"), None),
        (requester.BudgetExceededError("x"), None),
        (requester.NotPermittedError("x"), None),
        (asyncio.CancelledError(), None),
        (KeyboardInterrupt(), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_speaks_against_the_service(error: BaseException, counts: bool | None) -> None:
    """Failures of the service count; the caller's own errors and cancellations do not."""
    assert is_service_failure(error) is counts


@pytest.fixture
async def ask(nats_url: str) -> AsyncIterator[requester.Requester]:
    settings = RequesterSettings(nats_url=nats_url, breaker_min_requests=2, breaker_open_s=0.2)
    async with requester.Requester(settings) as opened:
        yield opened


async def test_an_open_circuit_sends_nothing_until_its_trial(
    ask: requester.Requester, responder: FakeResponder, caplog: pytest.LogCaptureFixture
) -> None:
    """After failures nothing is sent for a while; then one request tries, and its success lets all through again."""
    responder.answer = lambda request: failure(request["id"], "api_error").to_bytes()
    for _ in range(2):
        with pytest.raises(requester.ApiError):
            await ask.execute("hi")
    assert str(ask.circuit) == "open"
    with pytest.raises(requester.CircuitOpenError) as refused:
        await ask.execute("hi")
    assert refused.value.executed is False
    assert 0 < (refused.value.retry_after_s or 0) <= 0.2
    assert len(responder.seen) == 2
    responder.answer = answer_well
    deadline = asyncio.get_running_loop().time() + 5
    while str(ask.circuit) != "closed":
        assert asyncio.get_running_loop().time() < deadline
        try:
            await ask.execute("hi")
        except requester.CircuitOpenError as error:
            await asyncio.sleep(error.retry_after_s or 0)
    assert [record.getMessage().rpartition(" ")[2] for record in caplog.records if "circuit" in record.message] == [
        "open",
        "half-open",
        "closed",
    ]


async def test_the_breaker_can_be_switched_off(nats_url: str, responder: FakeResponder) -> None:
    """Without a breaker every request is sent, however many have failed."""
    responder.answer = lambda request: failure(request["id"], "api_error").to_bytes()
    settings = RequesterSettings(nats_url=nats_url, breaker=False, breaker_min_requests=1)
    async with requester.Requester(settings) as opened:
        for _ in range(3):
            with pytest.raises(requester.ApiError):
                await opened.execute("hi")
    assert len(responder.seen) == 3
