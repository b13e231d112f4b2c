"""CLIs that serve a caller again: sooner, nothing of one request in another, and the truth about what each has used."""

import asyncio
import contextlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from opentelemetry import context, trace
from opentelemetry.trace import SpanContext, TraceFlags

from examples.demo.collector import Collector
from examples.demo.span import Span
from requester import Requester, RequesterError, RequesterSettings
from responder.stub_api import Match, Rule, Script, StubAPI, Tool
from tests.hop.conftest import Fleet, RawCaller, wait_until_standing_by
from tests.hop.test_standby import steady
from tests.support.responder_process import ResponderProcess

ARGS = ["--dangerously-skip-permissions"]
REQUESTS = 500
CALLERS = 2
SERVED_MAX = 40
_CANARY = re.compile(r"CANARY-(\d+)-")


def canary(number: int) -> str:
    return f"CANARY-{number}-x"


def has_tool(number: int) -> bool:
    return number % 5 == 0


def trace_id(number: int) -> str:
    return f"{number + 1:032x}"


def rule(number: int) -> Rule:
    """Answer with the canary, and for some after a tool has looked around and left the canary wherever it can."""
    match = Match(prompt=canary(number))
    if not has_tool(number):
        return Rule(match=match, echo=True)
    name = canary(number)
    leave = f"mkdir -p deep/{name}; cd deep; echo {name} > {name}; export STAYS={name}"
    leave += "; (sleep 300 &)" if number % 50 == 0 else ""
    command = f"echo $STAYS; pwd; cat .[a-z]* * 2>/dev/null; find . ; {leave}; echo {name}"
    return Rule(match=match, tool=Tool(name="Bash", input={"command": command}), text=name)


@contextlib.asynccontextmanager
async def reusing(fleet: Fleet, caller: RawCaller, *args: str, **more: str) -> AsyncIterator[ResponderProcess]:
    """Start a responder whose CLIs serve again, and wait until one stands ready; at the end there is none."""
    allowed = {"CLAUDE_RESPONDER_ALLOW": ",".join(args), "CLAUDE_RESPONDER_STANDBY_ARGS": json.dumps([args])}
    limits = {"CLAUDE_RESPONDER_STANDBY_MAX": "12", "CLAUDE_RESPONDER_REUSE_MAX": str(SERVED_MAX)}
    responder = await fleet.start("r1", "--slots", "4", **limits, **allowed, **more)
    await wait_until_standing_by(caller, "r1")
    yield responder
    responder.signal()
    assert await responder.wait() == 0


async def until_kept(caller: RawCaller, count: int) -> None:
    """Wait until so many CLIs wait for their caller."""
    async with asyncio.timeout(20):
        while (await health(caller))["kept"] != count:  # noqa: ASYNC110 # it answers, and tells nothing by itself
            await asyncio.sleep(0.02)


async def health(caller: RawCaller) -> dict[str, Any]:
    """Ask the responder how it is."""
    reply: dict[str, Any] = json.loads((await caller.client.request("claude.cli.health.r1", b"", timeout=5)).data)
    return reply


async def ask(requester: Requester, number: int) -> str:
    """Ask in a trace of its own, and give what the CLI printed."""
    parent = SpanContext(number + 1, number + 1, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(parent)))
    try:
        return (await requester.execute(f"say {canary(number)}", args=ARGS, reuse=True)).raw
    finally:
        context.detach(token)


async def ask_all(url: str, numbers: Sequence[int]) -> dict[int, str]:
    """Ask for them as one caller, by two at once."""
    left, printed = iter(numbers), {}
    async with Requester(RequesterSettings(nats_url=url)) as requester:

        async def ask_on() -> None:
            for number in left:
                printed[number] = await ask(requester, number)

        await asyncio.gather(ask_on(), ask_on())
    return printed


def canaries(text: str) -> set[int]:
    return set(map(int, _CANARY.findall(text)))


async def test_nothing_of_a_request_is_in_another(fleet: Fleet, api: StubAPI, caller: RawCaller) -> None:
    """Of 500 requests of two callers, most by CLIs that have served before, none sees anything of another."""
    api.use(Script(rules=tuple(map(rule, range(REQUESTS)))))
    async with Collector() as collector:
        async with reusing(fleet, caller, *ARGS, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint):
            answers = await asyncio.gather(
                *(ask_all(fleet.nats_url, range(place, REQUESTS, CALLERS)) for place in range(CALLERS))
            )
        spans = await collector.wait_for(
            lambda seen: sum(span.name == "claude_code.interaction" for span in seen) >= REQUESTS, 20
        )
    assert sum(map(len, answers)) == REQUESTS
    assert_answers({number: printed for some in answers for number, printed in some.items()})
    assert_bodies(api)
    assert_traces(spans, collector.bodies)


def assert_answers(answers: dict[int, str]) -> None:
    """Each answer is its own, and costs what one request costs."""
    costs = defaultdict(set)
    for number, printed in answers.items():
        assert canaries(printed) == {number}
        document = json.loads(printed)
        usage = {name: value for model in document["modelUsage"].values() for name, value in model.items()}
        used = (document["total_cost_usd"], usage["inputTokens"], usage["outputTokens"], document["num_turns"])
        costs[has_tool(number)].add((*used, round(usage["costUSD"], 9)))
        assert document["duration_api_ms"] <= document["duration_ms"] + 1
    assert {is_tool: len(kinds) for is_tool, kinds in costs.items()} == {False: 1, True: 1}, costs


