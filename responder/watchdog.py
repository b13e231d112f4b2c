"""What is left to do when the responder itself is killed: a small process that outlives it and ends its CLIs.

It waits for the end of the responder, and then ends what carries its mark: with SIGINT, on which the CLI ends its tools
(measured on CLI 2.1.197: after SIGTERM or SIGKILL a tool goes on), and a second later with SIGKILL what has not
followed, as a CLI of about 0.2 s does not, which would go on to call the API and run tools.

It is a program of its own (`python -m responder.watchdog PID MARK`) and imports next to nothing, to stay small.
"""

import contextlib
import os
import select
import signal
import sys
import time
from typing import NamedTuple

RESPONDER_VARIABLE = "CLAUDE_NATS_RESPONDER"
_GRACE_S = 1.0
_GIVE_UP_S = 30.0  # what is left then cannot be killed
_LOOK_EVERY_S = 0.05
# A CLI that follows takes less; one that was too young is old enough the next time.
_TELL_EVERY_S = 0.3


class _Process(NamedTuple):
    parent: int
    started: bytes
    is_marked: bool


def main(argv: list[str]) -> int:
    """Wait for the end of a process, then end what carries a mark; says `armed` once it cannot miss that end.

    Args:
        argv: The process id, and the mark's value.
    """
    pid, mark = int(argv[0]), argv[1]
    pidfd = _open(pid)
    sys.stdout.write("armed\n")
    sys.stdout.flush()
    if pidfd is not None:
        select.select([pidfd], [], [])
    return 0 if _end_all(mark) else 1


def _open(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _end_all(mark: str) -> bool:
    """End what carries a mark, and what is or was below it; says whether nothing is left.

    What was just being started when the responder was killed gets its mark a moment later, so for the whole grace it is
    looked for again.
    """
    began_at = time.monotonic()
    tells_at = 0.0
    left: set[int] = set()
    known: set[tuple[int, bytes]] = set()
    while (age_s := time.monotonic() - began_at) < _GIVE_UP_S:
        there = _look(mark)
        ours = {pid for pid, one in there.items() if one.is_marked or (pid, one.started) in known}
        left = _with_descendants(ours, there)
        known |= {(pid, there[pid].started) for pid in left}
        if age_s >= _GRACE_S:
            if not left:
                return True
            _signal(left, signal.SIGKILL)
        elif age_s >= tells_at:
            # Only the topmost ones: a CLI ends its tools by itself, also such as have cleared their environment.
            _signal({pid for pid in left if there[pid].parent not in left}, signal.SIGINT)
            tells_at = age_s + _TELL_EVERY_S
        time.sleep(_LOOK_EVERY_S)
    return not left


def _look(mark: str) -> dict[int, _Process]:
    entry = f"{RESPONDER_VARIABLE}={mark}".encode()
    return {pid: one for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if (one := _seen(pid, entry))}  # noqa: PTH208 # light


def _seen(pid: int, entry: bytes) -> _Process | None:
    """Say what a process is; None where it has ended.

    Source: proc_pid_stat(5): the state, the parent and, as the 20th, the start come after the name, which may hold
    anything.
    """
    try:
        state, parent, *more = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    except OSError:
        return None
    is_marked = False
    with contextlib.suppress(OSError):  # another user's
        is_marked = entry in _read(f"/proc/{pid}/environ").split(b"\0")
    return None if state == b"Z" else _Process(int(parent), more[17], is_marked)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 # the same
        return file.read()


def _with_descendants(pids: set[int], there: dict[int, _Process]) -> set[int]:
    found, below = set(pids), set(pids)
    while below:
        below = {pid for pid, one in there.items() if one.parent in below} - found
        found |= below
    return found


def _signal(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
