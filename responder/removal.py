"""Removal of what runs have left: of any shape, off the event loop, and bounded for whoever waits for it.

A run decides what its directory holds, so nothing here recurses, follows links or trusts a mode. Directories found
inside others are moved up to the top before they are emptied: no path grows long, and no more than a handful of
descriptors is open, however deep the tree is. (`shutil.rmtree` raises RecursionError at about a thousand levels, and
before CPython 3.13 holds a descriptor for each.)
"""

import asyncio
import contextlib
import errno
import itertools
import logging
import os
import secrets
import stat
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

_log = logging.getLogger(__name__)

_DIRECTORY = os.O_DIRECTORY | os.O_CLOEXEC
_WORKERS = 2  # a huge tree keeps one busy; the other goes on with the small ones
_WAIT_S = 1.0
_CLOSE_S = 2.0
# What is empty is removed with all that has come by then: one thread is woken for many.
_SOON_S = 0.1


class Removals:
    """Removes directories in threads of its own, a few at a time.

    Args:
        wait_s: How long `remove` waits at most, in seconds; the removal itself goes on.
    """

    def __init__(self, wait_s: float = _WAIT_S) -> None:
        self._wait_s = wait_s
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="removal")
        self._stopped = threading.Event()
        self._unfinished: set[asyncio.Future[None]] = set()
        self._soon: list[str] = []

    def __repr__(self) -> str:
        return f"<Removals {len(self._unfinished)} unfinished>"

    @property
    def is_stopped(self) -> bool:
        """Whether `close` has ended the removals."""
        return self._stopped.is_set()

    async def remove(self, path: str) -> None:
        """Remove a directory with all that is in it; what cannot be removed is logged and never raised."""
        await asyncio.wait({self.begin(lambda: self.remove_now(path))}, timeout=self._wait_s)

    async def empty(self, path: str) -> bool:
        """Remove all that is in a directory; says whether it has gone in time."""
        kept: list[Counter[str]] = []
        work = self.begin(lambda: kept.append(Tree(path, self._stopped.is_set).empty()))
        await asyncio.wait({work}, timeout=self._wait_s)
        return kept == [Counter()] and not self.is_stopped

    def remove_soon(self, path: str) -> None:
        """Remove an empty directory a moment later; `close` waits for it.

        Not here and now: on a disk one in a hundred takes 3 ms, and with others who write there, longer.
        """
        if self.is_stopped:
            _remove_empty(path)
            return
        if not self._soon:
            asyncio.get_running_loop().call_later(_SOON_S, self._begin_soon)
        self._soon.append(path)

    def _begin_soon(self) -> None:
        paths, self._soon = self._soon, []
        if paths:
            self.begin(lambda: self._remove_all(paths))

    def _remove_all(self, paths: Sequence[str]) -> None:
        for path in paths:
            if not _remove_empty(path):
                self.remove_now(path)

    def remove_now(self, path: str) -> None:
        """Do as `remove`, in the thread that calls."""
        kept = Tree(path, self._stopped.is_set).remove()
        if kept:
            reasons = ", ".join(f"{count} {name}" for name, count in kept.most_common())
            _log.warning("a working directory stays: %d entries could not be removed (%s)", kept.total(), reasons)

    def begin(self, work: Callable[[], object]) -> asyncio.Future[None]:
        """Have a thread do some work; gives what is done when the work has ended, well or not."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        try:
            ended = self._pool.submit(work)
        except RuntimeError as error:  # no thread can be started, or all is closed
            _log.warning("working directories are left to the next start: %s", error)
            done.set_result(None)
            return done
        self._unfinished.add(done)
        done.add_done_callback(self._unfinished.discard)
        ended.add_done_callback(lambda _: _tell(ended, loop, done))
        return done

    async def close(self, timeout_s: float = _CLOSE_S) -> None:
        """Wait for what goes on, then end it; what is left then is removed at the next start.

        Args:
            timeout_s: How long to wait, in seconds.
        """
        try:
            self._begin_soon()
            if self._unfinished:
                await asyncio.wait(self._unfinished, timeout=timeout_s)
            if self._unfinished:
                _log.warning("working directories are left to the next start: %r", self)
        finally:
            self._stopped.set()
            self._pool.shutdown(wait=False, cancel_futures=True)


class Tree:
    """A directory to be removed with all that is in it.

    Args:
        path: The directory; if a link or a file has taken its place, that is removed and nothing else.
        is_stopped: Asked before every entry whether to give up.
    """

    def __init__(self, path: str, is_stopped: Callable[[], bool]) -> None:
        self._path = path
        self._is_stopped = is_stopped
        self._kept: Counter[str] = Counter()
        self._changes = 0
        token = secrets.token_hex(8)
        self._new_names = (f"{token}-{number}" for number in itertools.count())

    def remove(self) -> Counter[str]:
        """Remove it.

        Returns:
            How many entries could not be removed, by the name of the error (`EACCES`); empty when nothing is left.
        """
        with self._counted():
            try:
                self._open_and_empty()
            except NotADirectoryError:
                os.unlink(self._path)  # noqa: PTH108 # as everywhere here: relative to descriptors, in one style
                return self._kept
        if not self._kept and not self._is_stopped():
            with self._counted():
                os.rmdir(self._path)  # noqa: PTH106 # the same
        return self._kept

    def empty(self) -> Counter[str]:
        """Remove what is in it, and leave the directory itself; returns the same."""
        with self._counted():
            self._open_and_empty()
        return self._kept

    def _open_and_empty(self) -> None:
        top = open_directory(self._path)
        try:
            self._empty(top)
        finally:
            os.close(top)

    def _empty(self, top: int) -> None:
        """Go over the top until a pass changes nothing: every change removes an entry or moves one up."""
        before = -1
        while self._changes != before and not self._is_stopped():
            before = self._changes
            self._kept.clear()
            for entry in self._entries(top):
                with self._counted():
                    if entry.is_dir(follow_symlinks=False):
                        self._flatten(entry.name, top)
                    else:
                        os.unlink(entry.name, dir_fd=top)
                        self._changes += 1

    def _flatten(self, name: str, top: int) -> None:
        """Empty a directory in the top: its files are removed, its directories moved up; then remove it."""
        kept_before = self._kept.total()
        directory = open_directory(name, top)
        try:
            for entry in self._entries(directory):
                with self._counted():
                    if entry.is_dir(follow_symlinks=False):
                        os.close(open_directory(entry.name, directory))  # what is not writable cannot be moved
                        os.rename(entry.name, next(self._new_names), src_dir_fd=directory, dst_dir_fd=top)
                    else:
                        os.unlink(entry.name, dir_fd=directory)
                    self._changes += 1
        finally:
            os.close(directory)
        if self._kept.total() == kept_before and not self._is_stopped():
            os.rmdir(name, dir_fd=top)
            self._changes += 1

    def _entries(self, directory: int) -> Iterator[os.DirEntry[str]]:
        with os.scandir(directory) as entries:
            yield from itertools.takewhile(lambda _: not self._is_stopped(), entries)

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            return
        except OSError as error:
            self._kept[errno.errorcode.get(error.errno or 0, "unknown")] += 1


def _remove_empty(path: str) -> bool:
    """Remove a directory in which there is nothing; says whether it is gone."""
    try:
        os.rmdir(path)  # noqa: PTH106 # as in `Tree`
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def open_directory(path: str, within: int | None = None) -> int:
    """Open a directory itself, never what a link points to; one of ours is made readable and writable before.

    Args:
        path: Absolute, or a name in `within`.
        within: Descriptor of a directory.

    Raises:
        NotADirectoryError: It is something else, which a link is too.
        OSError: It cannot be opened.
    """
    found = os.open(path, os.O_PATH | os.O_NOFOLLOW | _DIRECTORY, dir_fd=within)
    try:
        status = os.fstat(found)
        if status.st_uid == os.geteuid() and status.st_mode & stat.S_IRWXU != stat.S_IRWXU:
            os.chmod(f"/proc/self/fd/{found}", stat.S_IRWXU)  # noqa: PTH101 # the descriptor, not a path
        return os.open(".", os.O_RDONLY | _DIRECTORY, dir_fd=found)
    finally:
        os.close(found)


def _tell(ended: Future[object], loop: asyncio.AbstractEventLoop, done: asyncio.Future[None]) -> None:
    """Say in the loop that a thread's work has ended; a defect in it is logged, without its text."""
    error = None if ended.cancelled() else ended.exception()
    if error is not None:
        _log.error("defect in a removal: %s", type(error).__name__)
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
        loop.call_soon_threadsafe(done.set_result, None)
