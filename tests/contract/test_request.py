"""Reading a request: what is accepted, and how the rest is refused."""

import json
import traceback
from typing import Any

import pytest
from pydantic import ValidationError

from contract import DEFAULT_TIMEOUT_MS, ErrorCode, ExecuteRequest, Priority, RequestError, RequestLimits, parse_request

LIMITS = RequestLimits()
CANARY = "canary-5f1c9"
ONE_LINE_MAX_CHARS = 700


def parse(document: Any) -> ExecuteRequest:
    return parse_request(json.dumps(document).encode(), LIMITS)


def refusal_of(body: bytes) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse_request(body, LIMITS)
    return caught.value


def test_a_prompt_is_enough() -> None:
    """A request of a prompt alone is read, with everything else at its default."""
    request = parse({"prompt": "hello"})
    assert (request.prompt, request.id, request.args, request.cwd) == ("hello", None, None, None)
    assert request.timeout_ms == DEFAULT_TIMEOUT_MS


def test_every_key_is_read() -> None:
    """Each key of the protocol arrives under its name."""
    request = parse({"prompt": "p", "id": "job-1", "args": ["--model", "sonnet"], "cwd": "repo", "timeout_ms": 5})
    assert request == ExecuteRequest(prompt="p", id="job-1", args=("--model", "sonnet"), cwd="repo", timeout_ms=5)


def test_timeout_is_an_alias() -> None:
    """The short name `timeout` is read as `timeout_ms`, in milliseconds."""
    assert parse({"prompt": "p", "timeout": 1234}).timeout_ms == 1234


def test_null_is_not_set() -> None:
    """A null where none is allowed means the same as leaving the key out."""
    assert parse({"prompt": "p", "id": None, "args": None, "cwd": None}) == parse({"prompt": "p"})


def test_empty_args_are_not_the_default_ones() -> None:
    """An empty list of arguments is kept apart from no list."""
    assert parse({"prompt": "p", "args": []}).args == ()


@pytest.mark.parametrize("prompt", ["\0", " \u00e9 ", "\U0001f600", "\ufeffa\u2028", "a\r\nb", "--help", "/config"])
def test_a_prompt_arrives_to_the_character(prompt: str) -> None:
    """Nothing in a prompt is trimmed, normalised or given a meaning."""
    assert parse({"prompt": prompt}).prompt == prompt


@pytest.mark.parametrize("name", ["a", "A.b_c:d-9", "x" * 64, "01ARZ3NDEKTSV4RRFFQ69G5FAV"])
def test_ids_of_the_caller(name: str) -> None:
    """An id is letters, digits and a few marks, up to 64 of them."""
    assert parse({"prompt": "p", "id": name}).id == name


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a\n", "\u00e9", "a/b", "$x", "*", ">", "a\0", 7, True, ["a"]])
def test_ids_that_are_refused(name: Any) -> None:
    """An id that could be something else in a log, a subject or a header is refused by its key."""
    error = refusal_of(json.dumps({"prompt": "p", "id": name}).encode())
    assert error.code is ErrorCode.INVALID_REQUEST
    assert "id:" in str(error)


@pytest.mark.parametrize("key", ["a", "job:17.a_B-c", "x" * 128])
def test_idempotency_keys(key: str) -> None:
    """A key is letters, digits and a few marks, up to 128 of them."""
    assert parse({"prompt": "p", "idempotency_key": key}).idempotency_key == key


@pytest.mark.parametrize("priority", list(Priority))
def test_priorities(priority: Priority) -> None:
    """A request is of the class it names, and interactive where it names none."""
    request = parse({"prompt": "p", "priority": str(priority)})
    assert request.priority is priority
    assert parse_request(request.to_bytes(), LIMITS) == request
    assert parse({"prompt": "p"}).priority is Priority.INTERACTIVE


@pytest.mark.parametrize("priority", ["", "Batch", CANARY, 1, None, ["batch"]])
def test_priorities_that_are_refused(priority: Any) -> None:
    """A class that there is not is refused in one line that names those there are and not the value."""
    error = refusal_of(json.dumps({"prompt": "p", "priority": priority}).encode())
    assert error.code is ErrorCode.INVALID_REQUEST
    assert str(error) == "request refused: priority: Input should be 'interactive' or 'batch'"


