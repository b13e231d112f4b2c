"""CLIs that wait for requests: started ahead of any, one request each, or kept by a caller that has used them.

A request that finds none runs cold and waits for none. What is kept follows the demand, within a number and a size; the
processes are started one after another, and what is too old, too large, dead, or of a host that has changed is
replaced.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from responder.admission import Job
from responder.child import ChildStartError
from responder.cold_starts import ColdStarts
from responder.demand import Demand
from responder.freshness import Freshness, State
from responder.pauses import Pauses
from responder.standby_arguments import Mold, mold_of
from responder.standby_limits import StandbyLimits
from responder.standby_process import Ground, StandbyProcess
from responder.uncancelled import finish_even_if_cancelled

_log = logging.getLogger(__name__)
_LOOK_EVERY_S = 2.0
_LOOK_SOON_S = 0.2
# What has not answered by then is no CLI that can be started ahead, but a wrapper around one, say.
_START_MAX_S = 20.0
_USUAL_BYTES = 200 * 1024 * 1024
# So much is left to those that run: their tools, and sessions that grow.
_MEMORY_KEPT_BYTES = 1024 * 1024 * 1024
_CLEAR_AWAITED_MAX_S = 0.1


@dataclass
class Standby:
    """Keeps them.

    Attributes:
        ground: What they are started with.
        limits: What may be kept.
        demand: What is wanted.
        freshness: Tells whether the host is still as it was.
        is_fit: Says whether this responder may run anything.
        memory_left: Gives the bytes that one more process can have.
        look_every_s: Seconds between two looks at those that wait.
    """

    ground: Ground
    limits: StandbyLimits
    demand: Demand
    freshness: Freshness
    is_fit: Callable[[], bool] = lambda: True
    memory_left: Callable[[], float] = lambda: math.inf
    look_every_s: float = _LOOK_EVERY_S
    _waiting: dict[StandbyProcess, State] = field(default_factory=dict, repr=False)
    _ending: set[asyncio.Task[None]] = field(default_factory=set, repr=False)
    _clearing: dict[StandbyProcess, asyncio.Task[None]] = field(default_factory=dict, repr=False)
    _taken: dict[StandbyProcess, State] = field(default_factory=dict, repr=False)
    _pauses: Pauses = field(default_factory=Pauses, repr=False)
    _wake: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    _usual_bytes: int = _USUAL_BYTES
    _is_stopping: bool = False
    _look_at: float = 0.0
    _affordable: int = 0
    _proven: State | None = field(default=None, repr=False)
    _cold_starts: ColdStarts = field(default_factory=ColdStarts, repr=False)

    def __repr__(self) -> str:
        return f"<Standby {len(self._waiting)} of {self.limits.count_max}>"

    @property
    def ready(self) -> int:
        """How many have started and wait for anybody's request."""
        return sum(process.is_ready and process.is_usable and not process.owner for process in self._waiting)

    @property
    def owned(self) -> int:
        """How many wait for the next request of the caller that has used them."""
        return sum(bool(process.owner) for process in self._waiting)

    def note_cold(self) -> None:
        """Note that a CLI is started cold now, which takes a core for a while."""
        self._cold_starts.note(asyncio.get_running_loop().time())

    async def find(self, job: Job, caller: str = "") -> StandbyProcess | None:
        """Give what `take` does; where the caller's own are all in use, one that is just cleared is waited for.

        That takes some milliseconds, and serves the next sooner than one that stands ready would.
        """
        mold = mold_of(job)
        owner = self._owner(job, mold, caller)
        if owner and not any(process.owner == owner and process.mold == mold for process in self._waiting):
            clearing = (process for process in self._clearing if process.owner == owner and process.mold == mold)
            if (process := next(clearing, None)) is not None:
                done = self._clearing.pop(process)  # no other request waits for the same
                await asyncio.wait({done}, timeout=_CLEAR_AWAITED_MAX_S)
        return self.take(job, caller)

    def take(self, job: Job, caller: str = "") -> StandbyProcess | None:
        """Give a process that can serve a job, as far started as there is one; None where it has to run cold.

        One that is still starting is a good choice, once a process of this CLI has shown that it understands.

        Args:
            job: What it is to serve.
            caller: Who asks; nobody else has this name. Empty where that is not known.
        """
        mold = mold_of(job)
        if mold is None:
            return None
        now = asyncio.get_running_loop().time()
        owner = self._owner(job, mold, caller)
        state = self.freshness.state()
        fitting = [
            process
            for process, then in self._waiting.items()
            if process.mold == mold
            and process.owner in {"", owner}
            and self._is_good(process, then, state, now)
            and (process.is_ready or self._proven == state)
        ]
        # The one that its caller has used last stays in use; the others are let go.
        process = min(fitting, key=_by_use, default=None)
        if process is None or not process.owner:
            self.demand.note(mold, now)
            self._wake.set()
        if process is not None:
            self._taken[process] = self._waiting.pop(process)
            self._pauses.end(mold)
            process.owner = owner
        return process

    def _owner(self, job: Job, mold: Mold | None, caller: str) -> str:
        """Say who keeps what serves a job; nobody where it is empty."""
        is_kept = job.reuse and mold is not None and mold.is_for_many and self.limits.reuse.requests_max > 1
        return caller if is_kept else ""

    async def retire(self, process: StandbyProcess) -> None:
        """End a process that has served, or have its caller keep it, in the background.

        Where many are at that, whoever has its slot waits.
        """
        then, reuse = self._taken.pop(process), self.limits.reuse
        is_kept = process.owner and not self._is_stopping and process.served < reuse.requests_max
        ending = self._do(self._keep_for_caller(process, then) if is_kept else process.end())
        if is_kept:
            self._clearing[process] = ending
            ending.add_done_callback(lambda _: self._clearing.pop(process, None))
        if len(self._ending) > self.limits.count_max:
            await asyncio.wait({ending})

    async def _keep_for_caller(self, process: StandbyProcess, then: State) -> None:
        try:
            is_renewed = await process.renew()
        except BaseException:
            await finish_even_if_cancelled(process.end())
            raise
        if is_renewed and not self._is_stopping:
            self._waiting[process] = then
            self._let_go_of_owned()
            self._wake.set()
        else:
            await process.end()

    def _let_go_of_owned(self) -> None:
        """End those that callers keep beyond their part; not at the next look, which a start can hold up."""
        owned = sorted((process for process in self._waiting if process.owner), key=lambda process: process.waits_since)
        for process in owned[: max(0, len(owned) - self._callers_max)]:
            self._let_go(process)

    def _let_go(self, process: StandbyProcess) -> None:
        del self._waiting[process]
        self._do(process.end())

    def _do(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        task.add_done_callback(_note_defect)
        return task

    @contextlib.asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keep what is wanted as long as the context lasts; at its end there is none."""
        keeping = asyncio.create_task(self._keep())
        keeping.add_done_callback(_note_defect)
        try:
            yield
        finally:
            keeping.cancel()
            await finish_even_if_cancelled(self._close(keeping))

    def stop_starting(self) -> None:
        """Replace none any more; what is there still serves."""
        self._is_stopping = True

    async def _keep(self) -> None:
        while True:
            self._wake.clear()
            now = asyncio.get_running_loop().time()
            if now >= self._look_at:
                self._look_at = now + self.look_every_s
                self._look(now)
            mold = self._next()
            if mold is not None:
                await self._start(mold)
                continue
            pause_s = self.look_every_s if self._cold_starts.postponed_at is None else _LOOK_SOON_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()

    async def _close(self, keeping: asyncio.Task[None]) -> None:
        """End all of them; those that are ending are waited for."""
        self._is_stopping = True
        await asyncio.wait({keeping})
        for process in list(self._waiting):
            self._let_go(process)
        while self._ending:
            await asyncio.wait(self._ending)

    def _is_good(self, process: StandbyProcess, then: State, state: State, now: float) -> bool:
        age_max_s = self.limits.reuse.age_max_s if process.owner else self.limits.age_max_s
        return process.is_usable and then == state and now - process.started_at < age_max_s

    def _look(self, now: float) -> None:
        """End what is of no use any more, and what is more than wanted or than there is memory for."""
        state = self.freshness.state()
        left_bytes = self.memory_left() - _MEMORY_KEPT_BYTES
        more = left_bytes // self._usual_bytes if math.isfinite(left_bytes) else self.limits.count_max
        self._affordable = max(0, len(self._waiting) + int(more))
        wanted, sizes = self._wanted(now), []
        for process, then in sorted(self._waiting.items(), key=lambda item: item[0].waits_since, reverse=True):
            size = process.memory_bytes()
            if process.is_ready and then == state:
                self._proven = state
                sizes.append(size)
            is_bad = self._is_bad(process, size, now)
            if is_bad and not process.owner:
                self._pauses.begin(process.mold, now)
            is_wanted = bool(process.owner) or wanted.get(process.mold, 0) > 0
            if is_bad or not is_wanted or not self._is_good(process, then, state, now):
                self._let_go(process)
            elif not process.owner:
                wanted[process.mold] -= 1
        self._let_go_of_owned()
        if sum(sizes):
            self._usual_bytes = sum(sizes) // len(sizes)
        self._pauses.forget(now)

    def _is_bad(self, process: StandbyProcess, size: int, now: float) -> bool:
        if process.owner:
            reuse = self.limits.reuse
            return size > reuse.process_max_bytes or now - process.waits_since > reuse.idle_max_s
        is_dumb = not process.is_ready and now - process.started_at > _START_MAX_S
        return is_dumb or not process.is_usable or size > self.limits.process_max_bytes

    @property
    def _places(self) -> int:
        """How many there may be now."""
        return min(self.limits.count_max, self._affordable, self.limits.memory_max_bytes // self._usual_bytes)

    @property
    def _callers_max(self) -> int:
        """How many of them callers may keep: the others are for anybody."""
        return (self._places + 1) // 2

    def _wanted(self, now: float) -> dict[Mold, int]:
        return self.demand.wanted(now, self._places - min(self.owned, self._callers_max))

    def _next(self) -> Mold | None:
        """Give what a process is to be started for, if one is missing: first what has none."""
        now = asyncio.get_running_loop().time()
        if self._is_stopping or not self.is_fit() or self.ground.stopped.done():
            return None
        kept = [process.mold for process in self._waiting if not process.owner]
        missing = {
            mold: kept.count(mold)
            for mold, count in self._wanted(now).items()
            if kept.count(mold) < count and not self._pauses.is_on(mold, now)
        }
        if not missing:
            self._cold_starts.end()
        elif self._cold_starts.postpone(now):
            return None
        return min(missing, key=lambda mold: missing[mold], default=None)

    async def _start(self, mold: Mold) -> None:
        state = self.freshness.state()
        try:
            process = await StandbyProcess.start(mold, self.ground)
        except ChildStartError as error:
            self._pauses.begin(mold, asyncio.get_running_loop().time())
            _log.warning("no CLI could be started ahead: %s", error)
            return
        self._waiting[process] = state
        await asyncio.wait({process.settled}, timeout=_START_MAX_S)
        if process.is_ready:
            self._proven = state


def _by_use(process: StandbyProcess) -> tuple[bool, bool, float]:
    """Put first what its caller has used last, then what has started, the oldest of them."""
    return not process.owner, not process.is_ready, -process.waits_since if process.owner else process.started_at


def _note_defect(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("defect: %s while CLIs were kept ready", type(error).__name__)
