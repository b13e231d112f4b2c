"""A CLI that was started ahead gives what a cold one gives, sooner."""

import json
import re
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from contract import ExecuteSuccess
from examples.demo.collector import Collector
from responder.stub_api import Rule, Script, StubAPI, Tool
from tests.hop.conftest import Fleet, RawCaller, cli_path, wait_until_standing_by
from tests.support.conditions import wait_until
from tests.support.responder_process import ResponderProcess

PROMPTS = ("hi", "  a \r\n\ttext\u2028 of 😀 \n\n", "#memo", "!ls", "@file.txt", "/nonsense", "x" * 300_000)
ARGUMENTS = (
    ["--output-format", "text"],
    ["--output-format", "stream-json", "--verbose"],
    ["--output-format", "stream-json", "--verbose", "--include-partial-messages"],
    ["--model", "sonnet", "--max-turns", "3", "--tools", "Bash"],
    ["--json-schema", '{"type":"object","properties":{"a":{"type":"string"}}}'],
)
# What differs between any two runs: ids, times, the working directory.
_VOLATILE = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"_stub(_\d+)+"), "_STUB"),
    (re.compile(r"claude-responder-run-[a-z0-9_-]{8}[/-][0-9a-f]{8}"), "DIRECTORY"),
    (re.compile(r'("(?:duration_ms|duration_api_ms|ttft_ms|ttft_stream_ms|time_to_request_ms)":)\d+'), r"\1N"),
)


Pair = tuple[ExecuteSuccess, ExecuteSuccess]


def steady(text: str) -> str:
    """Take out of a text what differs between any two runs."""
    for pattern, name in _VOLATILE:
        text = pattern.sub(name, text)
    return text


async def start_ahead(fleet: Fleet, caller: RawCaller, *args: list[str], **more: str) -> ResponderProcess:
    """Start a responder, and wait until a CLI with each of these lists of arguments stands ready."""
    fixed = {"CLAUDE_RESPONDER_STANDBY_ARGS": json.dumps(args)} if args else {}
    limits = {"CLAUDE_RESPONDER_STANDBY_MAX": str(1 + len(args))}
    responder = await fleet.start("r1", "--slots", "1", **limits, **fixed, **more)
    await wait_until_standing_by(caller, "r1", max(1, len(args)))
    return responder


def standing_by(responder: ResponderProcess) -> set[int]:
    """Give the processes that were started ahead."""
    return {pid for pid in responder.descendants() if "--input-format" in _command_line(pid)}


async def ask_ahead_and_cold(fleet: Fleet, caller: RawCaller, requests: Sequence[Mapping[str, Any]]) -> list[Pair]:
    """Ask for the same of CLIs that were started ahead and of cold ones, one after another."""
    lists = [request["args"] for request in requests if "args" in request]
    responder = await start_ahead(fleet, caller, *lists)
    ahead = []
    for request in requests:
        await wait_until_standing_by(caller, "r1", max(1, len(lists)))
        before = standing_by(responder)
        ahead.append(await caller.succeed(**request))
        await wait_until(lambda before=before: not before <= responder.descendants(), "one of these has served it")  # type: ignore[misc] # the loop's own
    responder.signal()
    assert await responder.wait() == 0
    await fleet.start("r1", "--slots", "1")
    return [(await caller.succeed(**request), served) for request, served in zip(requests, ahead, strict=True)]


def assert_the_same_twice(api: StubAPI) -> None:
    """Compare what the API received of the first half of the runs with what it received of the other."""
    sent = [steady(json.dumps(request.body, sort_keys=True)) for request in api.requests]
    names = {"content-length", "host", "x-client-request-id", "x-claude-code-session-id"}
    headers = [{name: value for name, value in each.headers.items() if name not in names} for each in api.requests]
    half = len(sent) // 2
    assert sent[:half] == sent[half:]
    assert headers[:half] == headers[half:]
    assert sent


async def test_the_api_receives_the_same(fleet: Fleet, caller: RawCaller, api: StubAPI) -> None:
    """For the same request it gets the same body and headers, but for ids; the replies have the same fields."""
    pairs = await ask_ahead_and_cold(fleet, caller, [{"prompt": prompt} for prompt in PROMPTS])
    assert len(api.requests) == 2 * len(PROMPTS)
    assert_the_same_twice(api)
    for cold, ahead in pairs:
        assert set(cold.model_dump(exclude_none=True)) == set(ahead.model_dump(exclude_none=True))
        assert steady(cold.result) == steady(ahead.result)


