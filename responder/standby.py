"""CLIs that are started ahead of their requests, one request each: an eighth of the latency, the same isolation.

A request that finds none runs cold and waits for none. What is kept follows the demand, within a number and a size; the
processes are started one after another, and what is too old, too large, dead, or of a host that has changed is
replaced.
"""

import asyncio
import contextlib
import logging
import math
import os
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from responder.admission import Job
from responder.child import ChildStartError
from responder.demand import Demand
from responder.freshness import Freshness, State
from responder.standby_arguments import Mold, mold_of
from responder.standby_process import Ground, StandbyProcess
from responder.uncancelled import finish_even_if_cancelled

_log = logging.getLogger(__name__)
_LOOK_EVERY_S = 2.0
_LOOK_SOON_S = 0.2
# What has not answered by then is no CLI that can be started ahead, but a wrapper around one, say.
_START_MAX_S = 20.0
# After one that was of no use, none is started with its arguments for so long; twice as long each time.
_PAUSE_FIRST_S = 5.0
_PAUSE_MAX_S = 600.0
_USUAL_BYTES = 200 * 1024 * 1024
# So much is left to those that run: their tools, and sessions that grow.
_MEMORY_KEPT_BYTES = 1024 * 1024 * 1024
# While each core has a cold start to do that is younger than this, nothing is started ahead, for so long at most: 20
# requests at once on 4 slots take 7.5 s otherwise, as long as with cold starts alone.
_COLD_START_S = 1.0
_POSTPONE_MAX_S = 5.0
_CORES = os.cpu_count() or 1


@dataclass(frozen=True)
class StandbyLimits:
    """What may be kept.

    Attributes:
        count_max: How many processes.
        memory_max_bytes: How much memory they may have in all, by their resident sizes.
        process_max_bytes: How much one may have.
        age_max_s: How long one may wait, in seconds.
    """

    count_max: int
    memory_max_bytes: int = 2 * 1024 * 1024 * 1024
    process_max_bytes: int = 500 * 1024 * 1024
    age_max_s: float = 600.0


