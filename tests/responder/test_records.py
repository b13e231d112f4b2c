"""Records in memory: one writer at a time, and bounds on age, number and size."""

import pytest

from contract import RunRecord, RunState
from responder.records import MemoryRecords, RevisionError


def record(run: str = "R") -> RunRecord:
    return RunRecord(state=RunState.RUNNING, fingerprint="f", run=run, instance="I", started_at=0, deadline=1)


async def test_one_writer_is_first() -> None:
    """A write that does not know the last revision is refused and changes nothing."""
    records = MemoryRecords(60)
    assert (await records.read("k")).record is None
    revision = await records.write("k", record("A"), 0)
    for stale in (0, revision + 1):
        with pytest.raises(RevisionError):
            await records.write("k", record("B"), stale)
    assert (await records.read("k")).record == record("A")
    await records.write("k", None, revision)
    assert await records.write("k", record("C"), (await records.read("k")).revision) > revision


async def test_a_reply_is_of_its_run() -> None:
    """The reply that was kept is given for the record it was kept with, and for no other run's."""
    records = MemoryRecords(60)
    await records.keep("k", record("A"), b"four", 0)
    kept = (await records.read("k")).record
    assert kept is not None
    assert kept.is_over
    assert await records.reply("k", kept) == b"four"
    assert await records.reply("k", record("B")) is None


async def test_old_results_are_forgotten() -> None:
    """A result is gone when its time is over; a claim is not."""
    records = MemoryRecords(-1)
    await records.keep("k", record(), b"four", 0)
    await records.write("claim", record(), 0)
    assert (await records.read("k")).record is None
    assert (await records.read("claim")).record is not None


@pytest.mark.parametrize(("count", "size"), [(3, 1000), (1000, 30)])
async def test_the_oldest_results_make_room(count: int, size: int) -> None:
    """There are never more results, nor larger ones, than the bounds say; the newest stay."""
    records = MemoryRecords(60, max_count=count, max_bytes=size)
    for number in range(10):
        await records.keep(f"k{number}", record(), b"x" * 10, 0)
    left = [number for number in range(10) if (await records.read(f"k{number}")).record is not None]
    assert left == [7, 8, 9]
