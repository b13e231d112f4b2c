"""Where other products' packages are: in a folder outside the tree, and never among our own dependencies."""

import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Need(StrEnum):
    """What a way needs besides ours."""

    PYTHON = "Python packages"
    NODE = "Node packages"
    REDIS = "redis-server"


@dataclass(frozen=True)
class Installed:
    """What `python -m bench.peers.install` leaves in a folder.

    Attributes:
        folder: Where; it need not exist.
    """

    folder: Path

    @property
    def python(self) -> Path:
        """The interpreter of the virtual environment."""
        return self.folder / "venv/bin/python"

    @property
    def node_packages(self) -> Path:
        """The folder that holds `node_modules`."""
        return self.folder / "node"

    @property
    def redis(self) -> Path:
        """Where Debian's packages of Redis are unpacked."""
        return self.folder / "redis"

    @property
    def redis_server(self) -> str | None:
        """The program: the machine's own, or the unpacked one."""
        return shutil.which("redis-server") or shutil.which("redis-server", path=self.redis / "usr/bin")

    @property
    def redis_libraries(self) -> str:
        """What the loader must know for the unpacked one."""
        return ":".join(map(str, self.redis.glob("usr/lib/*-linux-gnu")))

    def has(self, need: Need) -> bool:
        """Say whether something is there."""
        if need is Need.PYTHON:
            return (self.folder / "venv/installed").exists()
        if need is Need.NODE:
            return shutil.which("node") is not None and (self.node_packages / "installed").exists()
        return self.redis_server is not None

    def missing(self, needs: frozenset[Need]) -> list[Need]:
        """Give what of it is not there."""
        return [need for need in Need if need in needs and not self.has(need)]
