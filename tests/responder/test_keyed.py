"""Runs with an idempotency key, on records in memory and with runs that a test ends."""

import asyncio
from dataclasses import dataclass, field

import pytest

from contract import CODE_FACTS, ErrorCode, ExecuteFailure, ExecuteReply, ExecuteSuccess, RequestError, RunRecord
from responder.admission import Job
from responder.arguments import ArgumentPolicy
from responder.claims import Claims
from responder.keyed import JoinedTooLongError, Keyed
from responder.records import Entry, MemoryRecords, RecordsError
from tests.support.conditions import wait_until

pytestmark = pytest.mark.usefixtures("patience")


@dataclass
class Shared(MemoryRecords):
    """Records that several responders share.

    Attributes:
        gone: Instances that are no more.
    """

    gone: set[str] = field(default_factory=set)

    async def is_gone(self, instance: str) -> bool:
        return instance in self.gone


class Unreachable(MemoryRecords):
    """Records that cannot be reached."""

    async def read(self, key: str) -> Entry:
        raise RecordsError(key)


@dataclass
class Runs:
    """Runs that end when a test says how.

    Attributes:
        ends: Of each run that has begun.
    """

    ends: list["asyncio.Future[ExecuteReply]"] = field(default_factory=list)

    async def begin(self) -> ExecuteReply:
        self.ends.append(asyncio.get_running_loop().create_future())
        return await self.ends[-1]


def job(request_id: str = "i1", *, seconds: float = 10, fingerprint: str = "f", key: str | None = "k") -> Job:
    deadline = asyncio.get_running_loop().time() + seconds
    return Job(request_id, "p", ArgumentPolicy().arguments(None), None, deadline, key, fingerprint)


def success(text: str = "four") -> ExecuteSuccess:
    return ExecuteSuccess(id="first", result=text, responder="r1")


def failure(code: ErrorCode, *, executed: bool = True) -> ExecuteFailure:
    retryable = CODE_FACTS[code].retryable
    return ExecuteFailure(id="first", error="e", code=code, retryable=retryable, executed=executed, responder="r1")


async def ask(keyed: Keyed, asked: Job, runs: Runs) -> ExecuteReply:
    """Do what a service does, without slots."""
    reply = None
    async with keyed.turn(asked):
        while reply is None:
            reply = await keyed.find(asked) or await keyed.run(asked, runs.begin)
    return reply


def responders(records: MemoryRecords | None = None) -> tuple[Keyed, Keyed]:
    records = records or Shared(60)
    return Keyed(Claims(records, "I1")), Keyed(Claims(records, "I2"))


async def begun(runs: Runs, count: int) -> None:
    await wait_until(lambda: len(runs.ends) == count, f"{count} runs")


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_repeat_joins(*, elsewhere: bool) -> None:
    """Repeats on the same responder and on another one wait for the one run, each under its own id."""
    first, second = responders()
    runs = Runs()
    asked = [asyncio.create_task(ask(first, job("i0"), runs))]
    await begun(runs, 1)
    asked += [asyncio.create_task(ask(second if elsewhere else first, job(f"i{number}"), runs)) for number in (1, 2)]
    done, _ = await asyncio.wait(asked, timeout=0.05)
    assert not done
    runs.ends[0].set_result(success())
    replies = await asyncio.gather(*asked)
    assert [(reply.id, reply.kept) for reply in replies] == [("first", None), ("i1", True), ("i2", True)]
    assert len(runs.ends) == 1
    assert not first._turns


FINAL = [success(), failure(ErrorCode.MAX_TURNS), failure(ErrorCode.CLI_ERROR)]
PASSING = [
    failure(ErrorCode.RATE_LIMITED),
    failure(ErrorCode.RESPONDER_STOPPED),
    failure(ErrorCode.CLI_NOT_FOUND, executed=False),
    failure(ErrorCode.TIMEOUT),
]


@pytest.mark.parametrize(("reply", "is_kept"), [*((reply, True) for reply in FINAL), *((r, False) for r in PASSING)])
async def test_what_is_kept(reply: ExecuteReply, *, is_kept: bool) -> None:
    """Results and failures that would come again are kept; after any other a repeat runs again."""
    first, second = responders()
    runs = Runs()
    asked = asyncio.create_task(ask(first, job(), runs))
    await begun(runs, 1)
    runs.ends[0].set_result(reply)
    assert await asked == reply
    again = asyncio.create_task(ask(second, job("i2"), runs))
    if is_kept:
        assert await again == reply.model_copy(update={"id": "i2", "kept": True})
    else:
        await begun(runs, 2)
        runs.ends[1].set_result(success())
        assert (await again).kept is None


