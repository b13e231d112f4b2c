"""The cost of each layer: how it is measured, that each can be done, and what the table makes of it."""

import io
from collections.abc import Iterator
from itertools import accumulate, chain, repeat
from pathlib import Path

import pytest
from rich.console import Console

from bench.cost import Cost, cost_of, often
from bench.layers import MESSAGE, Layer, layers, on_the_wire, table


async def nothing(times: int) -> None:
    del times


async def test_a_cost_is_of_doing_it_once() -> None:
    """However often it takes to be seen by the clock, the cost is that of one time."""
    done = 0

    def once() -> None:
        nonlocal done
        done += 1

    cost = await cost_of(often(once), rounds=3, round_s=0.01, clock=lambda: (done * 2e-6, done * 3e-6))
    assert [cost.own_us, cost.started_us] == pytest.approx([2, 3])
    assert done >= 4 * 2000


async def test_a_round_that_was_disturbed_does_not_count() -> None:
    """The cost is the median of the rounds."""
    rounds = [1.0, 1.0, 90.0, 1.0, 1.0, 1.0]
    read = accumulate(chain.from_iterable(zip(repeat(0.0), rounds, strict=False)))
    cost = await cost_of(nothing, rounds=5, round_s=0.5, clock=lambda: (next(read), 0.0))
    assert cost.own_us == pytest.approx(1e6)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["claude"]  # the command; no directory is left


async def test_every_layer_can_be_done(folder: Path) -> None:
    """Each does what it says on the real objects, and has a name of its own."""
    made = layers(folder)
    for layer in made:
        await layer.work(2)
    assert len({layer.name for layer in made}) == len(made)


async def test_the_whole_of_a_request(tmp_path: Path) -> None:
    """It is measured on a fleet of its own; so few calls may be less than the clock can tell."""
    assert min(await on_the_wire(tmp_path, calls=5)) >= 0


def test_shares_of_the_whole() -> None:
    """What is done several times counts so often; what is not part of the request does not; the rest is told."""
    console = Console(width=120, file=io.StringIO())
    measured = [
        (Layer("one", nothing), Cost(50.0)),
        (Layer("spawn: ours", nothing), Cost(100.0, 200.0)),
        (Layer("large", nothing, 0), Cost(900.0)),
        (Layer("signed", nothing, is_extra=True), Cost(10.0)),
        (MESSAGE, Cost(20.0)),
    ]
    console.print(table(measured, 1000.0))
    assert isinstance(console.file, io.StringIO)
    lines = [line for line in console.file.getvalue().splitlines() if "│" in line]
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]
    assert [[name.partition(":")[0], *more] for name, *more in rows] == [
        ["one", "50.0", "1", "5.0%"],
        ["spawn", "100.0", "1", "10.0%"],
        ["spawn", "200.0", "1", "20.0%"],
        ["large", "900.0", "-", "-"],
        ["signed", "10.0", "1", "(+1.0%)"],
        ["message", "20.0", "5", "10.0%"],
        ["the rest", "550", "", "55.0%"],
        ["an attended request, all processes", "1000", "", "100.0%"],
    ]
