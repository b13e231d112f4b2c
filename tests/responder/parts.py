"""A responder's service without NATS: real admission, slots and processes, a script for a CLI, a list for an outlet."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from opentelemetry.trace import TracerProvider

from contract import ExecuteReply, RequestLimits, parse_reply
from responder.admission import Admission
from responder.answers import Answers
from responder.arguments import ArgumentPolicy
from responder.callers import Incoming, PlainCaller
from responder.claims import Claims
from responder.cli_environment import CLIEnvironment
from responder.execution import Execution
from responder.keyed import Keyed
from responder.records import MemoryRecords
from responder.run import Runner
from responder.service import Service
from responder.slots import Slots
from responder.statistics import Statistics
from responder.tracing import Tracing
from responder.working_directory import WorkingDirectories
from tests.responder.shell import ENV
from tests.support.fake_cli import fake_cli

SUBJECT = "claude.cli.execute"
INBOX = "_INBOX.a.b"
SECRET = "hunter2-hunter2"
MAX_PAYLOAD = 1_000_000


@dataclass
class Outlet:
    """Keeps what is published.

    Attributes:
        max_payload: The largest message.
        published: Subject, body and headers of each.
        reply_subjects: Where what NATS says of each is to go.
    """

    max_payload: int = MAX_PAYLOAD
    published: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)
    reply_subjects: list[str] = field(default_factory=list)

    async def publish(self, subject: str, body: bytes, headers: Mapping[str, str], reply: str = "") -> None:
        """Keep a message."""
        self.published.append((subject, body, dict(headers)))
        self.reply_subjects.append(reply)

    @property
    def reply(self) -> ExecuteReply:
        """The one reply there is."""
        ((_, body, _),) = self.published
        return parse_reply(body)


class Defective(WorkingDirectories):
    """Working directories with a defect.

    Args:
        text: What the defect's exception says.
    """

    def __init__(self, text: str) -> None:
        super().__init__([])
        self._text = text

    @contextlib.asynccontextmanager
    async def enter(self, cwd: str | None) -> AsyncIterator[str]:
        """Fail."""
        raise ZeroDivisionError(f"{self._text} {cwd}")
        yield ""


def make_service(
    folder: Path,
    runner: Runner,
    cli: str | None = "answer hello",
    *,
    slots: Slots | None = None,
    directories: WorkingDirectories | None = None,
    environment: CLIEnvironment | None = None,
    provider: TracerProvider | None = None,
) -> Service:
    """Put a service together whose CLI is a shell script.

    Args:
        folder: An empty directory.
        runner: Runs the script.
        cli: Body of the script; None for a responder without a CLI.
        slots: Two, with a backlog of two, unless given.
        directories: `root` in the folder, with `repo` in it, and `scratch`, unless given.
        environment: That of scripts unless given.
        provider: Where spans go.
    """
    for name in ("root/repo", "scratch"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    directories = directories or WorkingDirectories([folder / "root"], folder / "scratch")
    tracing = Tracing(provider)
    environment = environment or CLIEnvironment({**ENV, "ANTHROPIC_API_KEY": SECRET})
    executable = None if cli is None else fake_cli(folder, cli)
    return Service(
        inbox_prefix="_INBOX",
        admission=Admission(RequestLimits(), ArgumentPolicy(), directories),
        slots=slots or Slots(2, 2),
        execution=Execution(executable, runner, environment, directories, tracing),
        keyed=Keyed(Claims(MemoryRecords(3600), "I1")),
        answers=Answers("r1", environment.secrets()),
        tracing=tracing,
        statistics=Statistics(datetime.now(UTC)),
    )


async def answer(service: Service, message: Incoming, outlet: "Outlet") -> None:
    """Answer a plain message."""
    await service.handle(message, PlainCaller(message, outlet))


def incoming(
    body: bytes, at: float, *, reply_subject: str = INBOX, headers: Mapping[str, str] | None = None
) -> Incoming:
    """Give a message that arrived at a loop time."""
    return Incoming(SUBJECT, reply_subject, headers or {}, body, at)
