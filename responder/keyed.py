"""Runs with an idempotency key: a repeat joins the run that there is, or gets the result that was kept."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from contract import ErrorCode, ExecuteReply, RequestError, RunRecord, RunState, parse_reply, record_key
from responder.admission import Job
from responder.claims import Claim, Claims
from responder.records import Entry, RecordsError, RevisionError
from responder.uncancelled import finish_even_if_cancelled

_log = logging.getLogger(__name__)
_PAUSE_FIRST_S = 0.02
_PAUSE_MAX_S = 0.5
_PAUSE_SHARE = 0.1
_IS_LOST_EVERY_S = 1.0

Run = Callable[[], Awaitable[ExecuteReply]]


class JoinedTooLongError(Exception):
    """The deadline passed while another request with the same idempotency key was under way.

    Attributes:
        is_running: Whether the CLI was started for that one.
    """

    def __init__(self, *, is_running: bool) -> None:
        super().__init__("the deadline passed while another request with the same idempotency key was under way")
        self.is_running = is_running


@dataclass
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    is_running: bool = False


@dataclass
class Keyed:
    """Runs jobs at most once for each idempotency key, as far as the records reach; those without a key as they come.

    A job is run in three steps, of which the first two need no slot:
    `async with keyed.turn(job)`: requests of this responder with the same key come one after the other;
    `await keyed.find(job)`: what another one has got, or None;
    `await keyed.run(job, run)`: under a claim, or None when another responder was first: then find again.

    Attributes:
        claims: The right to run.
    """

    claims: Claims
    _turns: dict[str, _Turn] = field(default_factory=dict, repr=False)

    @contextlib.asynccontextmanager
    async def turn(self, job: Job) -> AsyncIterator[None]:
        """Wait until no other request of this responder with the same key is under way.

        Raises:
            JoinedTooLongError: The deadline passed first.
        """
        if job.idempotency_key is None:
            yield
            return
        turn = self._turns.setdefault(job.idempotency_key, _Turn())
        turn.users += 1
        try:
            try:
                async with asyncio.timeout_at(job.deadline):
                    await turn.lock.acquire()
            except TimeoutError:
                raise JoinedTooLongError(is_running=turn.is_running) from None
            try:
                yield
            finally:
                turn.lock.release()
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[job.idempotency_key]

    async def find(self, job: Job) -> ExecuteReply | None:
        """Give the result that another request with the same key has got, or is about to get elsewhere.

        Returns:
            None where there is nothing to wait for, and the job has to be run.

        Raises:
            RequestError: The key was used for another request.
            JoinedTooLongError: The deadline passed while it ran elsewhere.
            RecordsError: Nobody knows.
        """
        if job.idempotency_key is None:
            return None
        key = record_key(job.idempotency_key)
        entry = await self._joined(job, key)
        if entry.record is None or not entry.record.is_over:
            return None
        body = await self.claims.records.reply(key, entry.record)
        if body is not None:
            return parse_reply(body).model_copy(update={"id": job.request_id, "kept": True})
        with contextlib.suppress(RevisionError):
            await self.claims.records.write(key, None, entry.revision)
        return None

    async def run(self, job: Job, run: Run) -> ExecuteReply | None:
        """Run a job under its key, in its turn.

        To be called directly before the CLI is started. Kept are results, and failures after which the same request
        would fail again; after any other end, a cancellation among them, a repeat runs again.

        Args:
            job: What to run.
            run: Runs it.

        Returns:
            None when another responder was first: nothing was run.

        Raises:
            RequestError: The key was used for another request, or `run` refuses.
            RecordsError: The key cannot be claimed.
        """
        if job.idempotency_key is None:
            return await run()
        key = record_key(job.idempotency_key)
        entry = await self.claims.records.read(key)
        claim = await self._take(job, key, entry) if await self.claims.is_free(entry.record) else None
        if claim is None:
            return None
        turn = self._turns.get(job.idempotency_key, _Turn())
        turn.is_running = True
        try:
            return await self._run(claim, run)
        finally:
            turn.is_running = False

    async def _take(self, job: Job, key: str, entry: Entry) -> Claim | None:
        """Claim; when this is cancelled meanwhile, nothing stays claimed."""
        left_s = job.deadline - asyncio.get_running_loop().time()
        taking = asyncio.ensure_future(self.claims.take(key, job.fingerprint, left_s, entry))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            await finish_even_if_cancelled(self._give_up(taking))
            raise

    async def _give_up(self, taking: asyncio.Future[Claim | None]) -> None:
        with contextlib.suppress(RecordsError):
            claim = await taking
            if claim is not None:
                await self.claims.release(claim)

    async def _run(self, claim: Claim, run: Run) -> ExecuteReply:
        reply = None
        try:
            reply = await run()
        finally:
            await finish_even_if_cancelled(self._settle(claim, reply))
        return reply

    async def _settle(self, claim: Claim, reply: ExecuteReply | None) -> None:
        if reply is None or not is_final(reply):
            await self.claims.release(claim)
            return
        try:
            await self.claims.keep(claim, reply)
        except RecordsError as error:
            self.claims.abandon(claim)
            _log.error("a result could not be kept for a repeat of its request: %s", error)

    async def _joined(self, job: Job, key: str) -> Entry:
        """Wait while the job is run elsewhere; give the entry that has its reply, or may be claimed."""
        now = asyncio.get_running_loop().time
        began_at = now()
        looks_at = began_at
        is_running = False
        try:
            async with asyncio.timeout_at(job.deadline):
                while True:
                    entry = await self.claims.records.read(key)
                    if entry.record is None:
                        return entry
                    _refuse_another(job, entry.record)
                    is_running = entry.record.state is RunState.RUNNING
                    if entry.record.is_over:
                        return entry
                    if now() >= looks_at:
                        if await self.claims.is_free(entry.record):
                            return entry
                        looks_at = now() + _IS_LOST_EVERY_S
                    waited_s = now() - began_at
                    await asyncio.sleep(min(max(waited_s * _PAUSE_SHARE, _PAUSE_FIRST_S), _PAUSE_MAX_S))
        except TimeoutError:
            raise JoinedTooLongError(is_running=is_running) from None


def is_final(reply: ExecuteReply) -> bool:
    """Say whether a reply is what the same request would get again."""
    return reply.success or (reply.executed and not reply.retryable)


def _refuse_another(job: Job, record: RunRecord) -> None:
    if record.fingerprint != job.fingerprint:
        message = "request refused: the idempotency key was used for another request"
        raise RequestError(ErrorCode.INVALID_REQUEST, message)