async def test_a_run_that_is_cancelled_or_fails_is_no_claim() -> None:
    """After a cancellation, and after a defect, a repeat runs at once."""
    first, second = responders()
    runs = Runs()
    cancelled = asyncio.create_task(ask(first, job(), runs))
    await begun(runs, 1)
    cancelled.cancel()
    await asyncio.wait({cancelled})
    assert cancelled.cancelled()
    defective = asyncio.create_task(ask(second, job(), runs))
    await begun(runs, 2)
    runs.ends[1].set_exception(ZeroDivisionError())
    await asyncio.wait({defective})
    assert isinstance(defective.exception(), ZeroDivisionError)
    again = asyncio.create_task(ask(first, job(), runs))
    await begun(runs, 3)
    runs.ends[2].set_result(success())
    assert (await again).success


async def test_a_cancellation_while_claiming_leaves_no_claim() -> None:
    """A request that is cancelled while its claim is on the way holds none afterwards."""
    on_the_way, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Shared):
        async def write(self, key: str, record: RunRecord | None, revision: int) -> int:
            written = await super().write(key, record, revision)
            on_the_way.set()
            await go_on.wait()
            return written

    records = Slow(60)
    first, _ = responders(records)
    claiming = asyncio.create_task(ask(first, job(), Runs()))
    await on_the_way.wait()
    claiming.cancel()
    go_on.set()
    await asyncio.wait({claiming})
    assert claiming.cancelled()
    assert not records._held


async def test_another_request_is_refused() -> None:
    """The key of a running and of an ended run is refused to another request."""
    first, second = responders()
    runs = Runs()
    asked = asyncio.create_task(ask(first, job(), runs))
    await begun(runs, 1)
    for _ in range(2):
        with pytest.raises(RequestError, match="the idempotency key was used for another request") as raised:
            await ask(second, job(fingerprint="g"), runs)
        assert raised.value.code == ErrorCode.INVALID_REQUEST
        if not runs.ends[0].done():
            runs.ends[0].set_result(success())
            await asked


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_joining_ends_with_the_own_deadline(*, elsewhere: bool) -> None:
    """Who joins waits until its own deadline, and learns that the CLI runs."""
    first, second = responders()
    runs = Runs()
    asked = asyncio.create_task(ask(first, job(), runs))
    await begun(runs, 1)
    with pytest.raises(JoinedTooLongError) as raised:
        await ask(second if elsewhere else first, job(seconds=0.05), runs)
    assert raised.value.is_running
    runs.ends[0].set_result(success())
    await asked


async def test_the_claim_of_a_responder_that_has_gone_is_taken_over() -> None:
    """What ran on a responder that has gone runs again, once; its late end changes nothing."""
    records = Shared(60)
    first, second = responders(records)
    runs = Runs()
    lost = asyncio.create_task(ask(first, job(), runs))
    await begun(runs, 1)
    records.gone.add("I1")
    again = [asyncio.create_task(ask(second, job(), runs)) for _ in range(2)]
    await begun(runs, 2)
    runs.ends[0].set_result(success("late"))
    await lost
    runs.ends[1].set_result(success("again"))
    assert [reply.success and reply.result for reply in await asyncio.gather(*again)] == ["again", "again"]


async def test_a_claim_that_is_overdue_is_taken_over() -> None:
    """A run whose deadline is long over is nobody's, though its responder has not gone."""
    first, second = responders()
    runs = Runs()
    held = asyncio.create_task(first.run(job(seconds=-10), runs.begin))
    await begun(runs, 1)
    again = asyncio.create_task(ask(second, job(), runs))
    await begun(runs, 2)
    for end in runs.ends:
        end.set_result(success())
    assert (await again).kept is None
    await held


async def test_records_that_cannot_be_reached() -> None:
    """Without an answer about the key nothing is run."""
    first, _ = responders(Unreachable(60))
    runs = Runs()
    with pytest.raises(RecordsError):
        await ask(first, job(), runs)
    assert not runs.ends


async def test_without_a_key_each_runs() -> None:
    """Requests without a key are runs of their own."""
    first, _ = responders()
    runs = Runs()
    asked = [asyncio.create_task(ask(first, job(key=None), runs)) for _ in range(2)]
    await begun(runs, 2)
    for end in runs.ends:
        end.set_result(success())
    assert all(reply.kept is None for reply in await asyncio.gather(*asked))


async def test_a_claim_is_known_while_it_is_written() -> None:
    """What was just claimed here is nobody else's, also before the answer to the writing has come."""

    class Slow(Shared):
        async def write(self, key: str, record: RunRecord | None, revision: int) -> int:
            revision = await super().write(key, record, revision)
            written.set()
            await answered.wait()
            return revision

    written, answered = asyncio.Event(), asyncio.Event()
    claims = Claims(Slow(60), "I1")
    taking = asyncio.create_task(claims.take("k", "f", 10, Entry(0, None)))
    await written.wait()
    entry = await claims.records.read("k")
    assert not await claims.is_free(entry.record)
    answered.set()
    assert await taking is not None
    taking = asyncio.create_task(claims.take("k", "f", 10, Entry(0, None)))
    assert await taking is None
    assert len(claims._runs) == 1