async def test_every_format_is_as_a_cold_one_prints_it(fleet: Fleet, caller: RawCaller, api: StubAPI) -> None:
    """Text, events and results are to the byte what a cold CLI prints for the same arguments, but for ids and times."""
    requests = [{"prompt": "hi", "args": args} for args in ARGUMENTS]
    for cold, ahead in await ask_ahead_and_cold(fleet, caller, requests):
        assert steady(ahead.result) == steady(cold.result)
    assert_the_same_twice(api)


async def test_a_tool_finds_the_same_place(fleet: Fleet, caller: RawCaller, api: StubAPI) -> None:
    """Its directory is fresh and empty, and its environment is that of a cold run; nothing is left of it afterwards."""
    args = ["--dangerously-skip-permissions"]
    look = "pwd; ls -A; env | cut -d= -f1 | sort; sleep 300 >/dev/null 2>&1 &"
    api.use(Script(rules=(Rule(tool=Tool(name="Bash", input={"command": look}), text="done"),)))
    responder = await start_ahead(fleet, caller, args, CLAUDE_RESPONDER_ALLOW=args[0])
    await caller.succeed(prompt="hi", args=args)
    responder.signal()
    assert await responder.wait() == 0
    cold = await fleet.start("r1", "--slots", "1", CLAUDE_RESPONDER_ALLOW=args[0])
    await caller.succeed(prompt="hi", args=args)
    await cold.wait_until_idle()
    seen = [steady(json.dumps(request.body["messages"][-1])) for request in api.requests[1::2]]
    assert "DIRECTORY" in seen[0]
    assert seen[0] == seen[1]


async def test_its_spans_are_in_the_trace_of_its_request(fleet: Fleet, caller: RawCaller) -> None:
    """A process that has begun before its request has that request for a parent."""
    async with Collector() as collector:
        await start_ahead(fleet, caller, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        await caller.ask(prompt="hi", headers={"traceparent": parent})
        spans = await collector.wait_for(
            lambda seen: {"claude", "claude_code.llm_request"} <= {span.name for span in seen}, 20
        )
    names = {span.span_id: span.name for span in spans}
    by_name = {span.name: span for span in spans}
    assert {span.trace_id for span in spans} == {"0af7651916cd43dd8448eb211c80319c"}
    assert names[by_name["claude_code.interaction"].parent_id or ""] == "claude"
    assert by_name["claude"].attributes["claude_cli.start.type"] == "standby"


async def test_a_deadline_ends_it(fleet: Fleet, caller: RawCaller, api: StubAPI) -> None:
    """A tool that hangs is ended with its CLI, and the reply says that it ran."""
    args = ["--dangerously-skip-permissions"]
    api.use(Script(rules=(Rule(tool=Tool(name="Bash", input={"command": "sleep 300"}), text="done"),)))
    responder = await start_ahead(fleet, caller, args, CLAUDE_RESPONDER_ALLOW=args[0])
    failure = await caller.fail(prompt="hi", args=args, timeout_ms=3000)
    assert (failure.code, failure.executed) == ("timeout", True)
    assert not [pid for pid in responder.descendants() if _command_line(pid).startswith("sleep")]


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_none_outlives_its_responder(fleet: Fleet, caller: RawCaller, number: signal.Signals) -> None:
    """What stands ready is ended with the responder, however that ends."""
    responder = await start_ahead(fleet, caller)
    waiting = standing_by(responder)
    assert waiting
    responder.signal(number)
    await responder.wait()
    await wait_until(lambda: not any(_command_line(pid) for pid in waiting), "they have gone")


async def test_another_cli_in_its_place(fleet: Fleet, caller: RawCaller, tmp_path: Path) -> None:
    """A request that comes after the CLI was replaced is served by the new one."""
    cli = tmp_path / "claude"
    shutil.copy(cli_path(), cli)
    responder = await start_ahead(fleet, caller, cli=str(cli))
    before = standing_by(responder)
    new = tmp_path / "new"
    shutil.copy(cli_path(), new)
    new.replace(cli)
    await caller.succeed(prompt="hi")
    await wait_until(lambda: not before & responder.descendants(), "the old ones have gone")
