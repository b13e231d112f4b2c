"""The demo, as `make demo` runs it."""

import asyncio
import os
import sys
from pathlib import Path

from responder.processes import descendants_of
from tests.hop.conftest import cli_path
from tests.support.responder_process import ROOT


async def test_the_demo_shows_answers_and_traces(tmp_path: Path) -> None:
    """It says that the API is a stub, prints three answers and their traces, ends well and leaves nothing."""
    demo = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "examples.demo",
        env={
            "HOME": str(tmp_path),
            "TMPDIR": str(tmp_path),
            "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
            "CLAUDE_CLI": str(cli_path()),
            "COLUMNS": "120",
        },
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    printed, said = await demo.communicate()
    shown = printed.decode()
    assert (demo.returncode, said.decode()) == (0, "")
    assert "the Messages API here is a stub on loopback" in shown
    assert "responder-a" in shown or "responder-b" in shown
    assert shown.count("$0.") == 3
    for name in ("worker", "request", "send", "process", "wait for slot", "invoke_agent", "claude_code.llm_request"):
        assert name in shown, name
    assert not descendants_of(demo.pid)
    assert not [name for name in os.listdir(tmp_path) if name.startswith("claude-")]  # noqa: PTH208 # no I/O of weight
