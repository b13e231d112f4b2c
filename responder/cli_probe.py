"""What the CLI says about itself: its version and whether it is logged in. Neither spends a token."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from contract import new_ulid
from responder.cli_environment import CLIEnvironment
from responder.run import Command, Observation, Runner

# Measured on CLI 2.1.197 on two busy cores: `--version` 0.2 s, `auth status` 0.6 s.
_PROBE_TIMEOUT_S = 15.0


class CLIProbe:
    """Asks the CLI about itself.

    Args:
        cli: The executable; None when there is none.
        runner: Runs processes.
        environment: Builds the CLI's environment.
    """

    def __init__(self, cli: Path | None, runner: Runner, environment: CLIEnvironment) -> None:
        self._cli = cli
        self._runner = runner
        self._environment = environment
        self._version: tuple[tuple[int, int, int], str | None] | None = None

    async def version(self) -> str | None:
        """Give the CLI's version; None when it is missing or does not run. Asked again when the file has changed."""
        if self._cli is None:
            return None
        try:
            status = await asyncio.to_thread(self._cli.stat)
        except OSError:
            return None
        file = (status.st_ino, status.st_size, status.st_mtime_ns)
        if self._version is None or self._version[0] != file or self._version[1] is None:
            seen = await self._ask("--version")
            words = seen.stdout.decode(errors="replace").split()
            self._version = (file, words[0] if seen.exit_status == 0 and words else None)
        return self._version[1]

    async def is_logged_in(self) -> bool:
        """Say whether the CLI has a credential; it is not tried."""
        if self._cli is None:
            return False
        seen = await self._ask("auth", "status")
        try:
            answer: Any = json.loads(seen.stdout)
        except ValueError:
            answer = {}
        return seen.exit_status == 0 and isinstance(answer, dict) and answer.get("loggedIn") is True

    async def _ask(self, *arguments: str) -> Observation:
        command = Command(argv=(str(self._cli), *arguments), env=self._environment.build(), cwd=os.sep)
        return await self._runner.run(new_ulid(), command, asyncio.get_running_loop().time() + _PROBE_TIMEOUT_S)
