"""Replies that are awaited."""

import pytest

from requester import NotPermittedError, RequesterError
from requester.inbox import Inbox, RawReply
from requester.refusals import are_credentials_refused, violations

REPLY = RawReply({}, b"x")


async def test_a_reply_reaches_its_own_request() -> None:
    """Each reply goes to the request whose token it carries; an unknown token is nobody's."""
    inbox = Inbox()
    with inbox.expect("a") as one, inbox.expect("a") as two:
        inbox.deliver(two.token, REPLY)
        inbox.deliver("unknown", REPLY)
        assert not one.outcome.done()
        assert two.outcome.result() is REPLY
        assert len(inbox) == 2


async def test_only_the_first_reply_counts() -> None:
    """A second reply to the same request is ignored, also when it comes late."""
    inbox = Inbox()
    with inbox.expect("a") as one:
        inbox.deliver(one.token, REPLY)
        inbox.deliver(one.token, RawReply({}, b"y"))
        inbox.fail(lambda: RequesterError("m"))
        assert one.outcome.result() is REPLY
    inbox.deliver(one.token, REPLY)
    assert len(inbox) == 0


async def test_nothing_is_left_after_the_block() -> None:
    """However the block ends, nobody waits any more."""
    inbox = Inbox()
    with pytest.raises(ZeroDivisionError), inbox.expect("a") as one:
        raise ZeroDivisionError
    assert len(inbox) == 0
    assert one.outcome.cancelled()


async def test_a_failure_ends_the_waits_for_its_subject() -> None:
    """A refusal ends the waits it is about, in any case of letters, each with an error of its own."""
    inbox = Inbox()
    with inbox.expect("Team.execute") as one, inbox.expect("team.execute") as two, inbox.expect("other") as three:
        inbox.fail(lambda: NotPermittedError("m"), "team.execute")
        assert isinstance(one.outcome.result(), NotPermittedError)
        assert one.outcome.result() is not two.outcome.result()
        assert not three.outcome.done()
        inbox.fail(lambda: NotPermittedError("m"))
        assert three.outcome.done()


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
