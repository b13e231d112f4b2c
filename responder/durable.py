"""Durable work: taken from JetStream's queue with slots that direct requests leave free.

A message is taken, claimed by its record, run, and acknowledged when its result is stored; `docs/protocol.md` has the
table. Whatever is lost on the way, the message comes back, and the record says how far it had come.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from contract import (
    DEFAULT_TIMEOUT_MS,
    DONE,
    HEADER_MESSAGE_ID,
    IN_PROGRESS,
    NEVER_AGAIN,
    ErrorCode,
    ExecuteReply,
    ExecuteRequest,
    ExecuteSuccess,
    Failover,
    RequestError,
    RunRecord,
    RunState,
    WorkQueue,
    fingerprint,
    give_back,
    record_key,
)
from responder.callers import Incoming, Slot
from responder.claims import Claim, Claims
from responder.records import RecordsError, RevisionError
from responder.service import Service
from responder.tracing import set_reply

_log = logging.getLogger(__name__)
ACK_WAIT_S = 6.0
_TAKE_S = 5.0
_TAKE_GRACE_S = 1.0
_PAUSE_S = 1.0
# Elsewhere, and not at once: here it does not work now, or somebody else is at it.
_LATER_S = 5.0
_CLAIMED_S = 0.1
_AFTER_DEFECT_S = 60.0
_LOST_MAX = 3
_STATUS = "Status"
_NOTHING_CAME = {"404", "408"}
# What speaks of this responder and not of the request.
_NOT_HERE = {ErrorCode.CLI_NOT_FOUND, ErrorCode.CLI_START_FAILED}


class Postbox(Protocol):
    """The connection as it is used here: `link.Link`, or a test's own."""

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection."""

    def publish(self, subject: str, body: bytes, headers: Mapping[str, str], reply: str = "") -> Awaitable[None]:
        """Send a message."""


@dataclass
class Durable:
    """Takes durable work, one message at a time, and does each in a task of its own.

    Attributes:
        queue: Where it waits.
        postbox: The connection.
        inbox: The subject to which messages come; each that does is handed to `arrive`.
        service: Admits and runs.
        claims: The right to run.
        in_progress_every_s: Seconds between two words to JetStream that a message is being worked on.
        pause_s: Seconds until what could not be done is tried again.
    """

    queue: WorkQueue
    postbox: Postbox
    inbox: str
    service: Service
    claims: Claims
    in_progress_every_s: float = ACK_WAIT_S / 3
    pause_s: float = _PAUSE_S
    _arrived: asyncio.Queue[Incoming] = field(default_factory=asyncio.Queue, repr=False)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set, repr=False)
    _is_stopping: bool = False
    _taking: asyncio.Task[None] | None = None

    async def arrive(self, incoming: Incoming) -> None:
        """Take what came to the inbox: a message of the queue, or word that none came."""
        if self._is_stopping:
            await self._answer(incoming, give_back(0))
        else:
            self._arrived.put_nowait(incoming)

    def start(self) -> None:
        """Begin to take work."""
        self._taking = asyncio.create_task(self._take_all())

    async def _take_all(self) -> None:
        # nats-py may swallow the cancellation by which this ends.
        while not self._is_stopping:
            await self.service.slots.wait_until_free()
            if not self._is_fit:
                await asyncio.sleep(self.pause_s)
                continue
            incoming = await self._take()
            if incoming is None:
                continue
            slot = await self._take_slot(incoming)
            if slot is None:
                await self._answer(incoming, give_back(0))  # not to us again: nothing is asked for before one is free
                continue
            task = asyncio.create_task(self._handle(incoming, slot))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    @property
    def _is_fit(self) -> bool:
        # Who is not would fail one message after the other, and a failure is kept as the result.
        return self.service.fitness.reason is None

    async def _take_slot(self, incoming: Incoming) -> Slot | None:
        try:
            return await self.service.slots.take_free() if self._is_fit else None
        except asyncio.CancelledError:
            self._arrived.put_nowait(incoming)  # to be given back
            raise

    async def stop(self) -> None:
        """Take no more, and give back what has come and not begun."""
        self._is_stopping = True
        if self._taking is not None:
            self._taking.cancel()
            await asyncio.wait({self._taking})
        while not self._arrived.empty():
            await self._answer(self._arrived.get_nowait(), give_back(0))

    async def wait_until_done(self) -> None:
        """Wait until what was begun has ended and its results are stored."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _take(self) -> Incoming | None:
        if not self.postbox.is_connected:
            await asyncio.sleep(self.pause_s)
            return None
        call = self.queue.take(_TAKE_S)
        await self.postbox.publish(call.subject, call.body, {}, self.inbox)
        try:
            async with asyncio.timeout(_TAKE_S + _TAKE_GRACE_S):
                incoming = await self._arrived.get()
        except TimeoutError:
            return None
        if incoming.reply_subject.startswith(self.queue.acknowledgements):
            return incoming
        if incoming.headers.get(_STATUS) not in _NOTHING_CAME:
            await asyncio.sleep(self.pause_s)
        return None

    async def _answer(self, incoming: Incoming, acknowledgement: bytes) -> None:
        # A word that none came has no reply subject; one outside the queue's own would be an attack.
        if incoming.reply_subject.startswith(self.queue.acknowledgements):
            await self.postbox.publish(incoming.reply_subject, acknowledgement, {})

    async def _handle(self, incoming: Incoming, slot: Slot) -> None:
        with contextlib.ExitStack() as held:
            held.enter_context(slot)
            async with self._kept_alive(incoming):
                try:
                    acknowledgement = await self._work(incoming, held)
                except RecordsError as error:
                    _log.error("durable work is given back: %s", error)
                    acknowledgement = give_back(_LATER_S)
                except Exception as error:  # noqa: BLE001 # the request boundary: a defect costs this one message
                    _log.error("defect: %s while durable work was handled", type(error).__name__)
                    acknowledgement = give_back(_AFTER_DEFECT_S)
            await self._answer(incoming, acknowledgement)

    @contextlib.asynccontextmanager
    async def _kept_alive(self, incoming: Incoming) -> AsyncIterator[None]:
        """Keep JetStream from giving a message to somebody else."""

        async def tell() -> None:
            while True:
                await asyncio.sleep(self.in_progress_every_s)
                await self._answer(incoming, IN_PROGRESS)

        telling = asyncio.create_task(tell())
        try:
            yield
        finally:
            telling.cancel()

    async def _work(self, incoming: Incoming, held: contextlib.ExitStack) -> bytes:
        """Do a message's work as far as its record does not say that it is done; give its acknowledgement.

        Raises:
            RecordsError: The record cannot be read or written now.
        """
        ticket = incoming.headers.get(HEADER_MESSAGE_ID)
        if ticket is None:
            _log.warning("durable work dropped: it has no ticket")
            return NEVER_AGAIN
        key = record_key(ticket)
        entry = await self.claims.records.read(key)
        request = self._request(incoming, ticket)
        mark = fingerprint(request) if isinstance(request, ExecuteRequest) else ""
        if entry.record is not None and mark and entry.record.fingerprint != mark:
            _log.warning("durable work dropped: its ticket is another's")
            return NEVER_AGAIN
        if entry.record is not None and entry.record.is_over:
            return DONE
        if not await self.claims.is_free(entry.record):
            return give_back(_LATER_S)
        timeout_ms = request.timeout_ms if isinstance(request, ExecuteRequest) else DEFAULT_TIMEOUT_MS
        claim = await self.claims.take(key, mark, timeout_ms / 1000, entry)
        if claim is None:
            return give_back(_CLAIMED_S)
        if is_given_up(entry.record):
            reply: ExecuteReply = self.service.answers.lost(ticket)
        else:
            reply = await self._run(incoming, request, ticket)
        held.close()  # what follows needs no slot
        return await self._settle(claim, reply)

    def _request(self, incoming: Incoming, ticket: str) -> ExecuteRequest | RequestError:
        try:
            return self.service.admission.parse(incoming.body).model_copy(update={"id": ticket})
        except RequestError as error:
            return error

    async def _run(self, incoming: Incoming, request: ExecuteRequest | RequestError, ticket: str) -> ExecuteReply:
        with self.service.tracing.process(incoming.subject, incoming.headers, len(incoming.body)) as span:
            if isinstance(request, RequestError):
                reply: ExecuteReply = self.service.answers.refusal(ticket, request.code, str(request))
            else:
                reply = await self.service.run_claimed(request)
            set_reply(span, reply)
        return reply

    async def _settle(self, claim: Claim, reply: ExecuteReply) -> bytes:
        if is_for_another(reply, claim.record.failover):
            await self.claims.release(claim)
            return give_back(_LATER_S)
        while True:
            try:
                await self.claims.keep(claim, reply)
            except RevisionError:
                _log.warning("durable work was taken over before its result was stored")
                return give_back(_LATER_S)
            except RecordsError as error:
                _log.error("the result of durable work cannot be stored yet: %s", error)
                await asyncio.sleep(self.pause_s)
            else:
                return DONE


def is_given_up(record: RunRecord | None) -> bool:
    """Say whether work that is free to be claimed is answered with the loss of its responder instead of being run."""
    if record is None or record.state is not RunState.RUNNING:
        return False
    return record.failover is not Failover.ALWAYS or record.lost + 1 >= _LOST_MAX


def is_for_another(reply: ExecuteReply, failover: Failover) -> bool:
    """Say whether work goes back into the queue: nothing ran here, or a stop ended what may be run again."""
    if isinstance(reply, ExecuteSuccess):
        return False
    if reply.code == ErrorCode.RESPONDER_STOPPED:
        return failover is Failover.ALWAYS
    return reply.code in _NOT_HERE
