"""Slots, the backlog and large messages, over the whole hop."""

import asyncio

import nats

from contract import ExecuteFailure, ExecuteSuccess
from responder.stub_api import Rule, Script, StubAPI, generated_text
from tests.hop.conftest import SUBJECT, Fleet, RawCaller
from tests.support.conditions import wait_until
from tests.support.fake_cli import fake_cli


async def test_twenty_prompts_on_two_responders(fleet: Fleet, caller: RawCaller, api: StubAPI) -> None:
    """All of them are answered, each with its own answer, and no responder ever runs more CLIs than it has slots."""
    api.use(Script(rules=(Rule(echo=True, delay_s=0.3),)))
    first, second = await asyncio.gather(fleet.start("r1"), fleet.start("r2"))
    peaks = {first.name: 0, second.name: 0}

    async def watch() -> None:
        while True:
            for responder in (first, second):
                peaks[responder.name] = max(peaks[responder.name], len(responder.clis()))
            await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch())
    replies = await asyncio.gather(*(caller.succeed(prompt=f"prompt {number}") for number in range(20)))
    watching.cancel()
    assert all(f'"result":"prompt {number}"' in reply.result for number, reply in enumerate(replies))
    assert {reply.responder for reply in replies} == {"r1", "r2"}
    assert max(peaks.values()) == 5, peaks
    assert api.statistics().peak_in_flight <= 10


async def test_requests_are_served_in_order_of_arrival(fleet: Fleet, caller: RawCaller) -> None:
    """One slot starts waiting requests in the order in which they came."""
    order = fleet.home / "order"
    cli = fake_cli(fleet.home, f"p=$(cat); echo $p >>{order}; sleep 0.05; answer ok")
    await fleet.start("r1", "--slots", "1", cli=str(cli))
    await asyncio.gather(*(caller.succeed(prompt=f"{number}") for number in range(12)))
    assert order.read_text().split() == [str(number) for number in range(12)]


async def test_a_full_backlog_refuses_at_once(fleet: Fleet, caller: RawCaller) -> None:
    """What finds no slot and no place in the backlog is told so, with when to come again; the others are served."""
    gate = fleet.home / "gate"
    cli = fake_cli(fleet.home, f"cat >/dev/null; until [ -e {gate} ]; do sleep 0.02; done; answer ok")
    responder = await fleet.start("r1", "--slots", "1", "--backlog-max", "2", cli=str(cli))
    asked = [asyncio.create_task(caller.ask(prompt="hi")) for _ in range(6)]
    await wait_until(lambda: sum(task.done() for task in asked) == 3, "three are refused")
    refused = [task.result() for task in asked if task.done()]
    assert all(isinstance(reply, ExecuteFailure) and reply.code == "overloaded" for reply in refused)
    assert all(isinstance(reply, ExecuteFailure) and (reply.retry_after_ms or 0) >= 100 for reply in refused)
    gate.touch()
    replies = await asyncio.gather(*asked)
    assert sum(isinstance(reply, ExecuteSuccess) for reply in replies) == 3
    await responder.wait_until_idle()


async def test_a_deadline_that_passes_in_the_backlog_starts_nothing(fleet: Fleet, caller: RawCaller) -> None:
    """The wait counts: a request whose time is over before its turn is answered then, and never starts."""
    started = fleet.home / "started"
    cli = fake_cli(fleet.home, f"cat >>{started}; sleep 1; answer ok")
    await fleet.start("r1", "--slots", "1", cli=str(cli))
    holder = asyncio.create_task(caller.ask(prompt="holder"))
    await wait_until(started.exists, "the slot is taken")
    failure = await caller.fail(prompt="late", timeout_ms=200)
    assert (failure.code, failure.executed) == ("timeout", False)
    assert not holder.done()
    await holder
    assert started.read_text() == "holder"


async def test_large_answers_come_back_whole(fleet: Fleet, caller: RawCaller, api: StubAPI) -> None:
    """An answer of 1 MB, which the CLI's own pipe would cut, is whole every time: 20 of 20."""
    api.use(Script(rules=(Rule(text_bytes=1_000_000),)))
    await fleet.start("r1")
    replies = await asyncio.gather(
        *(caller.succeed(prompt="hi", args=["--output-format", "text"], timeout=120_000) for _ in range(20))
    )
    assert {reply.result for reply in replies} == {generated_text(1_000_000) + "\n"}


async def test_a_large_prompt_arrives_whole(fleet: Fleet, caller: RawCaller, api: StubAPI) -> None:
    """A prompt of 5 MB reaches the API to the byte."""
    await fleet.start("r1")
    prompt = generated_text(5_000_000).strip()
    await caller.succeed(prompt=prompt)
    assert prompt in api.requests[-1].prompt


async def test_an_answer_over_max_payload_says_both_sizes(fleet: Fleet, caller: RawCaller, api: StubAPI) -> None:
    """An answer that NATS cannot carry is a failure that names its size and the limit, not a lost connection."""
    api.use(Script(rules=(Rule(text_bytes=9_000_000),)))
    await fleet.start("r1")
    failure = await caller.fail(prompt="hi")
    assert (failure.code, failure.executed) == ("output_too_large", True)
    assert "max_payload here is 8388608" in failure.error
    assert failure.cost_usd
    api.use(Script(rules=(Rule(text="still here"),)))
    assert "still here" in (await caller.succeed(prompt="hi")).result


async def test_a_prompt_over_the_limit_is_refused_by_size(fleet: Fleet, caller: RawCaller) -> None:
    """A prompt over the responder's limit is refused in one line with both sizes, and starts nothing."""
    await fleet.start("r1", CLAUDE_RESPONDER_PROMPT_MAX_BYTES="1000")
    failure = await caller.fail(prompt="x" * 1001)
    assert (failure.code, failure.executed) == ("request_too_large", False)
    assert "1001 bytes" in failure.error
    assert "1000" in failure.error


async def test_foreign_reply_subjects_get_nothing(fleet: Fleet, nats_url: str) -> None:
    """A request whose reply subject is not an inbox is neither run nor answered: its answer could be an attack."""
    started = fleet.home / "started"
    responder = await fleet.start("r1", cli=str(fake_cli(fleet.home, f'[ -n "$(cat)" ] && touch {started}; answer ok')))
    client = await nats.connect(nats_url)
    heard = await client.subscribe("orders.*")
    for subject in (SUBJECT, "claude.cli.health", "$SRV.PING"):
        await client.publish(subject, b'{"prompt": "hi"}', reply="orders.delete")
    await responder.wait_until_said("reply subject is not an inbox")
    await client.request("claude.cli.health", b"", timeout=10)
    assert heard.pending_msgs == 0
    assert not started.exists()
    await client.close()
