"""What is read in a request."""

import json
from typing import Any

import pytest

from responder.stub_api.request import RequestError, read_request
from tests.responder.stub_api.asking import a_body, a_follow_up


def _read(body: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    request = read_request(json.dumps(body).encode())
    return request.prompt, request.tool_result_ids


def _with_messages(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"model": "claude-opus-4-8", "messages": list(messages)}


def test_model_and_stream_are_read() -> None:
    """A request streams only when it says so."""
    request = read_request(json.dumps(a_body(model="claude-haiku-4")).encode())
    assert (request.model, request.stream) == ("claude-haiku-4", True)
    assert not read_request(json.dumps(_with_messages({"role": "user", "content": "a"})).encode()).stream


def test_the_prompt_is_the_last_text_of_the_user() -> None:
    """Earlier prompts, the assistant's text and the system's do not count."""
    turns = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
    last = {"role": "user", "content": [{"type": "text", "text": "three"}, {"type": "text", "text": "four"}]}
    assert _read(_with_messages(*turns, last, {"role": "system", "content": "five"})) == ("four", ())


def test_the_notes_of_the_cli_are_no_prompt() -> None:
    """A system reminder beside the prompt is left out, before or after it."""
    note = {"type": "text", "text": "<system-reminder>date</system-reminder>"}
    prompt = {"type": "text", "text": "hello"}
    assert _read(_with_messages({"role": "user", "content": [note, prompt, note]})) == ("hello", ())


def test_a_tool_result_is_found_by_its_id_and_keeps_the_prompt() -> None:
    """A follow-up has the prompt that the conversation is about."""
    body = a_follow_up({"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}, a_body("list"))
    assert _read(body) == ("list", ("toolu_1",))


def test_a_prompt_beside_a_tool_result_is_a_prompt() -> None:
    """After an interrupted tool the CLI sends its result together with the next prompt."""
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "interrupted", "is_error": True}
    body = _with_messages({"role": "user", "content": [result, {"type": "text", "text": "go on"}]})
    assert _read(body) == ("go on", ())


def test_a_request_without_text_has_an_empty_prompt() -> None:
    """An image alone is no error."""
    assert _read(_with_messages({"role": "user", "content": [{"type": "image"}, "odd"]})) == ("", ())
    assert _read(_with_messages({"role": "user"})) == ("", ())
    assert _read(_with_messages({"role": "assistant", "content": "a"})) == ("", ())


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "model"),
        (b'{"model": 1}', "model"),
        (b'{"model": "a"}', "messages"),
        (b'{"model": "a", "messages": []}', "messages"),
        (b'{"model": "a", "messages": ["a"]}', "messages"),
    ],
)
def test_what_is_no_request_is_refused_with_the_reason(body: bytes, reason: str) -> None:
    """The reason names the field."""
    with pytest.raises(RequestError, match=reason):
        read_request(body)