def test_the_usual_class_does_not_travel() -> None:
    """Only a batch request says what it is: a responder that does not know the key would refuse it."""
    assert b"priority" not in ExecuteRequest(prompt="p").to_bytes()
    assert json.loads(ExecuteRequest(prompt="p", priority=Priority.BATCH).to_bytes())["priority"] == "batch"


def test_the_wish_to_reuse() -> None:
    """A request says that a CLI may serve again, or nothing of it: who does not know the key would refuse it."""
    wish = parse({"prompt": "p", "reuse": True})
    assert wish.reuse is True
    assert parse_request(wish.to_bytes(), LIMITS) == wish
    assert parse({"prompt": "p"}).reuse is False
    assert parse({"prompt": "p", "reuse": False}).reuse is False
    for plain in (ExecuteRequest(prompt="p"), ExecuteRequest(prompt="p", reuse=False)):
        assert b"reuse" not in plain.to_bytes()


@pytest.mark.parametrize("reuse", [0, 1, "true", "", CANARY, None, [True]])
def test_wishes_that_are_refused(reuse: Any) -> None:
    """What is neither true nor false is refused in one line without the value."""
    error = refusal_of(json.dumps({"prompt": "p", "reuse": reuse}).encode())
    assert error.code is ErrorCode.INVALID_REQUEST
    assert str(error) == "request refused: reuse: Input should be a valid boolean"


@pytest.mark.parametrize("key", ["", "x" * 129, "a b", "a\n", "a/b", ">", 7])
def test_idempotency_keys_that_are_refused(key: Any) -> None:
    """Any other key is refused by its name."""
    error = refusal_of(json.dumps({"prompt": "p", "idempotency_key": key}).encode())
    assert error.code is ErrorCode.INVALID_REQUEST
    assert "idempotency_key:" in str(error)


REFUSED_DOCUMENTS: dict[str, tuple[Any, str]] = {
    "no prompt": ({"cwd": CANARY}, "prompt"),
    "prompt null": ({"prompt": None, "cwd": CANARY}, "prompt"),
    "prompt number": ({"prompt": 1, "cwd": CANARY}, "prompt"),
    "prompt list": ({"prompt": [CANARY]}, "prompt"),
    "prompt object": ({"prompt": {CANARY: CANARY}}, "prompt"),
    "prompt empty": ({"prompt": "", "cwd": CANARY}, "the prompt is empty"),
    "prompt blank": ({"prompt": " \t\r\n\u00a0\u2003", "cwd": CANARY}, "the prompt is empty"),
    "id": ({"prompt": "p", "id": f"{CANARY} "}, "id"),
    "args text": ({"prompt": "p", "args": CANARY}, "args"),
    "args object": ({"prompt": "p", "args": {CANARY: CANARY}}, "args"),
    "args number inside": ({"prompt": "p", "args": [CANARY, 1]}, "args.1"),
    "args null inside": ({"prompt": "p", "args": [None, CANARY]}, "args.0"),
    "args nested": ({"prompt": "p", "args": [[CANARY]]}, "args.0"),
    "cwd list": ({"prompt": "p", "cwd": [CANARY]}, "cwd"),
    "cwd number": ({"prompt": CANARY, "cwd": 1}, "cwd"),
    "timeout text": ({"prompt": "p", "timeout_ms": CANARY}, "timeout_ms"),
    "timeout number as text": ({"prompt": CANARY, "timeout_ms": "1000"}, "timeout_ms"),
    "timeout boolean": ({"prompt": CANARY, "timeout_ms": True}, "timeout_ms"),
    "timeout fraction": ({"prompt": CANARY, "timeout_ms": 1.5}, "timeout_ms"),
    "timeout null": ({"prompt": CANARY, "timeout_ms": None}, "timeout_ms"),
    "timeout zero": ({"prompt": CANARY, "timeout_ms": 0}, "timeout_ms"),
    "timeout negative": ({"prompt": CANARY, "timeout_ms": -1}, "timeout_ms"),
    "alias text": ({"prompt": "p", "timeout": CANARY}, "timeout"),
    "alias zero": ({"prompt": CANARY, "timeout": 0}, "timeout"),
    "both timeouts": ({"prompt": CANARY, "timeout": 1, "timeout_ms": 1}, "timeout is another name of timeout_ms"),
    "unknown key": ({"prompt": CANARY, "tmeout": CANARY}, "unknown key 'tmeout'"),
    "key in another case": ({"prompt": CANARY, "Prompt": CANARY}, "unknown key 'Prompt'"),
    "python name of a model's part": ({"prompt": CANARY, "model_config": CANARY}, "unknown key 'model_config'"),
    "list": ([CANARY], "object"),
    "text": (CANARY, "object"),
    "number": (7, "object"),
    "null": (None, "object"),
    "boolean": (True, "object"),
}


