"""One request that a waiting CLI serves, and what the CLI prints for it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from responder.renewal import Spent, is_forgotten, without
from responder.run import OutputListener, StopReason
from responder.stream_json import is_error


@dataclass(frozen=True)
class Turn:
    """The request.

    Attributes:
        prompt: What is asked.
        trace_headers: The W3C context of the span that its own become children of; empty where it exports none.
        deadline: Loop time, in seconds, at which it is ended.
        cancelled: Done when nobody awaits it any more; None where that is never known.
        on_output: Is given what the CLI prints while it prints it, whole lines with their offset in bytes.
    """

    prompt: str = field(repr=False)
    trace_headers: Mapping[str, str]
    deadline: float
    cancelled: asyncio.Future[None] | None = None
    on_output: OutputListener | None = None


class Answer:
    """What a CLI prints, up to the result.

    Args:
        is_stream: Whether its events are the output, or the result alone.
        output_max_bytes: The most that the output may be.
        on_output: Is given the events while they are printed, where they are the output.
        spent: What the CLI had used before, for others.

    Attributes:
        heard: Done with None when the result has come, or with a reason to end the run.
        is_forgettable: Whether nothing in it is known to outlast `/clear`.
        has_gone_on: Whether anything was printed after the result.
    """

    def __init__(
        self,
        output_max_bytes: int,
        *,
        is_stream: bool,
        on_output: OutputListener | None = None,
        spent: Spent | None = None,
    ) -> None:
        self.heard: asyncio.Future[StopReason | None] = asyncio.get_running_loop().create_future()
        self.is_forgettable = True
        self.has_gone_on = False
        self._output_max_bytes = output_max_bytes
        self._is_stream = is_stream
        self._on_output = on_output if is_stream else None
        self._spent = spent
        self._printed = bytearray()
        self._result = b""

    @property
    def printed(self) -> bytes:
        """The output so far."""
        return bytes(self._printed)

    @property
    def result(self) -> bytes:
        """The last event; empty before."""
        return self._result

    @property
    def exit_status(self) -> int:
        """The exit status that a cold CLI has with this result."""
        return int(is_error(self._result))

    def take(self, line: bytes, kind: str | None) -> None:
        """Take an event; what comes after the result is no part of it."""
        if self.heard.done():
            self.has_gone_on = True
            return
        if kind == "result":
            line = self._result = line if self._spent is None else without(line, self._spent)
        elif self.is_forgettable:
            self.is_forgettable = is_forgotten(line, kind)
        if self._is_stream or kind == "result":
            self._print(line)
        if kind == "result":
            self.hear(None)

    def hear(self, reason: StopReason | None) -> None:
        """Note that there is nothing more to wait for."""
        if not self.heard.done():
            self.heard.set_result(reason)

    def _print(self, line: bytes) -> None:
        offset = len(self._printed)
        self._printed += line
        if len(self._printed) > self._output_max_bytes:
            self.hear(StopReason.OUTPUT_TOO_LARGE)
        elif self._on_output is not None:
            try:
                self._on_output(offset, line)
            except Exception as error:  # noqa: BLE001 # whoever waits for the run raises it: here it would reach nobody
                self.heard.set_exception(error)
