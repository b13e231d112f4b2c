"""`python -m bench.peers`: the same command by every way in turn, and one table."""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench.peers.installed import Installed
from bench.peers.processes import NotMeasuredError
from bench.peers.report import document, table
from bench.peers.stage import Actor, Stage, staged
from bench.peers.tally import Tally
from bench.peers.ways import WAYS, chosen


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        rounds: How often the ways take turns.
        calls: Of each way in each round, by requests in flight.
    """

    rounds: int
    calls: Mapping[int, int]


FULL = Plan(5, {1: 60, 5: 150, 50: 300, 500: 1000})
QUICK = Plan(1, {1: 5, 5: 20})
WITH_CLI = Plan(5, {1: 6, 5: 20})
QUICK_WITH_CLI = Plan(1, {1: 2})


def main() -> None:
    """Measure what is asked for, or everything."""
    asyncio.run(_measure(_given()))


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--only", action="append", choices=[way.name for way in WAYS], help="may be repeated")
    parser.add_argument("--cli", type=Path, metavar="FILE", help="start this, the real CLI, against a stub of its API")
    parser.add_argument("--quick", action="store_true", help="short, to see that it works: the numbers say little")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")
    parser.add_argument("--packages", type=Path, default=Path("none"), metavar="FOLDER", help="see bench/peers/install")
    return parser.parse_args()


async def _measure(given: argparse.Namespace) -> None:
    console = Console(width=None if sys.stdout.isatty() else 180)
    ways = chosen(given.only, with_cli=given.cli is not None)
    full, quick = (FULL, QUICK) if given.cli is None else (WITH_CLI, QUICK_WITH_CLI)
    with tempfile.TemporaryDirectory(prefix="claude-nats-bench-") as folder:
        async with staged(ways, Path(folder), Installed(given.packages.absolute()), given.cli) as stage:
            tallies = await take_turns(stage, quick if given.quick else full)
    console.print(table(tallies, stage.not_measured))
    if given.json:
        given.json.write_text(json.dumps(document(tallies, stage.not_measured), indent=1) + "\n")


async def take_turns(stage: Stage, plan: Plan) -> dict[int, dict[str, Tally]]:
    """Measure all that is staged, by requests in flight and then by name; who ends is measured no further."""
    tallies: dict[int, dict[str, Tally]] = {}
    for in_flight, calls in plan.calls.items():
        tallies[in_flight] = {}
        print(f"{in_flight} in flight", file=sys.stderr)
        for actor in list(stage.actors):
            await _add(stage, {}, actor, in_flight, in_flight)  # warm
        for number in range(plan.rounds):
            # Every other round backwards: who comes after whom makes no difference then.
            for actor in stage.actors[:: -1 if number % 2 else 1]:
                await _add(stage, tallies[in_flight], actor, max(in_flight, round(calls * actor.way.share)), in_flight)
        order = [way.name for way in WAYS]
        tallies[in_flight] = dict(sorted(tallies[in_flight].items(), key=lambda item: order.index(item[0])))
    return tallies


async def _add(stage: Stage, tallies: dict[str, Tally], actor: Actor, calls: int, in_flight: int) -> None:
    try:
        tally = await actor.make_calls(calls, in_flight)
    except NotMeasuredError as error:
        stage.actors.remove(actor)
        stage.not_measured[actor.way.name] = f"from {in_flight} in flight on {error}"
        return
    tallies[actor.way.name] = tallies.get(actor.way.name, Tally()) + tally


if __name__ == "__main__":
    main()
