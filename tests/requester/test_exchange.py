"""One attempt as the requester sees it: the state table of `docs/protocol.md`, cell by cell."""

from collections.abc import Callable

import pytest

from contract import Frame, FrameKind, Part, Whole, split
from requester.exchange import Ending, Exchange, Say, State, Times

A, B = "A", "B"
TIMES = Times(accept_by=10.5, deadline=60.0, report_by=65.0)
REPLY = b'{"success": true}'
LIMIT = 1000

Event = Callable[[Exchange], list[Say]]


def frame(kind: FrameKind, sender: str | None, body: bytes = b"", part: Part | None = None) -> Event:
    return lambda exchange: exchange.on_frame(Frame(kind, instance=sender, body=body, part=part))


def accepted(sender: str) -> Event:
    return frame(FrameKind.ACCEPTED, sender)


def ready(sender: str) -> Event:
    return frame(FrameKind.READY, sender)


def result(sender: str) -> Event:
    return frame(FrameKind.RESULT, sender, REPLY)


def no_responders(exchange: Exchange) -> list[Say]:
    return exchange.on_no_responders()


def unreachable(instance: str) -> Event:
    return lambda exchange: exchange.on_unreachable(instance)


def lost(instance: str) -> Event:
    return lambda exchange: exchange.on_lost(instance)


def at(now: float) -> Event:
    return lambda exchange: exchange.on_time(now)


def plain(exchange: Exchange) -> list[Say]:
    return exchange.on_plain_reply(REPLY)


def give_up(exchange: Exchange) -> list[Say]:
    return exchange.give_up()


def go(instance: str) -> list[Say]:
    return [Say(FrameKind.GO, instance)]


def ack(instance: str) -> list[Say]:
    return [Say(FrameKind.ACK, instance)]


def cancel(instance: str) -> list[Say]:
    return [Say(FrameKind.CANCEL, instance)]


SENT: list[Event] = []
ACCEPTED = [accepted(A)]
GIVEN = [accepted(A), ready(A)]
ENDED = [accepted(A), ready(A), result(A)]
NOTHING: list[Say] = []


def after(events: list[Event], *, is_announced: bool = False) -> Exchange:
    """Give an attempt to which something has happened."""
    exchange = Exchange(TIMES, LIMIT, is_announced=is_announced)
    for event in events:
        event(exchange)
    return exchange


@pytest.mark.parametrize(
    ("before", "event", "says", "state", "instance"),
    [
        (SENT, accepted(B), NOTHING, State.ACCEPTED, B),
        (SENT, ready(B), go(B), State.GIVEN, B),
        (SENT, unreachable(B), NOTHING, State.SENT, None),
        (SENT, lost(B), NOTHING, State.SENT, None),
        (SENT, at(10.4), NOTHING, State.SENT, None),
        (ACCEPTED, accepted(A), NOTHING, State.ACCEPTED, A),
        (ACCEPTED, accepted(B), NOTHING, State.ACCEPTED, B),
        (ACCEPTED, ready(A), go(A), State.GIVEN, A),
        (ACCEPTED, ready(B), go(B), State.GIVEN, B),
        (ACCEPTED, no_responders, NOTHING, State.ACCEPTED, A),
        (ACCEPTED, unreachable(B), NOTHING, State.ACCEPTED, A),
        (ACCEPTED, lost(B), NOTHING, State.ACCEPTED, A),
        (ACCEPTED, at(59.9), NOTHING, State.ACCEPTED, A),
        (GIVEN, accepted(A), NOTHING, State.GIVEN, A),
        (GIVEN, accepted(B), NOTHING, State.GIVEN, A),
        (GIVEN, ready(A), NOTHING, State.GIVEN, A),
        (GIVEN, ready(B), cancel(B), State.GIVEN, A),
        (GIVEN, result(B), cancel(B), State.GIVEN, A),
        (GIVEN, unreachable(A), NOTHING, State.GIVEN, A),
        (GIVEN, unreachable(B), NOTHING, State.GIVEN, A),
        (GIVEN, lost(B), NOTHING, State.GIVEN, A),
        (GIVEN, at(64.9), NOTHING, State.GIVEN, A),
        (ACCEPTED, plain, NOTHING, State.ACCEPTED, A),
        (GIVEN, plain, NOTHING, State.GIVEN, A),
    ],
)
def test_what_does_not_end_it(
    before: list[Event], event: Event, says: list[Say], state: State, instance: str | None
) -> None:
    """Each event in each state sends what the table says and leads to the state that it says."""
    exchange = after(before)
    assert event(exchange) == says
    assert (exchange.state, exchange.instance, exchange.ending, exchange.reply) == (state, instance, None, None)
    assert exchange.may_have_started == (state is State.GIVEN)


