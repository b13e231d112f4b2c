"""One trace across the hop, from the worker's span to the CLI's own, with nothing of a prompt in it."""

import asyncio
import json
import sys
from collections.abc import Sequence

import pytest

from examples.demo.collector import Collector
from examples.demo.span import Span
from responder.stub_api import Rule, Script, StubAPI, Tool
from tests.hop.conftest import Fleet, RawCaller
from tests.support.responder_process import ROOT

CANARY = "canary-b17fe0c2d9"
KEY = "sk-ant-canary-e5a1f07731"


def parents(spans: Sequence[Span]) -> dict[str, str | None]:
    """Give each span's name with the name of its parent."""
    names = {span.span_id: span.name for span in spans}
    return {span.name: names.get(span.parent_id or "") for span in spans}


async def test_one_trace_from_the_worker_to_the_llm_request(fleet: Fleet, api: StubAPI) -> None:
    """Worker, request, attempt, responder, agent, process and the CLI's own spans are one tree."""
    api.use(Script(rules=(Rule(text="hello"),)))
    async with Collector() as collector:
        tracing = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
        await fleet.start("r1", **tracing)
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "requester", "hi",
            env={"NATS_URL": fleet.nats_url, "PYTHONPATH": str(ROOT), **tracing},
            stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert await worker.wait() == 0
        spans = await collector.wait_for(lambda seen: len(seen) >= 9, 20)
    assert len({span.trace_id for span in spans}) == 1
    tree = parents(spans)
    assert tree["claude-requester"] is None
    assert tree["request claude.cli.execute"] == "claude-requester"
    assert tree["send claude.cli.execute"] == "request claude.cli.execute"
    assert tree["process claude.cli.execute"] == "send claude.cli.execute"
    assert tree["wait for slot"] == "process claude.cli.execute"
    assert tree["invoke_agent claude-code"] == "process claude.cli.execute"
    assert tree["claude"] == "invoke_agent claude-code"
    assert tree["claude_code.interaction"] == "claude"
    assert tree["claude_code.llm_request"] == "claude_code.interaction"
    by_name = {span.name: span for span in spans}
    assert by_name["process claude.cli.execute"].kind == "server"
    assert by_name["send claude.cli.execute"].attributes["claude_cli.responder"] == "r1"
    agent = by_name["invoke_agent claude-code"].attributes
    assert agent["gen_ai.usage.output_tokens"] == 20
    assert agent["claude_cli.cost_usd"] == pytest.approx(0.001)
    assert by_name["claude"].attributes["process.exit.code"] == 0
    assert all(span.status == "unset" for span in spans if not span.name.startswith("claude_code"))


async def test_a_refused_request_is_a_short_red_span(fleet: Fleet, caller: RawCaller) -> None:
    """Shed load stays visible: a span with the reply's code, below the caller's own."""
    async with Collector() as collector:
        await fleet.start("r1", cli="/bin/true", OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        await caller.ask(prompt="hi", args=["--nope"], headers={"traceparent": parent})
        (span,) = await collector.wait_for(len, 20)
    assert (span.trace_id, span.parent_id) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    assert (span.status, span.status_message, span.attributes["error.type"]) == ("error", "", "argument_refused")


async def test_nothing_is_exported_without_an_endpoint(fleet: Fleet, caller: RawCaller, api: StubAPI) -> None:
    """Without an endpoint the CLI gets no telemetry variables, and the responder makes no exporter."""
    api.use(Script(rules=(Rule(tool=Tool(name="Bash", input={"command": "env"}), text="done"),)))
    await fleet.start("r1", CLAUDE_RESPONDER_ALLOW="--dangerously-skip-permissions")
    await caller.succeed(prompt="hi", args=["--dangerously-skip-permissions"])
    sent = "".join(json.dumps(request.body) for request in api.requests)
    assert "DISABLE_AUTOUPDATER=1" in sent
    assert "OTEL_" not in sent
    assert "ENABLE_TELEMETRY" not in sent


async def test_a_dead_collector_delays_nothing_and_loses_nothing(fleet: Fleet, caller: RawCaller) -> None:
    """Answers come and the drain ends, whatever the collector does."""
    responder = await fleet.start("r1", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1")
    await caller.succeed(prompt="hi")
    responder.signal()
    assert await asyncio.wait_for(responder.wait(), 15) == 0
    assert not any("Traceback" in line for line in responder.log)


SCRIPTS = [
    Rule(text=f"the answer holds {CANARY} too"),
    Rule(status=400, message=f"bad request: {CANARY} and {KEY}"),
    Rule(status=401, message=f"invalid key {KEY}"),
    Rule(tool=Tool(name="Bash", input={"command": f"echo {CANARY}"}), text=CANARY),
    Rule(hang=True),
]


@pytest.mark.parametrize("rule", SCRIPTS, ids=["success", "api error", "auth", "tool", "timeout"])
async def test_a_canary_is_in_no_log_span_or_error(fleet: Fleet, caller: RawCaller, api: StubAPI, rule: Rule) -> None:
    """Neither the prompt nor the answer nor the API key appears in what is logged, exported or said of an error."""
    api.use(Script(rules=(rule,)))
    skip = "--dangerously-skip-permissions"
    async with Collector() as collector:
        responder = await fleet.start(
            "r1",
            "--log-level",
            "debug",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
            ANTHROPIC_API_KEY=KEY,
            CLAUDE_RESPONDER_ALLOW=skip,
        )
        args = [skip, "--append-system-prompt", f"be {CANARY}"]
        reply = await caller.ask(prompt=f"say {CANARY} please", args=args, timeout_ms=6000)
        await caller.fail(prompt=CANARY, args=["--model", f"-{CANARY}"])
        await collector.wait_for(lambda seen: sum(span.name.startswith("process") for span in seen) == 2, 20)
        responder.signal()
        assert await responder.wait() == 0
        # What the API itself says of an error stands in the CLI's own spans, which leave the CLI directly.
        is_echo = rule.message is not None
        exported = b"".join(body for body in collector.bodies if not (is_echo and b"claude_code." in body))
    assert api.requests
    assert CANARY in api.requests[0].prompt
    said = reply.to_bytes() if not reply.success else b""
    for text in (exported, "\n".join(responder.log).encode(), said):
        assert CANARY.encode() not in text
        assert KEY.encode() not in text
