"""`python -m chaos`: every case, or those named; exit status 0 when each has shown what it must."""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from chaos.cases import CASES, Case
from chaos.namespaces import NamespaceError
from chaos.processes import ChaosError
from chaos.report import document, print_outcome, table
from chaos.trial import NoVerdict, Options, Verdict, carry_out

_INTERRUPTED = 130

Outcome = Verdict | NoVerdict


def main() -> int:
    """Carry out the cases; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    names = [case.name for case in CASES]
    parser.add_argument("--short", action="store_true", help="fewer requests, shorter outages")
    parser.add_argument("--case", action="append", choices=names, metavar="NAME", help=f"one of {', '.join(names)}")
    parser.add_argument("--cli", choices=("stand-in", "real"), default="stand-in", help="what the responders run")
    parser.add_argument("--relay", action="store_true", help="cut wires by a relay, not by network namespaces")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep logs, journals and ledgers there")
    given = parser.parse_args()
    cli = Path(os.environ.get("CLAUDE_CLI", "")) if given.cli == "real" else None
    if cli is not None and not cli.is_file():
        parser.error("--cli real: CLAUDE_CLI has to name the CLI")
    options = Options(given.short, cli, given.relay)
    cases = [case for case in CASES if not given.case or case.name in given.case]
    console = Console(width=120)
    try:
        outcomes = asyncio.run(_run(cases, options, given.keep and given.keep.absolute(), console))
    except asyncio.CancelledError:
        console.print("chaos: stopped")
        return _INTERRUPTED
    if given.json:
        given.json.write_text(json.dumps([document(outcome) for outcome in outcomes], indent=1) + "\n")
    return 0 if all(isinstance(outcome, Verdict) and outcome.is_good for outcome in outcomes) else 1


async def _run(cases: Sequence[Case], options: Options, keep: Path | None, console: Console) -> list[Outcome]:
    _cancel_on_signals()
    outcomes = []
    for case in cases:
        console.print(f"{case.name}: {case.does}", style="bold", highlight=False, markup=False)
        outcomes.append(await _outcome(case, options, keep))
        print_outcome(console, outcomes[-1])
    console.print(table(outcomes))
    return outcomes


def _cancel_on_signals() -> None:
    """Let Ctrl-C and SIGTERM cancel the case, so that every block stops what it has started."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine that runs has its task
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


async def _outcome(case: Case, options: Options, keep: Path | None) -> Outcome:
    try:
        if keep is not None:
            folder = keep / case.name
            folder.mkdir(parents=True)
            return await carry_out(case, options, folder)
        with tempfile.TemporaryDirectory(prefix="claude-nats-chaos-") as made:
            return await carry_out(case, options, Path(made))
    except (ChaosError, NamespaceError, OSError) as error:
        return NoVerdict(case, str(error) or type(error).__name__)


if __name__ == "__main__":
    sys.exit(main())
