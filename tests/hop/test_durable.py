"""Durable work over the whole hop: what was submitted is done, whatever stops or dies in between."""

import asyncio
import json
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import nats
import pytest
from typer.testing import CliRunner

from requester import (
    DurableQueue,
    ExecuteTimeoutError,
    NoRespondersError,
    Requester,
    RequesterError,
    RequesterSettings,
    ResponderLostError,
    TicketUnknownError,
    execute_with_fallback,
)
from requester.command import app
from responder.stub_api import StubAPI
from tests.hop.conftest import Fleet
from tests.hop.test_connection import unused_port
from tests.support.conditions import wait_until
from tests.support.fake_cli import fake_cli
from tests.support.nats_server import NatsServer

# Notes what it was asked, and waits for a gate.
GATED = "p=$(cat); echo $p >>{home}/runs; until [ -e {home}/gate ]; do sleep 0.02; done; answer $p"


def gated(fleet: Fleet) -> str:
    return str(fake_cli(fleet.home, GATED.format(home=fleet.home)))


def runs(fleet: Fleet) -> list[str]:
    path = fleet.home / "runs"
    return path.read_text().split() if path.exists() else []


async def states(requester: Requester) -> dict[str, str]:
    return {ticket.ticket: ticket.state for ticket in await requester.tickets()}


async def wait_until_taken(server: NatsServer, count: int) -> None:
    """Wait until responders have so many messages that they have not acknowledged."""
    client = await nats.connect(server.url)
    deadline = asyncio.get_running_loop().time() + 5
    taken = -1
    while taken != count:
        said = await client.request("$JS.API.CONSUMER.INFO.claude-cli-jobs.responders", b"", timeout=5)
        taken = json.loads(said.data)["num_ack_pending"]
        assert asyncio.get_running_loop().time() < deadline, taken
    await client.close()


async def test_work_outlives_everything(server: NatsServer, shared: Fleet, requester: Requester) -> None:
    """Work submitted while no responder runs, before NATS is killed, is done later; its result outlives it all."""
    first = await shared.start("r1", cli=gated(shared))
    first.signal()
    assert await first.wait() == 0
    ticket = await requester.submit("one")
    with pytest.raises(ExecuteTimeoutError, match="no result yet: queued") as raised:
        await requester.result(ticket, timeout=0.2)
    assert (raised.value.executed, raised.value.retryable) == (None, True)
    await server.kill()
    await server.start()
    second = await shared.start("r2", cli=gated(shared))
    await wait_until(lambda: runs(shared) == ["one"], "the run")
    assert await states(requester) == {ticket: "running"}
    await server.kill()
    (shared.home / "gate").touch()
    await server.start()
    async with Requester(RequesterSettings(nats_url=server.url)) as another:
        reply = await another.result(ticket, timeout=20)
    assert (reply.text, reply.responder, reply.request_id) == ("one", "r2", ticket)
    second.signal()
    assert await second.wait() == 0
    assert (await requester.result(ticket)).text == "one"
    assert await states(requester) == {ticket: "done"}
    assert runs(shared) == ["one"]


async def test_a_ticket_once_more_is_harmless(shared: Fleet, requester: Requester) -> None:
    """Work submitted twice with one ticket runs once, whether it waits or is done; another one's ticket is refused."""
    (shared.home / "gate").touch()
    responder = await shared.start("r1", "--slots", "1", cli=gated(shared))
    for _ in range(2):
        assert await requester.submit("one", ticket="job:1") == "job:1"
    assert (await requester.result("job:1", timeout=20)).text == "one"
    await requester.submit("one", ticket="job:1")
    await requester.submit("two", ticket="job:2")
    assert (await requester.result("job:2", timeout=20)).text == "two"
    with pytest.raises(RequesterError, match="the ticket was used for another request"):
        await requester.submit("three", ticket="job:1")
    # The one mechanism: a ticket is an idempotency key.
    assert (await requester.execute("one", idempotency_key="job:1")).is_kept
    await responder.wait_until_idle()
    assert runs(shared) == ["one", "two"]


