"""The CPU that processes and what they have started have taken, from /proc."""

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Spent:
    """CPU seconds.

    Attributes:
        own_s: Of processes themselves.
        reaped_s: Of the children that they have waited for.
    """

    own_s: float = 0.0
    reaped_s: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.own_s + other.own_s, self.reaped_s + other.reaped_s)

    def __sub__(self, other: "Spent") -> "Spent":
        return Spent(self.own_s - other.own_s, self.reaped_s - other.reaped_s)


NOTHING = Spent()


def look(pids: Iterable[int]) -> dict[int, Spent]:
    """Give what each of the processes has taken so far; those that have gone are left out."""
    seen = {}
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            seen[pid] = read_spent((Path("/proc") / str(pid) / "stat").read_text())
    return seen


def read_spent(stat: str) -> Spent:
    """Read proc_pid_stat(5): utime, stime, cutime and cstime."""
    # The name of the command may hold spaces and parentheses.
    ticks = [int(field) for field in stat.rpartition(")")[2].split()[11:15]]
    return Spent((ticks[0] + ticks[1]) / _TICKS_PER_S, (ticks[2] + ticks[3]) / _TICKS_PER_S)


def between(before: Mapping[int, Spent], after: Mapping[int, Spent]) -> Spent:
    """Give what the processes that were there both times have taken meanwhile."""
    return sum((after[pid] - before[pid] for pid in before.keys() & after.keys()), start=NOTHING)
