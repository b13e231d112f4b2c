"""The provider a worker plugs in: prompt, arguments and directory in, what the CLI printed out."""

from collections.abc import Sequence
from typing import Protocol

from requester.errors import CLINotFoundError, UnavailableError
from requester.requester import Requester


class Executor(Protocol):
    """Runs the CLI and gives what it printed, wherever and however it does so."""

    async def execute(self, prompt: str, args: Sequence[str] | None = None, cwd: str | None = None) -> str:
        """Run the CLI once."""


class ClaudeCLIProvider:
    """Runs the CLI through the responders.

    Args:
        requester: Belongs to the caller then and is not closed here; None makes one from the environment.
        args: The CLI's flags where a call names none; None for its headless mode with JSON output. Some, such as
            `--dangerously-skip-permissions`, only where the responders' operator allows them.
        timeout: Seconds each request may take; None for the settings' `timeout_s`.
        reuse: Whether a CLI may run a request that has run another of this requester's before.
    """

    name = "claude-cli"

    def __init__(
        self,
        requester: Requester | None = None,
        *,
        args: Sequence[str] | None = None,
        timeout: float | None = None,
        reuse: bool = False,
    ) -> None:
        self._is_own = requester is None
        self._requester = Requester() if requester is None else requester
        self._args = args
        self._timeout = timeout
        self._reuse = reuse

    async def initialize(self) -> None:
        """Ask a responder how it is, once.

        Raises:
            NoRespondersError: Nobody listens.
            CLINotFoundError: The responder has no CLI.
            UnavailableError: It is unhealthy; the message says why.
            RequesterError: There is no answer for another reason.
        """
        health = await self._requester.health()
        if health.status == "healthy":
            return
        kind = UnavailableError if health.cli_available else CLINotFoundError
        raise kind(
            f"responder {health.responder} is unhealthy: {health.reason or 'it does not say why'}",
            responder=health.responder,
        )

    async def execute(self, prompt: str, args: Sequence[str] | None = None, cwd: str | None = None) -> str:
        """Run the CLI once and give what it printed, to the byte.

        Raises:
            RequesterError: Why there is nothing.
        """
        reply = await self._requester.execute(
            prompt,
            args=self._args if args is None else args,
            cwd=cwd,
            timeout=self._timeout,
            reuse=self._reuse,
        )
        return reply.raw

    async def close(self) -> None:
        """Close the requester, unless it was given."""
        if self._is_own:
            await self._requester.close()
