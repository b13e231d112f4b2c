"""`python -m bench.layers`: what each layer of one request costs, in microseconds of CPU.

Each is measured alone, in a loop, on the product's own objects, and compared with the whole of an attended request for
a command that does nothing: all processes, the command included.
"""

import asyncio
import hmac
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import nats
from nats.aio.msg import Msg
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from rich.console import Console
from rich.table import Table

import requester.tracing
import responder.tracing
from bench.cost import ROUNDS, Cost, Work, cost_of, often
from bench.load import Call, measure
from bench.noop import DOCUMENT, write_noop
from contract import (
    ExecuteRequest,
    ExecuteSuccess,
    Frame,
    FrameKind,
    RequestLimits,
    new_ulid,
    parse_reply,
    parse_request,
    read_frame,
)
from requester import Requester, RequesterSettings
from requester.reply import read_reply
from requester.request import build_request
from responder.arguments import ArgumentPolicy
from responder.child import Child
from responder.cli_environment import CLIEnvironment
from responder.outcome import classify
from responder.processes import children_of
from responder.run import Observation
from responder.stub_api import generated_text
from responder.sweep import Sweeper
from responder.working_directory import WorkingDirectories
from tests.support.nats_server import nats_server
from tests.support.responder_process import responder_process

_SUBJECT = "claude.cli.execute"
_CALLS = 300
_MB = 1_000_000
_SMALL_BYTES = 1536
_FRAMES = 4  # ready, go, result, ack
_MESSAGES = 1 + _FRAMES


@dataclass(frozen=True)
class Layer:
    """One thing that is done for a request.

    Attributes:
        name: What it is.
        work: Does it.
        times: How often a small attended request has it done; 0 for what only others have.
        is_extra: Whether the product, or a request that nobody traces, does without it.
    """

    name: str
    work: Work
    times: int = 1
    is_extra: bool = False


async def _nothing(_times: int) -> None:
    """Do nothing: what a message costs is measured between processes."""


MESSAGE = Layer("message: nats-py, nats-server, nats-py", _nothing, _MESSAGES)


def layers(folder: Path) -> list[Layer]:
    """Give all of them.

    Args:
        folder: For working directories and the command that is started.
    """
    return [*_messages(), *_frames(), *_spans(), *_signatures(), *_runs(folder)]


def _messages() -> list[Layer]:
    long_answer = DOCUMENT.replace('"ok"', f'"{"x" * _MB}"')
    return [*_messages_of("hi", DOCUMENT, "", 1), *_messages_of(generated_text(_MB), long_answer, " of 1 MB", 0)]


def _messages_of(prompt: str, printed: str, size: str, times: int) -> list[Layer]:
    asked, replied = _asked(prompt).to_bytes(), _answered(printed)
    body = replied.to_bytes()
    return [
        Layer(f"request{size}: made and written", often(lambda: _asked(prompt).to_bytes()), times),
        Layer(f"request{size}: read and validated", often(lambda: parse_request(asked, _LIMITS)), times),
        Layer(f"reply{size}: made and written", often(lambda: _answered(printed).to_bytes()), times),
        Layer(f"reply{size}: read and validated", often(lambda: parse_reply(body)), times),
        Layer(
            f"reply{size}: the answer found in it",
            often(lambda: read_reply(replied, None, attempts=1, duration_s=1.0)),
            times,
        ),
    ]


_LIMITS = RequestLimits()


def _asked(prompt: str) -> ExecuteRequest:
    return build_request(prompt, args=None, cwd=None, request_id=None)


def _answered(printed: str) -> ExecuteSuccess:
    return ExecuteSuccess(id="i", result=printed, responder="r1", execution_time_ms=1, session_id="s", num_turns=1)


def _frames() -> list[Layer]:
    frame = Frame(FrameKind.READY, instance=new_ulid(), responder="r1", beat=1, beat_ms=750)
    headers = frame.headers()
    return [
        Layer("frame: headers made", often(frame.headers), _FRAMES),
        Layer("frame: read", often(lambda: read_frame(headers, b"")), _FRAMES),
    ]


