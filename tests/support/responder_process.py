"""A responder as a process of its own, with an environment built from nothing."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from responder.processes import children_of, descendants_of
from tests.support.conditions import wait_until

ROOT = Path(__file__).parents[2]


@dataclass
class ResponderProcess:
    """A running responder.

    Attributes:
        name: Its id.
        process: Its process.
        log: What it has said on stderr.
    """

    name: str
    process: asyncio.subprocess.Process
    log: list[str] = field(default_factory=list)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def descendants(self) -> set[int]:
        """Give the processes below it, besides its watchdog."""
        return {pid for pid in descendants_of(self.pid) if not _is_watchdog(pid)}

    def commands(self) -> set[str]:
        """Give the names of the commands that run below it."""
        return {_command(pid) for pid in self.descendants()}

    def clis(self) -> set[int]:
        """Give the CLIs it runs; the CLI's own helper processes are not among them."""
        return {pid for pid in children_of(self.pid) if _command(pid) == "claude"}

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def wait(self) -> int:
        """Wait for its end; give its exit status."""
        return await self.process.wait()

    async def wait_until_said(self, text: str) -> None:
        """Wait until it has said a text on its log."""
        await wait_until(lambda: any(text in line for line in self.log), f"{self.name} says {text!r}: {self.log}", 20)

    async def wait_until_idle(self) -> None:
        """Wait until no process is left below it."""
        await wait_until(lambda: not self.descendants(), f"no process below {self.name}")


_ENVIRONMENT = {
    "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
    "PYTHONPATH": str(ROOT),
    # Most CLIs of tests are scripts that know one prompt, and no stream of them.
    "CLAUDE_RESPONDER_STANDBY_MAX": "0",
}


@contextlib.asynccontextmanager
async def responder_process(
    name: str, env: Mapping[str, str], *options: str, ready: bool = True, module: str = "responder"
) -> AsyncIterator[ResponderProcess]:
    """Run `claude-responder serve` as long as the context lasts; it is drained at the end.

    Args:
        name: Its id.
        env: Its whole environment, besides PATH, what Python needs, and that no CLI is started ahead.
        options: More of its command line.
        ready: Whether to wait until it listens.
        module: The program.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, "serve", "--name", name, *options,
        env={**_ENVIRONMENT, **env},
        cwd="/",
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    responder = ResponderProcess(name, process)
    reading = asyncio.create_task(_read(responder))
    try:
        if ready:
            await wait_until(
                lambda: process.returncode is not None or any("ready" in line for line in responder.log),
                f"{name} is ready",
                20,
            )
            assert process.returncode is None, responder.log
        yield responder
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        await reading


async def _read(responder: ResponderProcess) -> None:
    assert responder.process.stderr is not None
    async for line in responder.process.stderr:
        responder.log.append(line.decode(errors="replace").rstrip())


def _command(pid: int) -> str:
    try:
        return (Path("/proc") / str(pid) / "comm").read_text().strip()
    except OSError:
        return ""


def _is_watchdog(pid: int) -> bool:
    try:
        return b"responder.watchdog" in (Path("/proc") / str(pid) / "cmdline").read_bytes()
    except OSError:
        return False
