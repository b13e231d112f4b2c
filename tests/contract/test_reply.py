"""The reply: there and back, its ADR-32 headers, and bytes that are none."""

import json
import traceback
import tracemalloc
from typing import Any

import pytest

from contract import CODE_FACTS, ErrorCode, ExecuteFailure, ExecuteReply, ExecuteSuccess, ReplyError, parse_reply

CANARY = "canary-5f1c9"
SUCCESS = {"success": True, "id": "a", "responder": "r", "result": "text"}
FAILURE = {
    "success": False,
    "id": "a",
    "responder": "r",
    "error": "it failed",
    "code": "timeout",
    "retryable": True,
    "executed": True,
}
REPLIES: list[ExecuteReply] = [
    ExecuteSuccess(id="a", result="", responder="r"),
    ExecuteSuccess(
        id="a",
        result='{"type":"result"}\n\0\u00e9\u2028\U0001f600',
        responder="r",
        execution_time_ms=7,
        wait_ms=3,
        session_id="s",
        usage={"input_tokens": 1, "nested": {"list": [1, None, "x"]}},
        cost_usd=0.1,
        num_turns=2,
    ),
    ExecuteFailure(error="no", code="overloaded", retryable=True, executed=False, responder="r"),
    ExecuteFailure(
        id="a",
        error="\u00e9",
        code="api_error",
        retryable=False,
        executed=True,
        responder="r",
        api_status=413,
        retry_after_ms=0,
        usage={},
        cost_usd=0.0,
    ),
]


def failure(error: str = "it failed", code: str = "timeout") -> ExecuteFailure:
    return ExecuteFailure(error=error, code=code, retryable=True, executed=True, responder="r")


@pytest.mark.parametrize("reply", REPLIES)
def test_a_reply_survives_the_wire(reply: ExecuteReply) -> None:
    """What is sent is what is read, to the character."""
    assert parse_reply(reply.to_bytes()) == reply


def test_what_is_not_known_does_not_travel() -> None:
    """Keys without a value are left out, `success` never."""
    assert json.loads(REPLIES[0].to_bytes()) == {**SUCCESS, "result": "", "execution_time_ms": 0, "wait_ms": 0}


@pytest.mark.parametrize("document", [SUCCESS, FAILURE])
def test_a_newer_reply_can_be_read(document: dict[str, Any]) -> None:
    """Keys that this version does not know are ignored."""
    assert parse_reply(json.dumps({**document, "region": CANARY}).encode()) == parse_reply(
        json.dumps(document).encode()
    )


def test_a_newer_code_can_be_read() -> None:
    """A failure whose code is unknown here is still a failure that says whether to try again."""
    reply = parse_reply(json.dumps({**FAILURE, "code": "out_of_tea"}).encode())
    assert isinstance(reply, ExecuteFailure)
    assert (reply.code, reply.retryable) == ("out_of_tea", True)


@pytest.mark.parametrize("code", ErrorCode)
def test_a_failure_has_the_headers_of_adr_32(code: ErrorCode) -> None:
    """Every code's number and the error's line stand in the headers under ADR-32's names."""
    assert failure("it failed", code).headers() == {
        "Nats-Service-Error": "it failed",
        "Nats-Service-Error-Code": str(CODE_FACTS[code].number),
    }


def test_an_unknown_code_has_a_number_too() -> None:
    """A code without facts gets the number of an internal error, so that the reply is never taken for a success."""
    assert failure(code="out_of_tea").headers()["Nats-Service-Error-Code"] == "500"


def test_a_success_has_no_headers() -> None:
    """A success sets no header of its own and none of ADR-32."""
    assert ExecuteSuccess(id="a", result="", responder="r").headers() == {}


@pytest.mark.parametrize("error", ["caf\u00e9", "\u2028", "\U0001f600" * 3, "\u202e"])
def test_a_header_is_ascii(error: str) -> None:
    """Text that a header cannot carry is replaced there, and stays whole in the body."""
    reply = failure(error)
    assert reply.headers()["Nats-Service-Error"].isascii()
    assert parse_reply(reply.to_bytes()) == reply


REFUSED: dict[str, tuple[Any, str]] = {
    "no success": ({key: value for key, value in SUCCESS.items() if key != "success"}, "the body"),
    "success as text": ({**SUCCESS, "success": "true"}, "the body"),
    "success null": ({**SUCCESS, "success": None}, "the body"),
    "success with a failure's keys": ({**FAILURE, "success": True}, "result"),
    "failure with a success's keys": ({**SUCCESS, "success": False}, "code, error, executed, retryable"),
    "no responder": ({key: value for key, value in SUCCESS.items() if key != "responder"}, "responder"),
    "result is an object": ({**SUCCESS, "result": {"text": CANARY}}, "result"),
    "cost is text": ({**SUCCESS, "cost_usd": CANARY}, "cost_usd"),
    "usage is text": ({**SUCCESS, "usage": CANARY}, "usage"),
    "retryable is text": ({**FAILURE, "retryable": CANARY}, "retryable"),
    "error is a list": ({**FAILURE, "error": [CANARY]}, "error"),
    "list": ([CANARY], "the body"),
    "text": (CANARY, "the body"),
    "null": (None, "the body"),
}


@pytest.mark.parametrize(("document", "where"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_reply_is_refused_by_place(document: Any, where: str) -> None:
    """The error says where the reply is wrong, never what stands there."""
    with pytest.raises(ReplyError) as caught:
        parse_reply(json.dumps(document).encode())
    assert f"(see {where})" in str(caught.value)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        CANARY.encode(),
        b"\xff",
        b"[" * 100_000,
        json.dumps(SUCCESS).encode() + b" x",
        json.dumps(SUCCESS).encode("utf-16"),
        b"\xef\xbb\xbf" + json.dumps(SUCCESS).encode(),
        json.dumps({**SUCCESS, "result": CANARY}).encode()[:-2],
        json.dumps({**SUCCESS, "result": "\ud800"}).encode(),
    ],
)
def test_bytes_that_are_no_reply_are_refused(body: bytes) -> None:
    """Bytes that are no JSON in UTF-8 are refused in one line that shows none of them."""
    with pytest.raises(ReplyError) as caught:
        parse_reply(body)
    assert str(caught.value) == "the reply is not one of this protocol (see the body)"


def test_ids_are_not_kept() -> None:
    """Of a thousand replies that were read nothing is left but what one leaves."""
    bodies = [json.dumps({**SUCCESS, "id": f"an-id-of-its-own-{number}"}).encode() for number in range(1000)]
    parse_reply(bodies[0])
    tracemalloc.start()
    try:
        for body in bodies:
            parse_reply(body)
        left_bytes = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert left_bytes < 10_000
