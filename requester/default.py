"""The requester behind the one-line `execute()`: one for each event loop, made on first use, closed with the loop."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from requester.durable import Ticket
from requester.reply import Reply
from requester.requester import Requester


@dataclass(frozen=True)
class _Lent:
    requester: Requester
    holder: AsyncGenerator[None]


# The one mutable state of this package at module level: what `execute()` needs to be one line.
_LENT: dict[asyncio.AbstractEventLoop, _Lent] = {}


async def execute(  # noqa: PLR0913 # as in Requester.execute
    prompt: str,
    *,
    timeout: float | None = None,  # noqa: ASYNC109 # as in Requester.execute
    args: Sequence[str] | None = None,
    cwd: str | None = None,
    request_id: str | None = None,
    failover: Literal["unstarted", "always"] = "unstarted",
    on_output: Callable[[str], None] | None = None,
    idempotency_key: str | None = None,
    priority: Literal["interactive", "batch"] = "interactive",
    reuse: bool = False,
) -> Reply:
    """Run the CLI once, wherever there is a free slot, and give its answer.

    The requester behind it is this event loop's own, configured by the environment, made on first use and closed when
    the loop ends (`asyncio.run` sees to it) or by `close_default()`. For arguments and errors see `Requester.execute`.

    Raises:
        RequesterError: Why there is no answer.
        SettingsError: The environment has a setting that cannot be used.
    """
    requester = await _default_requester()
    return await requester.execute(
        prompt,
        timeout=timeout,
        args=args,
        cwd=cwd,
        request_id=request_id,
        failover=failover,
        on_output=on_output,
        idempotency_key=idempotency_key,
        priority=priority,
        reuse=reuse,
    )


async def submit(  # noqa: PLR0913 # those of Requester.submit
    prompt: str,
    *,
    timeout: float | None = None,  # noqa: ASYNC109 # as in Requester.submit
    args: Sequence[str] | None = None,
    cwd: str | None = None,
    failover: Literal["unstarted", "always"] = "unstarted",
    ticket: str | None = None,
) -> str:
    """Have the CLI run once, whatever stops or fails in between, and give a ticket; see `Requester.submit`."""
    requester = await _default_requester()
    return await requester.submit(prompt, timeout=timeout, args=args, cwd=cwd, failover=failover, ticket=ticket)


async def result(
    ticket: str,
    *,
    timeout: float | None = None,  # noqa: ASYNC109 # as in Requester.result
) -> Reply:
    """Wait for the result of durable work; see `Requester.result`."""
    requester = await _default_requester()
    return await requester.result(ticket, timeout=timeout)


async def tickets() -> list[Ticket]:
    """List the durable work whose result is awaited or kept; see `Requester.tickets`."""
    requester = await _default_requester()
    return await requester.tickets()


async def close_default() -> None:
    """Close this event loop's requester, if it has one; the next `execute()` makes another."""
    lent = _LENT.pop(asyncio.get_running_loop(), None)
    if lent is not None:
        await lent.holder.aclose()


async def _default_requester() -> Requester:
    loop = asyncio.get_running_loop()
    if loop not in _LENT:
        for ended in [other for other in _LENT if other.is_closed()]:
            del _LENT[ended]
        requester = Requester()
        _LENT[loop] = lent = _Lent(requester, _hold(loop, requester))
        await anext(lent.holder)
    return _LENT[loop].requester


async def _hold(loop: asyncio.AbstractEventLoop, requester: Requester) -> AsyncGenerator[None]:
    # A loop closes its asynchronous generators before it ends (loop.shutdown_asyncgens), and so the requester.
    async with requester:
        try:
            yield
        finally:
            _LENT.pop(loop, None)
