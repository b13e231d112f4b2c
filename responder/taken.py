"""Running what was taken over from another responder."""

import contextlib
from dataclasses import dataclass

from contract import Frame, FrameError, FrameKind, Subjects, read_frame
from responder.attendance import Attendance
from responder.callers import Outlet, Slot
from responder.service import Service
from responder.stolen import StolenCaller
from responder.thief import NobodyError, Peers
from responder.work import Work

# So long a victim that has something set aside is waited for.
_VICTIM_S = 2.0


@dataclass(frozen=True)
class Taken:
    """Runs it.

    Attributes:
        instance: ULID of this process.
        service: Answers.
        attendance: Knows the attempts that are here.
        outlet: Where answers leave.
        peers: Those that it was taken from.
        subjects: Where they are asked.
    """

    instance: str
    service: Service
    attendance: Attendance
    outlet: Outlet
    peers: Peers
    subjects: Subjects

    async def ask_victim(self, work: Work, kind: FrameKind) -> FrameKind | None:
        """Tell a victim something about its work, and give its word; None where there is none in time."""
        frame = Frame(kind, attempt=work.attempt, instance=self.instance, lease=work.lease)
        try:
            answer = await self.peers.ask_peer(self.subjects.backlog_of(work.victim), frame.headers(), _VICTIM_S)
        except NobodyError:
            return None
        try:
            word = None if answer is None else read_frame(answer[0], b"")
        except FrameError:
            return None
        return None if word is None else word.kind

    async def run_stolen(self, work: Work, slot: Slot | None) -> None:
        """Run what was stolen, in a slot that is held for it; None where there is none any more."""
        incoming = work.incoming(self.subjects.execute)
        with contextlib.ExitStack() as unused:
            if slot is not None:
                unused.enter_context(slot)
            elif not work.is_attended:
                await self.ask_victim(work, FrameKind.CANCEL)
                return
            with self.attendance.caller_of(incoming) as known:
                plain = StolenCaller(incoming, self.outlet, lambda kind: self.ask_victim(work, kind))
                caller = known if work.is_attended else plain
                if caller is not None:
                    self.service.statistics.stolen += 1
                    caller.reserve(None if slot is None else unused)
                    await self.service.handle(incoming, caller)

    async def take_in(self, work: Work) -> None:
        """Have wait here what found no place elsewhere, and is ours."""
        incoming = work.incoming(self.subjects.execute)
        with self.attendance.caller_of(incoming) as caller:
            if caller is not None:
                self.service.statistics.stolen += 1
                caller.reserve(None)
                await self.service.handle(incoming, caller)
