"""The answers as documents and events."""

import json

import pytest

from responder.stub_api.messages import (
    Reply,
    answer_text,
    error_document,
    generated_text,
    message_document,
    stream_events,
)
from responder.stub_api.script import Answer, Tool, Usage
from tests.responder.stub_api.asking import read_events, text_of

USAGE = Usage(input_tokens=7, output_tokens=5, cache_creation_input_tokens=3, cache_read_input_tokens=2)
TOOL = Tool(name="Bash", input={"command": "echo hi"})


def _reply(text: str = "hello", *, tool: Tool | None = None, chunk_chars: int = 2) -> Reply:
    answer = Answer(usage=USAGE, chunk_chars=chunk_chars)
    return Reply("msg_1", "claude-opus-4-8", text, answer, tool, "toolu_1" if tool else "")


def test_a_text_is_streamed_in_the_order_of_the_api() -> None:
    """One block, opened, filled and closed, then the reason for the end and the end."""
    events = read_events(b"".join(stream_events(_reply())))
    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert [event["delta"]["text"] for event in events[2:5]] == ["he", "ll", "o"]
    assert events[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}


def test_a_stream_reports_the_usage() -> None:
    """Input and cache tokens stand at the start, output tokens at the end."""
    events = read_events(b"".join(stream_events(_reply())))
    message = events[0]["message"]
    assert (message["id"], message["model"], message["content"]) == ("msg_1", "claude-opus-4-8", [])
    assert message["usage"] == USAGE.model_dump() | {"output_tokens": 1}
    assert events[-2]["usage"] == {"output_tokens": 5}


def test_a_tool_call_is_streamed_instead_of_the_text() -> None:
    """The input comes as JSON in a delta, under the id that the result will bear."""
    events = read_events(b"".join(stream_events(_reply(tool=TOOL))))
    assert events[1]["content_block"] == {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}
    assert events[2]["delta"]["type"] == "input_json_delta"
    assert json.loads(events[2]["delta"]["partial_json"]) == TOOL.input
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    "text", ["", "a", 'line\nbreak, "quotes", \\ and \r\n\r\n', "ünï \U0001f600 \u2028 data: x\n\nevent: y"]
)
@pytest.mark.parametrize("chunk_chars", [1, 2048])
def test_every_text_survives_the_stream(text: str, chunk_chars: int) -> None:
    """What is special in server-sent events or in JSON comes back as it was."""
    assert text_of(read_events(b"".join(stream_events(_reply(text, chunk_chars=chunk_chars))))) == text


def test_a_document_holds_the_whole_message() -> None:
    """Without a stream the text, the reason for the end and all tokens come at once."""
    document = message_document(_reply())
    assert document["content"] == [{"type": "text", "text": "hello"}]
    assert (document["stop_reason"], document["usage"]) == ("end_turn", USAGE.model_dump())


def test_a_document_holds_the_tool_call() -> None:
    """Without a stream the tool's input is an object."""
    document = message_document(_reply(tool=TOOL))
    assert document["content"] == [{"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": TOOL.input}]
    assert document["stop_reason"] == "tool_use"


@pytest.mark.parametrize("size_bytes", [1, 2, 63, 64, 65, 1_000_000])
def test_generated_text_has_exactly_the_size(size_bytes: int) -> None:
    """It is ASCII, ends in a full stop and is the same each time."""
    text = generated_text(size_bytes)
    assert len(text.encode("ascii")) == size_bytes
    assert text.endswith(".")
    assert text == generated_text(size_bytes)


def test_generated_text_has_what_breaks_careless_readers() -> None:
    """Newlines and both kinds of quotes are in it, and no line repeats, so that a lost piece shows."""
    text = generated_text(100_000)
    lines = text.splitlines()
    assert len(lines) > 1000
    assert len(set(lines)) == len(lines)
    assert {'"', "'"} <= set(text)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Answer(text=""), ""),
        (Answer(text="fixed"), "fixed"),
        (Answer(echo=True), "hällo"),
        (Answer(text_bytes=3), generated_text(3)),
        (Answer(), "The stub API read a prompt of 6 bytes."),
    ],
)
def test_each_kind_of_answer_has_its_text(answer: Answer, text: str) -> None:
    """Literal, echo, generated, and the default sentence with the prompt's size."""
    assert answer_text(answer, "hällo") == text


def test_a_prompt_with_a_lone_surrogate_is_answered() -> None:
    r"""JSON may say `\ud800`, which no encoding can write."""
    assert answer_text(Answer(), "\ud800") == "The stub API read a prompt of 1 bytes."
    assert text_of(read_events(b"".join(stream_events(_reply("\ud800"))))) == "\ud800"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
    ],
)
def test_an_error_has_the_type_of_its_status(status: int, kind: str) -> None:
    """The document is Anthropic's; a text of one's own replaces the usual one."""
    assert error_document(status, "why") == {"type": "error", "error": {"type": kind, "message": "why"}}
    assert error_document(status)["error"]["message"]
