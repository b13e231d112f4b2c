"""The processes of the harness, and those it counts."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path

from chaos.processes import FLEET_VARIABLE, processes_of_runs, started
from chaos.stand_in import RESPONDER_VARIABLE
from responder.processes import children_of
from responder.sweep import MARK_VARIABLE
from tests.support.conditions import wait_until

OURS = {FLEET_VARIABLE: "ours", MARK_VARIABLE: "run", RESPONDER_VARIABLE: "r1"}


async def count(tmp_path: Path, environment: Mapping[str, str], responder: str | None) -> int:
    async with started("sleeper", ["sleep", "60"], {"PATH": os.defpath, **environment}, tmp_path):
        await wait_until(lambda: "sleep" in running_commands(), "it runs")
        return len(processes_of_runs("ours", responder))


def running_commands() -> set[str]:
    return {stat_of(child).partition("(")[2].rpartition(")")[0] for child in children()}


def stat_of(pid: int) -> str:
    return (Path("/proc") / str(pid) / "stat").read_text()


def children() -> set[int]:
    return children_of(os.getpid())


def states() -> set[str]:
    return {stat_of(child).rpartition(")")[2].split()[0] for child in children()}


async def test_only_runs_of_the_fleet_are_counted(tmp_path: Path) -> None:
    """A process counts by its marks: another fleet's does not, nor one that belongs to no run."""
    assert await count(tmp_path, OURS, None) == 1
    assert await count(tmp_path, OURS, "r1") == 1
    assert await count(tmp_path, OURS, "r2") == 0
    assert await count(tmp_path, OURS | {FLEET_VARIABLE: "theirs"}, None) == 0
    assert await count(tmp_path, {FLEET_VARIABLE: "ours"}, None) == 0


async def test_a_frozen_process_is_stopped_too(tmp_path: Path) -> None:
    """One that a case has left frozen ends with the context."""
    async with started("sleeper", ["sleep", "60"], {"PATH": os.defpath}, tmp_path) as process:
        await wait_until(lambda: "sleep" in running_commands(), "it runs")
        process.signal(signal.SIGSTOP)
        await wait_until(lambda: "T" in states(), "it is frozen")
    assert process.exit_status == -signal.SIGTERM
