"""The command: what goes to stdout, what to stderr, and which exit code tells what."""

import asyncio
import contextlib
import os
import pty
import signal
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from typer.testing import CliRunner, Result

import requester
from contract import ErrorCode, FrameKind
from requester import RequesterError, exit_codes
from requester.command import app
from requester.errors import ERRORS
from tests.requester import programs
from tests.requester.fakes import CANARY, DOCUMENT, FakeInstance, FakeResponder, failure, success
from tests.support.conditions import wait_until


async def invoke(*arguments: str, stdin: bytes | None = None) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, list(arguments), input=stdin)


def spans_of(body: bytes) -> list[Span]:
    resources = ExportTraceServiceRequest.FromString(body).resource_spans
    return [span for resource in resources for scope in resource.scope_spans for span in scope.spans]


@pytest.fixture
def command(nats_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("NATS_URL", nats_url)
    return invoke


async def test_the_answer_and_nothing_else(nats_url: str, responder: FakeResponder) -> None:
    """On a pipe stdout is the answer and stderr is empty; the process ends with 0 and without a warning."""
    outcome = await programs.finish(
        await programs.start(*programs.STRICT, "-m", "requester", "2+2?", environ={"NATS_URL": nats_url})
    )
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, "four\n", "")
    assert responder.requests[0]["prompt"] == "2+2?"


@pytest.mark.parametrize("arguments", [(), ("-",)])
async def test_the_prompt_from_stdin(command: Any, responder: FakeResponder, arguments: tuple[str, ...]) -> None:
    """Without a prompt, or with -, it is read from stdin, in UTF-8."""
    result = await command(*arguments, stdin="2+2=½?".encode())
    assert (result.exit_code, result.stdout) == (0, "four\n")
    assert responder.requests[0]["prompt"] == "2+2=½?"


async def test_options_travel(command: Any, responder: FakeResponder) -> None:
    """Arguments with a dash, the directory and the timeout reach the responder."""
    result = await command(
        "2+2?", "--arg=--output-format", "--arg=json", "--arg", "-p", "--cwd", "repo", "--timeout", "7.5",
        "--idempotency-key", "job:1", "--priority", "batch",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    request = responder.requests[0]
    assert (request["args"], request["cwd"]) == (["--output-format", "json", "-p"], "repo")
    assert (request["idempotency_key"], request["priority"]) == ("job:1", "batch")
    assert 6_500 < request["timeout_ms"] <= 7_500


async def test_a_class_that_there_is_not(command: Any, responder: FakeResponder) -> None:
    """A class that there is not is refused in one line, and nothing is asked."""
    result = await command("2+2?", "--priority", "urgent")
    assert (result.exit_code, result.stdout) == (exit_codes.exit_code(ERRORS[ErrorCode.INVALID_REQUEST]("")), "")
    assert result.stderr == (
        "claude-requester: request refused: priority: Input should be 'interactive' or 'batch' [invalid_request]\n"
    )
    assert responder.requests == []


async def test_the_raw_document(command: Any, responder: FakeResponder) -> None:
    """With --json what the CLI printed is printed, to the byte."""
    result = await command("2+2?", "--json")
    assert result.stdout == DOCUMENT
    assert len(responder.seen) == 1


async def test_what_utf8_cannot_carry(command: Any, responder: FakeResponder) -> None:
    """An answer cut in the middle of a character is still printed."""
    document = '{"type":"result","result":"cut \\ud83d"}'
    responder.answer = lambda request: success(request["id"], document).to_bytes()
    result = await command("2+2?")
    assert (result.exit_code, result.stdout) == (0, "cut ?\n")


async def test_a_stream(client: Client, nats_url: str, responder: FakeResponder) -> None:
    """With --stream each line is printed when the CLI has printed it, and nothing of it again at the end."""
    responder.answer = lambda _: None
    environ = {"NATS_URL": nats_url}
    process = await programs.start(*programs.STRICT, "-m", "requester", "--stream", "2+2?", environ=environ)
    assert process.stdout is not None
    try:
        await wait_until(lambda: len(responder.seen) == 1, "the request arrives")
        instance = await FakeInstance.start(client, responder.seen[0].reply)
        await instance.say(FrameKind.READY, responder="r1", beat_ms=60_000)
        await wait_until(lambda: FrameKind.GO in instance.told, "it is told to start")
        await instance.say(FrameKind.OUTPUT, offset=0, body=b'{"type":"system"}\n')
        async with asyncio.timeout(10):
            assert await process.stdout.readline() == b'{"type":"system"}\n'
    except BaseException:
        process.kill()
        raise
    finishing = asyncio.create_task(programs.finish(process))
    reply = success(responder.requests[0]["id"], f'{{"type":"system"}}\n{DOCUMENT}')
    await instance.say(FrameKind.RESULT, body=reply.to_bytes())
    outcome = await finishing
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, DOCUMENT, "")
    assert responder.requests[0]["args"] == ["--output-format", "stream-json", "--verbose"]


