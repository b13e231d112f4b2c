"""Joining and leaving the queue groups, with a link and looks that a test plays."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from contract import ErrorCode
from responder.callers import Incoming
from responder.fitness import Fitness, Look
from responder.link import Handler, Membership
from responder.presence import Duty, Post, Presence
from tests.support.virtual_time import advance, settle, virtual_time

ILL = Look(is_cli_usable=False)
WELL = Look()
Trial = tuple[str | None, float | None]


async def ignore(_incoming: Incoming) -> None:
    """Answer nothing."""


EXECUTE, HEALTH, LIMITED = (Post(name, ignore, "group") for name in ("execute", "health", "limited"))


@dataclass
class FakeLink:
    """Notes what is joined and left, in order; leaving waits for `left` where there is one."""

    is_connected: bool = True
    log: list[str] = field(default_factory=list)
    left: asyncio.Event | None = None

    async def subscribe(self, subject: str, handler: Handler, queue_group: str = "") -> Membership:
        """Join."""
        assert (handler, queue_group) == (ignore, "group")
        self.log.append(f"+{subject}")
        return Membership(subject)  # type: ignore[arg-type] # stands for a subscription

    async def leave(self, memberships: Sequence[Membership]) -> None:
        """Leave."""
        self.log += [f"-{membership.subscription}" for membership in memberships]
        if self.left is not None:
            await self.left.wait()
        self.log.append("barrier")


@dataclass
class Scene:
    """What a test acts on.

    Attributes:
        look: What the next look sees.
        trials: How the next trials end.
        resumed: How often it was to look for work again.
        log: What was joined, left, let go and tried, in order.
    """

    link: FakeLink = field(default_factory=FakeLink)
    fitness: Fitness = field(default_factory=Fitness)
    look: Look = WELL
    trials: list[Trial | asyncio.Future[Trial]] = field(default_factory=list)
    resumed: int = 0

    def __post_init__(self) -> None:
        duty = Duty(self._look, self._trial, self._let_go, self._resume)
        self.presence = Presence(self.link, self.fitness, duty, (HEALTH, EXECUTE), (LIMITED,))

    @property
    def log(self) -> list[str]:
        """What has happened since the last time."""
        log, self.link.log = self.link.log, []
        return log

    async def _let_go(self, reason: str) -> None:
        self.link.log.append(f"let go: {reason}")

    def _resume(self) -> None:
        self.resumed += 1

    async def _look(self, afresh: bool) -> Look:
        return Look(self.look.is_cli_usable, afresh)

    async def _trial(self) -> Trial:
        self.link.log.append("trial")
        trial = self.trials.pop(0)
        return trial if isinstance(trial, tuple) else await trial

    def end(self, code: str | None, retry_after_s: float | None = None) -> None:
        """Let a run end."""
        self.fitness.end(code, retry_after_s, asyncio.get_running_loop().time())


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    await made.presence.start()
    assert made.log == ["+health", "+execute"]
    yield made
    await made.presence.stop()


@virtual_time
async def test_a_host_that_is_not_well() -> None:
    """Within two seconds it has left, the requests first, and let go of what waits; it comes back when it is well."""
    async with scene() as now:
        await advance(10)
        assert now.log == []
        now.look = ILL
        await advance(2)
        reason = "let go: the CLI is missing or does not run"
        assert now.log[:4] == ["-execute", "-health", "barrier", reason]
        assert repr(now.presence) == "<Presence on nothing>"
        now.look, now.resumed = WELL, 0
        await advance(3)
        assert "+execute" not in now.log
        assert now.resumed == 0
        await advance(4)
        assert now.log[-2:] == ["+health", "+execute"]
        assert now.resumed > 0


@virtual_time
async def test_a_limit() -> None:
    """At once it listens where limits are asked for, before it leaves; a trial that is served brings it back."""
    async with scene() as now:
        now.trials = [(ErrorCode.RATE_LIMITED, None), (None, None)]
        now.end(ErrorCode.RATE_LIMITED, 20.0)
        await settle()
        assert now.log[:4] == ["+limited", "-execute", "-health", "barrier"]
        await advance(19)
        assert "trial" not in now.log
        await advance(3)
        assert [word for word in now.log if not word.startswith("let go")] == ["trial"]
        await advance(8)
        assert [word for word in now.log if not word.startswith("let go")] == [
            "trial",
            "+health",
            "+execute",
            "-limited",
            "barrier",
        ]
        await advance(60)
        assert now.log == []


@virtual_time
async def test_nothing_is_joined_while_nats_is_away() -> None:
    """A subscription is made on a connection; what is to be left is left all the same."""
    async with scene() as now:
        now.link.is_connected = False
        now.end(ErrorCode.RATE_LIMITED, 300.0)
        await advance(1)
        assert now.log[0] == "-execute"
        assert "+limited" not in now.log
        now.link.is_connected = True
        await advance(2)
        assert "+limited" in now.log


@virtual_time
async def test_a_stop_does_not_break_off_a_leave() -> None:
    """Who stops while a group is being left waits for it, and is given what is left to be left."""
    async with scene() as now:
        now.link.left = asyncio.Event()
        now.end(ErrorCode.RATE_LIMITED, 300.0)
        await settle()
        stopping = asyncio.create_task(now.presence.stop())
        await advance(10)
        assert not stopping.done()
        assert "barrier" not in now.log
        now.link.left.set()
        assert [str(membership.subscription) for membership in await stopping] == ["limited"]
        assert now.log[0] == "barrier"
        await advance(60)
        assert now.log == []


@virtual_time
async def test_a_stop_ends_a_trial() -> None:
    """A trial is not waited for."""
    async with scene() as now:
        trial: asyncio.Future[Trial] = asyncio.get_running_loop().create_future()
        now.trials = [trial]
        now.end(ErrorCode.RATE_LIMITED)
        await advance(7)
        assert "trial" in now.log
        await now.presence.stop()
        assert trial.cancelled()


@virtual_time
async def test_a_round_that_fails_is_not_the_last() -> None:
    """A defect while a trial is made does not keep the responder away for ever."""
    async with scene() as now:
        broken: asyncio.Future[Trial] = asyncio.get_running_loop().create_future()
        broken.set_exception(ZeroDivisionError("x"))
        now.trials = [broken, (None, None)]
        now.end(ErrorCode.RATE_LIMITED)
        await advance(10)
        assert now.log[-2:] == ["-limited", "barrier"]


def test_each_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """There is one line at each change, with the reason, and for how long where that is known."""
    caplog.set_level(logging.INFO, "responder.presence")

    @virtual_time
    async def play() -> None:
        async with scene() as now:
            now.trials = [(None, None)]
            now.end(ErrorCode.RATE_LIMITED, 20.0)
            await advance(30)

    play()
    assert [record.getMessage() for record in caplog.records] == [
        "not fit for work: the API limits the credential, for 20 s",
        "fit for work again",
    ]
