"""A whole program with a real collector, a dead one, a hung one and none."""

import asyncio
import json
import os
import socket
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from examples.demo.collector import Collector

ROOT = Path(__file__).parents[2]
# Hang protection, not a measurement: the bound is 3 s.
FLUSH_GUARD_S = 5.0
PROGRAM_GUARD_S = 30.0


@dataclass(frozen=True)
class Outcome:
    """How the program ended and what it said."""

    status: int
    stdout: str
    stderr: str

    @property
    def told(self) -> Any:
        return json.loads(self.stdout)


async def run_program(*arguments: str, **variables: str) -> Outcome:
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONWARNINGS": "error", **variables}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.telemetry.program", *arguments, env=environment, cwd=ROOT, stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(PROGRAM_GUARD_S):
            stdout, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Outcome(process.returncode or 0, stdout.decode(), stderr.decode())


@asynccontextmanager
async def hung_collector() -> AsyncIterator[str]:
    """Accept connections, read what comes and never answer."""

    async def read_for_ever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            pass
        writer.close()

    server = await asyncio.start_server(read_for_ever, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


async def test_span_reaches_the_collector() -> None:
    """With an endpoint the span arrives, with the resource of program and operator, and nothing is complained of."""
    async with Collector() as collector:
        outcome = await run_program(
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test"
        )
        (span,) = collector.spans
    assert (outcome.status, outcome.stderr) == (0, "")
    assert (span.name, span.service) == ("a span", "the-service")
    assert span.resource is not None
    assert span.resource["service.instance.id"] == "one"
    assert span.resource["given"] == "yes"
    assert span.resource["deployment.environment.name"] == "test"


async def test_operator_headers_and_name() -> None:
    """Compression and the service's name are the operator's, as for every OTLP exporter."""
    async with Collector() as collector:
        await run_program(
            OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{collector.endpoint}/v1/traces",
            OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
            OTEL_SERVICE_NAME="renamed",
        )
        assert [span.service for span in collector.spans] == ["renamed"]


async def test_dead_collector() -> None:
    """A collector that is not there neither holds up the end nor prints a traceback."""
    outcome = await run_program(OTEL_EXPORTER_OTLP_ENDPOINT=closed_port())
    assert outcome.status == 0
    assert outcome.told["flush_s"] < FLUSH_GUARD_S
    assert "Traceback" not in outcome.stderr
    assert "OpenTelemetry: " in outcome.stderr


async def test_hung_collector() -> None:
    """A collector that accepts and never answers does not hold up the end, however patient the exporter is."""
    async with hung_collector() as endpoint:
        usual = run_program(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
        patient = run_program(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_EXPORTER_OTLP_TIMEOUT="10")
        outcomes = await asyncio.gather(usual, patient)
    for outcome in outcomes:
        assert outcome.status == 0
        assert outcome.told["flush_s"] + outcome.told["second_flush_s"] < FLUSH_GUARD_S
        assert "Traceback" not in outcome.stderr


async def test_forgotten_flush() -> None:
    """A program that ends without the flush loses its spans, but is not held up at exit by the SDK."""
    async with hung_collector() as endpoint, asyncio.timeout(PROGRAM_GUARD_S / 2):
        outcome = await run_program(
            "without-flush", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_EXPORTER_OTLP_TIMEOUT=str(PROGRAM_GUARD_S)
        )
    assert outcome.status == 0


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
async def test_nothing_runs_unasked(variables: dict[str, str]) -> None:
    """Without an endpoint, or switched off, there is no export thread and nothing is said."""
    outcome = await run_program(**variables)
    assert (outcome.status, outcome.stderr) == (0, "")
    assert outcome.told["threads"] == []


async def test_exporter_not_installed() -> None:
    """An endpoint without the exporter ends with one line that says what to install."""
    outcome = await run_program("without-exporter", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert outcome.status == 1
    assert outcome.stderr.count("\n") == 1
    assert "claude-nats[otlp]" in outcome.stderr


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_BSP_MAX_QUEUE_SIZE"])
async def test_unusable_variable(name: str) -> None:
    """A variable with a value that cannot be used ends with one line."""
    value = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_BSP_MAX_QUEUE_SIZE": "0"}[name]
    outcome = await run_program(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", **{name: value})
    assert outcome.status == 1
    assert outcome.stderr.count("\n") == 1


async def test_other_provider_is_left_alone() -> None:
    """A provider that is there already, such as opentelemetry-instrument's, stays, and ours starts no thread."""
    outcome = await run_program("with-provider", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert (outcome.status, outcome.stderr) == (0, "")
    assert outcome.told["threads"] == []
