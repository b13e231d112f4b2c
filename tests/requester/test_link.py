"""What nats-py's errors and silences mean; without a server."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from nats import errors as nats_errors
from nats.aio import errors as old_errors
from nats.js import errors as js_errors

from contract import Frame, FrameKind, Subjects, new_ulid
from requester import (
    ExecuteTimeoutError,
    NotConnectedError,
    NotPermittedError,
    Requester,
    RequesterError,
    RequesterSettings,
    RequestTooLargeError,
)
from requester.hop import Hop
from requester.link import FOREIGN_ERRORS, Link, translate
from tests.requester.fakes import CANARY, SUBJECT, FakeConnection, other_tasks
from tests.support.conditions import wait_until

NATS_ERRORS = [
    kind for _, kind in inspect.getmembers(nats_errors, inspect.isclass) if issubclass(kind, nats_errors.Error)
]
OLD_ERRORS = [
    kind for _, kind in inspect.getmembers(old_errors, inspect.isclass) if issubclass(kind, nats_errors.Error)
]


@pytest.fixture
def connection() -> FakeConnection:
    return FakeConnection()


@pytest.fixture
def requester(connection: FakeConnection) -> Requester:
    settings = RequesterSettings(backoff_first_s=0.01, backoff_max_s=0.01, reply_grace_s=0)
    return Requester(settings, connection=connection.as_client())


def test_every_error_of_nats_is_mapped() -> None:
    """Each error class of nats-py has its meaning in the table; a new one has to be given one."""
    assert len(NATS_ERRORS) >= 28
    assert set(NATS_ERRORS) <= set(FOREIGN_ERRORS)


@pytest.mark.parametrize("kind", [*OLD_ERRORS, js_errors.Error, ConnectionResetError])
def test_a_derived_error_is_translated(kind: type[Exception]) -> None:
    """An error derived from a known one, by nats-py itself or by the system, is translated by its ancestor."""
    make: Any = kind
    error = make("subject", "reply", 1, None) if issubclass(kind, nats_errors.SlowConsumerError) else make()
    assert isinstance(translate(error), RequesterError)


def test_what_a_translation_says() -> None:
    """A translated error says that nothing was sent, and shows no user-info."""
    error = translate(nats_errors.Error(f"nats: no way to nats://u:{CANARY}@h"))
    assert str(error) == "the request was not sent (nats: no way to nats://***@h)"
    assert isinstance(error, NotConnectedError)
    assert error.executed is False
    assert isinstance(translate(nats_errors.Error("nats: 'Authorization Violation'")), NotPermittedError)
    assert isinstance(translate(nats_errors.AuthorizationError()), NotPermittedError)
    assert translate(nats_errors.BadSubjectError()).retryable is False


async def test_an_error_while_publishing(requester: Requester, connection: FakeConnection) -> None:
    """An error of nats-py leaves as ours, with the cause, and is retried where nothing was sent."""
    errors = iter([nats_errors.OutboundBufferLimitError(), nats_errors.ConnectionReconnectingError()])

    async def fail() -> None:
        error = next(errors, None)
        if error is not None:
            raise error

    connection.publishing = fail
    assert (await requester.execute("2+2?")).attempts == 3
    errors = iter([nats_errors.BadHeaderError("x")])
    with pytest.raises(RequesterError, match="invalid header") as caught:
        await requester.execute("2+2?")
    assert isinstance(caught.value.__cause__, nats_errors.BadHeaderError)
    assert "0 in flight" in repr(requester)


async def test_headers_count_against_the_limit(requester: Requester, connection: FakeConnection) -> None:
    """A request larger than the server's limit is refused before it is published, by both sizes."""
    connection.max_payload = 100
    with pytest.raises(RequestTooLargeError, match=r"has 2\d\d bytes, NATS carries at most 100") as caught:
        await requester.execute(CANARY * 10)
    assert CANARY not in str(caught.value)
    assert not connection.published


class Dialled(FakeConnection):
    """A connection that is told while it is made that its inbox is forbidden."""

    async def connect(self, *, error_cb: Callable[[Exception], Awaitable[None]], **_: object) -> None:
        self.on_error = error_cb

    async def flush(self) -> None:
        await self.on_error(nats_errors.Error('nats: permissions violation for subscription to "_inbox.fake.*"'))


async def test_a_refusal_outlives_the_dialling() -> None:
    """What the server refuses while the connection is made is not forgotten when that has come to its end."""
    link = Link(Dialled().as_client(), Subjects())
    await link.dial(RequesterSettings(), ping_interval_s=1)
    assert link.is_over
    with pytest.raises(NotPermittedError, match="listen for replies"):
        await link.wait_ready()


