"""What the requester counts."""

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint

from requester import CircuitOpenError, NoRespondersError, Requester, RequesterSettings
from tests.requester.fakes import FakeResponder


def points(reader: InMemoryMetricReader) -> dict[tuple[str, object], float]:
    """Give the last value of each metric, by its name and error type."""
    data = reader.get_metrics_data()
    assert data
    return {
        (metric.name, (point.attributes or {}).get("error.type")): point.value
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
        if isinstance(point, NumberDataPoint)
    }


async def test_attempts_and_the_circuit(nats_url: str) -> None:
    """Attempts are counted by how they ended, and the circuit's state is there to be watched."""
    reader = InMemoryMetricReader()
    settings = RequesterSettings(nats_url=nats_url, timeout_s=0.05, breaker_min_requests=2, backoff_first_s=0.04)
    async with Requester(settings, meter_provider=MeterProvider([reader])) as requester:
        for _ in range(2):
            with pytest.raises(NoRespondersError):
                await requester.execute("2+2?")
        with pytest.raises(CircuitOpenError):
            await requester.execute("2+2?")
    seen = points(reader)
    assert seen["claude_cli.requester.attempts", "no_responders"] >= 2
    assert seen["claude_cli.requester.circuit.state", None] == 2


async def test_an_answer_is_counted(nats_url: str, responder: FakeResponder) -> None:
    """An attempt that was answered has no error type."""
    reader = InMemoryMetricReader()
    async with Requester(RequesterSettings(nats_url=nats_url), meter_provider=MeterProvider([reader])) as requester:
        await requester.execute("2+2?")
    assert len(responder.seen) == 1
    assert points(reader) == {("claude_cli.requester.attempts", None): 1}
