"""Looking at the host: the CLI, room for working directories, memory. Cheap enough to be done every few seconds."""

import asyncio
import math
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from responder.cli_probe import CLIProbe
from responder.fitness import Look
from responder.slots import Slots

# Files of a memory cgroup: limit, usage, and the part of the usage in memory.stat that the kernel gives back on need.
# Source: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst of Linux.
_V2 = ("memory.max", "memory.current", "inactive_file")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


@dataclass(frozen=True)
class Looks:
    """Looks at one host.

    Attributes:
        probe: Asks the CLI.
        slots: While none of them is free, no CLI is started and memory is not judged.
        scratch: Where working directories are made; None means the system's temporary directory.
        root: Where /proc and /sys are.
    """

    probe: CLIProbe
    slots: Slots
    scratch: Path | None = None
    root: Path = Path("/")

    async def look(self, *, afresh: bool) -> Look:
        """Look once.

        Args:
            afresh: Ask the CLI again, also if its file is the same.
        """
        is_usable = await self.probe.is_usable(afresh=afresh)
        room, inodes = await asyncio.to_thread(room_in, self.scratch or Path(tempfile.gettempdir()))
        memory = await asyncio.to_thread(memory_left, self.root) if self.slots.has_free else None
        return Look(is_usable, afresh, room, inodes, memory)


def room_in(folder: Path) -> tuple[float, float]:
    """Give the bytes that are free in a directory's file system, and the part of its inodes; none if it is not there.

    Some file systems do not count inodes: those have all of them free.
    """
    try:
        seen = os.statvfs(folder)
    except OSError:
        return 0.0, 0.0
    return float(seen.f_bavail * seen.f_frsize), seen.f_favail / seen.f_files if seen.f_files else 1.0


def memory_left(root: Path = Path("/")) -> float:
    """Give the bytes that one more process can have: of the host, and of each memory cgroup that this one is in."""
    return min(_available(root / "proc" / "meminfo"), *map(_left_in, _cgroups(root)), math.inf)


def _available(meminfo: Path) -> float:
    for line in _lines(meminfo):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024.0
    return math.inf


def _cgroups(root: Path) -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """Give the memory cgroups of this process, up to the outermost that can be seen here."""
    for line in _lines(root / "proc" / "self" / "cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = root / "sys" / "fs" / "cgroup" / ("memory" if controllers else "")
        names = _V1 if controllers else _V2
        inside = Path(path.lstrip("/"))
        yield from ((top / place, names) for place in (inside, *inside.parents))


def _left_in(cgroup: tuple[Path, tuple[str, str, str]]) -> float:
    folder, (limit_name, usage_name, given_back_name) = cgroup
    limit, usage = _lines(folder / limit_name), _lines(folder / usage_name)
    if not limit or not usage or limit[0] == "max":
        return math.inf
    given_back = [line.split()[1] for line in _lines(folder / "memory.stat") if line.startswith(f"{given_back_name} ")]
    return float(int(limit[0]) - int(usage[0]) + sum(map(int, given_back)))


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
