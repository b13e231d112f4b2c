"""What the CLI prints, as measured on 2.1.197, with the fields that a test names."""

import json
from typing import Any

RESULT: dict[str, Any] = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "duration_ms": 349,
    "num_turns": 1,
    "result": "an answer",
    "session_id": "d3ce612e-1cce-43e5-81a4-53083dcd62d7",
    "total_cost_usd": 0.25,
    "usage": {"input_tokens": 100, "output_tokens": 20},
    "modelUsage": {"claude-haiku": {"costUSD": 0.05}, "claude-opus": {"costUSD": 0.2}},
}
INIT: dict[str, Any] = {"type": "system", "subtype": "init", "tools": []}
ASSISTANT: dict[str, Any] = {"type": "assistant", "message": {"content": [{"type": "text", "text": "an answer"}]}}


def result(**fields: Any) -> dict[str, Any]:
    """Give a result event in which some fields differ."""
    return {**RESULT, **fields}


def api_error(status: int | None, text: str) -> dict[str, Any]:
    """Give the result event of an API error: `subtype` says success all the same."""
    return result(is_error=True, api_error_status=status, result=text, total_cost_usd=0)


def as_json(*events: dict[str, Any]) -> bytes:
    """Print the last event, as `--output-format json` does."""
    return json.dumps(events[-1], ensure_ascii=False).encode() + b"\n"


def as_array(*events: dict[str, Any]) -> bytes:
    """Print all events as an array, as `--output-format json --verbose` does."""
    return json.dumps(events, ensure_ascii=False).encode() + b"\n"


def as_lines(*events: dict[str, Any]) -> bytes:
    """Print a line for each event, as `--output-format stream-json` does."""
    return b"".join(json.dumps(event, ensure_ascii=False).encode() + b"\n" for event in events)
