"""Replies that are awaited."""

import asyncio

import pytest

from requester import NotPermittedError
from requester.inbox import Inbox, RawReply
from requester.refusals import are_credentials_refused, violations

REPLY = RawReply({}, b"x")


def here() -> float:
    """Give a time at which nothing is waited for."""
    return asyncio.get_running_loop().time()


async def test_a_reply_reaches_its_own_request() -> None:
    """Each reply goes to the request whose token it carries; an unknown token is nobody's."""
    inbox = Inbox()
    with inbox.open("a") as one, inbox.open("a") as two:
        assert inbox.deliver(two.token, REPLY)
        assert not inbox.deliver("unknown", REPLY)
        assert await one.get(here()) is None
        assert await two.get(here()) is REPLY
        assert len(inbox) == 2
        assert one.token in inbox


async def test_messages_come_in_order() -> None:
    """A mailbox gives what has come in the order of arrival, and waits for what has not."""
    inbox = Inbox()
    with inbox.open("a") as one:
        other = RawReply({}, b"y")
        inbox.deliver(one.token, REPLY)
        inbox.deliver(one.token, other)
        assert [await one.get(here()), await one.get(here())] == [REPLY, other]
        asyncio.get_running_loop().call_soon(one.put, REPLY)
        assert await one.get(here() + 60) is REPLY


async def test_nothing_is_left_after_the_block() -> None:
    """However the block ends, nothing is delivered any more."""
    inbox = Inbox()
    with pytest.raises(ZeroDivisionError), inbox.open("a") as one:
        raise ZeroDivisionError
    assert len(inbox) == 0
    assert not inbox.deliver(one.token, REPLY)


async def test_a_failure_ends_the_waits_for_its_subject() -> None:
    """A refusal ends the waits it is about, in any case of letters, each with an error of its own."""
    inbox = Inbox()
    with inbox.open("Team.execute") as one, inbox.open("team.execute") as two, inbox.open("other") as three:
        inbox.fail(lambda: NotPermittedError("m"), "team.execute")
        first, second = await one.get(here()), await two.get(here())
        assert isinstance(first, NotPermittedError)
        assert first is not second
        assert await three.get(here()) is None
        inbox.fail(lambda: NotPermittedError("m"))
        assert isinstance(await three.get(here()), NotPermittedError)


async def test_a_raw_reply_keeps_its_payload_to_itself() -> None:
    """A payload does not end up in a log through a repr."""
    assert "x" not in repr(REPLY).replace("RawReply", "")


def test_what_a_server_says() -> None:
    """The texts of the server, as nats-py passes them on, are understood."""
    assert violations('nats: permissions violation for publish to "claude.cli.execute"') == [
        ("publish", "claude.cli.execute")
    ]
    assert violations('nats: Permissions Violation for Subscription to "_INBOX.x.*"') == [
        ("subscription", "_inbox.x.*")
    ]
    assert violations("nats: stale connection") == []
    assert are_credentials_refused("nats: 'Authorization Violation'")
    assert are_credentials_refused("nats: authorization failed")
    assert not are_credentials_refused("nats: permissions violation")
