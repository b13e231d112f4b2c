"""A last flush that ends in bounded time."""

import logging
import threading
import time
from collections.abc import Callable

FLUSH_BOUND_S = 3.0

_log = logging.getLogger(__name__)


class BoundedFlush:
    """Runs a flush once, in a thread that nobody waits for longer than the bound.

    `TracerProvider.shutdown()` cannot be trusted with a deadline: measured (docs/observability), it took 7.3 s with a
    dead collector and 10 s with a hung one. The thread is a daemon, so what is left of it ends with the process.
    """

    def __init__(self, flush: Callable[[], object], bound_s: float = FLUSH_BOUND_S) -> None:
        self._flush = flush
        self._bound_s = bound_s
        self._deadline: float | None = None
        self._thread = threading.Thread(target=self._run, name="telemetry-flush", daemon=True)
        self._lock = threading.Lock()

    def __call__(self) -> None:
        """Flush and wait until it is done or the bound has passed since the first call."""
        try:
            deadline = self._start()
            self._thread.join(max(0.0, deadline - time.monotonic()))
        except RuntimeError as error:  # no new threads while the interpreter ends
            _log.debug("traces were not flushed: %s", error)
            return
        if self._thread.is_alive():
            _log.warning("traces were not flushed within %g s; the last spans may be lost", self._bound_s)

    def _start(self) -> float:
        with self._lock:
            if self._deadline is None:
                self._deadline = time.monotonic() + self._bound_s
                self._thread.start()
            return self._deadline

    def _run(self) -> None:
        try:
            self._flush()
        except Exception:  # noqa: BLE001 - stopping must not fail because the telemetry does
            _log.warning("traces were not flushed", exc_info=_log.isEnabledFor(logging.DEBUG))
