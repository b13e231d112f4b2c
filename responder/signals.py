"""SIGTERM and SIGINT as futures."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator


class Signals:
    """SIGTERM and SIGINT: the first asks to drain, the second to stop at once.

    Attributes:
        first: Done when the first has come.
        second: Done when the second has come.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.first: asyncio.Future[None] = loop.create_future()
        self.second: asyncio.Future[None] = loop.create_future()

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Catch both signals as long as the context lasts."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._note)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _note(self) -> None:
        if not self.first.done():
            self.first.set_result(None)
        elif not self.second.done():
            self.second.set_result(None)
