"""Claims: the right to run what an idempotency key names, which one responder has at a time."""

import logging
import time
from dataclasses import dataclass, field

from contract import ExecuteReply, RunRecord, RunState, new_ulid
from responder.records import Entry, Records, RecordsError, RevisionError

_log = logging.getLogger(__name__)
# How long after its deadline a run may still be ended and its record written.
_OVERDUE_S = 5.0


@dataclass(frozen=True)
class Claim:
    """A claim that is held.

    Attributes:
        key: Of the record.
        record: As it was written.
        revision: Of the record.
    """

    key: str
    record: RunRecord
    revision: int


@dataclass
class Claims:
    """The claims of one responder.

    Attributes:
        records: Where they are written.
        instance: ULID of this process.
    """

    records: Records
    instance: str
    _runs: set[str] = field(default_factory=set, repr=False)

    async def take(self, key: str, fingerprint: str, run_s: float, entry: Entry) -> Claim | None:
        """Claim a key.

        Args:
            key: Of the record.
            fingerprint: Of the request.
            run_s: Seconds from now at which the run is ended.
            entry: As it was read.

        Returns:
            The claim; None when somebody else was first.

        Raises:
            RecordsError: It could not be written.
        """
        now = time.time()
        before = entry.record or RunRecord(state=RunState.QUEUED, fingerprint=fingerprint)
        run = new_ulid()
        record = before.model_copy(
            update={
                "state": RunState.RUNNING,
                "run": run,
                "instance": self.instance,
                "started_at": now,
                "deadline": now + run_s,
                "reply": None,
                "lost": before.lost + (before.state is RunState.RUNNING),
            }
        )
        # Before it is written: whoever reads it here before we hear of the writing must not take it for abandoned.
        self._runs.add(run)
        try:
            return Claim(key, record, await self.records.write(key, record, entry.revision))
        except RevisionError:
            self._runs.discard(run)
            return None
        except BaseException:
            self._runs.discard(run)
            raise

    async def keep(self, claim: Claim, reply: ExecuteReply) -> None:
        """Keep the reply of a claimed run, which ends the claim.

        Raises:
            RevisionError: The claim was taken over.
            RecordsError: It could not be kept now; the claim stands until it is, or until `abandon`.
        """
        state = RunState.DONE if reply.success else RunState.FAILED
        record = claim.record.model_copy(update={"state": state})
        try:
            await self.records.keep(claim.key, record, reply.to_bytes(), claim.revision)
        except RevisionError:
            self.abandon(claim)
            raise
        self.abandon(claim)

    def abandon(self, claim: Claim) -> None:
        """Hold a claim no more, whatever is written; a repeat here runs again."""
        self._runs.discard(claim.record.run or "")

    async def release(self, claim: Claim) -> None:
        """Give a claim up, so that a repeat runs again; durable work waits for a responder again."""
        record = None if claim.record.ticket is None else claim.record.unstarted()
        try:
            await self.records.write(claim.key, record, claim.revision)
        except RevisionError:
            _log.warning("a claim had been taken over when it was given up")
        except RecordsError as error:
            _log.error("a claim could not be given up, it ends with its deadline: %s", error)
        finally:
            self.abandon(claim)

    async def is_free(self, record: RunRecord | None) -> bool:
        """Say whether nobody has run, or runs any more, what a record is about."""
        if record is None or record.state is RunState.QUEUED:
            return True
        if record.state is not RunState.RUNNING or record.instance is None or record.deadline is None:
            return False
        if record.instance == self.instance:
            return record.run not in self._runs
        return time.time() > record.deadline + _OVERDUE_S or await self.records.is_gone(record.instance)
