"""The NATS names both sides agree on: subjects, the queue group, the inbox prefix, header names."""

import re
from dataclasses import dataclass

QUEUE_GROUP = "claude-cli"
SERVICE_NAME = "claude-cli"
DEFAULT_SUBJECT_PREFIX = "claude.cli"
DEFAULT_INBOX_PREFIX = "_INBOX"

# ADR-32 (NATS micro services): a failed reply carries its number and one line in these headers.
HEADER_ERROR = "Nats-Service-Error"
HEADER_ERROR_CODE = "Nats-Service-Error-Code"
# W3C trace context; header names are case-sensitive in NATS, so lower case is part of the protocol.
HEADER_TRACEPARENT = "traceparent"
HEADER_TRACESTATE = "tracestate"

_TOKENS = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


def is_plain_subject(text: str) -> bool:
    """Say whether a text is a subject without wildcards, spaces or empty tokens."""
    return _TOKENS.fullmatch(text) is not None


@dataclass(frozen=True)
class Subjects:
    """The subjects of one fleet.

    Attributes:
        prefix: What all of them begin with, `claude.cli` unless several fleets share one NATS account.
    """

    prefix: str = DEFAULT_SUBJECT_PREFIX

    def __post_init__(self) -> None:
        if not is_plain_subject(self.prefix):
            raise ValueError("a subject prefix is letters, digits, - and _ in tokens joined by dots")

    @property
    def execute(self) -> str:
        """Requests for a run; responders listen here in the queue group."""
        return f"{self.prefix}.execute"

    @property
    def health(self) -> str:
        """Health requests that any one responder answers."""
        return f"{self.prefix}.health"

    @property
    def limited(self) -> str:
        """Asks until when the credential of each responder is limited that takes no work for it; each answers."""
        return f"{self.prefix}.limited"

    def health_of(self, responder: str) -> str:
        """Give the subject on which one responder, named by its id, answers health requests."""
        return f"{self.prefix}.health.{responder}"

    @property
    def backlog(self) -> str:
        """Where a responder with a free slot asks those with a backlog, who listen in the group."""
        return f"{self.prefix}.backlog"

    def backlog_of(self, instance: str) -> str:
        """Give the subject on which responders, and nobody else, ask one process of a responder for work."""
        return f"{self.prefix}.backlog.{instance}"

    @property
    def room(self) -> str:
        """Where a responder whose backlog is full asks those with room in theirs, who listen in the group."""
        return f"{self.prefix}.room"

    @property
    def idle(self) -> str:
        """Where a responder with a backlog tells those with a free slot, who listen in the group."""
        return f"{self.prefix}.idle"

    def instance_of(self, instance: str) -> str:
        """Give the subject of one process of a responder: NATS says 503 there when the process has gone."""
        return f"{self.prefix}.instance.{instance}"

    @property
    def jobs(self) -> str:
        """Durable work; kept by JetStream until a responder has done it."""
        return f"{self.prefix}.jobs"

    @property
    def jobs_stream(self) -> str:
        """The stream of durable work."""
        return f"{self.prefix.replace('.', '-')}-jobs"

    @property
    def runs_bucket(self) -> str:
        """The key-value bucket with the records of runs."""
        return f"{self.prefix.replace('.', '-')}-runs"


def has_inbox_prefix(reply_subject: str, inbox_prefix: str) -> bool:
    """Say whether a reply subject is an inbox and may be published to.

    A reply subject is chosen by the caller and published to with the responder's permissions, so a foreign one is an
    attack: measured, a reply subject of `$JS.API.STREAM.DELETE.ORDERS` deleted the stream.

    Args:
        reply_subject: The subject the answer is asked to go to.
        inbox_prefix: What it must begin with, without the dot that follows.
    """
    return reply_subject.startswith(f"{inbox_prefix}.") and is_plain_subject(reply_subject)


def message_size(headers: dict[str, str], body: bytes) -> int:
    """Give what counts against the server's `max_payload`: the header block and the payload, in bytes.

    nats-py compares the payload alone, and a message over the limit by its headers makes the server reset the
    connection for good, so both sides ask here before they publish.
    """
    block = sum(len(name.encode()) + len(value.encode()) + len(": \r\n") for name, value in headers.items())
    return len(body) + (len("NATS/1.0\r\n\r\n") + block if headers else 0)