@pytest.mark.parametrize(("document", "said"), REFUSED_DOCUMENTS.values(), ids=REFUSED_DOCUMENTS.keys())
def test_what_is_no_request_is_refused_by_name(document: Any, said: str) -> None:
    """A refusal is one line with the key that is wrong, and without any value."""
    error = refusal_of(json.dumps(document).encode())
    assert error.code is ErrorCode.INVALID_REQUEST
    assert said in str(error)
    _assert_is_one_line_without_values(error)


REFUSED_BODIES = {
    "empty": b"",
    "not JSON": CANARY.encode(),
    "cut": f'{{"prompt": "{CANARY}'.encode(),
    "trailing data": f'{{"prompt": "p"}} {CANARY}'.encode(),
    "two documents": f'{{"prompt": "p"}}{{"prompt": "{CANARY}"}}'.encode(),
    "byte order mark": f'\ufeff{{"prompt": "{CANARY}"}}'.encode(),
    "UTF-16": f'{{"prompt": "{CANARY}"}}'.encode("utf-16"),
    "UTF-16 without a mark": f'{{"prompt": "{CANARY}"}}'.encode("utf-16-le"),
    "UTF-32": f'{{"prompt": "{CANARY}"}}'.encode("utf-32"),
    "Latin-1": f'{{"prompt": "{CANARY} \u00e9"}}'.encode("latin-1"),
    "overlong UTF-8": b'{"prompt": "\xc0\xaf"}',
    "lone surrogate, escaped": b'{"prompt": "\\ud800"}',
    "lone low surrogate, escaped": b'{"prompt": "\\udc00x"}',
    "lone surrogate, in bytes": b'{"prompt": "\xed\xa0\x80"}',
    "lone surrogate in a key": b'{"prompt": "p", "\\ud800": 1}',
    "control character": b'{"prompt": "a\nb"}',
    "single quotes": f"{{'prompt': '{CANARY}'}}".encode(),
    "comment": b'{"prompt": "p" /* c */}',
    "trailing comma": b'{"prompt": "p",}',
    "100,000 open brackets": b'{"prompt": ' + b"[" * 100_000,
    "100,000 open braces": b'{"a":' * 100_000,
    "nested beyond the parser's depth": b'{"prompt": "p", "args": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "NaN as a timeout": b'{"prompt": "p", "timeout_ms": NaN}',
    "infinite timeout": b'{"prompt": "p", "timeout_ms": Infinity}',
    "timeout beyond a float": b'{"prompt": "p", "timeout_ms": 1e999}',
    "timeout of 5,000 digits": b'{"prompt": "p", "timeout_ms": ' + b"9" * 5_000 + b"}",
}


@pytest.mark.parametrize("body", REFUSED_BODIES.values(), ids=REFUSED_BODIES.keys())
def test_what_is_not_json_is_refused(body: bytes) -> None:
    """Bytes that are no JSON object in UTF-8 are refused in one line that shows none of them."""
    error = refusal_of(body)
    assert error.code is ErrorCode.INVALID_REQUEST
    _assert_is_one_line_without_values(error)


def test_the_last_of_duplicate_keys_counts() -> None:
    """Of a key that stands twice the last one counts, as in every JSON parser of the requesters' languages."""
    assert parse_request(b'{"prompt": "first", "prompt": "second"}', LIMITS).prompt == "second"


def test_both_timeouts_are_found_whatever_their_values() -> None:
    """Two names for one timeout are refused also where the two agree or one of them is null."""
    for pair in ({"timeout": 5, "timeout_ms": 5}, {"timeout": None, "timeout_ms": 5}):
        assert "give one of them" in str(refusal_of(json.dumps({"prompt": "p", **pair}).encode()))


