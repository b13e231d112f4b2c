"""Durable work, message by message: what is run, what is answered, and how each message is acknowledged."""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from contract import (
    CODE_FACTS,
    DONE,
    HEADER_MESSAGE_ID,
    IN_PROGRESS,
    NEVER_AGAIN,
    ErrorCode,
    ExecuteFailure,
    ExecuteRequest,
    Failover,
    RunRecord,
    RunState,
    WorkQueue,
    fingerprint,
    give_back,
    parse_reply,
    record_key,
)
from responder.callers import Incoming
from responder.claims import Claims
from responder.durable import Durable, is_for_another, is_given_up
from responder.records import MemoryRecords, RecordsError
from responder.run import Runner
from responder.slots import Slots
from tests.responder.parts import make_service
from tests.support.conditions import wait_until

pytestmark = pytest.mark.usefixtures("patience")
QUEUE = WorkQueue("jobs", "claude.cli.jobs", "responders")
ACK = "$JS.ACK.jobs.responders.1.1"
LATER = give_back(5)
REQUEST = ExecuteRequest(prompt="p", id="t1", idempotency_key="t1")
QUEUED = RunRecord(state=RunState.QUEUED, fingerprint=fingerprint(REQUEST), ticket="t1")
RUNNING = QUEUED.model_copy(
    update={"state": RunState.RUNNING, "run": "R", "instance": "gone", "deadline": 4e9, "started_at": 0.0}
)


@dataclass
class Records(MemoryRecords):
    """Records with other instances, and failures that a test orders.

    Attributes:
        gone: Instances that are no more.
        failures: How many writes of results fail.
    """

    gone: set[str] = field(default_factory=lambda: {"gone"})
    failures: int = 0

    async def is_gone(self, instance: str) -> bool:
        return instance in self.gone

    async def keep(self, key: str, record: RunRecord, reply: bytes, revision: int) -> int:
        if self.failures:
            self.failures -= 1
            raise RecordsError("not now")
        return await super().keep(key, record, reply, revision)


@dataclass
class Postbox:
    """A connection that keeps what is published; pulls are answered by a test.

    Attributes:
        said: The acknowledgements.
        pulls: How many messages have been asked for.
    """

    is_connected: bool = True
    said: list[bytes] = field(default_factory=list)
    pulls: int = 0

    async def publish(self, subject: str, body: bytes, headers: Mapping[str, str], reply: str = "") -> None:
        assert not headers
        if subject == ACK:
            self.said.append(body)
        else:
            assert (subject, reply) == ("$JS.API.CONSUMER.MSG.NEXT.jobs.responders", "_INBOX.pull")
            self.pulls += 1


def durable(folder: Path, runner: Runner, cli: str | None = "answer four", **more: Any) -> Durable:
    service = make_service(folder, runner, cli, slots=Slots(1, 1))
    return Durable(QUEUE, Postbox(), "_INBOX.pull", service, Claims(Records(60), "I1"), pause_s=0.05, **more)


def message(body: bytes | None = None, ticket: str | None = "t1", reply: str = ACK) -> Incoming:
    headers = {} if ticket is None else {HEADER_MESSAGE_ID: ticket}
    return Incoming("claude.cli.jobs", reply, headers, REQUEST.to_bytes() if body is None else body, 0.0)


async def acknowledged(work: Durable, incoming: Incoming) -> bytes:
    """Hand a message over, and give its last acknowledgement."""
    slot = await work.service.slots.take_free()
    assert slot is not None
    await work._handle(incoming, slot)
    assert work.service.slots.in_flight == 0
    assert isinstance(work.postbox, Postbox)
    return work.postbox.said[-1]


async def written(work: Durable, record: RunRecord) -> None:
    await work.claims.records.write(record_key("t1"), record, 0)


async def record_of(work: Durable) -> RunRecord:
    record = (await work.claims.records.read(record_key("t1"))).record
    assert record is not None
    return record


async def failure_of(work: Durable) -> ExecuteFailure:
    body = await work.claims.records.reply(record_key("t1"), await record_of(work))
    assert body is not None
    reply = parse_reply(body)
    assert isinstance(reply, ExecuteFailure)
    return reply


@pytest.mark.parametrize("record", [None, QUEUED])
async def test_queued_work_is_done(runner: Runner, tmp_path: Path, record: RunRecord | None) -> None:
    """A message is run, its result is stored under its ticket, then it is acknowledged; once more is harmless."""
    work = durable(tmp_path, runner, f"echo >>{tmp_path}/runs; answer four")
    if record is not None:
        await written(work, record)
    assert await acknowledged(work, message()) == DONE
    stored = await record_of(work)
    assert (stored.state, stored.ticket) == (RunState.DONE, record and "t1")
    assert await acknowledged(work, message()) == DONE
    assert (tmp_path / "runs").read_text() == "\n"
    assert work.service.statistics.requests == 1


