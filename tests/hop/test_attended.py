"""The attended exchange, from a requester to a CLI: cancelled, streamed, in parts, moved, lost; nothing runs twice."""

import asyncio
import hashlib
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from requester import Reply, Requester, RequesterSettings, ResponderLostError
from responder.stub_api import StubAPI
from tests.hop.conftest import Fleet, RawCaller
from tests.requester.programs import start_script
from tests.support.conditions import wait_until
from tests.support.fake_cli import fake_cli
from tests.support.nats_server import nats_server
from tests.support.responder_process import ResponderProcess

# The CLI's start is not what these tests are about, and this is as deaf as a CLI can be.
DEAF = "cat >/dev/null; trap '' INT TERM; while :; do sleep 0.05; done"
# Notes each run by its prompt; one whose prompt begins with `hold` waits for a file.
NOTING = """
prompt=$(cat)
echo "$prompt" >>{home}/runs
case $prompt in hold*) until [ -e {home}/gate ]; do sleep 0.02; done ;; esac
answer "$prompt"
"""
# Lines as they come; each but the first waits for a file.
STREAM = """
cat >/dev/null
echo '{{"type":"system","subtype":"init"}}'
for name in one two; do
  until [ -e {home}/$name ]; do sleep 0.02; done
  echo '{{"type":"assistant","text":"'$name' é"}}'
done
answer done
"""
STREAM_ARGS = ["-p", "--output-format", "stream-json", "--verbose"]


@pytest.fixture
async def ask(nats_url: str) -> AsyncIterator[Requester]:
    async with Requester(RequesterSettings(nats_url=nats_url, timeout_s=60)) as open_requester:
        yield open_requester


@pytest.fixture
async def impatient(nats_url: str) -> AsyncIterator[Requester]:
    """Give a requester that soon asks again: NATS goes on to give a frozen responder its share of the requests."""
    settings = RequesterSettings(nats_url=nats_url, timeout_s=60, accept_timeout_s=0.2)
    async with Requester(settings) as open_requester:
        yield open_requester


def noting(fleet: Fleet) -> str:
    """Give a CLI that notes its runs."""
    return str(fake_cli(fleet.home, NOTING.format(home=fleet.home)))


def runs(fleet: Fleet) -> Counter[str]:
    """Give how often each prompt was run."""
    path = fleet.home / "runs"
    return Counter(path.read_text().split() if path.exists() else [])


async def hold(ask: Requester, fleet: Fleet, prompt: str, **options: str) -> asyncio.Task[Reply]:
    """Have a request run that waits for the gate."""
    task = asyncio.create_task(ask.execute(prompt, request_id=prompt, **options))  # type: ignore[arg-type] # handed on
    await wait_until(lambda: runs(fleet)[prompt] == 1, f"{prompt} runs")
    return task


async def backlog_of(ask: Requester, responder: ResponderProcess, count: int) -> None:
    """Wait until so many requests wait at a responder."""
    async with asyncio.timeout(10):
        while (await ask.health(responder=responder.name)).backlog != count:
            pass


async def test_cancelling_ends_the_cli(fleet: Fleet, ask: Requester) -> None:
    """A cancelled `execute()` ends its CLI soon, though it ignores what can be ignored, and the slot is free again."""
    responder = await fleet.start("r1", "--slots", "1", cli=str(fake_cli(fleet.home, DEAF)))
    for _ in range(2):
        asked = asyncio.create_task(ask.execute("hi"))
        await wait_until(lambda: bool(responder.clis()), "it runs")
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await wait_until(lambda: not responder.descendants(), "no process is left", 5)


async def test_a_cancelled_request_that_waits_never_starts(fleet: Fleet, ask: Requester) -> None:
    """Whoever gives up while waiting leaves the backlog, and its prompt is not run."""
    responder = await fleet.start("r1", "--slots", "1", cli=noting(fleet))
    held = await hold(ask, fleet, "hold")
    waiting = asyncio.create_task(ask.execute("waits"))
    await backlog_of(ask, responder, 1)
    waiting.cancel()
    await backlog_of(ask, responder, 0)
    (fleet.home / "gate").touch()
    assert (await held).text == "hold"
    assert (await ask.execute("next")).text == "next"
    assert runs(fleet) == {"hold": 1, "next": 1}


async def test_an_exception_of_the_listener_ends_the_run(fleet: Fleet, ask: Requester) -> None:
    """What a caller's `on_output` raises comes out of `execute()`, and the CLI is ended."""
    responder = await fleet.start("r1", cli=str(fake_cli(fleet.home, STREAM.format(home=fleet.home))))

    def refuse(_text: str) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await ask.execute("hi", args=STREAM_ARGS, on_output=refuse)
    await wait_until(lambda: not responder.descendants(), "no process is left", 5)


async def test_a_killed_requester_leaves_no_cli(fleet: Fleet) -> None:
    """The CLIs of a requester that was killed are ended soon; what waited is not started."""
    cli = str(fake_cli(fleet.home, f"echo >>{fleet.home}/runs\n{DEAF}"))
    responder = await fleet.start("r1", "--slots", "2", cli=cli)
    script = """
        import asyncio, requester
        async def main():
            names = ("one", "two", "three")
            await asyncio.gather(*(requester.execute("hi", request_id=name, timeout=120) for name in names))
        asyncio.run(main())
    """
    program = await start_script(script, NATS_URL=fleet.nats_url)
    await wait_until(lambda: len(responder.clis()) == 2, "two run", 20)
    program.kill()
    await program.communicate()
    await wait_until(lambda: not responder.descendants(), "no process is left", 8)
    await wait_until(lambda: sum("request " in line for line in responder.log) == 3, "all three are over")
    codes = sorted(line.partition("request ")[2].split()[1] for line in responder.log if "request " in line)
    assert codes == ["cancelled", "cancelled", "unclaimed"]
    assert len((fleet.home / "runs").read_text().splitlines()) == 2


