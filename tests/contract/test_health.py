"""The health request and its reply."""

import json
import traceback

import pytest

from contract import ErrorCode, HealthReply, HealthRequest, RequestError, parse_health_request

CANARY = "canary-5f1c9"
REPLY = HealthReply(
    status="healthy", responder="r", version="1", cli_available=True, slots=5, in_flight=1, backlog=0, uptime_s=1.5
)


@pytest.mark.parametrize(
    ("body", "deep"), [(b"", False), (b"{}", False), (b'{"deep": false}', False), (b'{"deep": true}', True)]
)
def test_health_requests(body: bytes, deep: bool) -> None:
    """An empty body asks for the cheap check, `deep` for the dear one."""
    assert parse_health_request(body).deep is deep


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"[]",
        b"x",
        b'{"deep": null}',
        b'{"deep": 7}',
        f'{{"deep": "{CANARY}"}}'.encode(),
        f'{{"{CANARY}": 1}}'.encode(),
        b"\xff",
        b'\xef\xbb\xbf{"deep": true}',
        b"[" * 1024,
    ],
)
def test_what_is_no_health_request_is_refused(body: bytes) -> None:
    """A body that is something else is refused in one line without what it holds."""
    with pytest.raises(RequestError) as caught:
        parse_health_request(body)
    assert caught.value.code is ErrorCode.INVALID_REQUEST
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert "\n" not in str(caught.value)


def test_a_large_health_request_is_refused_by_its_size() -> None:
    """A body over a kibibyte is not parsed, even if it is a health request."""
    body = b'{"deep": true}'.ljust(1024)
    assert parse_health_request(body).deep
    with pytest.raises(RequestError, match="a health request has at most 1024 bytes, this one has 1025") as caught:
        parse_health_request(body + b" ")
    assert caught.value.code is ErrorCode.REQUEST_TOO_LARGE


@pytest.mark.parametrize("deep", [True, False])
def test_a_health_request_survives_the_wire(deep: bool) -> None:
    """What is sent is what is read."""
    request = HealthRequest(deep=deep)
    assert parse_health_request(request.to_bytes()) == request


def test_a_health_reply_survives_the_wire() -> None:
    """What is sent is what is read, and what is not known does not travel."""
    assert HealthReply.model_validate_json(REPLY.to_bytes()) == REPLY
    assert {"cli_version", "deep", "reason"}.isdisjoint(json.loads(REPLY.to_bytes()))


def test_a_newer_health_reply_can_be_read() -> None:
    """Keys that this version does not know are ignored."""
    assert HealthReply.model_validate({**REPLY.model_dump(), "mood": CANARY}) == REPLY