@pytest.mark.parametrize(
    ("incoming", "record"),
    [
        (message(ticket=None), None),
        (message(json.dumps({"prompt": "another"}).encode()), QUEUED),
    ],
    ids=["no ticket", "another's ticket"],
)
async def test_what_is_no_work_is_dropped(
    runner: Runner, tmp_path: Path, incoming: Incoming, record: RunRecord | None
) -> None:
    """A message without a ticket, or with the ticket of another request, is never run and never comes again."""
    work = durable(tmp_path, runner, f"touch {tmp_path}/runs; answer four")
    if record is not None:
        await written(work, record)
    assert await acknowledged(work, incoming) == NEVER_AGAIN
    assert not (tmp_path / "runs").exists()


async def test_a_refusal_is_a_result(runner: Runner, tmp_path: Path) -> None:
    """A request that cannot be read is answered under its ticket, not dropped."""
    work = durable(tmp_path, runner)
    await written(work, QUEUED)
    assert await acknowledged(work, message(b'{"prompt": ""}')) == DONE
    reply = await failure_of(work)
    assert (reply.code, reply.id, reply.executed) == ("invalid_request", "t1", False)


async def test_what_runs_elsewhere_is_left_alone(runner: Runner, tmp_path: Path) -> None:
    """A message that comes although its responder lives is given back for later."""
    work = durable(tmp_path, runner)
    await written(work, RUNNING.model_copy(update={"instance": "alive"}))
    assert await acknowledged(work, message()) == LATER
    assert (await record_of(work)).instance == "alive"


@pytest.mark.parametrize(
    ("failover", "lost", "is_run"),
    [("unstarted", 0, False), ("always", 0, True), ("always", 1, True), ("always", 2, False)],
)
async def test_what_was_lost(runner: Runner, tmp_path: Path, failover: str, lost: int, *, is_run: bool) -> None:
    """Work whose responder has gone is run again where that is wanted, until it has lost the third one."""
    work = durable(tmp_path, runner)
    await written(work, RUNNING.model_copy(update={"failover": Failover(failover), "lost": lost}))
    assert await acknowledged(work, message()) == DONE
    record = await record_of(work)
    assert (record.state, record.lost) == (RunState.DONE if is_run else RunState.FAILED, lost + 1)
    if not is_run:
        reply = await failure_of(work)
        assert (reply.code, reply.executed, reply.retryable, reply.id) == ("responder_lost", True, True, "t1")


async def test_what_cannot_run_here_waits_for_another(runner: Runner, tmp_path: Path) -> None:
    """Where the CLI is missing nothing is answered: the message and its record go back as they were."""
    work = durable(tmp_path, runner, None)
    await written(work, QUEUED)
    assert await acknowledged(work, message()) == LATER
    assert await record_of(work) == QUEUED


def failure(code: ErrorCode) -> ExecuteFailure:
    return ExecuteFailure(id="t1", error="e", code=code, retryable=True, executed=True, responder="r1")


@pytest.mark.parametrize("code", [*CODE_FACTS])
def test_what_goes_back_into_the_queue(code: ErrorCode) -> None:
    """Failures are results, but for what speaks of this responder, and a stop after which another run is wanted."""
    here = {ErrorCode.CLI_NOT_FOUND, ErrorCode.CLI_START_FAILED}
    assert is_for_another(failure(code), Failover.UNSTARTED) is (code in here)
    assert is_for_another(failure(code), Failover.ALWAYS) is (code in {*here, ErrorCode.RESPONDER_STOPPED})


@pytest.mark.parametrize("record", [None, QUEUED, QUEUED.model_copy(update={"failover": Failover.ALWAYS, "lost": 9})])
def test_what_has_not_started_is_not_given_up(record: RunRecord | None) -> None:
    """Only a run that began can be lost."""
    assert not is_given_up(record)


async def test_a_result_is_stored_in_the_end(runner: Runner, tmp_path: Path) -> None:
    """A result that cannot be stored at first is stored later, needs no slot meanwhile, and is acknowledged then."""
    work = durable(tmp_path, runner, in_progress_every_s=0.01)
    records = work.claims.records
    assert isinstance(records, Records)
    assert isinstance(work.postbox, Postbox)
    records.failures = 1
    slot = await work.service.slots.take_free()
    assert slot is not None
    handling = asyncio.create_task(work._handle(message(), slot))
    await wait_until(lambda: not records.failures, "the first try")
    assert work.service.slots.in_flight == 0
    await handling
    assert (await record_of(work)).state is RunState.DONE
    said = work.postbox.said
    assert (set(said[:-1]), said[-1]) == ({IN_PROGRESS}, DONE)


