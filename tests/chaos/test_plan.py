"""The load: the same each time, and with long runs where the fault comes."""

from chaos.cases import CASES, REQUESTS
from chaos.plan import RESPONDERS, SLOTS, Plan

PLAN = Plan("kill", requests=40, long_s=9.0)


def test_the_load_is_the_same_each_time() -> None:
    """Nothing of it depends on when or where it runs, and two cases differ."""
    assert PLAN.request(7) == Plan("kill", requests=40, long_s=9.0).request(7)
    assert PLAN.request(7).seconds != Plan("node", requests=40).request(7).seconds


def test_long_runs_come_just_before_the_middle() -> None:
    """The last three before the middle are long, all others are short."""
    long = [number for number in range(60) if PLAN.request(number).is_long]
    assert long == [17, 18, 19]
    assert {PLAN.request(number).seconds for number in long} == {9.0}
    assert all(0.2 <= PLAN.request(number).seconds <= 1.5 for number in range(60) if number not in long)
    assert PLAN.long_tokens() == {PLAN.request(number).token for number in long}


def test_four_of_five_slots_are_busy() -> None:
    """The short runs and the long ones together keep about 80 % of the slots busy."""
    plan = Plan("kill", requests=REQUESTS)
    short = [plan.request(number).seconds for number in range(REQUESTS) if not plan.request(number).is_long]
    busy = plan.rate_per_s * sum(short) / len(short) + plan.long_runs
    assert 0.75 <= busy / (SLOTS * len(RESPONDERS)) <= 0.85


def test_a_pace_slows_everything_down() -> None:
    """With a slower CLI runs take longer and come less often, so that the slots are as busy."""
    slow = Plan("kill", requests=40, pace=8.0)
    assert slow.request(3).seconds == 8 * PLAN.request(3).seconds
    assert slow.request(3).at_s == 8 * PLAN.request(3).at_s


def test_long_runs_outlast_what_is_done() -> None:
    """In every case a long run would still go on when the fault is over, did nobody end it."""
    for case in CASES:
        for is_short in (True, False):
            plan = case.plan(is_short=is_short, pace=1.0)
            assert plan.long_s > plan.outage_s + 1.0, case.name
            assert plan.long_s < plan.timeout_s, case.name


def test_every_case_has_a_name_of_its_own() -> None:
    """Cases are asked for by name."""
    assert len({case.name for case in CASES}) == len(CASES)
