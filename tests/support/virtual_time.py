"""An event loop whose time passes only when nothing is left to do: seconds of waiting cost no time."""

import asyncio
import functools
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec

P = ParamSpec("P")
# Far below any time that a test is about.
_MOMENT_S = 1e-6


class NothingLeftError(AssertionError):
    """All that is left waits for something that nobody does: the test would hang."""


class _Selector(selectors.SelectSelector):
    """Never blocks; what would have been waited is added up."""

    def __init__(self) -> None:
        super().__init__()
        self.waited_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if events or timeout == 0:
            return events
        if timeout is None:
            raise NothingLeftError
        self.waited_s += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with such a time; for tests without sockets, threads and processes."""

    def __init__(self) -> None:
        self._waiting = _Selector()
        super().__init__(self._waiting)

    def time(self) -> float:
        """Give the loop's time, in seconds."""
        return 1000.0 + self._waiting.waited_s

    def skip(self, seconds: float) -> None:
        """Let time pass in which nothing happens."""
        self._waiting.waited_s += seconds


def virtual_time(test: Callable[P, Awaitable[Any]]) -> Callable[P, None]:
    """Make a test run on such a loop."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def body() -> None:
            await test(*args, **kwargs)

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(body())

    return run


async def settle() -> None:
    """Let everything happen that can happen now."""
    await asyncio.sleep(_MOMENT_S)


async def advance(seconds: float) -> None:
    """Let time pass, and everything happen that is due by then."""
    await asyncio.sleep(seconds)
    await settle()


def skip(seconds: float) -> None:
    """Let time pass at one go, as for a process that was frozen."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.skip(seconds)
