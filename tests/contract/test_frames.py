"""The frames: their headers, written and read."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract import (
    Frame,
    FrameError,
    FrameKind,
    Part,
    Priority,
    Whole,
    is_no_responders,
    new_ulid,
    read_frame,
    read_part,
)
from contract.frames import part_headers, session_of, token_of

ATTEMPT = "_INBOX.4f.77aa"
INSTANCE = new_ulid()
DIGEST = "0123456789abcdef" * 4
WHOLE = Whole(20, 9_999_999, DIGEST)
PART_HEADERS = {"Claude-Part": "3/20", "Claude-Size": "9999999", "Claude-Digest": DIGEST}

FRAMES = [
    Frame(FrameKind.ACCEPTED, instance=INSTANCE, responder="host-17", beat_ms=750),
    Frame(FrameKind.READY, instance=INSTANCE, responder="host-17", beat=2, beat_ms=750),
    Frame(FrameKind.OUTPUT, instance=INSTANCE, offset=0, body=b"{}\n"),
    Frame(FrameKind.OUTPUT, instance=INSTANCE, offset=999_999_999_999_999, body=b""),
    Frame(FrameKind.RESULT, instance=INSTANCE, body=b"{}"),
    Frame(FrameKind.BEAT, instance=INSTANCE, beat=3, body=b"77aa\n77ab"),
    Frame(FrameKind.GO, attempt=ATTEMPT),
    Frame(FrameKind.ACK, attempt=ATTEMPT),
    Frame(FrameKind.CANCEL, attempt=ATTEMPT),
    Frame(FrameKind.PROBE),
    Frame(FrameKind.STEAL, instance=INSTANCE, age_ms=86_400_000, turn_ms=5, priority=Priority.BATCH),
    Frame(FrameKind.WORK, attempt=ATTEMPT, instance=INSTANCE, age_ms=0, lease=7, body=b"{}"),
    Frame(FrameKind.NONE, instance=INSTANCE),
]
IN_PARTS = [
    Frame(FrameKind.RESULT, instance=INSTANCE, part=Part(3, WHOLE, b"abc")),
    Frame(FrameKind.BODY, attempt=ATTEMPT, part=Part(20, WHOLE, b"")),
]


def test_every_kind_is_tried() -> None:
    """No kind of frame is missing below."""
    assert {frame.kind for frame in FRAMES + IN_PARTS} == set(FrameKind)


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: frame.kind)
def test_there_and_back(frame: Frame) -> None:
    """What is written is read again, and nothing but texts travels in headers."""
    headers = frame.headers()
    assert all(isinstance(value, str) and type(value) is str for value in headers.values())
    assert read_frame(headers, frame.payload) == frame


@pytest.mark.parametrize("frame", IN_PARTS, ids=lambda frame: frame.kind)
def test_a_part_there_and_back(frame: Frame) -> None:
    """A part travels with the description of its whole; its bytes are the payload."""
    assert frame.part is not None
    assert frame.payload == frame.part.body
    read = read_frame(frame.headers(), frame.payload)
    assert read == Frame(
        frame.kind, attempt=frame.attempt, instance=frame.instance, part=frame.part, body=frame.payload
    )


def test_the_headers_are_those_of_the_protocol() -> None:
    """The names and forms on the wire, to the letter."""
    assert FRAMES[0].headers() == {
        "Claude-Frame": "accepted",
        "Claude-Instance": INSTANCE,
        "Claude-Responder": "host-17",
        "Claude-Beat-Ms": "750",
    }
    assert FRAMES[1].headers()["Claude-Beat"] == "2"
    assert FRAMES[2].headers() == {"Claude-Frame": "output", "Claude-Instance": INSTANCE, "Claude-Offset": "0"}
    assert IN_PARTS[0].headers() == {"Claude-Frame": "result", "Claude-Instance": INSTANCE, **PART_HEADERS}
    assert FRAMES[6].headers() == {"Claude-Frame": "go", "Claude-Attempt": ATTEMPT}
    assert FRAMES[9].headers() == {"Claude-Frame": "probe"}
    assert FRAMES[10].headers() == {
        "Claude-Frame": "steal",
        "Claude-Instance": INSTANCE,
        "Claude-Age-Ms": "86400000",
        "Claude-Turn-Ms": "5",
        "Claude-Priority": "batch",
    }


def test_an_announcement_is_part_nought() -> None:
    """A whole is announced by a part without bytes, whose number is 0."""
    headers = part_headers(Part(0, WHOLE))
    assert headers == {**PART_HEADERS, "Claude-Part": "0/20"}
    assert read_part(headers, b"") == Part(0, WHOLE)


@pytest.mark.parametrize("headers", [{}, {"traceparent": "00-1"}, {"claude-frame": "go"}, {"Claude-Attend": "1"}])
def test_what_is_no_frame(headers: dict[str, str]) -> None:
    """A message without the header is no frame; header names are case-sensitive in NATS."""
    assert read_frame(headers, b"{}") is None
    assert read_part(headers, b"{}") is None


@pytest.mark.parametrize(
    "lie",
    [
        {"Claude-Frame": ""},
        {"Claude-Frame": "GO"},
        {"Claude-Frame": "go "},
        {"Claude-Frame": "stop"},
        {"Claude-Age-Ms": "-1"},
        {"Claude-Age-Ms": "1.5"},
        {"Claude-Turn-Ms": "-1"},
        {"Claude-Priority": ""},
        {"Claude-Priority": "INTERACTIVE"},
        {"Claude-Attempt": ""},
        {"Claude-Attempt": "_INBOX.>"},
        {"Claude-Attempt": "_INBOX.*"},
        {"Claude-Attempt": "_INBOX..x"},
        {"Claude-Attempt": "_INBOX.x\r\nClaude-Frame: ack"},
        {"Claude-Attempt": "$JS.API.STREAM.DELETE.ORDERS"},
        {"Claude-Instance": ""},
        {"Claude-Instance": INSTANCE.lower()},
        {"Claude-Instance": INSTANCE + "\n"},
        {"Claude-Instance": "*"},
        {"Claude-Instance": INSTANCE + "0"},
        {"Claude-Responder": ""},
        {"Claude-Responder": "a.b"},
        {"Claude-Responder": "r" * 65},
        {"Claude-Beat-Ms": ""},
        {"Claude-Beat-Ms": "-1"},
        {"Claude-Beat-Ms": "0.75"},
        {"Claude-Beat-Ms": "1e3"},
        {"Claude-Beat-Ms": "\u0663"},
        {"Claude-Beat-Ms": "9" * 16},
        {"Claude-Offset": "+1"},
        {"Claude-Offset": "1_0"},
        {"Claude-Part": "1"},
        {"Claude-Part": "1/0"},
        {"Claude-Part": "1/-1"},
        {"Claude-Part": "/3"},
        {"Claude-Part": "1/1000000"},
        {"Claude-Part": "1/2/3"},
        {"Claude-Size": "x"},
        {"Claude-Digest": DIGEST.upper()},
        {"Claude-Digest": DIGEST[1:]},
        {"Claude-Digest": ""},
    ],
    ids=str,
)
def test_a_malformed_header(lie: dict[str, str]) -> None:
    """One header that is not as the protocol says makes the frame none, by one error that does not show the value."""
    good = {"Claude-Frame": "result", "Claude-Attempt": ATTEMPT, "Claude-Instance": INSTANCE, **PART_HEADERS}
    assert read_frame(good, b"")
    with pytest.raises(FrameError) as caught:
        read_frame(good | lie, b"")
    [value] = lie.values()
    assert not value or value not in str(caught.value)


@pytest.mark.parametrize("missing", ["Claude-Size", "Claude-Digest"])
def test_a_part_that_is_not_described(missing: str) -> None:
    """A part says what it belongs to, or is refused."""
    headers = {name: value for name, value in PART_HEADERS.items() if name != missing}
    with pytest.raises(FrameError, match="without its number, size or digest"):
        read_part(headers, b"")


TEXTS = (
    st.text(max_size=40) | st.from_regex(r"[0-9]{1,3}/[0-9]{1,3}", fullmatch=True) | st.sampled_from(list(FrameKind))
)
NAMES = [
    "Claude-Attempt",
    "Claude-Instance",
    "Claude-Responder",
    "Claude-Beat",
    "Claude-Beat-Ms",
    "Claude-Offset",
    "Claude-Part",
    "Claude-Size",
    "Claude-Digest",
    "Status",
]


@settings(derandomize=True, database=None, deadline=None)
@given(kind=TEXTS, headers=st.dictionaries(st.sampled_from(NAMES), TEXTS), body=st.binary(max_size=20))
def test_whatever_the_headers_hold(kind: str, headers: dict[str, str], body: bytes) -> None:
    """Nothing but a FrameError comes of any headers, and what is read is written as it came."""
    headers = {"Claude-Frame": kind, **headers}
    try:
        frame = read_frame(headers, body)
    except FrameError:
        return
    assert frame is not None
    assert read_frame(frame.headers(), frame.payload) == frame


@pytest.mark.parametrize(
    ("headers", "body", "is_one"),
    [
        ({"Status": "503"}, b"", True),
        ({"Status": "503", "Description": "No Responders"}, b"", True),
        ({"Status": "503"}, b"{}", False),
        ({"Status": "503", "Claude-Frame": "result"}, b"", False),
        ({"Status": "404"}, b"", False),
        ({"status": "503"}, b"", False),
        ({}, b"", False),
    ],
)
def test_no_responders(headers: dict[str, str], body: bytes, is_one: Any) -> None:
    """The server's 503 is an empty message and no frame: an echo of a caller's own headers is not taken for it."""
    assert is_no_responders(headers, body) is is_one


def test_the_names_of_an_attempt() -> None:
    """The last token names an attempt within its session, which is the rest."""
    assert (session_of(ATTEMPT), token_of(ATTEMPT)) == ("_INBOX.4f", "77aa")
    assert (session_of("alone"), token_of("alone")) == ("", "alone")


def test_payloads_are_not_shown() -> None:
    """Neither a frame nor a part shows what it carries."""
    assert "canary" not in repr(Frame(FrameKind.RESULT, body=b"canary", part=Part(1, WHOLE, b"canary")))
