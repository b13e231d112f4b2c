"""The stand-in for the CLI, and the ledger it keeps."""

import asyncio
import json
import os
import signal
from pathlib import Path

from chaos.clock import now
from chaos.ledger import LedgerFile, Run
from chaos.stand_in import LEDGER_VARIABLE, RESPONDER_VARIABLE, write_stand_in
from tests.support.conditions import wait_until


async def start(folder: Path, prompt: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        str(write_stand_in(folder)),
        env={"PATH": os.defpath, LEDGER_VARIABLE: str(folder / "ledger"), RESPONDER_VARIABLE: "r1"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(f"{prompt}\n".encode())
    process.stdin.close()
    return process


async def started(folder: Path) -> Run:
    ledger = LedgerFile(folder / "ledger")
    await wait_until(lambda: bool(ledger.runs()), "the run is in the ledger")
    return ledger.runs()[0]


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in (Path("/proc") / str(pid) / "status").read_text()
    except FileNotFoundError:
        return False


async def test_it_answers_with_its_token(tmp_path: Path) -> None:
    """A run takes its time, answers as the CLI does, ends its tool, and stands in the ledger from start to end."""
    began = now()
    process = await start(tmp_path, "kill-00001 0.3")
    output, _ = await process.communicate()
    assert json.loads(output)["result"] == "kill-00001"
    run = await started(tmp_path)
    assert (run.token, run.responder, run.pids[0]) == ("kill-00001", "r1", process.pid)
    assert run.ended_at is not None
    assert run.ended_at - run.started_at >= 0.29
    # /proc/uptime is in hundredths.
    assert began - 0.01 <= run.started_at <= now()
    await wait_until(lambda: not is_running(run.pids[1]), "the tool has ended")


async def test_a_signal_ends_it_and_its_tool(tmp_path: Path) -> None:
    """SIGINT, once it is 0.2 s old, ends it at once; its tool goes with it."""
    process = await start(tmp_path, "kill-00001 60")
    run = await started(tmp_path)
    assert is_running(run.pids[1])
    while process.returncode is None:
        process.send_signal(signal.SIGINT)
        await asyncio.wait({asyncio.create_task(process.wait())}, timeout=0.05)
    assert process.returncode == 130
    await wait_until(lambda: not is_running(run.pids[1]), "the tool has ended")
    assert (await started(tmp_path)).ended_at is not None


def test_each_start_counts(tmp_path: Path) -> None:
    """Two starts with one token are two runs, whoever made them; a half written line is none."""
    (tmp_path / "ledger").write_text(
        "started kill-00001 r1 10 11 100.00\n"
        "started kill-00001 r2 20 21 101.50\n"
        "ended kill-00001 r1 10 11 102.00\n"
        "started kill-0000"
    )
    first, second = LedgerFile(tmp_path / "ledger").runs()
    assert first == Run("kill-00001", "r1", 100.0, (10, 11), 102.0)
    assert second == Run("kill-00001", "r2", 101.5, (20, 21))
    assert second.is_under_way(103.0)
    assert not first.is_under_way(103.0)
