"""Where the records of runs with an idempotency key are kept, and in memory where there is no JetStream."""

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from contract import RunRecord, kept_reply

_MAX_COUNT = 1000
_MAX_BYTES = 64 * 2**20


class RecordsError(Exception):
    """The records cannot be read or written now; the message is one line."""


class RevisionError(RecordsError):
    """Somebody else has written the record first."""


@dataclass(frozen=True)
class Entry:
    """A record as it was read.

    Attributes:
        revision: By which a write knows that nobody else was first; 0 where there has never been a record.
        record: None where there is none.
    """

    revision: int
    record: RunRecord | None


class Records(Protocol):
    """Keeps records; a key is `contract.record_key`."""

    async def read(self, key: str) -> Entry:
        """Read a record.

        Raises:
            RecordsError: It cannot be read.
        """

    async def write(self, key: str, record: RunRecord | None, revision: int) -> int:
        """Write a record in the place of the one that was read, or remove that.

        Returns:
            The new revision.

        Raises:
            RevisionError: It is not the last one any more.
            RecordsError: It cannot be written, or nobody knows whether it was.
        """

    async def keep(self, key: str, record: RunRecord, reply: bytes, revision: int) -> int:
        """Write a record together with the reply of its run; errors as for `write`."""

    async def reply(self, key: str, record: RunRecord) -> bytes | None:
        """Read the reply of a run that has ended; None where it is not there any more."""

    async def is_gone(self, instance: str) -> bool:
        """Say whether a responder's process is to be taken for gone; False where nobody knows."""


@dataclass
class MemoryRecords:
    """Keeps the records of one responder; they go with it.

    Attributes:
        keep_s: Seconds until a record is forgotten.
        max_count: How many there may be; the oldest of those that have ended go first.
        max_bytes: How large their replies may be together.
    """

    keep_s: float
    max_count: int = _MAX_COUNT
    max_bytes: int = _MAX_BYTES
    _revision: int = 0
    _held: dict[str, "_Held"] = field(default_factory=dict, repr=False)

    async def read(self, key: str) -> Entry:
        """Read a record."""
        self._forget()
        held = self._held.get(key)
        return Entry(held.revision, held.record) if held else Entry(0, None)

    async def write(self, key: str, record: RunRecord | None, revision: int) -> int:
        """Write a record, or remove it."""
        return self._write(key, record, b"", revision)

    async def keep(self, key: str, record: RunRecord, reply: bytes, revision: int) -> int:
        """Write a record together with a reply."""
        described, _ = kept_reply(reply, max(len(reply), 1))
        return self._write(key, record.model_copy(update={"reply": described}), reply, revision)

    async def reply(self, key: str, record: RunRecord) -> bytes | None:
        """Read a reply."""
        held = self._held.get(key)
        return held.reply if held and held.record.run == record.run else None

    async def is_gone(self, instance: str) -> bool:  # noqa: ARG002 # there are only our own
        """Say no: whoever reads this has written it."""
        return False

    def _write(self, key: str, record: RunRecord | None, reply: bytes, revision: int) -> int:
        if (self._held[key].revision if key in self._held else 0) != revision:
            raise RevisionError("the record was written by another request")
        self._held.pop(key, None)
        if record is None:
            return 0
        self._revision += 1
        self._held[key] = _Held(self._revision, record, reply, asyncio.get_running_loop().time())
        self._forget()
        return self._revision

    def _forget(self) -> None:
        now = asyncio.get_running_loop().time()
        size = sum(len(held.reply) for held in self._held.values())
        for key, held in [(key, held) for key, held in self._held.items() if held.record.is_over]:
            is_old = now - held.written_at > self.keep_s
            if is_old or len(self._held) > self.max_count or size > self.max_bytes:
                del self._held[key]
                size -= len(held.reply)


@dataclass(frozen=True)
class _Held:
    revision: int
    record: RunRecord
    reply: bytes = field(repr=False)
    written_at: float
