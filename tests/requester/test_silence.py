"""The looks at a connection that tell a dead one from an idle and from a slow one."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import count, repeat

from connection import Traffic
from requester.silence import Silence

FAST_S = 0.005
NOTHING = Traffic(0, 0)


async def renewals(
    looks: Iterator[Traffic | None], until: Callable[[int, int], bool], deaf_at: int = 0
) -> tuple[int, int]:
    """Watch until the numbers of looks and of renewals are as wanted; give them."""
    looked = renewed = 0
    is_done = asyncio.Event()

    def look() -> Traffic | None:
        nonlocal looked
        looked += 1
        if until(looked, renewed):
            is_done.set()
        return next(looks)

    async def renew() -> None:
        nonlocal renewed
        renewed += 1

    watching = asyncio.create_task(Silence(look, lambda: looked == deaf_at, renew, FAST_S).watch())
    async with asyncio.timeout(5):
        await is_done.wait()
    watching.cancel()
    return looked, renewed


async def test_a_connection_on_which_nothing_moves_is_renewed() -> None:
    """Three looks that find what the first one found renew the connection, and it has as many again after that."""
    assert await renewals(repeat(NOTHING), lambda _, renewed: renewed == 2) == (9, 2)


async def test_a_deaf_connection_is_renewed_at_once() -> None:
    """What is known to hear nothing is not looked at any longer, whatever still moves."""
    moving = (Traffic(number, 0) for number in count())
    assert await renewals(moving, lambda _, renewed: renewed == 1, deaf_at=2) == (3, 1)


async def test_a_connection_that_answers_is_left_alone() -> None:
    """As long as something comes, nothing is renewed."""
    assert await renewals((Traffic(number, 0) for number in count()), lambda looked, _: looked == 20) == (20, 0)


async def test_a_slow_connection_is_left_alone() -> None:
    """As long as what waits becomes less, an answer may stay away: it stands behind it."""
    assert await renewals((Traffic(0, -number) for number in count()), lambda looked, _: looked == 20) == (20, 0)


async def test_a_server_that_takes_nothing_is_left() -> None:
    """What waits becomes more when more is asked: that is no movement."""
    assert await renewals((Traffic(0, number) for number in count()), lambda _, renewed: renewed == 1) == (5, 1)


async def test_a_connection_that_is_down_is_not_touched() -> None:
    """While there is no connection, which nats-py mends itself, nothing is renewed."""
    assert await renewals(repeat(None), lambda looked, _: looked == 20) == (20, 0)


async def test_doubt_comes_with_the_first_look_and_goes_with_any_movement() -> None:
    """What stays away from others while nothing moves is not held against them."""
    doubts: list[bool] = []
    looks = iter([Traffic(0, 0), Traffic(0, 0), Traffic(1, 0), Traffic(1, 0), None])
    is_over = asyncio.Event()

    def look() -> Traffic | None:
        doubts.append(silence.is_in_doubt)
        found = next(looks, None)
        if len(doubts) > 5:
            is_over.set()
        return found

    async def renew() -> None:
        raise AssertionError("nothing is still for long")

    silence = Silence(look, lambda: False, renew, FAST_S)
    watching = asyncio.create_task(silence.watch())
    async with asyncio.timeout(5):
        await is_over.wait()
    watching.cancel()
    assert doubts == [False, False, True, False, True, False]
