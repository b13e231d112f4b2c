"""From a job that holds its slot to an outcome: directory, environment, one run, its classification, its spans."""

import asyncio
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from contract import new_ulid
from responder.admission import Job
from responder.child import ChildStartError
from responder.cli_environment import CLIEnvironment
from responder.outcome import Failure, Success, classify
from responder.run import Command, Observation, OutputListener, Runner
from responder.standby import Standby
from responder.tracing import Tracing, current_trace_headers, set_observation, set_outcome
from responder.turn import Turn
from responder.working_directory import WorkingDirectories

_LARGE_BYTES = 256 * 1024


@dataclass(frozen=True)
class Audience:
    """Who follows a run.

    Attributes:
        cancelled: Done when nobody awaits it any more; None where that is never known.
        on_output: Is given what the CLI prints while it prints it.
        name: A name that nobody else has; empty where that is not known.
    """

    cancelled: asyncio.Future[None] | None = None
    on_output: OutputListener | None = None
    name: str = ""


NOBODY = Audience()


@dataclass(frozen=True)
class Execution:
    """Runs jobs.

    Attributes:
        cli: The executable; None when there was none at the start.
        runner: Runs processes.
        environment: Builds the CLI's environment.
        directories: Opens the working directory.
        tracing: Starts the spans.
        standby: Has processes that were started ahead; None where there are none.
    """

    cli: Path | None
    runner: Runner
    environment: CLIEnvironment
    directories: WorkingDirectories
    tracing: Tracing
    standby: Standby | None = None

    async def execute(self, job: Job, audience: Audience = NOBODY) -> tuple[Success | Failure, Observation]:
        """Run a job, which holds a slot, to its end or its deadline.

        Args:
            job: What to run.
            audience: Who follows it.

        Raises:
            RequestError: Its directory has gone since it was admitted.
        """
        with self.tracing.invoke_agent() as span:
            seen = await self._serve(job, audience) or await self._run_cold(job, audience)
            # A large output takes a while to read: not on the event loop, where other requests wait.
            reading = partial(classify, seen, job.arguments.output_format)
            outcome = reading() if len(seen.stdout) < _LARGE_BYTES else await asyncio.to_thread(reading)
            set_outcome(span, outcome)
        return outcome, seen

    async def _serve(self, job: Job, audience: Audience) -> Observation | None:
        """Have a process that waits serve a job, if there is one; what becomes of it does so in the background."""
        if self.cli is None or self.standby is None:
            return None
        if (process := await self.standby.find(job, audience.name)) is None:
            return None
        try:
            with self.tracing.cli_process(self.cli.name, "reused" if process.served else "standby") as span:
                turn = Turn(
                    prompt=job.prompt,
                    trace_headers=current_trace_headers() if self.environment.tracing else {},
                    deadline=job.deadline,
                    cancelled=audience.cancelled,
                    on_output=audience.on_output,
                )
                seen = await process.serve(turn)
                if seen is not None:
                    set_observation(span, seen)
        finally:
            await self.standby.retire(process)
        return seen

    async def _run_cold(self, job: Job, audience: Audience) -> Observation:
        try:
            async with self.directories.enter(job.cwd) as cwd:
                return await self._run(job, cwd, audience)
        except ChildStartError as error:
            return Observation(start_error=str(error))

    async def _run(self, job: Job, cwd: str, audience: Audience) -> Observation:
        if self.cli is None:
            return Observation(not_found=True)
        if self.standby is not None:
            self.standby.note_cold()
        with self.tracing.cli_process(self.cli.name, "cold") as span:
            command = Command(
                argv=(str(self.cli), *job.arguments.argv),
                env=self.environment.build(current_trace_headers()),
                cwd=cwd,
                stdin=job.prompt.encode(),
            )
            # Only a stream is printed bit by bit.
            listener = audience.on_output if job.arguments.output_format == "stream-json" else None
            seen = await self.runner.run(new_ulid(), command, job.deadline, audience.cancelled, listener)
            set_observation(span, seen)
        return seen
