"""What a host has of us, for tests that must leave nothing."""

import os
from dataclasses import dataclass
from pathlib import Path

from responder.processes import descendants_of
from tests.responder.shell import open_descriptors


@dataclass(frozen=True)
class Left:
    """What a host has of us.

    Attributes:
        descriptors: How many this process has open, without the lock of what all fresh directories are in.
        processes: Those that descend from it.
        directories: Names of the fresh ones.
    """

    descriptors: int
    processes: frozenset[int]
    directories: tuple[str, ...]

    @classmethod
    def now(cls, folder: Path) -> "Left":
        """Look at it.

        Args:
            folder: That of `make_ground`.
        """
        owned = list((folder / "scratch").glob("claude-responder-run-*"))
        names = sorted(path.name for own in owned for path in own.iterdir())
        return cls(open_descriptors() - len(owned), frozenset(descendants_of(os.getpid())), tuple(names))
