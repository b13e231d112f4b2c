"""What the requester's tests stand on: NATS, a fake responder, a requester for both, recorded spans."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from requester import Requester, RequesterSettings
from tests.requester.fakes import FakeResponder
from tests.support.nats_server import nats_server


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NATS_URL", raising=False)


@pytest.fixture
async def nats_url(tmp_path: Path) -> AsyncIterator[str]:
    folder = tmp_path / "nats"
    folder.mkdir()
    async with nats_server(folder, "max_payload: 64KB") as url:
        yield url


@pytest.fixture
async def client(nats_url: str) -> AsyncIterator[Client]:
    connection = await nats.connect(nats_url)
    yield connection
    await connection.close()


@pytest.fixture
async def responder(client: Client) -> FakeResponder:
    return await FakeResponder.start(client)


@pytest.fixture
def settings(nats_url: str) -> RequesterSettings:
    return RequesterSettings(nats_url=nats_url, timeout_s=10, backoff_first_s=0.01, backoff_max_s=0.05)


@pytest.fixture
async def requester(settings: RequesterSettings, provider: TracerProvider) -> AsyncIterator[Requester]:
    async with Requester(settings, tracer_provider=provider) as asker:
        yield asker


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(spans: InMemorySpanExporter) -> TracerProvider:
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(spans))
    return made


@pytest.fixture
def unused_url() -> str:
    """Give a loopback address where nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"nats://127.0.0.1:{unused.getsockname()[1]}"
