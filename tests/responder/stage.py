"""A responder without NATS and without processes: requests and frames go in, what it publishes comes out."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from contract import (
    HEADER_ATTEND,
    Assembly,
    ExecuteReply,
    Frame,
    FrameKind,
    Part,
    parse_reply,
    part_headers,
    read_frame,
)
from responder.admission import Job
from responder.attendance import Attendance
from responder.attended import Instance
from responder.callers import Incoming
from responder.execution import NOBODY, Audience, Execution
from responder.outcome import Failure, Success, classify
from responder.run import Observation, RunLimits, Runner, StopReason
from responder.service import Service
from responder.sessions import Sessions
from responder.slots import Slots
from responder.sweep import Sweeper
from tests.responder.parts import SUBJECT, Outlet, make_service
from tests.responder.printed import RESULT, as_json, result

SESSION = "_INBOX.requester1"
INSTANCE = Instance("01JDATTENDED00000000000000", "r1", 0.75, 1_000_000)
ATTEMPTS_MAX = 50
UNATTENDED_MAX_S = 30.0


@dataclass(frozen=True)
class Run(Execution):
    """Runs nothing: a run ends when it is told to, or when nobody awaits it any more.

    Attributes:
        started: The requests' ids, in order of their starts.
        audiences: Who follows each.
        ends: Done, with what was printed, when a run has ended by itself.
    """

    started: list[str] = field(default_factory=list)
    audiences: list[Audience] = field(default_factory=list)
    ends: list[asyncio.Future[bytes]] = field(default_factory=list)

    def finish(self, printed: bytes = as_json(RESULT)) -> None:
        """End the runs that go on with what they have printed."""
        for end in self.ends:
            if not end.done():
                end.set_result(printed)

    async def execute(self, job: Job, audience: Audience = NOBODY) -> tuple[Success | Failure, Observation]:
        """Note that the job was started, and wait."""
        self.started.append(job.request_id)
        self.audiences.append(audience)
        end: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.ends.append(end)
        loop = asyncio.get_running_loop()
        ends: set[asyncio.Future[Any]] = {end} | ({audience.cancelled} if audience.cancelled else set())
        await asyncio.wait(ends, timeout=job.deadline - loop.time(), return_when=asyncio.FIRST_COMPLETED)
        if end.done():
            seen = Observation(stdout=end.result(), exit_status=0)
        elif audience.cancelled is not None and audience.cancelled.done():
            seen = Observation(exit_status=-2, stop_reason=StopReason.CANCELLED)
        else:
            seen = Observation(exit_status=-2, stop_reason=StopReason.DEADLINE)
        return classify(seen, "json"), seen


@dataclass
class Stage:
    """What a test acts on.

    Attributes:
        service: Answers.
        run: What it runs.
        outlet: What it has published.
        sessions: Whose attempts there are.
        attendance: The attempts.
        tasks: One for each request, until it is handled.
    """

    service: Service
    run: Run
    outlet: Outlet
    sessions: Sessions
    attendance: Attendance
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @classmethod
    def make(
        cls,
        folder: Path,
        *,
        slots: Slots | None = None,
        outlet: Outlet | None = None,
        attempts_max: int = ATTEMPTS_MAX,
    ) -> "Stage":
        """Put one together: one slot and a backlog of five, unless given."""
        service = make_service(folder, Runner(Sweeper(), RunLimits()), None, slots=slots or Slots(1, 5))
        run = Run(**vars(service.execution))
        outlet = outlet or Outlet()
        instance = replace(INSTANCE)
        sessions = Sessions(instance, outlet, UNATTENDED_MAX_S, lambda name: f"_INBOX.responder.{name}")
        attendance = Attendance(instance, outlet, sessions, "_INBOX", attempts_max)
        return cls(replace(service, execution=run), run, outlet, sessions, attendance)

    def ask(
        self,
        name: str = "t1",
        *,
        session: str = SESSION,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_ms: int = 60_000,
        attended: bool = True,
    ) -> asyncio.Task[None]:
        """Let a request arrive."""
        if body is None:
            body = json.dumps({"prompt": "p", "id": name, "timeout_ms": timeout_ms}).encode()
        asked = {**({HEADER_ATTEND: "1"} if attended else {}), **(headers or {})}
        now = asyncio.get_running_loop().time()
        task = asyncio.create_task(self._handle(Incoming(SUBJECT, f"{session}.{name}", asked, body, now)))
        self.tasks.append(task)
        return task

    def beat(self, is_up: Callable[[], bool] = lambda: True) -> asyncio.Task[None]:
        """Begin to beat; the task is to be cancelled."""
        return asyncio.create_task(self.sessions.beat(is_up))

    async def _handle(self, incoming: Incoming) -> None:
        with self.attendance.caller_of(incoming) as caller:
            if caller is not None:
                await self.service.handle(incoming, caller)

    def say(
        self, kind: FrameKind, name: str = "t1", *, session: str = SESSION, part: Part | None = None, late_s: float = 0
    ) -> None:
        """Let a frame of a requester's be handled, some seconds from now by the clock if need be."""
        attempt = f"{session}.{name}"
        frame = Frame(kind, attempt=attempt, part=part)
        self.hear(frame.headers(), frame.payload, reply_subject=attempt, late_s=late_s)

    def hear(
        self, headers: Mapping[str, str], body: bytes = b"", *, reply_subject: str = f"{SESSION}.t1", late_s: float = 0
    ) -> None:
        """Let any message to the instance be handled."""
        now = asyncio.get_running_loop().time()
        self.attendance.take(
            Incoming(f"claude.cli.instance.{INSTANCE.id}", reply_subject, headers, body, now), now + late_s
        )

    def frames(self, name: str = "t1", session: str = SESSION) -> list[Frame | None]:
        """Give what was sent to an attempt; None for a plain reply."""
        return [
            read_frame(headers, body)
            for subject, body, headers in self.outlet.published
            if subject == f"{session}.{name}"
        ]

    def kinds(self, name: str = "t1") -> list[str]:
        """Give what was sent to an attempt, in words."""
        return ["plain" if frame is None else str(frame.kind) for frame in self.frames(name)]

    def reply(self, name: str = "t1") -> ExecuteReply:
        """Give the reply that an attempt was sent, plain or framed."""
        assembly = Assembly(100_000_000)
        for subject, body, headers in self.outlet.published:
            frame = read_frame(headers, body)
            if subject == f"{SESSION}.{name}" and (frame is None or frame.kind is FrameKind.RESULT):
                whole = assembly.add(frame.part) if frame and frame.part else body
                if whole is not None:
                    return parse_reply(whole)
        raise AssertionError(f"{name} has no reply: {self.kinds(name)}")

    def is_idle(self) -> bool:
        """Say whether nothing is left: no attempt, no session, no slot taken, no task."""
        slots = self.service.slots
        return (
            len(self.attendance) == 0
            and not self.sessions.sessions
            and (slots.in_flight, slots.backlog) == (0, 0)
            and all(task.done() for task in self.tasks)
        )


def announcement(parts: list[Part]) -> dict[str, str]:
    """Give the headers of a request that only announces its parts."""
    return part_headers(Part(0, parts[0].whole))


def answer_of(size: int) -> bytes:
    """Give what a CLI prints whose answer has so many bytes."""
    return as_json(result(result="x" * size))
