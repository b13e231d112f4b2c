"""Means and percentiles."""

import pytest

from bench.routing.sojourns import Sojourns


@pytest.mark.parametrize(
    ("percent", "seconds"), [(0, 1.0), (1, 1.0), (50, 50.0), (90, 90.0), (99, 99.0), (99.5, 100.0), (100, 100.0)]
)
def test_percentiles_are_nearest_rank(percent: float, seconds: float) -> None:
    """Of the numbers 1 to 100, in any order, the percentile is the number itself."""
    assert Sojourns(float(number) for number in range(100, 0, -1)).percentile(percent) == seconds


def test_one_time_is_every_percentile() -> None:
    """With one request all numbers are its own."""
    one = Sojourns([0.7])
    assert (one.mean, one.longest, one.percentile(0), one.percentile(99.9)) == (0.7, 0.7, 0.7, 0.7)


def test_nothing_measured_has_no_numbers() -> None:
    """Without a request there is nothing to say."""
    with pytest.raises(ValueError, match="nothing was measured"):
        Sojourns([])