@pytest.mark.parametrize("max_payload", ["64KB", "1MB"])
async def test_prompts_and_answers_of_any_size(tmp_path: Path, api: StubAPI, max_payload: str) -> None:
    """A prompt of 9 MB and an answer of 20 MB arrive whole, however little one message may carry."""
    prompt = os.urandom(4_500_000).hex()
    cli = "answer \"$(sha256sum | cut -c 1-64)$(head -c 20000000 /dev/zero | tr '\\0' x)\""
    async with nats_server(tmp_path, f"max_payload: {max_payload}") as url, AsyncExitStack() as stack:
        fleet = Fleet(url, api, tmp_path, stack)
        await fleet.start("r1", cli=str(fake_cli(tmp_path, cli)))
        async with Requester(RequesterSettings(nats_url=url)) as ask:
            text = (await ask.execute(prompt, timeout=60)).text
    assert text[:64] == hashlib.sha256(prompt.encode()).hexdigest()
    assert text[64:] == "x" * 20_000_000


async def test_output_comes_while_it_is_printed(fleet: Fleet, ask: Requester) -> None:
    """Each line is heard before the next is printed, and all of them together are the reply's `raw`."""
    await fleet.start("r1", cli=str(fake_cli(fleet.home, STREAM.format(home=fleet.home))))
    heard: list[str] = []
    asked = asyncio.create_task(ask.execute("hi", args=STREAM_ARGS, on_output=heard.append))
    await wait_until(lambda: "".join(heard).count("\n") == 1, "the first line")
    for number, name in enumerate(("one", "two"), 2):
        assert not asked.done()
        assert name not in "".join(heard)
        (fleet.home / name).touch()
        await wait_until(lambda number=number: "".join(heard).count("\n") >= number, "the next line")  # type: ignore[misc] # the loop's own
    reply = await asked
    assert reply.text == "done"
    assert "".join(heard) == reply.raw


async def test_what_waits_at_a_responder_that_stops_moves_at_once(fleet: Fleet, ask: Requester) -> None:
    """On SIGTERM waiting requests go to another responder while the running one finishes; none fails or runs twice."""
    cli = noting(fleet)
    first = await fleet.start("r1", "--slots", "1", cli=cli)
    held = await hold(ask, fleet, "hold")
    waiting = [asyncio.create_task(ask.execute(f"w{number}", request_id=f"w{number}")) for number in range(5)]
    await backlog_of(ask, first, 5)
    await fleet.start("r2", cli=cli)
    first.signal(signal.SIGTERM)
    replies = await asyncio.gather(*waiting)
    assert [(reply.text, reply.responder) for reply in replies] == [(f"w{number}", "r2") for number in range(5)]
    assert not held.done()
    (fleet.home / "gate").touch()
    assert (await held).responder == "r1"
    assert await first.wait() == 0
    assert runs(fleet) == {"hold": 1, **{f"w{number}": 1 for number in range(5)}}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_responder_that_is_lost(fleet: Fleet, impatient: Requester, how: signal.Signals) -> None:
    """What waited there moves, what ran is lost unless its caller allows a second run, and nothing else runs twice."""
    ask = impatient
    cli = noting(fleet)
    first = await fleet.start("r1", "--slots", "2", cli=cli, CLAUDE_RESPONDER_STEAL="false")
    lost = await hold(ask, fleet, "hold-lost")
    moved = await hold(ask, fleet, "hold-moved", failover="always")
    waiting = asyncio.create_task(ask.execute("waits", request_id="waits"))
    await backlog_of(ask, first, 1)
    await fleet.start("r2", cli=cli)
    first.signal(how)
    try:
        with pytest.raises(ResponderLostError) as failure:
            await asyncio.wait_for(lost, 10)
        assert (failure.value.executed, failure.value.responder) == (True, "r1")
        assert (await waiting).responder == "r2"
        await wait_until(lambda: runs(fleet)["hold-moved"] == 2, "it runs again")
        (fleet.home / "gate").touch()
        reply = await moved
        assert (reply.text, reply.responder) == ("hold-moved", "r2")
    finally:
        if how is signal.SIGSTOP:
            first.signal(signal.SIGCONT)
    if how is signal.SIGSTOP:
        # What NATS has given it meanwhile lay in its socket, and is handled by now.
        await first.wait_until_said("request waits: ")
        await backlog_of(ask, first, 0)
        await first.wait_until_idle()
    assert runs(fleet) == {"hold-lost": 1, "hold-moved": 2, "waits": 1}


async def test_plain_requests_go_on_beside(fleet: Fleet, ask: Requester, caller: RawCaller) -> None:
    """Whoever knows nothing of the exchange shares slots and backlog with those who do, and is answered once."""
    responder = await fleet.start("r1", "--slots", "1", cli=noting(fleet))
    held = await hold(ask, fleet, "hold")
    plain = [asyncio.create_task(caller.succeed(prompt=f"plain{number}")) for number in range(3)]
    await backlog_of(ask, responder, 3)
    attended = [asyncio.create_task(ask.execute(f"attended{number}")) for number in range(3)]
    await backlog_of(ask, responder, 6)
    (fleet.home / "gate").touch()
    assert (await held).text == "hold"
    assert [f'"plain{number}"' in reply.result for number, reply in enumerate(await asyncio.gather(*plain))] == [
        True
    ] * 3
    assert [reply.text for reply in await asyncio.gather(*attended)] == [f"attended{number}" for number in range(3)]
    assert set(runs(fleet).values()) == {1}
