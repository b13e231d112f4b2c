"""`execute()` for plain threads: the request runs in the event loop of a thread of its own."""

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from requester.default import execute, result, submit
from requester.errors import NotConnectedError
from requester.reply import Reply

T = TypeVar("T")


@dataclass(frozen=True)
class _Serving:
    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event
    thread: threading.Thread


class LoopThread:
    """A daemon thread with an event loop, started when it is first needed; any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._serving: concurrent.futures.Future[_Serving] | None = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop and wait for it; whatever interrupts the wait cancels it.

        Raises:
            NotConnectedError: The loop was closed meanwhile.
            RuntimeError: It is called in the loop's own thread, which would wait for itself.
        """
        try:
            self._refuse_itself()
            with self._lock:
                future = asyncio.run_coroutine_threadsafe(coroutine, self._started().loop)
        except BaseException:
            coroutine.close()
            raise
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise NotConnectedError("the requester was closed", retryable=False, executed=None) from None
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End the loop, and what still runs in it; the next `run` starts another.

        Raises:
            RuntimeError: It is called in the loop's own thread, which would wait for itself.
        """
        self._refuse_itself()
        with self._lock:
            if self._serving is None:
                return
            serving, self._serving = self._serving.result(), None
            # What was handed over before this is started before the loop stops: nobody is left waiting.
            serving.loop.call_soon_threadsafe(serving.stop.set)
        serving.thread.join()

    def forget(self) -> None:
        """Leave the thread to the parent: a forked child has only a copy of its state, and no such thread."""
        self._lock = threading.Lock()
        self._serving = None

    def _refuse_itself(self) -> None:
        serving = self._serving
        has_started = serving is not None and serving.done() and not serving.exception()
        if serving and has_started and serving.result().thread is threading.current_thread():
            raise RuntimeError("the requester's own thread cannot wait for itself: ask from another one")

    def _started(self) -> _Serving:
        if self._serving is None:
            serving: concurrent.futures.Future[_Serving] = concurrent.futures.Future()
            threading.Thread(target=_serve_in_thread, args=[serving], name="claude-requester", daemon=True).start()
            self._serving = serving
        try:
            return self._serving.result()
        except OSError:
            self._serving = None
            raise


def _serve_in_thread(serving: concurrent.futures.Future[_Serving]) -> None:
    try:
        with asyncio.Runner() as runner:
            runner.run(_serve(serving))
    except OSError as error:
        # A loop needs file descriptors; without one nobody may be left waiting for it.
        if serving.done():
            raise
        serving.set_exception(error)


async def _serve(serving: concurrent.futures.Future[_Serving]) -> None:
    stop = asyncio.Event()
    serving.set_result(_Serving(asyncio.get_running_loop(), stop, threading.current_thread()))
    await stop.wait()


# With `default._LENT` the state behind the one-line call.
_THREAD = LoopThread()
os.register_at_fork(after_in_child=_THREAD.forget)


def execute_sync(  # noqa: PLR0913 # as in Requester.execute
    prompt: str,
    *,
    timeout: float | None = None,
    args: Sequence[str] | None = None,
    cwd: str | None = None,
    request_id: str | None = None,
    failover: Literal["unstarted", "always"] = "unstarted",
    on_output: Callable[[str], None] | None = None,
    idempotency_key: str | None = None,
    priority: Literal["interactive", "batch"] = "interactive",
    reuse: bool = False,
) -> Reply:
    """Run the CLI once and wait for its answer, from any thread, also one whose own event loop runs (it blocks it).

    All threads of a process share one connection; a forked child makes its own. An exception that interrupts the wait
    (KeyboardInterrupt, a Celery time limit) cancels the request. `on_output` is called in the requester's own thread,
    from which nothing can be asked with this function. For arguments and errors see `Requester.execute`.

    Raises:
        RequesterError: Why there is no answer.
        SettingsError: The environment has a setting that cannot be used.
    """
    return _THREAD.run(
        execute(
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
    )


def submit_sync(  # noqa: PLR0913 # those of Requester.submit
    prompt: str,
    *,
    timeout: float | None = None,
    args: Sequence[str] | None = None,
    cwd: str | None = None,
    failover: Literal["unstarted", "always"] = "unstarted",
    ticket: str | None = None,
) -> str:
    """Have the CLI run once, whatever stops or fails in between, and give a ticket; see `Requester.submit`."""
    return _THREAD.run(submit(prompt, timeout=timeout, args=args, cwd=cwd, failover=failover, ticket=ticket))


def result_sync(ticket: str, *, timeout: float | None = None) -> Reply:
    """Wait for the result of durable work; see `Requester.result`."""
    return _THREAD.run(result(ticket, timeout=timeout))


def close_default_sync() -> None:
    """Close the connection behind `execute_sync` and end its thread; the next call makes another."""
    _THREAD.close()
