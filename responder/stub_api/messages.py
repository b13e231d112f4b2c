"""The Messages API's shapes, without I/O: reads a request, builds the answer as events or as one document.

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
# The CLI puts its own notes for the model beside the prompt, as text of the same user message.
# Source: measured on 2.1.197; without this an echo would repeat the current date.
_NOTE = "<system-reminder>"
_LINE = '{:08d} the stub said: "it\'s a line of generated text"\n'


class RequestError(ValueError):
    """A body is not a Messages request; the message says why and is fit for the API's 400."""


@dataclass(frozen=True)
class MessagesRequest:
    """What the stub reads in a request.

    Attributes:
        model: The model's name.
        stream: Whether the answer goes out as server-sent events.
        prompt: The last text that the user wrote, empty when there is none.
        tool_result_ids: The tool calls whose results the last user message brings, empty when it brings a prompt.
    """

    model: str
    stream: bool
    prompt: str
    tool_result_ids: tuple[str, ...]


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


def read_request(body: bytes) -> MessagesRequest:
    """Read the body of `POST /v1/messages`.

    Raises:
        RequestError: It is not JSON, or model or messages are missing or of another type.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError("the body is not JSON") from error
    if not isinstance(document, dict) or not isinstance(document.get("model"), str):
        raise RequestError("model: Field required")
    messages = document.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise RequestError("messages: at least one message is required")
    from_user = [_blocks(message.get("content")) for message in messages if message.get("role") == "user"]
    prompts = [prompt for blocks in from_user if (prompt := _prompt(blocks)) is not None]
    return MessagesRequest(
        model=document["model"],
        stream=document.get("stream") is True,
        prompt=prompts[-1] if prompts else "",
        tool_result_ids=_tool_results(from_user[-1]) if from_user else (),
    )


def _blocks(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _prompt(blocks: list[dict[str, Any]]) -> str | None:
    texts = [block["text"] for block in blocks if block.get("type") == "text" and isinstance(block.get("text"), str)]
    own = [text for text in texts if not text.startswith(_NOTE)]
    return own[-1] if own else None


def _tool_results(blocks: list[dict[str, Any]]) -> tuple[str, ...]:
    if _prompt(blocks) is not None:
        return ()
    return tuple(str(block.get("tool_use_id")) for block in blocks if block.get("type") == "tool_result")


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
    content = {"type": "text", "text": reply.text}
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
