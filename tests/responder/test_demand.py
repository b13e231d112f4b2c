"""How many are wanted ahead, as requests come and stay away."""

import pytest

from responder.demand import Demand
from responder.standby_arguments import Mold

A, B, C = (Mold(("-p", name), is_stream=False) for name in "abc")


def demand(*arrivals: tuple[Mold, float], fixed: tuple[Mold, ...] = ()) -> Demand:
    demand = Demand(fixed)
    for mold, at in arrivals:
        demand.note(mold, at)
    return demand


def test_nothing_is_wanted_of_what_never_came() -> None:
    """Without a request, only what is wanted always is."""
    assert demand().wanted(0.0, 10) == {}
    assert demand(fixed=(A, B)).wanted(0.0, 10) == {A: 1, B: 1}


def test_what_came_once_is_not_expected_again() -> None:
    """A second request makes it expected, also long after the first."""
    once = demand((A, 0.0))
    assert once.wanted(0.0, 10) == {}
    once.note(A, 200.0)
    assert once.wanted(200.0, 10) == {A: 1}


def test_as_many_as_came_at_once() -> None:
    """As many are wanted as came within two seconds at the most, however many came in all."""
    arrivals = [(A, at) for at in (0.0, 0.5, 1.9, 2.0, 10.0, 20.0)]
    assert demand(*arrivals).wanted(20.0, 10) == {A: 3}


def test_a_step_begins_with_a_request() -> None:
    """Requests that come together are counted together, whenever that is."""
    assert demand(*[(A, at) for at in (1.0, 3.9, 4.1, 5.8)]).wanted(6.0, 10) == {A: 3}


def test_a_peak_is_forgotten() -> None:
    """After five minutes a peak counts no more: what came since then does, and in the end what is wanted always."""
    seen = demand(*[(A, 0.0)] * 5, (A, 250.0), (A, 251.0), fixed=(A,))
    assert seen.wanted(300.0, 10) == {A: 5}
    assert seen.wanted(301.0, 10) == {A: 2}
    assert seen.wanted(552.0, 10) == {A: 1}


def test_what_is_forgotten_takes_no_memory() -> None:
    """Arguments that come no more leave nothing, and steps that are over neither."""
    seen = demand(*[(A, float(at)) for at in range(0, 10_000, 3)], (B, 9_999.0))
    seen.wanted(10_000.0, 10)
    assert len(seen._arrivals[A].steps) <= 101
    assert seen.wanted(20_000.0, 10) == {}
    assert not seen._arrivals


def test_many_arguments_take_little_memory() -> None:
    """Of very many different arguments those asked for last are counted."""
    molds = [Mold((str(number),), is_stream=False) for number in range(1000)]
    seen = demand(*[(mold, float(at)) for at, mold in enumerate(molds)])
    seen.note(molds[-1], 1005.0)
    seen.note(molds[0], 1006.0)
    assert len(seen._arrivals) == 50
    assert seen.wanted(1006.0, 10) == {molds[-1]: 1}


@pytest.mark.parametrize(
    ("count_max", "wanted"),
    [
        (0, {A: 0, B: 0, C: 0}),
        (1, {A: 1, B: 0, C: 0}),
        (2, {A: 1, B: 1, C: 0}),
        (3, {A: 1, B: 1, C: 1}),
        (5, {A: 2, B: 2, C: 1}),
        (6, {A: 3, B: 2, C: 1}),
        (8, {A: 5, B: 2, C: 1}),
        (100, {A: 5, B: 2, C: 1}),
    ],
)
def test_the_limit_is_shared(count_max: int, wanted: dict[Mold, int]) -> None:
    """Where there may be fewer than wanted, each gets one in turn, what is asked for most first."""
    seen = demand(*[(B, 0.0)] * 2, *[(A, 0.0)] * 5, fixed=(C,))
    assert seen.wanted(1.0, count_max) == wanted
