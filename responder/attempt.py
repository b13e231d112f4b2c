"""One attempt of the attended exchange, as the responder sees it: a state machine without I/O.

`docs/protocol.md` has its state table. It says what may be done; `attendance.py` does it.
"""

from enum import StrEnum

from contract import GO_WINDOW_S


class State(StrEnum):
    """How far an attempt has come."""

    WAITING = "waiting"
    READY = "ready"
    STARTED = "started"
    ENDED = "ended"
    FORGOTTEN = "forgotten"


class Attempt:
    """The state machine of one attempt.

    Attributes:
        state: How far it has come; one whose parts are still awaited is waiting.
    """

    def __init__(self) -> None:
        self.state = State.WAITING
        self._go_by = 0.0

    def __repr__(self) -> str:
        return f"<Attempt {self.state}>"

    @property
    def is_unstarted(self) -> bool:
        """Whether nothing was started for it, and still may be."""
        return self.state in {State.WAITING, State.READY}

    @property
    def go_by(self) -> float:
        """Loop time, in seconds, until which the go counts."""
        return self._go_by

    def ready(self, now: float) -> bool:
        """Note that a slot is held for it; says whether the requester is to be told."""
        if self.state is not State.WAITING:
            return False
        self.state, self._go_by = State.READY, now + GO_WINDOW_S
        return True

    def go(self, now: float) -> bool:
        """Take the requester's go; says whether the run starts, which it does once at most.

        It counts by the time it is handled at: what lay in the socket of a frozen process is too old.
        """
        if self.state is not State.READY or now > self._go_by:
            return False
        self.state = State.STARTED
        return True

    def end(self) -> bool:
        """Note that its result is there, whatever it is; says whether it is to be delivered."""
        if self.state is State.FORGOTTEN:
            return False
        self.state = State.ENDED
        return True

    def ack(self) -> bool:
        """Take the requester's word that it has the result; says whether it was awaited."""
        if self.state is not State.ENDED:
            return False
        self.state = State.FORGOTTEN
        return True

    def cancel(self) -> bool:
        """Take it that nobody awaits the result; says whether a run has to be ended."""
        is_running = self.state is State.STARTED
        self.state = State.FORGOTTEN
        return is_running
