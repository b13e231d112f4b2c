"""How large a request may be: each limit at its boundary and one over it."""

from typing import Any

import pytest

from contract import PROMPT_MAX_BYTES, ErrorCode, ExecuteRequest, RequestError, RequestLimits, parse_request

LIMITS = RequestLimits(prompt_max_bytes=8, args_max_count=3, arg_max_bytes=6, cwd_max_bytes=10, timeout_max_ms=500)
CASES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("prompt", {"prompt": "x" * 8}, {"prompt": "y" * 9}, "prompt has 9 bytes, the limit is 8"),
    ("prompt in UTF-8", {"prompt": "\u00e9" * 4}, {"prompt": "\u00e9" * 4 + "y"}, "prompt has 9 bytes"),
    ("prompt of emoji", {"prompt": "\U0001f600" * 2}, {"prompt": "\U0001f600" * 3}, "prompt has 12 bytes"),
    ("args", {"args": ("a",) * 3}, {"args": ("a",) * 4}, "args has 4 arguments, the limit is 3"),
    ("first arg", {"args": ("x" * 6,)}, {"args": ("y" * 7,)}, "args[0] has 7 bytes, the limit is 6"),
    ("last arg", {"args": ("a", "b", "\u00e9" * 3)}, {"args": ("a", "b", "\u00e9" * 4)}, "args[2] has 8 bytes"),
    ("cwd", {"cwd": "x" * 10}, {"cwd": "\u00e9" * 5 + "y"}, "cwd has 11 bytes, the limit is 10"),
]


@pytest.mark.parametrize(("within", "over", "said"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_sizes_at_the_boundary(within: dict[str, Any], over: dict[str, Any], said: str) -> None:
    """A size at its limit is accepted, one more is refused with both sizes."""
    parse_request(_request(within), LIMITS)
    with pytest.raises(RequestError) as caught:
        parse_request(_request(over), LIMITS)
    assert caught.value.code is ErrorCode.REQUEST_TOO_LARGE
    assert said in str(caught.value)
    assert "yy" not in str(caught.value)


def test_timeout_at_the_boundary() -> None:
    """The longest timeout is accepted, one millisecond more is refused with the limit."""
    assert parse_request(_request({"timeout_ms": 500}), LIMITS).timeout_ms == 500
    with pytest.raises(RequestError, match=r"timeout_ms .*the limit is 500") as caught:
        parse_request(_request({"timeout_ms": 501}), LIMITS)
    assert caught.value.code is ErrorCode.INVALID_REQUEST


def test_the_shortest_timeout() -> None:
    """One millisecond is a timeout."""
    assert parse_request(_request({"timeout_ms": 1}), LIMITS).timeout_ms == 1


def test_the_alias_has_the_same_limit() -> None:
    """The limit cannot be passed under the timeout's other name."""
    with pytest.raises(RequestError, match="the limit is 500"):
        parse_request(b'{"prompt": "p", "timeout": 501}', LIMITS)


def test_escapes_count_as_what_they_mean() -> None:
    """A prompt is measured after its escapes have been read, not as it was written."""
    body = '{"prompt": "' + r"\u0041" * 8 + '", "timeout": 1}'
    assert parse_request(body.encode(), LIMITS).prompt == "A" * 8


@pytest.mark.parametrize("size", [PROMPT_MAX_BYTES, PROMPT_MAX_BYTES + 1])
def test_the_default_limit_is_the_clis_own(size: int) -> None:
    """By default a prompt may be as large as the CLI reads on stdin, and no larger."""
    body = b'{"prompt": "' + b"x" * size + b'"}'
    if size <= PROMPT_MAX_BYTES:
        assert len(parse_request(body, RequestLimits()).prompt) == size
        return
    with pytest.raises(RequestError, match="prompt has 10000001 bytes, the limit is 10000000"):
        parse_request(body, RequestLimits())


def test_the_default_limits_admit_64_arguments() -> None:
    """By default 64 arguments are accepted and 65 refused."""
    parse_request(_request({"args": ("a",) * 64}), RequestLimits())
    with pytest.raises(RequestError, match="args has 65 arguments"):
        parse_request(_request({"args": ("a",) * 65}), RequestLimits())


MANY_VALUES = {
    "numbers": b'{"prompt": "x", "args": [%s]}' % b",".join([b"0"] * 2000),
    "texts": b'{"prompt": "x", "args": [%s]}' % b",".join([b'"yy"'] * 2000),
    "lists in lists": b'{"prompt": "x", "args": [%s]}' % b",".join([b"[" * 150 + b"]" * 150] * 2000),
    "keys": b'{"prompt": "x", %s}' % b",".join(b'"yy%d": 0' % n for n in range(2000)),
    "under an unknown key": b'{"prompt": "x", "yy": [%s]}' % b",".join([b"{}"] * 2000),
    "at the top": b"[%s]" % b",".join([b"{}"] * 2000),
    "behind escaped quotes": b'{"prompt": "\\"\\\\", "args": [%s]}' % b",".join([b"0"] * 2000),
    "no JSON at all behind them": b"," * 2000 + b"[" * 2000,
}


@pytest.mark.parametrize("body", MANY_VALUES.values(), ids=MANY_VALUES.keys())
def test_a_body_of_many_values_is_refused_before_it_is_parsed(body: bytes) -> None:
    """More values than any request has are refused by their number, whatever and wherever they are."""
    with pytest.raises(RequestError) as caught:
        parse_request(body, RequestLimits())
    assert caught.value.code is ErrorCode.REQUEST_TOO_LARGE
    assert str(caught.value) == "request refused: the body has more than 1024 values, the limit of args is 64"


@pytest.mark.parametrize("text", [",", '",', "\\,", '\\",', '"],[,{', '\\\\",,"'])
def test_commas_within_a_text_are_no_values(text: str) -> None:
    """A prompt may hold as many commas, quotes and backslashes as it likes."""
    prompt = text * 2000
    assert parse_request(_request({"prompt": prompt, "args": (prompt[:1000], "a")}), RequestLimits()).prompt == prompt


def test_too_many_arguments_are_counted() -> None:
    """A list far over its limit is still refused with its length."""
    with pytest.raises(RequestError, match="args has 1000 arguments, the limit is 64"):
        parse_request(_request({"args": ("a",) * 1000}), RequestLimits())


def _request(fields: dict[str, Any]) -> bytes:
    return ExecuteRequest(**{"prompt": "p", "timeout_ms": 100, **fields}).to_bytes()
