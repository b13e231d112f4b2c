"""Another executor for when no responder could take a request."""

from collections.abc import Sequence

from requester.breaker import is_service_failure
from requester.default import execute, result, submit
from requester.errors import RequesterError
from requester.provider import Executor
from requester.requester import Requester


class DurableQueue:
    """Runs the CLI as durable work: the fallback for when no responder could take a request.

    Args:
        requester: Submits the work; None means the event loop's own.
        timeout: Seconds until the answer is given up here, the wait in the queue included, and at most as long a run;
            None for the settings' `timeout_s`. The work goes on: ExecuteTimeoutError has its ticket (`request_id`).
    """

    def __init__(self, requester: Requester | None = None, *, timeout: float | None = None) -> None:
        self._submit = submit if requester is None else requester.submit
        self._result = result if requester is None else requester.result
        self._timeout = timeout

    async def execute(self, prompt: str, args: Sequence[str] | None = None, cwd: str | None = None) -> str:
        """Submit the work, wait for its result and give the answer's text.

        Raises:
            RequesterError: Why there is none, or not yet.
        """
        ticket = await self._submit(prompt, args=args, cwd=cwd, timeout=self._timeout)
        return (await self._result(ticket, timeout=self._timeout)).text


async def execute_with_fallback(  # noqa: PLR0913 # those of `execute`, and the fallback's
    prompt: str,
    *,
    fallback: Executor,
    requester: Requester | None = None,
    timeout: float | None = None,  # noqa: ASYNC109 # as in Requester.execute
    args: Sequence[str] | None = None,
    cwd: str | None = None,
    after_execution: bool = False,
) -> str:
    """Run the CLI once and give its answer; let another executor answer where no responder could take the request.

    Args:
        prompt: What to ask.
        fallback: Who answers then, with the same prompt, arguments and directory.
        requester: Asks the responders; None means the event loop's own, as for `execute`.
        timeout: Seconds for the responders, as for `execute`; the fallback's time is its own.
        args: The CLI's flags.
        cwd: Working directory.
        after_execution: Whether the fallback also answers where the CLI was started, or may have been: the prompt is
            then worked on twice, with whatever its tools have done.

    Returns:
        The answer's text.

    Raises:
        RequesterError: The request itself was refused, which no other executor would mend, or the CLI was started.
    """
    ask = requester.execute if requester is not None else execute
    try:
        return (await ask(prompt, timeout=timeout, args=args, cwd=cwd)).text
    except RequesterError as error:
        may_have_run = error.executed is not False
        if not is_service_failure(error) or (may_have_run and not after_execution):
            raise
    return await fallback.execute(prompt, args, cwd)
