"""Slots and the bounded first-in-first-out backlog in front of them."""

import asyncio
import collections
import contextlib
from collections.abc import Callable, Iterator

_RETRY_MIN_MS = 100
_RETRY_MAX_MS = 30_000
_SMOOTHING = 0.2


class BacklogFullError(Exception):
    """No slot is free and the backlog takes no more.

    Attributes:
        retry_after_ms: When a place may be free again, in milliseconds from now.
    """

    def __init__(self, retry_after_ms: int) -> None:
        super().__init__("every slot is taken and the backlog is full")
        self.retry_after_ms = retry_after_ms


class BacklogClosedError(Exception):
    """The responder stops; what waits for a slot gets none any more."""

    def __init__(self) -> None:
        super().__init__("the responder stops and has not started the request")


class WaitedTooLongError(Exception):
    """The deadline passed before the request could start."""

    def __init__(self) -> None:
        super().__init__("the deadline passed before the request could start")


class Slots:
    """The permits to run one CLI each; requests that find none wait in order of arrival.

    Args:
        count: How many runs there may be at a time.
        backlog_max: How many requests may wait.
    """

    def __init__(self, count: int, backlog_max: int) -> None:
        self.count = count
        self._free = count
        self._backlog_max = backlog_max
        self._backlog: collections.deque[asyncio.Future[None]] = collections.deque()
        self._hold_s = 1.0
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<Slots {self.in_flight}/{self.count} busy, {self.backlog} waiting>"

    @property
    def in_flight(self) -> int:
        """How many slots are taken."""
        return self.count - self._free

    @property
    def has_free(self) -> bool:
        """Whether a slot can be had at once."""
        return self._free > 0

    @property
    def backlog(self) -> int:
        """How many requests wait for a slot."""
        return len(self._backlog)

    async def take(self, deadline: float) -> contextlib.AbstractContextManager[None]:
        """Wait for a slot.

        Args:
            deadline: Loop time, in seconds, after which a slot is of no use any more.

        Returns:
            The slot: a context at whose end it is given back.

        Raises:
            BacklogFullError: At once, when nobody more may wait.
            BacklogClosedError: The responder stops.
            WaitedTooLongError: The deadline passed first.
        """
        await self._wait_for_turn(deadline)
        return self._held()

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        now = asyncio.get_running_loop().time
        taken_at = now()
        try:
            yield
        finally:
            self._hold_s += _SMOOTHING * (now() - taken_at - self._hold_s)
            self._give_back()

    def close(self) -> None:
        """Give up on all that waits and on all that comes; each raises `BacklogClosedError`."""
        self._is_closed = True
        self.let_go(BacklogClosedError)

    def let_go(self, error: Callable[[], Exception]) -> None:
        """Give up on all that waits now; each raises an error of its own."""
        while self._backlog:
            waiter = self._backlog.popleft()
            if not waiter.done():
                waiter.set_exception(error())

    async def _wait_for_turn(self, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        if self._is_closed:
            raise BacklogClosedError
        if loop.time() >= deadline:
            raise WaitedTooLongError
        if self._free:
            self._free -= 1
            return
        if len(self._backlog) >= self._backlog_max:
            raise BacklogFullError(self._retry_after_ms())
        waiter = loop.create_future()
        self._backlog.append(waiter)
        timer = loop.call_at(deadline, _expire, waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give_back()  # the slot came together with the cancellation
            raise
        finally:
            timer.cancel()
            with contextlib.suppress(ValueError):
                self._backlog.remove(waiter)

    def _give_back(self) -> None:
        """Pass the slot to the one that has waited longest; it never becomes free in between."""
        while self._backlog:
            waiter = self._backlog.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._free += 1

    def _retry_after_ms(self) -> int:
        expected_s = self._hold_s * (1 + len(self._backlog) / self.count)
        return round(min(max(1000 * expected_s, _RETRY_MIN_MS), _RETRY_MAX_MS))


def _expire(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(WaitedTooLongError())
