"""`python -m bench.routing`: measure, print tables, draw the plot."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from bench.routing import flood, growth, latency, saturation
from bench.routing.sheet import Sheet

PARTS = ("latency", "scaling", "many", "join", "flood")


def main() -> None:
    """Measure what is asked for, or everything."""
    asyncio.run(_measure(_given()))


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.routing", description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="only this one; may be repeated")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="traces at each load (default 3)")
    parser.add_argument("--loads", type=_numbers, default=(0.5, 0.8, 0.95), help="default 0.5,0.8,0.95")
    parser.add_argument("--responders", type=int, default=8, metavar="N", help="in the fleet (default 8)")
    parser.add_argument("--quick", action="store_true", help="short, to see that it works: the numbers say little")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the sojourn times there, as SVG")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")
    return parser.parse_args()


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


async def _measure(given: argparse.Namespace) -> None:
    console = Console(width=None if sys.stdout.isatty() else 240)
    sheets: dict[str, Sheet] = {}
    for part in given.part or PARTS:
        sheets[part] = await _carry_out(part, given, lambda text: print(text, file=sys.stderr))
        console.print(sheets[part].table())
        if given.json:
            given.json.write_text(
                json.dumps({name: sheet.document() for name, sheet in sheets.items()}, indent=1) + "\n"
            )


async def _carry_out(part: str, given: argparse.Namespace, say: Callable[[str], None]) -> Sheet:
    quick: bool = given.quick
    if part == "scaling":
        sizes: Sequence[int] = (1, 2, 4) if quick else (1, 2, 4, 8, 16)
        return await saturation.measure_scaling(sizes, 10.0 if quick else 60.0, say)
    if part == "many":
        responders, waiting = (10, 50) if quick else (50, 1000)
        return await saturation.measure_drain(responders, waiting, 1.0 if quick else saturation.SERVICE_S, say)
    if part == "join":
        return await growth.measure(60 if quick else 200, say)
    if part == "flood":
        responders = 2 if quick else given.responders
        return await flood.measure(responders, 0.5 if quick else flood.SERVICE_S, say)
    seeds = range(1, given.seeds + 1)
    plan = latency.Plan(given.loads, seeds, given.responders, 15.0 if quick else 75.0)
    sheet, plot = await latency.measure(plan, say)
    if given.plot:
        given.plot.write_text(plot)
    return sheet


if __name__ == "__main__":
    main()