@dataclass
class _Pause:
    until: float
    seconds: float


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
    _pauses: dict[Mold, _Pause] = field(default_factory=dict, repr=False)
    _wake: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    _usual_bytes: int = _USUAL_BYTES
    _is_stopping: bool = False
    _look_at: float = 0.0
    _affordable: int = 0
    _proven: State | None = field(default=None, repr=False)
    _colds: deque[float] = field(default_factory=lambda: deque(maxlen=_CORES), repr=False)
    _postponed_at: float | None = None

    def __repr__(self) -> str:
        return f"<Standby {len(self._waiting)} of {self.limits.count_max}>"

    @property
    def ready(self) -> int:
        """How many have started and wait."""
        return sum(process.is_ready and process.is_usable for process in self._waiting)

    def note_cold(self) -> None:
        """Note that a CLI is started cold now, which takes a core for a second or so."""
        self._colds.append(asyncio.get_running_loop().time())

    def take(self, job: Job) -> StandbyProcess | None:
        """Give a process that can serve a job, as far started as there is one; None where it has to run cold.

        One that is still starting is a good choice, once a process of this CLI has shown that it understands.
        """
        mold = mold_of(job)
        if mold is None:
            return None
        now = asyncio.get_running_loop().time()
        self.demand.note(mold, now)
        self._wake.set()
        state = self.freshness.state()
        fitting = [
            process
            for process, then in self._waiting.items()
            if process.mold == mold
            and self._is_good(process, then, state, now)
            and (process.is_ready or self._proven == state)
        ]
        if not fitting:
            return None
        process = min(fitting, key=lambda each: (not each.is_ready, each.started_at))
        del self._waiting[process]
        self._pauses.pop(mold, None)
        return process

    async def retire(self, process: StandbyProcess) -> None:
        """End a process that has served, in the background unless many are ending: whoever has its slot waits then."""
        ending = self._end(process)
        if len(self._ending) > self.limits.count_max:
            await asyncio.wait({ending})

    def _end(self, process: StandbyProcess) -> asyncio.Task[None]:
        task = asyncio.create_task(process.end())
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
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.look_every_s if self._postponed_at is None else _LOOK_SOON_S):
                    await self._wake.wait()

    async def _close(self, keeping: asyncio.Task[None]) -> None:
        """End all of them; those that are ending are waited for."""
        await asyncio.wait({keeping})
        for process in list(self._waiting):
            del self._waiting[process]
            self._end(process)
        while self._ending:
            await asyncio.wait(self._ending)

    def _is_good(self, process: StandbyProcess, then: State, state: State, now: float) -> bool:
        return process.is_usable and then == state and now - process.started_at < self.limits.age_max_s

    def _look(self, now: float) -> None:
        """End what is of no use any more, and what is more than wanted or than there is memory for."""
        state = self.freshness.state()
        left_bytes = self.memory_left() - _MEMORY_KEPT_BYTES
        more = left_bytes // self._usual_bytes if math.isfinite(left_bytes) else self.limits.count_max
        self._affordable = max(0, len(self._waiting) + int(more))
        left, sizes = self._wanted(now), []
        for process, then in sorted(self._waiting.items(), key=lambda item: item[0].started_at, reverse=True):
            mold = process.mold
            size = process.memory_bytes()
            if process.is_ready and then == state:
                self._proven = state
                sizes.append(size)
            is_dumb = not process.is_ready and now - process.started_at > _START_MAX_S
            is_bad = is_dumb or not process.is_usable or size > self.limits.process_max_bytes
            if is_bad:
                self._pause(mold, now)
            if not is_bad and self._is_good(process, then, state, now) and left.get(mold, 0) > 0:
                left[mold] -= 1
            else:
                del self._waiting[process]
                self._end(process)
        if sum(sizes):
            self._usual_bytes = sum(sizes) // len(sizes)
        self._pauses = {mold: pause for mold, pause in self._pauses.items() if now < pause.until + _PAUSE_MAX_S}

    def _wanted(self, now: float) -> dict[Mold, int]:
        affordable = min(self._affordable, self.limits.memory_max_bytes // self._usual_bytes)
        return self.demand.wanted(now, min(self.limits.count_max, affordable))

    def _next(self) -> Mold | None:
        """Give what a process is to be started for, if one is missing: first what has none."""
        now = asyncio.get_running_loop().time()
        if self._is_stopping or not self.is_fit() or self.ground.stopped.done():
            return None
        kept = [process.mold for process in self._waiting]
        missing = {
            mold: kept.count(mold)
            for mold, count in self._wanted(now).items()
            if kept.count(mold) < count and (mold not in self._pauses or self._pauses[mold].until <= now)
        }
        if not missing:
            self._postponed_at = None
        elif self._is_postponed(now):
            return None
        return min(missing, key=lambda mold: missing[mold], default=None)

    def _is_postponed(self, now: float) -> bool:
        """Say whether the cores have cold starts to do, whose callers wait; not for ever: all would stay cold."""
        if len(self._colds) < _CORES or self._colds[0] < now - _COLD_START_S:
            return False
        if self._postponed_at is None:
            self._postponed_at = now
        return now - self._postponed_at < _POSTPONE_MAX_S

    async def _start(self, mold: Mold) -> None:
        state = self.freshness.state()
        try:
            process = await StandbyProcess.start(mold, self.ground)
        except ChildStartError as error:
            self._pause(mold, asyncio.get_running_loop().time())
            _log.warning("no CLI could be started ahead: %s", error)
            return
        self._waiting[process] = state
        await asyncio.wait({process.settled}, timeout=_START_MAX_S)
        if process.is_ready:
            self._proven = state

    def _pause(self, mold: Mold, now: float) -> None:
        """Start none for a while, longer each time; several that fail at once do so for the same reason."""
        before = self._pauses.get(mold)
        if before is not None and now < before.until:
            return
        seconds = _PAUSE_FIRST_S if before is None else min(_PAUSE_MAX_S, 2 * before.seconds)
        self._pauses[mold] = _Pause(now + seconds, seconds)
        _log.warning("a CLI started ahead failed, or grew too large, unused; none is started for %.0f s", seconds)


def _note_defect(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("defect: %s while CLIs were kept ready", type(error).__name__)
