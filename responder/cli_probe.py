"""What the CLI says about itself: its version and whether it is logged in. Neither spends a token."""

import asyncio
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract import new_ulid
from responder.cli_environment import CLIEnvironment
from responder.run import Command, Observation, Runner

# Measured on CLI 2.1.197 on two busy cores: `--version` 0.2 s, `auth status` 0.6 s.
_PROBE_TIMEOUT_S = 15.0
# How long a CLI that has failed is not asked again: health requests cost nothing to send.
_FAILURE_KEPT_S = 5.0


@dataclass(frozen=True)
class _Known:
    """What a CLI has answered: its file as it was then, its version if it gave one, and when that was."""

    file: tuple[int, int, int]
    version: str | None
    asked_at: float


class CLIProbe:
    """Asks the CLI about itself.

    Args:
        cli: The executable; None when there is none.
        runner: Runs processes.
        environment: Builds the CLI's environment.
        clock: Gives the time in seconds.
    """

    def __init__(
        self,
        cli: Path | None,
        runner: Runner,
        environment: CLIEnvironment,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cli = cli
        self._runner = runner
        self._environment = environment
        self._clock = clock
        self._asking = asyncio.Lock()
        self._known: _Known | None = None
        self._trusted: tuple[int, int, int] | None = None

    async def version(self) -> str | None:
        """Give the CLI's version; None when it is missing or does not run.

        It is asked once at a time, whoever waits, and again when its file has changed, or seconds after it failed.
        """
        if self._cli is None:
            return None
        async with self._asking:
            return await self._version_of(self._cli)

    async def is_usable(self, *, afresh: bool) -> bool:
        """Say whether the CLI is there, and runs as far as is known; cheap.

        The file that is seen first is trusted. One that has taken its place is asked for its version, once.

        Args:
            afresh: Ask it also if its last answer was good.
        """
        if self._cli is None:
            return False
        async with self._asking:
            if afresh and self._known is not None and self._known.version is not None:
                self._known = None
            file = await asyncio.to_thread(_file_of, self._cli)
            self._trusted = self._trusted or file
            if file is None or (file == self._trusted and self._known is None and not afresh):
                return file is not None
            return await self._version_of(self._cli) is not None

    async def _version_of(self, cli: Path) -> str | None:
        file = await asyncio.to_thread(_file_of, cli)
        if file is None:
            return None
        if self._known is None or self._known.file != file or self._is_old_failure(self._known):
            seen = await self._ask("--version")
            words = seen.stdout.decode(errors="replace").split()
            self._known = _Known(file, words[0] if seen.exit_status == 0 and words else None, self._clock())
        return self._known.version

    def _is_old_failure(self, known: _Known) -> bool:
        return known.version is None and self._clock() - known.asked_at >= _FAILURE_KEPT_S

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


def _file_of(cli: Path) -> tuple[int, int, int] | None:
    """Give what tells an executable from another that takes its place; None when there is none."""
    try:
        status = cli.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns) if os.access(cli, os.X_OK) else None
