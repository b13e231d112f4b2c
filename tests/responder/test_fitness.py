"""When a responder is fit for work: a table of what it hears, and what it concludes."""

from collections.abc import Iterable

import pytest

from contract import ErrorCode
from responder.fitness import Fitness, Look, Pace

NOW = 1000.0
PACE = Pace()
AUTH, LIMIT = ErrorCode.AUTH, ErrorCode.RATE_LIMITED
CLI = "the CLI is missing or does not run"
DOUBT = "the CLI could not be started"
SCRATCH = "the scratch file system is full: less than 100 MB or 1 % of its inodes are free"
MEMORY = "memory is short: less than 300 MB are available"
REFUSED = "the API refuses the credential"
LIMITED = "the API limits the credential"
ROOMY = Look(scratch_bytes=1e9, scratch_inodes=0.5, memory_bytes=1e9)


def after(*ends: str | None) -> Fitness:
    """Give the fitness after runs that ended so, all at once."""
    fitness = Fitness()
    for code in ends:
        fitness.end(code, None, NOW)
    return fitness


@pytest.mark.parametrize(
    ("look", "reason"),
    [
        (Look(), None),
        (ROOMY, None),
        (Look(is_cli_usable=False), CLI),
        (Look(scratch_bytes=99e6), SCRATCH),
        (Look(scratch_bytes=100e6), None),
        (Look(scratch_inodes=0.009), SCRATCH),
        (Look(scratch_inodes=0.01), None),
        (Look(memory_bytes=299e6), MEMORY),
        (Look(memory_bytes=300e6), None),
        (Look(memory_bytes=None), None),
        (Look(is_cli_usable=False, scratch_bytes=0, memory_bytes=0), CLI),
    ],
)
def test_what_a_look_means(look: Look, reason: str | None) -> None:
    """A host without a CLI, without room or without memory is unfit, with the first reason there is."""
    fitness = Fitness()
    fitness.look(look, NOW)
    assert (fitness.reason, fitness.is_limited) == (reason, False)


@pytest.mark.parametrize(
    ("low", "between", "enough"),
    [
        (Look(scratch_bytes=99e6), Look(scratch_bytes=149e6), Look(scratch_bytes=150e6)),
        (Look(scratch_inodes=0.0), Look(scratch_inodes=0.014), Look(scratch_inodes=0.015)),
        (Look(memory_bytes=1), Look(memory_bytes=399e6), Look(memory_bytes=400e6)),
        (Look(memory_bytes=1), Look(memory_bytes=None), Look(memory_bytes=400e6)),
    ],
)
def test_who_has_left_comes_back_only_with_clearly_more(low: Look, between: Look, enough: Look) -> None:
    """What would be enough to stay is not enough to come back, so that it does not flap about a bound."""
    stayed, left = Fitness(), Fitness()
    stayed.look(between, NOW)
    assert stayed.reason is None
    left.look(low, NOW)
    left.look(between, NOW + 60)
    assert left.reason is not None
    left.look(enough, NOW + 60)
    assert left.reason is None


def test_it_stays_away_for_a_while_and_longer_after_a_relapse() -> None:
    """However soon the host is well again, five seconds pass; twice as many when it was back for less than a minute."""
    fitness, now = Fitness(), NOW
    for away_s in (5.0, 10.0, 20.0, 40.0, 60.0, 60.0):
        fitness.look(Look(is_cli_usable=False), now)
        fitness.look(Look(), now + away_s - 0.01)
        assert fitness.reason == CLI
        now += away_s
        fitness.look(Look(), now)
        assert fitness.reason is None
        now += 59.0
    now += 1.0
    fitness.look(Look(is_cli_usable=False), now)
    fitness.look(Look(), now + 5.0)
    assert fitness.reason is None


@pytest.mark.parametrize(
    ("ends", "reason"),
    [
        ((), None),
        ((None, None), None),
        ((AUTH, AUTH), None),
        ((AUTH, AUTH, AUTH), REFUSED),
        ((AUTH, AUTH, None, AUTH, AUTH), None),
        ((AUTH, AUTH, ErrorCode.MAX_TURNS, AUTH), None),
        ((AUTH, AUTH, ErrorCode.TIMEOUT, ErrorCode.API_ERROR, ErrorCode.CANCELLED, AUTH), REFUSED),
        ((AUTH, AUTH, AUTH, None), REFUSED),
        ((LIMIT,), LIMITED),
        ((LIMIT, None, AUTH), LIMITED),
        ((AUTH, AUTH, AUTH, LIMIT), REFUSED),
        ((ErrorCode.CLI_NOT_FOUND,), DOUBT),
        ((ErrorCode.CLI_START_FAILED,), DOUBT),
        ((ErrorCode.CLI_ERROR, ErrorCode.CLI_KILLED, ErrorCode.INTERNAL, ErrorCode.API_OVERLOADED), None),
    ],
)
def test_what_the_runs_mean(ends: tuple[str | None, ...], reason: str | None) -> None:
    """Three refusals in a row, one limit or one CLI that could not be started take it out; all else does not."""
    fitness = after(*ends)
    assert (fitness.reason, fitness.is_limited) == (reason, reason == LIMITED)


