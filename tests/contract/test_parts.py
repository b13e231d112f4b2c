"""Bodies in parts, and put together again."""

import hashlib
import random
from collections.abc import Iterable
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract import Assembly, Part, PartsError, Whole, split
from contract.parts import PARTS_MAX

BODY = b"The quick brown fox"
PARTS = split(BODY, 5)
WHOLE = PARTS[0].whole


def assemble(parts: Iterable[Part], max_bytes: int = 100) -> list[bytes | None]:
    """Give what each part brings."""
    assembly = Assembly(max_bytes)
    return [assembly.add(part) for part in parts]


def test_how_a_body_is_split() -> None:
    """Parts are numbered from 1, none is larger than asked for, and each describes the whole."""
    assert [(part.number, part.body) for part in PARTS] == [
        (1, b"The q"),
        (2, b"uick "),
        (3, b"brown"),
        (4, b" fox"),
    ]
    assert {part.whole for part in PARTS} == {Whole(4, len(BODY), hashlib.sha256(BODY).hexdigest())}


@pytest.mark.parametrize(("size", "count"), [(0, 1), (1, 1), (4, 1), (5, 1), (6, 2), (10, 2), (11, 3)])
def test_how_many_parts_there_are(size: int, count: int) -> None:
    """A body that fits is one part, an empty one too."""
    parts = split(b"x" * size, 5)
    assert len(parts) == parts[0].whole.count == count
    assert assemble(parts)[-1] == b"x" * size


def test_any_order() -> None:
    """The order in which parts come does not matter; the whole is there with the last one and not before."""
    for order in permutations(PARTS):
        assert assemble(order) == [None, None, None, BODY]


def test_a_part_that_comes_twice() -> None:
    """A part that is repeated changes nothing, also when it says something else the second time."""
    other = Part(2, WHOLE, b"slow ")
    assert assemble([PARTS[1], PARTS[1], other, PARTS[3], PARTS[0], PARTS[0], PARTS[2]])[-1] == BODY


def test_a_whole_that_comes_twice() -> None:
    """What is repeated after the whole was complete gives it again."""
    assert assemble([*PARTS, PARTS[0]])[3:] == [BODY, BODY]


@settings(derandomize=True, database=None, deadline=None)
@given(body=st.binary(max_size=200), part_bytes=st.integers(1, 250), seed=st.integers(0, 2**16))
def test_there_and_back(body: bytes, part_bytes: int, seed: int) -> None:
    """Whatever the body and the size of its parts, with some of them doubled and all shuffled, it comes back."""
    parts = split(body, part_bytes)
    assert all(len(part.body) <= part_bytes for part in parts)
    order = random.Random(seed)  # noqa: S311 # a shuffle, no secret
    shuffled = order.sample(parts, len(parts)) + order.choices(parts, k=3)
    brought = assemble(shuffled, 200)
    assert body in brought
    assert set(brought) <= {None, body}


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ([PARTS[0], split(b"The quick brown cat", 5)[1]], "does not belong"),
        ([PARTS[0], Part(2, Whole(5, WHOLE.size, WHOLE.digest), b"uick ")], "does not belong"),
        ([PARTS[0], Part(0, WHOLE, b"")], "does not belong"),
        ([Part(0, WHOLE, b"")], "does not belong"),
        ([Part(5, WHOLE, b"")], "does not belong"),
        ([*PARTS[:3], Part(4, WHOLE, b" fix")], "do not add up"),
        ([*PARTS[:3], Part(4, WHOLE, b"fox")], "do not add up"),
        ([PARTS[0], Part(2, WHOLE, b"x" * 15)], "larger than announced"),
        ([Part(1, Whole(1, 3, WHOLE.digest), b"abc")], "do not add up"),
        ([Part(1, Whole(1, 20, WHOLE.digest), BODY)], "do not add up"),
        ([Part(1, Whole(1, 101, WHOLE.digest), b"")], "101 bytes is larger than the limit of 100"),
        ([Part(1, Whole(PARTS_MAX + 1, 100, WHOLE.digest), b"")], f"more than {PARTS_MAX} parts"),
    ],
)
def test_parts_that_make_no_whole(parts: list[Part], problem: str) -> None:
    """A part of something else, a size, a count or a digest that is not true, and what is too large are refused."""
    with pytest.raises(PartsError, match=problem) as caught:
        assemble(parts)
    assert "fox" not in str(caught.value)


def test_the_limit_is_the_largest_that_is_taken() -> None:
    """A body of exactly the limit is taken."""
    assert assemble(split(b"x" * 100, 7), 100)[-1] == b"x" * 100


def test_memory_is_bounded() -> None:
    """Never is more kept than was announced, whatever is sent."""
    assembly = Assembly(1000)
    whole = Whole(1000, 1000, WHOLE.digest)
    for number in range(1, 101):
        assembly.add(Part(number, whole, b"x" * 10))
    for number in range(101, 1001):
        with pytest.raises(PartsError, match="larger than announced"):
            assembly.add(Part(number, whole, b"x" * 10))
    assert sum(map(len, assembly._bodies.values())) <= 1000


def test_many_small_parts_cost_little() -> None:
    """What a part costs does not grow with how many are there already."""
    assembly = Assembly(PARTS_MAX)
    lengths = 0

    class Counted(bytes):
        def __len__(self) -> int:
            nonlocal lengths
            lengths += 1
            return super().__len__()

    whole = Whole(500, 500, hashlib.sha256(b"x" * 500).hexdigest())
    for number in range(1, 500):
        assembly.add(Part(number, whole, Counted(b"x")))
    assert lengths <= 1000
    assert assembly.add(Part(500, whole, b"x")) == b"x" * 500
