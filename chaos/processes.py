"""The processes the harness starts, and those that their CLIs have started."""

import asyncio
import contextlib
import signal
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

from chaos.clock import now
from chaos.stand_in import RESPONDER_VARIABLE
from responder.processes import environment_value
from responder.sweep import MARK_VARIABLE

ROOT = Path(__file__).parents[1]
FLEET_VARIABLE = "CHAOS_FLEET"
# The machine may be busy: a responder that is slow to start is no finding of this harness.
_READY_S = 30.0
# How long an idle responder may take to drain; it is asked a second time then, which is no clean end any more.
STOP_WITHIN_S = 10.0
_HURRY_S = 0.5
_LOOK_EVERY_S = 0.01


class ChaosError(Exception):
    """A case could not be carried out; the message is one line that says why."""


async def wait_until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait until a condition holds.

    Args:
        condition: Looked at every few milliseconds.
        what: What is waited for, for the error.
        seconds: How long at most.

    Raises:
        ChaosError: It did not hold in time.
    """
    if not await holds_within(condition, seconds):
        raise ChaosError(f"not within {seconds:g} s: {what}")


async def holds_within(condition: Callable[[], bool], seconds: float, step_s: float = _LOOK_EVERY_S) -> bool:
    """Wait until a condition holds, for some seconds, looking every so often; says whether it does."""
    deadline = now() + seconds
    while not condition():
        if now() >= deadline:
            return False
        await asyncio.sleep(step_s)
    return True


class Started:
    """A process of the harness.

    Attributes:
        name: What the harness calls it.
        log: The file with what it says on stderr.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @property
    def has_ended(self) -> bool:
        """Whether it has ended."""
        return self._process.returncode is not None

    @property
    def exit_status(self) -> int | None:
        """Its exit status, or minus the signal that ended it; None while it runs."""
        return self._process.returncode

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens when it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def tell(self, line: str) -> None:
        """Write a line to its stdin."""
        assert self._process.stdin is not None  # noqa: S101 - it was started with a pipe
        self._process.stdin.write(f"{line}\n".encode())

    def tell_no_more(self) -> None:
        """End its stdin."""
        assert self._process.stdin is not None  # noqa: S101 - the same
        self._process.stdin.close()

    async def wait(self) -> int:
        """Wait for its end; give its exit status, or minus the signal that ended it."""
        return await self._process.wait()

    async def wait_until_said(self, text: str) -> None:
        """Wait until it has said a text.

        Raises:
            ChaosError: It ended instead, or did not say it in time.
        """
        said = await holds_within(lambda: self.has_ended or text in self.said(), _READY_S)
        if not said or self.has_ended:
            raise ChaosError(f"{self.name} did not get ready: {self.last_line() or 'it said nothing'}")

    def last_line(self) -> str:
        """Give the last line it has said."""
        return next(reversed(self.said().split("\n")[:-1]), "")

    def said(self) -> str:
        """Give all that it has said."""
        return self.log.read_text(errors="replace")

    async def stop(self, step_s: float = STOP_WITHIN_S) -> None:
        """End it: let it go on if it is frozen, ask, ask again (a responder then ends at once), kill in the end.

        Args:
            step_s: Seconds between these.
        """
        try:
            for _ in range(2):
                self.signal(signal.SIGCONT)
                self.signal(signal.SIGTERM)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(step_s):
                        await self.wait()
                        return
        finally:
            self.signal(signal.SIGKILL)
            await self.wait()


@contextlib.asynccontextmanager
async def started(name: str, argv: Sequence[str], env: Mapping[str, str], folder: Path) -> AsyncIterator[Started]:
    """Run a process as long as the context lasts.

    It gets SIGTERM when the harness itself is killed (`setpriv --pdeathsig`), and has a session of its own, so that
    Ctrl-C reaches the harness alone.

    Args:
        name: What the harness calls it.
        argv: Executable and arguments.
        env: Its whole environment.
        folder: Where its log is written.
    """
    log = folder / f"{name}.log"
    with log.open("ab") as stderr:
        process = await asyncio.create_subprocess_exec(
            "setpriv", "--pdeathsig", "TERM", "--", *argv,
            env=env, cwd=folder, stdin=PIPE, stdout=DEVNULL, stderr=stderr, start_new_session=True,
        )  # fmt: skip
    running = Started(name, process, log)
    try:
        yield running
    except BaseException:
        # The case is over: nobody judges how it ends.
        await running.stop(_HURRY_S)
        raise
    await running.stop()


def processes_of_runs(fleet: str, responder: str | None = None) -> set[int]:
    """Give the processes that belong to runs: CLIs, and what they have started.

    Args:
        fleet: The mark of the fleet; others may be on this machine.
        responder: Only those of this one.
    """
    return {
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _belongs(int(entry.name), fleet, responder)
    }


def _belongs(pid: int, fleet: str, responder: str | None) -> bool:
    return (
        environment_value(pid, FLEET_VARIABLE) == fleet
        and environment_value(pid, MARK_VARIABLE) is not None
        and responder in {None, environment_value(pid, RESPONDER_VARIABLE)}
    )
