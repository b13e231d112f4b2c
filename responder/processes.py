"""What /proc tells about processes: children, descendants, and whether a process carries a mark."""

import contextlib
import os
from pathlib import Path

_PROC = Path("/proc")


def children_of(pid: int) -> set[int]:
    """Give the direct children of a process, zombies included; empty when it has none or is gone.

    Source: proc_pid_task_children(5). A list read while a child exits may miss a sibling, so it is read until two
    readings agree.

    Raises:
        OSError: They cannot be read, for want of a descriptor.
    """
    previous = _read_children(pid)
    while (current := _read_children(pid)) != previous:
        previous = current
    return current


def own_children() -> set[int]:
    """Give the direct children of this process, zombies included, if only its main thread starts any.

    What has lost its parent is given to the main thread too, so the lists of the others need not be read.

    Raises:
        OSError: They cannot be read, for want of a descriptor.

    Source: `find_new_reaper` in Linux's kernel/exit.c, which takes the first thread that lives.
    """
    path = f"/proc/self/task/{os.getpid()}/children"
    previous = _read(path)
    while (current := _read(path)) != previous:
        previous = current
    return set(map(int, current.split()))


def descendants_of(pid: int) -> set[int]:
    """Give all descendants of a process, itself left out."""
    found: set[int] = set()
    unread = children_of(pid)
    while unread:
        found |= unread
        unread = set().union(*(children_of(child) for child in unread)) - found
    return found


def environment_value(pid: int, name: str) -> str | None:
    """Give what a process was started with in an environment variable; None when it had none or that cannot be read."""
    try:
        entries = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return None
    prefix = f"{name}=".encode()
    return next(
        (entry.removeprefix(prefix).decode("ascii", "replace") for entry in entries if entry.startswith(prefix)), None
    )


def can_list_children() -> bool:
    """Say whether this kernel lists children at all (it was built with CONFIG_PROC_CHILDREN)."""
    return (_PROC / "self" / "task" / str(os.getpid()) / "children").exists()


def _read_children(pid: int) -> set[int]:
    found: set[int] = set()
    # What has ended meanwhile has no children any more; any other error must not look like that.
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 # after each run: a third of pathlib's time
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found.update(map(int, _read(f"/proc/{pid}/task/{thread}/children").split()))
    return found


def resident_bytes(pid: int) -> int:
    """Give the memory a process has resident, shared pages included; 0 when it is gone.

    Source: proc_pid_statm(5).
    """
    try:
        pages = int((_PROC / str(pid) / "statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGESIZE")


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return b"".join(iter(lambda: os.read(descriptor, 65_536), b""))
    finally:
        os.close(descriptor)