def test_a_cli_in_doubt_has_to_be_asked() -> None:
    """A look at its file does not clear a CLI that could not be started; its answer does."""
    fitness = after(ErrorCode.CLI_START_FAILED)
    assert fitness.is_cli_in_doubt
    fitness.look(Look(), NOW + 60)
    assert fitness.reason == DOUBT
    fitness.look(Look(is_cli_usable=False, is_cli_asked=True), NOW + 60)
    assert repr(fitness) == f"<Fitness {CLI}>"
    fitness.look(Look(), NOW + 60)
    assert repr(fitness) == f"<Fitness {DOUBT}>"
    fitness.look(Look(is_cli_asked=True), NOW + 60)
    assert repr(fitness) == "<Fitness fit>"
    assert not fitness.is_cli_in_doubt


def trials(fitness: Fitness, codes: Iterable[str | None], now: float = NOW) -> list[float]:
    """Make trials that end so, each as soon as it is due; give the seconds between them."""
    pauses = []
    for code in codes:
        began = now
        while not fitness.is_trial_due(now):
            now += 0.5
        pauses.append(now - began)
        fitness.end_trial(code, None, now)
    return pauses


@pytest.mark.parametrize(
    ("ends", "code", "pauses"),
    [
        ((AUTH,) * 3, AUTH, [30, 60, 120, 240, 300, 300]),
        ((AUTH,) * 3, ErrorCode.API_OVERLOADED, [30, 60, 120]),
        ((LIMIT,), LIMIT, [5, 10, 20, 40, 60, 60]),
        ((LIMIT,), ErrorCode.TIMEOUT, [5, 10, 20]),
    ],
)
def test_trials_come_less_and_less_often(ends: tuple[str], code: str, pauses: list[float]) -> None:
    """As long as trials fail, the pause between them doubles up to a maximum; one that is served ends it."""
    fitness = after(*ends)
    reason = fitness.reason
    assert trials(fitness, [code] * len(pauses)) == pauses
    assert fitness.reason == reason
    fitness.end_trial(None, None, NOW)
    assert fitness.reason is None


def test_a_trial_alone_does_not_make_the_next_pause_short() -> None:
    """Who is limited again after a trial that was served waits longer, until a run of a caller is served."""
    fitness = after(LIMIT)
    assert trials(fitness, [None]) == [5]
    fitness.end(LIMIT, None, NOW + 100)
    assert trials(fitness, [None], NOW + 100) == [10]
    fitness.end(None, None, NOW + 200)
    fitness.end(LIMIT, None, NOW + 200)
    assert trials(fitness, [None], NOW + 200) == [5]


def test_a_limit_with_a_known_end() -> None:
    """Until the latest end it has heard of a responder makes no trial, and it says how long that is."""
    fitness = Fitness()
    fitness.end(LIMIT, 100.0, NOW)
    assert (fitness.limit_s(NOW), fitness.is_limited) == (100.0, True)
    fitness.end(LIMIT, 50.0, NOW)
    fitness.end(LIMIT, None, NOW)
    assert fitness.limit_s(NOW + 10) == 90.0
    fitness.end(LIMIT, 200.0, NOW)
    assert not fitness.is_trial_due(NOW + 199)
    assert fitness.is_trial_due(NOW + 200)
    assert fitness.limit_s(NOW + 200) == 0.0
    fitness.end_trial(LIMIT, 30.0, NOW + 200)
    assert fitness.limit_s(NOW + 200) == 30.0


def test_a_limit_that_ends_long_from_now_is_tried_all_the_same() -> None:
    """A reset time of next week is told, and a trial is made after an hour: somebody may have paid."""
    fitness = Fitness()
    fitness.end(LIMIT, 7 * 86_400.0, NOW)
    assert fitness.limit_s(NOW) == 7 * 86_400.0
    assert not fitness.is_trial_due(NOW + 3599)
    assert fitness.is_trial_due(NOW + 3600)


def test_a_limit_of_a_moment_keeps_it_away_as_long_as_any_other_reason() -> None:
    """What it says is when it may really come back."""
    fitness = Fitness()
    fitness.end(LIMIT, 0.2, NOW)
    assert fitness.limit_s(NOW) == 5.0
    assert not fitness.is_trial_due(NOW + 4.9)
    assert fitness.is_trial_due(NOW + 5)


def test_the_host_goes_first() -> None:
    """A limited responder without a CLI is not limited, but unfit: it makes no trial, and would not be back in time."""
    fitness = after(LIMIT)
    fitness.look(Look(is_cli_usable=False), NOW + 1)
    assert (fitness.reason, fitness.is_limited, fitness.is_trial_due(NOW + 60)) == (CLI, False, False)
    fitness.look(Look(), NOW + 60)
    assert (fitness.reason, fitness.is_limited, fitness.is_trial_due(NOW + 60)) == (LIMITED, True, True)


def test_each_change_is_told_once() -> None:
    """Whoever has to act hears of becoming unfit and of becoming fit, not of each further reason."""
    fitness, heard = Fitness(), list[str | None]()
    fitness.on_change = lambda: heard.append(fitness.reason)
    fitness.end(LIMIT, None, NOW)
    fitness.end(LIMIT, 90.0, NOW)
    fitness.look(Look(is_cli_usable=False), NOW)
    fitness.look(Look(), NOW + 10)
    fitness.end_trial(None, None, NOW + 10)
    fitness.look(Look(), NOW + 20)
    assert heard == [LIMITED, None]
    assert repr(fitness) == "<Fitness fit>"
