"""The Claude CLI from an arq job: `NATS_URL=nats://127.0.0.1:4222 arq examples.arq_worker.WorkerSettings`."""

from typing import Any, ClassVar

from arq import Retry  # type: ignore[import-not-found] # arq is not among this project's own packages

from requester import RequesterError, close_default, execute


async def summarise(_context: dict[str, Any], text: str) -> str:
    """Give a one-sentence summary of a text."""
    try:
        reply = await execute(f"Summarise in one sentence:\n\n{text}", timeout=120)
    except RequesterError as error:
        # Later again, but only where nothing ran: a second run would be paid for as well.
        if error.retryable and error.executed is False:
            raise Retry(defer=error.retry_after_s or 30) from error
        raise
    return reply.text


async def close(_context: dict[str, Any]) -> None:
    """End the one connection that all jobs of this worker share."""
    await close_default()


class WorkerSettings:
    """What arq reads."""

    functions: ClassVar[list[Any]] = [summarise]
    on_shutdown = close
    # Longer than the request's own timeout, which ends the run and says why.
    job_timeout = 150