async def test_silence(requester: Requester, connection: FakeConnection) -> None:
    """Where nobody says a word until the deadline, surely nothing ran: nobody was told to start."""
    connection.answer = lambda _, __: None
    with pytest.raises(ExecuteTimeoutError, match="before a responder could start") as caught:
        await requester.execute("2+2?", timeout=0.1)
    assert caught.value.executed is False
    assert caught.value.request_id


async def test_a_violation_on_a_given_connection(requester: Requester, connection: FakeConnection) -> None:
    """A given connection's violation explains the silence, if it is a new one and about this subject."""

    def refuse(subject: str, _: object) -> None:
        connection.last_error = nats_errors.Error(f'nats: permissions violation for publish to "{subject}"')

    connection.answer = refuse
    with pytest.raises(NotPermittedError, match=f"publish to {SUBJECT}"):
        await requester.execute("2+2?", timeout=0.05)
    connection.answer = lambda _, __: None
    with pytest.raises(ExecuteTimeoutError):
        await requester.execute("2+2?", timeout=0.05)


async def test_a_given_connection_that_is_down(requester: Requester, connection: FakeConnection) -> None:
    """Nothing is published on a connection that is down, because nats-py would send it later; it is tried again."""
    connection.is_connected = False
    with pytest.raises(NotConnectedError, match=r"given is down.*attempts in"):
        await requester.execute("2+2?", timeout=0.1)
    asyncio.get_running_loop().call_later(0.05, setattr, connection, "is_connected", True)  # noqa: FBT003 # its value
    assert (await requester.execute("2+2?", timeout=10)).attempts > 1
    assert len(connection.published) == 1


async def test_nothing_is_published_on_a_connection_that_is_down(connection: FakeConnection) -> None:
    """Whoever asks without waiting for a connection is told that nothing was sent."""
    hop = Hop(RequesterSettings(), connection.as_client())
    with pytest.raises(NotConnectedError, match="was not sent"):
        await hop.request(SUBJECT, b"{}", {}, 1)
    await hop.wait_connected(1)
    connection.is_connected = False
    with pytest.raises(NotConnectedError, match="was not sent"):
        await hop.request(SUBJECT, b"{}", {}, 1)
    assert not connection.published


async def test_a_given_connection_that_is_closed(requester: Requester, connection: FakeConnection) -> None:
    """A given connection that is closed does not come back, so nothing is tried again."""
    connection.is_closed = True
    with pytest.raises(NotConnectedError, match=r"given is closed \(1 attempt") as caught:
        await requester.execute("2+2?", timeout=60)
    assert not caught.value.retryable


async def test_a_given_connection_is_not_closed(requester: Requester, connection: FakeConnection) -> None:
    """A given connection outlives the requester, without the requester's subscription."""
    async with requester:
        await requester.execute("2+2?")
        assert connection.is_listening
    assert not connection.is_listening
    assert not connection.is_closed
    assert not other_tasks()
    with pytest.raises(NotConnectedError, match="requester is closed"):
        await requester.execute("2+2?")


async def test_closing_ends_the_waits(requester: Requester, connection: FakeConnection) -> None:
    """Whoever awaits a reply when the requester is closed hears of it at once, and whether something may have run."""
    connection.answer = lambda _, __: None
    asking = [asyncio.create_task(requester.execute("2+2?")) for _ in range(3)]
    await wait_until(lambda: len(connection.published) == 3, "all are sent")
    assert "3 in flight" in repr(requester)
    await requester.close()
    for task in asking:
        with pytest.raises(NotConnectedError, match="closed before the reply came") as caught:
            await task
        assert caught.value.executed is False
    assert repr(requester) == "<Requester claude.cli.execute at a given connection: closed, 0 in flight>"


async def test_last_words_on_a_given_connection(requester: Requester, connection: FakeConnection) -> None:
    """What is given up by closing is cancelled on a connection that lives on, without a flush, which could kill it."""
    connection.answer = lambda _, __: None
    asking = asyncio.create_task(requester.execute("2+2?"))
    await wait_until(lambda: len(connection.opened) == 1, "it is sent")
    instance = new_ulid()
    await connection.hear(connection.opened[0].reply, Frame(FrameKind.READY, instance=instance).headers())
    await wait_until(lambda: len(connection.told) == 1, "it is told to start")
    await requester.close()
    assert [one.frame.kind for one in connection.told] == [FrameKind.GO, FrameKind.CANCEL]
    with pytest.raises(NotConnectedError, match="closed before the reply came") as caught:
        await asking
    assert caught.value.executed is None
