"""Each check says yes to what should be, and no to what it is there to see."""

from dataclasses import replace

import pytest

from chaos import checks
from chaos.checks import Judge
from chaos.evidence import Evidence
from chaos.ledger import Run
from tests.chaos.evidence import GOOD, with_asked, with_fault, with_run

SEEN: dict[str, tuple[Judge, Evidence]] = {
    "too few requests": (checks.all_were_sent, replace(GOOD, asked=GOOD.asked[:2])),
    "a fault that met nothing": (checks.met_runs, with_fault(under_way=0)),
    "another's answer": (checks.none_wrong, with_asked("other", code="wrong_answer")),
    "no end": (checks.none_lost, with_asked("other", ended_at=None, code=None)),
    "an end too late": (checks.none_lost, with_asked("other", ended_at=99.5 + 36.5)),
    "nobody knows": (checks.none_lost, with_asked("other", code="timeout", executed=None)),
    "a process at the end": (checks.none_left_at_end, replace(GOOD, left_at_end=1)),
    "a process after 2 s": (checks.none_left_in_time, with_fault(left=1)),
    "processes that were not counted": (checks.none_left_in_time, with_fault(left=None)),
    "no process that could have been left": (checks.none_left_in_time, with_fault(processes=0)),
    "a failure": (checks.all_answered, GOOD),
    "a second start": (checks.none_twice, with_run(Run("other", "r3", 100.2))),
    "a second start of what was not hit": (checks.twice_only_what_was_lost, with_run(Run("other", "r3", 100.2))),
    "a start for nobody": (checks.none_late, with_run(Run("hit", "r3", 100.7))),
    "a failure of what had not started": (checks.unstarted_answered, with_asked("later", code="responder_lost")),
    "another code": (checks.failures_say_lost, with_asked("hit", code="timeout")),
    "a failure that says that nothing ran": (checks.failures_say_lost, with_asked("hit", executed=False)),
    "a report too late": (checks.reported_within(0.5), GOOD),
    "an answer too late of what was hit": (
        checks.reported_within(1.0),
        with_asked("hit", code="answered", ended_at=102.0),
    ),
    "an abandoned run that goes on": (checks.abandoned_ended, with_fault(overdue=1)),
    "no abandoned run to look at": (checks.abandoned_ended, with_fault(abandoned=0)),
    "a start for a dead requester": (checks.none_started_after_kill, with_run(Run("new", "r2", 102.1))),
    "a responder that ended badly": (checks.exits_are_clean, replace(GOOD, exits={"r2": 1})),
    "a responder that did not end": (checks.exits_are_clean, replace(GOOD, exits={"r2": None})),
    "a traceback": (checks.no_defects, replace(GOOD, defects=["Traceback (most recent call last):"])),
}


@pytest.mark.parametrize(("judge", "evidence"), SEEN.values(), ids=SEEN)
def test_what_must_be_seen_is_seen(judge: Judge, evidence: Evidence) -> None:
    """Each check fails on evidence of what it is about."""
    assert not judge(evidence).is_good


@pytest.mark.parametrize("judge", dict.fromkeys(judge for judge, evidence in SEEN.values() if evidence is not GOOD))
def test_what_should_be_passes(judge: Judge) -> None:
    """None of them fails where a responder was killed and all went as it should."""
    check = judge(GOOD)
    assert check.is_good, check


def test_what_was_hit_may_start_again_if_asked_so() -> None:
    """With failover a second start of what a victim ran is no fault, though it is counted."""
    again = with_run(Run("hit", "r3", 100.5))
    assert checks.twice_only_what_was_lost(again).is_good
    assert not checks.none_twice(again).is_good


def test_what_was_hit_may_tell_the_ledger_late() -> None:
    """A CLI that was started just before its responder was killed is one of its runs; after a healing it is none."""
    runs = tuple(replace(run, started_at=100.01) if run.token == "hit" else run for run in GOOD.runs)
    late = replace(GOOD, runs=(*runs, Run("hit", "r3", 100.5)))
    assert checks.twice_only_what_was_lost(late).is_good
    healed = replace(late, fault=replace(GOOD.fault, healed_at=100.005))
    assert not checks.twice_only_what_was_lost(healed).is_good


def test_a_run_too_new_for_the_ledger_is_allowed_for_each_open_slot() -> None:
    """One failure that the ledger knows nothing of passes for each slot that may have started it, and not one more."""
    unknown = replace(with_asked("later", code="responder_lost", executed=True))
    assert not checks.unstarted_answered(unknown).is_good
    assert checks.unstarted_answered(replace(unknown, fault=replace(GOOD.fault, open_slots=1))).is_good
