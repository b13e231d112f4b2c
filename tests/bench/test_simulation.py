"""The simulated fleets, by hand and by what theory says."""

import pytest

from bench.routing.simulation import central_queue, random_group
from bench.routing.sojourns import Sojourns
from bench.routing.trace import MEAN_S, Trace, poisson_trace


def test_a_free_slot_serves_at_once() -> None:
    """Without a wait the sojourn time is the service time."""
    assert central_queue(Trace((0.0, 1.0), (2.0, 3.0)), 2) == [2.0, 3.0]


def test_the_first_that_came_gets_the_first_free_slot() -> None:
    """The third request waits for the shorter of the two runs, the fourth for the next end."""
    trace = Trace((0.0, 0.0, 1.0, 1.5), (5.0, 2.0, 4.0, 1.0))
    assert central_queue(trace, 2) == [5.0, 2.0, 5.0, 4.5]


def test_one_member_with_all_slots_is_the_central_queue() -> None:
    """The random group differs only by its choice."""
    trace = poisson_trace(seed=3, load=0.9, slots=10, duration_s=20)
    assert random_group(trace, members=1, slots=10, seed=5) == central_queue(trace, 10)


def test_a_members_requests_wait_for_its_own_slots() -> None:
    """Two requests at once take two services' time where they meet, however idle the other member is."""
    trace = Trace((0.0, 0.0), (1.0, 1.0))
    seen = {tuple(random_group(trace, members=2, slots=1, seed=seed)) for seed in range(20)}
    assert seen == {(1.0, 1.0), (1.0, 2.0)}


def test_a_random_group_is_far_from_the_ideal() -> None:
    """At 95 % load, eight members of five slots: what was measured of real fleets is seen here too."""
    ratios = []
    for seed in (1, 2, 3):
        trace = poisson_trace(seed=seed, load=0.95, slots=40, duration_s=80)
        ideal = Sojourns(central_queue(trace, 40))
        assert ideal.mean > MEAN_S
        ratios.append(Sojourns(random_group(trace, members=8, slots=5, seed=seed)).mean / ideal.mean)
    assert sorted(ratios)[1] == pytest.approx(2.6, abs=1.0)
