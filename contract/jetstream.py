"""JetStream's own wire, as far as it is used: streams, a key-value bucket in one, and what its answers mean. Pure.

Source: ADR-1 (JSON API), ADR-8 (key-value); measured on nats-server 2.15.1. The client library's JetStream is not used:
each of these is one request and one reply over the connection there is, with its time limits and its errors, whereas
the library has a second tree of errors, consumers of its own behind `watch` and `keys`, and buffers.
"""

import base64
import json
from dataclasses import dataclass, field
from typing import Any

_API = "$JS.API"
# A write with the sequence number that the key's last one must have, 0 for none: compare and set.
HEADER_EXPECTED_LAST = "Nats-Expected-Last-Subject-Sequence"
# A message with the id of an earlier one is not stored a second time.
HEADER_MESSAGE_ID = "Nats-Msg-Id"
# A marker in the place of what was deleted.
_DELETED = {"KV-Operation": "DEL"}
_NOT_FOUND = 404
_UNAVAILABLE = 503
_WRONG_LAST = 10071
_NAME_TAKEN = 10058
_NO_MESSAGE = 10037
_NANOSECONDS = 1_000_000_000
_DUPLICATES_S = 120.0


class JetStreamError(Exception):
    """JetStream refused.

    Attributes:
        status: In the sense HTTP gives it.
        number: Its own, finer one.
    """

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"JetStream: {error.get('description', 'an error without a description')}")
        self.status = error.get("code")
        self.number = error.get("err_code")

    @property
    def is_not_found(self) -> bool:
        """Whether there is no such stream or message."""
        return self.status == _NOT_FOUND

    @property
    def is_no_message(self) -> bool:
        """Whether the key has never been written."""
        return self.number == _NO_MESSAGE

    @property
    def is_name_taken(self) -> bool:
        """Whether there is such a stream already, with another configuration."""
        return self.number == _NAME_TAKEN

    @property
    def is_passing(self) -> bool:
        """Whether it may well answer soon: a cluster elects a leader."""
        return self.status == _UNAVAILABLE

    @property
    def is_conflict(self) -> bool:
        """Whether somebody else wrote first."""
        return self.number == _WRONG_LAST


@dataclass(frozen=True)
class Call:
    """A request to be sent, whose reply is JSON.

    Attributes:
        subject: Where to.
        body: The payload.
        headers: Its headers.
    """

    subject: str
    body: bytes = field(default=b"", repr=False)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stored:
    """What a key holds.

    Attributes:
        revision: Number of the last write, 0 where there was none.
        value: None where there is none, or it was deleted.
    """

    revision: int = 0
    value: bytes | None = field(default=None, repr=False)


def answer(body: bytes) -> dict[str, Any]:
    """Read a reply of JetStream's.

    Raises:
        JetStreamError: It refuses, or the reply is none of its.
    """
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise JetStreamError({"description": "the reply is none of JetStream's"})
    if "error" in said:
        raise JetStreamError(said["error"])
    return said


def describe_stream(stream: str) -> Call:
    """Ask whether there is a stream."""
    return Call(f"{_API}.STREAM.INFO.{stream}")


def make_stream(stream: str, config: dict[str, Any]) -> Call:
    """Make a stream; one that is there with the same configuration is no error."""
    return Call(f"{_API}.STREAM.CREATE.{stream}", json.dumps({"name": stream, **config}).encode())


