"""Shell scripts as programs: short ones, deaf ones, and ones that leave processes behind."""

import os
from pathlib import Path

from responder.processes import children_of
from responder.run import Command

ENV = {"PATH": os.defpath}
# `stay FILE` writes its process id to a file and stays; `await FILE` waits until there is something in a file.
PRELUDE = """
export STAY='echo $$ >"$1"; exec sleep 300'
stay() { sh -c "$STAY" stay "$1"; }
await() { until [ -s "$1" ]; do sleep 0.01; done; }
"""
# What a run can leave behind, by the file in which each writes its process id: in a session of its own; daemonised by a
# double fork; the same without any environment; one that ignores what can be ignored; one that is stopped; and one
# without any environment below one that has its own.
LEFTOVERS = ("setsid", "daemon", "scrubbed", "deaf", "stopped", "nested")
LEAVE_ALL = """
setsid sh -c "$STAY" stay setsid &
( ( setsid sh -c "$STAY" stay daemon & ) & )
( env -i setsid sh -c "$STAY" stay scrubbed & )
sh -c 'trap "" INT TERM HUP; echo $$ >deaf; while :; do sleep 300; done' &
( setsid sh -c 'echo $$ >stopped; kill -STOP $$' & )
( setsid sh -c 'env -i sh -c "$STAY" stay nested; :' & )
for name in setsid daemon scrubbed deaf stopped nested; do await "$name"; done
"""


def shell(folder: Path, body: str, name: str = "program") -> str:
    """Write a script and give its path."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{PRELUDE}\n{body}\n")
    path.chmod(0o755)
    return str(path)


def command(folder: Path, body: str, *, stdin: bytes = b"") -> Command:
    """Give a command that runs a script in a folder."""
    folder.mkdir(exist_ok=True)
    return Command((shell(folder, body),), ENV, str(folder), stdin)


def pid_in(path: Path) -> int:
    """Read the process id that `stay` has written."""
    return int(path.read_text())


def is_alive(pid: int) -> bool:
    """Say whether there is such a process, a zombie included."""
    return Path(f"/proc/{pid}").exists()


def is_running(pid: int) -> bool:
    """Say whether there is such a process and it has not ended."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def open_descriptors() -> int:
    """Give how many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def children() -> set[int]:
    """Give this process's children, zombies included."""
    return children_of(os.getpid())
