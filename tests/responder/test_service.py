"""A request from its arrival to its reply: exactly one, whatever happens."""

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from contract import ErrorCode, ExecuteFailure, ExecuteReply, ExecuteSuccess, RunRecord
from responder.admission import Job
from responder.callers import Anybody
from responder.execution import Audience
from responder.records import MemoryRecords
from responder.run import Runner
from responder.service import Service, ending
from responder.slots import Slots
from tests.responder.parts import INBOX, SECRET, Defective, Outlet, answer, incoming, make_service
from tests.responder.printed import api_error, as_json
from tests.responder.shell import children
from tests.support.conditions import wait_until

pytestmark = pytest.mark.usefixtures("patience")
CANARY = "canary-5f1c9"


def now() -> float:
    return asyncio.get_running_loop().time()


async def ask(service: Service, body: bytes | dict[str, Any], outlet: Outlet | None = None) -> ExecuteReply:
    """Send a request, and give the one reply that comes."""
    outlet = outlet or Outlet()
    raw = body if isinstance(body, bytes) else json.dumps({"prompt": "p", **body}).encode()
    await answer(service, incoming(raw, now()), outlet)
    assert outlet.published[0][0] == INBOX
    return outlet.reply


async def failure_of(service: Service, body: bytes | dict[str, Any]) -> ExecuteFailure:
    reply = await ask(service, body)
    assert isinstance(reply, ExecuteFailure), reply
    return reply


async def test_a_request_is_answered(runner: Runner, tmp_path: Path) -> None:
    """A good request gets its result, its own id, and no header of anybody's."""
    service, outlet = make_service(tmp_path, runner), Outlet()
    body = json.dumps({"prompt": "p", "id": "job-1"}).encode()
    await answer(service, incoming(body, now(), headers={"Status": "503", "X": CANARY}), outlet)
    reply = outlet.reply
    assert isinstance(reply, ExecuteSuccess)
    assert (reply.id, reply.responder, json.loads(reply.result)["result"]) == ("job-1", "r1", "hello")
    assert outlet.published[0][0::2] == (INBOX, {})
    assert (service.statistics.requests, service.statistics.errors) == (1, 0)


async def test_a_request_without_an_id_is_answered_with_one(runner: Runner, tmp_path: Path) -> None:
    """A reply names the request also where the caller did not."""
    reply = await ask(make_service(tmp_path, runner), {})
    assert reply.id is not None
    assert len(reply.id) == 26


RUNS: list[tuple[str, ErrorCode]] = [
    ("", ErrorCode.OUTPUT_INVALID),
    ("echo garbage", ErrorCode.OUTPUT_INVALID),
    ('printf \'{"type":"result",\'', ErrorCode.OUTPUT_INVALID),
    ("printf '\\377'", ErrorCode.OUTPUT_INVALID),
    ("answer hello; exit 3", ErrorCode.CLI_ERROR),
    ("exit 1", ErrorCode.CLI_ERROR),
    ("kill -9 $$", ErrorCode.CLI_KILLED),
    ("exit 143", ErrorCode.CLI_KILLED),
    (
        f"echo '{json.dumps({'type': 'result', 'is_error': True, 'api_error_status': 429})}'; exit 1",
        ErrorCode.RATE_LIMITED,
    ),
    (f"echo '{json.dumps({'type': 'result', 'is_error': True, 'subtype': 'error_max_turns'})}'", ErrorCode.MAX_TURNS),
    ("trap '' INT TERM; while :; do sleep 1; done", ErrorCode.TIMEOUT),
]


@pytest.mark.parametrize(("cli", "code"), RUNS, ids=[f"{code} {number}" for number, (_, code) in enumerate(RUNS)])
async def test_runs_that_fail(runner: Runner, tmp_path: Path, cli: str, code: ErrorCode) -> None:
    """However a run ends there is one reply with its code, ADR-32's headers, and the slot is free again."""
    service, outlet = make_service(tmp_path, runner, cli), Outlet()
    reply = await ask(service, {"timeout_ms": 300 if code is ErrorCode.TIMEOUT else 60_000}, outlet)
    assert isinstance(reply, ExecuteFailure)
    assert (reply.code, reply.executed) == (code, True)
    assert outlet.published[0][2] == reply.headers()
    assert (service.slots.in_flight, service.slots.backlog) == (0, 0)
    assert (service.statistics.errors, service.statistics.last_error) == (1, code)


