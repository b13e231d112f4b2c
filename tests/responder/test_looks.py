"""Looking at the host: its memory, the limits it is under, its room, its CLI."""

import math
import os
from pathlib import Path

import pytest

from responder.cli_environment import CLIEnvironment
from responder.cli_probe import CLIProbe
from responder.looks import Looks, memory_left, room_in
from responder.run import Runner
from responder.slots import Slots
from tests.responder.shell import ENV, shell

pytestmark = pytest.mark.usefixtures("patience")
MEMINFO = "MemTotal: 9 kB\nMemFree: 1 kB\nMemAvailable:     500 kB\n"


def host(root: Path, files: dict[str, str]) -> Path:
    """Write files of /proc and /sys below a directory."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def v2(folder: str, limit: str, usage: int, inactive: int) -> dict[str, str]:
    return {
        f"sys/fs/cgroup/{folder}memory.max": f"{limit}\n",
        f"sys/fs/cgroup/{folder}memory.current": f"{usage}\n",
        f"sys/fs/cgroup/{folder}memory.stat": f"anon 5\ninactive_file {inactive}\ninactive_file_x 9\n",
    }


V1 = {
    "proc/self/cgroup": "4:memory:/a/b\n3:cpu,cpuacct:/a\n0::/\n",
    "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": "1000\n",
    "sys/fs/cgroup/memory/a/b/memory.usage_in_bytes": "800\n",
    "sys/fs/cgroup/memory/a/b/memory.stat": "inactive_file 1\ntotal_inactive_file 300\n",
}


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({}, math.inf),
        ({"proc/meminfo": MEMINFO}, 512_000),
        ({"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/\n", **v2("", "max", 5, 0)}, 512_000),
        ({"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/\n", **v2("", "1000", 900, 300)}, 400),
        ({"proc/self/cgroup": "0::/a/b\n", **v2("a/b/", "1000", 900, 0), **v2("a/", "2000", 1990, 5)}, 15),
        ({"proc/self/cgroup": "0::/not/mounted/here\n", **v2("", "1000", 100, 0)}, 900),
        ({"proc/meminfo": MEMINFO, **V1}, 500),
    ],
)
def test_the_memory_that_is_left(tmp_path: Path, files: dict[str, str], left: float) -> None:
    """The host's and every memory limit above this process count, without the cache that the kernel gives back."""
    assert memory_left(host(tmp_path, files)) == left


def test_this_hosts_memory() -> None:
    """On a real host there is a number."""
    assert 0 < memory_left() < math.inf


def test_the_room_of_a_directory(tmp_path: Path) -> None:
    """There is some in a directory, and none in one that is not there."""
    room, inodes = room_in(tmp_path)
    assert room > 0
    assert 0 < inodes <= 1
    assert room_in(tmp_path / "gone") == (0.0, 0.0)


async def test_a_look(runner: Runner, tmp_path: Path) -> None:
    """A look has all of it; memory is not judged while no CLI could be started anyway."""
    cli = Path(shell(tmp_path, "echo 1.0", "claude"))
    looks = Looks(CLIProbe(cli, runner, CLIEnvironment(ENV)), Slots(1, 0), tmp_path, host(tmp_path, {}))
    look = await looks.look(afresh=True)
    assert (look.is_cli_usable, look.is_cli_asked, look.memory_bytes) == (True, True, math.inf)
    assert look.scratch_bytes > 0
    with await looks.slots.take(math.inf):
        assert (await looks.look(afresh=False)).memory_bytes is None
    os.unlink(cli)  # noqa: PTH108 # as a Path it is a blocking call to ruff
    look = await looks.look(afresh=False)
    assert (look.is_cli_usable, look.is_cli_asked) == (False, False)
