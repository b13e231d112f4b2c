"""No process left behind: end a run's CLI step by step, then whatever it has left.

Measured on CLI 2.1.197: each Bash tool runs in a session of its own, so killing the process group does not reach it; a
young CLI dies of SIGTERM at once and its tool survives; SIGKILL always leaks the tool; and a run that ends normally can
leave background children too. The responder is therefore a child subreaper: what loses its parent becomes our child,
and after every run the children that belong to it are killed until there is none.
"""

import asyncio
import contextlib
import ctypes
import os
import signal

from responder.child import Child, wait_for_exit
from responder.processes import children_of, descendants_of, environment_value

MARK_VARIABLE = "CLAUDE_NATS_RUN"
_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Let orphaned descendants become children of this process instead of init's.

    Raises:
        OSError: The kernel refuses (Linux has it since 3.4).

    Source: PR_SET_CHILD_SUBREAPER(2const).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


async def end_child(child: Child, step_s: float, at_once: asyncio.Future[None]) -> None:
    """End a child: SIGINT, a step later SIGTERM, a step later SIGKILL.

    SIGINT first, because it is the signal on which the CLI ends its tools and reports what the run cost; it may also
    be ignored (while the API is waited for), which the next steps are for.

    Args:
        child: What to end; nothing happens when it has exited.
        step_s: Seconds between the steps.
        at_once: Skips to SIGKILL as soon as it is done.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if child.has_exited or at_once.done():
            break
        child.send_signal(number)
        await child.wait_or(at_once, step_s)
    child.send_signal(signal.SIGKILL)
    await child.wait()


class Sweeper:
    """Kills what runs leave behind, and nothing that belongs to a run still going.

    An orphan belongs to the run whose mark it has in its environment. One that has dropped its environment could be
    any of the runs that were going when it was first seen; it is killed when the last of these has ended.
    """

    def __init__(self) -> None:
        self._running: dict[str, int] = {}
        self._others: set[int] = set()
        self._suspects: dict[int, set[str]] = {}

    def register(self, run: str, pid: int) -> None:
        """Note a run's CLI, from its start on."""
        self._running[run] = pid

    def register_other(self, pid: int) -> None:
        """Note a child that is no run's and stays."""
        self._others.add(pid)

    async def sweep(self, run: str) -> int:
        """Kill and reap all that a run has left; its CLI has exited.

        Returns:
            How many processes were killed.
        """
        self._running.pop(run, None)
        for owners in self._suspects.values():
            owners.discard(run)
        killed: set[int] = set()
        while orphans := self._orphans_of(run):
            doomed = orphans.union(*(descendants_of(pid) for pid in orphans))
            killed |= doomed
            for pid in doomed:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.gather(*(wait_for_exit(pid) for pid in orphans))
            for pid in orphans:
                _reap(pid)
        return len(killed)

    def _orphans_of(self, run: str) -> set[int]:
        ours = children_of(os.getpid()) - self._others - set(self._running.values())
        self._suspects = {pid: owners for pid, owners in self._suspects.items() if pid in ours}
        return {pid for pid in ours if not _reap(pid) and self._may_kill(pid, run)}

    def _may_kill(self, pid: int, run: str) -> bool:
        mark = environment_value(pid, MARK_VARIABLE)
        if mark is not None:
            return mark == run or mark not in self._running
        return not self._suspects.setdefault(pid, set(self._running))


def _reap(pid: int) -> bool:
    """Reap a child if it has ended; says whether it is gone."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
