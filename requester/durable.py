"""Durable work: submitted to JetStream's queue, its result read from the record of its run, by any process, later."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from contract import (
    Bucket,
    Call,
    ExecuteFailure,
    ExecuteRequest,
    Failover,
    JetStreamError,
    RecordError,
    RunRecord,
    RunState,
    Stored,
    Subjects,
    WorkQueue,
    answer,
    fingerprint,
    parse_record,
    parse_reply,
    record_key,
    stored,
    whole_reply,
)
from requester.errors import (
    ExecuteTimeoutError,
    InvalidRequestError,
    NoRespondersError,
    NotConnectedError,
    ProtocolError,
    RecordsUnavailableError,
    TicketUnknownError,
    error_of,
)
from requester.inbox import RawReply
from requester.reply import Reply, output_format, read_reply

# How long a server that restarts, or a cluster that elects, is waited for.
SUBMIT_TIMEOUT_S = 10.0
_ANSWER_S = 2.0
_PAUSE_FIRST_S = 0.05
_PAUSE_MAX_S = 1.0
_PAUSE_SHARE = 0.1
_AT_A_TIME = 50
_NO_QUEUE = "NATS keeps no durable work: JetStream is off, or no responder has made the queue yet"


@dataclass(frozen=True)
class Ticket:
    """Durable work, as it is listed.

    Attributes:
        ticket: Names it.
        state: `queued`, `running`, `done`, or `failed`.
        submitted_at: When.
        age_s: Seconds since then.
    """

    ticket: str
    state: str
    submitted_at: datetime
    age_s: float


class Way(Protocol):
    """What JetStream is asked over: `hop.Hop`, or a test's own."""

    async def wait_connected(self, within_s: float) -> None:
        """Wait until a request can be sent, for some seconds."""

    async def request(self, subject: str, body: bytes, headers: dict[str, str], within_s: float) -> RawReply:
        """Send one request and wait some seconds for its one reply."""

    def check_size(self, body: bytes, headers: dict[str, str]) -> None:
        """Raise RequestTooLargeError for a request that the server would not take."""


