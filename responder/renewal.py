"""From one request of a caller to the next in the same CLI: what `/clear` forgets, and what must not go on. Pure.

Measured on CLI 2.1.197: after `/clear` the session's id is new, the messages begin anew, and with them the files that
count as read, the shell's directory and variables, and the tasks. Prompts that were scheduled (`CronCreate`) go on and
would be another request's; costs and tokens add up over the life of the process.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from responder.stream_json import event_of

CLEAR = "/clear"
# Those of which nothing was seen to outlast `/clear`. After any other tool the CLI is ended: it may remember.
_FORGOTTEN_TOOLS = frozenset(("Bash", "Edit", "Glob", "Grep", "Read", "StructuredOutput", "Write"))
_COUNTERS = (
    "inputTokens",
    "outputTokens",
    "cacheReadInputTokens",
    "cacheCreationInputTokens",
    "webSearchRequests",
    "costUSD",
)
# Below what a single token costs.
_USD_DIGITS = 9
_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True)
class Spent:
    """What a CLI has used since it was started.

    Attributes:
        session: The id of the session that has not begun yet.
        cost_usd: What it has cost, in US dollars.
        api_ms: How long the API took, in milliseconds.
        models: Tokens and costs by model, as the CLI prints them.
    """

    session: str
    cost_usd: float
    api_ms: int
    models: Mapping[str, Mapping[str, Any]]


def is_forgotten(line: bytes, kind: str | None) -> bool:
    """Say whether `/clear` forgets an event: all but the use of a tool that may keep something."""
    if kind != "assistant" or b"tool_use" not in line:
        return True
    said = event_of(line).get("message")
    content = said.get("content") if isinstance(said, dict) else None
    if not isinstance(content, list):
        return False
    return all(
        isinstance(block, dict) and (not _is_use(block) or block.get("name") in _FORGOTTEN_TOOLS) for block in content
    )


def _is_use(block: Mapping[str, object]) -> bool:
    return str(block.get("type")).endswith("tool_use")


def spent_at_clear(line: bytes, before: bytes) -> Spent | None:
    """Read the result of `/clear`; None where it is not that, or has not what is needed.

    Args:
        line: The result.
        before: That of the request before it, whose session must have ended.
    """
    previous = event_of(before).get("session_id")
    if not isinstance(previous, str):
        return None  # whether the session is new cannot be told
    match event_of(line):
        case {
            "subtype": "success",
            "is_error": False,
            "num_turns": 0,
            "result": "",
            "session_id": str(session),
            "total_cost_usd": int() | float() as cost_usd,
            "duration_api_ms": int(api_ms),
            "modelUsage": dict(models),
        } if session != previous and all(isinstance(usage, dict) for usage in models.values()):
            return Spent(session, cost_usd, api_ms, models)
    return None


def without(line: bytes, spent: Spent) -> bytes:
    """Take off a result what the CLI had used before; every other byte stays as it was printed."""
    text = line.decode(errors="surrogateescape")
    changed = []
    for name, value, start, end in _top_level(text):
        if (less := _less(name, value, spent)) != value:
            changed.append((start, end, json.dumps(less, separators=(",", ":"))))
    for start, end, value in reversed(changed):
        text = f"{text[:start]}{value}{text[end:]}"
    return text.encode(errors="surrogateescape")


def _top_level(text: str) -> Iterator[tuple[str, Any, int, int]]:
    """Give an object's names and values, and where each value begins and ends; up to what is no JSON."""
    decode = json.JSONDecoder().raw_decode
    try:
        place = _after_space(text, 0)
        while text[place] in "{,":
            name, place = decode(text, _after_space(text, place + 1))
            start = _after_space(text, _after_space(text, place) + 1)  # behind the colon
            value, end = decode(text, start)
            yield name, value, start, end
            place = _after_space(text, end)
    except (ValueError, IndexError, RecursionError):
        return


def _after_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


def _less(name: str, value: Any, spent: Spent) -> Any:
    match name, value:
        case "total_cost_usd", _:
            return _difference(value, spent.cost_usd)
        case "duration_api_ms", _:
            return _difference(value, spent.api_ms)
        case "modelUsage", dict():
            return _models_less(value, spent.models)
    return value


def _models_less(models: Mapping[str, Any], before: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Take off what each model had used; one that was not used since was not used at all."""
    left = {}
    for name, usage in models.items():
        if name not in before or not isinstance(usage, dict):
            left[name] = usage
            continue
        counts = {key: _difference(usage[key], before[name].get(key, 0)) for key in _COUNTERS if key in usage}
        if any(counts.values()):
            left[name] = {**usage, **counts}
    return left


def _difference(value: Any, spent: Any) -> Any:
    is_number = isinstance(value, int | float) and isinstance(spent, int | float)
    return round(value - spent, _USD_DIGITS) if is_number else value
