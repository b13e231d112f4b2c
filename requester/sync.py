"""`execute()` for plain threads: the request runs in the event loop of a thread of its own."""

import asyncio
import atexit
import concurrent.futures
import os
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from requester.default import close_default, execute
from requester.errors import NotConnectedError
from requester.reply import Reply

T = TypeVar("T")


class LoopThread:
    """A daemon thread with an event loop, started when it is first needed; any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop and wait for it; whatever interrupts the wait cancels it.

        Raises:
            NotConnectedError: The loop was closed meanwhile.
        """
        with self._lock:
            future = asyncio.run_coroutine_threadsafe(coroutine, self._started())
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise NotConnectedError("the requester was closed", retryable=False, executed=None) from None
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End the loop, and what still runs in it; the next `run` starts another."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is None or self._loop is None or self._stop is None:
                return
            # What was handed over before this is started before the loop stops: nobody is left waiting.
            self._loop.call_soon_threadsafe(self._stop.set)
        thread.join()

    def forget(self) -> None:
        """Leave the thread to the parent: a forked child has only a copy of its state, and no such thread."""
        self._lock = threading.Lock()
        self._thread = None

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._thread is None or self._loop is None:
            started: concurrent.futures.Future[None] = concurrent.futures.Future()
            self._thread = threading.Thread(
                target=lambda: asyncio.run(self._serve(started)), name="claude-requester", daemon=True
            )
            self._thread.start()
            started.result()
        if self._loop is None:
            raise AssertionError("a started thread has its loop")
        return self._loop

    async def _serve(self, started: concurrent.futures.Future[None]) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        started.set_result(None)
        await self._stop.wait()
        await close_default()


# With `default._LENT` the state behind the one-line call.
_THREAD = LoopThread()
os.register_at_fork(after_in_child=_THREAD.forget)
atexit.register(_THREAD.close)


def execute_sync(
    prompt: str,
    *,
    timeout: float | None = None,
    args: Sequence[str] | None = None,
    cwd: str | None = None,
    request_id: str | None = None,
) -> Reply:
    """Run the CLI once and wait for its answer, from any thread, also one whose own event loop runs (it blocks it).

    All threads of a process share one connection; a forked child makes its own. An exception that interrupts the wait
    (KeyboardInterrupt, a Celery time limit) cancels the request. For arguments and errors see `Requester.execute`.

    Raises:
        RequesterError: Why there is no answer.
        SettingsError: The environment has a setting that cannot be used.
    """
    return _THREAD.run(execute(prompt, timeout=timeout, args=args, cwd=cwd, request_id=request_id))


def close_default_sync() -> None:
    """Close the connection behind `execute_sync` and end its thread; the next call makes another."""
    _THREAD.close()