@dataclass(frozen=True)
class Durable:
    """Submits durable work and reads what came of it.

    Attributes:
        way: What requests are sent over.
        subjects: Name the queue and the bucket.
    """

    way: Way
    subjects: Subjects

    @property
    def bucket(self) -> Bucket:
        """Where the records are."""
        return Bucket(self.subjects.runs_bucket)

    async def submit(self, request: ExecuteRequest, failover: Failover, headers: dict[str, str]) -> None:
        """Put work into the queue, whose id is its ticket; once more is harmless.

        Raises:
            RequesterError: It may not be there.
        """
        deadline = _now() + SUBMIT_TIMEOUT_S
        job = WorkQueue(self.subjects.jobs_stream, self.subjects.jobs, "").add(
            request.to_bytes(), request.id or "", headers
        )
        if await self._is_undone(request, job, failover, deadline):
            try:
                await self._call(job, deadline)
            except (NotConnectedError, RecordsUnavailableError, NoRespondersError) as error:
                # An answer may have been lost: then it is there, and will be done.
                error.executed = None
                raise

    async def result(self, ticket: str, deadline: float) -> Reply:
        """Wait for the result of durable work.

        Args:
            ticket: Names it.
            deadline: Loop time, in seconds.

        Raises:
            TicketUnknownError: There is none, or not any more.
            ExecuteTimeoutError: There is none yet.
            RequesterError: Why there will be none.
        """
        key = record_key(ticket)
        began_at = _now()
        while True:
            _, record = await self._read(key, deadline)
            if record is None:
                raise TicketUnknownError(f"there is no ticket {ticket!r}, or its result is no longer kept")
            if record.is_over:
                return await self._reply(key, record, deadline, began_at)
            pause_s = min(max((_now() - began_at) * _PAUSE_SHARE, _PAUSE_FIRST_S), _PAUSE_MAX_S)
            if _now() + pause_s >= deadline:
                # What waits is going to be started, whoever waits for it.
                has_started = True if record.state is RunState.RUNNING else None
                raise ExecuteTimeoutError(f"no result yet: {record.state}", executed=has_started, request_id=ticket)
            await asyncio.sleep(pause_s)

    async def tickets(self) -> list[Ticket]:
        """List the durable work whose result is awaited or kept, the oldest first.

        Raises:
            RequesterError: It cannot be listed.
        """
        deadline = _now() + SUBMIT_TIMEOUT_S
        turn = asyncio.Semaphore(_AT_A_TIME)

        async def read(key: str) -> RunRecord | None:
            async with turn:
                return (await self._read(key, deadline))[1]

        records = await asyncio.gather(*[read(key) async for key in self._keys(deadline)])
        listed = [_ticket(record) for record in records if record is not None and record.ticket is not None]
        return sorted(listed, key=lambda ticket: ticket.submitted_at)

    async def _is_undone(self, request: ExecuteRequest, job: Call, failover: Failover, deadline: float) -> bool:
        """Write the record of new work; say whether it has no result yet.

        Also what runs has to be in the queue: a direct request with the ticket as its key may be what runs it, and
        leaves nothing behind when it is cancelled.
        """
        ticket = request.id or ""
        key, mark = record_key(ticket), fingerprint(request)
        queued = RunRecord(
            state=RunState.QUEUED,
            fingerprint=mark,
            ticket=ticket,
            failover=failover,
            submitted_at=time.time(),
            output_format=output_format(request.args),
        )
        while True:
            revision, record = await self._read(key, deadline)
            if record is not None:
                if record.fingerprint != mark:
                    raise InvalidRequestError("request refused: the ticket was used for another request")
                return not record.is_over
            # Before the record is written: it would say for ever that the work waits.
            self.way.check_size(job.body, job.headers)
            try:
                await self._call(self.bucket.put(key, queued.to_bytes(), revision), deadline)
            except _ConflictError:
                continue
            return True

    async def _reply(self, key: str, record: RunRecord, deadline: float, began_at: float) -> Reply:
        parts = []
        for number in range(record.reply.parts if record.reply else 0):
            part = await self._get(record.part_key(key, number), deadline)
            parts.append(part.value or b"")
        try:
            if record.reply is None:
                raise RecordError
            reply = parse_reply(whole_reply(record.reply, parts))
        except ValueError:
            raise TicketUnknownError("the result is no longer kept as a whole") from None
        if isinstance(reply, ExecuteFailure):
            raise error_of(reply)
        args = ("--output-format", record.output_format) if record.output_format else None
        return read_reply(reply, args, attempts=1, duration_s=_now() - began_at)

    async def _keys(self, deadline: float) -> AsyncIterator[str]:
        offset = 0
        while keys := self.bucket.keys(await self._call(self.bucket.list_keys(offset), deadline)):
            for key in keys:
                yield key
            offset += len(keys)

    async def _read(self, key: str, deadline: float) -> tuple[int, RunRecord | None]:
        found = await self._get(key, deadline)
        try:
            return found.revision, None if found.value is None else parse_record(found.value)
        except RecordError as error:
            raise ProtocolError(str(error)) from None

    async def _get(self, key: str, deadline: float) -> Stored:
        said = await self._call(self.bucket.get(key), deadline)
        return stored(said) if said else Stored()

    async def _call(self, call: Call, deadline: float) -> dict[str, Any]:
        """Ask JetStream until it answers; an answer that there is no message is empty."""
        while True:
            try:
                return await self._ask(call, deadline)
            except (NotConnectedError, RecordsUnavailableError) as error:
                if not error.retryable or _now() + _PAUSE_FIRST_S >= deadline:
                    raise
            await asyncio.sleep(_PAUSE_FIRST_S)

    async def _ask(self, call: Call, deadline: float) -> dict[str, Any]:
        await self.way.wait_connected(deadline - _now())
        try:
            raw = await self.way.request(
                call.subject, call.body, call.headers, max(min(_ANSWER_S, deadline - _now()), 0.001)
            )
            return answer(raw.data)
        except NoRespondersError:
            raise NoRespondersError(_NO_QUEUE) from None
        except ExecuteTimeoutError:
            raise NotConnectedError("JetStream does not answer", executed=False) from None
        except JetStreamError as error:
            if error.is_no_message:
                return {}
            if error.is_conflict:
                raise _ConflictError from None
            if error.is_not_found:
                raise NoRespondersError(_NO_QUEUE) from None
            raise RecordsUnavailableError(str(error), retryable=error.is_passing) from None


class _ConflictError(Exception):
    """Somebody else wrote the record first."""


def _ticket(record: RunRecord) -> Ticket:
    submitted_at = record.submitted_at or 0.0
    when = datetime.fromtimestamp(submitted_at, UTC)
    return Ticket(record.ticket or "", record.state, when, max(0.0, time.time() - submitted_at))


def _now() -> float:
    return asyncio.get_running_loop().time()
