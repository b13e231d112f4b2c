"""Submitting durable work and reading its result, on JetStream, with records as responders write them."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client

import requester as package
from contract import (
    Bucket,
    ExecuteFailure,
    ExecuteSuccess,
    Failover,
    KeptReply,
    RunRecord,
    RunState,
    Subjects,
    WorkQueue,
    fingerprint,
    kept_reply,
    record_key,
)
from requester import (
    CLIError,
    ExecuteTimeoutError,
    InvalidRequestError,
    NoRespondersError,
    NotConnectedError,
    RecordsUnavailableError,
    Requester,
    RequesterSettings,
    RequestTooLargeError,
    TicketUnknownError,
)
from requester.durable import Durable
from requester.inbox import RawReply
from requester.request import build_request
from tests.requester.fakes import CANARY, DOCUMENT, FakeWay, failure, success
from tests.support.nats_server import nats_server, with_jetstream

BUCKET = Bucket(Subjects().runs_bucket)
QUEUE = WorkQueue(Subjects().jobs_stream, Subjects().jobs, "responders")


@pytest.fixture
async def nats_url(tmp_path: Path) -> AsyncIterator[str]:
    folder = tmp_path / "nats"
    folder.mkdir()
    async with nats_server(folder, with_jetstream(folder, "max_payload: 64KB")) as url:
        client = await nats.connect(url)
        for call in (BUCKET.make(3600, 1), QUEUE.make(3600, 1)):
            await client.request(call.subject, call.body, timeout=5)
        yield url
        await client.close()


async def keep(client: Client, ticket: str, reply: ExecuteSuccess | ExecuteFailure, part_bytes: int = 1000) -> None:
    """Do what a responder does with a result."""
    kept, parts = kept_reply(reply.to_bytes(), part_bytes)
    record = RunRecord(state=RunState.DONE, fingerprint="f", run="R", reply=kept, ticket=ticket, submitted_at=5.0)
    key = record_key(ticket)
    for number, part in enumerate(parts):
        await client.request(BUCKET.subject(record.part_key(key, number)), part, timeout=5)
    await client.request(BUCKET.subject(key), record.to_bytes(), timeout=5)


async def test_what_is_submitted(requester: Requester, client: Client) -> None:
    """The queue holds the request with the ticket as its id and its key, once; the record says that it waits."""
    for _ in range(2):
        assert await requester.submit("2+2?", ticket="t1", args=["-p"], cwd="repo", timeout=3) == "t1"
    said = await client.request(f"$JS.API.STREAM.MSG.GET.{QUEUE.stream}", b'{"seq": 1}', timeout=5)
    message = {name: base64.b64decode(json.loads(said.data)["message"][name]) for name in ("hdrs", "data")}
    assert b"Nats-Msg-Id: t1\r\n" in message["hdrs"]
    body = json.loads(message["data"])
    assert body == {
        "prompt": "2+2?",
        "id": "t1",
        "args": ["-p"],
        "cwd": "repo",
        "timeout_ms": 3000,
        "idempotency_key": "t1",
    }
    said = await client.request(f"$JS.API.STREAM.INFO.{QUEUE.stream}", b"", timeout=5)
    assert json.loads(said.data)["state"]["messages"] == 1
    (listed,) = await requester.tickets()
    assert (listed.ticket, listed.state) == ("t1", "queued")
    assert 0 <= listed.age_s < 10


async def test_a_result_in_parts(requester: Requester, client: Client) -> None:
    """A result is read whole, whatever its size, and as its format says."""
    await keep(client, "t1", success("t1", DOCUMENT.replace("four", "x" * 100_000)))
    reply = await requester.result("t1", timeout=5)
    assert (reply.text, reply.request_id, reply.responder) == ("x" * 100_000, "t1", "r1")


async def test_a_failure_is_raised(requester: Requester, client: Client) -> None:
    """A result that is a failure is raised as its class."""
    await keep(client, "t1", failure("t1", "cli_error"))
    with pytest.raises(CLIError) as raised:
        await requester.result("t1", timeout=5)
    assert raised.value.request_id == "t1"


async def test_a_result_that_comes_while_it_is_awaited(requester: Requester, client: Client) -> None:
    """Who waits gets the result when it is there."""
    await requester.submit("2+2?", ticket="t1")
    waiting = asyncio.create_task(requester.result("t1", timeout=10))
    with pytest.raises(ExecuteTimeoutError) as raised:
        await requester.result("t1", timeout=0.1)
    assert raised.value.executed is None
    await keep(client, "t1", success("t1"))
    assert (await waiting).text == "four"


async def test_no_such_ticket(requester: Requester, client: Client) -> None:
    """A ticket that nobody has given, and one whose result is not whole any more, are unknown."""
    with pytest.raises(TicketUnknownError, match="there is no ticket 't0'"):
        await requester.result("t0", timeout=5)
    await keep(client, "t1", success("t1"))
    kept, _ = kept_reply(b"x" * 10, 5)
    record = RunRecord(state=RunState.DONE, fingerprint="f", run="S", reply=kept)
    await client.request(BUCKET.subject(record_key("t1")), record.to_bytes(), timeout=5)
    with pytest.raises(LookupError, match="no longer kept as a whole"):
        await requester.result("t1", timeout=5)


async def test_the_tickets_of_others_are_listed_in_order(requester: Requester, client: Client) -> None:
    """Tickets are listed by age; results for plain idempotency keys are not among them."""
    await requester.submit("2+2?", ticket="new")
    await keep(client, "old", success("old"))
    record = RunRecord(state=RunState.RUNNING, fingerprint="f")
    await client.request(BUCKET.subject(record_key("plain")), record.to_bytes(), timeout=5)
    assert [listed.ticket for listed in await requester.tickets()] == ["old", "new"]


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"prompt": " "}, InvalidRequestError),
        ({"prompt": "p", "ticket": f"{CANARY}!"}, InvalidRequestError),
        ({"prompt": "p", "failover": CANARY}, InvalidRequestError),
        ({"prompt": "p", "timeout": 0}, InvalidRequestError),
        ({"prompt": "x" * 70_000}, RequestTooLargeError),
    ],
)
async def test_what_cannot_be_submitted(requester: Requester, options: dict[str, str], kind: type[Exception]) -> None:
    """What no responder would run is refused at once, without its value, and not listed as if it waited."""
    with pytest.raises(kind) as raised:
        await requester.submit(**options)  # type: ignore[arg-type] # wrong on purpose
    assert CANARY not in str(raised.value)
    assert await requester.tickets() == []


async def test_without_a_connection(unused_url: str) -> None:
    """Where NATS cannot be reached nothing was submitted, and the error has the ticket to try again with."""
    async with Requester(RequesterSettings(nats_url=unused_url, connect_timeout_s=0.05)) as requester:
        submitting = asyncio.create_task(requester.submit("2+2?", ticket="t1"))
        with pytest.raises(NotConnectedError) as raised:
            await requester.result("t1", timeout=0.2)
        assert raised.value.executed is False
    with pytest.raises(NotConnectedError) as raised:
        await submitting
    assert raised.value.request_id == "t1"


REFUSED = b'{"error": {"code": 500, "err_code": 10047, "description": "insufficient storage resources available"}}'
PASSING = b'{"error": {"code": 503, "err_code": 10008, "description": "JetStream system temporarily unavailable"}}'
NO_MESSAGE = b'{"error": {"code": 404, "err_code": 10037, "description": "no message found"}}'
CONFLICT = b'{"error": {"code": 400, "err_code": 10071, "description": "wrong last sequence: 1"}}'
STORED = b'{"stream": "s", "seq": 1}'


class Answers(FakeWay):
    """A way on which JetStream answers what a test says, and the order of the questions is kept."""

    def __post_init__(self) -> None:
        self.asked: list[str] = []
        super().__post_init__()

    async def request(self, subject: str, *_: object) -> RawReply:
        self.asked.append(subject.split(".")[-1 if subject.startswith("claude") else 0])
        outcome = next(self._outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        assert isinstance(outcome, bytes)
        return RawReply({}, outcome)


async def submit_over(*answers: object) -> list[str]:
    way = Answers(answers)  # type: ignore[arg-type] # bytes, as they come
    request = build_request("p", args=None, cwd=None, request_id="t1", idempotency_key="t1")
    await Durable(way, Subjects()).submit(request, Failover.UNSTARTED, {})
    return way.asked


async def test_it_is_asked_until_it_answers() -> None:
    """A lost answer and an election are waited for; submitting then goes on where it was."""
    lost = ExecuteTimeoutError("no reply")
    asked = await submit_over(lost, PASSING, NO_MESSAGE, lost, STORED, lost, STORED)
    assert asked == ["$JS"] * 3 + ["$KV"] * 2 + ["jobs"] * 2


KEPT = KeptReply(parts=0, size=0, digest="")


@pytest.mark.parametrize(
    ("state", "reply", "asked"),
    [
        (RunState.QUEUED, None, ["$JS", "jobs"]),
        (RunState.RUNNING, None, ["$JS", "jobs"]),
        (RunState.DONE, KEPT, ["$JS"]),
        (RunState.FAILED, KEPT, ["$JS"]),
    ],
)
async def test_what_is_put_into_the_queue(state: RunState, reply: KeptReply | None, asked: list[str]) -> None:
    """Submitting puts work into the queue unless it has its result: a direct request that runs it may be cancelled."""
    request = build_request("p", args=None, cwd=None, request_id="t1", idempotency_key="t1")
    record = RunRecord(state=state, fingerprint=fingerprint(request), reply=reply)
    message = {"message": {"seq": 1, "data": base64.b64encode(record.to_bytes()).decode()}}
    assert await submit_over(json.dumps(message).encode(), *[STORED for _ in asked[1:]]) == asked


@pytest.mark.parametrize(
    ("answers", "executed"), [([REFUSED], False), ([NO_MESSAGE, REFUSED], False), ([NO_MESSAGE, STORED, REFUSED], None)]
)
async def test_what_may_be_in_the_queue_is_not_denied(answers: list[bytes], executed: bool | None) -> None:
    """Work of which nobody knows whether it was stored is not said to be never run."""
    with pytest.raises(RecordsUnavailableError) as raised:
        await submit_over(*answers)
    assert raised.value.executed is executed


async def test_two_that_submit_one_ticket() -> None:
    """Whoever loses the race for the record reads what the other has written."""
    other = RunRecord(state=RunState.QUEUED, fingerprint="f").to_bytes()
    message = {"message": {"seq": 1, "data": base64.b64encode(other).decode()}}
    with pytest.raises(InvalidRequestError, match="the ticket was used for another request"):
        await submit_over(NO_MESSAGE, CONFLICT, json.dumps(message).encode())


async def test_a_queue_that_nobody_has_made() -> None:
    """Before the first responder has come there is no bucket, which is said like a JetStream that is off."""
    missing = b'{"error": {"code": 404, "err_code": 10059, "description": "stream not found"}}'
    with pytest.raises(NoRespondersError, match="no responder has made the queue yet"):
        await submit_over(missing)


async def test_a_store_that_is_full() -> None:
    """What JetStream refuses is said in its words, and not tried again."""
    with pytest.raises(RecordsUnavailableError, match="insufficient storage"):
        await submit_over(NO_MESSAGE, REFUSED)


async def test_the_one_liners(nats_url: str, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Submitting and reading take one line, from coroutines and from threads."""
    monkeypatch.setenv("NATS_URL", nats_url)
    ticket = await package.submit("2+2?")
    assert await asyncio.to_thread(package.submit_sync, "2+2?", ticket="t2") == "t2"
    assert [listed.ticket for listed in await package.tickets()] == [ticket, "t2"]
    for name in (ticket, "t2"):
        await keep(client, name, success(name))
    assert (await package.result(ticket, timeout=5)).text == "four"
    assert (await asyncio.to_thread(package.result_sync, "t2", timeout=5)).text == "four"
    await package.close_default()
    await asyncio.to_thread(package.close_default_sync)
