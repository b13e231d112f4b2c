"""Whether the other side is alive; the tests tell the time."""

import pytest

from contract import SETTLE_S, Pulse, Verdict

ALIVE, UNREACHABLE, LOST = Verdict.ALIVE, Verdict.UNREACHABLE, Verdict.LOST
SILENCE_MAX_S = 2.25
GONE_AFTER_S = 0.5
STEP_MAX_S = 0.6
NOW = 1000.0


@pytest.fixture
def pulse() -> Pulse:
    return Pulse(SILENCE_MAX_S, GONE_AFTER_S, NOW, settles_at=0.0)


def pass_time(pulse: Pulse, since: float, seconds: float, step_s: float = 0.25) -> float:
    """Let time pass in steps; give what the clock shows then."""
    for step in range(1, round(seconds / step_s) + 1):
        pulse.look(since + step * step_s, STEP_MAX_S)
    return since + seconds


def test_it_begins_alive(pulse: Pulse) -> None:
    """Nothing is thought of what was just heard for the first time."""
    assert pulse.verdict is ALIVE
    pulse.look(NOW, STEP_MAX_S)
    assert pulse.verdict is ALIVE


def test_silence(pulse: Pulse) -> None:
    """What was silent for the longest silence is lost, and not a step earlier."""
    now = pass_time(pulse, NOW, 2.0)
    assert pulse.verdict is ALIVE
    pass_time(pulse, now, 0.25)
    assert pulse.verdict is LOST


def test_a_sign_of_life(pulse: Pulse) -> None:
    """Whatever is heard ends the silence, and begins it anew."""
    now = NOW
    for _ in range(5):
        now = pass_time(pulse, now, 2.0)
        pulse.hear()
    assert pulse.verdict is ALIVE


@pytest.mark.parametrize("verdict", [UNREACHABLE, LOST])
def test_what_was_given_up_may_come_back(pulse: Pulse, verdict: Verdict) -> None:
    """A sign of life revokes every verdict, and nothing that was counted before counts afterwards."""
    pulse.refuse(NOW)
    now = pass_time(pulse, NOW, 2.25 if verdict is LOST else 0.25)
    assert pulse.verdict is verdict
    pulse.hear()
    assert pulse.verdict is ALIVE
    pulse.refuse(now + GONE_AFTER_S)
    assert pulse.verdict is UNREACHABLE
    pulse.look(now + GONE_AFTER_S, STEP_MAX_S)
    assert pulse.verdict is UNREACHABLE


def test_a_503(pulse: Pulse) -> None:
    """The first 503 only makes it unreachable, the one that comes half a second later makes it lost."""
    pulse.refuse(NOW + 1)
    assert pulse.verdict is UNREACHABLE
    pulse.refuse(NOW + 1 + GONE_AFTER_S - 0.01)
    assert pulse.verdict is UNREACHABLE
    pulse.refuse(NOW + 1 + GONE_AFTER_S)
    assert pulse.verdict is LOST


def test_a_503_between_signs_of_life(pulse: Pulse) -> None:
    """Half a second of 503s is counted from the first after the last sign of life."""
    pulse.refuse(NOW)
    pulse.hear()
    pulse.refuse(NOW + 10)
    assert pulse.verdict is UNREACHABLE


def test_silence_after_a_503(pulse: Pulse) -> None:
    """What cannot be reached and says nothing is lost by its silence, also without a second 503."""
    pulse.refuse(NOW)
    pass_time(pulse, NOW, 2.25)
    assert pulse.verdict is LOST


def test_a_process_that_stood_still(pulse: Pulse) -> None:
    """Of a time in which nobody looked only a step counts: what came meanwhile has yet to be read."""
    pulse.look(NOW + 3600, STEP_MAX_S)
    assert pulse.verdict is ALIVE
    now = pass_time(pulse, NOW + 3600, 1.5)
    assert pulse.verdict is ALIVE
    pass_time(pulse, now, 0.25)
    assert pulse.verdict is LOST


@pytest.mark.parametrize("refused", [False, True])
def test_a_renewed_connection(pulse: Pulse, refused: bool) -> None:
    """After our own connection was renewed nothing counts that was not heard before, the time without one included."""
    if refused:
        pulse.refuse(NOW)
    pass_time(pulse, NOW, 2.25)
    pulse.reconnect(NOW + 100)
    assert pulse.verdict is ALIVE
    now = pass_time(pulse, NOW + 100, 2.0)
    assert pulse.verdict is ALIVE
    pass_time(pulse, now, 0.25)
    assert pulse.verdict is LOST


def test_settling(pulse: Pulse) -> None:
    """For a while after our reconnect the others may still be renewing theirs: a 503 says nothing, then it counts."""
    pulse.reconnect(NOW)
    pulse.refuse(NOW + SETTLE_S - 0.01)
    assert pulse.verdict is ALIVE
    pulse.refuse(NOW + SETTLE_S)
    assert pulse.verdict is UNREACHABLE
    pulse.refuse(NOW + SETTLE_S + GONE_AFTER_S)
    assert pulse.verdict is LOST


def test_settling_from_the_beginning() -> None:
    """What is first heard of while others are renewing their connections is given the same time."""
    pulse = Pulse(SILENCE_MAX_S, GONE_AFTER_S, NOW, settles_at=NOW + 1)
    pulse.refuse(NOW + 0.99)
    assert pulse.verdict is ALIVE
    pulse.refuse(NOW + 1)
    assert pulse.verdict is UNREACHABLE