def _spans() -> list[Layer]:
    provider = TracerProvider(shutdown_on_exit=False)
    asking, serving = requester.tracing.Tracing(provider), responder.tracing.Tracing(provider)
    headers = _traced(asking)
    carried = TraceContextTextMapPropagator().extract(headers)
    context = get_current_span(carried).get_span_context()
    if not context.is_valid:
        raise AssertionError("nothing is recorded")
    silent, deaf = requester.tracing.Tracing(), responder.tracing.Tracing()
    return [
        Layer("spans of the requester, nobody records", often(lambda: _traced(silent))),
        Layer("spans of the responder, nobody records", often(lambda: _served(deaf, {}))),
        Layer("spans of the requester, recorded", often(lambda: _traced(asking)), is_extra=True),
        Layer("spans of the responder, recorded", often(lambda: _served(serving, headers)), is_extra=True),
        Layer("trace context: injected", often(lambda: _PROPAGATOR.inject({}, carried)), is_extra=True),
        Layer("trace context: extracted", often(lambda: _PROPAGATOR.extract(headers)), is_extra=True),
    ]


_PROPAGATOR = TraceContextTextMapPropagator()


def _traced(tracing: requester.tracing.Tracing) -> dict[str, str]:
    """Span a request as the requester does; gives what travels."""
    with tracing.request(_SUBJECT, "i") as span, tracing.attempt(_SUBJECT, 1) as attempt:
        span.count_attempt(1)
        attempt.sent_to(("127.0.0.1", 4222))
        headers = attempt.headers()
        attempt.answered_by("r1")
    return headers


def _served(tracing: responder.tracing.Tracing, headers: dict[str, str]) -> None:
    """Span a request as the responder does."""
    with tracing.process(_SUBJECT, headers, 100) as whole:
        with tracing.wait_for_slot(0):
            pass
        with tracing.invoke_agent() as agent:
            with tracing.cli_process("claude", "cold") as process:
                responder.tracing.current_trace_headers()
                responder.tracing.set_observation(process, _SEEN)
            responder.tracing.set_outcome(agent, _OUTCOME)
        responder.tracing.set_reply(whole, _REPLY)


_SEEN = Observation(stdout=DOCUMENT.encode(), exit_status=0, pid=1)
_OUTCOME = classify(_SEEN, "json")
_REPLY = _answered(DOCUMENT)


def _signatures() -> list[Layer]:
    key, small, large = os.urandom(32), os.urandom(_SMALL_BYTES), os.urandom(_MB)
    return [
        Layer(
            "HMAC-SHA256 of 1.5 KB: what a signature would cost",
            often(lambda: hmac.digest(key, small, "sha256")),
            is_extra=True,
        ),
        Layer("HMAC-SHA256 of 1 MB: what a signature would cost", often(lambda: hmac.digest(key, large, "sha256")), 0),
    ]


def _runs(folder: Path) -> list[Layer]:
    noop = write_noop(folder)
    environment = CLIEnvironment({"HOME": str(folder), "PATH": os.defpath, "ANTHROPIC_API_KEY": "k"})
    policy, sweeper = ArgumentPolicy(), Sweeper()
    for pid in children_of(os.getpid()):
        sweeper.register_other(pid)

    def look() -> None:
        sweeper.register("run", os.getpid())
        if not sweeper.is_swept("run"):
            raise AssertionError("the benchmark has left a process")

    return [
        Layer("arguments: checked and made", often(lambda: policy.arguments(None))),
        Layer("the CLI's environment", often(environment.build)),
        Layer("working directory: made and removed", _directories(folder)),
        Layer("spawn: the responder's part", _spawns(noop)),
        Layer("the sweep's look at what is left", often(look)),
        Layer("the result: classified", often(lambda: classify(_SEEN, "json"))),
    ]


