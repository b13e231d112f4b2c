"""Waiting while a slot is free."""

import pytest

from bench.routing.idleness import Span, idle_while_waiting, most_running


@pytest.mark.parametrize(
    ("wait", "idle_s"),
    [
        (Span(0.5, 1.0), 0.5),  # one of two slots was free
        (Span(1.0, 2.0), 0.0),  # both were busy
        (Span(0.5, 2.5), 1.0),  # before and after both were
        (Span(0.0, 4.0), 3.0),
        (Span(-1.0, 0.5), 1.5),  # nothing had run yet
        (Span(3.5, 5.0), 1.5),  # nothing ran any more
        (Span(1.5, 1.5), 0.0),
    ],
)
def test_only_what_was_waited_beside_a_free_slot_counts(wait: Span, idle_s: float) -> None:
    """Two slots, one run from 0 to 3, another from 1 to 2."""
    runs = [Span(0.0, 3.0), Span(1.0, 2.0)]
    assert idle_while_waiting([wait], runs, 2) == [pytest.approx(idle_s)]


def test_with_all_slots_busy_waiting_is_no_fault() -> None:
    """With one slot there is none free while one runs; one run hands over to the next without a gap."""
    assert idle_while_waiting([Span(0.0, 3.0)], [Span(0.0, 1.0), Span(1.0, 3.0)], 1) == [0.0]


def test_how_many_ran_at_a_time() -> None:
    """A run that begins when another ends is not beside it."""
    assert most_running([]) == 0
    assert most_running([Span(0.0, 1.0), Span(1.0, 2.0), Span(1.5, 3.0)]) == 2
