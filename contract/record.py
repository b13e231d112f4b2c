"""The record of a run that has an idempotency key: who runs it, until when, and what came of it."""

import hashlib
import json
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, ValidationError

from contract.request import ExecuteRequest


class RunState(StrEnum):
    """How far a run with a record has come."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Failover(StrEnum):
    """What becomes of durable work whose responder was lost."""

    UNSTARTED = "unstarted"
    ALWAYS = "always"


class RecordError(ValueError):
    """Bytes that are no record, or a kept reply that is not whole."""


class KeptReply(BaseModel):
    """Where the reply of an ended run is kept: in parts beside the record, because NATS bounds a message.

    Attributes:
        parts: How many.
        size: Of the whole, in bytes.
        digest: SHA-256 of the whole, in hex.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    parts: int
    size: int
    digest: str


class RunRecord(BaseModel):
    """What is known of the run for one idempotency key.

    Attributes:
        state: How far it has come.
        fingerprint: Of the request; the same key with another request is refused.
        run: ULID of the run; names the parts of its reply. None before it has started.
        instance: ULID of the responder's process that runs it, or has.
        started_at: When, in seconds since the epoch.
        deadline: When the run is ended at the latest, in seconds since the epoch.
        reply: The kept reply, once the run has ended.
        ticket: The idempotency key itself, where it is the ticket of durable work.
        failover: Of durable work: `unstarted` answers with a failure when the responder was lost after the start.
        submitted_at: Of durable work, in seconds since the epoch.
        output_format: Of durable work: how its result is to be read.
        lost: How many responders were lost while they ran it.
    """

    # A newer version may say more.
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    state: RunState
    fingerprint: str
    run: str | None = None
    instance: str | None = None
    started_at: float | None = None
    deadline: float | None = None
    reply: KeptReply | None = None
    ticket: str | None = None
    failover: Failover = Failover.UNSTARTED
    submitted_at: float | None = None
    output_format: str | None = None
    lost: int = 0

    @property
    def is_over(self) -> bool:
        """Whether the run has ended and its reply is kept."""
        return self.reply is not None

    def unstarted(self) -> "RunRecord":
        """Give the record of the same durable work before anybody has started it."""
        return self.model_copy(
            update={"state": RunState.QUEUED, "run": None, "instance": None, "started_at": None, "deadline": None}
        )

    def part_key(self, key: str, number: int) -> str:
        """Give the name of a part of the reply.

        It is the run's own: a run that was taken over and ends late must not overwrite the other's.

        Args:
            key: Of the record.
            number: The first is 0.
        """
        return f"{key}.{self.run}.{number}"

    def to_bytes(self) -> bytes:
        """Give the JSON that is stored; what is not known is not."""
        return self.model_dump_json(exclude_none=True).encode()


def parse_record(body: bytes) -> RunRecord:
    """Read a record.

    Raises:
        RecordError: The bytes are none.
    """
    try:
        return RunRecord.model_validate_json(body)
    except ValidationError:
        raise RecordError("what is stored under the idempotency key is no record of this protocol") from None


def record_key(idempotency_key: str) -> str:
    """Give the name under which a record is stored: a digest, so that no word of the caller's is part of a subject."""
    return hashlib.sha256(idempotency_key.encode()).hexdigest()


def fingerprint(request: ExecuteRequest) -> str:
    """Give what tells a request from another: a digest of prompt, arguments and directory, in hex."""
    text = json.dumps([request.prompt, request.args, request.cwd])
    return hashlib.sha256(text.encode()).hexdigest()


def kept_reply(reply: bytes, part_max_bytes: int) -> tuple[KeptReply, list[bytes]]:
    """Give the description of a reply and its parts.

    Args:
        reply: The whole.
        part_max_bytes: The largest part.
    """
    parts = [reply[start : start + part_max_bytes] for start in range(0, len(reply), part_max_bytes)]
    return KeptReply(parts=len(parts), size=len(reply), digest=hashlib.sha256(reply).hexdigest()), parts


def whole_reply(kept: KeptReply, parts: list[bytes]) -> bytes:
    """Put a kept reply together.

    Raises:
        RecordError: The parts are not those that were kept.
    """
    reply = b"".join(parts)
    if len(reply) != kept.size or hashlib.sha256(reply).hexdigest() != kept.digest:
        raise RecordError("a kept reply is not whole")
    return reply
