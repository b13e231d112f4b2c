"""The CPU time that the benchmark takes: its own process, the server, the responders, and what they have started."""

import os
from pathlib import Path

from responder.processes import children_of

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def taken_s() -> float:
    """Give the CPU seconds of this process and its children, with their children that have ended."""
    return sum(map(_of, {os.getpid(), *children_of(os.getpid())}))


def _of(pid: int) -> float:
    # Source: proc_pid_stat(5): utime, stime, cutime, cstime.
    fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS_PER_S
