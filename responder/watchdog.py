"""What is left to do when the responder itself is killed: a small process that outlives it and ends its CLIs.

The death signal alone is not enough: a CLI that is about 0.2 s old ignores SIGINT (measured on CLI 2.1.197) and
would go on to call the API and run tools without anybody who knows of it. So this process waits for the responder's
end, gives the CLIs a moment to follow the signal by themselves, and kills what carries the responder's mark until
there is nothing.

It is a program of its own (`python -m responder.watchdog PID MARK`) and imports next to nothing, to stay small.
"""

import contextlib
import os
import select
import signal
import sys
import time

RESPONDER_VARIABLE = "CLAUDE_NATS_RESPONDER"
_GRACE_S = 1.0
_GIVE_UP_S = 30.0  # what is left then cannot be killed
_LOOK_EVERY_S = 0.05


def main(argv: list[str]) -> int:
    """Wait for the end of a process, then kill what carries a mark; says `armed` once it ignores the death signal.

    Args:
        argv: The process id, and the mark's value.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it comes when the responder dies, and is not meant for this
    pid, mark = int(argv[0]), argv[1]
    sys.stdout.write("armed\n")
    sys.stdout.flush()
    _wait_for_end(pid)
    ended_at = time.monotonic()
    while (marked := _marked(mark)) and time.monotonic() < ended_at + _GIVE_UP_S:
        if time.monotonic() >= ended_at + _GRACE_S:
            for survivor in marked:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(survivor, signal.SIGKILL)
        time.sleep(_LOOK_EVERY_S)
    return 1 if marked else 0


def _wait_for_end(pid: int) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    select.select([pidfd], [], [])


def _marked(mark: str) -> list[int]:
    entry = f"{RESPONDER_VARIABLE}={mark}".encode()
    return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _has(pid, entry)]  # noqa: PTH208 # light


def _has(pid: int, entry: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as environ:  # noqa: PTH123 # the same
            return entry in environ.read().split(b"\0")
    except OSError:
        return False  # it has ended, or is another user's


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