@dataclass(frozen=True)
class Bucket:
    """A key-value bucket.

    Attributes:
        name: As `nats kv` shows it.
    """

    name: str

    @property
    def stream(self) -> str:
        """The stream that holds it."""
        return f"KV_{self.name}"

    def subject(self, key: str) -> str:
        """Give the subject of a key."""
        return f"$KV.{self.name}.{key}"

    def make(self, max_age_s: float, replicas: int) -> Call:
        """Make the bucket, as every client of ADR-8 does.

        Args:
            max_age_s: Seconds until what was written is deleted.
            replicas: How many servers of a cluster keep it.
        """
        config = {
            "subjects": [self.subject(">")],
            "max_msgs_per_subject": 1,
            "max_age": round(max_age_s * _NANOSECONDS),
            "storage": "file",
            "num_replicas": replicas,
            "discard": "new",
            "allow_rollup_hdrs": True,
            "deny_delete": True,
            "allow_direct": True,
        }
        return make_stream(self.stream, config)

    def list_keys(self, offset: int) -> Call:
        """Ask for the keys of one token, from the one with this number on: `state.subjects` of the answer."""
        body = json.dumps({"subjects_filter": self.subject("*"), "offset": offset}).encode()
        return Call(describe_stream(self.stream).subject, body)

    def keys(self, said: dict[str, Any]) -> list[str]:
        """Read the answer to `list_keys`; none when there are no more."""
        start = len(self.subject(""))
        return [subject[start:] for subject in said["state"].get("subjects") or {}]

    def get(self, key: str) -> Call:
        """Read a key, from the stream's leader: what was acknowledged is seen."""
        return Call(f"{_API}.STREAM.MSG.GET.{self.stream}", json.dumps({"last_by_subj": self.subject(key)}).encode())

    def put(self, key: str, value: bytes | None, last: int | None = None) -> Call:
        """Write a key.

        Args:
            key: Which.
            value: None deletes it.
            last: The revision it must have, 0 for one never written; None for any.
        """
        headers = {} if last is None else {HEADER_EXPECTED_LAST: str(last)}
        return Call(self.subject(key), value or b"", headers | (_DELETED if value is None else {}))


@dataclass(frozen=True)
class WorkQueue:
    """A stream whose messages are taken by one consumer at a time, and deleted when they are acknowledged.

    Attributes:
        stream: Its name.
        subject: What is published there is in it.
        consumer: The one consumer that all takers share.
    """

    stream: str
    subject: str
    consumer: str

    def make(self, max_age_s: float, replicas: int) -> Call:
        """Make the stream.

        Args:
            max_age_s: Seconds until a message that nobody took is deleted.
            replicas: How many servers of a cluster keep it.
        """
        config = {
            "subjects": [self.subject],
            "retention": "workqueue",
            "max_age": round(max_age_s * _NANOSECONDS),
            "storage": "file",
            "num_replicas": replicas,
            "duplicate_window": round(min(max_age_s, _DUPLICATES_S) * _NANOSECONDS),
        }
        return make_stream(self.stream, config)

    def make_consumer(self, ack_wait_s: float) -> Call:
        """Make the consumer, or change it.

        Args:
            ack_wait_s: Seconds after which a message is given to another taker, unless its taker says that it works.
        """
        config = {
            "durable_name": self.consumer,
            "name": self.consumer,
            "ack_policy": "explicit",
            "ack_wait": round(ack_wait_s * _NANOSECONDS),
            # The records count what was lost; what was given back does not count.
            "max_deliver": -1,
        }
        body = json.dumps({"stream_name": self.stream, "config": config}).encode()
        return Call(f"{_API}.CONSUMER.CREATE.{self.stream}.{self.consumer}", body)

    def add(self, body: bytes, message_id: str, headers: dict[str, str]) -> Call:
        """Put a message into it; one with an id that it has had lately is no second one."""
        return Call(self.subject, body, headers | {HEADER_MESSAGE_ID: message_id})

    def take(self, expires_s: float) -> Call:
        """Ask for one message, which comes to the reply subject; its own reply subject is `acknowledgements`."""
        expires = round(expires_s * _NANOSECONDS)
        body = json.dumps({"batch": 1, "expires": expires}).encode()
        return Call(f"{_API}.CONSUMER.MSG.NEXT.{self.stream}.{self.consumer}", body)

    @property
    def acknowledgements(self) -> str:
        """What the subjects begin with on which messages are acknowledged."""
        return f"$JS.ACK.{self.stream}.{self.consumer}."


DONE = b"+ACK"
IN_PROGRESS = b"+WPI"
NEVER_AGAIN = b"+TERM"


def give_back(delay_s: float) -> bytes:
    """Give the acknowledgement with which a message is for another taker, after some seconds."""
    return b"-NAK " + json.dumps({"delay": round(delay_s * _NANOSECONDS)}).encode()


def stored(said: dict[str, Any]) -> Stored:
    """Read the answer to `Bucket.get`."""
    message = said["message"]
    is_deleted = b"KV-Operation" in base64.b64decode(message.get("hdrs", ""))
    return Stored(message["seq"], None if is_deleted else base64.b64decode(message.get("data", "")))
