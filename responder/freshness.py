"""Whether what a CLI has read when it was started still is so."""

import datetime as dt
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from responder.memory import cli_home

# What the CLI reads of its home when it starts, besides its own state, which every run rewrites.
_READ_AT_START = (
    "settings.json",
    "CLAUDE.md",
    ".credentials.json",
    "agents",
    "commands",
    "output-styles",
    "plugins",
    "rules",
    "skills",
)
_MANAGED = Path("/etc/claude-code/managed-settings.json")

State = tuple[object, ...]


@dataclass(frozen=True)
class Freshness:
    """Tells one state of the host from another.

    Attributes:
        cli: The executable.
        host: This process's environment, which says where the CLI's home is.
    """

    cli: Path
    host: Mapping[str, str] = field(repr=False)

    def state(self) -> State:
        """Give what a CLI that is started now reads: its file, its settings, and the date, which it tells the API."""
        home = cli_home(self.host)
        files = (self.cli, _MANAGED, *(home / name for name in _READ_AT_START))
        return (dt.datetime.now().astimezone().date(), *map(_identity, files))


def _identity(file: Path) -> tuple[int, int, int, int] | None:
    try:
        seen = os.stat(file)  # noqa: PTH116 # ten of them for each request: Path is three times slower
    except OSError:
        return None
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns
