"""When a CLI may be started ahead again after one was of no use."""

import logging

import pytest

from responder.pauses import Pauses
from tests.responder.ahead import JSON, STREAM


def test_none_at_first() -> None:
    """Without a failure there is no pause, and none to end."""
    pauses = Pauses()
    assert not pauses.is_on(JSON, 0.0)
    pauses.end(JSON)


def test_it_is_over_after_a_while() -> None:
    """A pause is five seconds, of the arguments that have failed."""
    pauses = Pauses()
    pauses.begin(JSON, 100.0)
    assert pauses.is_on(JSON, 104.9)
    assert not pauses.is_on(JSON, 105.0)
    assert not pauses.is_on(STREAM, 101.0)


def test_several_at_once_are_one(caplog: pytest.LogCaptureFixture) -> None:
    """What fails during a pause neither makes it longer nor is told again."""
    pauses = Pauses()
    with caplog.at_level(logging.WARNING):
        pauses.begin(JSON, 100.0)
        pauses.begin(JSON, 104.9)
    assert not pauses.is_on(JSON, 105.0)
    assert caplog.text.count("none is started for 5 s") == 1


def test_each_is_twice_as_long() -> None:
    """Each pause is twice as long as the one before, up to ten minutes."""
    pauses = Pauses()
    now, seconds = 0.0, []
    for _ in range(9):
        pauses.begin(JSON, now)
        seconds.append(pauses.by_mold[JSON].seconds)
        now = pauses.by_mold[JSON].until
    assert seconds == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 600.0, 600.0]


def test_one_that_was_of_use() -> None:
    """Once one was of use the pause is over, and the next is a first one."""
    pauses = Pauses()
    pauses.begin(JSON, 0.0)
    pauses.begin(JSON, 5.0)
    pauses.end(JSON)
    assert not pauses.is_on(JSON, 6.0)
    pauses.begin(JSON, 6.0)
    assert not pauses.is_on(JSON, 11.0)


def test_what_was_long_ago() -> None:
    """A pause that has been over for ten minutes leaves nothing; the others stay, and with them their lengths."""
    pauses = Pauses()
    pauses.begin(JSON, 0.0)
    pauses.begin(STREAM, 1.0)
    pauses.forget(605.0)
    assert list(pauses.by_mold) == [STREAM]
    pauses.begin(STREAM, 605.0)
    assert pauses.is_on(STREAM, 614.9)
