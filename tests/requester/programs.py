"""Small programs that tests run as processes of their own, with every warning an error."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]
STRICT = ("-X", "dev", "-W", "error")


@dataclass(frozen=True)
class Outcome:
    """How a program ended and what it said."""

    status: int
    stdout: str
    stderr: str


async def start(*arguments: str, environ: Mapping[str, str], stderr: int = PIPE) -> Process:
    """Start this Python with an environment built from nothing.

    Args:
        arguments: Of Python.
        environ: More of its environment.
        stderr: Where its stderr goes; a pipe unless it is to be a terminal.
    """
    env = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), **environ}
    return await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=env, stdin=PIPE, stdout=PIPE, stderr=stderr
    )


async def finish(process: Process, stdin: bytes = b"") -> Outcome:
    """Wait for a program's end, half a minute at most."""
    try:
        async with asyncio.timeout(30):
            stdout, stderr = await process.communicate(stdin)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    # asyncio's debug mode remarks on each step that took more than 0.1 s, as any may on a busy machine.
    said = [line for line in (stderr or b"").decode().splitlines(keepends=True) if not line.startswith("Executing <")]
    return Outcome(process.returncode or 0, stdout.decode(), "".join(said))


async def start_script(script: str, *options: str, **environ: str) -> Process:
    """Start a script, strictly."""
    return await start(*STRICT, *options, "-c", dedent(script), environ=environ)


async def run_script(script: str, *options: str, **environ: str) -> Outcome:
    """Run a script, strictly."""
    return await finish(await start_script(script, *options, **environ))