REFUSALS: list[tuple[bytes | dict[str, Any], ErrorCode]] = [
    (b"", ErrorCode.INVALID_REQUEST),
    (CANARY.encode(), ErrorCode.INVALID_REQUEST),
    (b"\xff\xfe", ErrorCode.INVALID_REQUEST),
    (b"[" * 100_000, ErrorCode.INVALID_REQUEST),
    ({"id": f"{CANARY}!"}, ErrorCode.INVALID_REQUEST),
    ({CANARY[:6]: CANARY}, ErrorCode.INVALID_REQUEST),
    ({"timeout_ms": 3_600_001}, ErrorCode.INVALID_REQUEST),
    ({"args": ["-p"] * 65}, ErrorCode.REQUEST_TOO_LARGE),
    ({"args": ["--settings", CANARY]}, ErrorCode.ARGUMENT_REFUSED),
    ({"args": [CANARY]}, ErrorCode.ARGUMENT_REFUSED),
    ({"cwd": f"/{CANARY}"}, ErrorCode.CWD_REFUSED),
    ({"cwd": "../.."}, ErrorCode.CWD_REFUSED),
]


@pytest.mark.parametrize(("body", "code"), REFUSALS)
async def test_refusals(
    runner: Runner, tmp_path: Path, body: bytes | dict[str, Any], code: ErrorCode, caplog: pytest.LogCaptureFixture
) -> None:
    """What is refused costs no process and no slot, and neither the reply nor the log has any value of it."""
    service = make_service(tmp_path, runner, f"touch {tmp_path / 'started'}; answer hello")
    with caplog.at_level(logging.DEBUG):
        reply = await failure_of(service, body)
    assert (reply.code, reply.executed, reply.retryable) == (code, False, False)
    assert not (tmp_path / "started").exists()
    assert CANARY not in reply.error
    assert CANARY not in caplog.text


async def test_a_refusal_names_the_request(runner: Runner, tmp_path: Path) -> None:
    """A request that could be read is answered under its id, one that could not without any."""
    service = make_service(tmp_path, runner)
    assert (await failure_of(service, {"id": "job-1", "args": ["--settings"]})).id == "job-1"
    assert (await failure_of(service, {"id": "job-1", "prompt": " "})).id == "job-1"
    assert (await failure_of(service, b"{")).id is None


