"""The trace is what it says it is."""

import math
import statistics

import pytest

from bench.routing.trace import burst, poisson_trace


def test_the_seed_makes_the_trace() -> None:
    """The same seed gives the same trace, another one another."""
    first, again, other = (poisson_trace(seed=seed, load=0.8, slots=40, duration_s=10) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("load", [0.5, 0.95])
def test_the_load_is_met(load: float) -> None:
    """The work asked for is that share of what the slots can do until the last arrival."""
    trace = poisson_trace(seed=7, load=load, slots=40, duration_s=60)
    assert trace.arrivals[-1] == pytest.approx(60)
    assert sum(trace.services) == pytest.approx(load * 40 * 60)
    assert list(trace.arrivals) == sorted(trace.arrivals)


def test_the_times_are_as_uneven_as_they_should_be() -> None:
    """Service times are lognormal with a sigma of 1.2; gaps between arrivals are exponential."""
    trace = poisson_trace(seed=7, load=0.95, slots=40, duration_s=200)
    assert statistics.stdev(map(math.log, trace.services)) == pytest.approx(1.2, rel=0.03)
    gaps = [after - before for before, after in zip(trace.arrivals, trace.arrivals[1:], strict=False)]
    assert statistics.stdev(gaps) == pytest.approx(statistics.mean(gaps), rel=0.05)


def test_a_burst_comes_at_once() -> None:
    """All arrive at the beginning, with times around the mean."""
    trace = burst(seed=1, count=1000, mean_s=2.0)
    assert set(trace.arrivals) == {0.0}
    assert statistics.mean(trace.services) == pytest.approx(2.0, rel=0.05)
    assert min(trace.services) == pytest.approx(1.0, abs=0.1)
    assert max(trace.services) == pytest.approx(3.0, abs=0.1)
