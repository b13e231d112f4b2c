"""No process left behind: end a run's CLI step by step, then whatever it has left.

Measured on CLI 2.1.197: each Bash tool runs in a session of its own, so killing the process group does not reach it; a
young CLI dies of SIGTERM at once and its tool survives; SIGKILL always leaks the tool; and a run that ends normally can
leave background children too. The responder is therefore a child subreaper: what loses its parent becomes our child,
and after every run the children that belong to it are killed until there is none.
"""

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import time
from typing import Any

from responder.child import Child
from responder.processes import descendants_of, environment_value, own_children

MARK_VARIABLE = "CLAUDE_NATS_RUN"
_PR_SET_CHILD_SUBREAPER = 36
_SWEEP_MAX_S = 3.0
_LOOK_AGAIN_S = 0.005
_REAP_EVERY_S = 1.0

_log = logging.getLogger(__name__)


def become_subreaper() -> None:
    """Let orphaned descendants become children of this process instead of init's.

    Raises:
        OSError: The kernel refuses (Linux has it since 3.4).

    Source: PR_SET_CHILD_SUBREAPER(2const).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


async def end_child(child: Child, step_s: float, at_once: asyncio.Future[Any]) -> None:
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
        self._reaped_at = 0.0

    def register(self, run: str, pid: int) -> None:
        """Note a run's CLI, from its start on."""
        self._running[run] = pid

    def register_other(self, pid: int) -> None:
        """Note a child that is no run's and stays, or is none yet."""
        self._others.add(pid)

    def forget_other(self, pid: int) -> None:
        """Note that such a child has ended, or has become a run's."""
        self._others.discard(pid)

    @property
    def has_suspects(self) -> bool:
        """Whether there was, at the last sweep, an orphan of which nobody can tell whose it is."""
        return bool(self._suspects)

    def is_swept(self, run: str) -> bool:
        """Say, at its end, whether a run has surely left nothing, as most do; if not, `sweep` has to follow."""
        self._end(run)
        try:
            return all(map(_reap, self._orphans()))
        except OSError:
            return False

    async def sweep(self, run: str) -> int:
        """Kill and reap all that a run has left; its CLI has exited.

        What cannot be killed (another user's, by a setuid program) is logged and left; a sweep never fails.

        Returns:
            How many processes were killed.
        """
        self._end(run)
        killed: set[int] = set()
        deadline = time.monotonic() + _SWEEP_MAX_S
        while time.monotonic() < deadline:
            try:
                left = self._kill_leftovers(run, killed)
            except OSError as error:
                _log.warning("the sweep after a run is delayed: %s", os.strerror(error.errno or 0))
                left = True
            if not left:
                return len(killed)
            await asyncio.sleep(_LOOK_AGAIN_S)
        _log.error("processes of a run are left after %.0f s: they cannot be killed", _SWEEP_MAX_S)
        self._others |= {pid for pid in killed if is_child(pid)}
        return len(killed)

    def reap_ended(self, now: float) -> None:
        """Reap orphans that have ended by themselves while runs go on; looks once a second at most."""
        if now - self._reaped_at < _REAP_EVERY_S:
            return
        self._reaped_at = now
        with contextlib.suppress(OSError):
            for pid in self._orphans():
                _reap(pid)

    def _end(self, run: str) -> None:
        self._running.pop(run, None)
        for owners in self._suspects.values():
            owners.discard(run)

    def _kill_leftovers(self, run: str, killed: set[int]) -> bool:
        """Kill what a run has left, once more; says whether any of it is still there."""
        orphans = {pid for pid in self._orphans() if not _reap(pid)}
        self._suspects = {pid: owners for pid, owners in self._suspects.items() if pid in orphans}
        doomed = {pid for pid in orphans if self._may_kill(pid, run)}
        doomed = doomed.union(*(descendants_of(pid) for pid in doomed))
        for pid in doomed:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed |= doomed
        # A killed descendant becomes our child when its parent is gone: it is waited for until it has been reaped.
        return bool(doomed) or any(not _reap(pid) for pid in killed if is_child(pid))

    def _orphans(self) -> set[int]:
        return own_children() - self._others - set(self._running.values())

    def _may_kill(self, pid: int, run: str) -> bool:
        mark = environment_value(pid, MARK_VARIABLE)
        if mark is not None:
            return mark == run or mark not in self._running
        return not self._suspects.setdefault(pid, set(self._running))


def is_child(pid: int) -> bool:
    """Say whether a process is a child of this one, ended or not."""
    return pid in own_children()


def _reap(pid: int) -> bool:
    """Reap a child if it has ended; says whether it is gone."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