async def test_failures_are_results(shared: Fleet, requester: Requester) -> None:
    """What fails, in the run or at admission, is raised by `result` as `execute` would raise it."""
    cli = str(fake_cli(shared.home, "cat >/dev/null; exit 3"))
    await shared.start("r1", cli=cli, CLAUDE_RESPONDER_TIMEOUT_MAX_S="100")
    for code, options in {
        "cli_error": {},
        "argument_refused": {"args": ["--settings", "x"]},
        "cwd_refused": {"cwd": "/etc"},
        "invalid_request": {"timeout": 101},
    }.items():
        ticket = await requester.submit("hi", **options)  # type: ignore[arg-type] # of several types
        with pytest.raises(RequesterError) as raised:
            await requester.result(ticket, timeout=20)
        assert (raised.value.code, raised.value.request_id) == (code, ticket)
    assert set((await states(requester)).values()) == {"failed"}
    with pytest.raises(TicketUnknownError):
        await requester.result("nobody's")


async def test_a_responder_that_dies(server: NatsServer, shared: Fleet, requester: Requester) -> None:
    """Work whose responder was killed after its start is answered with that, or runs again where that is wanted.

    What it had taken and not started runs elsewhere, whatever was wanted.
    """
    first = await shared.start("r1", "--slots", "3", cli=gated(shared))
    answered = await requester.submit("one")
    again = await requester.submit("two", failover="always")
    await wait_until(lambda: len(runs(shared)) == 2, "the runs")
    first.signal(signal.SIGSTOP)  # it hears no more, but what it has asked for comes to it
    unstarted = await requester.submit("three")
    await wait_until_taken(server, 3)
    first.signal(signal.SIGKILL)
    await first.wait()
    await shared.start("r2", cli=gated(shared))
    (shared.home / "gate").touch()
    with pytest.raises(ResponderLostError) as raised:
        await requester.result(answered, timeout=30)
    assert (raised.value.executed, raised.value.responder) == (True, "r2")
    for ticket in (again, unstarted):
        assert (await requester.result(ticket, timeout=30)).responder == "r2"
    assert sorted(runs(shared)) == ["one", "three", "two", "two"]


async def test_direct_requests_go_first(shared: Fleet, requester: Requester) -> None:
    """Durable work gets the slots that direct requests leave free, and never one that somebody waits for."""
    responder = await shared.start("r1", "--slots", "1", cli=gated(shared))
    direct = [asyncio.create_task(requester.execute(name, timeout=30)) for name in ("a", "b")]
    await wait_until(lambda: len(runs(shared)) == 1, "the first run")
    tickets = [await requester.submit(name) for name in ("x", "y")]
    assert set((await states(requester)).values()) == {"queued"}
    (shared.home / "gate").touch()
    await asyncio.gather(*direct)
    for ticket, name in zip(tickets, ("x", "y"), strict=True):
        assert (await requester.result(ticket, timeout=20)).text == name
    assert sorted(runs(shared)[:2]) == ["a", "b"]
    assert runs(shared)[2:] == ["x", "y"]
    await responder.wait_until_idle()


async def test_a_drain_finishes_what_runs_and_takes_no_more(shared: Fleet, requester: Requester) -> None:
    """A responder that drains ends the durable run it has; what waits is left to another at once."""
    first = await shared.start("r1", "--slots", "1", cli=gated(shared))
    running = await requester.submit("one")
    await wait_until(lambda: runs(shared) == ["one"], "the run")
    waiting = await requester.submit("two")
    first.signal()
    await first.wait_until_said("draining")
    (shared.home / "gate").touch()
    assert await first.wait() == 0
    assert (await requester.result(running)).responder == "r1"
    assert await states(requester) == {running: "done", waiting: "queued"}
    await shared.start("r2", cli=gated(shared))
    assert (await requester.result(waiting, timeout=20)).responder == "r2"
    assert runs(shared) == ["one", "two"]