@pytest.mark.parametrize(
    "reply_subject", ["", "$JS.API.STREAM.DELETE.X", "claude.cli.execute", "_INBOXX.a", "_INBOX.>"]
)
async def test_a_foreign_reply_subject_gets_nothing(
    runner: Runner, tmp_path: Path, reply_subject: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A request that asks for its reply outside the inboxes is not run and not answered, and the log says so."""
    service, outlet = make_service(tmp_path, runner, f"touch {tmp_path / 'started'}; answer hello"), Outlet()
    await answer(service, incoming(b'{"prompt": "p"}', now(), reply_subject=reply_subject), outlet)
    assert outlet.published == []
    assert not (tmp_path / "started").exists()
    assert "request dropped: its reply subject is not an inbox under _INBOX" in caplog.text
    assert "DELETE" not in caplog.text


async def test_a_defect_is_internal(runner: Runner, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A defect of ours answers its one request with `internal`; the log says where it was, and nobody its text."""
    service = make_service(tmp_path, runner, directories=Defective(CANARY))
    with caplog.at_level(logging.DEBUG):
        reply = await failure_of(service, {"id": "job-1", "prompt": CANARY})
    assert (reply.code, reply.id, reply.retryable) == ("internal", "job-1", False)
    assert reply.error == "a defect in the responder; see its log"
    assert "defect: ZeroDivisionError" in caplog.text
    assert "in enter" in caplog.text
    assert all(CANARY not in f"{record.getMessage()} {record.exc_text}" for record in caplog.records)
    assert (service.slots.in_flight, service.slots.backlog) == (0, 0)


async def test_after_a_defect_the_next_is_served(runner: Runner, tmp_path: Path) -> None:
    """A defect costs one request, not the responder."""
    slots = Slots(1, 0)
    await failure_of(make_service(tmp_path, runner, directories=Defective(CANARY), slots=slots), {})
    assert (await ask(make_service(tmp_path, runner, slots=slots), {})).success


async def test_an_error_of_the_cli_is_redacted(
    runner: Runner, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What the CLI says on stderr reaches the caller in one line, without the key and without the prompt."""
    service = make_service(tmp_path, runner, '{ cat; echo; echo "key $ANTHROPIC_API_KEY"; } >&2; exit 1')
    with caplog.at_level(logging.DEBUG):
        reply = await failure_of(service, {"prompt": f"{CANARY} launchcode"})
    assert reply.error == "the CLI ended with status 1: *** *** key ***"
    assert SECRET not in caplog.text
    assert CANARY not in caplog.text


async def test_the_log_has_the_outcome_and_no_content(
    runner: Runner, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A request's log line has its id, its code and its times, and neither prompt nor answer."""
    service = make_service(tmp_path, runner, f"answer {CANARY}")
    with caplog.at_level(logging.DEBUG):
        await ask(service, {"id": "job-1", "prompt": CANARY, "args": ["--system-prompt", CANARY]})
    assert "request job-1: success in " in caplog.text
    assert CANARY not in caplog.text


async def test_a_reply_larger_than_the_servers_limit(runner: Runner, tmp_path: Path) -> None:
    """An answer that NATS does not carry becomes a failure that says what to raise."""
    service = make_service(tmp_path, runner, 'answer "$(head -c 5000 /dev/zero | tr "\\0" x)"')
    reply = await ask(service, {}, Outlet(max_payload=2000))
    assert isinstance(reply, ExecuteFailure)
    assert (reply.code, reply.executed) == ("output_too_large", True)
    assert "max_payload here is 2000" in reply.error
    assert service.statistics.last_error == "output_too_large"


# Runs until there is a file `go`, and tells that it has begun.
WAIT = "echo 1 >>{folder}/begun; until [ -e {folder}/go ]; do sleep 0.01; done; answer hello"


async def busy(service: Service, folder: Path, count: int) -> list[asyncio.Task[ExecuteReply]]:
    """Start so many requests, as many of which run as there are slots."""
    tasks = [asyncio.create_task(ask(service, {"id": f"busy-{number}"})) for number in range(count)]
    wanted = min(count, service.slots.count)
    await wait_until(lambda: _lines(folder / "begun") == wanted, "the slots are taken")
    return tasks


async def test_a_full_backlog_refuses_at_once(runner: Runner, tmp_path: Path) -> None:
    """When every slot is taken and the backlog is full, a request is refused at once with when to come back."""
    service = make_service(tmp_path, runner, WAIT.format(folder=tmp_path), slots=Slots(1, 1))
    tasks = await busy(service, tmp_path, 2)
    reply = await failure_of(service, {"id": "late"})
    assert (reply.id, reply.code, reply.executed, reply.retryable) == ("late", "overloaded", False, True)
    assert reply.retry_after_ms is not None
    assert reply.retry_after_ms >= 100
    (tmp_path / "go").touch()
    assert all(reply.success for reply in await asyncio.gather(*tasks))


async def test_a_deadline_that_passes_in_the_backlog(runner: Runner, tmp_path: Path) -> None:
    """A request that waits too long for a slot is never started, and says how long it waited."""
    service = make_service(tmp_path, runner, WAIT.format(folder=tmp_path), slots=Slots(1, 1))
    tasks = await busy(service, tmp_path, 1)
    reply = await failure_of(service, {"timeout_ms": 30})
    assert (reply.code, reply.executed, reply.retryable) == ("timeout", False, True)
    assert reply.wait_ms >= 25
    assert service.statistics.expired == 1
    (tmp_path / "go").touch()
    await asyncio.gather(*tasks)
    assert _lines(tmp_path / "begun") == 1


async def test_what_waits_is_served_by_class_caller_and_age(runner: Runner, tmp_path: Path) -> None:
    """Class, requester and arrival of a message decide when its turn comes, not when it was handled."""
    order = tmp_path / "order"
    script = f"cat >>{order}; echo >>{order}; {WAIT.format(folder=tmp_path)}"
    service, outlet = make_service(tmp_path, runner, script, slots=Slots(1, 10)), Outlet()

    async def ask_as(name: str, caller: str, age_s: float = 0.0, priority: str = "interactive") -> None:
        body = json.dumps({"prompt": name, "priority": priority}).encode()
        message = incoming(body, now() - age_s, reply_subject=f"_INBOX.{caller}.{name}")
        await answer(service, message, outlet)

    tasks = [asyncio.create_task(ask_as("first", "a"))]
    await wait_until((tmp_path / "begun").exists, "the slot is taken")
    waiting = [
        ask_as("batch", "a", 9, "batch"),
        ask_as("new", "c"),
        *(ask_as(f"flood{number}", "a", 3) for number in range(2)),
        ask_as("old", "b", 2),
    ]
    for number, asking in enumerate(waiting):
        tasks.append(asyncio.create_task(asking))
        await wait_until(lambda number=number: service.slots.backlog == number + 1, "it waits")  # type: ignore[misc]
    (tmp_path / "go").touch()
    await asyncio.gather(*tasks)
    assert order.read_text().split() == ["first", "flood0", "old", "new", "flood1", "batch"]


async def test_the_time_on_the_way_counts(runner: Runner, tmp_path: Path) -> None:
    """A deadline is counted from the arrival of a message, not from when its turn came."""
    service, outlet = make_service(tmp_path, runner, f"touch {tmp_path / 'started'}"), Outlet()
    await answer(service, incoming(b'{"prompt": "p", "timeout_ms": 500}', now() - 1), outlet)
    assert isinstance(outlet.reply, ExecuteFailure)
    assert (outlet.reply.code, outlet.reply.executed) == ("timeout", False)
    assert not (tmp_path / "started").exists()


async def test_a_stop_answers_all_that_waits_and_all_that_runs(runner: Runner, tmp_path: Path) -> None:
    """When the responder stops at once, what waits was not executed, what runs is ended, and each gets its reply."""
    service = make_service(tmp_path, runner, WAIT.format(folder=tmp_path), slots=Slots(1, 5))
    tasks = await busy(service, tmp_path, 4)
    service.slots.close()
    runner.stop_all()
    replies = await asyncio.gather(*tasks)
    failures = [reply for reply in replies if isinstance(reply, ExecuteFailure)]
    assert [(reply.code, reply.executed) for reply in failures] == [
        ("responder_stopped", True),
        *[("stopping", False)] * 3,
    ]
    assert (service.slots.in_flight, service.slots.backlog) == (0, 0)


async def test_every_request_gets_its_own_reply(runner: Runner, tmp_path: Path) -> None:
    """Of many requests at a time each gets one reply, on its own subject, with its own answer."""
    service, outlet = make_service(tmp_path, runner, 'answer "$(cat)"', slots=Slots(3, 100)), Outlet()

    async def one(number: int) -> None:
        body = json.dumps({"prompt": f"p{number}", "id": f"i{number}"}).encode()
        await answer(service, incoming(body, now(), reply_subject=f"_INBOX.{number}"), outlet)

    await asyncio.gather(*(one(number) for number in range(30)))
    said = {subject: json.loads(body) for subject, body, _ in outlet.published}
    assert len(outlet.published) == len(said) == 30
    for number in range(30):
        reply = said[f"_INBOX.{number}"]
        assert (reply["id"], json.loads(reply["result"])["result"]) == (f"i{number}", f"p{number}")
    assert service.statistics.requests == 30


async def test_a_cancelled_request_frees_its_slot(runner: Runner, tmp_path: Path) -> None:
    """A request whose task is cancelled ends its run, frees its slot, and is not answered."""
    service, outlet, before = make_service(tmp_path, runner, WAIT.format(folder=tmp_path)), Outlet(), children()
    task = asyncio.create_task(answer(service, incoming(b'{"prompt": "p"}', now()), outlet))
    await wait_until((tmp_path / "begun").exists, "the run")
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert outlet.published == []
    assert (service.slots.in_flight, service.slots.backlog) == (0, 0)
    assert children() == before


class Leaving(Anybody):
    """A caller that may go away after it has given its go."""

    def __init__(self) -> None:
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.audience = Audience(self.gone)

    def leave(self) -> None:
        if not self.gone.done():
            self.gone.set_result(None)


@pytest.mark.parametrize(("leaves", "code"), [(True, ErrorCode.UNCLAIMED), (False, ErrorCode.TIMEOUT)])
async def test_what_is_too_late_after_its_claim_is_not_started(
    runner: Runner, tmp_path: Path, code: ErrorCode, *, leaves: bool
) -> None:
    """Who goes away, or waits no more, while the idempotency key is claimed, starts nothing and leaves no claim."""

    class Slow(MemoryRecords):
        async def write(self, key: str, record: RunRecord | None, revision: int) -> int:
            if leaves:
                caller.leave()
            else:
                await asyncio.sleep(max(0.0, job.deadline - now()))
            return await super().write(key, record, revision)

    service, caller = make_service(tmp_path, runner, f"touch {tmp_path}/begun; answer hello"), Leaving()
    service.keyed.claims.records = Slow(60)
    timeout_ms = 60_000 if leaves else 100
    body = json.dumps({"prompt": "p", "idempotency_key": "k", "timeout_ms": timeout_ms}).encode()
    job = service.admission.admit(service.admission.parse(body), now())
    reply = await service.run(job, caller)
    assert isinstance(reply, ExecuteFailure)
    assert (reply.code, reply.executed) == (code, False)
    assert not (tmp_path / "begun").exists()
    assert not service.keyed.claims._runs


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


async def test_an_unfit_responder_starts_nothing(runner: Runner, tmp_path: Path) -> None:
    """After three refusals of the credential nothing is run for callers, who may ask again; prompts of our own are."""
    ran = tmp_path / "ran"
    refused = as_json(api_error(401, "x")).decode().strip()
    service = make_service(tmp_path, runner, f"echo x >>{ran}; echo '{refused}'; exit 1")
    for _ in range(3):
        assert (await failure_of(service, {})).code == "auth"
    failure = await failure_of(service, {"id": "job-1"})
    assert (failure.code, failure.retryable, failure.executed, failure.id) == ("unfit", True, False, "job-1")
    assert "the API refuses the credential" in failure.error
    assert ran.read_text() == "x\n" * 3
    job = Job("own", "p", service.admission.policy.arguments(None), None, now() + 20)
    assert ending(await service.run(job)) == ("auth", None)
    assert ran.read_text() == "x\n" * 4


async def test_what_waits_for_a_slot_does_not_start_once_unfit(runner: Runner, tmp_path: Path) -> None:
    """A request that gets its slot when the responder has become unfit is refused, before it is let go even."""
    service = make_service(tmp_path, runner, slots=Slots(1, 5))
    with await service.slots.take(now() + 20):
        waiting = asyncio.create_task(failure_of(service, {}))
        await wait_until(lambda: service.slots.backlog == 1, "it waits")
        service.fitness.end(ErrorCode.RATE_LIMITED, 60.0, now())
    assert (await waiting).code == "unfit"
    assert service.slots.in_flight == 0


async def test_when_a_limit_ends_is_heard_of_a_run(runner: Runner, tmp_path: Path) -> None:
    """The time that the CLI tells is the time the responder keeps away."""
    until = round(time.time()) + 100
    limited = as_json(api_error(429, f"limit reached|{until}")).decode().strip()
    service = make_service(tmp_path, runner, f"echo '{limited}'; exit 1")
    assert (await failure_of(service, {})).executed
    assert service.fitness.is_limited
    assert 95 < service.fitness.limit_s(now()) <= 101
