"""The stand-in for the CLI, and the ledger it keeps."""

import asyncio
import json
import os
import time
from pathlib import Path

from bench.routing.stand_in import RESPONDER_VARIABLE, Run, StandIn, prompt, read_ledger


async def test_it_takes_its_time_and_writes_it_down(tmp_path: Path) -> None:
    """A run takes the seconds of its prompt, prints a result document, and stands in the ledger."""
    stand_in = StandIn(tmp_path)
    stand_in.write()
    assert stand_in.runs() == []
    began = time.time()
    process = await asyncio.create_subprocess_exec(
        str(stand_in.command), "-p",
        env={"PATH": os.defpath, RESPONDER_VARIABLE: "r1"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate(prompt("t7", 0.05).encode())
    assert json.loads(output)["result"] == "ok"
    (run,) = stand_in.runs()
    assert (run.token, run.responder) == ("t7", "r1")
    assert run.ended_at is not None
    assert began <= run.started_at <= run.ended_at - 0.05
    assert run.ended_at <= time.time()


def test_the_ledger_is_read_as_far_as_it_is_written() -> None:
    """A run without an end is under way; a token may run twice; a half written line is not there yet."""
    text = "started a r1 10.0\nstarted b r2 10.5\nended b r2 11.5\nended a r1 11.0\nstarted a r1 12.0\nended a r1 1"
    assert read_ledger(text) == [Run("a", "r1", 10.0, 11.0), Run("b", "r2", 10.5, 11.5), Run("a", "r1", 12.0)]
    assert read_ledger(text)[2].span.ended_at == 12.0
