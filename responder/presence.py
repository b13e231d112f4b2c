"""Being in the public queue groups while fit for work, and out of them while not, as `fitness.py` says."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from responder.fitness import Fitness, Look
from responder.link import Handler, Membership

_log = logging.getLogger(__name__)


class Joinable(Protocol):
    """What can be listened on: `link.Link`, or a test's own."""

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection."""

    async def subscribe(self, subject: str, handler: Handler, queue_group: str = "") -> Membership:
        """Listen on a subject."""

    async def leave(self, memberships: Sequence[Membership]) -> None:
        """Stop listening, and hand over what has arrived until then."""


@dataclass(frozen=True)
class Post:
    """A subject on which something is answered.

    Attributes:
        subject: The subject.
        handler: Answers there.
        queue_group: In which of its queue groups; none means all messages.
    """

    subject: str
    handler: Handler = field(repr=False)
    queue_group: str = ""


@dataclass(frozen=True)
class Duty:
    """What a responder does about being fit.

    Attributes:
        look: Looks at the host; is told whether the CLI has to be asked afresh.
        trial: Runs a prompt of our own; gives how that ended, as `Fitness.end_trial` wants it.
        let_go: Lets go of what was not started, with the reason.
        resume: Looks for work again.
    """

    look: Callable[[bool], Awaitable[Look]]
    trial: Callable[[], Awaitable[tuple[str | None, float | None]]]
    let_go: Callable[[str], Awaitable[None]]
    resume: Callable[[], None]


class Presence:
    """Joins and leaves.

    Args:
        link: The connection.
        fitness: Says whether this responder is fit.
        duty: What is done about it.
        working: Where it listens while it is fit, in the order of joining.
        limited: Where it listens while nothing but a limit keeps it from work.
    """

    def __init__(
        self, link: Joinable, fitness: Fitness, duty: Duty, working: Sequence[Post], limited: Sequence[Post]
    ) -> None:
        self._link = link
        self._fitness = fitness
        self._duty = duty
        self._working = tuple(working)
        self._limited = tuple(limited)
        self._joined: dict[Post, Membership] = {}
        self._told: str | None = None
        self._nudged = asyncio.Event()
        self._changing: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        fitness.on_change = self._nudged.set

    def __repr__(self) -> str:
        return f"<Presence on {', '.join(post.subject for post in self._joined) or 'nothing'}>"

    async def start(self) -> None:
        """Join, and watch from now on."""
        await self._change()
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> list[Membership]:
        """Watch no more; gives what is still to be left, the first joined first."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})
        if self._changing is not None:
            await asyncio.wait({self._changing})
        return list(self._joined.values())

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._fitness.pace.look_every_s):
                    await self._nudged.wait()
            self._nudged.clear()
            try:
                await self._round()
            except Exception as error:  # noqa: BLE001 # after a defect it must still come back
                # Not its text, which may hold anything.
                _log.error("defect: %s while looking after the fitness", type(error).__name__)  # as said

    async def _round(self) -> None:
        now = asyncio.get_running_loop().time
        await self._settle()
        is_in_doubt = self._fitness.is_cli_in_doubt
        self._fitness.look(await self._duty.look(is_in_doubt), now())
        await self._settle()
        if self._fitness.is_trial_due(now()):
            code, retry_after_s = await self._duty.trial()
            self._fitness.end_trial(code, retry_after_s, now())
            await self._settle()

    async def _settle(self) -> None:
        """Be where the fitness says; a change that has begun is not broken off half-way."""
        self._changing = asyncio.create_task(self._change())
        await asyncio.shield(self._changing)

    async def _change(self) -> None:
        reason = self._fitness.reason
        self._tell(reason)
        wanted = self._working if reason is None else self._limited if self._fitness.is_limited else ()
        if self._link.is_connected:
            # First joined, then left: who asks meanwhile finds somebody.
            for post in wanted:
                if post not in self._joined:
                    self._joined[post] = await self._link.subscribe(post.subject, post.handler, post.queue_group)
        surplus = [post for post in self._joined if post not in wanted]
        if surplus:
            await self._link.leave([self._joined.pop(post) for post in reversed(surplus)])
        if reason is None:
            self._duty.resume()
        else:
            await self._duty.let_go(reason)

    def _tell(self, reason: str | None) -> None:
        """Log each change, once."""
        if reason == self._told:
            return
        self._told = reason
        if reason is None:
            _log.info("fit for work again")
            return
        left_s = self._fitness.limit_s(asyncio.get_running_loop().time())
        _log.warning("not fit for work: %s%s", reason, f", for {left_s:.0f} s" if left_s else "")