@pytest.mark.parametrize("printed", ["four", "four\n"])
async def test_a_stream_of_text(command: Any, responder: FakeResponder, printed: str) -> None:
    """A format that the caller names is kept; what comes all at once is printed once, as a whole line."""
    responder.answer = lambda request: success(request["id"], printed).to_bytes()
    result = await command("2+2?", "--stream", "--arg=--output-format=text")
    assert (result.exit_code, result.stdout) == (0, "four\n")
    assert responder.requests[0]["args"] == ["--output-format=text"]


@pytest.mark.parametrize(("failover", "expected", "requests"), [("unstarted", 11, 1), ("always", 0, 2)])
async def test_a_lost_responder(
    command: Any, nats_url: str, responder: FakeResponder, failover: str, expected: int, requests: int
) -> None:
    """A responder that is lost after it has started is an error, unless the caller allows a second run."""
    responder.answer = lambda request: None if len(responder.seen) == 1 else success(request["id"]).to_bytes()
    asking = asyncio.create_task(command("2+2?", "--failover", failover, "--timeout", "20"))
    await wait_until(lambda: len(responder.seen) == 1, "the request arrives")
    async with await nats.connect(nats_url) as of_its_own:
        instance = await FakeInstance.start(of_its_own, responder.seen[0].reply)
        await instance.say(FrameKind.READY, responder="r1", beat_ms=60_000)
        await wait_until(lambda: FrameKind.GO in instance.told, "it is told to start")
    result = await asking
    assert (result.exit_code, len(responder.requests)) == (expected, requests)


async def test_a_summary_when_asked(command: Any, responder: FakeResponder) -> None:
    """With --verbose one line on stderr says who, how long and how much."""
    result = await command("2+2?", "--verbose")
    assert result.stdout == "four\n"
    assert result.stderr.startswith("claude-requester: answered by r1 in 0.")
    assert result.stderr.endswith(" s for $0.2500\n")
    responder.answer = lambda request: success(request["id"], cost_usd=None).to_bytes()
    assert "for an unknown cost" in (await command("2+2?", "--verbose")).stderr


async def test_another_server_and_fleet(nats_url: str, responder: FakeResponder) -> None:
    """Server and fleet can be named on the command line."""
    await FakeResponder.start(responder.client, "team.cli")
    result = await invoke("2+2?", "--nats-url", nats_url, "--subject-prefix", "team.cli")
    assert (result.exit_code, result.stdout) == (0, "four\n")
    assert not responder.seen


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("argument_refused", 3),
        ("timeout", 5),
        ("auth", 6),
        ("rate_limited", 7),
        ("cli_not_found", 8),
        ("max_turns", 9),
        ("output_too_large", 10),
        ("responder_stopped", 11),
        ("internal", 1),
        ("from_the_future", 1),
    ],
)
async def test_the_exit_code_tells_what(command: Any, responder: FakeResponder, code: str, expected: int) -> None:
    """Each family of errors has its exit code, and its one line on stderr."""
    responder.answer = lambda request: failure(request["id"], code, error=f"so {code}\nit is").to_bytes()
    result = await command("2+2?")
    assert (result.exit_code, result.stdout) == (expected, "")
    assert result.stderr == f"claude-requester: so {code} it is [{code}]\n"


async def test_unavailable(command: Any) -> None:
    """Nobody there is 4, after the time that the caller allows."""
    result = await command("2+2?", "--timeout", "0.5")
    assert result.exit_code == 4
    assert result.stderr.startswith("claude-requester: no responder listens on claude.cli.execute (")


@pytest.mark.parametrize(
    ("arguments", "stdin", "expected"),
    [
        (["2+2?", "--timeout", "soon"], None, 2),
        (["2+2?", "--frobnicate"], None, 2),
        (["ticket"], None, 2),
        (["sumbit", "2+2?"], None, 2),
        (["2+2?", "--failover", "sometimes"], None, 2),
        (["2+2?", "--nats-url", f"nats://u:{CANARY}@h:x"], None, 2),
        (["-"], b"\xff" + CANARY.encode(), 2),
        (["2+2?", "--timeout", "0"], None, 3),
        ([" "], None, 3),
    ],
)
async def test_what_cannot_be_asked(arguments: list[str], stdin: bytes | None, expected: int) -> None:
    """A wrong command line or setting is 2, a request that cannot be one is 3; neither shows a value."""
    result = await invoke(*arguments, stdin=stdin)
    assert (result.exit_code, result.stdout) == (expected, "")
    assert CANARY not in result.stderr


