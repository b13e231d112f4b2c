"""Records in JetStream's bucket, over a real connection: parts, lost answers, other people's buckets."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from contract import RunRecord, RunState, Subjects, new_ulid, record_key
from responder.jetstream_records import JetStream, JetStreamRecords, NoJetStreamError
from responder.link import Link, LinkError
from responder.records import RecordsError, RevisionError
from tests.support.nats_server import nats_server, with_jetstream

KEY = record_key("k")


def record(run: str = "R") -> RunRecord:
    return RunRecord(state=RunState.RUNNING, fingerprint="f", run=run, instance="I", started_at=0, deadline=1)


@dataclass
class Lossy:
    """A connection that loses answers.

    Attributes:
        link: The real one.
        losses: Beginnings of subjects; the answer to the next request for each is lost.
        denials: How many questions about a stream are answered with that there is none.
    """

    link: Link
    losses: list[str] = field(default_factory=list)
    is_settled: bool = True
    denials: int = 0

    @property
    def max_payload(self) -> int:
        return self.link.max_payload

    async def ask(self, subject: str, body: bytes, headers: Mapping[str, str], within_s: float) -> bytes:
        if self.denials and "STREAM.INFO" in subject:
            self.denials -= 1
            return b'{"error": {"code": 404, "err_code": 10059, "description": "stream not found"}}'
        answer = await self.link.ask(subject, body, headers, within_s)
        lost = next((start for start in self.losses if subject.startswith(start)), None)
        if lost is not None:
            self.losses.remove(lost)
            raise LinkError("no answer")
        return answer


@pytest.fixture
async def link(tmp_path: Path) -> AsyncIterator[Link]:
    async with nats_server(tmp_path, with_jetstream(tmp_path, "max_payload: 64KB")) as url:
        connected = await Link.connect([url], "test", "_INBOX")
        yield connected
        await connected.close()


async def records_over(asker: Lossy, patience_s: float = 5) -> JetStreamRecords:
    jetstream = JetStream(asker, patience_s)
    records = JetStreamRecords(jetstream, Subjects())
    await jetstream.provide(records.bucket.stream, records.bucket.make(3600, 1))
    return records


async def test_a_reply_larger_than_a_message(link: Link) -> None:
    """A reply is kept and given whole on a server whose messages are far smaller."""
    records = await records_over(Lossy(link))
    reply = bytes(range(256)) * 4096
    await records.keep(KEY, record(), reply, 0)
    kept = (await records.read(KEY)).record
    assert kept is not None
    assert kept.reply is not None
    assert kept.reply.parts > 16
    assert await records.reply(KEY, kept) == reply
    assert await records.reply(KEY, kept.model_copy(update={"run": "other"})) is None


async def test_one_writer_is_first(link: Link) -> None:
    """Of two writers that have read the same, one is refused; after a removal there is nothing to read."""
    records = await records_over(Lossy(link))
    revision = await records.write(KEY, record("A"), 0)
    with pytest.raises(RevisionError):
        await records.write(KEY, record("B"), 0)
    await records.write(KEY, None, revision)
    entry = await records.read(KEY)
    assert entry.record is None
    await records.write(KEY, record("C"), entry.revision)
    assert (await records.read(KEY)).record == record("C")


async def test_a_write_whose_answer_is_lost(link: Link) -> None:
    """A claim that was written but not confirmed is ours, not another's."""
    records = await records_over(Lossy(link, ["$KV."]))
    revision = await records.write(KEY, record("A"), 0)
    assert (await records.read(KEY)).revision == revision
    assert isinstance(records.jetstream.asker, Lossy)
    assert not records.jetstream.asker.losses


async def test_no_answer_at_all(link: Link) -> None:
    """When JetStream stays silent the caller learns it in bounded time."""
    asker = Lossy(link)
    records = await records_over(asker, 0.3)
    asker.losses += ["$JS.API.STREAM.MSG.GET"] * 5
    with pytest.raises(RecordsError, match="JetStream does not answer"):
        await records.read(KEY)


async def test_an_operators_bucket_stays_as_it_is(link: Link) -> None:
    """A bucket that was made with other limits is used, also when it is made while we look."""
    asker = Lossy(link)
    records = JetStreamRecords(JetStream(asker, 5), Subjects())
    made = records.bucket.make(60, 1)
    await link.ask(made.subject, made.body, {}, 5)
    for denials in (0, 2):
        asker.denials = denials
        records = await records_over(asker)
    said = json.loads(await link.ask(f"$JS.API.STREAM.INFO.{records.bucket.stream}", b"", {}, 5))
    assert said["config"]["max_age"] == 60 * 10**9


async def test_a_server_whose_store_is_too_small(link: Link) -> None:
    """What the server refuses to make is said in its own words."""
    records = JetStreamRecords(JetStream(Lossy(link), 1), Subjects())
    with pytest.raises(NoJetStreamError, match="JetStream: "):
        await records.jetstream.provide(records.bucket.stream, records.bucket.make(3600, 5))


async def test_who_has_gone(link: Link) -> None:
    """An instance has gone where nobody listens on its subject, unless this connection is too young to know."""
    asker = Lossy(link)
    records = await records_over(asker)
    alive, gone = new_ulid(), new_ulid()

    async def keep_silent(_: object) -> None:
        """Be there."""

    await link.subscribe(Subjects().instance_of(alive), keep_silent)
    assert not await records.is_gone(alive)
    assert await records.is_gone(gone)
    asker.is_settled = False
    assert not await records.is_gone(gone)
