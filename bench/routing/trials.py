"""Trials with traces, and what several of them say together. Pure."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.routing.plot import PERCENTS, Panel
from bench.routing.sheet import Row, Sheet
from bench.routing.sojourns import Sojourns


@dataclass(frozen=True)
class Fleetwise:
    """What only a real fleet has.

    Attributes:
        to_own: Mean sojourn over that of one queue whose requests take as long as they took here: what is left of the
            ratio to the ideal when starting processes, on a machine that is busy with it, is taken out of it.
        per_s: Requests answered in each second.
        messages_in: Sent to the server, for each request.
        messages_out: Sent by the server, for each request.
        cpu_ms: Of the responders' own processes, for each request.
        idle_max_ms: The longest that a request waited while a slot of the fleet was free.
        idle_late: How many waited so for more than is allowed.
        sent_again: How many were sent more than once.
        failed: How many had no answer.
        run_again: How many starts there were beyond one for each request.
    """

    to_own: float
    per_s: float
    messages_in: float
    messages_out: float
    cpu_ms: float
    idle_max_ms: float
    idle_late: int
    sent_again: int
    failed: int
    run_again: int


# Column, how several seeds become one number, and the number.
_REAL: tuple[tuple[str, Callable[[Sequence[Any]], Any], Callable[[Fleetwise], float]], ...] = (
    ("/ own", statistics.median, lambda seen: seen.to_own),
    ("req/s", statistics.median, lambda seen: seen.per_s),
    ("msgs in", statistics.median, lambda seen: seen.messages_in),
    ("msgs out", statistics.median, lambda seen: seen.messages_out),
    ("CPU ms", statistics.median, lambda seen: seen.cpu_ms),
    ("idle max ms", max, lambda seen: seen.idle_max_ms),
    ("idle > 50 ms", sum, lambda seen: seen.idle_late),
    ("sent again", sum, lambda seen: seen.sent_again),
    ("failed", sum, lambda seen: seen.failed),
    ("run again", sum, lambda seen: seen.run_again),
)
_TIMES: tuple[tuple[str, Callable[[Sojourns, Sojourns], float]], ...] = (
    ("mean s", lambda mine, _: mine.mean),
    ("/ ideal", lambda mine, ideal: mine.mean / ideal.mean),
    ("p50 s", lambda mine, _: mine.percentile(50)),
    ("p90 s", lambda mine, _: mine.percentile(90)),
    ("p99 s", lambda mine, _: mine.percentile(99)),
    ("p99 / ideal", lambda mine, ideal: mine.percentile(99) / ideal.percentile(99)),
    ("max s", lambda mine, _: mine.longest),
)


@dataclass(frozen=True)
class Trial:
    """One way, with one trace.

    Attributes:
        way: Its name.
        load: Of the trace.
        seed: The same.
        sojourns: Of all requests that were answered.
        ideal: Of the same trace.
        seen: Of a real fleet; None of a simulated one.
        failures: Requests without an answer, by code.
    """

    way: str
    load: float
    seed: int
    sojourns: Sojourns
    ideal: Sojourns
    seen: Fleetwise | None = None
    failures: dict[str, int] = field(default_factory=dict)

    def document(self) -> Row:
        """Give all its numbers, the percentiles of the plot among them."""
        return {
            **_row([self]),
            "seed": self.seed,
            "failures": self.failures,
            "percentiles": {f"{percent:.4g}": self.sojourns.percentile(percent) for percent in PERCENTS},
        }


def sheet(title: str, trials: Sequence[Trial]) -> Sheet:
    """Give a row for each way at each load: medians of the seeds, and the sum or the worst of what should not be."""
    groups: dict[tuple[float, str], list[Trial]] = defaultdict(list)
    for trial in trials:
        groups[trial.load, trial.way].append(trial)
    return Sheet(title, [_row(group) for group in groups.values()], [trial.document() for trial in trials])


def panels(trials: Sequence[Trial]) -> list[Panel]:
    """Give a panel for each load, with the times of all seeds together."""
    curves: dict[float, dict[str, list[Sojourns]]] = defaultdict(lambda: defaultdict(list))
    for trial in trials:
        curves[trial.load][trial.way].append(trial.sojourns)
    return [
        Panel(f"load {load:g}", {way: Sojourns.joined(parts) for way, parts in ways.items()})
        for load, ways in curves.items()
    ]


def _row(group: Sequence[Trial]) -> Row:
    seen = [trial.seen for trial in group if trial.seen is not None]
    times = {
        column: statistics.median(number(trial.sojourns, trial.ideal) for trial in group) for column, number in _TIMES
    }
    real = {column: together([number(one) for one in seen]) if seen else None for column, together, number in _REAL}
    return {"load": group[0].load, "way": group[0].way, **times, **real}
