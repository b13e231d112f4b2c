"""The provider a worker plugs in, over a connection that we wrote."""

from typing import Any

import pytest

from requester import (
    ClaudeCLIProvider,
    CLINotFoundError,
    Executor,
    NoRespondersError,
    Requester,
    RequesterSettings,
    UnavailableError,
)
from tests.requester.fakes import DOCUMENT, HEALTHY, FakeConnection, success

UNHEALTHY = {"status": "unhealthy", "reason": "the disk is full"}


class FakeRequesterHost:
    """A provider on a fake connection, with what it asks of it."""

    def __init__(self, health: dict[str, Any], **options: Any) -> None:
        self.connection = FakeConnection()
        self.connection.answer = lambda subject, request: (
            HEALTHY.model_copy(update=health).to_bytes() if "health" in subject else success(request["id"]).to_bytes()
        )
        self.requester = Requester(RequesterSettings(), connection=self.connection.as_client())
        self.provider = ClaudeCLIProvider(self.requester, **options)


async def test_it_is_an_executor() -> None:
    """The provider is an executor: prompt, arguments and directory in, what the CLI printed out."""
    host = FakeRequesterHost({})
    executor: Executor = host.provider
    assert host.provider.name == "claude-cli"
    assert await executor.execute("2+2?", ["-p", "--output-format", "json"], "repo") == DOCUMENT
    [request] = host.connection.published
    assert (request["prompt"], request["args"], request["cwd"]) == (
        "2+2?",
        ["-p", "--output-format", "json"],
        "repo",
    )


async def test_default_arguments() -> None:
    """Arguments are the constructor's where a call names none, and none by default."""
    plain, with_args = FakeRequesterHost({}), FakeRequesterHost({}, args=["-p", "--output-format", "json"], timeout=3)
    await plain.provider.execute("2+2?")
    await with_args.provider.execute("2+2?")
    await with_args.provider.execute("2+2?", [])
    assert "args" not in plain.connection.published[0]
    assert [request["args"] for request in with_args.connection.published] == [["-p", "--output-format", "json"], []]
    assert with_args.connection.published[0]["timeout_ms"] <= 3000


async def test_the_wish_to_reuse() -> None:
    """A CLI is used again only where the constructor says so."""
    plain, reusing = FakeRequesterHost({}), FakeRequesterHost({}, reuse=True)
    await plain.provider.execute("2+2?")
    await reusing.provider.execute("2+2?")
    assert "reuse" not in plain.connection.published[0]
    assert reusing.connection.published[0]["reuse"] is True


async def test_initialize_when_all_is_well() -> None:
    """A healthy responder makes initialize return."""
    await FakeRequesterHost({}).provider.initialize()


async def test_initialize_when_unhealthy() -> None:
    """An unhealthy responder makes initialize raise, with its reason; a missing CLI has its own class."""
    with pytest.raises(UnavailableError, match="responder r1 is unhealthy: the disk is full"):
        await FakeRequesterHost(UNHEALTHY).provider.initialize()
    with pytest.raises(CLINotFoundError):
        await FakeRequesterHost({**UNHEALTHY, "cli_available": False}).provider.initialize()


async def test_initialize_without_responders(requester: Requester) -> None:
    """Where nobody listens initialize says so at once."""
    with pytest.raises(NoRespondersError):
        await ClaudeCLIProvider(requester).initialize()


async def test_it_closes_what_is_its_own(nats_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A requester that was given outlives the provider; one of its own is closed with it."""
    host = FakeRequesterHost({})
    await host.provider.close()
    await host.provider.execute("2+2?")
    monkeypatch.setenv("NATS_URL", nats_url)
    own = ClaudeCLIProvider()
    with pytest.raises(NoRespondersError):
        await own.initialize()
    await own.close()
    with pytest.raises(UnavailableError, match="closed"):
        await own.initialize()
