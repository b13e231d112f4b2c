"""What follows a failed attempt."""

import pytest

from requester import (
    ApiOverloadedError,
    CLIKilledError,
    CLINotFoundError,
    CLIStartError,
    ExecuteTimeoutError,
    NoRespondersError,
    NotConnectedError,
    NotPermittedError,
    OverloadedError,
    RateLimitedError,
    RequesterError,
    ResponderLostError,
    ResponderStoppedError,
    StoppingError,
    UnfitError,
)
from requester.retry import Backoff, decide, is_tried_again

BACKOFF = Backoff(first_s=0.1, max_s=2.0)


def pause(error: RequesterError, attempt: int = 1, remaining_s: float = 60.0, random: float = 0.5) -> float | None:
    return decide(error, attempt=attempt, remaining_s=remaining_s, backoff=BACKOFF, random=lambda: random)


@pytest.mark.parametrize("kind", [NoRespondersError, OverloadedError, StoppingError, NotConnectedError])
def test_what_nobody_took_is_tried_again(kind: type[RequesterError]) -> None:
    """Only a request that nobody took, and that surely did not run, is sent once more."""
    assert is_tried_again(kind("m"))
    assert not is_tried_again(kind("m", executed=None))
    assert not is_tried_again(kind("m", executed=True))
    assert not is_tried_again(kind("m", retryable=False))


@pytest.mark.parametrize(
    "kind", [ApiOverloadedError, ResponderStoppedError, ExecuteTimeoutError, NotPermittedError, CLIKilledError]
)
def test_what_a_responder_took_is_not_run_twice(kind: type[RequesterError]) -> None:
    """An error of another family is the caller's to judge, however retryable it is."""
    assert pause(kind("m", retryable=True)) is None


@pytest.mark.parametrize("kind", [CLINotFoundError, CLIStartError])
def test_a_cli_that_was_not_started_is_tried_elsewhere(kind: type[RequesterError]) -> None:
    """A responder without a CLI ran nothing: another one may have one."""
    assert pause(kind("m")) == 0.05
    assert pause(kind("m", executed=True)) is None


def test_a_limit_that_nobody_has_hit_is_waited_for() -> None:
    """Where all wait for the end of a limit the request does, too, if there is time; the run that hit it does not."""
    limited = RateLimitedError("m", executed=False, retry_after_s=30.0)
    assert pause(limited, random=0.0) == 30.0
    assert pause(limited, remaining_s=29.0) is None
    assert pause(RateLimitedError("m", executed=True, retry_after_s=1.0)) is None


def test_what_an_unfit_responder_lets_go_moves_at_once() -> None:
    """It has left the queue group before, so another takes it."""
    assert pause(UnfitError("m"), attempt=5, random=0.9) == 0.0


def test_pauses_grow_to_the_maximum() -> None:
    """The bound of the pause doubles with each attempt and stops at the maximum."""
    error = NoRespondersError("m")
    assert [pause(error, attempt, random=0.5) for attempt in (1, 2, 3, 4, 5, 6)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0]
    assert pause(error, attempt=100_000, random=0.5) == 1.0


def test_pauses_are_random_from_nothing() -> None:
    """The jitter is full: a pause may be anything from nothing to its bound."""
    assert pause(OverloadedError("m"), attempt=3, random=0.0) == 0.0
    assert pause(OverloadedError("m"), attempt=3, random=0.999) == pytest.approx(0.3996)


def test_the_responders_pause_is_kept() -> None:
    """The pause that a responder asks for is waited at least, with the jitter on top."""
    assert pause(OverloadedError("m", retry_after_s=1.5), random=0.0) == 1.5
    assert pause(OverloadedError("m", retry_after_s=1.5), random=0.5) == 1.55


def test_no_attempt_begins_after_the_deadline() -> None:
    """A pause that would end at the deadline or later is not begun."""
    assert pause(OverloadedError("m", retry_after_s=1.0), remaining_s=1.0, random=0.0) is None
    assert pause(OverloadedError("m", retry_after_s=1.0), remaining_s=1.01, random=0.0) == 1.0
    assert pause(NoRespondersError("m"), remaining_s=-1.0, random=0.0) is None


@pytest.mark.parametrize("error", [StoppingError("m"), ResponderLostError("m", executed=False)])
def test_what_is_let_go_again_and_again(error: RequesterError) -> None:
    """What moves does so without a pause, but not for ever: it would go round as fast as the wire allows."""
    assert [pause(error, attempt) for attempt in range(7, 12)] == [0, 0, 0.05, 0.1, 0.2]
    assert pause(error, attempt=100_000) == 1.0
