"""Watching the instances at which attempts are: one probe and one beat for all attempts at an instance."""

import asyncio
import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from contract import SETTLE_S, Frame, FrameError, FrameKind, Pulse, Verdict, is_no_responders, read_frame
from requester.inbox import Inbox, InstanceTrouble, Mailbox, RawReply

PROBE_INTERVAL_S = 0.3
_MISSED_BEATS = 3
# A responder whose NATS node was killed is on another one 12 to 30 ms later (measured); one that has not come back by
# then is gone. With the interval of the probes it makes less than a second.
_GONE_AFTER_S = 0.5
# While an instance cannot be reached, until it is given up.
_PROBE_AGAIN_S = 0.1
_STRAYS = frozenset({FrameKind.ACCEPTED, FrameKind.READY, FrameKind.OUTPUT, FrameKind.RESULT})
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Line(Protocol):
    """What the watch needs of a connection."""

    @property
    def is_up(self) -> bool:
        """Whether it is connected, and hears; one that is deaf is being renewed."""

    @property
    def reconnects(self) -> int:
        """How often it was renewed."""

    def send_soon(self, frame: Frame, instance: str, token: str) -> None:
        """Send a frame to an instance; what NATS says of it comes back under the token. It need not arrive."""

    def attempt_of(self, token: str) -> str:
        """Give the reply subject whose last token this is."""


@dataclass
class Watched:
    """An instance at which attempts are.

    Attributes:
        pulse: Whether it is alive.
        mailboxes: The attempts there, each with the number of the last beat before it was accepted.
    """

    pulse: Pulse
    mailboxes: dict[Mailbox, int] = field(default_factory=dict)


class Watch:
    """Watches instances as long as attempts are there.

    Args:
        line: The connection.
        inbox: Its mailboxes.
    """

    def __init__(self, line: Line, inbox: Inbox) -> None:
        self._line = line
        self._inbox = inbox
        self._watched: dict[str, Watched] = {}
        self._task: asyncio.Task[None] | None = None
        self._settles_at = 0.0
        self._reconnects = line.reconnects

    def __repr__(self) -> str:
        return f"<Watch {', '.join(f'{name}: {one.pulse.verdict}' for name, one in self._watched.items())}>"

    @contextlib.contextmanager
    def attending(self, mailbox: Mailbox) -> Iterator["Attending"]:
        """Attend to one attempt within the block, wherever it goes."""
        attending = Attending(self, mailbox)
        try:
            yield attending
        finally:
            attending.leave()

    def add(self, instance: str, beat_s: float, since: int, mailbox: Mailbox) -> None:
        """Watch an instance for an attempt that later beats than one must list."""
        now = asyncio.get_running_loop().time()
        if instance not in self._watched:
            self._watched[instance] = Watched(Pulse(_MISSED_BEATS * beat_s, _GONE_AFTER_S, now, self._settles_at))
        self._watched[instance].mailboxes[mailbox] = since
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def remove(self, instance: str, mailbox: Mailbox) -> None:
        """Watch it for this attempt no more."""
        watched = self._watched.get(instance)
        if watched is not None:
            watched.mailboxes.pop(mailbox, None)
            if not watched.mailboxes:
                del self._watched[instance]

    def hear(self, instance: str) -> None:
        """Note a frame of an instance."""
        if instance in self._watched:
            self._watched[instance].pulse.hear()

    def take(self, token: str, reply: RawReply) -> None:
        """Take a message that is in no attempt's mailbox: a beat, a 503 to a probe, or a frame nobody awaits."""
        if is_no_responders(reply.headers, reply.data):
            self._note_reconnect()
            if token in self._watched:
                self._watched[token].pulse.refuse(asyncio.get_running_loop().time())
                self._tell(token)
            return
        try:
            frame = read_frame(reply.headers, reply.data)
        except FrameError:
            return
        if frame is None or frame.instance is None:
            return
        if frame.kind is FrameKind.BEAT:
            self._on_beat(frame.instance, frame.beat or 0, set(frame.body.decode(errors="replace").split()))
        elif frame.kind in _STRAYS:
            self._cancel(frame.instance, token)

    def close(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()

    def _note_reconnect(self) -> None:
        """See whether the connection was renewed; whoever gave it to us keeps its callbacks."""
        if self._line.reconnects == self._reconnects:
            return
        self._reconnects = self._line.reconnects
        now = asyncio.get_running_loop().time()
        self._settles_at = now + SETTLE_S
        for watched in self._watched.values():
            watched.pulse.reconnect(now)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._watched:
            is_in_doubt = any(one.pulse.verdict is Verdict.UNREACHABLE for one in self._watched.values())
            await asyncio.sleep(_PROBE_AGAIN_S if is_in_doubt else PROBE_INTERVAL_S)
            if not self._line.is_up:
                continue
            self._note_reconnect()
            for instance, watched in list(self._watched.items()):
                watched.pulse.look(loop.time(), 2 * PROBE_INTERVAL_S)
                self._tell(instance)
                self._line.send_soon(Frame(FrameKind.PROBE), instance, instance)

    def _tell(self, instance: str) -> None:
        watched = self._watched[instance]
        if watched.pulse.verdict is not Verdict.ALIVE:
            for mailbox in watched.mailboxes:
                mailbox.put(InstanceTrouble(instance, watched.pulse.verdict is Verdict.LOST))

    def _on_beat(self, instance: str, number: int, listed: set[str]) -> None:
        """Compare what an instance holds with what is awaited from it.

        A beat from before an attempt says nothing of it: when a partition ends, TCP still delivers what was sent into a
        connection that has been given up.
        """
        for token in listed:
            if token not in self._inbox and _TOKEN.fullmatch(token):
                self._cancel(instance, token)
        mailboxes = self._watched[instance].mailboxes if instance in self._watched else {}
        for mailbox, since in mailboxes.items():
            if number > since and mailbox.token not in listed:
                mailbox.put(InstanceTrouble(instance, is_lost=True))

    def _cancel(self, instance: str, token: str) -> None:
        frame = Frame(FrameKind.CANCEL, attempt=self._line.attempt_of(token))
        self._line.send_soon(frame, instance, token)


class Attending:
    """One attempt, watched where it is."""

    def __init__(self, watch: Watch, mailbox: Mailbox) -> None:
        self._watch = watch
        self._mailbox = mailbox
        self._instance: str | None = None

    def at(self, instance: str, beat_s: float, since: int) -> None:
        """Note where it is now, and after which of the beats there it came."""
        if instance != self._instance:
            self.leave()
            self._instance = instance
            self._watch.add(instance, beat_s, since, self._mailbox)

    def leave(self) -> None:
        """Note that it is nowhere any more."""
        if self._instance is not None:
            self._watch.remove(self._instance, self._mailbox)
            self._instance = None
