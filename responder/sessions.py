"""The sessions of the requesters that attend to attempts here: one beat for all attempts of a session."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from contract import SETTLE_S, Frame, FrameKind, Pulse, Verdict, session_of, token_of
from responder.attended import AttendedCaller, Instance
from responder.callers import Outlet

# A thief tells the requester at once; what it could not tell is lost then, and moves.
_HANDED_ON_S = 2.5
# While a session cannot be reached, until it is given up.
_BEAT_AGAIN_S = 0.1
# As long as the two seconds in which the runs of a killed requester have to be gone allow, with the interval of the
# beats and the stopping: its runs are lost to a requester that takes longer to find another NATS node.
_GONE_AFTER_S = 0.7


@dataclass
class Session:
    """A requester, as far as it is known here.

    Attributes:
        pulse: Whether it is alive.
        callers: Its attempts, by the last token of their names.
        handed_on: Its attempts that a peer has taken over, and until when, in loop time, they are still listed: the
            requester may not have heard of it yet.
    """

    pulse: Pulse
    callers: dict[str, AttendedCaller] = field(default_factory=dict)
    handed_on: dict[str, float] = field(default_factory=dict)

    def listed(self, now: float) -> list[str]:
        """Give the attempts that a beat names."""
        self.handed_on = {token: until for token, until in self.handed_on.items() if until > now}
        return [*self.callers, *self.handed_on]


class Sessions:
    """Beats for the sessions that have attempts here, and ends the runs of those that have gone.

    Args:
        instance: This process.
        outlet: Where beats leave.
        unattended_max_s: How long a run goes on, in seconds, while nothing is heard of its requester.
        reply_of: Gives the subject on which NATS says that a session, named by its key, has gone.
    """

    def __init__(
        self, instance: Instance, outlet: Outlet, unattended_max_s: float, reply_of: Callable[[str], str]
    ) -> None:
        self._instance = instance
        self._outlet = outlet
        self._unattended_max_s = unattended_max_s
        self._reply_of = reply_of
        self._sessions: dict[str, Session] = {}
        self._settles_at = 0.0
        self._renewed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Sessions {len(self._sessions)}>"

    @property
    def sessions(self) -> Mapping[str, Session]:
        """The sessions by name."""
        return self._sessions

    def add(self, caller: AttendedCaller) -> None:
        """Attend to a caller's session."""
        name, now = session_of(caller.attempt), asyncio.get_running_loop().time()
        if name not in self._sessions:
            self._sessions[name] = Session(Pulse(self._unattended_max_s, _GONE_AFTER_S, now, self._settles_at))
        self._sessions[name].callers[token_of(caller.attempt)] = caller
        self._sessions[name].handed_on.pop(token_of(caller.attempt), None)
        self.hear(name)

    def remove(self, caller: AttendedCaller) -> None:
        """Attend to a caller no more."""
        name = session_of(caller.attempt)
        session, token = self._sessions[name], token_of(caller.attempt)
        session.callers.pop(token, None)
        if caller.is_handed_on:
            session.handed_on[token] = asyncio.get_running_loop().time() + _HANDED_ON_S
        elif not session.callers and not session.handed_on:
            del self._sessions[name]

    def hear(self, name: str) -> None:
        """Note that a session was heard of."""
        if name in self._sessions:
            self._sessions[name].pulse.hear()

    def refuse(self, name: str) -> None:
        """Note that NATS knows nobody by a session's subject."""
        if name in self._sessions:
            self._sessions[name].pulse.refuse(asyncio.get_running_loop().time())
            self._abandon_if_lost(self._sessions[name])

    def reconnect(self) -> None:
        """Note that our own connection was renewed: requesters that miss beats hear one at once."""
        now = asyncio.get_running_loop().time()
        self._settles_at = now + SETTLE_S
        for session in self._sessions.values():
            session.pulse.reconnect(now)
        self._renewed.set()

    async def beat(self, is_up: Callable[[], bool]) -> None:
        """Beat until cancelled; `is_up` says whether there is a connection: silence without one says nothing."""
        loop = asyncio.get_running_loop()
        while True:
            is_in_doubt = any(one.pulse.verdict is Verdict.UNREACHABLE for one in self._sessions.values())
            pause_s = _BEAT_AGAIN_S if is_in_doubt else self._instance.beat_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._renewed.wait()
            self._renewed.clear()
            if not is_up():
                continue
            self._instance.beats += 1
            for name in list(self._sessions):
                # As it is now: a beat that leaves out an attempt means to its requester that it is lost.
                session = self._sessions.get(name)
                if session is None:
                    continue
                if not session.listed(loop.time()):
                    del self._sessions[name]
                    continue
                session.pulse.look(loop.time(), 2 * self._instance.beat_s)
                self._abandon_if_lost(session)
                await self._send(name, session)

    async def _send(self, name: str, session: Session) -> None:
        instance = self._instance
        listed = "\n".join(session.listed(asyncio.get_running_loop().time())).encode()
        frame = Frame(FrameKind.BEAT, instance=instance.id, beat=instance.beats, body=listed)
        await self._outlet.publish(f"{name}.{instance.id}", frame.payload, frame.headers(), self._reply_of(name))

    def _abandon_if_lost(self, session: Session) -> None:
        if session.pulse.verdict is Verdict.LOST:
            now = asyncio.get_running_loop().time()
            for caller in list(session.callers.values()):
                caller.abandon(now)