def test_unknown_keys_are_told_with_the_known_ones() -> None:
    """Who misspells a key reads the right ones in the refusal."""
    message = str(refusal_of(b'{"prompt": "p", "working_dir": "x"}'))
    assert "'working_dir'" in message
    assert "known: prompt, id, args, cwd, timeout_ms" in message


@pytest.mark.parametrize("key", ["k\nforged line", "k\r", "\u2028", "k\x1b[31m", "\u00e9", "\0", "k" * 5_000, "'"])
def test_a_hostile_key_stays_on_one_short_line(key: str) -> None:
    """The name of an unknown key is shown cut, in ASCII and without control characters."""
    message = str(refusal_of(json.dumps({"prompt": "p", key: CANARY}).encode()))
    assert message.isascii()
    assert message.isprintable()
    assert CANARY not in message
    assert len(message) < ONE_LINE_MAX_CHARS


def test_many_unknown_keys_are_counted() -> None:
    """A request of more keys than any could have is refused with their number, not with one error for each."""
    document = {"prompt": "p", **{f"{CANARY}{n}": CANARY for n in range(16)}}
    error = refusal_of(json.dumps(document).encode())
    assert error.code is ErrorCode.INVALID_REQUEST
    known = "prompt, id, args, cwd, timeout_ms, idempotency_key, priority, reuse"
    assert str(error) == f"request refused: the request has 17 keys (known: {known})"
    with pytest.raises(ValidationError) as caught:
        ExecuteRequest.model_validate_json(json.dumps(document))
    assert caught.value.error_count() == 1


def test_the_first_wrong_argument_ends_the_validation() -> None:
    """However many arguments are wrong, there is one error."""
    with pytest.raises(ValidationError) as caught:
        ExecuteRequest.model_validate_json(json.dumps({"prompt": "p", "args": [0] * 1000}))
    assert caught.value.error_count() == 1


def test_several_mistakes_are_told_together() -> None:
    """One refusal names up to three mistakes, so that they need not be found one by one."""
    message = str(refusal_of(b'{"prompt": 1, "id": 2, "cwd": 3, "args": 4}'))
    assert [name for name in ("prompt:", "id:", "args:", "cwd:") if name in message] == ["prompt:", "id:", "args:"]


def test_a_refusal_carries_no_input_in_its_traceback() -> None:
    """The validator's own error, which quotes the input, is not chained to the refusal."""
    error = refusal_of(json.dumps({"prompt": [CANARY], "cwd": CANARY}).encode())
    assert CANARY not in "".join(traceback.format_exception(error))
    assert error.__cause__ is None
    assert error.__suppress_context__


def test_the_models_own_error_hides_the_input() -> None:
    """A request that is built in Python and refused does not show its values either."""
    with pytest.raises(ValidationError) as caught:
        ExecuteRequest(prompt="p", id=f"{CANARY} ")
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "request_",
    [
        ExecuteRequest(prompt="p"),
        ExecuteRequest(prompt="\u00e9\0\U0001f600\u2028", id="a", args=("-p", ""), cwd="\u00e9", timeout_ms=1),
        ExecuteRequest(prompt="p", args=()),
    ],
)
def test_what_is_sent_is_what_is_read(request_: ExecuteRequest) -> None:
    """A request survives the wire unchanged."""
    assert parse_request(request_.to_bytes(), LIMITS) == request_


def test_only_what_is_set_travels() -> None:
    """The bytes have the protocol's names, and no key without a value."""
    assert json.loads(ExecuteRequest(prompt="p", timeout_ms=5).to_bytes()) == {"prompt": "p", "timeout_ms": 5}


def test_a_request_cannot_be_changed() -> None:
    """What was validated stays so."""
    request = ExecuteRequest(prompt="p")
    with pytest.raises(ValidationError, match="frozen"):
        request.cwd = "/"  # type: ignore[misc] # the point


def _assert_is_one_line_without_values(error: RequestError) -> None:
    message = str(error)
    assert CANARY not in message
    assert message.isprintable()
    assert len(message) < ONE_LINE_MAX_CHARS
