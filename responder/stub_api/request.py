"""Reads what a Messages request asks for, without I/O.

Source: https://docs.anthropic.com/en/api/messages.
"""

import json
from dataclasses import dataclass
from typing import Any

# The CLI puts its own notes for the model beside the prompt, as text of the same user message.
# Source: measured on 2.1.197; without this an echo would repeat the current date.
_NOTE = "<system-reminder>"


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