@pytest.mark.parametrize(
    ("before", "event", "says", "ending"),
    [
        (SENT, result(B), ack(B), Ending.ANSWERED),
        (SENT, plain, NOTHING, Ending.ANSWERED),
        (SENT, no_responders, NOTHING, Ending.NO_RESPONDERS),
        (SENT, at(10.5), NOTHING, Ending.UNACCEPTED),
        (SENT, at(60.0), NOTHING, Ending.EXPIRED),
        (SENT, give_up, NOTHING, Ending.EXPIRED),
        (ACCEPTED, result(A), ack(A), Ending.ANSWERED),
        (ACCEPTED, result(B), ack(B) + cancel(A), Ending.ANSWERED),
        (ACCEPTED, unreachable(A), cancel(A), Ending.LOST),
        (ACCEPTED, lost(A), cancel(A), Ending.LOST),
        (ACCEPTED, at(60.0), cancel(A), Ending.EXPIRED),
        (ACCEPTED, give_up, cancel(A), Ending.EXPIRED),
        (GIVEN, result(A), ack(A), Ending.ANSWERED),
        (GIVEN, no_responders, NOTHING, Ending.GO_UNDELIVERED),
        (GIVEN, lost(A), cancel(A), Ending.LOST_AFTER_GO),
        (GIVEN, at(65.0), cancel(A), Ending.EXPIRED_AFTER_GO),
        (GIVEN, give_up, cancel(A), Ending.EXPIRED_AFTER_GO),
    ],
)
def test_what_ends_it(before: list[Event], event: Event, says: list[Say], ending: Ending) -> None:
    """Each ending of each state, who is told of it, and that a go that somebody may have heard is never denied."""
    exchange = after(before)
    assert event(exchange) == says
    assert (exchange.state, exchange.ending) == (State.ENDED, ending)
    assert exchange.reply == (REPLY if ending is Ending.ANSWERED else None)
    assert exchange.may_have_started == (before is GIVEN and ending is not Ending.GO_UNDELIVERED)


@pytest.mark.parametrize(
    "event",
    [
        *(event(sender) for event in (accepted, ready, result, unreachable, lost) for sender in (A, B)),
        *(no_responders, at(1e9), plain, give_up),
    ],
)
@pytest.mark.parametrize("before", [ENDED, [no_responders], [*GIVEN, lost(A)]])
def test_after_the_end(before: list[Event], event: Event) -> None:
    """What has ended stays as it ended and says nothing more; who still holds it is told by the watch."""
    exchange = after(before)
    ended = (exchange.ending, exchange.reply, exchange.instance)
    assert event(exchange) == []
    assert (exchange.ending, exchange.reply, exchange.instance) == ended


@pytest.mark.parametrize("before", [SENT, ACCEPTED, GIVEN])
@pytest.mark.parametrize(
    "event",
    [frame(kind, A) for kind in FrameKind if kind not in {FrameKind.ACCEPTED, FrameKind.READY, FrameKind.RESULT}]
    + [frame(FrameKind.READY, None), frame(FrameKind.RESULT, None, REPLY), frame(FrameKind.ACCEPTED, None)],
)
def test_what_is_nothing_to_it(before: list[Event], event: Event) -> None:
    """Frames of other kinds, and those that do not say whose they are, change nothing."""
    exchange, same = after(before), after(before)
    assert event(exchange) == []
    assert (exchange.state, exchange.instance) == (same.state, same.instance)


@pytest.mark.parametrize(
    ("before", "wakes_at"), [(SENT, 10.5), (ACCEPTED, 60.0), (GIVEN, 65.0), ([ready(B)], 65.0), ([accepted(B)], 60.0)]
)
def test_when_it_wakes(before: list[Event], wakes_at: float) -> None:
    """In each state there is one time at which it ends by itself."""
    assert after(before).wakes_at == wakes_at


def test_a_deadline_before_the_accept_timeout() -> None:
    """Who has less time than a responder has to accept waits no longer than that, and hears that the time was over."""
    exchange = Exchange(Times(accept_by=60.5, deadline=60.0, report_by=65.0), LIMIT)
    assert exchange.wakes_at == 60.0
    assert exchange.on_time(60.0) == []
    assert exchange.ending is Ending.EXPIRED


def test_an_announced_body_is_sent_once() -> None:
    """The parts go to the first that accepts the request; whoever has taken it over from that one has them."""
    exchange = after([], is_announced=True)
    assert accepted(A)(exchange) == [Say(FrameKind.BODY, A)]
    assert accepted(A)(exchange) == []
    assert accepted(B)(exchange) == []
    assert ready(B)(exchange) == go(B)


def parts_from(sender: str, parts: list[Part]) -> list[Event]:
    return [frame(FrameKind.RESULT, sender, part.body, part) for part in parts]


def test_a_result_in_parts() -> None:
    """A result in parts is acknowledged once, when it is whole; a second holder's parts are no part of it."""
    exchange = after(GIVEN)
    one, two, three = parts_from(A, split(REPLY, 6))
    [foreign, *_] = parts_from(B, split(b"another answer", 6))
    assert three(exchange) == []
    assert foreign(exchange) == cancel(B)
    assert three(exchange) == []
    assert one(exchange) == []
    assert exchange.state is State.GIVEN
    assert two(exchange) == ack(A)
    assert (exchange.ending, exchange.reply) == (Ending.ANSWERED, REPLY)


@pytest.mark.parametrize(
    ("part", "ending", "problem"),
    [
        (Part(1, Whole(1, LIMIT + 1, "0" * 64)), Ending.TOO_LARGE, "larger than the limit of 1000"),
        (Part(1, Whole(1, 3, "0" * 64), b"abc"), Ending.MALFORMED, "do not add up"),
        (Part(4, Whole(3, 3, "0" * 64), b"abc"), Ending.MALFORMED, "does not belong"),
    ],
)
def test_a_result_that_is_none(part: Part, ending: Ending, problem: str) -> None:
    """A result that cannot be taken is acknowledged, since it would be the same the next time, and its problem kept."""
    exchange = after(GIVEN)
    assert frame(FrameKind.RESULT, A, part.body, part)(exchange) == ack(A)
    assert exchange.ending is ending
    assert exchange.reply is None
    assert problem in exchange.problem
    assert exchange.may_have_started


def test_it_shows_where_it_is() -> None:
    """The person on call sees how far it is, and at whom."""
    assert repr(after(GIVEN)) == "<Exchange given at A>"
    assert repr(after([*GIVEN, lost(A)])) == "<Exchange the responder was lost after it was told to start at A>"
