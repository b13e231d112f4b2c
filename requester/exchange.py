"""One attempt of the attended exchange, as the requester sees it: a state machine without I/O and without a clock.

`docs/protocol.md` has its state table. Events come in as method calls; each gives the frames to send, and `ending` says
how the attempt ended once it has.
"""

from dataclasses import dataclass
from enum import StrEnum

from contract import Assembly, Frame, FrameKind, PartsError, WholeTooLargeError


class State(StrEnum):
    """How far an attempt has come."""

    SENT = "sent"
    ACCEPTED = "accepted"
    GIVEN = "given"
    ENDED = "ended"


class Ending(StrEnum):
    """How an attempt ended."""

    ANSWERED = "answered"
    MALFORMED = "malformed"
    TOO_LARGE = "too large"
    # Nothing ran, and nothing of it will.
    NO_RESPONDERS = "no responder listens"
    UNACCEPTED = "no responder has accepted the request"
    LOST = "the responder was lost before it could start"
    GO_UNDELIVERED = "the responder was gone when it should start"
    EXPIRED = "the deadline passed before a responder could start"
    # It ran, or may have.
    LOST_AFTER_GO = "the responder was lost after it was told to start"
    EXPIRED_AFTER_GO = "the responder did not say in time how the run ended"


@dataclass(frozen=True)
class Say:
    """A frame to send to an instance."""

    kind: FrameKind
    instance: str


@dataclass(frozen=True)
class Times:
    """When an attempt ends by itself; loop times in seconds.

    Attributes:
        accept_by: Until when a responder must have accepted it.
        deadline: After which it may not start any more.
        report_by: Until when the outcome of what was started is awaited.
    """

    accept_by: float
    deadline: float
    report_by: float


class Exchange:
    """The state machine of one attempt.

    Args:
        times: When it ends by itself.
        reply_max_bytes: The largest result that is taken.
        is_announced: Whether the request was only announced, and its parts follow once it is accepted.

    Attributes:
        state: How far it has come.
        instance: Who has accepted it, or been given the go.
        ending: How it ended; None until then.
        reply: The result, once it is there.
        problem: What was wrong with a result that could not be taken.
    """

    def __init__(self, times: Times, reply_max_bytes: int, *, is_announced: bool = False) -> None:
        self.state = State.SENT
        self.instance: str | None = None
        self.ending: Ending | None = None
        self.reply: bytes | None = None
        self.problem = ""
        self._times = times
        self._is_body_due = is_announced
        self._is_given = False
        self._assembly = Assembly(reply_max_bytes)

    def __repr__(self) -> str:
        return f"<Exchange {self.ending or self.state} at {self.instance}>"

    def is_given_to(self, instance: str | None) -> bool:
        """Say whether an instance was given the go, and may be running it."""
        return self.state is State.GIVEN and instance == self.instance

    @property
    def wakes_at(self) -> float:
        """Loop time, in seconds, at which `on_time` must be called unless something happens before."""
        times = self._times
        if self.state is State.SENT:
            return min(times.accept_by, times.deadline)
        return times.deadline if self.state is State.ACCEPTED else times.report_by

    @property
    def may_have_started(self) -> bool:
        """Whether a go was given that somebody may have heard."""
        return self._is_given and self.ending is not Ending.GO_UNDELIVERED

    def on_frame(self, frame: Frame) -> list[Say]:
        """Take a frame of an instance."""
        sender = frame.instance
        if sender is None or self.state is State.ENDED:
            return []
        match frame.kind:
            case FrameKind.ACCEPTED:
                return self._on_accepted(sender)
            case FrameKind.READY:
                return self._on_ready(sender)
            case FrameKind.RESULT:
                return self._on_result(sender, frame)
            case _:
                return []

    def on_plain_reply(self, body: bytes) -> list[Say]:
        """Take a reply without a frame: a refusal before admission, of which an attempt that was accepted has none."""
        if self.state is not State.SENT:
            return []
        self.reply = body
        return self._end(Ending.ANSWERED)

    def on_no_responders(self) -> list[Say]:
        """Take the server's word that nobody heard the request, or the go; it must not be about any other frame."""
        endings = {State.SENT: Ending.NO_RESPONDERS, State.GIVEN: Ending.GO_UNDELIVERED}
        return self._end(endings[self.state], but=self.instance) if self.state in endings else []

    def on_unreachable(self, instance: str) -> list[Say]:
        """Take it that an instance could not be reached just now: what has no go moves on, what has one waits."""
        return self._end(Ending.LOST) if self.state is State.ACCEPTED and instance == self.instance else []

    def on_lost(self, instance: str) -> list[Say]:
        """Take it that an instance is lost."""
        if self.state is State.GIVEN and instance == self.instance:
            return self._end(Ending.LOST_AFTER_GO)
        return self.on_unreachable(instance)

    def on_time(self, now: float) -> list[Say]:
        """Look at the clock, which shows a loop time in seconds."""
        if self.state is State.ENDED or now < self.wakes_at:
            return []
        if self.state is State.GIVEN:
            return self._end(Ending.EXPIRED_AFTER_GO)
        return self._end(Ending.EXPIRED if now >= self._times.deadline else Ending.UNACCEPTED)

    def give_up(self) -> list[Say]:
        """Take it that nobody awaits the result any more."""
        if self.state is State.ENDED:
            return []
        return self._end(Ending.EXPIRED_AFTER_GO if self.state is State.GIVEN else Ending.EXPIRED)

    def _on_accepted(self, sender: str) -> list[Say]:
        if self.state is State.GIVEN:
            return []
        self.state, self.instance = State.ACCEPTED, sender
        if not self._is_body_due:
            return []
        self._is_body_due = False
        return [Say(FrameKind.BODY, sender)]

    def _on_ready(self, sender: str) -> list[Say]:
        if self.state is State.GIVEN:
            # Two that hold the same attempt: the one with the go runs it.
            return [] if sender == self.instance else [Say(FrameKind.CANCEL, sender)]
        self.state, self.instance, self._is_given = State.GIVEN, sender, True
        return [Say(FrameKind.GO, sender)]

    def _on_result(self, sender: str, frame: Frame) -> list[Say]:
        if self.state is State.GIVEN and sender != self.instance:
            return [Say(FrameKind.CANCEL, sender)]
        try:
            self.reply = self._assembly.add(frame.part) if frame.part else frame.body
        except PartsError as error:
            self.problem = str(error)
            ending = Ending.TOO_LARGE if isinstance(error, WholeTooLargeError) else Ending.MALFORMED
            return [Say(FrameKind.ACK, sender), *self._end(ending, but=sender)]
        if self.reply is None:
            return []
        return [Say(FrameKind.ACK, sender), *self._end(Ending.ANSWERED, but=sender)]

    def _end(self, ending: Ending, but: str | None = None) -> list[Say]:
        """End it, and tell the instance that still holds it, but not the one that knows."""
        self.state, self.ending = State.ENDED, ending
        return [] if self.instance in {None, but} else [Say(FrameKind.CANCEL, str(self.instance))]
