"""The state machine of one attempt, as the responder sees it: every cell of its table, and one start at most."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from contract import GO_WINDOW_S
from responder.attempt import Attempt, State

NOW = 1000.0
IN_TIME = NOW + GO_WINDOW_S
LATE = NOW + GO_WINDOW_S + 0.001


def waiting() -> Attempt:
    return Attempt()


def ready() -> Attempt:
    attempt = waiting()
    assert attempt.ready(NOW)
    return attempt


def started() -> Attempt:
    attempt = ready()
    assert attempt.go(NOW)
    return attempt


def ended() -> Attempt:
    attempt = started()
    assert attempt.end()
    return attempt


def forgotten() -> Attempt:
    attempt = waiting()
    attempt.cancel()
    return attempt


EVENTS: dict[str, Callable[[Attempt], bool]] = {
    "slot": lambda attempt: attempt.ready(NOW),
    "go": lambda attempt: attempt.go(IN_TIME),
    "late go": lambda attempt: attempt.go(LATE),
    "cancel": lambda attempt: attempt.cancel(),
    "end": lambda attempt: attempt.end(),
    "ack": lambda attempt: attempt.ack(),
}
# What each event says, and the state after it.
TABLE: dict[Callable[[], Attempt], dict[str, tuple[bool, State]]] = {
    waiting: {
        "slot": (True, State.READY),
        "go": (False, State.WAITING),
        "late go": (False, State.WAITING),
        "cancel": (False, State.FORGOTTEN),
        "end": (True, State.ENDED),
        "ack": (False, State.WAITING),
    },
    ready: {
        "slot": (False, State.READY),
        "go": (True, State.STARTED),
        "late go": (False, State.READY),
        "cancel": (False, State.FORGOTTEN),
        "end": (True, State.ENDED),
        "ack": (False, State.READY),
    },
    started: {
        "slot": (False, State.STARTED),
        "go": (False, State.STARTED),
        "late go": (False, State.STARTED),
        "cancel": (True, State.FORGOTTEN),
        "end": (True, State.ENDED),
        "ack": (False, State.STARTED),
    },
    ended: {
        "slot": (False, State.ENDED),
        "go": (False, State.ENDED),
        "late go": (False, State.ENDED),
        "cancel": (False, State.FORGOTTEN),
        "end": (True, State.ENDED),
        "ack": (True, State.FORGOTTEN),
    },
    forgotten: {
        "slot": (False, State.FORGOTTEN),
        "go": (False, State.FORGOTTEN),
        "late go": (False, State.FORGOTTEN),
        "cancel": (False, State.FORGOTTEN),
        "end": (False, State.FORGOTTEN),
        "ack": (False, State.FORGOTTEN),
    },
}
CELLS = [(make, event, *expected) for make, row in TABLE.items() for event, expected in row.items()]


@pytest.mark.parametrize(
    ("make", "event", "says", "after"), CELLS, ids=[f"{make.__name__}-{event}" for make, event, *_ in CELLS]
)
def test_every_cell(make: Callable[[], Attempt], event: str, says: bool, after: State) -> None:
    """In each state each event says what the table says, and leads to the state that it says."""
    attempt = make()
    assert (EVENTS[event](attempt), attempt.state) == (says, after)


@pytest.mark.parametrize("make", TABLE)
def test_what_has_not_started_may_be_let_go(make: Callable[[], Attempt]) -> None:
    """A drain lets go of what waits or is ready, and of nothing else."""
    assert make().is_unstarted is (make in {waiting, ready})


@pytest.mark.parametrize(
    ("after_s", "starts"), [(0.0, True), (GO_WINDOW_S, True), (GO_WINDOW_S + 0.001, False), (3600.0, False)]
)
def test_a_go_counts_by_the_time_it_is_handled_at(after_s: float, starts: bool) -> None:
    """A go that lay in the socket of a frozen process for longer than the window starts nothing."""
    attempt = ready()
    assert attempt.go_by == NOW + GO_WINDOW_S
    assert attempt.go(NOW + after_s) is starts


def test_a_second_slot_does_not_lengthen_the_window() -> None:
    """The window is counted from the moment at which the slot was first held."""
    attempt = ready()
    attempt.ready(LATE)
    assert not attempt.go(LATE)


@dataclass
class Story:
    """One attempt, and what should be true of it."""

    attempt: Attempt
    starts: int = 0
    told_at: float | None = None
    is_over: bool = False

    def tell(self, event: str, now: float) -> None:
        """Let something happen, and see whether it may start anything."""
        match event:
            case "slot":
                self.told_at = now if self.attempt.ready(now) else self.told_at
            case "go":
                if self.attempt.go(now):
                    self.starts += 1
                    assert self.told_at is not None
                    assert now - self.told_at <= GO_WINDOW_S
                    assert not self.is_over
            case "end":
                self.attempt.end()
                self.is_over = True
            case "cancel":
                self.attempt.cancel()
                self.is_over = True
            case _:
                self.attempt.ack()


@pytest.mark.parametrize("seed", range(20))
def test_it_starts_once_at_most_whatever_comes(seed: int) -> None:
    """In any order of events there is one start at most: after a slot, within the window, before an end."""
    chance = random.Random(seed)  # noqa: S311 # an order of events, no secret
    for _ in range(200):
        story, now = Story(Attempt()), NOW
        for _ in range(30):
            now += chance.choice((0.0, 0.1, 1.0, GO_WINDOW_S))
            story.tell(chance.choice(("slot", "go", "go", "go", "ack", "ack", "end", "cancel")), now)
        assert story.starts <= 1


def test_its_repr_says_how_far_it_has_come() -> None:
    """Who looks at a responder sees the state."""
    assert repr(started()) == "<Attempt started>"
