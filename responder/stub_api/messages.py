"""The Messages API's answers, without I/O: one document, a stream of events, or an error.

Source: https://docs.anthropic.com/en/api/messages-streaming and https://docs.anthropic.com/en/api/errors.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from responder.stub_api.script import Answer, Tool

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}
_LINE = '{:08d} the stub said: "it\'s a line of generated text"\n'


@dataclass(frozen=True)
class Reply:
    """One message of the assistant, ready to be written.

    Attributes:
        id: The message's id.
        model: The model's name, as asked for.
        text: The answer; not sent when a tool is called.
        tool: The tool call that is sent instead of the text.
        tool_id: The id under which the tool's result comes back.
        answer: What the script says, for the usage and the size of the deltas.
    """

    id: str
    model: str
    text: str
    answer: Answer
    tool: Tool | None = None
    tool_id: str = ""


def answer_text(answer: Answer, prompt: str) -> str:
    """Give the text that an answer has for a prompt."""
    if answer.text is not None:
        return answer.text
    if answer.text_bytes is not None:
        return generated_text(answer.text_bytes)
    if answer.echo:
        return prompt
    return f"The stub API read a prompt of {len(prompt.encode(errors='replace'))} bytes."


def generated_text(size_bytes: int) -> str:
    """Give ASCII text of a size, always the same: numbered lines with quotes.

    It ends in a full stop, not in white space, because a CLI may trim what it prints.
    """
    lines = size_bytes // len(_LINE.format(0)) + 1
    return "".join(_LINE.format(number) for number in range(lines))[: size_bytes - 1] + "."


def error_document(status: int, message: str | None = None) -> dict[str, Any]:
    """Build the error document that goes with an HTTP status."""
    kind = ERROR_TYPES[status]
    return {"type": "error", "error": {"type": kind, "message": message or f"stub: {kind.replace('_', ' ')}"}}


def message_document(reply: Reply) -> dict[str, Any]:
    """Build the answer to a request without `stream`."""
    content: dict[str, Any] = {"type": "text", "text": reply.text}
    if reply.tool is not None:
        content = {"type": "tool_use", "id": reply.tool_id, "name": reply.tool.name, "input": reply.tool.input}
    usage = reply.answer.usage.model_dump()
    return {**_message(reply), "content": [content], "stop_reason": _stop_reason(reply), "usage": usage}


def stream_events(reply: Reply) -> Iterator[bytes]:
    """Build the server-sent events of an answer to a request with `stream`, in order."""
    usage = reply.answer.usage.model_dump()
    yield _event("message_start", message=_message(reply) | {"usage": usage | {"output_tokens": 1}})
    yield from _text_block(reply) if reply.tool is None else _tool_block(reply.tool, reply.tool_id)
    yield _event("content_block_stop", index=0)
    stop = {"stop_reason": _stop_reason(reply), "stop_sequence": None}
    yield _event("message_delta", delta=stop, usage={"output_tokens": usage["output_tokens"]})
    yield _event("message_stop")


def _text_block(reply: Reply) -> Iterator[bytes]:
    yield _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    step = reply.answer.chunk_chars
    for start in range(0, len(reply.text), step):
        delta = {"type": "text_delta", "text": reply.text[start : start + step]}
        yield _event("content_block_delta", index=0, delta=delta)


def _tool_block(tool: Tool, tool_id: str) -> Iterator[bytes]:
    block = {"type": "tool_use", "id": tool_id, "name": tool.name, "input": {}}
    yield _event("content_block_start", index=0, content_block=block)
    delta = {"type": "input_json_delta", "partial_json": json.dumps(tool.input)}
    yield _event("content_block_delta", index=0, delta=delta)


def _message(reply: Reply) -> dict[str, Any]:
    return {
        "id": reply.id,
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _stop_reason(reply: Reply) -> str:
    return "end_turn" if reply.tool is None else "tool_use"


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()