async def test_a_result_that_comes_too_late(runner: Runner, tmp_path: Path) -> None:
    """A run that was taken over meanwhile leaves the message and the record to the other."""
    work = durable(tmp_path, runner, f"until [ -e {tmp_path}/go ]; do sleep 0.01; done; answer four")
    slot = await work.service.slots.take_free()
    assert slot is not None
    handling = asyncio.create_task(work._handle(message(), slot))
    key = record_key("t1")
    await wait_until(lambda: bool(work.claims._runs), "the claim")
    entry = await work.claims.records.read(key)
    await work.claims.records.write(key, RUNNING, entry.revision)
    (tmp_path / "go").touch()
    await handling
    assert isinstance(work.postbox, Postbox)
    assert work.postbox.said[-1] == LATER
    assert await record_of(work) == RUNNING


async def test_messages_are_taken_one_by_one_with_free_slots(runner: Runner, tmp_path: Path) -> None:
    """One message is asked for at a time, none while no slot is free, and what comes too late is given back."""
    work = durable(tmp_path, runner)
    postbox = work.postbox
    assert isinstance(postbox, Postbox)
    work.start()
    await wait_until(lambda: postbox.pulls == 1, "the first is asked for")
    direct = await work.service.slots.take_free()
    assert direct is not None
    await work.arrive(message())
    await wait_until(lambda: postbox.said == [give_back(0)], "it is given back")
    assert postbox.pulls == 1
    with direct:
        pass
    await wait_until(lambda: postbox.pulls == 2, "the next is asked for")
    await work.arrive(message(b"", None, ""))  # word that none came
    await wait_until(lambda: postbox.pulls == 3, "and asked for again", 3)
    await work.arrive(message())
    await wait_until(lambda: DONE in postbox.said, "it is done")
    await work.stop()
    before = len(postbox.said)
    await work.arrive(message())
    await work.arrive(message(reply="$JS.API.STREAM.DELETE.ORDERS"))
    assert postbox.said[before:] == [give_back(0)]
    await work.wait_until_done()


async def test_an_unfit_responder_takes_none(runner: Runner, tmp_path: Path) -> None:
    """What comes to one that is not fit for work is given back, and none is asked for until it is fit again."""
    work = durable(tmp_path, runner)
    postbox, fitness = work.postbox, work.service.fitness
    assert isinstance(postbox, Postbox)
    work.start()
    await wait_until(lambda: postbox.pulls == 1, "the first is asked for")
    fitness.end(ErrorCode.RATE_LIMITED, 60.0, asyncio.get_running_loop().time())
    await work.arrive(message())
    await wait_until(lambda: bool(postbox.said), "it is given back")
    assert postbox.said == [give_back(0)]
    for _ in range(100):
        await asyncio.sleep(0)
    assert postbox.pulls == 1
    fitness.end_trial(None, None, asyncio.get_running_loop().time())
    await wait_until(lambda: postbox.pulls == 2, "the next is asked for", 3)
    await work.stop()


async def test_stopping_where_a_cancellation_is_swallowed(runner: Runner, tmp_path: Path) -> None:
    """Taking ends also where the connection swallows the cancellation, as nats-py may."""
    publishing = asyncio.Event()

    class Swallowing(Postbox):
        async def publish(self, *_: Any, **__: Any) -> None:
            publishing.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    work = durable(tmp_path, runner)
    work.postbox = Swallowing()
    work.start()
    await publishing.wait()
    stopping = asyncio.create_task(work.stop())
    await wait_until(lambda: work._is_stopping, "it is being stopped")
    await work.service.slots.wait_until_free()
    work._arrived.put_nowait(message(b"", None, ""))  # word that none came
    async with asyncio.timeout(5):
        await stopping


async def test_a_result_that_cannot_be_stored_yet_is_not_given_up(runner: Runner, tmp_path: Path) -> None:
    """A message that comes again while its result waits to be stored is given back: the result is not lost to it."""
    work = durable(tmp_path, runner, f"echo >>{tmp_path}/runs; answer four")
    await written(work, QUEUED)
    records = work.claims.records
    assert isinstance(records, Records)
    records.failures = 10**9
    first = asyncio.create_task(acknowledged(work, message()))
    await wait_until(lambda: records.failures < 10**9, "the result could not be stored")
    assert await acknowledged(work, message()) == LATER
    records.failures = 0
    assert await first == DONE
    assert (await record_of(work)).state is RunState.DONE
    assert (tmp_path / "runs").read_text() == "\n"
