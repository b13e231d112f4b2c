"""What the CLI prints, handed on as it comes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from requester.output import OutputFollower, streaming_args

PRINTED = '{"a": "ä"}\n{"b": "🙂"}\nrest'.encode()


@pytest.fixture
def handed() -> list[str]:
    return []


@pytest.fixture
def follower(handed: list[str]) -> OutputFollower:
    return OutputFollower(handed.append)


def test_lines_are_handed_on_as_they_come(follower: OutputFollower, handed: list[str]) -> None:
    """Each piece of whole lines is handed on at once; what the last line lacks follows."""
    follower.take(0, b"one\n")
    assert handed == ["one\n"]
    follower.take(4, b"two\nthree\nfo")
    assert handed == ["one\n", "two\nthree\n"]
    follower.take(16, b"ur\n")
    assert handed == ["one\n", "two\nthree\n", "four\n"]
    follower.finish(b"one\ntwo\nthree\nfour\n")
    assert len(handed) == 3


def test_a_line_in_many_pieces(follower: OutputFollower, handed: list[str]) -> None:
    """A line is handed on whole, also where a piece ends within a character."""
    for offset, byte in enumerate(PRINTED):
        follower.take(offset, bytes([byte]))
    assert handed == ['{"a": "ä"}\n', '{"b": "🙂"}\n']
    follower.finish(PRINTED)
    assert "".join(handed) == PRINTED.decode()


@pytest.mark.parametrize("offset", [0, 1, 4])
def test_what_comes_twice(follower: OutputFollower, handed: list[str], offset: int) -> None:
    """What was handed on already is not again, also as a part of what is new."""
    follower.take(0, b"one\ntwo\n")
    follower.take(offset, b"one\ntwo\n"[offset:])
    follower.take(offset, b"one\ntwo\nthree\n"[offset:])
    assert handed == ["one\ntwo\n", "three\n"]


def test_a_gap(follower: OutputFollower, handed: list[str]) -> None:
    """What follows a gap waits for what was lost, or for the result."""
    follower.take(0, b"one\n")
    follower.take(8, b"three\n")
    assert handed == ["one\n"]
    follower.take(4, b"two\n")
    assert handed == ["one\n", "two\n"]
    follower.finish(b"one\ntwo\nthree\n")
    assert handed == ["one\n", "two\n", "three\n"]


def test_the_result_alone(follower: OutputFollower, handed: list[str]) -> None:
    """Where nothing was heard of the run but its result, that is the output."""
    follower.finish(PRINTED)
    assert "".join(handed) == PRINTED.decode()


def test_nothing_is_no_output(follower: OutputFollower, handed: list[str]) -> None:
    """Nobody is called with an empty text."""
    follower.take(0, b"")
    follower.finish(b"")
    assert not handed


def test_another_run(follower: OutputFollower, handed: list[str]) -> None:
    """The output of the next run begins at its beginning, and continues nothing of the one before."""
    follower.take(0, b"one\nhal")
    follower.begin()
    follower.take(0, b"ONE\n")
    follower.finish(b"ONE\nTWO\n")
    assert handed == ["one\n", "ONE\n", "TWO\n"]


def test_what_is_no_utf_8(follower: OutputFollower, handed: list[str]) -> None:
    """Bytes that are no text are marked as such."""
    follower.take(0, b"\xff\n")
    assert handed == ["\ufffd\n"]


@settings(derandomize=True, database=None, deadline=None)
@given(
    printed=st.lists(st.sampled_from(["a", "ä", "🙂", "\n", "\u2028"]), max_size=30).map("".join),
    pieces=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=20),
)
def test_whatever_is_lost(printed: str, pieces: list[tuple[int, int]]) -> None:
    """In whatever pieces it comes, all of it together is what was printed, in whole lines until the end."""
    handed: list[str] = []
    follower, body = OutputFollower(handed.append), printed.encode()
    for start, end in pieces:
        follower.take(start, body[start:end])
    assert all(text.endswith("\n") for text in handed)
    follower.finish(body)
    assert "".join(handed) == printed


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, ["--output-format", "stream-json", "--verbose"]),
        (["--model", "opus"], ["--model", "opus", "--output-format", "stream-json", "--verbose"]),
        (["--verbose"], ["--verbose", "--output-format", "stream-json"]),
        (["--output-format=stream-json"], ["--output-format=stream-json", "--verbose"]),
        (["--output-format", "json"], ["--output-format", "json"]),
        (["--output-format=text"], ["--output-format=text"]),
    ],
)
def test_the_arguments_of_a_stream(given: list[str] | None, expected: list[str]) -> None:
    """What the CLI needs to print events is added once, unless another format is named."""
    assert streaming_args(given) == expected
