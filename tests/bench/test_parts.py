"""What the parts compute from what they have seen."""

import pytest

from bench.routing.asking import Answer, failures
from bench.routing.fleet import Shape, Way
from bench.routing.flood import Told, refusals
from bench.routing.growth import first_runs
from bench.routing.saturation import service_done_s
from bench.routing.stand_in import Run


def test_only_service_within_the_window_counts() -> None:
    """A run that began before or ended after is counted with its part; one without an end with nothing."""
    runs = [
        Run("a", "r1", 8.0, 11.0),
        Run("b", "r1", 12.0, 13.0),
        Run("c", "r1", 19.5, 25.0),
        Run("d", "r1", 1.0, 2.0),
        Run("e", "r1", 12.0),
    ]
    assert service_done_s(runs, 10.0, 20.0) == pytest.approx(1.0 + 1.0 + 0.5)


def test_when_a_new_responder_ran_its_first() -> None:
    """Its own starts count, in milliseconds from when it was ready; what it never did has no number."""
    runs = [Run("x", "old", 99.0), *(Run(f"t{number}", "new", 100.1 + number / 100) for number in (4, 3, 2, 1, 0))]
    found = first_runs(runs, "new", 100.0)
    assert found == {
        "first run after ms": pytest.approx(100),
        "all slots after ms": pytest.approx(140),
        "ran": 5,
    }
    assert first_runs(runs, "other", 100.0) == {"first run after ms": None, "all slots after ms": None, "ran": 0}


def test_refusals_are_told_from_other_failures() -> None:
    """Answers, refusals and other failures add up to all; times and advice are the refusals' alone."""
    told = [
        Told(5.0, None, None),
        Told(0.1, "overloaded", 1500),
        Told(0.3, "overloaded", 2500),
        Told(9.0, "timeout", None),
    ]
    found = refusals(told, Shape(2, 5, Way("any"), backlog_max=5))
    assert (found["slots"], found["slots and places"]) == (10, 20)
    assert [found[f"plain: {what}"] for what in ("asked", "answered", "refused", "failed otherwise")] == [4, 1, 2, 1]
    assert found["plain: refused after ms, max"] == pytest.approx(300)
    assert found["plain: to come again after ms"] == "1500 to 2500"


def test_without_refusals_there_are_no_times() -> None:
    """A fleet that takes everything has none."""
    found = refusals([Told(5.0, None, None)], Shape(1, 5, Way("any")))
    assert found["plain: refused after ms, max"] is None


def test_failures_are_counted_by_code() -> None:
    """What was answered is none of them."""
    answers = [Answer("a", 0.0, 1.0), Answer("b", 0.0, 1.0, "timeout"), Answer("c", 0.0, 1.0, "timeout")]
    assert failures(answers) == {"timeout": 2}


def test_the_way_is_told_to_the_responders() -> None:
    """The setting is given only where it makes a difference, so that responders without it can be measured too."""
    assert Way("floor").environment == {}
    assert Way("random group", steal=False).environment == {"CLAUDE_RESPONDER_STEAL": "false"}
