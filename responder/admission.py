"""Admission: from the bytes of a message to a job that may run here, or a refusal that costs no process."""

from dataclasses import dataclass, field

from contract import ExecuteRequest, Priority, RequestLimits, fingerprint, new_ulid, parse_request
from responder.arguments import ArgumentPolicy, Arguments
from responder.working_directory import WorkingDirectories


@dataclass(frozen=True)
class Job:
    """A request that may run here.

    Attributes:
        request_id: The caller's name for it, or a ULID of ours.
        prompt: What the CLI reads.
        arguments: What the CLI is started with.
        cwd: The working directory the caller named.
        deadline: Loop time, in seconds, after which nobody waits any more.
        idempotency_key: What the caller names the work; None where a repeat is another run.
        fingerprint: Tells the request from another one with the same key.
        priority: Its class.
        arrived_at: Loop time, in seconds, at which it arrived; None for when it asks for a slot.
        reuse: Whether its CLI may have served its caller before, and may again.
    """

    request_id: str
    prompt: str = field(repr=False)
    arguments: Arguments
    cwd: str | None
    deadline: float
    idempotency_key: str | None = None
    fingerprint: str = ""
    priority: Priority = Priority.INTERACTIVE
    arrived_at: float | None = None
    reuse: bool = False


@dataclass(frozen=True)
class Admission:
    """Decides what may run here.

    Attributes:
        limits: How large a request may be.
        policy: Which arguments it may have.
        directories: Where it may work.
    """

    limits: RequestLimits
    policy: ArgumentPolicy
    directories: WorkingDirectories

    def parse(self, body: bytes) -> ExecuteRequest:
        """Read a request; one without an id gets a ULID.

        Raises:
            RequestError: It is not one, or larger than a limit.
        """
        request = parse_request(body, self.limits)
        return request if request.id else request.model_copy(update={"id": new_ulid()})

    def admit(self, request: ExecuteRequest, now: float) -> Job:
        """Make a job of a request.

        Args:
            request: What is asked for.
            now: Loop time, in seconds, at which it arrived.

        Raises:
            RequestError: Its arguments or its directory are refused.
        """
        arguments = self.policy.arguments(request.args)
        self.directories.check(request.cwd)
        return Job(
            request_id=request.id or new_ulid(),
            prompt=_literal(request.prompt),
            arguments=arguments,
            cwd=request.cwd,
            deadline=now + request.timeout_ms / 1000,
            idempotency_key=request.idempotency_key,
            fingerprint=fingerprint(request) if request.idempotency_key else "",
            priority=request.priority,
            arrived_at=now,
            reuse=request.reuse,
        )


def _literal(prompt: str) -> str:
    """Keep the CLI from reading a prompt as one of its own commands.

    A prompt that begins with a slash never reaches the model: `/config k=v` changes the operator's settings, and
    `/nonexist` is answered by "Unknown command" with status 0. With a newline before it, it is text (measured on
    CLI 2.1.197; `--disable-slash-commands` does not cover the built-in ones).
    """
    return f"\n{prompt}" if prompt.startswith("/") else prompt
