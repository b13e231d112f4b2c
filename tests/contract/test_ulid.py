"""ULIDs: their alphabet, their time, their order."""

import re
import time

from contract import ExecuteRequest, new_ulid

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
TIME_CHARS = 10


def milliseconds_of(ulid: str) -> int:
    number = 0
    for letter in ulid[:TIME_CHARS]:
        number = 32 * number + ALPHABET.index(letter)
    return number


def test_a_ulid_is_26_characters_of_crockfords_base_32() -> None:
    """Every id has the length and the alphabet of the specification, without I, L, O and U."""
    assert all(re.fullmatch(rf"[0-7][{ALPHABET}]{{25}}", new_ulid()) for _ in range(1000))


def test_a_ulid_begins_with_its_time() -> None:
    """The first ten characters are the milliseconds since the epoch."""
    before = time.time_ns() // 1_000_000
    ulid = new_ulid()
    assert before <= milliseconds_of(ulid) <= time.time_ns() // 1_000_000


def test_ulids_sort_by_time() -> None:
    """An id of a later millisecond sorts behind, as text."""
    ulids = [new_ulid()]
    end = milliseconds_of(ulids[0]) + 5
    while milliseconds_of(ulids[-1]) < end:
        ulids.append(new_ulid())
    firsts = list({milliseconds_of(ulid): ulid for ulid in ulids}.values())
    assert len(firsts) > 1
    assert firsts == sorted(firsts)


def test_ulids_are_unique() -> None:
    """Ids made in the same millisecond differ."""
    assert len({new_ulid() for _ in range(20_000)}) == 20_000


def test_the_random_part_is_spread() -> None:
    """Each character of the random part takes every value: no bit is stuck."""
    ulids = [new_ulid() for _ in range(2000)]
    assert all({ulid[place] for ulid in ulids} == set(ALPHABET) for place in range(TIME_CHARS, 26))


def test_a_ulid_names_a_request() -> None:
    """An id of ours is one that a request may have."""
    ulid = new_ulid()
    assert ExecuteRequest(prompt="p", id=ulid).id == ulid
