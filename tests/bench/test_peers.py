"""What is computed and said of other products beside ours, and one short run of those that need no package."""

import asyncio
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from bench.peers.__main__ import Plan, take_turns
from bench.peers.asking import carry_out
from bench.peers.installed import Installed, Need
from bench.peers.report import document, rows, table
from bench.peers.spent import Spent, between, look, read_spent
from bench.peers.stage import staged
from bench.peers.tally import COLUMNS, Tally
from bench.peers.ways import WAYS, chosen

OURS = Tally((0.002, 0.004, 0.006), 0.5, 1, Spent(0.4, 0.2), Spent(0.04, 0.0))
OTHER = Tally((0.008,), 1.0, 2)


def test_times_of_a_process_are_read() -> None:
    """Its own and its children's times are told apart, whatever its command is called."""
    stat = "7 (a) b (c) S 1 7 7 0 -1 0 0 0 0 0 100 50 30 20 20 0 1 0"
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    spent = read_spent(stat)
    assert [spent.own_s, spent.reaped_s] == pytest.approx([150 * tick_s, 50 * tick_s])


def test_only_who_was_there_both_times_counts() -> None:
    """A process that has come or gone meanwhile adds nothing."""
    before = {1: Spent(1.0, 1.0), 2: Spent(5.0, 5.0)}
    after = {1: Spent(3.0, 1.5), 3: Spent(9.0, 9.0)}
    assert between(before, after) == Spent(2.0, 0.5)


def test_a_process_that_has_gone_is_left_out() -> None:
    """Looking at it is no error."""
    assert look([os.getpid(), 2**22 + 1]).keys() == {os.getpid()}


def test_a_tally_for_each_request() -> None:
    """Times are of the calls that were answered, CPU is shared among all."""
    numbers = OURS.numbers()
    assert numbers == {
        "p50 ms": pytest.approx(4),
        "p99 ms": pytest.approx(6),
        "per s": pytest.approx(6),
        "server CPU ms": pytest.approx(100),
        "broker CPU ms": pytest.approx(10),
        "command CPU ms": pytest.approx(50),
        "failed": 1,
    }


def test_tallies_add_up() -> None:
    """Two rounds make one of all their calls."""
    both = OURS + OTHER
    assert both == Tally((0.002, 0.004, 0.006, 0.008), 1.5, 3, Spent(0.4, 0.2), Spent(0.04, 0.0))


def test_without_an_answer_there_are_only_failures() -> None:
    """No time is made up for a way that answers nothing."""
    assert Tally(failed=3).numbers() == dict.fromkeys(COLUMNS) | {"failed": 3}


def test_medians_are_compared_with_ours() -> None:
    """Where ours was not measured there is no ratio."""
    found = rows({1: {"ours": OURS, "celery": OTHER}, 5: {"celery": OTHER}})
    assert [row["p50 of ours"] for row in found] == [pytest.approx(1), pytest.approx(2), None]


def test_what_was_not_measured_is_said() -> None:
    """The table and the file name the way and the reason."""
    tallies, reasons = {1: {"ours": OURS}}, {"celery": "without redis-server"}
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table(tallies, reasons))
    assert "Celery, Redis, prefork: not measured, without redis-server" in captured.get()
    assert json.loads(json.dumps(document(tallies, reasons)))["not measured"] == reasons


def test_each_way_needs_what_runs_it(tmp_path: Path) -> None:
    """Ours and the bare ones need nothing, and nothing is missing for them where nothing is installed."""
    missing = {way.name: Installed(tmp_path).missing(way.needs) for way in WAYS}
    assert [name for name, needs in missing.items() if not needs] == ["popen", "asyncio", "echo", "nats", "ours"]
    assert missing["option2"] == [Need.NODE]
    assert Need.PYTHON in missing["celery"]


def test_the_real_cli_is_started_by_few_ways() -> None:
    """The SDK is measured with it alone, the others with it where they are asked for."""
    assert [way.name for way in chosen(None, with_cli=True)] == ["asyncio", "ours", "sdk"]
    assert [way.name for way in WAYS if way not in chosen(None, with_cli=False)] == ["sdk"]
    assert [way.name for way in chosen(["nats", "celery"], with_cli=True)] == ["nats", "celery"]


async def test_failed_calls_are_counted_and_not_timed() -> None:
    """As many calls are made as were ordered, never more than so many at a time."""
    under_way, most, made = 0, 0, 0

    async def ask() -> None:
        nonlocal under_way, most, made
        made += 1
        under_way += 1
        most = max(most, under_way)
        failing = made % 4 == 0
        await asyncio.sleep(0)
        under_way -= 1
        if failing:
            raise ValueError

    answer = await carry_out(ask, 20, 3)
    assert (made, most, len(answer["seconds"]), answer["failed"]) == (20, 3, 15, 5)


async def test_a_short_run(tmp_path: Path) -> None:
    """Ours and the bare ones are measured without any package of others; one that has none is named."""
    ways = [way for way in WAYS if way.name in {"popen", "asyncio", "nats", "ours", "celery"}]
    async with staged(ways, tmp_path, Installed(tmp_path / "nothing")) as stage:
        tallies = await take_turns(stage, Plan(2, {3: 4}))
    assert list(tallies[3]) == ["popen", "asyncio", "nats", "ours"]
    assert {(len(tally.seconds), tally.failed) for tally in tallies[3].values()} == {(8, 0)}
    assert list(stage.not_measured) == ["celery"]
