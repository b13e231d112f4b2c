"""Responders without NATS and without processes that steal from each other, and callers of theirs."""

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from contract import HEADER_ATTEND, Frame, FrameKind, Subjects, new_ulid, parse_reply, read_frame
from responder.admission import Job
from responder.assembly import Parts
from responder.attendance import Attendance
from responder.attended import Instance
from responder.callers import Incoming
from responder.execution import NOBODY, Audience, Execution
from responder.link import Link
from responder.outcome import Failure, Success, classify
from responder.routing import Routing, stealing
from responder.run import Observation, RunLimits, Runner
from responder.service import Service
from responder.sessions import Sessions
from responder.slots import Slots
from responder.sweep import Sweeper
from responder.thief import Thief
from tests.responder.bus import Bus, BusLink
from tests.responder.parts import make_service
from tests.responder.printed import RESULT, as_json

SUBJECTS = Subjects()


@dataclass(frozen=True)
class Timed(Execution):
    """Runs that take as long as their prompt says, in seconds.

    Attributes:
        started: The requests' ids, in order of their starts, by whoever runs them.
    """

    started: list[str] = field(default_factory=list)

    async def execute(self, job: Job, audience: Audience = NOBODY) -> tuple[Success | Failure, Observation]:
        """Note that the job was started, and take the time."""
        self.started.append(job.request_id)
        ends = {audience.cancelled} if audience.cancelled is not None else set()
        sleeping = asyncio.ensure_future(asyncio.sleep(float(job.prompt)))
        await asyncio.wait({sleeping, *ends}, return_when=asyncio.FIRST_COMPLETED)
        sleeping.cancel()
        seen = Observation(stdout=as_json(RESULT), exit_status=0)
        return classify(seen, "json"), seen


@dataclass
class Node:
    """One responder.

    Attributes:
        running: What goes on for it; cancelled where it is killed.
    """

    instance: Instance
    link: BusLink
    service: Service
    attendance: Attendance
    routing: Routing | None = None

    @property
    def thief(self) -> Thief:
        """What takes from others."""
        assert self.routing is not None
        return self.routing.thief

    @property
    def slots(self) -> Slots:
        """Its slots."""
        return self.service.slots

    async def handle(self, incoming: Incoming) -> None:
        """Handle a request as `endpoints.py` does."""
        with self.attendance.caller_of(incoming) as caller:
            if caller is not None:
                await self.service.handle(incoming, caller)


@dataclass
class Fleet:
    """Responders on one bus.

    Attributes:
        started: Ids of the requests, in the order of their starts.
        replies: How often each caller was answered, by id and by what came of it.
    """

    folder: Path
    stack: contextlib.AsyncExitStack
    bus: Bus
    nodes: list[Node] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    replies: Counter[tuple[str, str]] = field(default_factory=Counter)
    client: BusLink = field(init=False)

    def __post_init__(self) -> None:
        self.client = BusLink(self.bus)

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, folder: Path, *counts: int, seed: int = 1, backlog_max: int = 100) -> AsyncIterator["Fleet"]:
        """Have responders with so many slots each."""
        async with contextlib.AsyncExitStack() as stack:
            fleet = cls(folder, stack, Bus(random.Random(seed)))  # noqa: S311 # an order of events, no secret
            for count in counts:
                await fleet.add(Slots(count, backlog_max))
            yield fleet

    async def add(self, slots: Slots) -> Node:
        """Add a responder."""
        folder = self.folder / f"r{len(self.nodes)}"
        folder.mkdir()
        instance = Instance(new_ulid(), f"r{len(self.nodes)}", 0.75, 1_000_000)
        link = BusLink(self.bus)
        service = make_service(folder, Runner(Sweeper(), RunLimits()), None, slots=slots)
        service = replace(service, execution=Timed(**vars(service.execution), started=self.started))
        sessions = Sessions(instance, link, 30.0, lambda name: f"_INBOX.gone.{name}")
        attendance = Attendance(instance, link, sessions, "_INBOX", 1000)
        node = Node(instance, link, service, attendance)
        self.nodes.append(node)

        async def hear(incoming: Incoming) -> None:
            attendance.take(incoming, incoming.received_at)

        await link.subscribe(SUBJECTS.execute, node.handle, "claude-cli")
        await link.subscribe(SUBJECTS.instance_of(instance.id), hear)
        parts = SimpleNamespace(
            micro=SimpleNamespace(subjects=SUBJECTS),
            service=service,
            instance=instance,
            settings=SimpleNamespace(inbox_prefix="_INBOX"),
        )
        entered = stealing(cast("Parts", parts), cast("Link", link), attendance)
        node.routing = await self.stack.enter_async_context(entered)
        beating = asyncio.create_task(sessions.beat(lambda: True))
        self.stack.callback(beating.cancel)
        return node

    async def ask(
        self, name: str, run_s: float = 1.0, *, at: Node | None = None, attended: bool = False, **more: Any
    ) -> None:
        """Let a request arrive, at one responder or at a random one; every answer to it is noted."""
        reply_subject = f"_INBOX.{more.pop('session', 'caller')}.{name}"
        goes: list[str] = []

        async def hear(incoming: Incoming) -> None:
            frame = read_frame(incoming.headers, incoming.body)
            if frame is not None and frame.kind is FrameKind.READY and frame.instance is not None and not goes:
                goes.append(frame.instance)
                word = Frame(FrameKind.GO, attempt=reply_subject)
                self.bus.send(SUBJECTS.instance_of(frame.instance), b"", word.headers(), reply_subject)
            elif frame is None or frame.kind is FrameKind.RESULT:
                reply = parse_reply(incoming.body)
                outcome = "ok" if reply.success else str(reply.code)
                self.replies[name, f"plain {outcome}" if attended and frame is None else outcome] += 1
                if frame is not None and frame.instance is not None:
                    word = Frame(FrameKind.ACK, attempt=reply_subject)
                    self.bus.send(SUBJECTS.instance_of(frame.instance), b"", word.headers(), reply_subject)

        await self.client.subscribe(reply_subject, hear)
        body = json.dumps({"prompt": str(run_s), "id": name, **more}).encode()
        headers = {HEADER_ATTEND: "1"} if attended else {}
        if at is None:
            self.bus.send(SUBJECTS.execute, body, headers, reply_subject)
        else:
            incoming = Incoming(SUBJECTS.execute, reply_subject, headers, body, asyncio.get_running_loop().time())
            self.bus.tasks.add(task := asyncio.create_task(at.handle(incoming)))
            task.add_done_callback(self.bus.tasks.discard)

    @property
    def is_idle(self) -> bool:
        """Whether no slot is taken and nothing waits."""
        return all((node.slots.in_flight, node.slots.backlog) == (0, 0) for node in self.nodes)
