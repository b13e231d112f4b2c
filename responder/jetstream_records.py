"""Records in a key-value bucket of JetStream, which all responders share and which outlives them."""

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from contract import (
    Bucket,
    Call,
    JetStreamError,
    RecordError,
    RunRecord,
    Stored,
    Subjects,
    answer,
    describe_stream,
    kept_reply,
    parse_record,
    stored,
    whole_reply,
)
from responder.link import LinkError, NobodyThereError, NotPermittedError
from responder.records import Entry, RecordsError, RevisionError

_log = logging.getLogger(__name__)
_ANSWER_S = 2.0
_PAUSE_S = 0.2
# How long a server that restarts, or a cluster that elects, is waited for.
_PATIENCE_S = 10.0
_IS_ALIVE_S = 0.3
_GONE_AFTER_S = 0.5
_PART_MAX_BYTES = 512 * 1024


class Asker(Protocol):
    """The connection: `link.Link`, or a test's own."""

    @property
    def max_payload(self) -> int:
        """The largest message the server takes, in bytes."""

    @property
    def is_settled(self) -> bool:
        """Whether it is so old that others whose server went at the same time are connected again, too."""

    def ask(self, subject: str, body: bytes, headers: Mapping[str, str], within_s: float) -> Awaitable[bytes]:
        """Send a request, and give the body of its reply."""


class NoJetStreamError(RecordsError):
    """The server has no JetStream, or does not let this responder use it."""


@dataclass(frozen=True)
class JetStream:
    """JetStream, asked with patience.

    Attributes:
        asker: The connection.
        patience_s: Seconds until a question that is not answered is given up.
    """

    asker: Asker
    patience_s: float = _PATIENCE_S

    async def call(self, call: Call) -> dict[str, Any]:
        """Send a call until it is answered; what it writes may be written although this fails.

        Raises:
            JetStreamError: The answer is a refusal.
            RecordsError: There was no answer.
        """
        now = asyncio.get_running_loop().time
        gives_up_at = now() + self.patience_s
        while True:
            try:
                return answer(await self.asker.ask(call.subject, call.body, call.headers, _ANSWER_S))
            except NotPermittedError as error:
                raise RecordsError(str(error)) from error
            except (LinkError, JetStreamError) as error:
                if isinstance(error, JetStreamError) and not error.is_passing:
                    raise
                if now() + _PAUSE_S >= gives_up_at:
                    raise RecordsError(f"JetStream does not answer: {error}") from error
            await asyncio.sleep(_PAUSE_S)

    async def provide(self, stream: str, make: Call) -> None:
        """See to it that there is a stream; one that an operator has made with other limits stays as it is.

        Raises:
            NoJetStreamError: There is none, and none can be made.
        """
        try:
            await self._provide(stream, make)
        except (JetStreamError, RecordsError) as error:
            raise NoJetStreamError(str(error)) from error

    async def provide_consumer(self, make: Call) -> None:
        """See to it that a stream has its consumer.

        Raises:
            NoJetStreamError: It cannot be made.
        """
        try:
            await self.call(make)
        except (JetStreamError, RecordsError) as error:
            raise NoJetStreamError(str(error)) from error

    async def _provide(self, stream: str, make: Call) -> None:
        if await self._is_nobody_there(stream):
            raise NoJetStreamError("this server has no JetStream")
        try:
            await self.call(describe_stream(stream))
        except JetStreamError as error:
            if not error.is_not_found:
                raise
            try:
                await self.call(make)
            except JetStreamError as made_by_another:
                if not made_by_another.is_name_taken:
                    raise
            _log.info("JetStream: made the stream %s", stream)

    async def _is_nobody_there(self, stream: str) -> bool:
        try:
            await self.asker.ask(describe_stream(stream).subject, b"", {}, _ANSWER_S)
        except NobodyThereError:
            return True
        except NotPermittedError as error:
            raise NoJetStreamError(str(error)) from error
        except LinkError:
            return False  # `call` has more patience
        return False


@dataclass(frozen=True)
class JetStreamRecords:
    """Keeps records in a bucket.

    Attributes:
        jetstream: Asks the server.
        subjects: Name the bucket and the instances.
    """

    jetstream: JetStream
    subjects: Subjects

    @property
    def bucket(self) -> Bucket:
        """Where."""
        return Bucket(self.subjects.runs_bucket)

    async def read(self, key: str) -> Entry:
        """Read a record."""
        found = await self._get(key)
        try:
            return Entry(found.revision, None if found.value is None else parse_record(found.value))
        except RecordError as error:
            raise RecordsError(str(error)) from error

    async def write(self, key: str, record: RunRecord | None, revision: int) -> int:
        """Write a record, or a mark that there is none."""
        value = None if record is None else record.to_bytes()
        try:
            return await self._put(key, value, revision)
        except RevisionError:
            # The answer to a first try of ours may have been lost. Records differ by the ULID of their run.
            found = await self._get(key)
            if found.value == value and found.revision != revision:
                return found.revision
            raise

    async def keep(self, key: str, record: RunRecord, reply: bytes, revision: int) -> int:
        """Write the parts of a reply, then the record that says so."""
        kept, parts = kept_reply(reply, min(_PART_MAX_BYTES, self.jetstream.asker.max_payload // 2))
        for number, part in enumerate(parts):
            await self._put(record.part_key(key, number), part)
        return await self.write(key, record.model_copy(update={"reply": kept}), revision)

    async def reply(self, key: str, record: RunRecord) -> bytes | None:
        """Read the parts of a reply."""
        if record.reply is None:
            return None
        parts = [(await self._get(record.part_key(key, number))).value for number in range(record.reply.parts)]
        try:
            return whole_reply(record.reply, [part for part in parts if part is not None])
        except RecordError:
            return None

    async def is_gone(self, instance: str) -> bool:
        """Ask the instance twice, half a second apart: NATS says 503 where nobody listens.

        Silence is no evidence: a frozen process does not answer, and goes on later. Nor is a 503 proof: a process may
        live without its connection (`docs/protocol.md`, idempotency keys).
        """
        for pause_s in (_GONE_AFTER_S, 0):
            if not self.jetstream.asker.is_settled:
                return False
            try:
                await self.jetstream.asker.ask(self.subjects.instance_of(instance), b"", {}, _IS_ALIVE_S)
            except NobodyThereError:
                await asyncio.sleep(pause_s)
            except LinkError:
                return False
            else:
                return False
        return True

    async def _get(self, key: str) -> Stored:
        try:
            return stored(await self.jetstream.call(self.bucket.get(key)))
        except JetStreamError as error:
            if error.is_no_message:
                return Stored()
            raise RecordsError(str(error)) from error

    async def _put(self, key: str, value: bytes | None, last: int | None = None) -> int:
        try:
            said = await self.jetstream.call(self.bucket.put(key, value, last))
        except JetStreamError as error:
            raise (RevisionError if error.is_conflict else RecordsError)(str(error)) from error
        return int(said["seq"])