def _directories(folder: Path) -> Work:
    async def work(times: int) -> None:
        directories = WorkingDirectories([], folder)
        for _ in range(times):
            async with directories.enter(None):
                pass
        await directories.close()

    return work


def _spawns(noop: Path) -> Work:
    async def work(times: int) -> None:
        for _ in range(times):
            child = Child.start([str(noop)], env={"PATH": os.defpath}, cwd=os.sep, stdin=b"hi")
            await child.wait()
            child.read_stdout(sys.maxsize >> 32)
            child.close()

    return work


def table(measured: Sequence[tuple[Layer, Cost]], whole_us: float) -> Table:
    """Give what each layer costs, and which part of a request that is.

    Args:
        measured: The layers, each with its cost.
        whole_us: CPU of an attended request in all processes, in microseconds.
    """
    shown = Table(title="CPU of one attended request, by layer", title_justify="left")
    for column in ("layer", "us", "times", "of the whole"):
        shown.add_column(column, justify="left" if column == "layer" else "right", no_wrap=True)
    counted_us = 0.0
    for layer, cost in measured:
        parts = [(layer.name, cost.own_us)]
        if cost.started_us:
            parts.append((f"{layer.name.partition(':')[0]}: what is started", cost.started_us))
        for name, each_us in parts:
            share = f"{each_us * layer.times / whole_us:.1%}"
            if layer.is_extra:
                share = f"(+{share})"
            elif layer.times:
                counted_us += each_us * layer.times
            shown.add_row(name, f"{each_us:.1f}", str(layer.times or "-"), share if layer.times else "-")
    shown.add_section()
    rest_us = whole_us - counted_us
    rest = "the rest: the event loops, and what binds the layers"
    shown.add_row(rest, f"{rest_us:.0f}", "", f"{rest_us / whole_us:.1%}")
    shown.add_row("an attended request, all processes", f"{whole_us:.0f}", "", f"{1:.1%}")
    return shown


async def on_the_wire(folder: Path, calls: int = _CALLS) -> tuple[float, float]:
    """Measure the CPU, in all processes, of attended requests one at a time, and of single messages.

    Args:
        folder: For everything that is written.
        calls: How many in each of several rounds, of which the median counts.

    Returns:
        Microseconds of a request, and of a message from one client of nats-py through the server to another.
    """
    (folder / "nats").mkdir()
    environment = {"HOME": str(folder), "CLAUDE_RESPONDER_CLI": str(write_noop(folder))}
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(nats_server(folder / "nats"))
        await stack.enter_async_context(responder_process("layers", {**environment, "NATS_URL": url}))
        asking = await stack.enter_async_context(Requester(RequesterSettings(nats_url=url)))
        caller, echo = await nats.connect(url), await nats.connect(url)
        stack.push_async_callback(caller.close)
        stack.push_async_callback(echo.close)

        async def answer(message: Msg) -> None:
            await echo.publish(message.reply, message.data)

        await echo.subscribe("echo", cb=answer)
        await echo.flush()
        body = _asked("hi").to_bytes()
        ways: tuple[Call, ...] = (lambda: asking.execute("hi"), lambda: caller.request("echo", body, timeout=30))
        rounds = [[await _cpu_us(way, calls) for way in ways] for _ in range(ROUNDS + 1)]
    # The first round warms up.
    request_us, round_trip_us = (median(each[place] for each in rounds[1:]) for place in (0, 1))
    return request_us, round_trip_us / 2


async def _cpu_us(call: Call, calls: int) -> float:
    return 1000 * (await measure(call, calls=calls, in_flight=1)).cpu_ms


async def main() -> None:
    """Measure, and print the table."""
    with tempfile.TemporaryDirectory(prefix="claude-nats-bench-") as folder:
        whole_us, message_us = await on_the_wire(Path(folder))
        measured = [(layer, await cost_of(layer.work)) for layer in layers(Path(folder))]
    measured.append((MESSAGE, Cost(message_us)))
    Console(width=120).print(table(measured, whole_us))


if __name__ == "__main__":
    asyncio.run(main())
