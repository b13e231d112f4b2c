"""When those who are refused may find a place."""

import pytest

from responder.turnover import Turnover


def turnover(count: int, held_s: float) -> Turnover:
    """Give one that has seen many slots be held for so long."""
    seen = Turnover(count)
    for _ in range(200):
        seen.end(held_s)
    return seen


@pytest.mark.parametrize(("count", "held_s", "each_ms"), [(1, 1.0, 800), (5, 1.0, 160), (4, 60.0, 12_000)])
def test_each_place_that_comes_free_is_promised_once(count: int, held_s: float, each_ms: int) -> None:
    """They stand in one line, of which one gets in a little more often than a slot comes back."""
    slots = turnover(count, held_s)
    assert [slots.retry_after_ms(50.0) for _ in range(2)] == [pytest.approx(each_ms * n, abs=1) for n in (1, 2)]


def test_a_line_that_was_served_is_forgotten() -> None:
    """After a quiet time the first one is told the first place again."""
    slots = turnover(2, 1.0)
    told = [400, 800, 1200, 1600]
    assert [slots.retry_after_ms(10.0) for _ in told] == pytest.approx(told, abs=1)
    assert slots.retry_after_ms(100.0) == pytest.approx(400, abs=1)


@pytest.mark.parametrize(("held_s", "expected"), [(0.0, 100), (3600.0, 30_000)])
def test_within_bounds(held_s: float, expected: int) -> None:
    """Nobody is sent away for less than a tenth of a second or for more than half a minute, however many come."""
    slots = turnover(1, held_s)
    assert slots.retry_after_ms(0.0) == expected
    assert all(100 <= slots.retry_after_ms(0.0) <= 30_000 for _ in range(20_000))


def test_those_beyond_the_end_come_back_at_different_times() -> None:
    """However many are refused, no moment is told to more than a few of them."""
    slots = turnover(10, 1.0)
    told = [slots.retry_after_ms(0.0) for _ in range(2000)]
    assert max(told) <= 30_000
    assert max(map(told.count, told)) < 15


def test_who_comes_back_in_time_is_not_sent_to_the_end() -> None:
    """Whoever finds no place at his time is told the next one, as often as that happens; a newcomer is not."""
    slots = turnover(1, 1.0)
    assert [slots.retry_after_ms(0.0) for _ in range(10)][-1] == pytest.approx(8000, abs=1)
    for now, told in ((0.7, 8100), (0.9, 800), (1.71, 800), (1.71, 800), (1.71, 7890)):
        assert slots.retry_after_ms(now) == pytest.approx(told, abs=1)


def test_who_does_not_come_back_keeps_no_place() -> None:
    """Seconds after its time a promise is void: who comes then is a newcomer."""
    slots = turnover(1, 1.0)
    for _ in range(20):
        slots.retry_after_ms(0.0)
    assert slots.retry_after_ms(0.8 + 5.1) == pytest.approx(800, abs=1)
    for _ in range(6):
        slots.retry_after_ms(0.8 + 5.1)
    assert slots.retry_after_ms(0.8 + 5.1) > 9000