@pytest.mark.parametrize("failover", ["unstarted", "always"])
async def test_a_stop_that_is_forced(shared: Fleet, requester: Requester, failover: str) -> None:
    """A run that a stop has cut short is answered with that, or goes back into the queue."""
    first = await shared.start("r1", "--drain-grace-s", "0", cli=gated(shared))
    ticket = await requester.submit("one", failover=failover)  # type: ignore[arg-type] # one of the two words
    await wait_until(lambda: runs(shared) == ["one"], "the run")
    first.signal()
    assert await first.wait() == 1
    assert await states(requester) == {ticket: "queued" if failover == "always" else "failed"}


async def test_a_queue_as_a_fallback(shared: Fleet, requester: Requester) -> None:
    """Where nobody takes a request, it can wait in the queue for the first responder that comes."""
    first = await shared.start("r1", cli=gated(shared))
    first.signal()
    await first.wait()
    (shared.home / "gate").touch()
    queue = DurableQueue(requester, timeout=20)
    answering = asyncio.create_task(execute_with_fallback("hi", fallback=queue, requester=requester, timeout=0.3))
    deadline = asyncio.get_running_loop().time() + 10
    while not await requester.tickets():
        assert asyncio.get_running_loop().time() < deadline
    await shared.start("r2", cli=gated(shared))
    assert await answering == "hi"


async def test_without_jetstream_nothing_is_submitted(fleet: Fleet, nats_url: str) -> None:
    """Where NATS keeps nothing, submitting says so at once."""
    responder = await fleet.start("r1", cli="/bin/true")
    await responder.wait_until_said("durable work is not taken: this server has no JetStream")
    async with Requester(RequesterSettings(nats_url=nats_url)) as requester:
        with pytest.raises(NoRespondersError, match="NATS keeps no durable work"):
            await requester.submit("hi")


async def test_an_embedded_server_keeps_what_it_is_given(tmp_path: Path, api: StubAPI) -> None:
    """With a directory for it, results on one machine outlive the responder and its own nats-server."""
    async with AsyncExitStack() as stack:
        fleet = Fleet(f"nats://127.0.0.1:{unused_port()}", api, tmp_path, stack)
        (fleet.home / "gate").touch()
        options = ("--embedded", "--embedded-store", str(tmp_path / "store"))
        async with Requester(RequesterSettings(nats_url=fleet.nats_url)) as requester:
            first = await fleet.start("r1", *options, cli=gated(fleet))
            ticket = await requester.submit("one")
            assert (await requester.result(ticket, timeout=20)).responder == "r1"
            first.signal()
            assert await first.wait() == 0
            await fleet.start("r2", *options, cli=gated(fleet))
            assert (await requester.result(ticket, timeout=20)).responder == "r1"
    assert runs(fleet) == ["one"]


async def test_the_command(shared: Fleet) -> None:
    """`submit` prints a ticket, `tickets` lists it, `result` prints the answer; an unknown one is exit code 12."""
    (shared.home / "gate").touch()
    await shared.start("r1", cli=gated(shared))

    async def run(*arguments: str) -> tuple[int, str]:
        done = await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--nats-url", shared.nats_url])
        return done.exit_code, done.stdout

    status, ticket = await run("submit", "hi", "--failover", "always")
    assert (status, len(ticket)) == (0, 27)
    assert await run("result", ticket.strip(), "--timeout", "20") == (0, "hi\n")
    status, listed = await run("tickets")
    assert (status, listed.split("\t")[:2]) == (0, [ticket.strip(), "done"])
    assert (await run("result", "nobody"))[0] == 12
    assert await run("execute", "ho", "--idempotency-key", "k") == (0, "ho\n")
