"""Idempotency keys over the whole hop: one run for one key, whichever responder is asked."""

import asyncio
import signal

import nats
import pytest

from requester import InvalidRequestError, RecordsUnavailableError, Requester, RequesterSettings
from tests.hop.conftest import Fleet
from tests.support.conditions import wait_until
from tests.support.fake_cli import fake_cli
from tests.support.nats_server import NatsServer
from tests.support.responder_process import responder_process

# Notes that it runs, and waits for a gate.
GATED = 'cat >/dev/null; echo $$ >>{folder}/runs; until [ -e {folder}/gate ]; do sleep 0.02; done; answer "$$"'


def runs(fleet: Fleet) -> int:
    """Give how many runs there have been."""
    path = fleet.home / "runs"
    return len(path.read_text().splitlines()) if path.exists() else 0


async def test_a_repeat_joins_the_run_on_another_responder(shared: Fleet, requester: Requester) -> None:
    """Many requests with one key on two responders are one run, and each gets its answer under its own id."""
    cli = str(fake_cli(shared.home, GATED.format(folder=shared.home)))
    await asyncio.gather(*(shared.start(name, "--slots", "2", cli=cli) for name in ("r1", "r2")))
    asked = [
        asyncio.create_task(requester.execute("hi", idempotency_key="job:1", request_id=f"i{number}"))
        for number in range(12)
    ]
    await wait_until(lambda: runs(shared) == 1, "the run")
    # Joined requests hold no slot: another key finds one, though there are four slots and twelve requests.
    other = asyncio.create_task(requester.execute("hi", idempotency_key="job:2"))
    await wait_until(lambda: runs(shared) == 2, "the other's run")
    (shared.home / "gate").touch()
    replies = await asyncio.gather(*asked)
    assert len({reply.text for reply in replies}) == 1
    assert [reply.request_id for reply in replies] == [f"i{number}" for number in range(12)]
    assert sorted(reply.is_kept for reply in replies) == [False] + [True] * 11
    assert not (await other).is_kept
    assert runs(shared) == 2


async def test_a_kept_result_outlives_everything(server: NatsServer, shared: Fleet, requester: Requester) -> None:
    """A large result is given again, to the byte, after NATS was killed and other responders were started."""
    text = f'answer "$(head -c {3 * 2**20} /dev/urandom | base64 -w 0)"'
    cli = str(fake_cli(shared.home, f"cat >/dev/null; echo >>{shared.home}/runs; {text}"))
    first = await shared.start("r1", cli=cli)
    reply = await requester.execute("hi", idempotency_key="job:1")
    first.signal()
    assert await first.wait() == 0
    await server.kill()
    await server.start()
    await shared.start("r2", cli=cli)
    kept = await requester.execute("hi", idempotency_key="job:1")
    assert (kept.raw, kept.responder, kept.is_kept) == (reply.raw, "r1", True)
    assert len(kept.text) == 4 * 2**20
    assert runs(shared) == 1


async def test_the_claim_of_a_killed_responder_is_taken_over(shared: Fleet, requester: Requester) -> None:
    """A repeat runs on another responder when the one that ran the first has gone."""
    cli = str(fake_cli(shared.home, GATED.format(folder=shared.home)))
    first = await shared.start("r1", cli=cli)
    lost = asyncio.create_task(requester.execute("hi", idempotency_key="job:1"))
    await wait_until(lambda: runs(shared) == 1, "the run")
    await shared.start("r2", cli=cli)
    first.signal(signal.SIGKILL)
    await first.wait()
    again = asyncio.create_task(requester.execute("hi", idempotency_key="job:1"))
    await wait_until(lambda: runs(shared) == 2, "the second run")
    (shared.home / "gate").touch()
    assert (await again).responder == "r2"
    lost.cancel()
    await asyncio.wait({lost})


async def test_a_key_is_of_one_request(shared: Fleet, requester: Requester) -> None:
    """The same key with another prompt is refused."""
    await shared.start("r1", cli=str(fake_cli(shared.home, "cat >/dev/null; answer ok")))
    await requester.execute("hi", idempotency_key="job:1")
    with pytest.raises(InvalidRequestError, match="the idempotency key was used for another request"):
        await requester.execute("ho", idempotency_key="job:1")


async def test_without_jetstream_each_responder_keeps_its_own(fleet: Fleet, nats_url: str) -> None:
    """On a server without JetStream a repeat is joined and kept by the one responder that there is."""
    (fleet.home / "gate").touch()
    responder = await fleet.start("r1", cli=str(fake_cli(fleet.home, GATED.format(folder=fleet.home))))
    await responder.wait_until_said("kept in memory and durable work is not taken: this server has no JetStream")
    async with Requester(RequesterSettings(nats_url=nats_url)) as requester:
        first = await requester.execute("hi", idempotency_key="job:1", timeout=20)
        again = await requester.execute("hi", idempotency_key="job:1", timeout=20)
    assert (again.text, again.is_kept, runs(fleet)) == (first.text, True, 1)
    environment = fleet.environment(cli="/bin/true", CLAUDE_RESPONDER_JETSTREAM="required")
    async with responder_process("r2", environment, ready=False) as refusing:
        assert await asyncio.wait_for(refusing.wait(), 20) == 1
    assert "JetStream is required: this server has no JetStream" in refusing.log[-1]


async def test_records_that_cannot_be_reached(server: NatsServer, shared: Fleet, requester: Requester) -> None:
    """When the bucket has gone nothing is run for a key, and the caller is told so; without a key all goes on."""
    await shared.start("r1", cli=str(fake_cli(shared.home, f"cat >/dev/null; echo >>{shared.home}/runs; answer ok")))
    client = await nats.connect(server.url)
    await client.request("$JS.API.STREAM.DELETE.KV_claude-cli-runs", b"", timeout=5)
    await client.close()
    with pytest.raises(RecordsUnavailableError):
        await requester.execute("hi", idempotency_key="job:1", timeout=1)
    assert runs(shared) == 0
    await requester.execute("hi")
    assert runs(shared) == 1
