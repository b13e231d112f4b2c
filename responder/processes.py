"""What /proc tells about processes: children, descendants, and whether a process carries a mark."""

import os
from pathlib import Path

_PROC = Path("/proc")


def children_of(pid: int) -> set[int]:
    """Give the direct children of a process, zombies included; empty when it has none or is gone.

    Source: proc_pid_task_children(5). A list read while a child exits may miss a sibling, so it is read until two
    readings agree.
    """
    previous = _read_children(pid)
    while (current := _read_children(pid)) != previous:
        previous = current
    return current


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
    try:
        threads = list((_PROC / str(pid) / "task").iterdir())
    except OSError:
        return found
    for thread in threads:
        try:
            found.update(map(int, (thread / "children").read_text().split()))
        except OSError:
            continue  # the thread, or the process, has ended meanwhile
    return found