def assert_bodies(api: StubAPI) -> None:
    """What the API receives has the canary of one request."""
    assert len(api.requests) == REQUESTS + len(list(filter(has_tool, range(REQUESTS))))
    for request in api.requests:
        assert len(canaries(json.dumps(request.body))) == 1


def assert_traces(spans: Sequence[Span], bodies: Sequence[bytes]) -> None:
    """Each request has a trace of its own, and each CLI one caller."""
    for body in bodies:
        assert b"CANARY" not in body
    turns = Counter(span.trace_id for span in spans if span.name == "claude_code.interaction")
    assert turns == dict.fromkeys(map(trace_id, range(REQUESTS)), 1)
    processes = [span for span in spans if span.name == "claude"]
    kinds = Counter(str(span.attributes["claude_cli.start.type"]) for span in processes)
    assert kinds["reused"] > REQUESTS // 2, kinds
    callers, served = defaultdict(set), Counter[object]()
    for span in processes:
        pid = span.attributes["process.pid"]
        served[pid] += 1
        callers[pid].add((int(span.trace_id, 16) - 1) % CALLERS)
    assert all(len(of) == 1 for of in callers.values())
    assert max(served.values()) <= SERVED_MAX


async def test_what_the_api_is_told_more(fleet: Fleet, api: StubAPI, caller: RawCaller) -> None:
    """Of a CLI that serves again it receives what a fresh one sends, and three texts about `/clear`."""
    async with reusing(fleet, caller), Requester(RequesterSettings(nats_url=fleet.nats_url)) as requester:
        fresh = await requester.execute("hi", reuse=True)
        await until_kept(caller, 1)
        again = await requester.execute("hi", reuse=True)
    first, second = [request.body for request in api.requests]
    said = second["messages"][0]["content"]
    told = [block["text"] for block in said if "local-command" in block["text"] or "command-name" in block["text"]]
    assert len(told) == 3
    assert sum(map(len, told)) < 500
    said[:] = [block for block in said if block["text"] not in told]
    for body in (first, second):
        assert "x-anthropic-billing-header" in body["system"].pop(0)["text"]
    assert steady(json.dumps(first)) == steady(json.dumps(second))
    assert set(json.loads(fresh.raw)) == set(json.loads(again.raw))
    assert steady(fresh.raw) == steady(again.raw)


async def test_a_tool_that_remembers_ends_it(fleet: Fleet, api: StubAPI, caller: RawCaller) -> None:
    """A prompt that a request has scheduled is not there any more for the next one: `/clear` alone would keep it."""
    job = {"cron": "* * * * *", "prompt": "later", "recurring": True}
    schedule = Rule(match=Match(prompt="schedule"), tool=Tool(name="CronCreate", input=job), text="done")
    look = Rule(match=Match(prompt="look"), tool=Tool(name="CronList"), text="done")
    api.use(Script(rules=(schedule, look)))
    async with reusing(fleet, caller), Requester(RequesterSettings(nats_url=fleet.nats_url)) as requester:
        await requester.execute("schedule", reuse=True)
        await wait_until_standing_by(caller, "r1")
        assert (await health(caller))["kept"] == 0
        await requester.execute("look", reuse=True)
    scheduled, listed = (json.dumps(request.body["messages"][-1]) for request in api.requests[1::2])
    assert "Scheduled recurring job" in scheduled
    assert "No scheduled jobs" in listed


async def test_only_who_wants_it_and_may(fleet: Fleet, api: StubAPI, caller: RawCaller) -> None:
    """A caller has its own, keeps none without asking for it, and loses the one that a failed run has used."""
    api.use(Script(rules=(Rule(match=Match(prompt="fail"), status=400),)))
    settings = RequesterSettings(nats_url=fleet.nats_url)
    async with reusing(fleet, caller), Requester(settings) as requester, Requester(settings) as other:
        await requester.execute("hi")
        await caller.succeed(prompt="hi", reuse=True)
        await wait_until_standing_by(caller, "r1")
        assert (await health(caller))["kept"] == 0
        await requester.execute("hi", reuse=True)
        await until_kept(caller, 1)
        await other.execute("hi", reuse=True)
        await until_kept(caller, 2)
        with pytest.raises(RequesterError):
            await requester.execute("fail", reuse=True)
        await until_kept(caller, 1)


async def test_its_memory_of_the_directory_ends_it(fleet: Fleet, api: StubAPI, caller: RawCaller) -> None:
    """What a request writes where the CLI has the model keep its memory is not told to the next one."""
    place = f"{fleet.home}/.claude/projects/$(pwd -P | tr -c 'a-zA-Z0-9\\n' -)/memory"
    command = {"command": f"mkdir -p {place}; echo REMEMBERED | tee {place}/MEMORY.md"}
    api.use(Script(rules=(Rule(match=Match(prompt="keep"), tool=Tool(name="Bash", input=command), text="done"),)))
    async with reusing(fleet, caller, *ARGS), Requester(RequesterSettings(nats_url=fleet.nats_url)) as requester:
        await requester.execute("keep", args=ARGS, reuse=True)
        await wait_until_standing_by(caller, "r1")
        await requester.execute("look", args=ARGS, reuse=True)
    assert ["REMEMBERED" in json.dumps(request.body["messages"]) for request in api.requests] == [False, True, False]
