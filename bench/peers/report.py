"""The numbers of all ways, as a table for people and as JSON."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from bench.peers.tally import COLUMNS, Tally
from bench.peers.ways import OURS, WAYS

Tallies = Mapping[int, Mapping[str, Tally]]
_RATIO = "p50 of ours"
_TITLES = {way.name: way.title for way in WAYS}
_LARGE = 100


def rows(tallies: Tallies) -> list[dict[str, Any]]:
    """Give a row for each way at each number of requests in flight.

    Args:
        tallies: By requests in flight, then by the way's name.
    """
    found = []
    for in_flight, by_way in tallies.items():
        ours = by_way[OURS.name].numbers()["p50 ms"] if OURS.name in by_way else None
        for name, tally in by_way.items():
            numbers = tally.numbers()
            p50 = numbers["p50 ms"]
            ratio = p50 / ours if p50 is not None and ours is not None else None
            found.append({"in flight": in_flight, "way": name, **numbers, _RATIO: ratio})
    return found


def table(tallies: Tallies, not_measured: Mapping[str, str]) -> Table:
    """Give them for the terminal.

    Args:
        tallies: As for `rows`.
        not_measured: Why the other ways are not among them, by name.
    """
    made = Table(title="the same command, by every way in turn", title_justify="left")
    for column in ("in flight", "way", *COLUMNS, _RATIO):
        made.add_column(column, justify="left" if column == "way" else "right")
    previous = None
    for row in rows(tallies):
        if previous not in {None, row["in flight"]}:
            made.add_section()
        previous = row["in flight"]
        made.add_row(*(_shown(value) for value in (row | {"way": _TITLES[row["way"]]}).values()))
    if not_measured:
        made.add_section()
    for name, why in not_measured.items():
        made.add_row("-", f"{_TITLES[name]}: not measured, {why}")
    return made


def document(tallies: Tallies, not_measured: Mapping[str, str]) -> dict[str, Any]:
    """Give them for a file, with the time of each call."""
    calls = [
        {"in flight": in_flight, "way": name, "seconds": tally.seconds}
        for in_flight, by_way in tallies.items()
        for name, tally in by_way.items()
    ]
    return {"rows": rows(tallies), "not measured": dict(not_measured), "calls": calls}


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if value >= _LARGE else f"{value:.2f}"
    return str(value)
