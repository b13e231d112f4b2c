"""The lines to and from a CLI that reads and prints stream-json."""

import json

import pytest

from responder.stream_json import control, event_of, is_error, kind_of, message

DEEP = b"[" * 100_000


def test_what_a_user_says() -> None:
    """A prompt is one line, whatever is in it."""
    prompt = 'a\n"\u2028\r\\\ud800'
    line = message(prompt)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert line.isascii()
    assert json.loads(line) == {"type": "user", "message": {"role": "user", "content": prompt}}


def test_what_is_set() -> None:
    """Variables are set by a request with a name; without any it only asks for an answer."""
    line = control("trace", {"A": "1", "B": ""})
    assert line.endswith(b"\n")
    request = {"subtype": "apply_flag_settings", "settings": {"env": {"A": "1", "B": ""}}}
    assert json.loads(line) == {"type": "control_request", "request_id": "trace", "request": request}
    assert json.loads(control("ready"))["request"]["settings"] == {}
    assert json.loads(control("none", {}))["request"]["settings"] == {"env": {}}


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b'{"type":"result","is_error":false}', "result"),
        (b'{"type":"control_response"', "control_response"),
        (b'{"a":1, "type" : "result"}', "result"),
        (b' {"type":"result"}', "result"),
        (b'{"type":"Result"}', "Result"),
        (b'{"a":{"type":"result"}}', None),
        (b'{"type":1}', None),
        (b'"type"', None),
        (b"", None),
        (b"\xff", None),
        (DEEP, None),
    ],
)
def test_kinds(line: bytes, kind: str | None) -> None:
    """The type of an event is found wherever it stands, and nowhere else."""
    assert kind_of(line) == kind


@pytest.mark.parametrize("line", [b"", b"no JSON", b"[1]", b"null", b"\xff", DEEP, b'{"a":' + DEEP])
def test_what_is_no_event(line: bytes) -> None:
    """What is no object has no keys."""
    assert event_of(line) == {}


def test_an_event() -> None:
    """An object is read as it is."""
    assert event_of(b' {"a": {"b": 1}}\n') == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (b'{"is_error":true}', True),
        (b'{"is_error": true}', True),
        (b'{"is_error":false}', False),
        (b'{"result":"\\"is_error\\":true"}', False),
        (b'{"is_error":false,"result":"' + b"x" * 1024 + b'","is_error":true}', False),
        (b"", False),
    ],
)
def test_errors(result: bytes, expected: bool) -> None:
    """A result is an error where it says so itself, at its beginning, in whatever style."""
    assert is_error(result) == expected