async def test_a_setting_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings and telemetry that cannot be used are told in one line."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    result = await invoke("2+2?")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    monkeypatch.setenv("CLAUDE_REQUESTER_TIMEOUT", "3")
    result = await invoke("2+2?")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "CLAUDE_REQUESTER_TIMEOUT_S" in result.stderr


def test_every_error_has_an_exit_code() -> None:
    """Every class of the tree has an exit code that the help explains."""
    for kind in ERRORS.values():
        assert exit_codes.exit_code(kind("m")) in exit_codes.MEANINGS
    assert exit_codes.exit_code(RequesterError("m")) == 1
    assert exit_codes.exit_code(ERRORS[ErrorCode.NOT_PERMITTED]("m")) == 6
    assert exit_codes.exit_code(requester.NotConnectedError("m", executed=None)) == exit_codes.RESPONDER_LOST
    assert set(exit_codes.EXIT_CODES.values()) < set(exit_codes.MEANINGS)


async def test_the_help_explains_the_exit_codes() -> None:
    """The table of exit codes is part of the help, one line each."""
    result = await invoke("--help")
    assert result.exit_code == 0
    for code, meaning in exit_codes.MEANINGS.items():
        assert f"{code}  {meaning}\n" in result.stdout


async def test_ctrl_c(nats_url: str, responder: FakeResponder) -> None:
    """An interrupt ends it with 130 and without a traceback."""
    responder.answer = lambda _: None
    process = await programs.start(*programs.STRICT, "-m", "requester", "2+2?", environ={"NATS_URL": nats_url})
    finishing = asyncio.create_task(programs.finish(process))
    await wait_until(lambda: len(responder.seen) == 1, "the request arrives")
    process.send_signal(signal.SIGINT)
    outcome = await finishing
    assert (outcome.status, outcome.stdout, outcome.stderr) == (130, "", "")


async def test_a_defect(nats_url: str) -> None:
    """A defect of ours is one line and exit code 1, not a traceback."""
    script = """
        import sys
        from requester import __main__, command
        command._ask = lambda *_, **__: 1 / 0
        sys.argv = ["claude-requester", "2+2?"]
        __main__.main()
    """
    outcome = await programs.run_script(script, NATS_URL=nats_url)
    assert (outcome.status, outcome.stdout) == (1, "")
    assert outcome.stderr == "claude-requester: a defect of the requester: ZeroDivisionError\n"


async def test_a_spinner_for_people(nats_url: str, responder: FakeResponder) -> None:
    """On a terminal stderr shows that it waits, and for how long; stdout is still the answer alone."""
    responder.answer = lambda _: None
    master, terminal = pty.openpty()
    seen = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):
            seen.extend(os.read(master, 4096))

    asyncio.get_running_loop().add_reader(master, read)
    try:
        process = await programs.start(
            "-m", "requester", "2+2?", stderr=terminal, environ={"NATS_URL": nats_url, "TERM": "xterm"}
        )
        os.close(terminal)
        finishing = asyncio.create_task(programs.finish(process))
        await wait_until(lambda: b"waiting for the answer" in seen and b"0:00:0" in seen, "the spinner", 20)
        await wait_until(lambda: len(responder.seen) == 1, "the request arrives")
        await responder.client.publish(responder.seen[0].reply, success(responder.requests[0]["id"]).to_bytes())
        outcome = await finishing
    finally:
        asyncio.get_running_loop().remove_reader(master)
        os.close(master)
    assert (outcome.status, outcome.stdout) == (0, "four\n")


async def test_its_trace_is_exported(nats_url: str, responder: FakeResponder) -> None:
    """With an endpoint the command exports its trace, and what it sends is part of it."""
    bodies: list[bytes] = []

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        )
        bodies.append(await reader.readexactly(length))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(collect, "127.0.0.1", 0)
    async with server:
        endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        outcome = await programs.finish(
            await programs.start(
                "-m",
                "requester",
                CANARY,
                environ={
                    "NATS_URL": nats_url,
                    "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
                    "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
                },
            )
        )
    assert (outcome.status, outcome.stderr) == (0, "")
    assert CANARY.encode() not in b"".join(bodies)
    spans = {span.name: span for body in bodies for span in spans_of(body)}
    command = spans["claude-requester"]
    request, attempt = spans["request claude.cli.execute"], spans["send claude.cli.execute"]
    assert (request.parent_span_id, attempt.parent_span_id) == (command.span_id, request.span_id)
    assert responder.seen[0].headers
    assert responder.seen[0].headers["traceparent"].split("-")[1:3] == [attempt.trace_id.hex(), attempt.span_id.hex()]
